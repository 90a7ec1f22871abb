//! [`Registry`]: the apps, the listeners and the rules of one tenancy.
//!
//! Every connection of a tenancy's pool carries it, so that `save` knows what
//! to provision.

use std::any::TypeId;
use std::collections::{BTreeSet, HashMap};
use std::iter;
use std::sync::Arc;

use crate::app::{App, AppScope};
use crate::changes::Watchers;
use crate::connection::{Policy, TenantConnection};
use crate::error::{Error, Result};
use crate::event::Listeners;
use crate::ledger::{self, Applied};
use crate::model::DomainTable;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::script::{MigrationId, Script};
use crate::sql;
use crate::table::{DeclaredTable, TableName};

/// The apps, the listeners and the rules of one tenancy.
pub(crate) struct Registry {
    /// In the order in which they are migrated.
    pub(crate) apps: Vec<LoadedApp>,
    pub(crate) listeners: Listeners,
    pub(crate) policy: Arc<Policy>,
    /// Schemas that are no tenant's and stay as they are.
    pub(crate) templates: Vec<SchemaName>,
    pub(crate) names: SchemaNamePolicy,
    /// Where the database is, for programs that are started for it, and connections beside the pool.
    #[cfg(any(feature = "manage", feature = "resolve"))]
    pub(crate) database_url: String,
    /// Who wants to know of changes that this process makes.
    pub(crate) watchers: Watchers,
    /// The tenant model that the tenancy is made for.
    pub(crate) model: TypeId,
    pub(crate) tenant_table: TableName,
    pub(crate) domain_table: Option<DomainTable>,
    /// The column of the tenant table that names the schema.
    pub(crate) schema_column: &'static str,
    /// The column of the tenant table that has its domain, if there is one.
    pub(crate) domain_column: Option<&'static str>,
    /// What new schemas are sent, once it was worked out.
    pub(crate) new_schemas: crate::keys::Memory,
    /// The columns of the tenant table that tell tenants apart.
    pub(crate) unique_columns: Vec<&'static str>,
}

/// An app and its migrations, in the order of their versions.
pub(crate) struct LoadedApp {
    pub(crate) app: App,
    pub(crate) scripts: Vec<Script>,
}

/// Which apps a schema has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Shared,
    Tenant(Option<String>),
}

impl Registry {
    /// The apps that a schema of this kind has, in the order in which they are migrated.
    pub(crate) fn apps_of(&self, kind: &Kind) -> impl Iterator<Item = &LoadedApp> {
        let kind = kind.clone();
        self.apps.iter().filter(move |loaded| match &kind {
            Kind::Shared => loaded.app.scope().is_shared(),
            Kind::Tenant(tenant_type) => loaded.app.is_for_tenant(tenant_type.as_deref()),
        })
    }

    /// The ledger of a schema of this kind that has exactly what this program knows.
    pub(crate) fn all_applied(&self, kind: &Kind) -> Vec<Applied> {
        self.apps_of(kind)
            .flat_map(|loaded| &loaded.scripts)
            .map(Applied::of)
            .collect()
    }

    /// The migrations that a schema of this kind lacks if it has these.
    pub(crate) fn pending(&self, kind: &Kind, applied: &[Applied]) -> Vec<MigrationId> {
        let scripts = self.apps_of(kind).flat_map(|loaded| &loaded.scripts);
        scripts
            .filter(|script| !script.id.is_in(applied))
            .map(|script| script.id.clone())
            .collect()
    }

    /// The fingerprint of that ledger.
    pub(crate) fn fingerprint(&self, kind: &Kind) -> String {
        ledger::fingerprint(&self.all_applied(kind))
    }

    /// The fingerprints that tenants have, of whatever type, if they have exactly what this program knows.
    pub(crate) fn tenant_fingerprints(&self) -> Vec<String> {
        let types = self
            .apps
            .iter()
            .flat_map(|loaded| loaded.app.tenant_types());
        let types: BTreeSet<&str> = types.map(String::as_str).collect();
        iter::once(None)
            .chain(types.into_iter().map(Some))
            .map(|tenant_type| self.fingerprint(&Kind::Tenant(tenant_type.map(str::to_owned))))
            .collect()
    }

    pub(crate) fn app(&self, label: &str) -> Option<&LoadedApp> {
        self.apps.iter().find(|loaded| loaded.app.label() == label)
    }

    /// Makes every connection look again at what there is, once others can see what was changed.
    ///
    /// Before the commit would be too early: a connection that looks then sees
    /// the old state, and would not look again.
    pub(crate) fn bump_after_commit(self: &Arc<Self>, conn: &mut TenantConnection) {
        let registry = Arc::clone(self);
        conn.invalidate_after_commit(move |_| registry.policy.bump_generation());
    }

    /// The public schema's name.
    pub(crate) fn public(&self) -> &SchemaName {
        &self.policy.public
    }

    /// Refuses to touch a schema that is not a tenant's own.
    pub(crate) fn refuse_protected(&self, schema: &SchemaName, action: &'static str) -> Result<()> {
        let what = if schema == self.public() {
            "the shared schema"
        } else if *schema == SchemaName::public() {
            "PostgreSQL's `public` schema"
        } else if self.policy.extra.contains(schema) {
            "an extra schema of the search path"
        } else if self.templates.contains(schema) {
            "a template schema"
        } else if schema.as_str().starts_with(sql::ready::RESERVED) {
            "a schema of the library's own"
        } else {
            return Ok(());
        };
        Err(Error::Protected {
            schema: schema.clone(),
            action,
            what,
        })
    }
}

/// Puts apps into the order in which they are migrated: as given, but behind what they come after.
pub(crate) fn in_order(apps: Vec<App>, problems: &mut Vec<String>) -> Vec<App> {
    let mut labels = HashMap::new();
    for (position, app) in apps.iter().enumerate() {
        if !is_label(app.label()) {
            problems.push(format!(
                "app label {:?} is not of the form [a-z_][a-z0-9_]*: give it one with `label = \"..\"`",
                app.label()
            ));
        }
        if !app.tenant_types().is_empty() && app.scope() == AppScope::Shared {
            problems.push(format!(
                "app {} is shared, so it can't be for tenants of some types: remove `types`",
                app.label()
            ));
        }
        if labels.insert(app.label().to_owned(), position).is_some() {
            problems.push(format!(
                "two apps have the label {}: give one of them another with `label = \"..\"`",
                app.label()
            ));
        }
    }
    for app in &apps {
        for label in app.migrated_after() {
            if !labels.contains_key(label) {
                problems.push(format!(
                    "app {} comes after {label}, which was not given to the builder: add it with `.app(..)`",
                    app.label()
                ));
            }
        }
    }
    let mut waiting = apps;
    let mut ordered: Vec<App> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|app| {
            app.migrated_after().iter().all(|label| {
                !labels.contains_key(label) || ordered.iter().any(|done| done.label() == label)
            })
        });
        let Some(ready) = ready else {
            problems.push(format!(
                "the apps {} come after each other in a circle: remove one `after`",
                circle(&waiting).join(", ")
            ));
            break;
        };
        ordered.push(waiting.remove(ready));
    }
    ordered
}

/// The labels of a circle among apps each of which comes after another of them.
fn circle(apps: &[App]) -> Vec<&str> {
    let mut walk: Vec<&App> = apps.first().into_iter().collect();
    while let Some(before) = walk.last().and_then(|last| {
        let after = last.migrated_after();
        apps.iter()
            .find(|app| after.iter().any(|label| label == app.label()))
    }) {
        if let Some(start) = walk.iter().position(|app| app.label() == before.label()) {
            walk.drain(..start);
            break;
        }
        walk.push(before);
    }
    walk.into_iter().map(App::label).collect()
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().enumerate().all(|(at, byte)| {
            matches!(byte, b'a'..=b'z' | b'_') || (at > 0 && byte.is_ascii_digit())
        })
}

/// Finds models that are declared in a way that can't be.
pub(crate) fn check_declarations(shared: &SchemaName, problems: &mut Vec<String>) {
    let mut declared: HashMap<TypeId, &DeclaredTable> = HashMap::new();
    for table in DeclaredTable::all() {
        let name = table.table();
        if let Some(schema) = name.schema() {
            if !table.scope.is_shared() {
                problems.push(format!(
                    "model {} ({}) is declared for tenants, but its table {name} is in schema {schema} \
                     for everyone: declare it with `#[shared_app]`, or drop the schema from `table!`",
                    table.model, table.location
                ));
            } else if table.scope == AppScope::Both && shared == schema {
                problems.push(format!(
                    "model {} ({}) is declared shared and for tenants, but its table {name} names the shared schema: \
                     drop the schema from `table!`",
                    table.model, table.location
                ));
            }
        }
        if let Some(other) = declared.insert(table.table_type(), table)
            && other.scope != table.scope
        {
            problems.push(format!(
                "table {name} is declared {} by model {} ({}) and {} by model {} ({}): \
                 use the same attribute on both",
                other.scope, other.model, other.location, table.scope, table.model, table.location
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(label: &str) -> App {
        App::new(label, AppScope::Tenant)
    }

    fn ordered(apps: Vec<App>) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        let order = in_order(apps, &mut problems);
        let labels = order.iter().map(|app| app.label().to_owned()).collect();
        (labels, problems)
    }

    #[test]
    fn apps_keep_their_order_unless_they_come_after_another() {
        let (labels, problems) = ordered(vec![app("c").after(["b"]), app("a"), app("b"), app("d")]);
        assert_eq!(labels, ["a", "b", "c", "d"]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn apps_that_only_come_after_a_circle_are_no_part_of_it() {
        let (_, problems) = ordered(vec![
            app("d").after(["c"]),
            app("c").after(["a"]),
            app("a").after(["b"]),
            app("b").after(["a"]),
        ]);
        let expected = "the apps a, b come after each other in a circle: remove one `after`";
        assert_eq!(problems, [expected]);
    }

    #[test]
    fn every_mistake_in_the_order_is_reported() {
        let (_, problems) = ordered(vec![
            app("a").after(["b"]),
            app("b").after(["a"]),
            app("B"),
            app("d").after(["nowhere"]),
            app("d"),
        ]);
        let all = problems.join("\n");
        for expected in [
            "a, b come after each other",
            "\"B\"",
            "nowhere",
            "two apps have the label d",
        ] {
            assert!(all.contains(expected), "{all} lacks {expected}");
        }
    }
}
