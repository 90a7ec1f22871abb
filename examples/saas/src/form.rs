//! What is wrong with what someone typed.

use std::collections::BTreeMap;

use serde::Serialize;

/// What is wrong, by field.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Errors(BTreeMap<&'static str, String>);

impl Errors {
    /// Notes what is wrong with a field; the first thing counts.
    pub(crate) fn add(&mut self, field: &'static str, problem: impl Into<String>) {
        self.0.entry(field).or_insert_with(|| problem.into());
    }

    /// Notes a problem with a field if there is one.
    pub(crate) fn require(&mut self, field: &'static str, fine: bool, problem: &str) {
        if !fine {
            self.add(field, problem);
        }
    }

    /// Notes that a text is no line, as one with a zero, which the database keeps in no text.
    pub(crate) fn require_line(&mut self, field: &'static str, text: &str) {
        let fine = !text.chars().any(char::is_control);
        self.require(field, fine, "Letters, digits and signs alone, on one line.");
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether this has the form of an email address that can be a username too.
#[must_use]
pub(crate) fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    text.len() <= 150
        && !name.is_empty()
        && name.chars().all(is_fine)
        && domain.chars().all(is_fine)
        && domain.split('.').count() > 1
        && domain.split('.').all(|label| !label.is_empty())
}
