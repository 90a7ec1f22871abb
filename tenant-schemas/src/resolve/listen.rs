//! The thread that listens for a [`Directory`](super::Directory).

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use super::directory::{Inner, MAX_NAMES, Names, missing_announcements};
use crate::changes::{Change, Watcher as _};
use crate::error::{Error, Result, chain};
use crate::model::TenantModel;
use crate::{rules, secret, sql};

/// How often the connection is looked at. No statement: libpq reads what has arrived.
const POLL: Duration = Duration::from_millis(10);

/// How often the server is asked for a sign of life.
const BEAT: Duration = Duration::from_secs(1);

/// How long such a sign is good for. A server that can't be reached may be telling others of changes.
const LEASE: Duration = Duration::from_secs(4);

/// Settings of libpq: in seconds to be connected, in milliseconds until what is sent has arrived.
const LIMITS: [(&str, &str); 2] = [("connect_timeout", "5"), ("tcp_user_timeout", "4000")];

/// How long to wait before connecting again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How long the directory's maker waits for the first connection.
const FIRST: Duration = Duration::from_secs(5);

/// Starts the thread, and waits until it listens. It ends with the directory.
pub(super) fn start<T: TenantModel>(inner: &Arc<Inner<T>>, url: String) {
    let weak = Arc::downgrade(inner);
    let (ready, is_ready) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("tenant-directory".to_owned())
        .spawn(move || run(&weak, &url, &ready));
    match thread {
        // Whatever comes of it, the directory knows what to believe.
        Ok(_) => drop(is_ready.recv_timeout(FIRST)),
        Err(error) => log::error!("the tenants' directory can't listen: {error}"),
    }
}

fn run<T: TenantModel>(inner: &Weak<Inner<T>>, url: &str, ready: &Sender<()>) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    while inner.strong_count() > 0 {
        let since = Instant::now();
        if let Err(error) = listen(inner, url, ready) {
            if let Some(inner) = inner.upgrade() {
                inner.vouch(Instant::now()); // no longer
            }
            log::warn!(
                "the tenants' directory does not hear of changes, so every request asks the database: {}",
                chain(&error)
            );
        }
        let _ = ready.send(());
        if since.elapsed() > longest {
            pause = first;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Listens until the connection fails, or the directory is gone.
fn listen<T: TenantModel>(inner: &Weak<Inner<T>>, url: &str, ready: &Sender<()>) -> Result<()> {
    let failed = |error| Error::database("listening to changes of tenants", error);
    let mut conn = secret::connect(&with_limits(url))?;
    sql::changes::listen(&mut conn).map_err(failed)?;
    let mut beat = Instant::now();
    let mut last_read = beat;
    {
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        let epoch = inner.begin();
        let names = names(&inner, &mut conn)?;
        // From here on nothing can be missed: what was committed before is read, the rest is heard,
        // or this process did it meanwhile.
        inner.renew(names, epoch);
        inner.vouch(beat + LEASE);
    }
    let _ = ready.send(());
    loop {
        thread::sleep(POLL);
        let beats = beat.elapsed() >= BEAT;
        let now = Instant::now();
        if beats {
            sql::changes::beat(&mut conn).map_err(failed)?;
        }
        let changes = conn
            .notifications_iter()
            .map(|notification| notification.map(|heard| Change::read(&heard.payload)))
            .collect::<Result<Vec<_>, _>>();
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        match changes {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => inner.changed(&changes),
            Err(error) => return Err(failed(error)),
        }
        if beats {
            beat = now;
            inner.vouch(now + LEASE);
            if last_read.elapsed() >= inner.time_to_live {
                last_read = now;
                let epoch = inner.epoch();
                let names = names(&inner, &mut conn)?;
                inner.renew(names, epoch);
            }
        }
    }
}

/// The URL, with limits to how long a server that is gone without a word is waited for, unless it
/// has its own: the system's are a quarter of an hour.
fn with_limits(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in LIMITS {
        let Some((_, rest)) = url.split_once("://") else {
            // Of words and values, the last one counts.
            url = format!("{name}={value} {url}");
            continue;
        };
        if url.contains(&format!("{name}=")) {
            continue;
        }
        // What is in front of an `@` is a password, which may have a `?` in it.
        let host = match rest.split_once('@') {
            Some((user, host)) if !user.contains('/') => host,
            _ => rest,
        };
        let separator = match host.find('?') {
            None => "?",
            Some(_) if host.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        url = format!("{url}{separator}{name}={value}");
    }
    url
}

/// The names of all tenants; `None` if they are too many, or not wanted.
fn names<T: TenantModel>(inner: &Inner<T>, conn: &mut PgConnection) -> Result<Option<Names>> {
    let failed = |error| Error::database("reading the names of the tenants", error);
    let registry = inner.tenancy.registry();
    let most = i64::try_from(MAX_NAMES).unwrap_or(i64::MAX);
    let mut names = Names::default();
    for (table, pairs) in rules::announced(registry) {
        if !sql::changes::is_announced(conn, registry.public(), &table, &pairs).map_err(failed)? {
            return Err(missing_announcements(&table));
        }
        if !inner.knows_names {
            continue;
        }
        for (word, column) in pairs {
            let found = sql::changes::names(conn, &table, column, most).map_err(failed)?;
            match word {
                "schema" => names.0.extend(found),
                _ => names.1.extend(found),
            }
        }
    }
    let few = names.0.len() + names.1.len() < MAX_NAMES;
    Ok((inner.knows_names && few).then_some(names))
}

#[cfg(test)]
mod tests {
    use super::with_limits;

    #[test]
    fn the_limits_are_put_into_a_url_of_either_kind() {
        let both = "connect_timeout=5&tcp_user_timeout=4000";
        for (url, expected) in [
            ("postgres://u@h/a", format!("postgres://u@h/a?{both}")),
            ("postgres://u:p?w@h", format!("postgres://u:p?w@h?{both}")),
            (
                "postgres://h/a?options=-c%20a%3D1@",
                format!("postgres://h/a?options=-c%20a%3D1@&{both}"),
            ),
            (
                "postgres://h/a?connect_timeout=60",
                "postgres://h/a?connect_timeout=60&tcp_user_timeout=4000".to_owned(),
            ),
            (
                "host=h dbname=a",
                "tcp_user_timeout=4000 connect_timeout=5 host=h dbname=a".to_owned(),
            ),
            ("postgres://h/a?", format!("postgres://h/a?{both}")),
            (
                "postgres://h/a?sslmode=require&",
                format!("postgres://h/a?sslmode=require&{both}"),
            ),
        ] {
            assert_eq!(with_limits(url), expected);
        }
    }
}
