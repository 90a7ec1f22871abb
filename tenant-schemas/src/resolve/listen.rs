//! The thread that listens for a [`Directory`](super::Directory).

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use super::directory::{Inner, MAX_NAMES, Names, missing_announcements};
use crate::changes::{Change, Watcher as _};
use crate::error::{Error, Result, chain};
use crate::model::{FieldRole, TenantModel};
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

/// Names are read anew in one part of so many of the time at most: nothing is heard meanwhile.
const SHARE: u32 = 20;

/// Whose schemas there are: hashes of their names, and of the keys of their tenants.
type Owners = HashMap<u64, u64>;

/// In the place of a key: the name is new or has moved, as was heard, and whose it is was not read yet.
const UNREAD: u64 = 0;

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
    let mut owners = Owners::new();
    while inner.strong_count() > 0 {
        let since = Instant::now();
        if let Err(error) = listen(inner, url, ready, &mut owners) {
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

/// Listens until the connection fails, or the directory is gone. `owners` are those whom the last
/// connection knew.
fn listen<T: TenantModel>(
    inner: &Weak<Inner<T>>,
    url: &str,
    ready: &Sender<()>,
    owners: &mut Owners,
) -> Result<()> {
    let failed = |error| Error::database("listening to changes of tenants", error);
    let mut conn = secret::connect(&with_limits(url))?;
    sql::changes::listen(&mut conn).map_err(failed)?;
    let mut beat = Instant::now();
    let mut last_read = beat;
    let mut pause;
    {
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        let epoch = inner.begin();
        let (names, read) = read(&inner, &mut conn)?;
        pause = pause_after(beat, &inner);
        end_scopes(&inner, owners, &read);
        *owners = read;
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
            Ok(changes) => {
                inner.changed(&changes);
                note(&inner, &changes, owners);
            }
            Err(error) => return Err(failed(error)),
        }
        if beats {
            beat = now;
            inner.vouch(now + LEASE);
            if last_read.elapsed() >= pause {
                last_read = now;
                let epoch = inner.epoch();
                let (names, read) = read(&inner, &mut conn)?;
                pause = pause_after(now, &inner);
                // The scopes of what was heard have ended; whoever has the name now may have some.
                owners.retain(|_, key| *key != UNREAD);
                end_scopes(&inner, owners, &read);
                *owners = read;
                inner.renew(names, epoch);
            }
        }
    }
}

/// How long to wait before the names are read again, which was begun at `then`.
fn pause_after<T: TenantModel>(then: Instant, inner: &Inner<T>) -> Duration {
    inner.time_to_live.max(then.elapsed() * SHARE)
}

/// Notes of which names it was heard that they are new, or have moved.
fn note<T: TenantModel>(inner: &Inner<T>, changes: &[Change], owners: &mut Owners) {
    let hash = |name: &str| inner.tenancy.registry().policy.hash(name);
    for change in changes {
        match change {
            Change::Tenant(schema) => {
                owners.entry(hash(schema)).or_insert(UNREAD);
            }
            Change::Name { schema, .. } => {
                owners.insert(hash(schema), UNREAD);
            }
            Change::Domain(_) | Change::Anything => {}
        }
    }
}

/// Ends the scopes of names that have other owners than before. Of those that moved while the
/// connection was cut off, or unannounced, nothing was heard.
fn end_scopes<T: TenantModel>(inner: &Inner<T>, before: &Owners, now: &Owners) {
    if before.is_empty() || now.len() >= MAX_NAMES {
        return; // or what was not read would seem to be gone
    }
    let moved: Vec<u64> = before
        .iter()
        .filter(|(name, owner)| now.get(name) != Some(owner))
        .map(|(name, _)| *name)
        .collect();
    if !moved.is_empty() {
        inner.tenancy.registry().policy.names_moved(moved);
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

/// The names of all tenants, `None` if they are too many or not wanted, and whose schemas there are.
fn read<T: TenantModel>(
    inner: &Inner<T>,
    conn: &mut PgConnection,
) -> Result<(Option<Names>, Owners)> {
    let failed = |error| Error::database("reading the names of the tenants", error);
    let registry = inner.tenancy.registry();
    let most = i64::try_from(MAX_NAMES).unwrap_or(i64::MAX);
    let key = T::fields()
        .iter()
        .find(|field| matches!(field.role, FieldRole::Id))
        .map_or("id", |field| field.column);
    let mut names = Names::default();
    let mut owners = Owners::new();
    for (table, pairs) in rules::announced(registry) {
        if !sql::changes::is_announced(conn, registry.public(), &table, &pairs).map_err(failed)? {
            return Err(missing_announcements(&table));
        }
        for (word, column) in pairs {
            if word == "schema" {
                let found = sql::changes::owners(conn, &table, (column, key), most);
                for (name, key) in found.map_err(failed)? {
                    owners.insert(registry.policy.hash(&name), registry.policy.hash(&key));
                    names.0.push(name);
                }
            } else if inner.knows_names {
                let found = sql::changes::names(conn, &table, column, most);
                names.1 = found.map_err(failed)?;
            }
        }
    }
    let few = names.0.len() + names.1.len() < MAX_NAMES;
    Ok(((inner.knows_names && few).then_some(names), owners))
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
