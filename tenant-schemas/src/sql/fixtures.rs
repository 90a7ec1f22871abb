//! The statements of fixtures: the rows of a tenant's tables as JSON, and back.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};

use crate::name::SchemaName;

use super::{DIESEL_LEDGER, identifier, within};

/// A table of a tenant's own schema.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct OwnTable {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// Whether its rows are in its partitions.
    #[diesel(sql_type = Bool)]
    pub(crate) partitioned: bool,
    /// The columns that can be written, in order.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) columns: Vec<String>,
    /// The columns that PostgreSQL computes.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) generated: Vec<String>,
    /// The columns of the primary key.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) key: Vec<String>,
    /// The tables of the same schema that it refers to.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) refers_to: Vec<String>,
}

/// What the tables of this library begin with, whichever schema and feature they are for.
const OURS: &str = "__tenant_";

/// The tables of a schema, but for those that say what was done here: this library's, and Diesel's.
pub(crate) fn own_tables(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<Vec<OwnTable>> {
    diesel::sql_query(format!(
        "SELECT c.relname::text AS name, c.relkind = 'p' AS partitioned, \
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid \
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns, \
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid \
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '' ORDER BY a.attnum) AS generated, \
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index AS i \
           CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum \
           WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place) AS key, \
         ARRAY(SELECT DISTINCT r.relname::text FROM pg_catalog.pg_constraint AS f \
           JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid \
           WHERE f.conrelid = c.oid AND f.contype = 'f' AND r.relnamespace = c.relnamespace \
           AND r.oid <> c.oid) AS refers_to \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
         AND NOT pg_catalog.starts_with(c.relname::text, '{OURS}') AND c.relname <> '{DIESEL_LEDGER}' ORDER BY c.relname COLLATE \"C\""
    ))
    .bind::<Text, _>(schema.as_str())
    .load(conn)
}

#[derive(QueryableByName)]
struct Json {
    #[diesel(sql_type = Text)]
    json: String,
}

/// The rows of a table as JSON, in the order of its key; without those of tables that inherit from it.
pub(crate) fn rows_as_json(
    conn: &mut PgConnection,
    schema: &SchemaName,
    table: &OwnTable,
) -> QueryResult<Vec<String>> {
    let key: Vec<String> = table
        .key
        .iter()
        .map(|column| format!("t.{}", identifier(column)))
        .collect();
    let order = if key.is_empty() {
        String::new()
    } else {
        format!(" ORDER BY {}", key.join(", "))
    };
    let only = if table.partitioned { "" } else { "ONLY " };
    let rows: Vec<Json> = diesel::sql_query(format!(
        "SELECT pg_catalog.row_to_json(t.*)::text AS json FROM {only}{} AS t{order}",
        within(schema, &identifier(&table.name)),
    ))
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.json).collect())
}

/// Inserts the rows of a table in a fixture that have exactly these keys; returns how many.
pub(crate) fn insert_json(
    conn: &mut PgConnection,
    schema: &SchemaName,
    table: &OwnTable,
    keys: &[String],
    fixture: &str,
) -> QueryResult<usize> {
    let qualified = within(schema, &identifier(&table.name));
    let columns: Vec<String> = keys
        .iter()
        .filter(|key| table.columns.contains(key))
        .map(|key| identifier(key))
        .collect();
    let picked: Vec<String> = columns.iter().map(|column| format!("r.{column}")).collect();
    let insert = if columns.is_empty() {
        // A row of defaults has no columns to name; there is one for each `{}`.
        format!("INSERT INTO {qualified} OVERRIDING SYSTEM VALUE SELECT")
    } else {
        format!(
            "INSERT INTO {qualified} ({}) OVERRIDING SYSTEM VALUE SELECT {}",
            columns.join(", "),
            picked.join(", ")
        )
    };
    diesel::sql_query(format!(
        "{insert} FROM (SELECT pg_catalog.json_agg(e) AS all_rows \
         FROM pg_catalog.json_array_elements($1::json -> $2) AS e \
         WHERE ARRAY(SELECT k FROM pg_catalog.json_object_keys(e) AS k ORDER BY k COLLATE \"C\") = $3) AS s, \
         pg_catalog.json_populate_recordset(NULL::{qualified}, s.all_rows) AS r"
    ))
    .bind::<Text, _>(fixture)
    .bind::<Text, _>(&table.name)
    .bind::<Array<Text>, _>(keys)
    .execute(conn)
}

/// Lets foreign keys that can wait, wait until the end of the transaction.
pub(crate) fn defer_constraints(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SET CONSTRAINTS ALL DEFERRED")
}

/// Moves the sequences of a table behind the values that are there, and never back: what was given out
/// since may not be committed yet, or belonged to a row that is gone.
pub(crate) fn advance_sequences(
    conn: &mut PgConnection,
    schema: &SchemaName,
    table: &OwnTable,
) -> QueryResult<()> {
    let qualified = within(schema, &identifier(&table.name));
    for column in &table.columns {
        diesel::sql_query(format!(
            "SELECT pg_catalog.setval(s.name::pg_catalog.regclass, m.most) \
             FROM (SELECT pg_catalog.pg_get_serial_sequence($1, $2) AS name) AS s, \
             LATERAL (SELECT pg_catalog.max(t.{}::text::numeric)::bigint AS most FROM {qualified} AS t \
             WHERE s.name IS NOT NULL) AS m WHERE s.name IS NOT NULL AND m.most > 0 \
             AND m.most > coalesce(pg_catalog.pg_sequence_last_value(s.name::pg_catalog.regclass), 0)",
            identifier(column)
        ))
        .bind::<Text, _>(&qualified)
        .bind::<Text, _>(column)
        .execute(conn)?;
    }
    Ok(())
}
