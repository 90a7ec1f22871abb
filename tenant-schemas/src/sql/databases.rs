//! Databases of tests.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Text;

use super::identifier;

/// Makes an empty database.
pub(crate) fn create_database(conn: &mut PgConnection, name: &str) -> QueryResult<()> {
    conn.batch_execute(&format!("CREATE DATABASE {}", identifier(name)))
}

/// The database that a connection leads to.
pub(crate) fn current_database(conn: &mut PgConnection) -> QueryResult<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let row: Row =
        diesel::sql_query("SELECT pg_catalog.current_database()::text AS name").get_result(conn)?;
    Ok(row.name)
}

/// Drops a database; `force` ends the sessions that are connected to it.
pub(crate) fn drop_database(conn: &mut PgConnection, name: &str, force: bool) -> QueryResult<()> {
    let force = if force { " WITH (FORCE)" } else { "" };
    conn.batch_execute(&format!(
        "DROP DATABASE IF EXISTS {}{force}",
        identifier(name)
    ))
}

/// The databases whose names begin with `prefix`.
pub(crate) fn databases(conn: &mut PgConnection, prefix: &str) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT datname::text AS name FROM pg_catalog.pg_database \
         WHERE pg_catalog.starts_with(datname::text, $1)",
    )
    .bind::<Text, _>(prefix)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
