//! What must not be seen of a database URL: connecting, without telling anyone the password.

use diesel::pg::PgConnection;
use diesel::{Connection as _, ConnectionError};

use crate::error::{Error, Result};

/// Connects.
///
/// libpq repeats what it can't read of a URL; where that may be the password, `***` stands in its place.
pub(crate) fn connect(database_url: &str) -> Result<PgConnection> {
    PgConnection::establish(database_url).map_err(|error| {
        Error::Connect(match error {
            ConnectionError::BadConnection(message) => {
                ConnectionError::BadConnection(without_password(&message, database_url))
            }
            other => other,
        })
    })
}

fn without_password(message: &str, url: &str) -> String {
    // Then it has read the URL.
    if message.starts_with("connection to server") {
        return message.to_owned();
    }
    let passwords = passwords(url);
    let secret = |text: &str| {
        !text.is_empty()
            && (text.contains("://")
                || text.contains('@')
                || passwords.iter().any(|password| password.contains(text)))
    };
    let quoted = message.split('"').enumerate().map(|(place, text)| {
        let is_quoted = place % 2 == 1;
        if is_quoted && secret(text) {
            "***"
        } else {
            text
        }
    });
    quoted.collect::<Vec<_>>().join("\"")
}

/// What may be a password, in a URL that need not be one.
fn passwords(url: &str) -> Vec<&str> {
    let authority = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .map(|(_, password)| password);
    let settings = url.split("password").skip(1).filter_map(|rest| {
        let value = rest.trim_start().strip_prefix('=')?;
        // Up to the name of the next setting.
        Some(match value.split_once(['=', '&']) {
            Some((value, _)) => value.rsplit_once(' ').map_or(value, |(value, _)| value),
            None => value,
        })
    });
    authority.into_iter().chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_has_the_password() {
        for (url, kept) in [
            ("postgre://u:secret@h/db", "missing \"=\" after \"***\""),
            ("postgre://u:sec=ret@h/db", "invalid connection option"),
            (
                "postgres://u:sec%ret@h/db",
                "percent-encoded token: \"***\"",
            ),
            (
                "postgres://u:sec/ret@h/db",
                "for connection option \"port\"",
            ),
            ("postgres://h:secret/db?password=sec%ret", "percent-encoded"),
            ("host=h password=a secret", "missing \"=\" after \"***\""),
            ("password=it secret host=h", "missing \"=\" after \"***\""),
        ] {
            let error = connect(url).err().expect("no URL");
            let text = crate::error::chain(&error);
            assert!(
                !text.contains("sec") && !text.contains("ret@") && text.contains(kept),
                "{url}: {text}"
            );
        }
    }

    #[test]
    fn what_says_why_stays() {
        let message = |url: &str, message: &str| without_password(message, url);
        let refused = "connection to server at \"h\", port 5432 failed: FATAL:  no role \"u\"";
        assert_eq!(message("postgres://u:u@h/db", refused), refused);
        let host = "could not translate host name \"db\" to address: Name or service not known";
        assert_eq!(message("postgres://u:secret@db/x", host), host);
        let option = "invalid connection option \"hst\"";
        assert_eq!(message("password=secret hst=h", option), option);
    }
}
