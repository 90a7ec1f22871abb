//! What someone typed who signs up, and what may be wrong with it.

use serde::{Deserialize, Serialize};
use tenant_schemas::SchemaName;
use tenant_schemas::auth::{NewUser, Password};

use crate::form::{Errors, is_email};
use crate::models::Hotel;

/// Names that are ours, or that people would take for ours.
const RESERVED: [&str; 16] = [
    "admin", "api", "app", "assets", "blog", "console", "docs", "help", "innkeep", "mail",
    "public", "signup", "static", "status", "support", "www",
];

/// What someone typed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct SignupForm {
    name: String,
    subdomain: String,
    email: String,
    #[serde(skip_serializing)] // no page shows it again
    password: String,
}

impl SignupForm {
    /// The hotel and its owner, or what is wrong.
    pub(super) fn read(&self, domain: &str) -> Result<(Hotel, NewUser), Errors> {
        let mut errors = Errors::default();
        let name = self.name.trim();
        let length = name.chars().count();
        errors.require("name", length > 0, "What is your hotel called?");
        errors.require(
            "name",
            length <= 60,
            "At most 60 characters fit on the sign.",
        );
        errors.require_line("name", name);
        let label = self.subdomain.trim().to_lowercase();
        check_label(&label, &mut errors);
        let schema: Result<SchemaName, _> = label.replace('-', "_").parse();
        if let Err(error) = &schema {
            errors.add("subdomain", format!("This can't be an address: {error}."));
        }
        let email = self.email.trim();
        errors.require(
            "email",
            is_email(email),
            "We need an address like ada@example.com.",
        );
        let password = Password::from(self.password.clone());
        if let Err(error) = password.check() {
            errors.add("password", format!("Please choose another: {error}."));
        }
        match schema {
            Ok(schema) if errors.is_empty() => {
                let hotel = Hotel::new(schema, format!("{label}.{domain}")).name(name);
                Ok((hotel, NewUser::new(email, password).email(email)))
            }
            _ => Err(errors),
        }
    }
}

/// Hyphens become underscores in the schema's name; there are no underscores in a label,
/// so no two labels have one schema.
fn check_label(label: &str, errors: &mut Errors) {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    for (is_fine, problem) in [
        (!label.is_empty(), "Choose an address for your site."),
        (
            label.chars().all(fine),
            "Only letters from a to z, digits and hyphens work in an address.",
        ),
        (
            label.starts_with(|c: char| c.is_ascii_lowercase()),
            "An address begins with a letter.",
        ),
        (
            !label.ends_with('-') && !label.contains("--"),
            "Hyphens stand between other characters, one at a time.",
        ),
        (
            (3..=30).contains(&label.len()),
            "An address has 3 to 30 characters.",
        ),
        (
            !RESERVED.contains(&label),
            "This address is reserved. Please choose another.",
        ),
    ] {
        errors.require("subdomain", is_fine, problem);
    }
}

#[cfg(test)]
mod tests {
    use super::{Errors, check_label};

    #[test]
    fn an_address_is_a_host_name_that_is_not_ours() {
        for fine in ["acme", "grand-budapest", "hotel-7", "abc", &"a".repeat(30)] {
            let mut errors = Errors::default();
            check_label(fine, &mut errors);
            assert!(errors.is_empty(), "{fine}: {errors:?}");
        }
        for refused in [
            "",
            "ab",
            "-acme",
            "acme-",
            "a--b",
            "7up",
            "a_b",
            "a.b",
            "acmé",
            "www",
            "admin",
            "static",
            "api",
            "xn--acm-dma",
            &"a".repeat(31),
        ] {
            let mut errors = Errors::default();
            check_label(refused, &mut errors);
            assert!(!errors.is_empty(), "{refused}");
        }
    }
}
