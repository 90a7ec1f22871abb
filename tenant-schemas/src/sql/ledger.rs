//! One schema's ledger, and its line in the table of states.

use diesel::connection::SimpleConnection as _;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Text};

use super::{DIESEL_LEDGER, LEDGER, STATE, literal, ready, within};
use crate::name::SchemaName;
use crate::script::MigrationId;

/// Whether a table, by its name as PostgreSQL quotes it, says which migrations its schema has.
pub(crate) fn is_ledger(table: &str) -> bool {
    [LEDGER, DIESEL_LEDGER].contains(&table)
}

/// What `ledger_oid` is in the line that a table of states has for a ledger, both given as expressions: the
/// numbers by which PostgreSQL knows the two, in one. A rename keeps them; if either table was restored
/// from a backup, the line is of another.
fn identity(ledger: &str, state: &str) -> String {
    let number = |table| format!("{table}::pg_catalog.oid::pg_catalog.int8");
    let (ledger, state) = (number(ledger), number(state));
    format!("({ledger} OPERATOR(pg_catalog.#) {state})::pg_catalog.oid")
}

/// The same for the ledger that a schema has now, whose name an expression has; null if there is none.
pub(super) fn identity_of(schema: &str, state: &str) -> String {
    let ledger = format!(
        "pg_catalog.to_regclass(pg_catalog.quote_ident({schema}) OPERATOR(pg_catalog.||) '.{LEDGER}')"
    );
    identity(&ledger, state)
}

/// Whether the state `s` of the schema `n`, whose name an expression has, is of the ledger that is there,
/// and was written into the table in which it stands.
///
/// To look into a schema without the privilege is an error, which is for that schema's own run: here
/// the state is believed.
pub(super) fn same_ledger(schema: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN s.ledger_oid = {} ELSE true END",
        identity_of(schema, "s.tableoid")
    )
}

/// What there is of ours, and of Diesel's, before a schema is migrated.
#[derive(Debug, Clone, Copy, QueryableByName)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that is there or not"
)]
pub(crate) struct Bookkeeping {
    /// There is such a schema.
    #[diesel(sql_type = Bool)]
    pub(crate) schema: bool,
    /// The schema has a ledger.
    #[diesel(sql_type = Bool)]
    pub(crate) ledger: bool,
    /// The schema has the table of Diesel's harness.
    #[diesel(sql_type = Bool)]
    pub(crate) diesel: bool,
    /// The shared schema has the table of states.
    #[diesel(sql_type = Bool)]
    pub(crate) state: bool,
    /// There are schemas that were made ahead, of whatever kind.
    #[diesel(sql_type = Bool)]
    pub(crate) ready: bool,
}

/// Reads which tables of bookkeeping there are.
pub(crate) fn bookkeeping(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
) -> QueryResult<Bookkeeping> {
    looking(conn, schema, public, "")
}

/// Takes the lock of a schema if it is free, until the transaction ends; reads what there is if it was.
///
/// What there is was seen in the moment before.
pub(crate) fn try_lock_and_look(
    conn: &mut PgConnection,
    key: i64,
    schema: &SchemaName,
    public: &SchemaName,
) -> QueryResult<Option<Bookkeeping>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        locked: bool,
        #[diesel(embed)]
        there: Bookkeeping,
    }
    let locked = format!("pg_catalog.pg_try_advisory_xact_lock({key}) AS locked, ");
    let row: Row = looking(conn, schema, public, &locked)?;
    Ok(row.locked.then_some(row.there))
}

/// Reads `first` and then which tables of bookkeeping there are. Whether the schema is there is asked of the
/// server's own cache, which hears of what was committed while the statement runs.
fn looking<R>(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
    first: &str,
) -> QueryResult<R>
where
    R: QueryableByName<Pg> + 'static,
{
    diesel::sql_query(format!(
        "SELECT {first}pg_catalog.to_regnamespace(pg_catalog.quote_ident($4)) IS NOT NULL AS schema, \
         {ready} AS ready, pg_catalog.to_regclass($1) IS NOT NULL AS ledger, \
         pg_catalog.to_regclass($2) IS NOT NULL AS diesel, \
         EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($3) \
         AND attname = 'ledger_oid') AS state",
        ready = ready::ANY,
    ))
    .bind::<Text, _>(within(schema, LEDGER))
    .bind::<Text, _>(within(schema, DIESEL_LEDGER))
    .bind::<Text, _>(within(public, STATE))
    .bind::<Text, _>(schema.as_str())
    .get_result(conn)
}

/// Creates the ledger of a schema.
pub(crate) fn create_ledger(schema: &SchemaName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (app text NOT NULL, version text NOT NULL, name text NOT NULL, \
         checksum text NOT NULL, run_on timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (app, version))",
        within(schema, LEDGER)
    )
}

/// Creates the table of states. A migration writes all its rows anew: there is room beside each.
pub(crate) fn create_state(public: &SchemaName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {state} (schema_name text PRIMARY KEY, schema_oid oid NOT NULL, \
         fingerprint text NOT NULL, applied text[] NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()) \
         WITH (fillfactor = 50); ALTER TABLE {state} ADD COLUMN IF NOT EXISTS ledger_oid oid",
        state = within(public, STATE)
    )
}

/// Writes into a schema's ledger that a migration was applied.
pub(crate) fn record(schema: &SchemaName, id: &MigrationId, checksum: &str) -> String {
    format!(
        "INSERT INTO {} (app, version, name, checksum, run_on) VALUES ({}, {}, {}, {}, pg_catalog.now())",
        within(schema, LEDGER),
        literal(&id.app),
        literal(&id.version),
        literal(&id.name),
        literal(checksum),
    )
}

/// Takes a version out of the record of Diesel's own harness.
pub(crate) fn erase_from_diesel(schema: &SchemaName, id: &MigrationId) -> String {
    format!(
        "DELETE FROM {} WHERE version = {}",
        within(schema, DIESEL_LEDGER),
        literal(&id.version),
    )
}

/// Writes into a schema's ledger that a migration is no longer applied.
pub(crate) fn erase(schema: &SchemaName, id: &MigrationId) -> String {
    format!(
        "DELETE FROM {} WHERE app = {} AND version = {}",
        within(schema, LEDGER),
        literal(&id.app),
        literal(&id.version),
    )
}

/// Sums a schema's ledger up in the table of states.
pub(crate) fn write_state(public: &SchemaName, schema: &SchemaName) -> String {
    format!(
        "INSERT INTO {state} AS state (schema_name, schema_oid, ledger_oid, fingerprint, applied) \
         SELECT {name}, '{quoted}'::pg_catalog.regnamespace, {identity}, {fingerprint}, coalesce(pg_catalog.array_agg({line}), '{{}}') FROM {ledger} AS l \
         ON CONFLICT (schema_name) DO UPDATE SET schema_oid = excluded.schema_oid, ledger_oid = excluded.ledger_oid, \
         fingerprint = excluded.fingerprint, applied = excluded.applied, \
         updated_at = CASE WHEN (state.schema_oid, state.fingerprint) = (excluded.schema_oid, excluded.fingerprint) \
         THEN state.updated_at ELSE excluded.updated_at END",
        state = within(public, STATE),
        name = literal(schema.as_str()),
        quoted = schema.quoted(),
        identity = identity(
            &format!("'{}'::pg_catalog.regclass", within(schema, LEDGER)),
            &format!("'{}'::pg_catalog.regclass", within(public, STATE)),
        ),
        fingerprint = FINGERPRINT,
        line = LINE,
        ledger = within(schema, LEDGER),
    )
}

/// One line of a ledger; [`Applied::line`](crate::ledger::Applied::line) writes the same.
pub(super) const LINE: &str = "l.app || '/' || l.version || '/' || l.checksum";

/// The fingerprint of a ledger; [`fingerprint`](crate::ledger::fingerprint) computes the same.
pub(super) const FINGERPRINT: &str = "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(\
     pg_catalog.string_agg(l.app || '/' || l.version || '/' || l.checksum, E'\\n' \
     ORDER BY (l.app || '/' || l.version || '/' || l.checksum) COLLATE \"C\"), ''), 'UTF8')), 'hex')";

/// Removes a schema from the table of states.
pub(crate) fn forget_state(
    conn: &mut PgConnection,
    public: &SchemaName,
    schema: &SchemaName,
) -> QueryResult<usize> {
    diesel::sql_query(format!(
        "DELETE FROM {} WHERE schema_name = $1",
        within(public, STATE)
    ))
    .bind::<Text, _>(schema.as_str())
    .execute(conn)
}

/// One line of a ledger.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct LedgerRow {
    #[diesel(sql_type = Text)]
    pub(crate) app: String,
    #[diesel(sql_type = Text)]
    pub(crate) version: String,
    #[diesel(sql_type = Text)]
    pub(crate) checksum: String,
}

/// Reads the ledger of a schema.
pub(crate) fn ledger(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Vec<LedgerRow>> {
    diesel::sql_query(format!(
        "SELECT app, version, checksum FROM {}",
        within(schema, LEDGER)
    ))
    .load(conn)
}

/// The versions that Diesel's own harness applied in a schema.
pub(crate) fn diesel_ledger(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT version FROM {}",
        within(schema, DIESEL_LEDGER)
    ))
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Gives a schema's line in the table of states its new name.
pub(crate) fn rename_state(
    conn: &mut PgConnection,
    public: &SchemaName,
    from: &SchemaName,
    to: &SchemaName,
) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "DELETE FROM {state} WHERE schema_name = {new}; \
         UPDATE {state} SET schema_name = {new} WHERE schema_name = {old}",
        state = within(public, STATE),
        new = literal(to.as_str()),
        old = literal(from.as_str()),
    ))
}
