//! Every statement that this crate sends, one function each; those that read and
//! make whole schemas are in `catalog/queries`.
//!
//! Values are bound; identifiers are [`SchemaName::quoted`]. Everything here
//! names its schema and works under any search path.

#[cfg(feature = "apalis")]
pub(crate) mod apalis;
pub(crate) mod carrier;
pub(crate) mod changes;
#[cfg(feature = "testing")]
pub(crate) mod databases;
pub(crate) mod doctor;
#[cfg(feature = "manage")]
pub(crate) mod fixtures;
#[cfg(feature = "jobs")]
pub(crate) mod jobs;
pub(crate) mod ledger;
pub(crate) mod ledgers;
pub(crate) mod locks;
#[cfg(feature = "manage")]
pub(crate) mod manage;
pub(crate) mod plain;
pub(crate) mod ready;
pub(crate) mod replan;
pub(crate) mod schemas;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod tables;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::name::SchemaName;

/// The ledger: one in every schema, always named with its schema.
const LEDGER: &str = "__tenant_migrations";
/// What the ledgers say, in one place: beside the shared tables.
const STATE: &str = "__tenant_schemas";
/// The table of Diesel's own harness.
const DIESEL_LEDGER: &str = "__diesel_schema_migrations";

/// A string as it is written into SQL text.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

fn within(schema: &SchemaName, table: &str) -> String {
    format!("{}.{table}", schema.quoted())
}

/// Runs statements as one message: all or none of them, in a transaction or not.
pub(crate) fn run_together(conn: &mut PgConnection, statements: &[String]) -> QueryResult<()> {
    conn.batch_execute(&statements.join("; "))
}

/// The name of a table or a column as it is written into SQL text.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
