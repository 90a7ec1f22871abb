//! What must not be seen of a database URL: connecting, without telling anyone the password.

use diesel::pg::PgConnection;
use diesel::{Connection as _, ConnectionError, ConnectionResult};

use crate::error::{Error, Result};

/// Connects.
///
/// libpq repeats what it can't read of a URL; since that may be the password, `***` stands in its place.
pub(crate) fn connect(database_url: &str) -> Result<PgConnection> {
    establish(database_url).map_err(Error::Connect)
}

/// As [`connect`], with an error of Diesel's.
pub(crate) fn establish(database_url: &str) -> ConnectionResult<PgConnection> {
    PgConnection::establish(database_url).map_err(|error| {
        ConnectionError::BadConnection(match error {
            ConnectionError::BadConnection(message) => without_password(&message, database_url),
            // It has the whole URL in it.
            ConnectionError::InvalidCString(_) => "the database URL has a zero byte".to_owned(),
            other => return other,
        })
    })
}

/// What libpq reads.
const FORMS: &str = "where a database URL is `postgres://user:password@host/database`, with `%40` for a `@` in the \
                     password and the like, or `host=.. user=.. password=.. dbname=..`";

fn without_password(message: &str, url: &str) -> String {
    // Then it has read the URL.
    let was_read = [
        "connection to server",
        "could not connect to server",
        "FATAL",
    ]
    .into_iter()
    .any(|beginning| message.starts_with(beginning));
    // So it has here, but what it took for the host is the end of a password that has a `@`.
    let is_host = match message.split('"').collect::<Vec<_>>()[..] {
        ["could not translate host name ", host, _] => !is_in_password(host, url),
        _ => false,
    };
    if was_read || is_host {
        return message.to_owned();
    }
    // What is repeated may have quotes too.
    match message.split_once('"') {
        Some((before, _)) => format!("{before}***, {FORMS}"),
        None => message.to_owned(),
    }
}

fn is_in_password(host: &str, url: &str) -> bool {
    let password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .map(|(_, password)| password);
    host.contains('@') || password.is_some_and(|password| password.contains(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::TenantConnection;

    #[test]
    fn no_message_has_the_password() {
        for (url, kept) in [
            ("postgre://u:secret@h/db", "missing ***"),
            ("postgre://u:sec=ret@h/db", "invalid connection option ***"),
            ("postgre://u:pa\"secret@h", "missing ***"),
            ("postgres://u:sec%ret@h/db", "percent-encoded token: ***"),
            ("postgres://u:se\"c%ret@h/db", "percent-encoded token: ***"),
            ("postgres://u:sec/ret@h/db", "invalid integer value ***"),
            ("postgres://h/db?password=sec%ret", "percent-encoded"),
            ("postgres://h/db?password=pa&secret", "separator ***"),
            ("host=h password=a secret", "missing ***"),
            ("password=it secret host=h", "missing ***"),
            ("postgres://u:sec\0ret@h/db", "a zero byte"),
        ] {
            let error = connect(url).err().expect("no URL");
            let text = crate::error::chain(&error);
            let direct = TenantConnection::establish(url).expect_err("no URL");
            for said in [&text, &direct.to_string(), &format!("{error:?}{direct:?}")] {
                assert!(
                    !said.contains("se\"") && !said.contains("sec") && !said.contains("ret"),
                    "{url}: {said}"
                );
            }
            assert!(text.contains(kept), "{url}: {text}");
        }
    }

    #[test]
    fn what_says_why_stays() {
        let message = |url: &str, message: &str| without_password(message, url);
        let refused = "connection to server at \"h\", port 5432 failed: FATAL:  no role \"u\"";
        assert_eq!(message("postgres://u:u@h/db", refused), refused);
        let host = "could not translate host name \"db\" to address: Name or service not known";
        assert_eq!(message("postgres://u:secret@db/x", host), host);
        // Where the password has a `@`, its end is no host.
        for url in ["postgres://u:se@db@h/x", "postgres://u:se@db/cret@h/x"] {
            let told = format!("could not translate host name ***, {FORMS}");
            assert_eq!(message(url, host), told);
        }
        let option = "invalid connection option \"hst\"";
        let told = format!("invalid connection option ***, {FORMS}");
        assert_eq!(message("password=secret hst=h", option), told);
    }
}
