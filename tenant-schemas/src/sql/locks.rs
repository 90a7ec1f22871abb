//! The lock of a schema, and how far the session that has it is.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool};

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
        conn.batch_execute("SELECT 'waiting for the lock of a schema'")?;
    }
    Ok(locked)
}

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
