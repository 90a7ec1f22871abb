//! Schemas without tenants, tenants without schemas, and ledgers that are not as they should be.

use std::collections::HashSet;

use crate::ledger::Applied;
use crate::name::SchemaName;
use crate::provision::dropping;
use crate::registry::{Kind, Registry};
use crate::sql::doctor::advice;

use super::facts::{Facts, name_of};
use super::{Check, Finding, Severity};

pub(super) fn check(facts: &Facts, registry: &Registry, findings: &mut Vec<Finding>) {
    migrations(facts, registry, &facts.public, &Kind::Shared, findings);
    state(facts, &facts.public, findings);
    match &facts.tenants {
        Err(reason) => findings.push(
            Finding::new(
                Check::Tenants,
                Severity::Error,
                registry.tenant_table.to_string(),
            )
            .message(format!("the tenants can't be read: {reason}"))
            .advice(
                "migrate the shared schema with `migrate_schemas --shared` \
                 (`tenancy.migrate().shared().run()`)",
            ),
        ),
        Ok(tenants) => {
            for tenant in tenants {
                if facts.schemas.contains_key(tenant.schema.as_str()) {
                    migrations(facts, registry, &tenant.schema, &tenant.kind, findings);
                    state(facts, &tenant.schema, findings);
                } else {
                    findings.push(missing(&tenant.schema));
                }
            }
            orphans(facts, registry, findings);
        }
    }
    stale_states(facts, findings);
    rules(facts, findings);
}

fn missing(schema: &SchemaName) -> Finding {
    Finding::new(Check::MissingSchema, Severity::Error, schema.as_str())
        .in_schema(schema)
        .message("the tenant has no schema")
        .advice(
            "create and migrate it with `create_missing_schemas` \
             (`tenancy.create_missing_schemas()`), or restore it from a backup",
        )
}

fn migrations(
    facts: &Facts,
    registry: &Registry,
    schema: &SchemaName,
    kind: &Kind,
    findings: &mut Vec<Finding>,
) {
    let is_shared = *kind == Kind::Shared;
    let only = if is_shared {
        "--shared".to_owned()
    } else {
        format!("--schema={schema}")
    };
    for id in facts.pending(registry, schema, kind) {
        findings.push(
            Finding::new(Check::PendingMigration, Severity::Warning, id.to_string())
                .in_schema(schema)
                .message(format!("migration {id} is not applied"))
                .advice(format!(
                    "apply it with `migrate_schemas {only}` (`tenancy.migrate().run()`)"
                )),
        );
    }
    for own in facts.applied(schema) {
        let line = format!("{}/{}", own.app, own.version);
        let app = registry
            .apps_of(kind)
            .find(|loaded| loaded.app.label() == own.app);
        let script = app.and_then(|app| {
            app.scripts
                .iter()
                .find(|script| script.id.version == own.version)
        });
        match script {
            None => findings.push(unknown(own, &line, is_shared && app.is_none()).in_schema(schema)),
            Some(script) if script.has_changed_since(&own.checksum) => findings.push(
                Finding::new(Check::ChangedMigration, Severity::Warning, script.id.to_string())
                    .in_schema(schema)
                    .message(format!(
                        "migration {} was applied with another text than it has now",
                        script.id
                    ))
                    .advice(format!(
                        "put the old text back and the change into a new migration; or, if the schema is \
                         as the new text makes it, take the new text over with `{}` and then \
                         `migrate_schemas --verify {only}`",
                        advice::set_checksum(
                            schema,
                            (&own.app, &own.version),
                            &script.checksum,
                        ),
                    )),
            ),
            Some(_) => {}
        }
    }
}

fn unknown(own: &Applied, line: &str, may_be_another_program: bool) -> Finding {
    let finding = Finding::new(Check::UnknownMigration, Severity::Warning, line)
        .message(format!(
            "migration {line} is applied, and this program does not have it"
        ))
        .advice(format!(
            "the program is older than the schema: deploy the newer one; if app {} lost the migration, \
             restore it to the source",
            own.app
        ));
    if may_be_another_program {
        Finding {
            severity: Severity::Info,
            ..finding
        }
        .advice(format!(
            "nothing to do if another program has app {}; if not, give it to the builder again",
            own.app
        ))
    } else {
        finding
    }
}

/// Compares what the table of states says with the ledger, of the same instant.
fn state(facts: &Facts, schema: &SchemaName, findings: &mut Vec<Finding>) {
    let Some(ledger) = facts.ledgers.get(schema.as_str()) else {
        return;
    };
    let (severity, message) = match &ledger.state {
        Some(state) if *state == ledger.fingerprint => return,
        Some(_) => (
            Severity::Error,
            "the table of states says something else than the schema's ledger, so that \
             migrations may be left out or reported wrongly",
        ),
        None => (
            Severity::Warning,
            "the table of states has no line for the schema, which is therefore asked each time",
        ),
    };
    findings.push(
        Finding::new(Check::StateMismatch, severity, schema.as_str())
            .in_schema(schema)
            .message(message)
            .advice(
                "let every ledger be read and summed up again with `migrate_schemas --verify` \
                 (`tenancy.migrate().verify(true).run()`)",
            ),
    );
}

fn orphans(facts: &Facts, registry: &Registry, findings: &mut Vec<Finding>) {
    let tenants: HashSet<&str> = facts
        .tenants
        .iter()
        .flatten()
        .map(|tenant| tenant.schema.as_str())
        .collect();
    let stated: HashSet<&str> = facts
        .states
        .iter()
        .flatten()
        .map(|row| row.schema_name.as_str())
        .collect();
    for row in facts.schemas.values() {
        let is_ours = row.ledger || stated.contains(row.name.as_str());
        let Some(schema) = name_of(&row.name) else {
            continue;
        };
        if dropping::is_rest(&schema) {
            findings.push(half_dropped(&schema));
            continue;
        }
        if !is_ours
            || tenants.contains(row.name.as_str())
            || registry.refuse_protected(&schema, "dropped").is_err()
        {
            continue;
        }
        let applied = facts.applied(&schema);
        let foreign =
            !applied.is_empty() && applied.iter().all(|own| registry.app(&own.app).is_none());
        let finding = Finding::new(Check::OrphanSchema, Severity::Warning, schema.as_str())
            .in_schema(&schema);
        findings.push(if foreign {
            Finding {
                severity: Severity::Info,
                ..finding
            }
            .message(
                "the schema has migrations of apps that this program does not have, and no tenant",
            )
            .advice("nothing to do if it belongs to another program")
        } else {
            finding
                .message("the schema was made for a tenant, and no tenant has it")
                .advice(format!(
                    "save a tenant over it with `adopt`, or drop it and all its data with \
                     `tenancy.drop_schema_cascade(\"{schema}\")`"
                ))
        });
    }
}

/// What is found of a schema that was given its name to be dropped.
fn half_dropped(schema: &SchemaName) -> Finding {
    Finding::new(Check::OrphanSchema, Severity::Warning, schema.as_str())
        .in_schema(schema)
        .message("the schema is being dropped, or that was interrupted")
        .advice(format!(
            "if nobody is at it, drop what is left with `tenancy.drop_schema_cascade(\"{schema}\")`"
        ))
}

fn stale_states(facts: &Facts, findings: &mut Vec<Finding>) {
    for row in facts.states.iter().flatten() {
        let has_tenant = facts
            .tenants
            .iter()
            .flatten()
            .any(|tenant| tenant.schema.as_str() == row.schema_name);
        // A tenant whose schema is missing is a finding of its own.
        if facts.schemas.contains_key(&row.schema_name) || has_tenant {
            continue;
        }
        let finding = Finding::new(Check::StaleState, Severity::Warning, &row.schema_name)
            .message(format!(
                "the table of states has a line for schema {}, which is gone",
                row.schema_name
            ))
            .advice("remove the line")
            .sql(advice::delete_state(&facts.public, &row.schema_name));
        findings.push(match name_of(&row.schema_name) {
            Some(schema) => finding.in_schema(&schema),
            None => finding,
        });
    }
}

fn rules(facts: &Facts, findings: &mut Vec<Finding>) {
    for rule in &facts.rules {
        let make = "make it with `migrate_schemas --shared` (`tenancy.migrate().shared().run()`)";
        let values: Vec<String> = rule
            .duplicates
            .iter()
            .map(|value| format!("`{value}`"))
            .collect();
        let (message, advice) = if values.is_empty() {
            (String::new(), make.to_owned())
        } else {
            (
                format!(", and {} stand there more than once", values.join(", ")),
                format!(
                    "decide which rows keep these values, change or delete the others, then {make}"
                ),
            )
        };
        findings.push(
            Finding::new(
                Check::MissingUniqueIndex,
                Severity::Error,
                format!("{}.{}", rule.table, rule.column),
            )
            .in_schema(&facts.public)
            .message(format!(
                "column {} of {} has no unique index of its own{message}",
                rule.column, rule.table
            ))
            .advice(advice),
        );
    }
}
