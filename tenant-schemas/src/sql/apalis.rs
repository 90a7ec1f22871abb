//! The statement of the module `jobs::apalis`.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};

/// A task for a queue of apalis-postgres.
#[derive(Debug)]
pub(crate) struct NewTask<'a> {
    pub(crate) queue: &'a str,
    pub(crate) job: &'a [u8],
    pub(crate) max_attempts: i32,
    /// In microseconds since 1970; `None` is now.
    pub(crate) run_at: Option<i64>,
    /// In microseconds.
    pub(crate) delay: i64,
    pub(crate) priority: i32,
    pub(crate) idempotency_key: Option<&'a str>,
}

/// Adds a task to its queue; returns whether there was none with its idempotency key.
///
/// It is what apalis-postgres sends itself, but that the server makes the id.
pub(crate) fn push_task(conn: &mut PgConnection, task: &NewTask<'_>) -> QueryResult<bool> {
    diesel::sql_query(
        "INSERT INTO apalis.jobs \
         (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key) \
         SELECT apalis.generate_ulid(), $1, $2, 'Pending', 0, $3, \
         coalesce('epoch'::timestamptz + $4 * interval '1 microsecond', now()) + $5 * interval '1 microsecond', \
         $6, $7 ON CONFLICT (job_type, idempotency_key) DO NOTHING",
    )
    .bind::<Text, _>(task.queue)
    .bind::<Binary, _>(task.job)
    .bind::<Integer, _>(task.max_attempts)
    .bind::<Nullable<BigInt>, _>(task.run_at)
    .bind::<BigInt, _>(task.delay)
    .bind::<Integer, _>(task.priority)
    .bind::<Nullable<Text>, _>(task.idempotency_key)
    .execute(conn)
    .map(|rows| rows != 0)
}
