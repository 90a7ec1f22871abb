//! Schemas as such: whether one is there, making, renaming and dropping it.

use diesel::connection::SimpleConnection as _;
use diesel::dsl::exists;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Nullable, Oid, Text};

use super::within;
use crate::name::SchemaName;

/// Whether there is such a schema. Never fails for the name's sake.
///
/// It is asked twice. As names are looked up, since a transaction that goes on seeing the past finds no
/// tables in a schema that is gone; and in the catalog, since the session may not have heard of that yet.
/// A transaction of that kind that has asked before may hear of it too late all the same.
pub(crate) fn schema_exists(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<bool> {
    let there = pg_namespace::table.filter(pg_namespace::nspname.eq(schema.as_str()));
    let found = to_regnamespace(schema.quoted()).is_not_null();
    diesel::select(exists(there).and(found)).get_result(conn)
}

/// Whether there is such a schema that the role may use; PostgreSQL would pass by any other in silence.
pub(crate) fn schema_is_usable(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<bool> {
    let there = pg_namespace::table.filter(pg_namespace::nspname.eq(schema.as_str()));
    let usable = has_schema_privilege(to_regnamespace(schema.quoted()), "USAGE");
    let found: Option<bool> =
        diesel::select(exists(there).nullable().and(usable)).get_result(conn)?;
    Ok(found.unwrap_or(false))
}

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "pg_catalog.to_regnamespace"]
    fn to_regnamespace(name: Text) -> Nullable<Oid>;

    #[sql_name = "pg_catalog.has_schema_privilege"]
    fn has_schema_privilege(schema: Nullable<Oid>, privilege: Text) -> Nullable<Bool>;
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

/// Creates a schema.
pub(crate) fn create_schema(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    conn.batch_execute(&make_schema(schema))
}

/// Creates a schema, as part of a message.
pub(crate) fn make_schema(schema: &SchemaName) -> String {
    format!("CREATE SCHEMA {}", schema.quoted())
}

/// What in other schemas depends on something in this one, in words: to drop it would drop that as well.
pub(crate) fn outside_dependents(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        OUTSIDE_DEPENDENTS
            .replace("{space}", SPACE)
            .replace('@', "pg_catalog."),
    )
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// The schema of the object `d.classid`, `d.objid`; null if it is in none, or of no account by itself. `@` is `pg_catalog.`.
pub(crate) const SPACE: &str = "\
CASE d.classid \
WHEN '@pg_class'::@regclass THEN (SELECT relnamespace FROM @pg_class WHERE oid = d.objid) \
WHEN '@pg_type'::@regclass THEN (SELECT typnamespace FROM @pg_type WHERE oid = d.objid) \
WHEN '@pg_constraint'::@regclass THEN (SELECT connamespace FROM @pg_constraint WHERE oid = d.objid) \
WHEN '@pg_proc'::@regclass THEN (SELECT pronamespace FROM @pg_proc WHERE oid = d.objid) \
WHEN '@pg_rewrite'::@regclass THEN (SELECT c.relnamespace FROM @pg_rewrite AS o JOIN @pg_class AS c ON c.oid = o.ev_class \
        WHERE o.oid = d.objid) \
WHEN '@pg_attrdef'::@regclass THEN (SELECT c.relnamespace FROM @pg_attrdef AS o JOIN @pg_class AS c ON c.oid = o.adrelid \
        WHERE o.oid = d.objid) \
WHEN '@pg_trigger'::@regclass THEN (SELECT c.relnamespace FROM @pg_trigger AS o JOIN @pg_class AS c ON c.oid = o.tgrelid \
        WHERE o.oid = d.objid AND NOT o.tgisinternal) \
WHEN '@pg_policy'::@regclass THEN (SELECT c.relnamespace FROM @pg_policy AS o JOIN @pg_class AS c ON c.oid = o.polrelid \
        WHERE o.oid = d.objid) \
ELSE (SELECT @to_regnamespace(i.schema)::@oid FROM @pg_identify_object(d.classid, d.objid, 0) AS i) END";

/// Whatever goes with the schema, step by step, as far as to the first object in another one. What is in none, as a foreign
/// server, is followed: others may have something of it. What depends on an object is found by index, however large the
/// database is.
const OUTSIDE_DEPENDENTS: &str = "\
WITH RECURSIVE home AS (SELECT oid FROM @pg_namespace WHERE nspname = $1), \
part AS (SELECT '@pg_namespace'::@regclass::@oid AS classid, h.oid AS objid, 0 AS objsubid, h.oid AS space FROM home AS h \
UNION SELECT d.classid, d.objid, CASE s.space WHEN h.oid THEN 0 ELSE d.objsubid END, s.space FROM part AS p CROSS JOIN home AS h, \
LATERAL (SELECT d.classid, d.objid, d.objsubid FROM @pg_depend AS d \
    WHERE d.refclassid = p.classid AND d.refobjid = p.objid AND p.objsubid IN (0, d.refobjsubid) OFFSET 0) AS d, \
LATERAL (SELECT {space} AS space) AS s \
WHERE p.space IS NULL OR p.space = h.oid) \
SELECT DISTINCT @pg_describe_object(p.classid, p.objid, p.objsubid) AS name FROM part AS p JOIN home AS h ON p.space <> h.oid \
WHERE p.space <> @pg_my_temp_schema() AND NOT @pg_is_other_temp_schema(p.space) \
AND p.space <> 'pg_toast'::@regnamespace ORDER BY 1";

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

/// Drops a schema of any width: its relations first, some at a time. Partitions go before what they are parts of, which
/// would take all of them along; what belongs to an extension goes with that, and can't alone.
pub(crate) fn drop_schema_in_batches(
    conn: &mut PgConnection,
    schema: &SchemaName,
) -> QueryResult<()> {
    let relations: Vec<Relation> = diesel::sql_query(
        "SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' \
         WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind, \
         pg_catalog.quote_ident(c.relname) AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT EXISTS (\
         SELECT FROM pg_catalog.pg_depend AS e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND e.objid = c.oid AND e.deptype = 'e') \
         ORDER BY pg_catalog.strpos('vmrfpS', c.relkind::text), c.relispartition DESC, c.oid DESC",
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
