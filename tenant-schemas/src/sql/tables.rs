//! Rules of the project's own tables.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{Bool, Text};

use super::{identifier, literal};
use crate::name::SchemaName;

/// Adds a constraint, written as in a table's definition, to a table; both as they stand in SQL text.
pub(crate) fn add_constraint(table: &str, constraint: &str) -> String {
    format!("ALTER TABLE {table} ADD {constraint}")
}

/// Adds the foreign key of a column; each part as it stands in SQL text.
pub(crate) fn add_foreign_key(
    table: &str,
    name: Option<&str>,
    column: &str,
    reference: &str,
) -> String {
    let name = name.map_or_else(String::new, |name| format!("CONSTRAINT {name} "));
    add_constraint(table, &format!("{name}FOREIGN KEY ({column}) {reference}"))
}

/// Whether a table has a unique index on one column alone, over all rows or over some.
pub(crate) fn has_unique_index(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    partial: bool,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let row: Row = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index AS i \
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = pg_catalog.to_regclass($1) AND i.indisunique AND i.indisvalid \
         AND i.indnkeyatts = 1 AND a.attname = $2 AND (i.indpred IS NOT NULL) = $3) AS found",
    )
    .bind::<Text, _>(table)
    .bind::<Text, _>(column)
    .bind::<Bool, _>(partial)
    .get_result(conn)?;
    Ok(row.found)
}

/// Whether there is such a table; `table` is quoted already.
pub(crate) fn table_exists(conn: &mut PgConnection, table: &str) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let row: Row = diesel::sql_query("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS found")
        .bind::<Text, _>(table)
        .get_result(conn)?;
    Ok(row.found)
}

/// The indexes of a schema that are not to be used: their making failed, or goes on.
pub(crate) fn invalid_indexes(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT c.relname::text AS name FROM pg_catalog.pg_index AS i \
         JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1",
    )
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// What others may do to a row meanwhile.
#[derive(Clone, Copy)]
pub(crate) enum RowLock {
    /// Nothing but refer to it.
    Change,
    /// Everything but delete it or give it another key.
    Keep,
}

/// Keeps others from the row with this value until the transaction ends; says whether there is one.
pub(crate) fn lock_row(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    value: &str,
    lock: RowLock,
) -> QueryResult<bool> {
    let strength = match lock {
        RowLock::Change => "NO KEY UPDATE",
        RowLock::Keep => "KEY SHARE",
    };
    let rows = diesel::sql_query(format!(
        "SELECT FROM {table} WHERE {} = $1 FOR {strength}",
        identifier(column)
    ))
    .bind::<Text, _>(value)
    .execute(conn)?;
    Ok(rows > 0)
}

/// Makes a column unique, over all rows or over those where `only` is true.
pub(crate) fn create_unique_index(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    only: Option<&str>,
) -> QueryResult<()> {
    let only = only.map_or_else(String::new, |column| {
        format!(" WHERE {}", identifier(column))
    });
    conn.batch_execute(&format!(
        "CREATE UNIQUE INDEX ON {table} ({}){only}",
        identifier(column)
    ))
}

/// The name of the constraint that keeps what is no schema name out of a column.
const SCHEMA_NAME_CHECK: &str = "is_a_schema_name";

/// Whether a table has the constraint that [`check_schema_names`] makes.
pub(crate) fn checks_schema_names(conn: &mut PgConnection, table: &str) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let row: Row = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint \
         WHERE conrelid = pg_catalog.to_regclass($1) AND contype = 'c' AND conname = $2) AS found",
    )
    .bind::<Text, _>(table)
    .bind::<Text, _>(SCHEMA_NAME_CHECK)
    .get_result(conn)?;
    Ok(row.found)
}

/// Keeps out of a column what [`SchemaName`](crate::name::SchemaName) refuses whatever the policy; rows that are there stay.
///
/// Characters beyond ASCII are let through: which are letters depends on the database's locale.
pub(crate) fn check_schema_names(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
) -> QueryResult<()> {
    let column = format!("{}::text", identifier(column));
    // Every ASCII character but digits, letters, `_` and `-`.
    let others = literal(r"[\x01-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]");
    let add = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {SCHEMA_NAME_CHECK} CHECK (\
         pg_catalog.octet_length({column}) BETWEEN 1 AND 63 AND {column} !~ {others} \
         AND {column} !~* '^pg_' AND pg_catalog.lower({column}) <> 'information_schema')"
    );
    match conn.batch_execute(&add) {
        Err(DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, _)) => {
            conn.batch_execute(&format!("{add} NOT VALID"))
        }
        result => result,
    }
}
