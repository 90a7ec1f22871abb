//! Which locations stay within a tenant's directory.

use object_store::path::Path;
use percent_encoding::percent_decode_str;

use super::StorageError;

/// Nobody encodes a name more often; who does has something in mind.
const MAX_DECODINGS: usize = 8;

const EMPTY: &str = "name a file below the tenant's directory";
const RELATIVE: &str = "no part of it may be `..` or `.`, however it is encoded";
const NOT_UTF_8: &str =
    "what is percent-encoded in it has to be UTF-8 or, decoded, might be taken for `..`";
const ABSOLUTE: &str = "it has to be relative to the tenant's directory, without `/` in front";
const CHARACTERS: &str =
    "use names between single slashes, without backslashes, drive letters and control characters";

/// A location as a user gave it.
pub(super) fn parse(text: &str) -> Result<Path, StorageError> {
    let refused = |rule| {
        Err(StorageError::Location {
            location: text.to_owned(),
            rule,
        })
    };
    if text.is_empty() {
        return refused(EMPTY);
    }
    if text.starts_with('/') {
        return refused(ABSOLUTE);
    }
    if let Some(rule) = text.split('/').find_map(broken_rule) {
        return refused(rule);
    }
    let drive = matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    match Path::parse(text) {
        Ok(location) if !drive && !text.contains('\\') && !text.ends_with('/') => Ok(location),
        _ => refused(CHARACTERS),
    }
}

/// Refuses the location of an object that is none below the tenant's directory.
pub(super) fn check(location: &Path) -> Result<(), StorageError> {
    if location.is_root() {
        return Err(StorageError::Location {
            location: String::new(),
            rule: EMPTY,
        });
    }
    check_prefix(location)
}

/// Refuses the prefix of a listing that leads out of the tenant's directory.
pub(super) fn check_prefix(prefix: &Path) -> Result<(), StorageError> {
    match prefix.as_ref().split('/').find_map(broken_rule) {
        None => Ok(()),
        Some(rule) => Err(StorageError::Location {
            location: prefix.to_string(),
            rule,
        }),
    }
}

/// The rule that this part breaks, if somebody who decodes it, as often as they like, may be led elsewhere.
///
/// `object_store` decodes nothing. What stands in front of a bucket may.
fn broken_rule(part: &str) -> Option<&'static str> {
    let mut part = part.to_owned();
    for _ in 0..MAX_DECODINGS {
        if part
            .split(['/', '\\'])
            .any(|name| matches!(name, "." | ".."))
        {
            return Some(RELATIVE);
        }
        match percent_decode_str(&part).decode_utf8() {
            Ok(decoded) if decoded == part => return None,
            Ok(decoded) => part = decoded.into_owned(),
            // Overlong encodings of a dot are no UTF-8, but some take them for one.
            Err(_) => return Some(NOT_UTF_8),
        }
    }
    Some(RELATIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c112_locations_that_lead_out_are_refused_with_the_rule() {
        for (text, rule) in [
            ("", EMPTY),
            ("..", RELATIVE),
            (".", RELATIVE),
            ("../globex/logo.png", RELATIVE),
            ("a/../../globex/logo.png", RELATIVE),
            ("a/./b", RELATIVE),
            ("a/..", RELATIVE),
            ("%2e%2e/globex/logo.png", RELATIVE),
            (".%2E/globex/logo.png", RELATIVE),
            ("%252e%252e/globex/logo.png", RELATIVE),
            ("%25252e%25252e/globex", RELATIVE),
            ("%2525252525252525252e", RELATIVE),
            ("..%2fglobex%2flogo.png", RELATIVE),
            ("..%5cglobex", RELATIVE),
            ("a%2f..%2f..%2fglobex", RELATIVE),
            ("%c0%ae%c0%ae/globex", NOT_UTF_8),
            ("C%F6ln.png", NOT_UTF_8),
            ("..\\globex\\logo.png", RELATIVE),
            ("/etc/passwd", ABSOLUTE),
            ("//globex/logo.png", ABSOLUTE),
            ("a//b", CHARACTERS),
            ("a/", CHARACTERS),
            ("\\\\host\\share", CHARACTERS),
            ("C:/windows", CHARACTERS),
            ("c:windows", CHARACTERS),
            ("file:///etc/passwd", CHARACTERS),
            ("a\0b", CHARACTERS),
            ("a\nb", CHARACTERS),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.ends_with(rule), "{text:?}: {error}");
        }
    }

    #[test]
    fn c112_what_object_store_encodes_is_refused_as_well() {
        for text in ["../globex/logo.png", "a/../b", "..%2fglobex"] {
            // It does not refuse it, but has a name without a meaning: `%2E%2E`.
            assert!(check(&Path::from(text)).is_err(), "{text}");
            assert!(check_prefix(&Path::from(text)).is_err(), "{text}");
        }
        assert!(check(&Path::ROOT).is_err());
        assert!(check_prefix(&Path::ROOT).is_ok());
    }

    #[test]
    fn ordinary_names_are_locations_as_they_are() {
        for text in [
            "logo.png",
            "a/b/c",
            "...",
            "..a",
            "a..",
            ".hidden",
            "100%.txt",
            "100%25.txt",
            "a%20b",
            "größe ü.txt",
            "~root",
            "note:b",
        ] {
            let location = parse(text).expect(text);
            assert_eq!(location.as_ref(), text);
            assert!(check(&location).is_ok(), "{text}");
        }
    }
}
