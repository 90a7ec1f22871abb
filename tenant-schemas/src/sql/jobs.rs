//! The statements of the module `jobs`.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use super::locks::{progress_of, take_lock};
use super::within;
use crate::name::SchemaName;

/// Which slot of a schedule was fired last, and which tenants it is done for:
/// beside the shared tables. The row without a tenant is the schedule's own.
const SCHEDULES: &str = "__tenant_schedules";

/// A slot, given in microseconds since 1970.
const SLOT: &str = "('epoch'::timestamptz + $2 * interval '1 microsecond')";

/// Makes the table of schedules, unless it is there.
pub(crate) fn make_schedules(
    conn: &mut PgConnection,
    public: &SchemaName,
    lock: i64,
) -> QueryResult<()> {
    let columns = "schedule text, tenant_id text, slot timestamptz NOT NULL, finished_at timestamptz, \
         PRIMARY KEY (schedule, tenant_id)";
    make(conn, &within(public, SCHEDULES), columns, lock)
}

/// Makes a table unless it is there; two sessions that find none make it one after the other.
fn make(conn: &mut PgConnection, table: &str, columns: &str, lock: i64) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        found: bool,
    }
    let row: Row = diesel::sql_query("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS found")
        .bind::<Text, _>(table)
        .get_result(conn)?;
    if row.found {
        return Ok(());
    }
    conn.batch_execute(&format!(
        "{}; CREATE TABLE IF NOT EXISTS {table} ({columns})",
        take_lock(lock)
    ))
}

/// Whether a time, in microseconds since 1970, is ahead of the server's.
pub(crate) fn is_ahead(conn: &mut PgConnection, time: i64) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        ahead: bool,
    }
    let row: Row = diesel::sql_query(
        "SELECT 'epoch'::timestamptz + $1 * interval '1 microsecond' > pg_catalog.now() AS ahead",
    )
    .bind::<BigInt, _>(time)
    .get_result(conn)?;
    Ok(row.ahead)
}

/// Takes a slot that was not fired, or not to its end; returns whether there is something to do.
///
/// The first slot that is seen of a schedule counts as fired.
pub(crate) fn take_slot(
    conn: &mut PgConnection,
    public: &SchemaName,
    schedule: &str,
    slot: i64,
) -> QueryResult<bool> {
    let table = within(public, SCHEDULES);
    let taken = diesel::sql_query(format!(
        "UPDATE {table} SET slot = {SLOT}, finished_at = NULL \
         WHERE schedule = $1 AND tenant_id = '' AND (slot < {SLOT} OR (slot = {SLOT} AND finished_at IS NULL))"
    ))
    .bind::<Text, _>(schedule)
    .bind::<BigInt, _>(slot)
    .execute(conn)?;
    if taken == 0 {
        diesel::sql_query(format!(
            "INSERT INTO {table} (schedule, tenant_id, slot, finished_at) VALUES ($1, '', {SLOT}, now()) \
             ON CONFLICT DO NOTHING"
        ))
        .bind::<Text, _>(schedule)
        .bind::<BigInt, _>(slot)
        .execute(conn)?;
    }
    Ok(taken != 0)
}

/// Notes that a slot is done for all; what was noted of each is not needed any more.
pub(crate) fn finish_all(
    conn: &mut PgConnection,
    public: &SchemaName,
    schedule: &str,
    slot: i64,
) -> QueryResult<()> {
    finish_slot(conn, public, schedule, "", slot)?;
    diesel::sql_query(format!(
        "DELETE FROM {} WHERE schedule = $1 AND tenant_id <> ''",
        within(public, SCHEDULES)
    ))
    .bind::<Text, _>(schedule)
    .execute(conn)
    .map(drop)
}

/// Notes that a slot is done for a tenant; for all, if the key is empty.
pub(crate) fn finish_slot(
    conn: &mut PgConnection,
    public: &SchemaName,
    schedule: &str,
    tenant_id: &str,
    slot: i64,
) -> QueryResult<()> {
    diesel::sql_query(format!(
        "INSERT INTO {} AS old (schedule, tenant_id, slot, finished_at) VALUES ($1, $3, {SLOT}, now()) \
         ON CONFLICT (schedule, tenant_id) DO UPDATE SET slot = excluded.slot, finished_at = now() \
         WHERE old.slot <= excluded.slot",
        within(public, SCHEDULES)
    ))
    .bind::<Text, _>(schedule)
    .bind::<BigInt, _>(slot)
    .bind::<Text, _>(tenant_id)
    .execute(conn)
    .map(drop)
}

/// The keys of the tenants for which a slot is done.
pub(crate) fn finished(
    conn: &mut PgConnection,
    public: &SchemaName,
    schedule: &str,
    slot: i64,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT tenant_id FROM {} WHERE schedule = $1 AND tenant_id <> '' AND slot >= {SLOT}",
        within(public, SCHEDULES)
    ))
    .bind::<Text, _>(schedule)
    .bind::<BigInt, _>(slot)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.tenant_id).collect())
}

/// Which tenants were to be provisioned by a job, and why that failed: beside the
/// shared tables. A tenant had no schema at the time of its request: one that it
/// has later is its own.
const PROVISIONING: &str = "__tenant_provisioning";

/// Makes the table of tenants that are provisioned by jobs, unless it is there.
pub(crate) fn make_provisioning(
    conn: &mut PgConnection,
    public: &SchemaName,
    lock: i64,
) -> QueryResult<()> {
    let columns = "tenant_id text PRIMARY KEY, requested_at timestamptz, \
         failures integer NOT NULL DEFAULT 0, failed_at timestamptz, reason text";
    make(conn, &within(public, PROVISIONING), columns, lock)
}

/// Notes that a tenant is to be provisioned by a job, and has no schema.
pub(crate) fn request_provisioning(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenant_id: &str,
) -> QueryResult<()> {
    diesel::sql_query(format!(
        "INSERT INTO {} AS old (tenant_id, requested_at) VALUES ($1, now()) \
         ON CONFLICT (tenant_id) DO UPDATE SET requested_at = coalesce(old.requested_at, now())",
        within(public, PROVISIONING)
    ))
    .bind::<Text, _>(tenant_id)
    .execute(conn)
    .map(drop)
}

/// Forgets what is noted of a tenant: an earlier one had the same key.
pub(crate) fn forget_provisioning(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenant_id: &str,
) -> QueryResult<()> {
    let table = within(public, PROVISIONING);
    diesel::sql_query(format!("DELETE FROM {table} WHERE tenant_id = $1"))
        .bind::<Text, _>(tenant_id)
        .execute(conn)
        .map(drop)
}

/// Notes why a tenant could not be provisioned; `None` if it is.
pub(crate) fn note_provisioning(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenant_id: &str,
    reason: Option<&str>,
) -> QueryResult<()> {
    diesel::sql_query(format!(
        "INSERT INTO {} AS old (tenant_id, failures, failed_at, reason) \
         SELECT $1, 1, now(), $2 WHERE $2 IS NOT NULL \
         ON CONFLICT (tenant_id) DO UPDATE SET failures = old.failures + 1, failed_at = now(), reason = $2",
        within(public, PROVISIONING)
    ))
    .bind::<Text, _>(tenant_id)
    .bind::<Nullable<Text>, _>(reason)
    .execute(conn)?;
    if reason.is_none() {
        diesel::sql_query(format!(
            "UPDATE {} SET reason = NULL WHERE tenant_id = $1 AND reason IS NOT NULL",
            within(public, PROVISIONING)
        ))
        .bind::<Text, _>(tenant_id)
        .execute(conn)?;
    }
    Ok(())
}

/// What is noted of a tenant that is provisioned by a job.
#[derive(Debug, QueryableByName)]
pub(crate) struct ProvisioningRow {
    /// The tenant had no schema at the time of its request.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(crate) requested: bool,
    #[diesel(sql_type = Integer)]
    pub(crate) failures: i32,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) reason: Option<String>,
}

/// Reads what is noted of a tenant that is provisioned by a job.
pub(crate) fn provisioning(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenant_id: &str,
) -> QueryResult<Option<ProvisioningRow>> {
    diesel::sql_query(format!(
        "SELECT requested_at IS NOT NULL AS requested, failures, reason FROM {} WHERE tenant_id = $1",
        within(public, PROVISIONING)
    ))
    .bind::<Text, _>(tenant_id)
    .get_result(conn)
    .optional()
}

/// How many migrations a session that works on a schema has behind it, if there is one.
pub(crate) fn at_work(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Option<usize>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        done: String,
    }
    let row: Option<Row> = diesel::sql_query(
        "SELECT pg_catalog.substr(application_name, pg_catalog.length($1) + 1) AS done \
         FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() \
         AND pg_catalog.starts_with(application_name, $1) LIMIT 1",
    )
    .bind::<Text, _>(progress_of(schema))
    .get_result(conn)
    .optional()?;
    Ok(row.and_then(|row| row.done.parse().ok()))
}
