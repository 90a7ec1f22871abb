//! What the derives' own attributes say: [`Options`] on a struct, [`Marks`] on a field.

use syn::{DeriveInput, Ident, Path};

use super::{Derive, Role};
use crate::attr::{self, Entry};
use crate::errors::Errors;

/// What `#[tenant(..)]` or `#[domain(..)]` on the struct says.
pub(crate) struct Options {
    pub(crate) auto_create_schema: Option<bool>,
    pub(crate) auto_drop_schema: Option<bool>,
    pub(crate) domains: Option<Path>,
    pub(crate) constructor: bool,
}

/// What `#[tenant(..)]` or `#[domain(..)]` on a field says.
#[derive(Default)]
pub(crate) struct Marks {
    pub(crate) roles: Vec<(Role, Ident)>,
    pub(crate) default: Option<Entry>,
    pub(crate) generated: Option<Ident>,
    pub(crate) not_from_text: Option<Ident>,
}

impl Options {
    pub(super) fn read(derive: Derive, item: &DeriveInput, errors: &mut Errors) -> Self {
        let mut found = Self {
            auto_create_schema: None,
            auto_drop_schema: None,
            domains: None,
            constructor: true,
        };
        let entries = Entry::of_attributes(&item.attrs, derive.helper(), errors);
        attr::no_key_twice(&entries, errors);
        for entry in entries {
            match (derive, entry.key.to_string().as_str()) {
                (Derive::Tenant, "auto_create_schema") => {
                    found.auto_create_schema = entry.bool(errors);
                }
                (Derive::Tenant, "auto_drop_schema") => found.auto_drop_schema = entry.bool(errors),
                (Derive::Tenant, "domains") => found.domains = entry.path(errors),
                (_, "constructor") => found.constructor = entry.bool(errors).unwrap_or(true),
                _ => attr::unknown_key(&entry, Self::known_keys(derive), errors),
            }
        }
        found
    }

    fn known_keys(derive: Derive) -> &'static [&'static str] {
        match derive {
            Derive::Tenant => &[
                "auto_create_schema",
                "auto_drop_schema",
                "domains",
                "constructor",
            ],
            Derive::Domain => &["constructor"],
        }
    }
}

impl Marks {
    pub(super) fn read(derive: Derive, field: &syn::Field, errors: &mut Errors) -> Self {
        let mut found = Self::default();
        let entries = Entry::of_attributes(&field.attrs, derive.helper(), errors);
        attr::no_key_twice(&entries, errors);
        for entry in entries {
            let key = entry.key.to_string();
            let role = derive.roles().iter().find(|role| role.name() == key);
            match (derive, role, key.as_str()) {
                (_, Some(role), _) => found.roles.push((*role, entry.flag(errors))),
                (_, _, "default") => found.default = Some(entry),
                (_, _, "generated") => found.generated = Some(entry.flag(errors)),
                (Derive::Tenant, _, "not_from_text") => {
                    found.not_from_text = Some(entry.flag(errors));
                }
                _ => attr::unknown_key(&entry, &Self::known_keys(derive), errors),
            }
        }
        found
    }

    fn known_keys(derive: Derive) -> Vec<&'static str> {
        let roles = derive.roles().iter().map(|role| role.name());
        let others = ["default", "generated", "not_from_text"];
        let others = match derive {
            Derive::Tenant => &others[..],
            Derive::Domain => &others[..2],
        };
        roles.chain(others.iter().copied()).collect()
    }
}
