//! The lock of a schema, and how far the session that has it is.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};

use super::literal;
use crate::name::SchemaName;

/// Takes the lock of a schema if it is free, until the session ends or [`unlock`] gives it back.
pub(crate) fn try_lock(conn: &mut PgConnection, key: i64) -> QueryResult<bool> {
    locked(
        conn,
        "SELECT pg_catalog.pg_try_advisory_lock($1) AS locked",
        key,
    )
}

/// Takes the lock of a schema if it is free, until the transaction ends.
///
/// If it is not, the transaction has no snapshot when this returns.
pub(crate) fn try_lock_in_transaction(conn: &mut PgConnection, key: i64) -> QueryResult<bool> {
    let locked = locked(
        conn,
        "SELECT pg_catalog.pg_try_advisory_xact_lock($1) AS locked",
        key,
    )?;
    if !locked {
        // A prepared statement keeps its portal, and with it its snapshot, until
        // the next statement; one that is not prepared keeps nothing. Whoever looks
        // into `pg_stat_activity` sees its text.
        conn.batch_execute(WAITING)?;
    }
    Ok(locked)
}

/// Who has the lock of a schema, in words.
pub(crate) fn holder(conn: &mut PgConnection, key: i64) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        holder: String,
    }
    let row: Option<Row> = diesel::sql_query(
        "SELECT pg_catalog.format('process %s of the server has, %s since %s%s: if its program is gone, end \
         it with SELECT pg_terminate_backend(%1$s)', l.pid, coalesce(a.state, 'in a state that is not shown'), \
         coalesce(a.state_change::text, 'some time'), \
         coalesce(' from ' || pg_catalog.host(a.client_addr), '')) AS holder \
         FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
         AND (l.classid::bigint << 32) | l.objid::bigint = $1 LIMIT 1",
    )
    .bind::<BigInt, _>(key)
    .get_result(conn)
    .optional()?;
    // Or the portal of a prepared statement would keep its snapshot.
    conn.batch_execute(WAITING)?;
    Ok(row.map(|row| row.holder))
}

/// What whoever looks into `pg_stat_activity` sees.
const WAITING: &str = "SELECT 'waiting for the lock of a schema'";

fn locked(conn: &mut PgConnection, query: &str, key: i64) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        locked: bool,
    }
    let row: Row = diesel::sql_query(query)
        .bind::<BigInt, _>(key)
        .get_result(conn)?;
    Ok(row.locked)
}

/// Takes a lock until the transaction ends; waits for it in the server.
pub(crate) fn lock_in_transaction(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    conn.batch_execute(&take_lock(key))
}

/// Lets other sessions see how far the work on a schema is, before the transaction ends.
///
/// The name of a session is seen by all at once, whatever the transaction
/// becomes, and goes back by itself when that ends, or dies.
pub(crate) fn show_progress(schema: &SchemaName, done: usize) -> String {
    format!(
        "SET LOCAL application_name TO {}",
        literal(&format!("{}{done}", progress_of(schema)))
    )
}

/// What the name of a session that works on a schema begins with. It fits, whatever the schema is called.
pub(crate) fn progress_of(schema: &SchemaName) -> String {
    format!("tenant-schemas {:016x} ", crate::ledger::lock_key(schema))
}

/// Takes a lock until the transaction ends, as part of a message.
pub(crate) fn take_lock(key: i64) -> String {
    format!("SELECT pg_catalog.pg_advisory_xact_lock({key})")
}

/// Gives the lock of a schema back.
pub(crate) fn unlock(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    conn.batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({key})"))
}
