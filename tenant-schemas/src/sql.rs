//! Every statement that this crate sends, one function each; those that read and
//! make whole schemas are in `catalog/queries`.
//!
//! Values are bound; identifiers are [`SchemaName::quoted`]. Everything here
//! names its schema and works under any search path.

#[cfg(feature = "manage")]
pub(crate) mod fixtures;
#[cfg(feature = "manage")]
pub(crate) mod manage;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::exists;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::script::MigrationId;

#[cfg(feature = "apalis")]
pub(crate) mod apalis;
pub(crate) mod carrier;
pub(crate) mod changes;
pub(crate) mod doctor;
#[cfg(feature = "jobs")]
pub(crate) mod jobs;
pub(crate) mod ledgers;
pub(crate) mod ready;
pub(crate) mod status;

/// A path on which no name is found: what a connection has before a tenant is chosen.
pub(crate) const CLOSED_PATH: &str = "SET search_path TO ''";

/// Forgets the server's half of the prepared statements.
pub(crate) const DEALLOCATE: &str = "DEALLOCATE ALL";

/// Makes the server plan prepared statements anew, looking every name up again.
pub(crate) const DISCARD_PLANS: &str = "DISCARD PLANS";

/// Removes what a session can keep of a tenant, but for locks: cursors, temporary tables,
/// `lastval()`, channels that it listens to.
pub(crate) const WASH: &str = "CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; UNLISTEN *";

/// Gives a session the role and the settings with which Diesel opened it.
pub(crate) const RESET_SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; \
     SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8'";

/// Asks for nothing; the answer says how the transaction is.
pub(crate) const NOTHING: &str = "SELECT 1";

/// Sets the path for the session.
pub(crate) fn set_path(path: &SearchPath) -> String {
    format!("SET search_path TO {path}")
}

/// Sets the path for the session, and `SHOW` will say it as it is written here: each name in quotes.
pub(crate) fn set_path_as_written(path: &SearchPath) -> String {
    let path = literal(&path.to_string());
    format!("SELECT pg_catalog.set_config('search_path', {path}, false)")
}

/// Sets the path until the transaction ends, or a savepoint before it is rolled back to.
pub(crate) fn set_local_path(path: &SearchPath) -> String {
    format!("SET LOCAL search_path TO {path}")
}

/// Fails if there is no such schema. Within a message, nothing behind it is run then.
pub(crate) fn require_schema(schema: &SchemaName) -> String {
    format!("SELECT '{}'::pg_catalog.regnamespace", schema.quoted())
}

/// As [`require_schema`], and gives back the locks that the session has: a query less.
pub(crate) fn require_schema_and_unlock(schema: &SchemaName) -> String {
    let required = require_schema(schema);
    format!("{required}, pg_catalog.pg_advisory_unlock_all()")
}

/// Sets the path for the session, and fails if its schema is not there: [`require_schema`] and
/// [`set_path`] as one statement that can be prepared.
///
/// The path is written as `SET` writes it, or, `as_written`, as [`set_path_as_written`] does. If it
/// is there already it is not set: the next query would look all its schemas up again.
pub(crate) fn stay(path: &SearchPath, as_written: bool) -> String {
    // As text first: what a literal of the type itself means is settled when it is prepared.
    let schema = literal(&path.schema().quoted());
    let names = if as_written {
        literal(&path.to_string())
    } else {
        let names = path.schemas().iter();
        let names: Vec<String> = names
            .map(|name| format!("pg_catalog.quote_ident({})", literal(name.as_str())))
            .collect();
        names.join(" OPERATOR(pg_catalog.||) ', ' OPERATOR(pg_catalog.||) ")
    };
    format!(
        "SELECT {schema}::pg_catalog.text::pg_catalog.regnamespace, \
         CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) ({names}) \
         THEN pg_catalog.set_config('search_path', {names}, false) END"
    )
}

/// SQL text without values that is prepared once, and found by its text.
pub(crate) struct Prepared<'a>(pub(crate) &'a str);

impl QueryId for Prepared<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Prepared<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(self.0);
        Ok(())
    }
}

/// Whether there is such a schema. Never fails for the name's sake.
pub(crate) fn schema_exists(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<bool> {
    diesel::select(exists(
        pg_namespace::table.filter(pg_namespace::nspname.eq(schema.as_str())),
    ))
    .get_result(conn)
}

/// What PostgreSQL knows the schema by: a rename keeps it, one made anew has another.
#[cfg(feature = "session")]
pub(crate) fn schema_oid(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Option<u32>> {
    pg_namespace::table
        .filter(pg_namespace::nspname.eq(schema.as_str()))
        .select(pg_namespace::oid)
        .first(conn)
        .optional()
}

diesel::table! {
    pg_catalog.pg_namespace (oid) {
        oid -> Oid,
        nspname -> Text,
    }
}

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

/// Whether a table, by its name as PostgreSQL quotes it, says which migrations its schema has.
pub(crate) fn is_ledger(table: &str) -> bool {
    [LEDGER, DIESEL_LEDGER].contains(&table)
}

/// What PostgreSQL knows the ledger of a schema by, whose name an expression has; null if there is
/// none. A rename keeps it, a table that was restored from a backup has another.
fn ledger_of(schema: &str) -> String {
    format!(
        "pg_catalog.to_regclass(pg_catalog.quote_ident({schema}) OPERATOR(pg_catalog.||) '.{LEDGER}')"
    )
}

/// Whether the state `s` of the schema `n`, whose name an expression has, is of the ledger that is there.
///
/// To look into a schema without the privilege is an error, which is for that schema's own run: here
/// the state is believed.
fn same_ledger(schema: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN s.ledger_oid = {} ELSE true END",
        ledger_of(schema)
    )
}

fn within(schema: &SchemaName, table: &str) -> String {
    format!("{}.{table}", schema.quoted())
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
    let locked = format!(", pg_catalog.pg_try_advisory_xact_lock({key}) AS locked");
    let row: Row = looking(conn, schema, public, &locked)?;
    Ok(row.locked.then_some(row.there))
}

/// Reads which tables of bookkeeping there are, and `more`.
fn looking<R>(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
    more: &str,
) -> QueryResult<R>
where
    R: QueryableByName<Pg> + 'static,
{
    diesel::sql_query(format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $4) AS schema, {ready} AS ready, \
         pg_catalog.to_regclass($1) IS NOT NULL AS ledger, \
         pg_catalog.to_regclass($2) IS NOT NULL AS diesel, \
         EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($3) \
         AND attname = 'ledger_oid') AS state{more}",
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
         SELECT {name}, '{quoted}'::pg_catalog.regnamespace, '{ledger}'::pg_catalog.regclass, {fingerprint}, \
         coalesce(pg_catalog.array_agg({line}), '{{}}') FROM {ledger} AS l \
         ON CONFLICT (schema_name) DO UPDATE SET schema_oid = excluded.schema_oid, ledger_oid = excluded.ledger_oid, \
         fingerprint = excluded.fingerprint, applied = excluded.applied, \
         updated_at = CASE WHEN (state.schema_oid, state.fingerprint) = (excluded.schema_oid, excluded.fingerprint) \
         THEN state.updated_at ELSE excluded.updated_at END",
        state = within(public, STATE),
        name = literal(schema.as_str()),
        quoted = schema.quoted(),
        fingerprint = FINGERPRINT,
        line = LINE,
        ledger = within(schema, LEDGER),
    )
}

/// One line of a ledger; [`Applied::line`](crate::ledger::Applied::line) writes the same.
const LINE: &str = "l.app || '/' || l.version || '/' || l.checksum";

/// The fingerprint of a ledger; [`fingerprint`](crate::ledger::fingerprint) computes the same.
const FINGERPRINT: &str = "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(\
     pg_catalog.string_agg(l.app || '/' || l.version || '/' || l.checksum, E'\\n' \
     ORDER BY (l.app || '/' || l.version || '/' || l.checksum) COLLATE \"C\"), ''), 'UTF8')), 'hex')";

/// Has every connection of the database plan anew, whoever's it is, if the schema has a table, a
/// function or a type whose name is taken in one of `others`, which stand behind it in paths.
///
/// PostgreSQL goes on using a plan that found the shared table when there was no
/// other. What makes it drop all plans, in every session, at the commit, is a
/// schema that comes or goes. A role that may not create one, or may for an event
/// trigger's sake not drop one, migrates all the same; the server's log says so.
/// Each session has a name of its own for it: two that took the same one would
/// wait for each other's commit.
pub(crate) fn replan_shadowed(others: &[&SchemaName], schema: &SchemaName) -> String {
    let shadows = |catalog: &str, name: &str, namespace: &str| {
        format!(
            "EXISTS (
                SELECT FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.{catalog} AS shared ON shared.oid = d.objid
                JOIN pg_catalog.{catalog} AS own ON own.{name} = shared.{name}
                WHERE d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass
                AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                AND d.refobjid IN ({others})
                AND own.{namespace} = {schema}
                AND shared.{name} NOT IN ('{LEDGER}', '{DIESEL_LEDGER}')
            )",
            others = others
                .iter()
                .map(|other| oid_of(other))
                .collect::<Vec<_>>()
                .join(", "),
            schema = oid_of(schema),
        )
    };
    format!(
        "DO {body}",
        body = literal(&format!(
            "DECLARE
                passing text := 'SCHEMA __tenant_schemas_replan_' || pg_catalog.pg_backend_pid();
            BEGIN
                IF {tables} OR {functions} OR {types} THEN
                    EXECUTE 'CREATE ' || passing;
                    EXECUTE 'DROP ' || passing;
                END IF;
            EXCEPTION WHEN insufficient_privilege OR raise_exception THEN
                RAISE WARNING 'sessions may go on reading shared tables: %', SQLERRM;
            END",
            tables = shadows("pg_class", "relname", "relnamespace"),
            functions = shadows("pg_proc", "proname", "pronamespace"),
            types = shadows("pg_type", "typname", "typnamespace"),
        ))
    )
}

/// The number of a schema, in an expression; null if there is none.
fn oid_of(schema: &SchemaName) -> String {
    format!("pg_catalog.to_regnamespace({})", literal(&schema.quoted()))
}

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

/// Which of these schemas exist.
pub(crate) fn existing_schemas(
    conn: &mut PgConnection,
    schemas: &[String],
) -> QueryResult<Vec<String>> {
    pg_namespace::table
        .filter(pg_namespace::nspname.eq_any(schemas))
        .select(pg_namespace::nspname)
        .load(conn)
}

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

/// Runs statements as one message: all or none of them, in a transaction or not.
pub(crate) fn run_together(conn: &mut PgConnection, statements: &[String]) -> QueryResult<()> {
    conn.batch_execute(&statements.join("; "))
}

/// Gives the lock of a schema back.
pub(crate) fn unlock(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    conn.batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({key})"))
}

/// Creates a schema.
pub(crate) fn create_schema(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    conn.batch_execute(&make_schema(schema))
}

/// Creates a schema, as part of a message.
pub(crate) fn make_schema(schema: &SchemaName) -> String {
    format!("CREATE SCHEMA {}", schema.quoted())
}

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

/// Drops a schema and everything in it.
pub(crate) fn drop_schema_cascade(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    conn.batch_execute(&format!("DROP SCHEMA {} CASCADE", schema.quoted()))
}

/// How many tables are dropped in one transaction; each takes a lock slot for
/// itself and one for each index. Fewer, if the server has no room for so many.
const DROP_BATCH: usize = 50;

/// A relation that is dropped ahead of its schema.
#[derive(QueryableByName)]
struct Relation {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
}

/// Drops a schema of any width: its relations first, some at a time.
pub(crate) fn drop_schema_in_batches(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<()> {
    let relations: Vec<Relation> = diesel::sql_query(
        "SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' \
         WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind, \
         pg_catalog.quote_ident(c.relname) AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT c.relispartition \
         ORDER BY pg_catalog.strpos('vmrpfS', c.relkind::text), c.oid DESC",
    )
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    for alike in relations.chunk_by(|one, next| one.kind == next.kind) {
        for batch in alike.chunks(DROP_BATCH) {
            drop_relations(conn, schema, batch)?;
        }
    }
    drop_schema_cascade(conn, schema)
}

/// Drops relations of one kind in one transaction; by halves, if that takes too many locks.
fn drop_relations(
    conn: &mut PgConnection,
    schema: &SchemaName,
    batch: &[Relation],
) -> QueryResult<()> {
    let names: Vec<String> = batch
        .iter()
        .map(|relation| within(schema, &relation.name))
        .collect();
    // Those that went along with others are gone already.
    let dropped = conn.batch_execute(&format!(
        "DROP {} IF EXISTS {} CASCADE",
        batch[0].kind,
        names.join(", ")
    ));
    if dropped.is_ok() || batch.len() == 1 {
        return dropped;
    }
    let (one, other) = batch.split_at(batch.len() / 2);
    drop_relations(conn, schema, one)?;
    drop_relations(conn, schema, other)
}

/// Renames a schema.
pub(crate) fn rename_schema(
    conn: &mut PgConnection,
    from: &SchemaName,
    to: &SchemaName,
) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "ALTER SCHEMA {} RENAME TO {}",
        from.quoted(),
        to.quoted()
    ))
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

/// Keeps out of a column what [`SchemaName`] refuses whatever the policy; rows that are there stay.
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

/// The name of a table or a column as it is written into SQL text.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes an empty database.
#[cfg(feature = "testing")]
pub(crate) fn create_database(conn: &mut PgConnection, name: &str) -> QueryResult<()> {
    conn.batch_execute(&format!("CREATE DATABASE {}", identifier(name)))
}

/// Drops a database; `force` ends the sessions that are connected to it.
#[cfg(feature = "testing")]
pub(crate) fn drop_database(conn: &mut PgConnection, name: &str, force: bool) -> QueryResult<()> {
    let force = if force { " WITH (FORCE)" } else { "" };
    conn.batch_execute(&format!(
        "DROP DATABASE IF EXISTS {}{force}",
        identifier(name)
    ))
}

/// The databases whose names begin with `prefix`.
#[cfg(feature = "testing")]
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

/// Leaves a mark on the session, of which a connection of one's own is the only user.
pub(crate) fn mark_session(conn: &mut PgConnection, mark: &str) -> QueryResult<()> {
    conn.batch_execute(&format!("SET tenant_schemas.session TO {}", literal(mark)))
}

/// Whether another connection has left the mark on this session.
pub(crate) fn session_is_marked(conn: &mut PgConnection, mark: &str) -> QueryResult<bool> {
    diesel::select(
        diesel::dsl::sql::<Bool>(
            "coalesce(pg_catalog.current_setting('tenant_schemas.session', true), '') = ",
        )
        .bind::<Text, _>(mark),
    )
    .get_result(conn)
}
