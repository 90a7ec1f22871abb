//! The statements of the module `jobs`.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::{take_lock, within};
use crate::name::SchemaName;

/// Which slot of a schedule was fired last, and which tenants it is done for:
/// beside the shared tables. The row without a tenant is the schedule's own.
const SCHEDULES: &str = "__tenant_schedules";

/// A slot, given in microseconds since 1970.
const SLOT: &str = "('epoch'::timestamptz + $2 * interval '1 microsecond')";

/// Makes the table of schedules; its lock is held by those who look whether it is there.
pub(crate) fn make_schedules(
    conn: &mut PgConnection,
    public: &SchemaName,
    lock: i64,
) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        found: bool,
    }
    let table = within(public, SCHEDULES);
    let row: Row = diesel::sql_query("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS found")
        .bind::<Text, _>(&table)
        .get_result(conn)?;
    if row.found {
        return Ok(());
    }
    conn.batch_execute(&format!(
        "{}; CREATE TABLE IF NOT EXISTS {table} (schedule text, tenant_id text, \
         slot timestamptz NOT NULL, finished_at timestamptz, PRIMARY KEY (schedule, tenant_id))",
        take_lock(lock)
    ))
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
