//! [`PostgresQueue`]: a task that is sent in the transaction of the work that it follows from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::jobs::{InTenant, Shared, SharedJob, TenantRef};
use crate::sql;

/// How often a task is tried, unless the queue says otherwise: as apalis-postgres does.
const MAX_ATTEMPTS: i32 = 25;

/// A queue of apalis-postgres, written to through a connection of the tenancy (feature `apalis`).
///
/// The task is there when the transaction commits, and not if it is rolled
/// back. The database has to be the one that the queue is in, with the tables
/// that `PostgresStorage::setup` makes.
///
/// ```no_run
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use std::time::Duration;
/// use tenant_schemas::Error;
/// use tenant_schemas::jobs::InTenant;
/// use tenant_schemas::jobs::apalis::PostgresQueue;
///
/// // The worker's backend has `Config::default().queue("mails")`.
/// let mails = PostgresQueue::new("mails").run_after(Duration::from_secs(60));
/// let mut conn = tenancy.tenant(&acme)?;
/// conn.transaction(|conn| {
///     diesel::insert_into(rooms::table)
///         .values((rooms::id.eq(1), rooms::name.eq("Blue")))
///         .execute(conn)?;
///     let envelope = InTenant::current::<Client>(conn, "room 1 is ready")?;
///     mails.push(conn, &envelope)?;
///     Ok::<_, Error>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresQueue {
    name: String,
    run_at: Option<SystemTime>,
    delay: Duration,
    priority: i32,
    max_attempts: i32,
    idempotency_key: Option<String>,
}

impl PostgresQueue {
    /// The queue of this name, as in `apalis_postgres::Config::queue`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            run_at: None,
            delay: Duration::ZERO,
            priority: 0,
            max_attempts: MAX_ATTEMPTS,
            idempotency_key: None,
        }
    }

    /// Sets the time before which the task does not run. Defaults to the time of the transaction.
    pub fn run_at(self, run_at: SystemTime) -> Self {
        Self {
            run_at: Some(run_at),
            ..self
        }
    }

    /// Sets how long after that time the task may run. Defaults to no delay.
    pub fn run_after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sets which tasks go first: those with more. Defaults to 0.
    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Sets how often the task is tried. Defaults to 25.
    pub fn max_attempts(self, max_attempts: u16) -> Self {
        Self {
            max_attempts: i32::from(max_attempts),
            ..self
        }
    }

    /// Sets a key that only one task of the queue has, for each tenant. Defaults to none.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..self
        }
    }

    /// Sends a job, in the transaction that is open; returns whether it is new to the queue.
    ///
    /// The scope of the connection does not matter: the envelope says whose the job is.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is no such queue, or whatever the database says.
    pub fn push(&self, conn: &mut TenantConnection, envelope: &impl Envelope) -> Result<bool> {
        let job = serde_json::to_vec(envelope).map_err(|error| Error::Envelope {
            queue: self.name.clone(),
            source: error.into(),
        })?;
        // Two tenants may well choose the same key, and each part may have a `/` in it.
        let key = self.idempotency_key.as_ref().map(|key| {
            let whose = envelope.tenant().map_or("", TenantRef::id);
            format!("{}/{whose}/{key}", whose.len())
        });
        let task = sql::apalis::NewTask {
            queue: &self.name,
            job: &job,
            max_attempts: self.max_attempts,
            run_at: self.run_at.map(microseconds),
            delay: i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX),
            priority: self.priority,
            idempotency_key: key.as_deref(),
        };
        conn.own(|inner| sql::apalis::push_task(inner, &task))
            .map_err(|error| {
                Error::database(
                    format!(
                        "sending a job to the queue {:?} of apalis-postgres (whose tables `PostgresStorage::setup` makes)",
                        self.name
                    ),
                    error,
                )
            })
    }
}

/// What can be sent: a job with its address.
pub trait Envelope: Serialize + sealed::Sealed {
    /// The tenant; `None` for a job that is nobody's.
    fn tenant(&self) -> Option<&TenantRef>;
}

impl<J: Serialize> Envelope for InTenant<J> {
    fn tenant(&self) -> Option<&TenantRef> {
        Some(self.tenant())
    }
}

impl<J: SharedJob + Serialize> Envelope for Shared<J> {
    fn tenant(&self) -> Option<&TenantRef> {
        None
    }
}

mod sealed {
    use crate::jobs::{InTenant, Shared};

    pub trait Sealed {}
    impl<J> Sealed for InTenant<J> {}
    impl<J> Sealed for Shared<J> {}
}

fn microseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
