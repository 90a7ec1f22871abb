//! [`Schedule`]: when a periodic job is due, and for which tenants.

mod fan_out;
mod scheduler;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SubsecRound as _, Utc};
use croner::Cron;

use crate::error::{Error, Result};
use crate::ledger;
use crate::model::TenantModel;
use crate::name::SchemaName;

pub use self::fan_out::Turn;
pub use self::scheduler::{Fired, Scheduler, Stop};

/// How many tenants run at once, unless the schedule says otherwise.
const AT_ONCE: usize = 4;

type Filter<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

/// When a periodic job is due, and for which tenants. A [`Scheduler`] runs it.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use std::time::Duration;
/// use tenant_schemas::jobs::Schedule;
///
/// let reports = Schedule::cron("reports", "0 3 * * 1-5")? // in UTC
///     .filter(|client: &Client| !client.on_trial)
///     .jitter(Duration::from_secs(600))
///     .at_once(2);
/// assert_eq!(reports.name(), "reports");
///
/// let wrong = Schedule::<Client>::cron("reports", "at night").unwrap_err();
/// assert!(wrong.to_string().starts_with(r#"schedule "reports" can't be used: "at night""#));
/// # Ok::<(), tenant_schemas::Error>(())
/// ```
#[must_use]
pub struct Schedule<T: TenantModel> {
    name: String,
    due: Due,
    chosen: Option<HashSet<SchemaName>>,
    filter: Option<Filter<T>>,
    jitter: Duration,
    at_once: usize,
}

/// When a slot begins.
enum Due {
    Cron(Box<Cron>),
    Every(Duration),
}

impl<T: TenantModel> Schedule<T> {
    /// A job that is due whenever a cron pattern matches, in UTC.
    ///
    /// The pattern has five fields, or six with seconds first, or is a nickname
    /// such as `@daily`. All processes know a schedule by its name.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`] if the pattern can't be read.
    pub fn cron(name: impl Into<String>, pattern: &str) -> Result<Self> {
        let name = name.into();
        match Cron::from_str(pattern) {
            Ok(cron) => Ok(Self::new(name, Due::Cron(Box::new(cron)))),
            Err(error) => Err(Error::Schedule {
                reason: format!("{pattern:?} is no cron pattern, such as \"0 3 * * *\": {error}"),
                name,
            }),
        }
    }

    /// A job that is due once in every stretch of time of this length, counted from 1970.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`] if it is shorter than a millisecond.
    pub fn every(name: impl Into<String>, period: Duration) -> Result<Self> {
        let name = name.into();
        if period < Duration::from_millis(1) {
            return Err(Error::Schedule {
                reason: format!("{period:?} is too short: give it a millisecond at least"),
                name,
            });
        }
        Ok(Self::new(name, Due::Every(period)))
    }

    fn new(name: String, due: Due) -> Self {
        Self {
            name,
            due,
            chosen: None,
            filter: None,
            jitter: Duration::ZERO,
            at_once: AT_ONCE,
        }
    }

    /// Runs for the tenants of these schemas alone. Defaults to all but the public one.
    pub fn only(self, schemas: impl IntoIterator<Item = SchemaName>) -> Self {
        Self {
            chosen: Some(schemas.into_iter().collect()),
            ..self
        }
    }

    /// Runs for the tenants of which `filter` says yes, asked anew for each slot. Defaults to all.
    pub fn filter(self, filter: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        Self {
            filter: Some(Arc::new(filter)),
            ..self
        }
    }

    /// Spreads the tenants over this stretch of time, each slot in another way. Defaults to none.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Sets how many tenants run at once, each on a connection of the pool. Defaults to 4.
    ///
    /// Fewer, if the pool has fewer: one of its connections holds the slot meanwhile.
    pub fn at_once(self, tenants: usize) -> Self {
        Self {
            at_once: tenants.max(1),
            ..self
        }
    }

    /// The name by which all processes know the schedule.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the job is for this tenant.
    fn is_for(&self, tenant: &T) -> bool {
        self.chosen
            .as_ref()
            .is_none_or(|chosen| chosen.contains(tenant.schema_name()))
            && self.filter.as_ref().is_none_or(|filter| filter(tenant))
    }

    /// The last slot that has begun at `now`; `None` if there never was one.
    fn slot(&self, now: SystemTime) -> Option<SystemTime> {
        match &self.due {
            Due::Cron(cron) => {
                let now = DateTime::<Utc>::from(now).trunc_subsecs(0);
                let slot = cron.find_previous_occurrence(&now, true).ok()?;
                Some(slot.into())
            }
            Due::Every(period) => {
                let since = now.duration_since(UNIX_EPOCH).ok()?.as_micros();
                let period = period.as_micros();
                let slot = u64::try_from(since / period * period).ok()?;
                Some(UNIX_EPOCH + Duration::from_micros(slot))
            }
        }
    }

    /// When the next slot begins.
    fn next(&self, now: SystemTime) -> Option<SystemTime> {
        match &self.due {
            Due::Cron(cron) => {
                let next = cron.find_next_occurrence(&DateTime::<Utc>::from(now), false);
                next.ok().map(SystemTime::from)
            }
            Due::Every(period) => self.slot(now)?.checked_add(*period),
        }
    }

    /// How long after a slot begins it is this tenant's turn.
    fn offset(&self, tenant: &T, slot: SystemTime) -> Duration {
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return Duration::ZERO;
        }
        let key = ledger::key_of(&format!(
            "{}/{}/{}",
            self.name,
            tenant.id(),
            microseconds(slot)
        ));
        Duration::from_micros(key.cast_unsigned() % jitter)
    }
}

impl<T: TenantModel> fmt::Debug for Schedule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("name", &self.name)
            .field("jitter", &self.jitter)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

/// A time as the tables have it.
fn microseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
