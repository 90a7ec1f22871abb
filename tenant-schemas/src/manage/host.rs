//! Domains as people type them.

/// A host name in lower case, without scheme, port or path.
pub(super) fn host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let refused = |rule: &str| {
        Err(format!(
            "{text:?} is no domain: {rule}; a domain looks like `tenant.my-domain.com`"
        ))
    };
    if text.is_empty() {
        return refused("it is empty");
    }
    if text.contains("://") {
        return refused("leave out the scheme");
    }
    if text.contains('/') {
        return refused("leave out the path");
    }
    if text.contains(':') && !text.starts_with('[') {
        return refused("leave out the port");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refused("it has a blank in it");
    }
    if text.len() > 253 {
        return refused("it is longer than 253 bytes");
    }
    Ok(text.trim_end_matches('.').to_lowercase())
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
            ("a b.com", "blank"),
        ] {
            assert!(host(text).unwrap_err().contains(rule), "{text}");
        }
    }
}
