//! Statements about schemas that are made ahead of their tenants.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Double, Text};

use super::ledger::is_ledger;
use super::{STATE, literal, within};
use crate::name::SchemaName;

/// What the names of schemas begin with that are the library's own.
pub(crate) const RESERVED: &str = "__tenant_schemas_";
/// What the name of a schema begins with that waits for its tenant.
pub(crate) const READY: &str = "__tenant_schemas_ready_";
/// What the name of a schema begins with while it is being made.
pub(crate) const MAKING: &str = "__tenant_schemas_making_";

/// What the name of a schema begins with while it is being dropped.
pub(crate) const DROPPING: &str = "__tenant_schemas_dropping_";

/// Whether there are schemas that wait, in an expression. The names are read from the index: a
/// backtick comes behind the underscore.
pub(super) const ANY: &str = "EXISTS (SELECT FROM pg_catalog.pg_namespace \
     WHERE nspname >= '__tenant_schemas_ready_' AND nspname < '__tenant_schemas_ready`')";

/// Whether the schema `n` is the role's own, in an expression.
const OWN: &str = "n.nspowner = pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole";

/// Whether the role may drop the schema `n`, in an expression.
const MAY_DROP: &str = "pg_catalog.pg_has_role(n.nspowner, 'USAGE')";

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// A schema that waits for its tenant, and what it has.
#[derive(Debug, QueryableByName)]
pub(crate) struct ReadyRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) fingerprint: String,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) applied: Vec<String>,
    /// It is the role's own, so that its tenants can have it.
    #[diesel(sql_type = Bool)]
    pub(crate) own: bool,
    /// How long it waits, in seconds.
    #[diesel(sql_type = Double)]
    pub(crate) age: f64,
}

/// The states of schemas that wait, in an expression; those whose schema is another by now are left out.
fn waiting(public: &SchemaName) -> String {
    format!(
        "{} AS s JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name AND n.oid = s.schema_oid \
         WHERE pg_catalog.starts_with(s.schema_name, {})",
        within(public, STATE),
        literal(READY),
    )
}

/// The schemas that wait and that the role may drop, the longest first.
pub(crate) fn all(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<Vec<ReadyRow>> {
    diesel::sql_query(format!(
        "SELECT s.schema_name, s.fingerprint, s.applied, {OWN} AS own, \
         EXTRACT(epoch FROM pg_catalog.clock_timestamp() - s.updated_at)::float8 AS age \
         FROM {} AND {MAY_DROP} ORDER BY s.updated_at",
        waiting(public)
    ))
    .load(conn)
}

/// Takes a schema that has exactly these migrations, if there is one that nobody else takes or drops now.
///
/// It has to be the role's own, or it could not be renamed, and its tables would be another's. In a
/// transaction that goes on seeing what was there at its beginning, one that was taken since would be
/// an error: none is taken there.
pub(crate) fn claim(
    conn: &mut PgConnection,
    public: &SchemaName,
    fingerprint: &str,
) -> QueryResult<Option<String>> {
    let found: Option<Name> = diesel::sql_query(format!(
        "SELECT s.schema_name AS name FROM {} AND s.fingerprint = $1 \
         AND {OWN} \
         AND pg_catalog.current_setting('transaction_isolation') = 'read committed' \
         ORDER BY s.updated_at LIMIT 1 FOR UPDATE OF s SKIP LOCKED",
        waiting(public)
    ))
    .bind::<Text, _>(fingerprint)
    .get_result(conn)
    .optional()?;
    Ok(found.map(|row| row.name))
}

/// Keeps others from taking a schema, until the transaction ends; whether nobody has it yet.
pub(crate) fn hold(
    conn: &mut PgConnection,
    public: &SchemaName,
    schema: &SchemaName,
) -> QueryResult<bool> {
    let found: Vec<Name> = diesel::sql_query(format!(
        "SELECT s.schema_name AS name FROM {} AND s.schema_name = $1 FOR UPDATE OF s SKIP LOCKED",
        waiting(public)
    ))
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    Ok(!found.is_empty())
}

/// Schemas that the role may drop whose making was interrupted, or goes on.
pub(crate) fn half_made(conn: &mut PgConnection) -> QueryResult<Vec<String>> {
    let rows: Vec<Name> = diesel::sql_query(format!(
        "SELECT n.nspname::text AS name FROM pg_catalog.pg_namespace AS n \
         WHERE pg_catalog.starts_with(n.nspname::text, $1) AND {MAY_DROP}"
    ))
    .bind::<Text, _>(MAKING)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Gives a schema and its line in the table of states another name, in one message.
///
/// A schema that is renamed makes every session plan anew, as one that comes does.
pub(crate) fn rename(
    conn: &mut PgConnection,
    public: &SchemaName,
    from: &SchemaName,
    to: &SchemaName,
) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "ALTER SCHEMA {from} RENAME TO {to}; \
         DELETE FROM {state} WHERE schema_name = {new}; \
         UPDATE {state} SET schema_name = {new} WHERE schema_name = {old}",
        from = from.quoted(),
        to = to.quoted(),
        state = within(public, STATE),
        new = literal(to.as_str()),
        old = literal(from.as_str()),
    ))
}

/// What of a schema has one of these words in it, in either case, that a dump of its structure would not show: rows, and options
/// of foreign tables.
pub(crate) fn that_say(
    conn: &mut PgConnection,
    schema: &SchemaName,
    words: &[&str],
) -> QueryResult<Vec<String>> {
    let says = |text: &str| {
        let word = |word: &&str| {
            format!(
                "pg_catalog.strpos(pg_catalog.lower({text}), {}) > 0",
                literal(word)
            )
        };
        words.iter().map(word).collect::<Vec<_>>().join(" OR ")
    };
    let tables: Vec<Name> = diesel::sql_query(
        "SELECT pg_catalog.quote_ident(c.relname) AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'm') ORDER BY 1",
    )
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    let rows = tables
        .iter()
        .filter(|table| !is_ledger(&table.name))
        .map(|table| {
            format!(
                "SELECT {what} AS name WHERE EXISTS (SELECT FROM {table} AS t \
                 WHERE {says})",
                what = literal(&format!("rows of table {}", table.name)),
                table = within(schema, &table.name),
                says = says("t::pg_catalog.text"),
            )
        });
    let options = format!(
        "SELECT 'foreign table ' || c.relname AS name FROM pg_catalog.pg_foreign_table AS f \
         JOIN pg_catalog.pg_class AS c ON c.oid = f.ftrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND ({})",
        literal(schema.as_str()),
        says("f.ftoptions::pg_catalog.text"),
    );
    let all: Vec<String> = rows.chain([options]).collect();
    let found: Vec<Name> = diesel::sql_query(all.join(" UNION ALL ")).load(conn)?;
    Ok(found.into_iter().map(|row| row.name).collect())
}
