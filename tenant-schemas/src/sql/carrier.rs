//! The type whose values turn a session to a tenant while the server reads them.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Oid, Text};

use super::within;
use crate::name::SchemaName;

/// The type; another number would be the way to another condition.
pub(crate) const CARRIER: &str = "__tenant_schemas_path_1";

/// Its condition, which fails if there is no such schema.
pub(crate) const IS_THERE: &str = "__tenant_schemas_path_is_there";

const WASH: &str = "__tenant_schemas_wash_1";

/// The major versions of PostgreSQL that are known to read the values of a statement first, and to
/// look whether its plan fits the search path afterwards.
const MAJORS: std::ops::RangeInclusive<u32> = 13..=18;

/// Whether the type is there, and the [function](super::plain) for statements that do without it.
pub(crate) fn has_carrier(
    conn: &mut PgConnection,
    public: &SchemaName,
) -> QueryResult<(bool, bool)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        carrier: bool,
        #[diesel(sql_type = Bool)]
        plain: bool,
    }
    let row: Row = diesel::sql_query(
        "SELECT pg_catalog.to_regtype($1) IS NOT NULL AS carrier, \
         pg_catalog.to_regprocedure($2) IS NOT NULL AS plain",
    )
    .bind::<Text, _>(within(public, CARRIER))
    .bind::<Text, _>(super::plain::signature(public))
    .get_result(conn)?;
    Ok((row.carrier, row.plain))
}

/// Makes the type: text, and a value of it is a search path that begins with a schema that is there.
///
/// To look at a value that is another path than the session has sets it, after everything is gone that
/// a session can keep of another tenant, but for cursors: the statement that brings the value
/// is one already. What the function runs is no expression, which would be planned anew for each path.
pub(crate) fn create_carrier(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "CREATE OR REPLACE FUNCTION {wash}() RETURNS void LANGUAGE plpgsql AS $wash$
BEGIN
    DISCARD TEMP;
    DISCARD SEQUENCES;
    UNLISTEN *;
END
$wash$;
CREATE DOMAIN {carrier} AS pg_catalog.text CONSTRAINT {IS_THERE} CHECK ((
    CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) VALUE THEN true
    ELSE ({wash}() IS NULL) IS NOT NULL
        AND pg_catalog.pg_advisory_unlock_all() IS NOT NULL
        AND pg_catalog.set_config('search_path', VALUE, false) IS NOT NULL
    END
    AND pg_catalog.split_part(VALUE, '\"', 2)
        OPERATOR(pg_catalog.=) pg_catalog.current_schema()::pg_catalog.text
) IS TRUE)",
        wash = within(public, WASH),
        carrier = within(public, CARRIER),
    ))
}

/// The type, if it is there and the session may use it; and whether it may call the function that vouches
/// for plain tables.
pub(crate) fn carrier(
    conn: &mut PgConnection,
    public: &SchemaName,
) -> QueryResult<Option<(u32, bool)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = Bool)]
        plain: bool,
    }
    let row: Option<Row> = diesel::sql_query(format!(
        "SELECT t.oid, {has_plain} AS plain FROM pg_catalog.pg_type AS t \
         WHERE t.oid = pg_catalog.to_regtype($1) AND t.typtype = 'd' \
         AND EXISTS (SELECT FROM pg_catalog.pg_constraint AS c \
         WHERE c.contypid = t.oid AND c.conname = '{IS_THERE}') \
         AND pg_catalog.has_type_privilege(t.oid, 'USAGE') \
         AND pg_catalog.has_function_privilege(pg_catalog.to_regprocedure($2), 'EXECUTE') \
         AND pg_catalog.current_setting('server_version_num')::int BETWEEN {} AND {}",
        MAJORS.start() * 10_000,
        MAJORS.end() * 10_000 + 9_999,
        has_plain = super::plain::has_plain(public),
    ))
    .bind::<Text, _>(within(public, CARRIER))
    .bind::<Text, _>(within(public, WASH) + "()")
    .get_result(conn)
    .optional()?;
    Ok(row.map(|row| (row.oid, row.plain)))
}
