//! What many schemas have, in few statements.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};

use super::{DIESEL_LEDGER, LEDGER, literal, within};
use crate::name::SchemaName;

/// How many ledgers one statement reads: each takes lock slots for itself and its index.
pub(crate) const AT_ONCE: usize = 50;

/// A schema that there is, and its bookkeeping.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct BookkeepingRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    /// The schema has a ledger.
    #[diesel(sql_type = Bool)]
    pub(crate) ledger: bool,
    /// The schema has the table of Diesel's harness.
    #[diesel(sql_type = Bool)]
    pub(crate) diesel: bool,
}

/// Reads which tables of bookkeeping there are; schemas that do not exist are left out.
pub(crate) fn bookkeepings(
    conn: &mut PgConnection,
    schemas: &[&str],
) -> QueryResult<Vec<BookkeepingRow>> {
    diesel::sql_query(format!(
        "SELECT n.nspname::text AS schema_name, l.oid IS NOT NULL AS ledger, d.oid IS NOT NULL AS diesel \
         FROM pg_catalog.pg_namespace AS n \
         LEFT JOIN pg_catalog.pg_class AS l ON l.relnamespace = n.oid AND l.relname = '{LEDGER}' \
         LEFT JOIN pg_catalog.pg_class AS d ON d.relnamespace = n.oid AND d.relname = '{DIESEL_LEDGER}' \
         WHERE n.nspname = ANY($1)"
    ))
    .bind::<Array<Text>, _>(schemas)
    .load(conn)
}

/// One line of one of several ledgers.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct LineRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) app: String,
    #[diesel(sql_type = Text)]
    pub(crate) version: String,
    #[diesel(sql_type = Text)]
    pub(crate) checksum: String,
}

/// Reads the ledgers of these schemas, of which there are at most [`AT_ONCE`], in one statement.
pub(crate) fn ledgers(
    conn: &mut PgConnection,
    schemas: &[&SchemaName],
) -> QueryResult<Vec<LineRow>> {
    let ledgers: Vec<String> = schemas
        .iter()
        .map(|schema| {
            format!(
                "SELECT {} AS schema_name, app, version, checksum FROM {}",
                literal(schema.as_str()),
                within(schema, LEDGER)
            )
        })
        .collect();
    diesel::sql_query(ledgers.join(" UNION ALL ")).load(conn)
}
