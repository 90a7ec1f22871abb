//! [`Migrate`]: bringing the shared schema and the fleet up to date.

mod adopt;
mod execute;
mod list;
mod message;
mod plan;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::Connection as _;

use crate::connection::Scope;
use crate::error::{Error, Result};
use crate::event::panic_message;
use crate::ledger::{self, Known};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::provision::Lifecycle as _;
use crate::registry::{Kind, Registry};
use crate::report::{Outcome, Report};
use crate::rules;
use crate::sql;
use crate::tenancy::Tenancy;

use self::plan::{Selection, Target};

pub use self::execute::{Executor, Parallel, Sequential};
pub use self::list::{ListedMigration, ListedSchema, Pending, PlannedMigration, PlannedSchema};
pub use self::run::Migrated;
pub(crate) use self::run::{Failures, Job, emit, lock, locked};

/// A run over the shared schema and the fleet, put together and then started.
///
/// It begins with both, everything pending, one schema after the other: first
/// the shared schema, then the tenants in the order of their schemas' names;
/// within a schema apps in their order, within an app migrations by version.
///
/// Each migration is a transaction of its own, together with its line in the
/// ledger. A schema is locked while it is worked on, so that of two runs at the
/// same time one does the work and the other finds it done. A run that was
/// interrupted, by whatever, is resumed by running again.
#[must_use = "nothing runs until `run`, `plan`, `list` or `check` is called"]
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that goes with every other"
)]
pub struct Migrate<'a, T: TenantModel> {
    tenancy: &'a Tenancy<T>,
    shared: bool,
    tenants: bool,
    only: Vec<SchemaName>,
    selection: Selection,
    fake: bool,
    atomic: bool,
    adopt: bool,
    fail_fast: bool,
    verify: bool,
    executor: Arc<dyn Executor>,
}

impl<'a, T: TenantModel> Migrate<'a, T> {
    pub(crate) fn new(tenancy: &'a Tenancy<T>) -> Self {
        Self {
            tenancy,
            shared: true,
            tenants: true,
            only: Vec::new(),
            selection: Selection::default(),
            fake: false,
            atomic: false,
            adopt: false,
            fail_fast: false,
            verify: false,
            executor: Arc::new(Sequential),
        }
    }

    /// Restricts the run to the shared schema.
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            tenants: false,
            ..self
        }
    }

    /// Restricts the run to the tenants.
    pub fn tenants(self) -> Self {
        Self {
            shared: false,
            tenants: true,
            ..self
        }
    }

    /// Restricts the run to one schema, a tenant's or the shared one; called again, to several.
    pub fn schema(mut self, schema: &SchemaName) -> Self {
        self.only.push(schema.clone());
        self
    }

    /// Restricts the run to one app, by its label.
    pub fn app(mut self, label: impl Into<String>) -> Self {
        self.selection.app = Some(label.into());
        self
    }

    /// Goes up or down to a version of the app, which stays applied.
    ///
    /// It is named by its version, its full name, or an unambiguous beginning
    /// of either. Needs [`app`](Self::app).
    pub fn to(mut self, version: impl Into<String>) -> Self {
        self.selection.target = Target::Version(version.into());
        self
    }

    /// Reverts every migration of the app. Needs [`app`](Self::app).
    pub fn to_zero(mut self) -> Self {
        self.selection.target = Target::Zero;
        self
    }

    /// Reverts the app's last migration and applies it again. Needs [`app`](Self::app).
    pub fn redo(mut self) -> Self {
        self.selection.target = Target::Redo;
        self
    }

    /// Writes the ledger as if the migrations had run, and runs none. Defaults to `false`.
    pub fn fake(self, fake: bool) -> Self {
        Self { fake, ..self }
    }

    /// Takes over what Diesel's own harness recorded in `__diesel_schema_migrations`.
    ///
    /// Versions recorded there count as applied, if exactly one app has them.
    pub fn adopt(self) -> Self {
        Self {
            adopt: true,
            ..self
        }
    }

    /// Runs all pending migrations of a schema in one transaction, as one message.
    /// Defaults to `false`: each migration in its own.
    ///
    /// Faster over a slow network, and a schema is never left between two
    /// versions. A value that `ALTER TYPE .. ADD VALUE` adds can't be used in the
    /// same transaction, which is why it is not the default.
    pub fn atomic(self, atomic: bool) -> Self {
        Self { atomic, ..self }
    }

    /// Starts no further schema once one has failed. Defaults to `false`.
    pub fn fail_fast(self, fail_fast: bool) -> Self {
        Self { fail_fast, ..self }
    }

    /// Reads the ledger of every schema, not just the table that sums them up. Defaults to `false`.
    ///
    /// For fleets whose schemas were restored, copied or changed by other tools.
    pub fn verify(self, verify: bool) -> Self {
        Self { verify, ..self }
    }

    /// Works on up to `jobs` tenants at once. Defaults to 1; no more than the pool has connections.
    pub fn jobs(self, jobs: usize) -> Self {
        let most = usize::try_from(self.tenancy.pool().max_size()).unwrap_or(usize::MAX);
        self.executor(Parallel::new(jobs.min(most)))
    }

    /// Walks the fleet with an executor. Defaults to [`Sequential`].
    pub fn executor(self, executor: impl Executor + 'static) -> Self {
        Self {
            executor: Arc::new(executor),
            ..self
        }
    }

    /// Runs, and reports what became of each schema.
    ///
    /// The shared schema is created if it is not there. A tenant's failure stops
    /// no other tenant, unless [`fail_fast`](Self::fail_fast) is set. No tenant is touched if the shared schema fails.
    ///
    /// # Errors
    ///
    /// If the run could not start: no connection, no such app or version, a
    /// schema that is no tenant's. Failures of single schemas are in the report.
    pub fn run(self) -> Result<Report<Migrated>> {
        self.check_selection()?;
        let mut outcomes = Vec::new();
        if self.wants_shared() {
            let outcome = self.run_shared()?;
            let failed = outcome.result.is_err();
            outcomes.push(outcome);
            if failed {
                outcomes.extend(self.skipped_tenants());
                return Ok(Report::new(outcomes));
            }
        }
        if self.wants_tenants() {
            outcomes.extend(self.run_tenants()?);
        }
        Ok(Report::new(outcomes))
    }

    fn registry(&self) -> &Arc<Registry> {
        self.tenancy.registry()
    }

    fn wants_shared(&self) -> bool {
        if self.only.is_empty() {
            self.shared
        } else {
            self.shared && self.only.contains(self.registry().public())
        }
    }

    fn wants_tenants(&self) -> bool {
        let public = self.registry().public();
        self.tenants && (self.only.is_empty() || self.only.iter().any(|schema| schema != public))
    }

    fn check_selection(&self) -> Result<()> {
        let registry = self.registry();
        if !self.only.is_empty() && !self.wants_shared() && !self.wants_tenants() {
            let part = if self.shared { "shared()" } else { "tenants()" };
            let schemas: Vec<&str> = self.only.iter().map(SchemaName::as_str).collect();
            return Err(Error::Config {
                problems: vec![format!(
                    "`{part}` leaves out `schema(..)` of {}: use one of the two",
                    schemas.join(", ")
                )],
            });
        }
        let Some(label) = &self.selection.app else {
            if self.selection.target == Target::Latest {
                return Ok(());
            }
            return Err(Error::NoApp);
        };
        let Some(app) = registry.app(label) else {
            return Err(Error::UnknownApp {
                app: label.clone(),
                known: registry
                    .apps
                    .iter()
                    .map(|app| app.app.label().to_owned())
                    .collect(),
            });
        };
        if let Target::Version(version) = &self.selection.target {
            plan::find_version(app, version)?;
        }
        Ok(())
    }

    fn job(&self, schema: SchemaName, kind: Kind) -> Job {
        Job {
            selection: self.selection.clone(),
            fake: self.fake,
            atomic: self.atomic,
            adopt: self.adopt,
            ..Job::new(schema, kind)
        }
    }

    fn run_shared(&self) -> Result<Outcome<Migrated>> {
        let public = self.registry().public().clone();
        let job = self.job(public.clone(), Kind::Shared);
        let mut result = self
            .create_shared_schema()
            .and_then(|()| self.run_job(&job));
        let whole = self.selection == Selection::default() && !self.fake;
        if whole && result.is_ok() {
            let mut conn = self.tenancy.public()?;
            // Two runs at once would make each index twice.
            let enforced = locked(&mut conn, &public, |conn| {
                rules::enforce(conn, self.registry())
            });
            if let Err(error) = enforced {
                result = Err(error);
            }
        }
        Ok(Outcome::new(public, result))
    }

    /// Creates the shared schema, if it is one with a name of its own that is not there yet.
    fn create_shared_schema(&self) -> Result<()> {
        let public = self.registry().public();
        let mut conn = self.tenancy.pool().get()?;
        conn.own(|inner| {
            if sql::schema_exists(inner, public)? {
                return Ok(());
            }
            inner.transaction(|inner| {
                sql::lock_in_transaction(inner, ledger::lock_key(public))?;
                if sql::schema_exists(inner, public)? {
                    return Ok(());
                }
                sql::create_schema(inner, public)
            })
        })
        .map_err(|error| Error::database(format!("creating schema {public}"), error))
    }

    /// The tenants that the run is about, in order, and the jobs to be done for them.
    fn tenant_jobs(&self) -> Result<Vec<Job>> {
        let registry = self.registry();
        let mut conn = self.tenancy.public()?;
        let mut tenants = T::all(&mut conn)?;
        tenants.retain(|tenant| tenant.schema_name() != registry.public());
        if !self.only.is_empty() {
            for schema in &self.only {
                let is_tenant = tenants.iter().any(|tenant| tenant.schema_name() == schema);
                if !is_tenant && schema != registry.public() {
                    return Err(Error::NotSaved {
                        schema: schema.clone(),
                    });
                }
            }
            tenants.retain(|tenant| self.only.contains(tenant.schema_name()));
        }
        Ok(tenants
            .into_iter()
            .map(|tenant| {
                let kind = Kind::Tenant(tenant.tenant_type());
                let mut job = self.job(tenant.schema_name().clone(), kind);
                job.tenant = Some(Arc::new(tenant));
                job
            })
            .collect())
    }

    /// What is known of the schemas of these jobs without asking each.
    fn known(&self, jobs: &[Job]) -> Result<Vec<Known>> {
        let schemas: Vec<(SchemaName, Kind)> = jobs
            .iter()
            .map(|job| (job.schema.clone(), job.kind.clone()))
            .collect();
        let mut conn = self.tenancy.public()?;
        conn.own(|inner| ledger::fleet(inner, self.registry(), &schemas))
    }

    fn run_tenants(&self) -> Result<Vec<Outcome<Migrated>>> {
        let jobs = self.tenant_jobs()?;
        let known = self.known(&jobs)?;
        let mut results: Vec<Mutex<Option<Result<Migrated>>>> = Vec::with_capacity(jobs.len());
        let mut open = Vec::new();
        for (number, (job, known)) in jobs.iter().zip(&known).enumerate() {
            let done = self.done_already(job, known)?;
            if done.is_none() {
                open.push((number, AtomicBool::new(false)));
            }
            results.push(Mutex::new(done.map(Ok)));
        }
        let stop = AtomicBool::new(false);
        self.executor.execute(open.len(), &|number| {
            let Some((number, started)) = open.get(number) else {
                return;
            };
            if stop.load(Ordering::Relaxed) || started.swap(true, Ordering::Relaxed) {
                return;
            }
            let job = &jobs[*number];
            let result = if known[*number] == Known::Missing {
                Err(Error::NoSuchSchema {
                    schema: job.schema.clone(),
                })
            } else {
                self.run_job(job)
            };
            if result.is_err() && self.fail_fast {
                stop.store(true, Ordering::Relaxed);
            }
            *slot(&results[*number]) = Some(result);
        });
        Ok(jobs
            .into_iter()
            .zip(results)
            .map(|(job, result)| {
                let result = result
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner)
                    .unwrap_or_else(|| {
                        Err(Error::Skipped {
                            schema: job.schema.clone(),
                        })
                    });
                Outcome::new(job.schema, result)
            })
            .collect())
    }

    /// What there is to report of a job that has nothing to do, as far as is known.
    fn done_already(&self, job: &Job, known: &Known) -> Result<Option<Migrated>> {
        let registry = self.registry();
        let applied = match known {
            _ if self.verify => return Ok(None),
            Known::Current => registry.all_applied(&job.kind),
            Known::Applied(applied) => applied.clone(),
            Known::Missing | Known::Nothing => return Ok(None),
        };
        let steps = plan::plan(registry, &job.kind, &applied, &self.selection)?;
        if !steps.is_empty() || self.adopt {
            return Ok(None);
        }
        Ok(Some(Migrated {
            changed: run::note_changed(registry, job, &applied),
            ..Migrated::default()
        }))
    }

    fn skipped_tenants(&self) -> Vec<Outcome<Migrated>> {
        if !self.wants_tenants() {
            return Vec::new();
        }
        // The tenants' table may be what could not be made.
        let jobs = self.tenant_jobs().unwrap_or_default();
        jobs.into_iter()
            .map(|job| {
                let schema = job.schema.clone();
                Outcome::new(job.schema, Err(Error::Skipped { schema }))
            })
            .collect()
    }

    /// Runs one job on a connection that has the path of its migrations already.
    fn run_job(&self, job: &Job) -> Result<Migrated> {
        let registry = self.registry();
        let run = || {
            let path =
                SearchPath::new(job.schema.clone()).extra(registry.policy.extra.iter().cloned());
            let mut conn = self.tenancy.checkout(&Scope::new(path))?;
            job.run(&mut conn, registry)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            Err(Error::Panicked {
                schema: job.schema.clone(),
                message: panic_message(&*panic),
            })
        })
    }
}

fn slot<R>(result: &Mutex<R>) -> std::sync::MutexGuard<'_, R> {
    result.lock().unwrap_or_else(PoisonError::into_inner)
}
