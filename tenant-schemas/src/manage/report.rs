//! What became of each schema in a migration run, for people and for programs.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::migrate::Migrated;
use crate::report::Report;
use crate::script::MigrationId;

use super::fleet;
use super::outcome::{Exit, Failure};
use super::output::Format;
use super::table::{Table, count};
use super::ui::Ui;

/// How a schema came out of a run, in a word.
fn outcome(result: &Result<Migrated>) -> &'static str {
    match result {
        Ok(done) if done.is_unchanged() => "unchanged",
        Ok(_) => "migrated",
        Err(Error::Skipped { .. }) => "left",
        Err(_) => "failed",
    }
}

/// Writes the reports as one: for people what changed, for programs every schema.
pub(super) fn write(
    reports: &[Report<Migrated>],
    format: Format,
    ui: Ui,
) -> std::result::Result<(), Failure> {
    let outcomes = || reports.iter().flat_map(Report::outcomes);
    let mut table = Table::new(["schema", "outcome", "migrations"]);
    for one in outcomes() {
        let word = outcome(&one.result);
        let migrations = match &one.result {
            Ok(done) => {
                let reverted = done.reverted.iter().map(|id| format!("-{id}"));
                let applied = done.applied.iter().map(|id| format!("+{id}"));
                reverted.chain(applied).collect::<Vec<_>>().join(" ")
            }
            Err(_) => String::new(),
        };
        let wanted =
            format != Format::Table || ui.wants(2) || !matches!(word, "unchanged" | "left");
        if wanted {
            table.row([one.schema.as_str(), word, &migrations]);
        }
    }
    format.write(&table, || {
        outcomes()
            .map(|one| {
                let none = Migrated::default();
                let done = one.result.as_ref().unwrap_or(&none);
                let error = one
                    .result
                    .as_ref()
                    .err()
                    .map(|error| crate::error::chain(error));
                json!({
                    "schema": one.schema.as_str(),
                    "outcome": outcome(&one.result),
                    "applied": ids(&done.applied),
                    "reverted": ids(&done.reverted),
                    "error": error,
                })
            })
            .collect()
    })
}

pub(super) fn ids(ids: &[MigrationId]) -> Value {
    ids.iter().map(id).collect()
}

pub(super) fn id(id: &MigrationId) -> Value {
    json!({"app": id.app, "version": id.version, "name": id.name})
}

/// Says how many schemas changed, what is left, and how the command ends.
pub(super) fn conclude(report: &Report<Migrated>, ui: Ui) -> Exit {
    let of = |word: &str| {
        report
            .outcomes()
            .iter()
            .filter(|one| outcome(&one.result) == word)
            .map(|one| one.schema.as_str())
            .collect::<Vec<_>>()
    };
    let migrated = of("migrated").len();
    let unchanged = of("unchanged").len();
    ui.note(&format!(
        "{} migrated, {unchanged} had nothing to do",
        count(migrated, "schema")
    ));
    fleet::conclude(report.len(), of("failed").len(), &of("left"))
}
