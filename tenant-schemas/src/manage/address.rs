//! The database URL, as it may stand in the list of processes.

use std::fmt::Write as _;

/// A database URL without what must not be seen, and without what is to be added to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Everything but the password and the options.
    pub(super) url: String,
    /// Whether that is a URL, or a string of `name=value`.
    is_url: bool,
    pub(super) password: Option<String>,
    pub(super) options: Option<String>,
}

impl Address {
    /// Reads a URL, or a string of `name=value`, as libpq does.
    pub(super) fn of(url: &str) -> Self {
        let scheme = ["postgresql://", "postgres://"]
            .into_iter()
            .find(|scheme| url.starts_with(scheme));
        if let Some(scheme) = scheme {
            return Self::of_url(scheme, &url[scheme.len()..]);
        }
        let mut address = Self {
            url: String::new(),
            is_url: false,
            password: None,
            options: None,
        };
        // What libpq can't read has led to no connection before.
        for (name, value) in settings(url).unwrap_or_default() {
            // Of two of a kind, libpq takes the last.
            match name {
                "password" => address.password = Some(value),
                "options" => address.options = Some(value),
                _ => address.add(name, &value),
            }
        }
        address
    }

    fn of_url(scheme: &str, rest: &str) -> Self {
        // The user ends at the first `@`, unless a `/` comes before.
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) if !user.contains('/') => (Some(user), rest),
            _ => (None, rest),
        };
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(decoded(password))),
            None => (user, None),
        };
        let user = user.map_or_else(String::new, |user| format!("{user}@"));
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Self {
            url: String::new(),
            is_url: true,
            password: password.filter(|password| !password.is_empty()),
            options: None,
        };
        let mut parameters = Vec::new();
        for parameter in query.split('&').filter(|one| !one.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match decoded(name).as_str() {
                "password" => address.password = Some(decoded(value)),
                "options" => address.options = Some(decoded(value)),
                _ => parameters.push(parameter),
            }
        }
        let query = if parameters.is_empty() {
            String::new()
        } else {
            format!("?{}", parameters.join("&"))
        };
        address.url = format!("{scheme}{user}{before}{query}");
        address
    }

    /// Adds a setting to a URL that may have others.
    fn add(&mut self, name: &str, value: &str) {
        if self.is_url {
            let mark = if self.url.contains('?') { '&' } else { '?' };
            self.url = format!("{}{mark}{name}={}", self.url, encoded(value));
        } else {
            let blank = if self.url.is_empty() { "" } else { " " };
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            self.url = format!("{}{blank}{name}='{quoted}'", self.url);
        }
    }

    /// The URL with other options in the place of its own, if it has any.
    ///
    /// Those of a URL win over the environment's, and those of a service too.
    pub(super) fn with_options(mut self, options: &str) -> Self {
        if self.options.is_some() {
            self.add("options", options);
        }
        self
    }
}

/// The settings of a string of `name=value`; `None` if libpq can't read it.
fn settings(text: &str) -> Option<Vec<(&str, String)>> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let quoted = value.strip_prefix('\'');
        let mut chars = quoted.unwrap_or(value).chars();
        let mut own = String::new();
        loop {
            match chars.next() {
                None if quoted.is_some() => return None,
                None => break,
                Some('\'') if quoted.is_some() => break,
                Some('\\') => own.extend(chars.next()),
                Some(blank) if quoted.is_none() && blank.is_ascii_whitespace() => break,
                Some(other) => own.push(other),
            }
        }
        settings.push((name.trim_end(), own));
        rest = chars.as_str().trim_start();
    }
    Some(settings)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = hex {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str, password: Option<&str>, options: Option<&str>) {
        let address = Address::of(url);
        assert_eq!(address.url, shown);
        assert_eq!(address.password.as_deref(), password);
        assert_eq!(address.options.as_deref(), options);
    }

    #[test]
    fn what_is_secret_leaves_the_url() {
        check(
            "postgres://u:p%40ss@h:5/db?sslmode=require&options=-c%20a%3D1",
            "postgres://u@h:5/db?sslmode=require",
            Some("p@ss"),
            Some("-c a=1"),
        );
        check(
            "postgresql://h/db?user=u&p%61ssword=s",
            "postgresql://h/db?user=u",
            Some("s"),
            None,
        );
        // A password that is not encoded, as far as libpq takes it.
        check(
            "postgres://u:p?w@h/db",
            "postgres://u@h/db",
            Some("p?w"),
            None,
        );
        let plain = "postgresql://postgres@%2Ftmp:5432/db";
        check(plain, plain, None, None);
        check(
            "postgres:///db?user=a@b",
            "postgres:///db?user=a@b",
            None,
            None,
        );
    }

    #[test]
    fn what_is_secret_leaves_a_string_of_settings() {
        check(
            r"host=h password = 'it\'s mine' options='-c a=1' user=u\ v",
            "host='h' user='u v'",
            Some("it's mine"),
            Some("-c a=1"),
        );
        check(
            "host=h application_name=http://x user=u password=s",
            "host='h' application_name='http://x' user='u'",
            Some("s"),
            None,
        );
        check("password=s dbname=''", "dbname=''", Some("s"), None);
        check("", "", None, None);
    }

    #[test]
    fn options_come_back_where_there_were_some() {
        let with = |url: &str| Address::of(url).with_options("-c p=\"a\",\\ 'b'").url;
        assert_eq!(
            with("host=h options=-ca=1"),
            r#"host='h' options='-c p="a",\\ \'b\''"#
        );
        assert_eq!(
            with("application_name=http://x options=-ca=1 user=u"),
            r#"application_name='http://x' user='u' options='-c p="a",\\ \'b\''"#
        );
        assert_eq!(
            with("postgres://h/d?options=-ca%3D1"),
            "postgres://h/d?options=%2Dc%20p%3D%22a%22%2C%5C%20%27b%27"
        );
        assert_eq!(with("postgres:///?service=x"), "postgres:///?service=x");
    }
}
