//! Walking a fleet: the shared schema first, then a job for each tenant that needs one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::result::{Error as DieselError, QueryResult};

use crate::connection::{Scope, TenantConnection};
use crate::error::{Error, Result};
use crate::ledger::{self, Known, Seen};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::{Lifecycle as _, saved_row};
use crate::registry::Kind;
use crate::report::Outcome;
use crate::tenancy::outcome;
use crate::{rules, sql};

use super::Migrate;
use super::job::{Job, Migrated, locked};
use super::outlook::{Outlook, Outlooks};
use super::plan::Selection;
use super::run::warn_of_changed;
use super::verify::verified;

impl<T: TenantModel> Migrate<'_, T> {
    pub(super) fn run_shared(&self) -> Result<Outcome<Migrated>> {
        let public = self.registry().public().clone();
        let job = self.job(public.clone(), Kind::Shared);
        self.observer.tell(&public, None);
        let mut result = self
            .create_shared_schema()
            .and_then(|()| self.run_job(&job, None, &AtomicBool::default()));
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
        self.observer.tell(&public, Some(&result));
        Ok(Outcome::new(public, result))
    }

    /// Creates the shared schema, if it is one with a name of its own that is not there yet.
    fn create_shared_schema(&self) -> Result<()> {
        let public = self.registry().public();
        let mut conn = self.tenancy.pool().get()?;
        conn.own(|inner| {
            if sql::schemas::schema_exists(inner, public)? {
                return Ok(());
            }
            inner.transaction(|inner| {
                sql::locks::lock_in_transaction(inner, ledger::lock_key(public))?;
                if sql::schemas::schema_exists(inner, public)? {
                    return Ok(());
                }
                sql::schemas::create_schema(inner, public)
            })
        })
        .map_err(|error| Error::database(format!("creating schema {public}"), error))
    }

    /// The tenants that the run is about, in order, with what is known of their schemas: one
    /// statement, however many there are.
    pub(super) fn fleet(&self) -> Result<Vec<(Job, Known)>> {
        let mut conn = self.tenancy.public()?;
        match self.seen(&mut conn) {
            Ok(tenants) => self.chosen(tenants),
            // Nothing was ever migrated here, or the table of tenants is what can't be read.
            Err(_) => self.tenants_apart(&mut conn),
        }
    }

    /// All tenants, in order, with what the table of states says of their schemas.
    fn seen(&self, conn: &mut TenantConnection) -> QueryResult<Vec<Tenant<T>>> {
        let registry = self.registry();
        let table = registry.tenant_table.name();
        let column = format!(
            "{}.{}",
            sql::identifier(table),
            sql::identifier(registry.schema_column)
        );
        let expected = registry.tenant_fingerprints();
        let value = sql::ledgers::known(registry.public(), &column, &expected);
        let mut tenants = conn.calling_known(|conn| T::rows_with(conn, &value))?;
        tenants.retain(|(tenant, _)| tenant.schema_name() != registry.public());
        tenants.sort_by(|(a, _), (b, _)| a.schema_name().cmp(b.schema_name()));
        let mut fingerprints: HashMap<Option<String>, String> = HashMap::new();
        let tenants = tenants.into_iter().map(|(row, value)| {
            let tenant_type = row.tenant_type();
            let expected = fingerprints
                .entry(tenant_type)
                .or_insert_with_key(|tenant_type| {
                    registry.fingerprint(&Kind::Tenant(tenant_type.clone()))
                });
            let (known, seen) = Known::read(value.as_deref(), expected);
            Tenant { row, known, seen }
        });
        Ok(tenants.collect())
    }

    /// The same, asked one after the other.
    fn tenants_apart(&self, conn: &mut TenantConnection) -> Result<Vec<(Job, Known)>> {
        let registry = self.registry();
        let mut tenants = T::all(conn)?;
        tenants.retain(|tenant| tenant.schema_name() != registry.public());
        let schemas: Vec<(SchemaName, Kind)> = tenants
            .iter()
            .map(|tenant| {
                let kind = Kind::Tenant(tenant.tenant_type());
                (tenant.schema_name().clone(), kind)
            })
            .collect();
        let known = conn.own(|inner| ledger::fleet(inner, registry, &schemas))?;
        let tenants = tenants.into_iter().zip(known);
        let tenants = tenants.map(|(row, known)| Tenant {
            row,
            known,
            seen: None,
        });
        self.chosen(tenants.collect())
    }

    /// Those that the run is about, as jobs.
    fn chosen(&self, mut tenants: Vec<Tenant<T>>) -> Result<Vec<(Job, Known)>> {
        let registry = self.registry();
        if !self.only.is_empty() {
            let known: HashSet<&SchemaName> = tenants
                .iter()
                .map(|tenant| tenant.row.schema_name())
                .collect();
            for schema in &self.only {
                if !known.contains(schema) && schema != registry.public() {
                    return Err(Error::NotSaved {
                        schema: schema.clone(),
                    });
                }
            }
            let only: HashSet<&SchemaName> = self.only.iter().collect();
            tenants.retain(|tenant| only.contains(tenant.row.schema_name()));
        }
        Ok(tenants
            .into_iter()
            .map(|Tenant { row, known, seen }| {
                let kind = Kind::Tenant(row.tenant_type());
                let job = self.job(row.schema_name().clone(), kind);
                let job = Job {
                    seen,
                    ..job.of(row)
                };
                (job, known)
            })
            .collect())
    }

    /// What is known of the shared schema.
    pub(super) fn shared_known(&self) -> Result<Known> {
        let schemas = [(self.registry().public().clone(), Kind::Shared)];
        let mut conn = self.tenancy.public()?;
        let known = conn.own(|inner| ledger::fleet(inner, self.registry(), &schemas))?;
        Ok(known.into_iter().next().unwrap_or(Known::Nothing))
    }

    pub(super) fn run_tenants(&self) -> Result<Vec<Outcome<Migrated>>> {
        let (jobs, mut known): (Vec<Job>, Vec<Known>) = self.fleet()?.into_iter().unzip();
        if self.verify {
            let mut conn = self.tenancy.public()?;
            known = verified(&mut conn, self.registry(), &jobs, known);
        }
        let mut results: Vec<Mutex<Option<Result<Migrated>>>> = Vec::with_capacity(jobs.len());
        let mut outlooks = Outlooks::new(self.registry());
        let mut open = Vec::new();
        for (number, (job, known)) in jobs.iter().zip(&known).enumerate() {
            let outlook = outlooks.of(job, known)?;
            let done = outlook.as_ref().filter(|outlook| outlook.is_done);
            let done = done.map(|outlook| {
                warn_of_changed(&job.schema, &outlook.changed);
                Migrated {
                    changed: outlook.changed.clone(),
                    ..Migrated::default()
                }
            });
            if done.is_none() {
                open.push(Open {
                    number,
                    outlook,
                    started: AtomicBool::new(false),
                    hurried: AtomicBool::new(false),
                });
            }
            results.push(Mutex::new(done.map(Ok)));
        }
        let stop = AtomicBool::new(false);
        let losses = Losses::default();
        self.executor.execute(open.len(), &|number| {
            let Some(open) = open.get(number) else {
                return;
            };
            let lost = losses.so_far();
            if lost >= TOO_MANY
                || stop.load(Ordering::Relaxed)
                || open.started.swap(true, Ordering::Relaxed)
            {
                return;
            }
            let job = &jobs[open.number];
            self.observer.tell(&job.schema, None);
            let result = if known[open.number] == Known::Missing {
                Err(Error::NoSuchSchema {
                    schema: job.schema.clone(),
                })
            } else {
                let outlook = open.outlook.as_deref().map(|outlook| (outlook, lost == 0));
                let result = self.run_job(job, outlook, &open.hurried);
                losses.note(lost, &result);
                result
            };
            self.observer.tell(&job.schema, Some(&result));
            if result.is_err() && self.fail_fast {
                stop.store(true, Ordering::Relaxed);
            }
            *slot(&results[open.number]) = Some(result);
        });
        open.retain(|open| open.hurried.load(Ordering::Relaxed));
        for (number, result) in self.settle(&jobs, &open) {
            *slot(&results[number]) = Some(result);
        }
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

    pub(super) fn skipped_tenants(&self) -> Vec<Outcome<Migrated>> {
        if !self.wants_tenants() {
            return Vec::new();
        }
        // The tenants' table may be what could not be made.
        let jobs = self.fleet().unwrap_or_default();
        jobs.into_iter()
            .map(|(job, _)| {
                let schema = job.schema.clone();
                Outcome::new(job.schema, Err(Error::Skipped { schema }))
            })
            .collect()
    }

    /// Runs one job: as one message where that is enough, or on a connection that has the path of
    /// its migrations already. With the outlook it is said whether a message is sent again whose
    /// connection was lost.
    fn run_job(
        &self,
        job: &Job,
        outlook: Option<(&Outlook<'_>, bool)>,
        hurried: &AtomicBool,
    ) -> Result<Migrated> {
        let registry = self.registry();
        let run = || {
            if job.kind != Kind::Shared {
                // A row that someone else wrote, or a path that grew: whatever is made
                // there would be every tenant's.
                registry.refuse_protected(&job.schema, "migrated as a tenant's")?;
            }
            if let Some((outlook, again)) = outlook
                && let Some(done) = self.run_at_once(job, outlook, again)?
            {
                hurried.store(true, Ordering::Relaxed);
                return Ok(done);
            }
            let path = registry.policy.migration_path(&job.schema, false);
            let scope = Scope::new(path);
            let tenant = job.tenant.as_deref();
            let tenant = tenant.and_then(|tenant| tenant.downcast_ref::<T>());
            let mut conn = match (self.tenancy.checkout(&scope), tenant) {
                (Err(error @ Error::NoSuchSchema { .. }), Some(tenant)) => {
                    let mut conn = self.tenancy.public()?;
                    return present(tenant, &mut conn).and(Err(error));
                }
                (conn, _) => conn?,
            };
            locked(&mut conn, &job.schema, |conn| {
                let Some(tenant) = tenant else {
                    return job.run_locked(conn, registry);
                };
                conn.with_public(|conn| {
                    let job = job.of(present(tenant, conn)?);
                    conn.lend(scope, |conn| job.run_locked(conn, registry))
                })
            })
        };
        let result = outcome(job.schema.clone(), run).result;
        if matches!(result, Err(Error::Panicked { .. })) {
            // The steps before the panic are applied, and nobody was told to look again.
            registry.policy.bump_generation();
        }
        result
    }

    /// Does what is pending in a schema with one message. `None` if that is not enough, or the
    /// schema is not as it was known to be: nothing was done then. Nor is it known to be if the
    /// connection was lost, which counts if it is to be tried `again`; if not, it is made sure before that
    /// there is one.
    fn run_at_once(
        &self,
        job: &Job,
        outlook: &Outlook<'_>,
        again: bool,
    ) -> Result<Option<Migrated>> {
        let (Some(at_once), Some(seen)) = (&outlook.at_once, &job.seen) else {
            return Ok(None);
        };
        let registry = self.registry();
        let mut conn = self.tenancy.pool().get()?;
        if !conn.is_ready_alone() {
            return Ok(None);
        }
        // Whatever took the last one may have ended those that wait, too.
        if !again && conn.own(|inner| inner.batch_execute("SELECT")).is_err() {
            conn.condemn();
            return Ok(None);
        }
        let message = at_once.message(registry, &job.schema, seen);
        let ran = conn.run_alone(&job.schema, message.text(), at_once.tables());
        if at_once.calls() {
            conn.suspect_settings();
        }
        if let Err(error) = ran {
            // A connection that died: whether before or after the commit, the ledger says.
            if message.stopped_early(&error) || (again && conn.is_condemned()) {
                log::debug!("schema {} is asked again: {error}", job.schema);
                return Ok(None);
            }
            return Err(message.explain(&job.schema, error, 0));
        }
        registry.policy.bump_generation();
        warn_of_changed(&job.schema, &outlook.changed);
        Ok(Some(Migrated {
            applied: at_once.ids(),
            changed: outlook.changed.clone(),
            ..Migrated::default()
        }))
    }

    /// Waits until what was committed without waiting is on the disk, and does again what a server
    /// that crashed meanwhile has forgotten: where the table of states has the very line that the job
    /// went by. Any other was written since, by someone who took a migration back, for one. The
    /// results that are others now, by the job's number.
    fn settle(&self, jobs: &[Job], hurried: &[Open<'_>]) -> Vec<(usize, Result<Migrated>)> {
        if hurried.is_empty() {
            return Vec::new();
        }
        let flushed = self.flushed();
        let results = hurried.iter().filter_map(|open| {
            let job = &jobs[open.number];
            let result = match &flushed {
                Ok(seen) if seen.get(&job.schema) != job.seen.as_ref() => return None,
                Ok(_) => {
                    log::warn!(
                        "schema {} is migrated again: the server lost it",
                        job.schema
                    );
                    self.run_job(job, None, &open.hurried)
                }
                Err(error) => Err(Error::Database {
                    doing: format!(
                        "waiting for the migrations of schema {} to be on disk",
                        job.schema
                    ),
                    source: DieselError::QueryBuilderError(crate::error::chain(error).into()),
                }),
            };
            // It was told that all went well.
            self.observer.tell(&job.schema, Some(&result));
            Some((open.number, result))
        });
        results.collect()
    }

    /// Waits until the migrations that were committed without waiting are on the disk, and then
    /// reads the table of states.
    fn flushed(&self) -> Result<HashMap<SchemaName, Seen>> {
        let mut conn = self.tenancy.public()?;
        conn.own(sql::ledgers::flush)
            .map_err(|error| Error::database("waiting for the migrations to be on disk", error))?;
        let tenants = self
            .seen(&mut conn)
            .map_err(|error| Error::database("reading the state of the fleet", error))?;
        let seen = tenants.into_iter().filter_map(|Tenant { row, seen, .. }| {
            let schema = row.schema_name().clone();
            seen.map(|seen| (schema, seen))
        });
        Ok(seen.collect())
    }
}

/// The tenant's row as it is now. Under the lock of its schema: who had the name when the fleet was read
/// may be gone by then, or have another.
fn present<T: TenantModel>(tenant: &T, conn: &mut TenantConnection) -> Result<T> {
    saved_row(tenant, conn)?.ok_or_else(|| Error::NotSaved {
        schema: tenant.schema_name().clone(),
    })
}

/// A tenant, and what the table of states says of its schema.
struct Tenant<T> {
    row: T,
    known: Known,
    seen: Option<Seen>,
}

/// How often in a row jobs had no connection, or lost it.
#[derive(Default)]
struct Losses(AtomicUsize);

/// So often, and the server is gone, or what is run brings it down: no further job begins.
const TOO_MANY: usize = 3;

impl Losses {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how a job ended that began after `before` of them. What several lost that were at work
    /// at the same time, they lost at once.
    fn note<R>(&self, before: usize, result: &Result<R>) {
        let order = Ordering::Relaxed;
        match result {
            Err(error) if error.is_without_connection() => {
                let _ = self.0.compare_exchange(before, before + 1, order, order);
            }
            _ => self.0.store(0, order),
        }
    }
}

/// A job that has something to do.
struct Open<'a> {
    number: usize,
    outlook: Option<Arc<Outlook<'a>>>,
    started: AtomicBool,
    /// It was committed without waiting for the disk.
    hurried: AtomicBool,
}

fn slot<R>(result: &Mutex<R>) -> std::sync::MutexGuard<'_, R> {
    result.lock().unwrap_or_else(PoisonError::into_inner)
}
