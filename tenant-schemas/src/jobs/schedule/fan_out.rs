//! [`FanOut`]: one slot of a schedule, tenant by tenant.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use diesel::connection::SimpleConnection as _;

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::jobs::ready::{Readiness, readiness};
use crate::jobs::run::run;
use crate::jobs::{JobError, TenantRef};
use crate::model::TenantModel;
use crate::provision::Lifecycle as _;
use crate::registry::Kind;
use crate::report::{Outcome, Report};
use crate::script::MigrationId;
use crate::sql;
use crate::tenancy::Tenancy;

use super::scheduler::Work;
use super::{Schedule, Stop, microseconds};

/// What became of a tenant's turn, if it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// The job ran.
    Done,
    /// The process that fired the slot before this one had done it.
    DoneBefore,
    /// The job did not run: the tenant has no schema.
    NoSchema,
    /// The job did not run: the tenant's schema lacks these migrations.
    Behind(Vec<MigrationId>),
}

/// How often it is seen whether the slot is held still.
const BEAT: Duration = Duration::from_secs(2);

/// After how long without a sign of that it counts as lost.
const LEASE: Duration = Duration::from_secs(15);

/// One slot of a schedule.
pub(super) struct FanOut<'a, T: TenantModel> {
    pub(super) tenancy: &'a Tenancy<T>,
    pub(super) schedule: &'a Schedule<T>,
    pub(super) work: &'a Work<T>,
    pub(super) slot: SystemTime,
    pub(super) at_once: usize,
    pub(super) stop: &'a Stop,
}

/// A tenant that waits for its turn.
struct Waiting<T> {
    after: Duration,
    /// Where its outcome goes.
    at: usize,
    tenant: T,
}

impl<T: TenantModel> FanOut<'_, T> {
    /// Runs the job for each tenant; returns what became of them, and whether the slot is done for
    /// all: it is not where the stop came first, or the database was busy or away.
    pub(super) fn run(&self, conn: &mut TenantConnection) -> Result<(Report<Turn>, bool)> {
        let registry = self.tenancy.registry();
        let tenants: Vec<T> = T::all(conn)?
            .into_iter()
            .filter(|tenant| tenant.schema_name() != registry.public())
            .filter(|tenant| self.schedule.is_for(tenant))
            .collect();
        let schemas: Vec<_> = tenants
            .iter()
            .map(|tenant| {
                (
                    tenant.schema_name().clone(),
                    Kind::Tenant(tenant.tenant_type()),
                )
            })
            .collect();
        let ready = readiness(conn, registry, &schemas)?;
        let (name, slot) = (&self.schedule.name, microseconds(self.slot));
        let done: HashSet<String> = conn
            .own(|inner| sql::jobs::finished(inner, registry.public(), name, slot))
            .map_err(|error| Error::database(format!("looking after schedule {name}"), error))?
            .into_iter()
            .collect();

        let mut outcomes: Vec<Option<Result<Turn>>> = Vec::new();
        let mut waiting = Vec::new();
        for (tenant, ready) in tenants.into_iter().zip(ready) {
            let at = outcomes.len();
            outcomes.push(match ready {
                _ if done.contains(&tenant.id().to_string()) => Some(Ok(Turn::DoneBefore)),
                Readiness::NoSchema => Some(Ok(Turn::NoSchema)),
                Readiness::Behind(pending) => Some(Ok(Turn::Behind(pending))),
                Readiness::Ready => {
                    let after = self.schedule.offset(&tenant, self.slot);
                    waiting.push(Waiting { after, at, tenant });
                    None
                }
            });
        }
        waiting.sort_by_key(|waiting| waiting.after);
        let begun = self.all(conn, waiting, &mut outcomes);
        let whole = begun && outcomes.iter().all(Option::is_some);
        let outcomes = outcomes
            .into_iter()
            .zip(schemas)
            .map(|(result, (schema, _))| {
                let skipped = || {
                    Err(Error::Skipped {
                        schema: schema.clone(),
                    })
                };
                let result = result.unwrap_or_else(skipped);
                Outcome::new(schema, result)
            })
            .collect();
        Ok((Report::new(outcomes), whole))
    }

    /// Gives each tenant its turn, so many at once, as long as `conn` holds the slot; returns
    /// whether the job could be begun for each that had one.
    fn all(
        &self,
        conn: &mut TenantConnection,
        waiting: Vec<Waiting<T>>,
        outcomes: &mut [Option<Result<Turn>>],
    ) -> bool {
        let threads = self.at_once.min(waiting.len());
        let waiting = Mutex::new(VecDeque::from(waiting));
        let outcomes = Mutex::new(outcomes);
        let begun = Instant::now();
        // When it was last seen that the slot is held, after so many milliseconds; `MAX` if it is lost.
        let seen = AtomicU64::new(0);
        let all_begun = AtomicBool::new(true);
        let is_lost = || {
            let seen = Duration::from_millis(seen.load(Ordering::Relaxed));
            begun.elapsed().abs_diff(seen) > LEASE
        };
        let (working, over) = mpsc::channel::<()>();
        thread::scope(|scope| {
            for _ in 0..threads {
                let working = working.clone();
                let (waiting, outcomes, is_lost) = (&waiting, &outcomes, &is_lost);
                let all_begun = &all_begun;
                scope.spawn(move || {
                    let _working = working;
                    loop {
                        let next = waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .pop_front();
                        let Some(next) = next else { break };
                        let pause = || next.after.saturating_sub(begun.elapsed());
                        while !pause().is_zero() && !is_lost() {
                            if self.stop.wait(pause().min(BEAT)) {
                                break;
                            }
                        }
                        if self.stop.is_stopped() || is_lost() {
                            break;
                        }
                        let (result, begun) = self.one(&next.tenant);
                        all_begun.fetch_and(begun, Ordering::Relaxed);
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner)[next.at] =
                            Some(result);
                    }
                });
            }
            drop(working);
            while over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                // A session that is idle for long may be ended, and the slot is another process's then.
                let held = conn.own(|inner| inner.batch_execute(sql::session::NOTHING));
                let now = match held {
                    Ok(()) => u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                    Err(_) => u64::MAX,
                };
                if seen.swap(now, Ordering::Relaxed) != now && now == u64::MAX {
                    log::error!(
                        "schedule {} has lost its slot, and goes on with no other tenant",
                        self.schedule.name
                    );
                }
            }
        });
        all_begun.into_inner()
    }

    /// Gives a tenant its turn; returns what became of it, and whether the job could be begun.
    fn one(&self, tenant: &T) -> (Result<Turn>, bool) {
        let schema = tenant.schema_name();
        let ran = TenantRef::of(tenant)
            .map_err(JobError::from)
            .and_then(|reference| self.tenancy.job_connection(&reference))
            .and_then(|conn| {
                // As its row is now, like the connection: it may have another name than when the slot began.
                let tenant = conn.tenant().unwrap_or(tenant).clone();
                run(conn, |conn| (self.work)(conn, &tenant))
            });
        if let Err(error) = &ran {
            log::error!(
                "schedule {} failed for schema {schema}: {}",
                self.schedule.name,
                crate::error::chain(error)
            );
        }
        let job_failed = |error: JobError| Error::Job {
            schema: schema.clone(),
            source: error.into(),
        };
        let ran = match ran {
            // The slot is left to the next tick.
            Err(error) if error.is_for_want_of_a_database() => {
                return (Err(job_failed(error)), false);
            }
            ran => ran.map_err(job_failed),
        };
        // A failure is the tenant's outcome of this slot as well: its next try is the next slot.
        let registry = self.tenancy.registry();
        let (name, slot) = (&self.schedule.name, microseconds(self.slot));
        let key = tenant.id().to_string();
        let noted = self.tenancy.public().and_then(|mut conn| {
            conn.own(|inner| sql::jobs::finish_slot(inner, registry.public(), name, &key, slot))
                .map_err(|error| Error::database(format!("looking after schedule {name}"), error))
        });
        (ran.and(noted).map(|()| Turn::Done), true)
    }
}
