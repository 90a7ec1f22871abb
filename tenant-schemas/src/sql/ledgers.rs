//! What many schemas have, in few statements.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};

use super::{DIESEL_LEDGER, DISCARD_PLANS, LEDGER, LINE, STATE, literal, set_local_path, within};
use crate::name::SchemaName;
use crate::path::SearchPath;

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
        "SELECT n.nspname::text AS schema_name, \
         coalesce(pg_catalog.bool_or(c.relname = '{LEDGER}'), false) AS ledger, \
         coalesce(pg_catalog.bool_or(c.relname = '{DIESEL_LEDGER}'), false) AS diesel \
         FROM pg_catalog.pg_namespace AS n LEFT JOIN pg_catalog.pg_class AS c \
         ON c.relnamespace = n.oid AND c.relname IN ('{LEDGER}', '{DIESEL_LEDGER}') \
         WHERE n.nspname = ANY($1::name[]) GROUP BY n.nspname"
    ))
    .bind::<Array<Text>, _>(schemas)
    .load(conn)
}

/// What is known of the schema that a row of another table names, as an expression: null if
/// there is no such schema, `=` and its fingerprint if that is one of `expected`, `+` and the
/// lines of its ledger if it is another, `?` if it has no state.
///
/// The server's own cache finds the schema. A join would be planned by what
/// statistics say of a catalog, which has none yet where many schemas are new.
pub(crate) fn known(public: &SchemaName, schema_column: &str, expected: &[String]) -> String {
    let expected: Vec<String> = expected.iter().map(|one| literal(one)).collect();
    format!(
        "(SELECT CASE WHEN n.oid IS NULL THEN NULL WHEN s.schema_name IS NULL THEN '?' \
         WHEN s.fingerprint IN ({expected}) THEN '=' || s.fingerprint \
         ELSE '+' || pg_catalog.array_to_string(s.applied, E'\\n') END \
         FROM (SELECT pg_catalog.to_regnamespace(\
         pg_catalog.quote_ident({schema_column}::text))::oid) AS n (oid) \
         LEFT JOIN {state} AS s ON s.schema_name = {schema_column}::text AND s.schema_oid = n.oid)",
        expected = expected.join(", "),
        state = within(public, STATE),
    )
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

/// What an error says that ends a message because a schema is not as it was known to be.
pub(crate) const NOT_AS_KNOWN: &str = "tenant-schemas: not as known, asking again";

/// Fails with [`NOT_AS_KNOWN`]; planning a query can't work it out beforehand.
fn give_up() -> String {
    format!(
        "({} || pg_catalog.pg_backend_pid())::integer",
        literal(NOT_AS_KNOWN)
    )
}

/// Begins a transaction on `path`, which takes a schema's lock; it fails if another session has that.
///
/// What the session kept of a tenant before is gone. The commit waits for no
/// disk: [`flush`] does, for all that went before.
pub(crate) fn begin_alone(path: &SearchPath, key: i64) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; {DISCARD_PLANS}; UNLISTEN *; {path}; \
         SET LOCAL synchronous_commit TO off; SELECT pg_catalog.pg_advisory_unlock_all(), \
         CASE WHEN pg_catalog.pg_try_advisory_xact_lock({key}) THEN 0 ELSE {give_up} END",
        path = set_local_path(path),
        give_up = give_up(),
    )
}

/// Fails if a ledger does not consist of these lines, in this order.
///
/// It is a statement of its own behind the one that takes the lock: it sees what
/// was committed until then, whatever the database's isolation level is.
pub(crate) fn expect_ledger(schema: &SchemaName, lines: &[String], without_diesel: bool) -> String {
    let without_diesel = if without_diesel {
        let table = literal(&within(schema, DIESEL_LEDGER));
        format!(" AND pg_catalog.to_regclass({table}) IS NULL")
    } else {
        String::new()
    };
    format!(
        "SELECT CASE WHEN coalesce(pg_catalog.string_agg({LINE}, E'\\n'), '') = {lines}{without_diesel} \
         THEN 0 ELSE {give_up} END FROM {ledger} AS l",
        lines = literal(&lines.join("\n")),
        give_up = give_up(),
        ledger = within(schema, LEDGER),
    )
}

/// Adds lines to what the table of states says of a schema.
pub(crate) fn add_to_state(
    public: &SchemaName,
    schema: &SchemaName,
    lines: &[String],
    fingerprint: &str,
) -> String {
    let lines: Vec<String> = lines.iter().map(|line| literal(line)).collect();
    format!(
        "UPDATE {state} SET fingerprint = {fingerprint}, applied = applied || ARRAY[{lines}], \
         updated_at = now() WHERE schema_name = {name} \
         AND schema_oid = '{quoted}'::pg_catalog.regnamespace",
        state = within(public, STATE),
        fingerprint = literal(fingerprint),
        lines = lines.join(", "),
        name = literal(schema.as_str()),
        quoted = schema.quoted(),
    )
}

/// Returns when everything that was committed before is on the disk, as far as the session's
/// commits wait for that.
pub(crate) fn flush(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT pg_catalog.pg_logical_emit_message(true, 'tenant-schemas', '')")
}
