//! Keys of a tenant in a cache that all tenants share: Redis, memcached, moka.
//!
//! A key is the schema, a colon, and the key as the program knows it, so two
//! tenants never share one:
//!
//! ```
//! use tenant_schemas::SchemaName;
//! use tenant_schemas::cache_key::{make_key, reverse_key};
//!
//! let acme: SchemaName = "acme".parse()?;
//! let key = make_key(&acme, "rooms:free");
//! assert_eq!(key, "acme:rooms:free");
//! assert_eq!(reverse_key(&key), Some((acme, "rooms:free")));
//! # Ok::<(), tenant_schemas::NameError>(())
//! ```
//!
//! Django puts a prefix and a version between the two. Here they are part of the
//! key, where a program wants them: `make_key(&acme, "v2:rooms:free")`.
//!
//! # What outlives its tenant
//!
//! A key holds the name of the schema, which another tenant may be given once it
//! is free. So let entries expire, and remove those of a tenant that is deleted
//! or renamed: they are the keys that begin with [`prefix`].

use crate::name::{SchemaName, SchemaNamePolicy};

/// No policy admits it in a name, so the first one in a key ends the schema.
const SEPARATOR: char = ':';

/// The key under which `key` of this schema's tenant is cached.
///
/// Different schemas or different keys give different results. The result starts
/// with the schema and ends with `key` as it was given: memcached, which takes
/// 250 bytes without blanks, has the last word on what a key may be.
#[must_use]
pub fn make_key(schema: &SchemaName, key: &str) -> String {
    format!("{schema}{SEPARATOR}{key}")
}

/// The schema and the key that [`make_key`] made this of.
///
/// `None` if it made it of nothing, as with the keys that a program shares among
/// its tenants.
///
/// ```
/// use tenant_schemas::cache_key::reverse_key;
///
/// assert_eq!(reverse_key("rooms"), None);
/// assert_eq!(reverse_key("not a schema:rooms"), None);
/// ```
#[must_use]
pub fn reverse_key(key: &str) -> Option<(SchemaName, &str)> {
    let (schema, key) = key.split_once(SEPARATOR)?;
    // The widest policy: a name was admitted once, by whatever policy.
    let schema = SchemaName::with_policy(schema, SchemaNamePolicy::Quoted).ok()?;
    Some((schema, key))
}

/// What all keys of this schema's tenant begin with, and those of no other.
///
/// ```
/// use tenant_schemas::cache_key::{make_key, prefix};
///
/// let (a, ab) = ("a".parse()?, "ab".parse()?);
/// assert!(make_key(&a, "rooms").starts_with(&prefix(&a)));
/// assert!(!make_key(&ab, "rooms").starts_with(&prefix(&a)));
/// # Ok::<(), tenant_schemas::NameError>(())
/// ```
#[must_use]
pub fn prefix(schema: &SchemaName) -> String {
    format!("{schema}{SEPARATOR}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Every string over `alphabet` of at most `length` characters.
    fn strings(alphabet: &str, length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..length {
            longest = longest
                .iter()
                .flat_map(|start| alphabet.chars().map(move |c| format!("{start}{c}")))
                .collect();
            all.extend_from_slice(&longest);
        }
        all
    }

    fn schemas(alphabet: &str, length: usize) -> Vec<SchemaName> {
        strings(alphabet, length)
            .iter()
            .filter_map(|name| SchemaName::with_policy(name, SchemaNamePolicy::Quoted).ok())
            .collect()
    }

    #[test]
    fn c110_keys_start_with_the_schema_are_reversed_and_never_collide() {
        let schemas = schemas("aA1-_é:%", 3);
        assert_eq!(
            schemas.len(),
            6 + 36 + 216,
            "neither `:` nor `%` is admitted"
        );
        let keys = strings("a:é%\0", 3);
        let mut seen = HashMap::new();
        for schema in &schemas {
            for key in &keys {
                let made = make_key(schema, key);
                assert!(made.starts_with(schema.as_str()), "{made:?}");
                let reversed = reverse_key(&made).expect("it was made");
                assert_eq!((&reversed.0, reversed.1), (schema, key.as_str()));
                let other = seen.insert(made.clone(), (schema, key));
                assert_eq!(other, None, "{made:?} was made of {schema} and {key:?} too");
            }
        }
        assert_eq!(seen.len(), schemas.len() * keys.len());
    }

    #[test]
    fn c110_only_the_keys_of_a_tenant_begin_with_its_prefix() {
        let schemas = schemas("aA-", 3);
        for owner in &schemas {
            for other in &schemas {
                let key = make_key(other, "a:a");
                assert_eq!(key.starts_with(&prefix(owner)), owner == other, "{key}");
            }
        }
    }

    #[test]
    fn c110_no_character_that_a_name_may_have_ends_it_early() {
        for policy in [SchemaNamePolicy::Plain, SchemaNamePolicy::Quoted] {
            for character in '\0'..=char::MAX {
                let name = format!("a{character}");
                if let Ok(schema) = SchemaName::with_policy(&name, policy) {
                    let key = make_key(&schema, "b");
                    assert_eq!(reverse_key(&key), Some((schema, "b")), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_not_made_of_a_schema_is_not_reversed() {
        for key in [
            "",
            "rooms",
            ":rooms",
            "a b:rooms",
            "pg_x:rooms",
            "a\":rooms",
        ] {
            assert_eq!(reverse_key(key), None, "{key:?}");
        }
    }
}
