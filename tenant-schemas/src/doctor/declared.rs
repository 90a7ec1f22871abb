//! Declared Diesel tables that are not there, and tables that hide behind others of their name.
//!
//! A declaration says nothing of the tenancy that it is for, and a program may
//! have several. It is taken to be for this one if a migration of one of its
//! apps speaks of the table, or a tenant has it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::app::AppScope;
use crate::name::SchemaName;
use crate::registry::{Kind as SchemaKind, Registry};
use crate::script::Body;
use crate::table::DeclaredTable;

use super::drift::Lacking;
use super::facts::{Facts, Tenant};
use super::shape::{Kind, Object, Shape};
use super::{Check, Finding, Severity};

pub(super) fn check(
    facts: &Facts,
    registry: &Registry,
    lacking: &mut Lacking,
    findings: &mut Vec<Finding>,
) {
    let checkup = Checkup {
        facts,
        registry,
        words: registry
            .apps
            .iter()
            .map(|app| words(&app.scripts))
            .collect(),
        pending: facts
            .tenants
            .iter()
            .flatten()
            .map(|tenant| (&tenant.schema, &tenant.kind))
            .chain([(&facts.public, &SchemaKind::Shared)])
            .filter(|(schema, kind)| !facts.pending(registry, schema, kind).is_empty())
            .map(|(schema, _)| schema)
            .collect(),
    };
    for (name, declarations) in declarations() {
        if declarations[0].scope.is_shared() {
            checkup.shared(&name, &declarations, lacking, findings);
        }
        if declarations[0].scope.is_tenant() {
            checkup.in_tenants(&name, &declarations, lacking, findings);
        }
    }
    checkup.shadows(lacking, findings);
}

struct Checkup<'a> {
    facts: &'a Facts,
    registry: &'a Registry,
    /// The words in the migrations of each app.
    words: Vec<HashSet<String>>,
    /// The schemas that lack migrations, with which a table may come.
    pending: HashSet<&'a SchemaName>,
}

/// A table's schema, if its declaration names one, and its name.
type Name = (Option<String>, String);

/// A `table!`, and a model that is declared with it.
struct Declaration {
    scope: AppScope,
    columns: Vec<String>,
    model: String,
}

/// The declarations of each table, with each `table!` once.
fn declarations() -> BTreeMap<Name, Vec<Declaration>> {
    let mut all: Vec<&DeclaredTable> = DeclaredTable::all().collect();
    all.sort_by_key(|declared| declared.location);
    let mut seen = HashSet::new();
    let mut by_name: BTreeMap<Name, Vec<Declaration>> = BTreeMap::new();
    for declared in all {
        if !seen.insert(declared.table_type()) {
            continue;
        }
        let name = declared.table();
        by_name
            .entry((name.schema().map(str::to_owned), name.name().to_owned()))
            .or_default()
            .push(Declaration {
                scope: declared.scope,
                columns: declared.columns(),
                model: format!("model {} ({})", declared.model, declared.location),
            });
    }
    by_name
}

/// The words of migrations, of which those about a table have its name.
fn words(scripts: &[crate::script::Script]) -> HashSet<String> {
    let mut words = HashSet::new();
    for script in scripts {
        if let Body::Sql(sql) = &script.up {
            let found = sql.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
            words.extend(found.map(str::to_lowercase));
        }
    }
    words
}

impl Declaration {
    fn lacks<'a>(&'a self, shape: &Shape, table: &str) -> Vec<&'a str> {
        let there: HashSet<&str> = shape.columns(table).collect();
        self.columns
            .iter()
            .map(String::as_str)
            .filter(|column| !there.contains(column))
            .collect()
    }
}

/// Of several `table!` of one name, the one that fits best: the others are for other tenancies.
fn best<'a>(declarations: &'a [Declaration], shapes: &[&Shape], table: &str) -> &'a Declaration {
    let misfit = |declared: &Declaration| -> usize {
        let lacks = shapes
            .iter()
            .map(|shape| declared.lacks(shape, table).len());
        lacks.sum()
    };
    declarations
        .iter()
        .min_by_key(|declared| misfit(declared))
        .unwrap_or(&declarations[0])
}

impl Checkup<'_> {
    /// Whether a migration that schemas of this kind have speaks of a table.
    fn speaks_of(&self, kind: &SchemaKind, table: &str) -> bool {
        self.apps_that_speak_of(table).any(|app| {
            self.registry
                .apps_of(kind)
                .any(|other| other.app.label() == app.label())
        })
    }

    fn apps_that_speak_of(&self, table: &str) -> impl Iterator<Item = &crate::App> {
        let table = table.to_lowercase();
        self.registry
            .apps
            .iter()
            .zip(&self.words)
            .filter(move |(_, words)| words.contains(&table))
            .map(|(loaded, _)| &loaded.app)
    }

    /// What a tenant without a table of this name reads instead.
    fn behind(&self, table: &str) -> Option<&SchemaName> {
        let policy = &self.registry.policy;
        policy
            .include_shared
            .then_some(&policy.public)
            .into_iter()
            .chain(&policy.extra)
            .find(|schema| {
                self.facts
                    .shape(schema.as_str())
                    .is_some_and(|shape| shape.has_relation(table))
            })
    }

    fn shared(
        &self,
        (schema, table): &Name,
        declarations: &[Declaration],
        lacking: &mut Lacking,
        findings: &mut Vec<Finding>,
    ) {
        let name = schema.as_deref().unwrap_or(self.facts.public.as_str());
        let Some(schema) = super::facts::name_of(name) else {
            return;
        };
        let pending = self.pending.contains(&self.facts.public);
        let shape = self.facts.shape(name);
        if let Some(shape) = shape.filter(|shape| shape.has_relation(table)) {
            let declared = best(declarations, &[shape], table);
            if !pending {
                columns(declared, shape, &schema, table, lacking);
            }
            undeclared(declarations, &[shape], Some(&schema), table, findings);
        } else if pending {
            // The migration that makes it may be among them.
        } else if self.speaks_of(&SchemaKind::Shared, table) {
            let lack = lacking.item(&schema, &object(table));
            lack.declared = Some(declarations[0].model.clone());
            lack.advice = self.again(table, "--shared");
        } else {
            unused(table, &declarations[0], findings);
        }
    }

    fn in_tenants(
        &self,
        (_, table): &Name,
        declarations: &[Declaration],
        lacking: &mut Lacking,
        findings: &mut Vec<Finding>,
    ) {
        let fleet: Vec<(&Tenant, &Shape)> = self
            .facts
            .fleet()
            .map(|(tenant, shape)| (tenant, &**shape))
            .collect();
        if fleet.is_empty() {
            return;
        }
        let (having, without): (Vec<_>, Vec<_>) = fleet
            .into_iter()
            .partition(|(_, shape)| shape.has_relation(table));
        let mut shapes: Vec<&Shape> = having.iter().map(|(_, shape)| *shape).collect();
        shapes.dedup_by(|a, b| std::ptr::eq(*a, *b));
        let declared = best(declarations, &shapes, table);
        let spoken_of = self.apps_that_speak_of(table).next().is_some();
        let mut expected = false;
        for (tenant, _) in without {
            let expects = if spoken_of {
                self.speaks_of(&tenant.kind, table)
            } else {
                having.iter().any(|(other, _)| other.kind == tenant.kind)
            };
            if !expects {
                continue;
            }
            expected = true;
            let only = format!("--schema={}", tenant.schema);
            let pending = self.is_pending(tenant);
            // Whether or not a migration is on its way, the program reads another table until then.
            if !pending || self.behind(table).is_some() {
                let lack = lacking.item(&tenant.schema, &object(table));
                lack.declared = Some(declared.model.clone());
                lack.advice = if pending {
                    format!("make it with `migrate_schemas {only}` (`tenancy.migrate().run()`)")
                } else {
                    self.again(table, &only)
                };
            }
        }
        for (tenant, shape) in &having {
            if !self.is_pending(tenant) {
                columns(declared, shape, &tenant.schema, table, lacking);
            }
        }
        undeclared(declarations, &shapes, None, table, findings);
        if having.is_empty() && !expected {
            self.nowhere(table, declared, findings);
        }
    }

    fn is_pending(&self, tenant: &Tenant) -> bool {
        self.pending.contains(&tenant.schema)
    }

    /// How to make a table again whose migration is recorded as applied.
    fn again(&self, table: &str, only: &str) -> String {
        match self.apps_that_speak_of(table).next() {
            Some(app) => format!(
                "restore it from a backup; or, if all tables of app {app} are gone, make them again with \
                 `migrate_schemas {app} zero --fake {only}` and then `migrate_schemas {only}`; or add a \
                 migration that makes it",
                app = app.label()
            ),
            None => "add a migration that makes it, or remove the model".to_owned(),
        }
    }

    /// No tenant has a table that is declared for tenants, and no migration speaks of it.
    fn nowhere(&self, table: &str, declared: &Declaration, findings: &mut Vec<Finding>) {
        let Some(behind) = self
            .behind(table)
            .filter(|_| declared.scope == AppScope::Tenant)
        else {
            unused(table, declared, findings);
            return;
        };
        findings.push(
            Finding::new(Check::ShadowedTable, Severity::Warning, table)
                .message(format!(
                    "{} declares table {table} for tenants, and there is only {behind}.{table}: \
                     if this program uses the model in tenants, they all read and write that one",
                    declared.model
                ))
                .advice(
                    "add a migration that makes the table to a tenant app; if it is meant to be shared, \
                     declare the model with `#[shared_app]`",
                ),
        );
    }

    /// Finds tables of one name in tenants and behind them on the path.
    fn shadows(&self, lacking: &mut Lacking, findings: &mut Vec<Finding>) {
        for (_, table, lack) in lacking.relations_mut() {
            lack.shadow = self.behind(table).cloned();
        }
        let mut owners: BTreeMap<&str, BTreeSet<&SchemaName>> = BTreeMap::new();
        for (tenant, shape) in self.facts.fleet() {
            for table in shape.relations() {
                if self.behind(table).is_some() && !self.is_for_both(table) {
                    owners.entry(table).or_default().insert(&tenant.schema);
                }
            }
        }
        for (table, tenants) in owners {
            let Some(behind) = self.behind(table) else {
                continue;
            };
            findings.push(
                Finding::new(Check::ShadowedTable, Severity::Warning, format!("{behind}.{table}"))
                    .message(format!(
                        "{behind}.{table} stands behind the {table} of {} on the path: it is theirs that \
                         is read, until one is dropped or renamed; then it is {behind}'s, in silence",
                        count(tenants.len(), "tenant")
                    ))
                    .advice(format!(
                        "drop or rename {behind}.{table} if nothing needs it{}; if it is meant, \
                         make it a table of an app that is both `#[shared_app]` and `#[tenant_app]`",
                        if *behind == self.facts.public {
                            ", or take the shared schema off the path with `include_shared(false)`"
                        } else {
                            ""
                        }
                    )),
            );
        }
    }

    /// Whether a table is meant to be in the shared schema and in tenants.
    fn is_for_both(&self, table: &str) -> bool {
        self.apps_that_speak_of(table)
            .any(|app| app.scope() == AppScope::Both)
            || DeclaredTable::all().any(|declared| {
                declared.scope == AppScope::Both && declared.table().name() == table
            })
    }
}

fn object(table: &str) -> Object {
    Object {
        relation: table.to_owned(),
        kind: Kind::Table,
        name: String::new(),
    }
}

/// Notes the columns that are declared and not there.
fn columns(
    declared: &Declaration,
    shape: &Shape,
    schema: &SchemaName,
    table: &str,
    lacking: &mut Lacking,
) {
    for column in declared.lacks(shape, table) {
        let column = Object {
            kind: Kind::Column,
            name: column.to_owned(),
            ..object(table)
        };
        let lack = lacking.item(schema, &column);
        lack.declared = Some(declared.model.clone());
        lack.advice =
            format!("add a migration that adds it, or remove it from the `table!` of {table}");
    }
}

/// Reports the columns that are there and not declared.
fn undeclared(
    declarations: &[Declaration],
    shapes: &[&Shape],
    schema: Option<&SchemaName>,
    table: &str,
    findings: &mut Vec<Finding>,
) {
    let declared: HashSet<&str> = declarations
        .iter()
        .flat_map(|declared| &declared.columns)
        .map(String::as_str)
        .collect();
    let extra: BTreeSet<&str> = shapes
        .iter()
        .flat_map(|shape| shape.columns(table))
        .filter(|column| !declared.contains(column))
        .collect();
    if extra.is_empty() {
        return;
    }
    let names: Vec<&str> = extra.into_iter().collect();
    let finding = Finding::new(Check::UndeclaredColumn, Severity::Info, table)
        .message(format!(
            "{} {} of table {table} {} not declared",
            if names.len() == 1 {
                "column"
            } else {
                "columns"
            },
            names.join(", "),
            if names.len() == 1 { "is" } else { "are" },
        ))
        .advice(format!(
            "declare them in the `table!` of {table} if the program needs them"
        ));
    findings.push(match schema {
        Some(schema) => finding.in_schema(schema),
        None => finding,
    });
}

fn unused(table: &str, declared: &Declaration, findings: &mut Vec<Finding>) {
    findings.push(
        Finding::new(Check::UnusedDeclaration, Severity::Info, table)
            .message(format!(
                "{} declares table {table} {}, where it does not exist, and no migration speaks of it",
                declared.model,
                match declared.scope {
                    AppScope::Shared => "in the shared schema",
                    AppScope::Tenant => "in tenants",
                    AppScope::Both => "in the shared schema and in tenants",
                }
            ))
            .advice(
                "nothing to do if the model belongs to another tenancy, or to a feature that is not used; \
                 if not, add a migration that makes the table",
            ),
    );
}

/// Says `1 tenant`, `5 tenants`.
fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
