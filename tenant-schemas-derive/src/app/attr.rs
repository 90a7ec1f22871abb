//! The arguments of an app, as plain data.

use syn::{Expr, Ident, Lit, LitStr, Path};

use crate::attr::{self, Entry, literal};
use crate::errors::Errors;

const KNOWN: [&str; 7] = [
    "migrations",
    "source",
    "rust",
    "label",
    "after",
    "types",
    "sees_shared",
];

/// What stands between the parentheses of `#[tenant_app(..)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) migrations: Option<LitStr>,
    pub(crate) source: Option<Expr>,
    pub(crate) rust: Option<Expr>,
    pub(crate) label: Option<LitStr>,
    pub(crate) after: Vec<After>,
    pub(crate) types: Option<(Ident, Vec<LitStr>)>,
    pub(crate) sees_shared: Option<(Ident, bool)>,
}

/// An app that is migrated earlier.
pub(crate) enum After {
    /// The struct that is the app.
    App(Path),
    /// The label of an app of another crate.
    Label(LitStr),
}

impl Arguments {
    pub(crate) fn read(entries: Vec<Entry>, errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for entry in entries {
            match entry.key.to_string().as_str() {
                "migrations" => found.migrations = entry.string(errors),
                "source" => found.source = entry.expr(errors),
                "rust" => found.rust = entry.expr(errors),
                "label" => found.label = entry.string(errors),
                "after" => found.after = after(&entry, errors),
                "types" => found.types = Some((entry.key.clone(), types(&entry, errors))),
                "sees_shared" => {
                    found.sees_shared = entry.bool(errors).map(|on| (entry.key, on));
                }
                _ => attr::unknown_key(&entry, &KNOWN, errors),
            }
        }
        found
    }
}

fn after(entry: &Entry, errors: &mut Errors) -> Vec<After> {
    let mut after = Vec::new();
    for app in entry.array("OtherApp", errors) {
        match &app {
            Expr::Path(path) => after.push(After::App(path.path.clone())),
            _ => match literal(&app) {
                Some(Lit::Str(label)) => after.push(After::Label(label.clone())),
                _ => errors.at(
                    app,
                    "write the struct of an app, or the label of one elsewhere",
                ),
            },
        }
    }
    after
}

fn types(entry: &Entry, errors: &mut Errors) -> Vec<LitStr> {
    let mut types = Vec::new();
    for name in entry.array("\"..\"", errors) {
        match literal(&name) {
            Some(Lit::Str(name)) => types.push(name.clone()),
            _ => errors.at(name, "write a type of tenants in double quotes"),
        }
    }
    types
}
