//! Hosts as requests spell them, and as domains are stored.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::Malformed;

/// DNS knows no longer names.
const MAX_BYTES: usize = 253;
const MAX_LABEL: usize = 63;

const EMPTY_LABEL: &str = "it has a dot too many";

/// The host of `host[:port]`, as domains are stored: without port, in lower case,
/// without the dot of the root, in ASCII (`xn--..`); an IPv6 address without brackets.
///
/// Borrows what is spelled so already.
pub(super) fn normalize(authority: &str) -> Result<Cow<'_, str>, Malformed> {
    let malformed = |rule| Malformed::new("host", authority, rule);
    if authority.is_empty() {
        return Err(malformed("it is empty"));
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest
            .split_once(']')
            .ok_or_else(|| malformed("its bracket is not closed"))?;
        check_port(port).map_err(malformed)?;
        let parsed: Ipv6Addr = address
            .parse()
            .map_err(|_| malformed("what is in brackets is no IPv6 address"))?;
        return Ok(Cow::Owned(parsed.to_string()));
    }
    let (host, port) = match authority.find(':') {
        Some(at) => authority.split_at(at),
        None => (authority, ""),
    };
    check_port(port).map_err(malformed)?;
    let host = if host.is_ascii() {
        Cow::Borrowed(host)
    } else {
        let ascii = idna::domain_to_ascii(host);
        Cow::Owned(ascii.map_err(|_| malformed("it is no international domain name"))?)
    };
    // The root, which every name ends with and hardly anyone writes.
    let host = match host {
        Cow::Borrowed(host) => Cow::Borrowed(host.strip_suffix('.').unwrap_or(host)),
        Cow::Owned(mut host) => {
            if host.ends_with('.') {
                host.pop();
            }
            Cow::Owned(host)
        }
    };
    let lower = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        host
    };
    check_name(&lower).map_err(malformed)?;
    Ok(lower)
}

fn check_port(port: &str) -> Result<(), &'static str> {
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some("") => Ok(()),
        Some(digits)
            if digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok() =>
        {
            Ok(())
        }
        _ => Err("what follows the name is no port"),
    }
}

/// Looks at each byte once: every request has a host.
fn check_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it is empty");
    }
    if host.len() > MAX_BYTES {
        return Err("it is longer than 253 bytes");
    }
    let mut label = 0;
    for byte in host.bytes() {
        match byte {
            b'.' if label == 0 => return Err(EMPTY_LABEL),
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            _ => return Err("it has characters that no host has"),
        }
        if label > MAX_LABEL {
            return Err("one of its labels is longer than 63 bytes");
        }
    }
    if label == 0 { Err(EMPTY_LABEL) } else { Ok(()) }
}

/// Another spelling under which the domain of a host may be stored: without `www.`,
/// and an IPv6 address in brackets.
pub(super) fn other_spelling(host: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = host.strip_prefix("www.") {
        return rest.contains('.').then_some(Cow::Borrowed(rest));
    }
    host.contains(':').then(|| Cow::Owned(format!("[{host}]")))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{normalize, other_spelling};

    #[test]
    fn c70_hosts_are_normalized() {
        for (spelled, host) in [
            ("acme.com", "acme.com"),
            ("acme.com:8000", "acme.com"),
            ("acme.com:", "acme.com"),
            ("ACME.Com", "acme.com"),
            ("acme.com.", "acme.com"),
            ("Acme.COM.:443", "acme.com"),
            ("localhost", "localhost"),
            ("tenant_1.localhost", "tenant_1.localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[::1]:8000", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[2001:DB8::A]", "2001:db8::a"),
            ("münchen.de", "xn--mnchen-3ya.de"),
            ("MÜNCHEN.de.:80", "xn--mnchen-3ya.de"),
            ("XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de"),
            ("acme。com", "acme.com"),
        ] {
            assert_eq!(normalize(spelled).as_deref(), Ok(host), "{spelled}");
        }
    }

    #[test]
    fn what_is_normal_already_is_borrowed() {
        for host in ["acme.com", "acme.com:8000", "acme.com."] {
            assert!(matches!(normalize(host), Ok(Cow::Borrowed(_))), "{host}");
        }
    }

    #[test]
    fn each_label_may_have_63_bytes() {
        let host = [&"a".repeat(63), &*"b".repeat(63), "com"].join(".");
        assert_eq!(normalize(&host).as_deref(), Ok(&*host));
    }

    #[test]
    fn c73_malformed_hosts_are_refused_with_the_rule() {
        for (host, rule) in [
            ("", "it is empty"),
            (".", "it is empty"),
            (":80", "it is empty"),
            ("acme.com:http", "no port"),
            ("acme.com:99999", "no port"),
            ("acme.com:80:80", "no port"),
            ("acme.com:-1", "no port"),
            ("acme.com:+1", "no port"),
            ("::1", "no port"),
            ("[::1", "not closed"),
            ("[::1]x", "no port"),
            ("[fe80::1%25eth0]", "no IPv6 address"),
            ("[acme.com]", "no IPv6 address"),
            ("acme..com", "a dot too many"),
            (".acme.com", "a dot too many"),
            ("acme.com..", "a dot too many"),
            ("acme com", "characters that no host has"),
            ("user@acme.com", "characters that no host has"),
            ("acme.com/rooms", "characters that no host has"),
            ("acme%2ecom", "characters that no host has"),
            ("acme.com\0", "characters that no host has"),
            ("*.acme.com", "characters that no host has"),
            (&"a".repeat(64), "longer than 63 bytes"),
            (&"a.".repeat(130), "longer than 253 bytes"),
        ] {
            let error = normalize(host).expect_err(host).to_string();
            assert!(error.contains(rule), "{host:?}: {error}");
        }
    }

    #[test]
    fn a_host_is_known_under_another_spelling_too() {
        assert_eq!(other_spelling("www.acme.com").as_deref(), Some("acme.com"));
        assert_eq!(other_spelling("::1").as_deref(), Some("[::1]"));
        assert_eq!(other_spelling("www.com"), None);
        assert_eq!(other_spelling("acme.com"), None);
        assert_eq!(other_spelling("wwwacme.com"), None);
    }
}
