//! [`Asked`]: what a tenant is asked for by, and what a change makes stale of that.

use std::collections::HashSet;

use quick_cache::Equivalent;

use super::hostname;
use crate::changes::Change;

/// What a tenant is asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum By {
    Domain,
    Schema,
}

/// A question, with a name that is borrowed, and with one that is kept.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Asked<'a> {
    pub(super) by: By,
    pub(super) name: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) by: By,
    pub(super) name: Box<str>,
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.by == key.by && *self.name == *key.name
    }
}

impl From<&Asked<'_>> for Key {
    fn from(asked: &Asked<'_>) -> Self {
        Self {
            by: asked.by,
            name: asked.name.into(),
        }
    }
}

/// What has changed, so that a bulk update of a fleet costs one look for each entry.
#[derive(Default)]
pub(super) struct Stale<'a> {
    everything: bool,
    schemas: HashSet<&'a str>,
    domains: HashSet<&'a str>,
}

impl<'a> Stale<'a> {
    pub(super) fn of(changes: &'a [Change]) -> Self {
        let mut stale = Self::default();
        for change in changes {
            match change {
                Change::Tenant(schema) | Change::Name { schema, .. } => {
                    stale.schemas.insert(schema);
                }
                Change::Domain(domain) => drop(stale.domains.insert(domain)),
                Change::Anything => stale.everything = true,
            }
        }
        stale
    }

    /// Whether a key may lead elsewhere than to the tenant of `schema`, or that one is another now.
    pub(super) fn has(&self, key: &Key, schema: &str) -> bool {
        let renamed = match key.by {
            By::Schema => self.schemas.contains(&*key.name),
            By::Domain => {
                self.domains.contains(&*key.name)
                    || hostname::other_spelling(&key.name)
                        .is_some_and(|other| self.domains.contains(&*other))
            }
        };
        self.everything || renamed || self.schemas.contains(schema)
    }
}
