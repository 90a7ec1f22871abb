//! Triggers that tell every process of a change of a tenant or a domain.
//!
//! A trigger sees every writer: another program, a console, a cascade. What it
//! sends arrives with the commit, or never.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Binary, Bool, Text};

use super::{identifier, literal, within};
use crate::name::SchemaName;

/// The channel.
pub(crate) const CHANNEL: &str = "tenant_schemas";

/// The function and the triggers; another number is the way to another body.
const ANNOUNCER: &str = "__tenant_schemas_announce_2";
const ON_ROWS: &str = "__tenant_schemas_rows";
const ON_TRUNCATE: &str = "__tenant_schemas_truncate";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// The setting of a transaction that says who changes what is announced.
const ORIGIN: &str = "tenant_schemas.origin";

/// Whether changes of a table are announced, with these words and columns, and in ordinary sessions.
pub(crate) fn is_announced(
    conn: &mut PgConnection,
    public: &SchemaName,
    table: &str,
    pairs: &[(&str, &str)],
) -> QueryResult<bool> {
    // As the catalog has the arguments of a trigger: each ends with a zero.
    let arguments: Vec<u8> = pairs
        .iter()
        .flat_map(|(word, column)| [word, column])
        .flat_map(|argument| argument.bytes().chain([0]))
        .collect();
    let row: Found = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger \
         WHERE tgrelid = pg_catalog.to_regclass($1) AND tgname = $2 AND tgenabled IN ('O', 'A') \
         AND tgfoid = pg_catalog.to_regproc($3) AND tgargs = $4) AS found",
    )
    .bind::<Text, _>(table)
    .bind::<Text, _>(ON_ROWS)
    .bind::<Text, _>(within(public, ANNOUNCER))
    .bind::<Binary, _>(arguments)
    .get_result(conn)?;
    Ok(row.found)
}

/// Signs what the transaction that is open changes from now on: who listens knows it for their own.
/// Without an origin it is anybody's.
pub(crate) fn sign(conn: &mut PgConnection, origin: &str) -> QueryResult<()> {
    conn.batch_execute(&format!("SET LOCAL {ORIGIN} TO {}", literal(origin)))
}

/// Makes the function that announces; the arguments of a trigger are pairs of a word and a column.
/// Where a tenant goes, or its schema gets another name, it is also said that the name has moved, and who
/// did that.
///
/// A notification has room for 8,000 bytes. A longer name is announced as anything, or the
/// row could not be written.
pub(crate) fn create_announcer(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "CREATE OR REPLACE FUNCTION {public}.{ANNOUNCER}() RETURNS trigger LANGUAGE plpgsql \
         SET search_path = pg_catalog AS $announce$
DECLARE
    at integer := 0;
    old_value text;
    new_value text;
    said text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('{CHANNEL}', '*');
        RETURN NULL;
    END IF;
    WHILE at < TG_NARGS LOOP
        old_value := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ->> TG_ARGV[at + 1] END;
        new_value := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> TG_ARGV[at + 1] END;
        IF TG_OP <> 'INSERT' THEN
            said := TG_ARGV[at] || ':' || coalesce(old_value, '');
            PERFORM pg_notify('{CHANNEL}', CASE WHEN octet_length(said) < 8000 THEN said ELSE '*' END);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            said := TG_ARGV[at] || ':' || coalesce(new_value, '');
            PERFORM pg_notify('{CHANNEL}', CASE WHEN octet_length(said) < 8000 THEN said ELSE '*' END);
        END IF;
        IF TG_ARGV[at] = 'schema' AND old_value <> coalesce(new_value, '') THEN
            PERFORM pg_notify('{CHANNEL}',
                'moved:' || coalesce(current_setting('{ORIGIN}', true), '') || ':' || old_value);
        END IF;
        at := at + 2;
    END LOOP;
    RETURN NULL;
END
$announce$",
        public = public.quoted(),
    ))
}

/// Makes the triggers of a table.
pub(crate) fn announce(
    conn: &mut PgConnection,
    public: &SchemaName,
    table: &str,
    pairs: &[(&str, &str)],
) -> QueryResult<()> {
    let arguments: Vec<String> = pairs
        .iter()
        .flat_map(|(word, column)| [literal(word), literal(column)])
        .collect();
    let function = format!("{}.{}", public.quoted(), identifier(ANNOUNCER));
    conn.batch_execute(&format!(
        "DROP TRIGGER IF EXISTS {ON_ROWS} ON {table}; \
         CREATE TRIGGER {ON_ROWS} AFTER INSERT OR UPDATE OR DELETE ON {table} \
         FOR EACH ROW EXECUTE FUNCTION {function}({arguments}); \
         DROP TRIGGER IF EXISTS {ON_TRUNCATE} ON {table}; \
         CREATE TRIGGER {ON_TRUNCATE} AFTER TRUNCATE ON {table} \
         FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        arguments = arguments.join(", "),
    ))
}

/// Makes the connection hear of changes, under a name that tells what it is.
#[cfg(feature = "resolve")]
pub(crate) fn listen(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "LISTEN {CHANNEL}; SET application_name TO 'tenant-schemas directory'"
    ))
}

/// Finds out whether the server is still there.
#[cfg(feature = "resolve")]
pub(crate) fn beat(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(super::session::NOTHING)
}

/// The names in a column, each with the key of its row as text.
#[cfg(feature = "resolve")]
pub(crate) fn owners(
    conn: &mut PgConnection,
    table: &str,
    (column, key): (&str, &str),
    at_most: i64,
) -> QueryResult<Vec<(String, String)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        key: String,
    }
    let (column, key) = (identifier(column), identifier(key));
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT {column}::text AS name, {key}::text AS key FROM {table} \
         WHERE {column} IS NOT NULL LIMIT {at_most}"
    ))
    .load(conn)?;
    Ok(rows.into_iter().map(|row| (row.name, row.key)).collect())
}

/// All values of a column of text.
#[cfg(feature = "resolve")]
pub(crate) fn names(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    at_most: i64,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let column = identifier(column);
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT {column}::text AS name FROM {table} WHERE {column} IS NOT NULL LIMIT {at_most}"
    ))
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
