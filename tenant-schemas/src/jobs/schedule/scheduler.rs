//! [`Scheduler`]: finds what is due, in one process of several.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error, Result};
use crate::ledger;
use crate::model::TenantModel;
use crate::report::Report;
use crate::sql;
use crate::tenancy::Tenancy;

use super::fan_out::{FanOut, Turn};
use super::{Schedule, microseconds};

/// How long a scheduler sleeps at most: a slot that another process left unfinished is waiting.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// How far a clock may be ahead of the database's, beside the length of a slot.
const LEEWAY: Duration = Duration::from_mins(1);

pub(super) type Work<T> =
    Box<dyn Fn(&mut TenantConnection, &T) -> Result<(), BoxError> + Send + Sync>;

/// Runs periodic jobs for each tenant, in one process of several (feature `jobs`).
///
/// Every process of a service may have a scheduler: each slot is fired by one.
/// If that process dies in the middle, another finishes the slot for the tenants
/// that were not done; the one that was at work is begun again, so a job has to
/// bear that. What was due while no process ran is made up for once. A schedule
/// that is seen for the first time is due from its next slot on.
///
/// Tenants whose schema is missing or lacks migrations are left out, and the
/// report says so. One whose job could not be begun because the database was busy
/// is given its turn at the next look. A process whose clock is ahead of the
/// database's by a whole period, and a minute, fires nothing.
///
/// The job runs here, or sends its work to a queue:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// use std::time::{Duration, SystemTime};
/// use tenant_schemas::jobs::{Schedule, Scheduler, Stop};
///
/// let nightly = Schedule::every("nightly", Duration::from_secs(86_400))?;
/// let scheduler = Scheduler::new(tenancy.clone())
///     .add(nightly, |conn, _client| diesel::delete(rooms::table).execute(conn).map(drop));
///
/// // A program of yours calls `scheduler.run(&stop, |fired| ..)`; a test looks at the clock itself:
/// let (today, stop) = (SystemTime::now(), Stop::new());
/// assert!(scheduler.tick(today, &stop).is_empty()); // it is known from now on
/// let fired = scheduler.tick(today + Duration::from_secs(86_400), &stop);
/// let report = fired[0].report.as_ref().unwrap();
/// assert_eq!((report.len(), report.failed().count()), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Scheduler<T: TenantModel> {
    tenancy: Tenancy<T>,
    entries: Vec<(Schedule<T>, Work<T>)>,
}

/// A slot of a schedule that this process fired.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fired {
    /// The schedule's name.
    pub schedule: String,
    /// When the slot began.
    pub slot: SystemTime,
    /// What became of each tenant; an error if it did not come to that.
    ///
    /// The failure of a tenant's job is an [`Error::Job`].
    pub report: Result<Report<Turn>>,
}

impl<T: TenantModel> Scheduler<T> {
    /// A scheduler that has nothing to do.
    pub fn new(tenancy: Tenancy<T>) -> Self {
        Self {
            tenancy,
            entries: Vec::new(),
        }
    }

    /// Adds a job: `work` is called for each tenant, on a connection in its scope.
    ///
    /// Two schedules of one name would be one to all processes: neither is fired.
    pub fn add<E: Into<BoxError>>(
        mut self,
        schedule: Schedule<T>,
        work: impl Fn(&mut TenantConnection, &T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let work =
            move |conn: &mut TenantConnection, tenant: &T| work(conn, tenant).map_err(Into::into);
        self.entries.push((schedule, Box::new(work)));
        self
    }

    /// Fires what is due until `stop` says so; `heard` is told of each slot. Blocks.
    ///
    /// The jobs of one scheduler run one after the other. Stopped in the middle of
    /// a slot it ends the tenants at work, and leaves the others to the next
    /// process, or the next run.
    pub fn run(&self, stop: &Stop, mut heard: impl FnMut(Fired)) {
        while !stop.is_stopped() {
            self.tick(SystemTime::now(), stop)
                .into_iter()
                .for_each(&mut heard);
            let now = SystemTime::now();
            let next = self
                .entries
                .iter()
                .filter_map(|(schedule, _)| schedule.next(now))
                .filter_map(|next| next.duration_since(now).ok())
                .min()
                .unwrap_or(LONGEST_SLEEP);
            stop.wait(next.min(LONGEST_SLEEP));
        }
    }

    /// Fires what is due at `now` and not taken by another process; returns what was fired.
    #[must_use = "the reports may hold failures"]
    pub fn tick(&self, now: SystemTime, stop: &Stop) -> Vec<Fired> {
        self.entries
            .iter()
            .filter_map(|(schedule, work)| {
                let slot = schedule.slot(now)?;
                let fired = self.fire(schedule, work, slot, stop).transpose()?;
                let (slot, report) = match fired {
                    Ok((slot, report)) => (slot, Ok(report)),
                    Err(error) => {
                        log::error!(
                            "schedule {} could not be fired: {}",
                            schedule.name,
                            crate::error::chain(&error)
                        );
                        (slot, Err(error))
                    }
                };
                Some(Fired {
                    schedule: schedule.name.clone(),
                    slot,
                    report,
                })
            })
            .collect()
    }

    fn fire(
        &self,
        schedule: &Schedule<T>,
        work: &Work<T>,
        slot: SystemTime,
        stop: &Stop,
    ) -> Result<Option<(SystemTime, Report<Turn>)>> {
        let refused = |reason: &str| Error::Schedule {
            name: schedule.name.clone(),
            reason: reason.to_owned(),
        };
        let of_the_name = self.entries.iter();
        let of_the_name = of_the_name.filter(|(other, _)| other.name == schedule.name);
        if of_the_name.count() > 1 {
            return Err(refused(
                "this scheduler has two of that name: give each its own",
            ));
        }
        let size = usize::try_from(self.tenancy.pool().max_size()).unwrap_or(usize::MAX);
        if size < 2 {
            return Err(refused(
                "one connection holds the slot, and tenants need another: raise `pool_size` to 2 at least",
            ));
        }
        let registry = self.tenancy.registry();
        let public = registry.public();
        let failed =
            |error| Error::database(format!("looking after schedule {}", schedule.name), error);
        let mut conn = self.tenancy.public()?;
        // A slot that is taken counts for all processes: they would wait for that time.
        let length = schedule
            .next(slot)
            .and_then(|next| next.duration_since(slot).ok());
        let latest = slot - length.unwrap_or_default() - LEEWAY;
        if conn
            .own(|inner| sql::jobs::is_ahead(inner, microseconds(latest)))
            .map_err(failed)?
        {
            return Err(refused(
                "its slot is far ahead of the database's time: set the clock of this machine",
            ));
        }
        let key = ledger::key_of(&format!("{public}/schedule/{}", schedule.name));
        let make = ledger::lock_key(public).wrapping_add(2);
        let mine = conn
            .own(|inner| {
                sql::jobs::make_schedules(inner, public, make)?;
                sql::locks::try_lock(inner, key)
            })
            .map_err(failed)?;
        if !mine {
            return Ok(None);
        }
        // The lock goes with the connection if anything panics, and with the process if it is killed.
        let mut held = Held {
            conn: &mut conn,
            returned: false,
        };
        let began = microseconds(slot);
        let taken = held
            .conn
            .own(|inner| sql::jobs::take_slot(inner, public, &schedule.name, began))
            .map_err(failed);
        let fired = match taken {
            Ok(true) => {
                let fan_out = FanOut {
                    tenancy: &self.tenancy,
                    schedule,
                    work,
                    slot,
                    at_once: schedule.at_once.min(size - 1),
                    stop,
                };
                fan_out.run(held.conn).and_then(|(report, whole)| {
                    if whole {
                        held.conn
                            .own(|inner| {
                                sql::jobs::finish_all(inner, public, &schedule.name, began)
                            })
                            .map_err(failed)?;
                    }
                    Ok(Some((slot, report)))
                })
            }
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        held.returned = held
            .conn
            .own(|inner| sql::locks::unlock(inner, key))
            .is_ok();
        fired
    }
}

/// Closes a connection that may have the lock still.
struct Held<'a> {
    conn: &'a mut TenantConnection,
    returned: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.returned {
            self.conn.condemn();
        }
    }
}

/// Tells a [`Scheduler`] to end. Clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// One that has not been told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells it.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits this long, or until it is told; returns whether it was.
    pub fn wait(&self, time: Duration) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .1
            .wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<T: TenantModel> fmt::Debug for Scheduler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedules: Vec<&Schedule<T>> =
            self.entries.iter().map(|(schedule, _)| schedule).collect();
        f.debug_struct("Scheduler")
            .field("schedules", &schedules)
            .finish_non_exhaustive()
    }
}
