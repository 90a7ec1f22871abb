//! What the code calls that the derives and attributes generate; no part of the API.

use std::fmt::Display;
use std::str::FromStr;

pub use crate::table::column_names;
pub use diesel;
pub use diesel_migrations;
pub use inventory;

use crate::model::{Field, FieldError};
use crate::name::{SchemaName, SchemaNamePolicy};

/// A type whose values can be parsed: one that is `FromStr`.
#[diagnostic::on_unimplemented(
    message = "no text can give a field of type `{Self}` its value",
    label = "not `FromStr` with an error that is `Display`",
    note = "implement `FromStr` for `{Self}`, or mark the field with `#[tenant(not_from_text)]`"
)]
pub trait FromText: Sized {
    /// Parses `text`, or says why it can't.
    fn from_text(text: &str) -> Result<Self, String>;
}

#[diagnostic::do_not_recommend]
impl<T: FromStr<Err: Display>> FromText for T {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }
}

/// A type with a value to start from: one that is `Default`.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` has no value to start from",
    label = "not `Default`",
    note = "implement `Default` for `{Self}`, make it an `Option`, or say `default = ..` at the field"
)]
pub trait Initial: Sized {
    /// The value.
    fn initial() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> Initial for T {
    fn initial() -> Self {
        T::default()
    }
}

/// The value of a field that nobody has given one.
#[must_use]
pub fn initial<T: Initial>() -> T {
    T::initial()
}

/// A tenant on its way from text, with every mistake so far.
#[expect(missing_debug_implementations, reason = "it lives inside one function")]
pub struct Form<'a> {
    fields: &'static [Field],
    text: &'a mut dyn FnMut(&Field) -> Option<String>,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// A form of which nothing is filled in.
    pub fn new(
        fields: &'static [Field],
        text: &'a mut dyn FnMut(&Field) -> Option<String>,
    ) -> Self {
        Self {
            fields,
            text,
            errors: Vec::new(),
        }
    }

    /// Asks for field number `at`; `None` means that there is one more error.
    pub fn value<T>(
        &mut self,
        at: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: Option<fn() -> T>,
    ) -> Option<T> {
        let field = &self.fields[at];
        let value = match ((self.text)(field), default) {
            (Some(text), _) => parse_field(field, &text, parse),
            (None, Some(default)) => Ok(default()),
            (None, None) => Err(FieldError::Missing {
                field: field.name.to_owned(),
                type_name: field.type_name.to_owned(),
            }),
        };
        value.map_err(|error| self.errors.push(error)).ok()
    }

    /// Every field that is missing or could not be parsed.
    #[must_use]
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }
}

/// Parses the text of one field.
///
/// # Errors
///
/// Returns [`FieldError::Invalid`] with what `parse` says.
pub fn parse_field<T>(
    field: &Field,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, FieldError> {
    parse(text).map_err(|reason| FieldError::Invalid {
        field: field.name.to_owned(),
        type_name: field.type_name.to_owned(),
        text: text.to_owned(),
        reason,
    })
}

/// The error for a name that is no field, or none that can be set.
#[must_use]
pub fn unknown_field(fields: &[Field], name: &str) -> FieldError {
    let known: Vec<String> = fields
        .iter()
        .filter(|field| field.can_be_set())
        .map(|field| format!("`{}`", field.name))
        .collect();
    FieldError::Unknown {
        field: name.to_owned(),
        known: known.join(", "),
    }
}

/// Parses a value of any type that has a parser.
///
/// # Errors
///
/// What the type's parser says.
pub fn parse<T: FromText>(text: &str) -> Result<T, String> {
    T::from_text(text)
}

/// Parses what may be absent: no text is no value.
///
/// # Errors
///
/// What `parse` says.
pub fn parse_optional<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

/// Parses a bool as people write it.
///
/// # Errors
///
/// Returns the words that are known.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("write `true` or `false`, `yes` or `no`, `1` or `0`".to_owned()),
    }
}

/// Parses a schema name by the widest policy; saving a tenant applies the tenancy's own.
///
/// # Errors
///
/// Which rule the name breaks.
pub fn parse_schema_name(text: &str) -> Result<SchemaName, String> {
    SchemaName::with_policy(text, SchemaNamePolicy::Quoted).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bools_are_read_as_people_write_them() {
        for text in ["true", "Yes", "1", "TRUE"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["false", "NO", "0"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        assert!(parse_bool("on").is_err());
        assert!(parse_bool("").is_err());
    }

    #[test]
    fn no_text_is_no_value_of_an_optional_field() {
        assert_eq!(parse_optional("", parse::<i32>), Ok(None));
        assert_eq!(parse_optional("5", parse::<i32>), Ok(Some(5)));
        assert!(parse_optional("five", parse::<i32>).is_err());
    }
}
