//! The rules that an app has to keep, one function each.

use syn::{ItemStruct, LitStr};

use super::Scope;
use super::attr::{After, Arguments};
use super::migrations::Directory;
use crate::errors::Errors;
use crate::text::snake_case;

/// The limit that `PostgreSQL` has for names.
const MAX_LABEL_BYTES: usize = 63;

/// A unit struct that is an app.
pub(crate) struct App<'a> {
    pub(crate) item: &'a ItemStruct,
    pub(crate) scope: Scope,
    pub(crate) label: String,
    pub(crate) directory: Option<(LitStr, Directory)>,
    pub(crate) arguments: Arguments,
}

impl<'a> App<'a> {
    pub(crate) fn check(
        scope: Scope,
        item: &'a ItemStruct,
        arguments: Arguments,
        errors: &mut Errors,
    ) -> Self {
        if !item.generics.params.is_empty() {
            errors.at(
                &item.generics,
                "an app can't be generic: remove the parameters",
            );
        }
        only_tenants_have_types(scope, &arguments, errors);
        only_tenants_see_shared(scope, &arguments, errors);
        let label = label(item, arguments.label.as_ref(), errors);
        not_after_itself(item, &label, &arguments, errors);
        Self {
            item,
            scope,
            label,
            directory: directory(arguments.migrations.as_ref(), errors),
            arguments,
        }
    }
}

fn only_tenants_have_types(scope: Scope, arguments: &Arguments, errors: &mut Errors) {
    if let (Scope::Shared, Some((key, _))) = (scope, &arguments.types) {
        errors.at(
            key,
            "only an app of tenants has `types`; `#[tenant_app]` makes one",
        );
    }
}

fn only_tenants_see_shared(scope: Scope, arguments: &Arguments, errors: &mut Errors) {
    if let (Scope::Shared, Some((key, _))) = (scope, &arguments.sees_shared) {
        errors.at(
            key,
            "a shared app lives in the shared schema: remove `sees_shared`",
        );
    }
}

fn label(item: &ItemStruct, given: Option<&LitStr>, errors: &mut Errors) -> String {
    let label = given.map_or_else(|| snake_case(&item.ident.to_string()), LitStr::value);
    let rule = "use `[a-z_][a-z0-9_]*`, at most 63 bytes";
    match given {
        _ if is_label(&label) => (),
        Some(given) => errors.at(given, format!("{label:?} is no label: {rule}")),
        None => errors.at(
            &item.ident,
            format!("{label:?} is no label: give one with `label = \"..\"` ({rule})"),
        ),
    }
    label
}

fn is_label(label: &str) -> bool {
    let mut chars = label.chars();
    label.len() <= MAX_LABEL_BYTES
        && chars.next().is_some_and(|c| matches!(c, 'a'..='z' | '_'))
        && chars.all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

fn not_after_itself(item: &ItemStruct, label: &str, arguments: &Arguments, errors: &mut Errors) {
    for after in &arguments.after {
        match after {
            After::App(path) if path.is_ident(&item.ident) => {
                errors.at(path, "an app can't be migrated after itself");
            }
            After::Label(other) if other.value() == label => {
                errors.at(other, "an app can't be migrated after itself");
            }
            _ => (),
        }
    }
}

fn directory(given: Option<&LitStr>, errors: &mut Errors) -> Option<(LitStr, Directory)> {
    let given = given?;
    let directory = Directory::read(&given.value());
    for problem in &directory.problems {
        errors.at(given, problem);
    }
    Some((given.clone(), directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain_identifiers_of_at_most_63_bytes() {
        for label in ["a", "_", "hotels", "a1_b", &"a".repeat(63)] {
            assert!(is_label(label), "{label}");
        }
        for label in ["", "1a", "Hotels", "a-b", "größe", "a b", &"a".repeat(64)] {
            assert!(!is_label(label), "{label}");
        }
    }
}
