//! Indexes that were left invalid, and constraints that were never checked.

use crate::registry::{Kind, Registry};
use crate::script::Body;
use crate::sql::doctor::{UnfinishedRow, advice};

use super::facts::Facts;
use super::{Check, Finding, Severity};

pub(super) fn check(facts: &Facts, registry: &Registry, findings: &mut Vec<Finding>) {
    for row in &facts.unfinished {
        let Some(schema) = facts.schema(row.schema) else {
            continue;
        };
        let kind = facts
            .tenants
            .iter()
            .flatten()
            .find(|tenant| tenant.schema == schema)
            .map_or(&Kind::Shared, |tenant| &tenant.kind);
        let finding = if row.is_index {
            let waits = facts
                .pending(registry, &schema, kind)
                .into_iter()
                .any(|id| speaks_of(registry, id, &row.name));
            index(row, schema.as_str(), waits)
        } else {
            constraint(row, schema.as_str())
        };
        findings.push(finding.in_schema(&schema));
    }
}

/// Whether a migration that is still to come speaks of an index.
fn speaks_of(registry: &Registry, id: &crate::MigrationId, index: &str) -> bool {
    registry
        .app(&id.app)
        .into_iter()
        .flat_map(|app| &app.scripts)
        .filter(|script| script.id == *id)
        .any(|script| matches!(&script.up, Body::Sql(sql) if sql.contains(index)))
}

fn index(row: &UnfinishedRow, schema: &str, waits: bool) -> Finding {
    let severity = if row.is_unique {
        // It keeps nothing unique among the rows that were there before it.
        Severity::Error
    } else {
        Severity::Warning
    };
    let index = advice::table(schema, &row.name);
    let finding = Finding::new(Check::InvalidIndex, severity, &row.name).message(format!(
        "index {} on {} is invalid: building it concurrently failed, so that it is \
         written and never read",
        row.name, row.relation
    ));
    if waits {
        finding
            .advice("remove it, and let its migration build it again with `migrate_schemas`")
            .sql(advice::drop_index_concurrently(&index))
    } else if is_leftover(&row.name) {
        finding
            .advice("remove what a failed REINDEX left")
            .sql(advice::drop_index_concurrently(&index))
    } else if row.is_unique {
        finding
            .advice("make sure that no two rows have the same values, then build it again")
            .sql(advice::reindex(&index))
    } else {
        finding
            .advice("build it again")
            .sql(advice::reindex(&index))
    }
}

/// `REINDEX CONCURRENTLY` calls its new index so while it works on it, and the old one in the end.
fn is_leftover(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    name.ends_with("_ccnew") || name.ends_with("_ccold")
}

fn constraint(row: &UnfinishedRow, schema: &str) -> Finding {
    let table = advice::table(schema, &row.relation);
    Finding::new(
        Check::UnvalidatedConstraint,
        Severity::Info,
        format!("{}.{}", row.relation, row.name),
    )
    .message(format!(
        "constraint {} of {} was never checked for the rows that were there before it",
        row.name, row.relation
    ))
    .advice("check it, which locks nobody out")
    .sql(advice::validate(&table, &row.name))
}

#[cfg(test)]
mod tests {
    use super::is_leftover;

    #[test]
    fn what_reindex_leaves_is_told_from_what_a_migration_left() {
        for name in ["rooms_name_idx_ccnew", "a_ccnew1", "a_ccold"] {
            assert!(is_leftover(name), "{name}");
        }
        assert!(!is_leftover("rooms_name_idx1"));
    }
}
