//! What many schemas have, in few statements.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::ledger::{identity_of, same_ledger};
use super::session::WASH;
use super::{DIESEL_LEDGER, LEDGER, STATE, literal, within};
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
/// there is no such schema; the number of its ledger and when its state last changed, with `=` and its
/// fingerprint if that is one of `expected`, `+` and the lines of its ledger if it is another; `?` if it
/// has no state, or that is of a ledger, or a table of states, that is no more: someone put a backup in its place.
///
/// The server's own cache finds the schema. A join would be planned by what
/// statistics say of a catalog, which has none yet where many schemas are new.
pub(crate) fn known(public: &SchemaName, schema_column: &str, expected: &[String]) -> String {
    let expected: Vec<String> = expected.iter().map(|one| literal(one)).collect();
    format!(
        "(SELECT CASE WHEN n.oid IS NULL THEN NULL WHEN s.schema_name IS NULL THEN '?' \
         ELSE coalesce(s.ledger_oid::text, '0') || ' ' || EXTRACT(epoch FROM s.updated_at)::text || \
         CASE WHEN s.fingerprint IN ({expected}) THEN '=' || s.fingerprint \
         ELSE '+' || pg_catalog.array_to_string(s.applied, E'\\n') END END \
         FROM (SELECT pg_catalog.to_regnamespace(\
         pg_catalog.quote_ident({schema_column}::text))::oid) AS n (oid) \
         LEFT JOIN {state} AS s ON s.schema_name = {schema_column}::text AND s.schema_oid = n.oid AND {same_ledger})",
        expected = expected.join(", "),
        state = within(public, STATE),
        same_ledger = same_ledger(&format!("{schema_column}::text")),
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
const NOT_AS_KNOWN: &str = "tenant-schemas: not as known, asking again";

/// Fails with [`NOT_AS_KNOWN`]; planning a query can't work it out beforehand.
fn give_up() -> String {
    format!(
        "({} || pg_catalog.pg_backend_pid())::integer",
        literal(NOT_AS_KNOWN)
    )
}

/// Takes a schema's lock until the transaction ends, whose commit waits for no disk; fails if
/// another session has it, or a table is there that must not be.
const LOCK: &str = "__tenant_schemas_lock";

/// Writes what a migration changes in the table of states, and fails if that is not as it was
/// known to be.
const ADVANCE: &str = "__tenant_schemas_advance";

/// Whether an error speaks of a statement of [`prepare`], or of what made one fail.
pub(crate) fn is_not_as_known(message: &str) -> bool {
    [NOT_AS_KNOWN, LOCK, ADVANCE]
        .iter()
        .any(|text| message.contains(text))
}

/// Prepares what every message has in common, and is not planned anew for each schema then.
///
/// Says whether it did: not if the project hung something onto the table of states that is to run in
/// the tenant's own schema, or may keep a row from being seen.
pub(crate) fn prepare(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        plain: bool,
        #[diesel(sql_type = Array<Text>)]
        prepared: Vec<String>,
    }
    let state = within(public, STATE);
    let row: Row = diesel::sql_query(format!(
        "SELECT NOT (c.relhastriggers OR c.relhasrules OR c.relrowsecurity) AS plain, \
         ARRAY(SELECT p.name FROM pg_catalog.pg_prepared_statements AS p \
         WHERE p.name IN ('{LOCK}', '{ADVANCE}')) AS prepared \
         FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass($1)"
    ))
    .bind::<Text, _>(&state)
    .get_result(conn)?;
    if !row.plain {
        return Ok(false);
    }
    let mut statements: Vec<String> = row
        .prepared
        .iter()
        .map(|name| format!("DEALLOCATE {name}"))
        .collect();
    let give_up = give_up();
    statements.push(format!(
        "PREPARE {LOCK} (pg_catalog.int8, pg_catalog.text) AS SELECT pg_catalog.pg_advisory_unlock_all(), \
         pg_catalog.set_config('synchronous_commit', 'off', true), \
         CASE WHEN pg_catalog.pg_try_advisory_xact_lock($1) AND pg_catalog.to_regclass($2) IS NULL \
         THEN 0 ELSE {give_up} END"
    ));
    statements.push(format!(
        "PREPARE {ADVANCE} (pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text[], pg_catalog.oid) AS \
         WITH advanced AS (UPDATE {state} SET fingerprint = $3, applied = applied || $4, \
         updated_at = pg_catalog.now() \
         WHERE schema_name = $1 AND fingerprint = $2 AND ledger_oid = $5 AND $5 = {ledger} RETURNING 1) \
         SELECT CASE WHEN EXISTS (SELECT FROM advanced) THEN 0 ELSE {give_up} END",
        ledger = identity_of("$1", "tableoid"),
    ));
    super::run_together(conn, &statements)?;
    Ok(true)
}

/// Begins a transaction, which takes a schema's lock; it fails if another session has that, or if
/// Diesel's own harness may have recorded there what the ledger lacks.
///
/// What the session kept of a tenant before is gone. The commit waits for no
/// disk: [`flush`] does, for all that went before. The path is still that of the shared schema.
pub(crate) fn begin_alone(schema: &SchemaName, key: i64) -> String {
    let diesel = literal(&within(schema, DIESEL_LEDGER));
    format!("BEGIN ISOLATION LEVEL READ COMMITTED; {WASH}; EXECUTE {LOCK}({key}, {diesel})")
}

/// Adds lines to what the table of states says of a schema, if that had this fingerprint before, and this
/// ledger: after a rename, another tenant's schema may have the name.
///
/// It is a statement of its own behind the one that takes the lock: it sees what
/// was committed until then, whatever the database's isolation level is.
pub(crate) fn advance(
    schema: &SchemaName,
    ledger: &str,
    before: &str,
    after: &str,
    lines: &[String],
) -> String {
    let lines: Vec<String> = lines.iter().map(|line| literal(line)).collect();
    format!(
        "EXECUTE {ADVANCE}({name}, {before}, {after}, ARRAY[{lines}], {ledger})",
        name = literal(schema.as_str()),
        ledger = literal(ledger),
        before = literal(before),
        after = literal(after),
        lines = lines.join(", "),
    )
}

/// Returns when everything that was committed before is on the disk, as far as the session's
/// commits wait for that.
pub(crate) fn flush(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT pg_catalog.pg_logical_emit_message(true, 'tenant-schemas', '')")
}

/// What is known of one schema of a fleet.
#[derive(Debug, QueryableByName)]
pub(crate) struct FleetRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) fingerprint: Option<String>,
    /// `None` if the fingerprint is an expected one, or the schema has no state.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub(crate) applied: Option<Vec<String>>,
}

/// Reads the states of those schemas of a fleet that exist: one statement for all.
pub(crate) fn fleet(
    conn: &mut PgConnection,
    public: &SchemaName,
    schemas: &[String],
    expected: &[String],
) -> QueryResult<Vec<FleetRow>> {
    diesel::sql_query(format!(
        "SELECT n.nspname::text AS schema_name, s.fingerprint, \
         CASE WHEN s.fingerprint = ANY($2) THEN NULL ELSE s.applied END AS applied \
         FROM pg_catalog.pg_namespace AS n \
         LEFT JOIN {state} AS s ON s.schema_name = n.nspname AND s.schema_oid = n.oid AND {same_ledger} \
         WHERE n.nspname = ANY($1::name[])",
        state = within(public, STATE),
        same_ledger = same_ledger("n.nspname::text"),
    ))
    .bind::<Array<Text>, _>(schemas)
    .bind::<Array<Text>, _>(expected)
    .load(conn)
}
