//! Looking at a fleet without changing it: what is applied, what would run.

use std::collections::HashMap;

use crate::error::{Error, Result, chain};
use crate::ledger::{self, Applied, Known};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::Kind;
use crate::script::MigrationId;
use crate::{rules, sql};

use super::adopt;
use super::plan::plan;
use super::run::changed;
use super::{Job, Migrate};

/// The migrations of one schema, applied or not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedSchema {
    /// The schema.
    pub schema: SchemaName,
    /// Whether the schema exists.
    pub exists: bool,
    /// Every migration that the schema should have, in order.
    pub migrations: Vec<ListedMigration>,
    /// Lines of the ledger that no migration of this program belongs to, as `app/version`.
    pub unknown: Vec<String>,
}

/// One migration, applied or not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedMigration {
    /// The migration.
    pub id: MigrationId,
    /// Whether the schema has it.
    pub applied: bool,
    /// Whether it was applied with another text than it has now.
    pub changed: bool,
}

/// What would run in one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedSchema {
    /// The schema.
    pub schema: SchemaName,
    /// Whether the schema exists; if not, nothing can run in it.
    pub exists: bool,
    /// The migrations, in the order in which they would run.
    pub steps: Vec<PlannedMigration>,
}

/// One migration that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedMigration {
    /// The migration.
    pub id: MigrationId,
    /// Whether it would be reverted, not applied.
    pub reverted: bool,
    /// Whether it would run in a transaction.
    pub transactional: bool,
}

/// What a fleet lacks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Pending {
    /// Schemas with migrations that have to run.
    pub schemas: Vec<PlannedSchema>,
    /// Tenants whose schema does not exist.
    pub missing: Vec<SchemaName>,
    /// Migrations that were applied with another text than they have now.
    pub changed: Vec<(SchemaName, MigrationId)>,
}

impl Pending {
    /// Whether every schema exists and has every migration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty() && self.missing.is_empty()
    }
}

/// One schema as it was found.
struct Found {
    job: Job,
    /// `None` if the schema does not exist.
    applied: Option<Vec<Applied>>,
}

impl<T: TenantModel> Migrate<'_, T> {
    /// Lists the migrations of each schema, applied or not. Changes nothing.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let listed = tenancy.migrate().schema(&acme.schema_name).list()?;
    /// let first = &listed[0].migrations[0];
    /// assert_eq!(first.id.to_string(), "hotels/2024-01-02-000000_create_rooms");
    /// assert!(first.applied && !first.changed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), if it can't start.
    pub fn list(self) -> Result<Vec<ListedSchema>> {
        self.check_selection()?;
        let registry = self.registry();
        let wanted = |app: &str| self.selection.app.as_ref().is_none_or(|label| label == app);
        let list = |found: Found| {
            let exists = found.applied.is_some();
            let applied = found.applied.unwrap_or_default();
            let changed = changed(registry, &found.job.kind, &applied);
            let migrations: Vec<ListedMigration> = registry
                .apps_of(&found.job.kind)
                .filter(|app| wanted(app.app.label()))
                .flat_map(|app| &app.scripts)
                .map(|script| ListedMigration {
                    id: script.id.clone(),
                    applied: script.id.is_in(&applied),
                    changed: changed.contains(&script.id),
                })
                .collect();
            let unknown = applied
                .iter()
                .filter(|own| wanted(&own.app))
                .filter(|own| {
                    !migrations
                        .iter()
                        .any(|known| known.id.app == own.app && known.id.version == own.version)
                })
                .map(|own| format!("{}/{}", own.app, own.version))
                .collect();
            ListedSchema {
                schema: found.job.schema,
                exists,
                migrations,
                unknown,
            }
        };
        Ok(self.find()?.into_iter().map(list).collect())
    }

    /// Works out what would run in each schema, as [`run`](Self::run) would. Changes nothing.
    ///
    /// Schemas in which nothing would run are left out, but for those that do not exist.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// assert!(tenancy.migrate().plan()?.is_empty());
    ///
    /// let planned = tenancy.migrate().app("hotels").to_zero().plan()?;
    /// assert_eq!(planned[0].schema, acme.schema_name);
    /// assert!(planned[0].steps[0].reverted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), if it can't start.
    pub fn plan(self) -> Result<Vec<PlannedSchema>> {
        self.check_selection()?;
        let mut planned = Vec::new();
        for found in self.find()? {
            let Some(applied) = &found.applied else {
                planned.push(PlannedSchema {
                    schema: found.job.schema,
                    exists: false,
                    steps: Vec::new(),
                });
                continue;
            };
            planned.extend(self.planned(&found.job, applied)?);
        }
        Ok(planned)
    }

    /// Finds out what the fleet lacks: a constant number of statements, however
    /// many tenants there are. With [`verify`](Self::verify), and for schemas of which
    /// the table that sums the ledgers up says nothing, it takes one more for fifty
    /// of them. Changes nothing.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// assert!(tenancy.migrate().check()?.is_empty());
    ///
    /// tenancy.drop_schema_cascade(&acme.schema_name)?;
    /// assert_eq!(tenancy.migrate().check()?.missing, [acme.schema_name]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), if it can't start.
    pub fn check(self) -> Result<Pending> {
        self.check_selection()?;
        let mut pending = Pending::default();
        for found in self.find()? {
            let Some(applied) = &found.applied else {
                pending.missing.push(found.job.schema);
                continue;
            };
            pending.schemas.extend(self.planned(&found.job, applied)?);
            let changed = changed(self.registry(), &found.job.kind, applied);
            pending
                .changed
                .extend(changed.into_iter().map(|id| (found.job.schema.clone(), id)));
        }
        Ok(pending)
    }

    fn planned(&self, job: &Job, applied: &[Applied]) -> Result<Option<PlannedSchema>> {
        let steps = plan(self.registry(), &job.kind, applied, &self.selection)?;
        let steps: Vec<PlannedMigration> = steps
            .iter()
            .map(|step| PlannedMigration {
                id: step.id().clone(),
                reverted: step.reverted,
                transactional: step.script.transactional,
            })
            .collect();
        Ok((!steps.is_empty()).then(|| PlannedSchema {
            schema: job.schema.clone(),
            exists: true,
            steps,
        }))
    }

    /// Every schema of the run, and what it has.
    fn find(&self) -> Result<Vec<Found>> {
        let registry = self.registry();
        let mut jobs = Vec::new();
        let mut known = Vec::new();
        let mut unread = None;
        if self.wants_shared() {
            jobs.push(self.job(registry.public().clone(), Kind::Shared));
            known.push(self.shared_known()?);
        }
        if self.wants_tenants() {
            match self.fleet() {
                Ok(tenants) => {
                    for (job, of_it) in tenants {
                        jobs.push(job);
                        known.push(of_it);
                    }
                }
                Err(error @ Error::Database { .. }) => unread = Some(error),
                Err(error) => return Err(error),
            }
        }
        let asked: Vec<&SchemaName> = jobs
            .iter()
            .zip(&known)
            .filter(|(_, known)| self.asks(known))
            .map(|(job, _)| &job.schema)
            .collect();
        let mut read = if asked.is_empty() {
            HashMap::new()
        } else {
            let read = |inner: &mut _| ledger::read_all(inner, &asked, registry.public());
            let mut conn = self.tenancy.public()?;
            let read = conn.own(read);
            conn.has_read_ledgers(asked.iter().copied());
            read.map_err(|error| Error::database("reading the ledgers", error))?
        };
        let found = jobs
            .into_iter()
            .zip(known)
            .map(|(job, known)| {
                let applied = match known {
                    Known::Missing => None,
                    Known::Current if !self.verify => Some(registry.all_applied(&job.kind)),
                    Known::Applied(applied) if !self.verify && !self.adopt => Some(applied),
                    _ => match read.remove(job.schema.as_str()) {
                        Some(read) => Some(self.with_adopted(&job, read)?),
                        None => None,
                    },
                };
                Ok(Found { job, applied })
            })
            .collect::<Result<Vec<Found>>>()?;
        if let Some(error) = unread {
            self.require_too_early(error, &found)?;
        }
        Ok(found)
    }

    /// That the tenants can't be read is no error if there are none yet, nor if a migration of the
    /// shared schema is found that has yet to run.
    fn require_too_early(&self, error: Error, found: &[Found]) -> Result<()> {
        for found in found {
            if let Some(applied) = &found.applied
                && self.planned(&found.job, applied)?.is_some()
            {
                log::warn!("the tenants can't be read yet: {}", chain(&error));
                return Ok(());
            }
        }
        let registry = self.registry();
        let table = rules::quoted(registry, &registry.tenant_table);
        let there = self
            .tenancy
            .public()?
            .own(|inner| sql::tables::table_exists(inner, &table))
            .map_err(|error| Error::database("looking for the tenants", error))?;
        if there { Err(error) } else { Ok(()) }
    }

    /// Whether a schema's own ledger has to be read.
    fn asks(&self, known: &Known) -> bool {
        match known {
            Known::Missing => false,
            Known::Nothing => true,
            Known::Current => self.verify,
            Known::Applied(_) => self.verify || self.adopt,
        }
    }

    /// What a schema has, with what Diesel recorded if that is to be taken over.
    fn with_adopted(&self, job: &Job, read: ledger::Read) -> Result<Vec<Applied>> {
        let mut applied = read.applied;
        if self.adopt && read.diesel {
            let mut conn = self.tenancy.public()?;
            let versions = conn
                .own(|inner| sql::ledger::diesel_ledger(inner, &job.schema))
                .map_err(|error| Error::database("reading the record of Diesel", error))?;
            let claims = adopt::claims(self.registry(), job, &versions, &applied);
            let adopted = adopt::settle(job, claims)?;
            applied.extend(adopted.into_iter().map(Applied::of));
        }
        Ok(applied)
    }
}
