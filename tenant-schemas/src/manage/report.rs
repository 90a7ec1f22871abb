//! What became of each schema in a migration run, for people and for programs.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::error::{BoxError, Error, chain};
use crate::migrate::Migrated;
use crate::name::SchemaName;
use crate::provision::Saved;
use crate::report::Report;
use crate::script::MigrationId;

use super::fleet;
use super::outcome::{Exit, Failure};
use super::output::Format;
use super::table::{Table, count};
use super::ui::Ui;

/// How many schemas of which the same is to be said are named, each in a row of its own.
const NAMED: usize = 20;

/// What became of a schema; of several, the last one is what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Unchanged,
    Migrated,
    Created,
    /// It was not begun.
    Left,
    Failed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Migrated => "migrated",
            Self::Created => "created",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// What became of one schema in one run.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) schema: SchemaName,
    pub(super) outcome: Outcome,
    applied: Vec<MigrationId>,
    reverted: Vec<MigrationId>,
    error: Option<String>,
}

impl Line {
    fn new(schema: SchemaName, outcome: Outcome) -> Self {
        Self {
            schema,
            outcome,
            applied: Vec::new(),
            reverted: Vec::new(),
            error: None,
        }
    }

    /// What was done, in a line.
    fn migrations(&self) -> String {
        let reverted = self.reverted.iter().map(|id| format!("-{id}"));
        let applied = self.applied.iter().map(|id| format!("+{id}"));
        reverted.chain(applied).collect::<Vec<_>>().join(" ")
    }

    /// A schema that was not begun.
    pub(super) fn left(schema: SchemaName) -> Self {
        let error = Error::Skipped {
            schema: schema.clone(),
        };
        Self {
            error: Some(error.to_string()),
            ..Self::new(schema, Outcome::Left)
        }
    }

    /// A schema that was to be created; somebody else may have been faster.
    pub(super) fn created(
        schema: SchemaName,
        result: Option<Result<Option<Saved>, BoxError>>,
    ) -> Self {
        match result {
            None => Self::left(schema),
            Some(Ok(None)) => Self::new(schema, Outcome::Unchanged),
            Some(Ok(Some(saved))) => Self {
                applied: saved.applied,
                ..Self::new(schema, Outcome::Created)
            },
            Some(Err(error)) => Self {
                error: Some(chain(&*error)),
                ..Self::new(schema, Outcome::Failed)
            },
        }
    }
}

/// A line for each schema of a run.
pub(super) fn lines(report: Report<Migrated>) -> impl Iterator<Item = Line> {
    report
        .into_outcomes()
        .into_iter()
        .map(|one| match one.result {
            Ok(done) => {
                let outcome = if done.is_unchanged() {
                    Outcome::Unchanged
                } else {
                    Outcome::Migrated
                };
                Line {
                    applied: done.applied,
                    reverted: done.reverted,
                    ..Line::new(one.schema, outcome)
                }
            }
            Err(Error::Skipped { .. }) => Line::left(one.schema),
            Err(error) => Line {
                error: Some(chain(&error)),
                ..Line::new(one.schema, Outcome::Failed)
            },
        })
}

/// Writes the lines: for people what changed, in few rows; for programs every schema.
pub(super) fn write(lines: &[Line], format: Format, ui: Ui) -> Result<(), Failure> {
    let for_people = format == Format::Table && !ui.wants(2);
    let quiet = |line: &&Line| matches!(line.outcome, Outcome::Unchanged | Outcome::Left);
    let told: Vec<&Line> = lines
        .iter()
        .filter(|line| !(for_people && quiet(line)))
        .collect();
    let mut table = Table::new(["schema", "outcome", "migrations"]);
    // The same, once: a row that stands for many schemas has their number instead of a name.
    let mut same: HashMap<(Outcome, String), usize> = HashMap::new();
    for line in &told {
        *same.entry((line.outcome, line.migrations())).or_default() += 1;
    }
    for line in told {
        let migrations = line.migrations();
        let number = same.get_mut(&(line.outcome, migrations.clone()));
        let schema = match number {
            Some(number) if for_people && *number > NAMED => {
                let schema = format!("{number} schemas");
                *number = 0;
                schema
            }
            // It is in the row of many already.
            Some(0) => continue,
            _ => line.schema.to_string(),
        };
        table.row([&*schema, line.outcome.word(), &migrations]);
    }
    format.write(&table, || {
        lines
            .iter()
            .map(|line| {
                json!({
                    "schema": line.schema.as_str(),
                    "outcome": line.outcome.word(),
                    "applied": ids(&line.applied),
                    "reverted": ids(&line.reverted),
                    "error": line.error,
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
///
/// A schema that has several lines counts once. `aim` is what the command is for,
/// which is told even if it was done to none.
pub(super) fn conclude(lines: &[Line], aim: Outcome, ui: Ui) -> Exit {
    let mut schemas: BTreeMap<&SchemaName, Outcome> = BTreeMap::new();
    for line in lines {
        let known = schemas.entry(&line.schema).or_insert(line.outcome);
        *known = line.outcome.max(*known);
    }
    let of = |outcome| {
        let mut found = Vec::new();
        for (schema, own) in &schemas {
            if *own == outcome {
                found.push(schema.as_str());
            }
        }
        found
    };
    let mut parts = Vec::new();
    for outcome in [Outcome::Created, Outcome::Migrated, Outcome::Unchanged] {
        let number = of(outcome).len();
        // That nothing had to be done is half of what a migration is asked for.
        let asked = outcome == aim || (aim == Outcome::Migrated && outcome == Outcome::Unchanged);
        if number == 0 && !asked {
            continue;
        }
        let number = match &parts[..] {
            [] => count(number, "schema"),
            _ => number.to_string(),
        };
        parts.push(match outcome {
            Outcome::Unchanged => format!("{number} had nothing to do"),
            _ => format!("{number} {}", outcome.word()),
        });
    }
    ui.note(&parts.join(", "));
    fleet::conclude(schemas.len(), of(Outcome::Failed).len(), &of(Outcome::Left))
}
