//! What `migrate_schemas` prints when it only looks: `--list`, `--plan`, `--check`.

use std::fmt::Write as _;

use console::style;
use serde_json::{Value, json};

use crate::migrate::{ListedSchema, Migrate, Pending, PlannedSchema};
use crate::model::TenantModel;

use super::outcome::{Done, Exit, heard};
use super::output::{self, Format};
use super::report::id;
use super::table::{Table, count};
use super::ui::{self, Ui};

/// Prints which migrations each schema has.
pub(super) fn list<T: TenantModel>(migrate: Migrate<'_, T>, format: Format) -> Done {
    let schemas = migrate.list()?;
    if format == Format::Table {
        output::print(&tree(&schemas))?;
    } else {
        let mut table = Table::new(["schema", "app", "migration", "state"]);
        for schema in &schemas {
            for listed in &schema.migrations {
                let state = state(listed.applied, listed.changed);
                table.row([
                    schema.schema.as_str(),
                    &listed.id.app,
                    &listed.id.name,
                    state,
                ]);
            }
        }
        format.write(&table, || schemas.iter().map(listed_json).collect())?;
    }
    for schema in schemas.iter().filter(|schema| !schema.unknown.is_empty()) {
        ui::warn(&format!(
            "the ledger of schema {} has {}, which no app of this program has",
            schema.schema,
            schema.unknown.join(", ")
        ));
    }
    Ok(Exit::Done)
}

fn state(applied: bool, changed: bool) -> &'static str {
    match (applied, changed) {
        (true, true) => "changed",
        (true, false) => "applied",
        (false, _) => "pending",
    }
}

/// Schemas, their apps, and what is applied of each.
fn tree(schemas: &[ListedSchema]) -> String {
    let mut text = String::new();
    for schema in schemas {
        let missing = if schema.exists {
            ""
        } else {
            " (the schema is missing)"
        };
        let _ = writeln!(text, "{}{missing}", style(&schema.schema).bold());
        let mut app = None;
        for listed in &schema.migrations {
            if app != Some(&listed.id.app) {
                app = Some(&listed.id.app);
                let _ = writeln!(text, "  {}", listed.id.app);
            }
            let mark = if listed.applied { "[X]" } else { "[ ]" };
            let changed = if listed.changed {
                " (its text has changed since)"
            } else {
                ""
            };
            let _ = writeln!(text, "    {mark} {}{changed}", listed.id.name);
        }
        if schema.migrations.is_empty() {
            text.push_str("    (no migrations)\n");
        }
    }
    text
}

fn listed_json(schema: &ListedSchema) -> Value {
    let migrations: Value = schema
        .migrations
        .iter()
        .map(|listed| {
            let mut value = id(&listed.id);
            value["applied"] = listed.applied.into();
            value["changed"] = listed.changed.into();
            value
        })
        .collect();
    json!({
        "schema": schema.schema.as_str(),
        "exists": schema.exists,
        "migrations": migrations,
        "unknown": schema.unknown,
    })
}

/// Prints what would run.
pub(super) fn plan<T: TenantModel>(migrate: Migrate<'_, T>, format: Format, ui: Ui) -> Done {
    let schemas = migrate.plan()?;
    write_planned(&schemas, format, || {
        schemas.iter().map(planned_json).collect()
    })?;
    if schemas.is_empty() {
        ui.note("Nothing would run.");
    } else {
        ui.note(&format!(
            "{} would be migrated.",
            count(schemas.len(), "schema")
        ));
    }
    Ok(Exit::Done)
}

fn write_planned(
    schemas: &[PlannedSchema],
    format: Format,
    json: impl FnOnce() -> Value,
) -> Result<(), super::outcome::Failure> {
    let mut table = Table::new(["schema", "action", "migration"]);
    for schema in schemas {
        for step in &schema.steps {
            let action = match (step.reverted, step.transactional) {
                (true, true) => "revert",
                (false, true) => "apply",
                (true, false) => "revert without a transaction",
                (false, false) => "apply without a transaction",
            };
            table.row([schema.schema.as_str(), action, &step.id.to_string()]);
        }
    }
    format.write(&table, json)
}

fn planned_json(schema: &PlannedSchema) -> Value {
    let steps: Value = schema
        .steps
        .iter()
        .map(|step| {
            let mut value = id(&step.id);
            value["reverted"] = step.reverted.into();
            value["transactional"] = step.transactional.into();
            value
        })
        .collect();
    json!({"schema": schema.schema.as_str(), "steps": steps})
}

/// Prints what is pending; the exit code says whether anything is.
pub(super) fn check<T: TenantModel>(migrate: Migrate<'_, T>, format: Format, ui: Ui) -> Done {
    let pending = migrate.check()?;
    match format {
        Format::Json => heard(format.write(&Table::default(), || pending_json(&pending)))?,
        Format::Table | Format::Tsv => {
            let mut table = Table::new(["schema", "state", "migration"]);
            for schema in &pending.missing {
                table.row([schema.as_str(), "missing", ""]);
            }
            for schema in &pending.schemas {
                for step in &schema.steps {
                    let state = if step.reverted { "surplus" } else { "pending" };
                    table.row([schema.schema.as_str(), state, &step.id.to_string()]);
                }
            }
            for (schema, id) in &pending.changed {
                table.row([schema.as_str(), "changed", &id.to_string()]);
            }
            heard(format.write(&table, || Value::Null))?;
        }
    }
    if !pending.changed.is_empty() {
        ui::warn(&format!(
            "{} applied with another text than now",
            count(pending.changed.len(), "migration was").replace("wass", "s were")
        ));
    }
    if pending.is_empty() {
        ui.note("Nothing is pending.");
        return Ok(Exit::Done);
    }
    if !pending.schemas.is_empty() {
        ui.note(&format!(
            "Migrations are pending in {}: `migrate_schemas` runs them.",
            count(pending.schemas.len(), "schema")
        ));
    }
    if !pending.missing.is_empty() {
        ui.note(&format!(
            "{} not there: `create_missing_schemas` makes them.",
            if pending.missing.len() == 1 {
                "1 schema is".to_owned()
            } else {
                format!("{} schemas are", pending.missing.len())
            }
        ));
    }
    Ok(Exit::Pending)
}

fn pending_json(pending: &Pending) -> Value {
    let missing: Vec<&str> = pending
        .missing
        .iter()
        .map(crate::SchemaName::as_str)
        .collect();
    let changed: Value = pending
        .changed
        .iter()
        .map(|(schema, changed)| {
            let mut value = id(changed);
            value["schema"] = schema.as_str().into();
            value
        })
        .collect();
    json!({
        "pending": pending.schemas.iter().map(planned_json).collect::<Value>(),
        "missing": missing,
        "changed": changed,
    })
}
