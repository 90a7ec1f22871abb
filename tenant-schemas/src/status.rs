//! [`Status`]: how far each schema of a fleet is migrated.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::migrate::ListedSchema;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;
use crate::script::MigrationId;
use crate::sql;
use crate::tenancy::Tenancy;

/// How far each schema of a fleet is migrated.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The shared schema.
    pub shared: SchemaStatus,
    /// The tenants, in the order of their schemas' names; the public one is left out.
    pub tenants: Vec<SchemaStatus>,
    /// Every migration of the program, in order.
    order: Vec<MigrationId>,
}

/// How far one schema is migrated.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SchemaStatus {
    /// The schema.
    pub schema: SchemaName,
    /// The tenant's type, if its model has types.
    pub tenant_type: Option<String>,
    /// Whether the schema exists.
    pub exists: bool,
    /// How many migrations the schema has.
    pub applied: usize,
    /// The migrations that the schema lacks, in the order in which they would
    /// run. One that does not exist lacks all.
    pub pending: Vec<MigrationId>,
    /// Migrations that were applied with another text than they have now.
    pub changed: Vec<MigrationId>,
    /// Lines of the ledger that no migration of this program belongs to, as `app/version`.
    pub unknown: Vec<String>,
    /// When the schema's ledger last changed.
    pub last_migrated: Option<SystemTime>,
}

impl SchemaStatus {
    /// Whether the schema exists and lacks no migration.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.exists && self.pending.is_empty()
    }
}

/// Tenants that lack the same migrations.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StatusGroup<'a> {
    /// Whether their schemas exist.
    pub exist: bool,
    /// The migrations that each of them lacks.
    pub pending: &'a [MigrationId],
    /// The tenants, in the order of their schemas' names.
    pub tenants: Vec<&'a SchemaStatus>,
}

impl Status {
    /// Whether every schema exists and lacks no migration.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.shared.is_current() && self.tenants.iter().all(SchemaStatus::is_current)
    }

    /// The tenants by what they lack, the largest group first: a few lines,
    /// however many tenants there are.
    #[must_use]
    pub fn groups(&self) -> Vec<StatusGroup<'_>> {
        let mut groups: Vec<StatusGroup<'_>> = Vec::new();
        let mut known: HashMap<(bool, &[MigrationId]), usize> = HashMap::new();
        for tenant in &self.tenants {
            let key = (tenant.exists, tenant.pending.as_slice());
            let at = *known.entry(key).or_insert_with(|| {
                groups.push(StatusGroup {
                    exist: tenant.exists,
                    pending: &tenant.pending,
                    tenants: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].tenants.push(tenant);
        }
        // The sort is stable: groups of one size stay in the order of their first tenants.
        groups.sort_by_key(|group| std::cmp::Reverse(group.tenants.len()));
        groups
    }

    /// The migrations that some tenant lacks, in the order in which they would
    /// run, each with the number of tenants that lack it: the columns of a
    /// matrix whose rows are [`groups`](Self::groups).
    #[must_use]
    pub fn pending(&self) -> Vec<(&MigrationId, usize)> {
        let mut lacking: HashMap<&MigrationId, usize> = HashMap::new();
        for id in self.tenants.iter().flat_map(|tenant| &tenant.pending) {
            *lacking.entry(id).or_default() += 1;
        }
        self.order
            .iter()
            .filter_map(|id| Some((id, *lacking.get(id)?)))
            .collect()
    }
}

impl<T: TenantModel> Tenancy<T> {
    /// Finds out how far each schema is migrated. Changes nothing.
    ///
    /// It takes a constant number of statements, read off the table that sums
    /// the ledgers up; schemas that have no line there yet are asked, fifty at once.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// # tenancy.migrate().schema(&globex.schema_name).app("hotels").to_zero().run()?.into_result()?;
    /// let status = tenancy.status()?;
    /// assert!(!status.is_current());
    /// for (migration, tenants) in status.pending() {
    ///     println!("{migration} is missing in {tenants} of {} tenants", status.tenants.len());
    /// }
    /// # assert_eq!(status.pending()[0].1, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if no connection can be had, or what the database says.
    pub fn status(&self) -> Result<Status> {
        let registry = self.registry();
        let public = registry.public();
        let mut listed = self.migrate().list()?.into_iter();
        let (types, mut times) = {
            let mut conn = self.public()?;
            // Without a table of tenants the list has none either.
            let types: HashMap<SchemaName, Option<String>> = if listed.len() > 1 {
                T::all(&mut conn)?
                    .into_iter()
                    .map(|tenant| (tenant.schema_name().clone(), tenant.tenant_type()))
                    .collect()
            } else {
                HashMap::new()
            };
            let times = conn
                .own(|inner| {
                    if sql::ledger::bookkeeping(inner, public, public)?.state {
                        sql::status::last_migrated(inner, public)
                    } else {
                        Ok(HashMap::new())
                    }
                })
                .map_err(|error| Error::database("reading when schemas were migrated", error))?;
            (types, times)
        };
        let mut status = |listed: ListedSchema| SchemaStatus {
            tenant_type: types.get(&listed.schema).cloned().flatten(),
            last_migrated: times.remove(listed.schema.as_str()),
            ..SchemaStatus::from(listed)
        };
        let shared = listed.next().map(&mut status).ok_or(Error::NoSuchSchema {
            schema: public.clone(),
        })?;
        Ok(Status {
            shared,
            tenants: listed.map(status).collect(),
            order: registry
                .apps
                .iter()
                .flat_map(|app| &app.scripts)
                .map(|script| script.id.clone())
                .collect(),
        })
    }
}

impl From<ListedSchema> for SchemaStatus {
    fn from(listed: ListedSchema) -> Self {
        let pick = |wanted: fn(&crate::ListedMigration) -> bool| {
            listed
                .migrations
                .iter()
                .filter(|migration| wanted(migration))
                .map(|migration| migration.id.clone())
                .collect::<Vec<_>>()
        };
        let pending = pick(|migration| !migration.applied);
        Self {
            tenant_type: None,
            exists: listed.exists,
            applied: listed.migrations.len() - pending.len() + listed.unknown.len(),
            changed: pick(|migration| migration.changed),
            pending,
            last_migrated: None,
            schema: listed.schema,
            unknown: listed.unknown,
        }
    }
}
