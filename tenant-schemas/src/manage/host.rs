//! Domains as people type them.

use crate::domain::check_domain;

/// A host name in lower case, out of one that was typed.
pub(super) fn host(text: &str) -> Result<String, String> {
    let host = text.trim().trim_end_matches('.').to_lowercase();
    match check_domain(&host) {
        Ok(()) => Ok(host),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_are_told_from_what_people_paste() {
        assert_eq!(
            host(" Tenant.Example.COM. "),
            Ok("tenant.example.com".into())
        );
        assert_eq!(host("[::1]"), Ok("[::1]".into()));
        for (text, rule) in [
            ("", "empty"),
            ("https://a.com", "scheme"),
            ("a.com/x", "path"),
            ("a.com:80", "port"),
            ("a b.com", "white space"),
            ("a..com", "dot"),
        ] {
            assert!(host(text).unwrap_err().contains(rule), "{text}");
        }
    }
}
