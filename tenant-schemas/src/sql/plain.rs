//! The function that a `SELECT` which names its schema has PostgreSQL call while it plans it.
//!
//! Such a statement runs on a path on which nothing of anybody's is found, and nothing is removed
//! behind it. So it has to be sure that it reads tables alone, and that the path of the tenant would
//! not have had it read others, or find other operators. Whatever changes that has PostgreSQL plan the
//! statement anew.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Text};

use super::{literal, within};
use crate::name::SchemaName;
use crate::statement::OPERATORS;

/// The function; another number would be the way to another one.
const PLAIN: &str = "__tenant_schemas_plain_1";

/// What it asks.
const ARE_PLAIN: &str = "__tenant_schemas_are_plain_1";

/// Makes the function: zero, or an error if these are not plain tables of a schema.
///
/// It says that it is immutable, so that the planner puts its value in its place. What it asks sees what was
/// committed while the planner waited for a lock on a table, as one that is volatile does, unless the
/// transaction sees nothing of that.
///
/// A table is not plain if it is a view or the like; has row security, rules or children, or columns of a
/// type that is neither PostgreSQL's own nor an enum; if a function takes its rows, which may be called like
/// a column; if an index, a constraint or statistics of it use a function or an operator that somebody made, which the
/// planner may look into; or if PostgreSQL has one of the name itself, which comes first on every path.
/// None is, if somebody made an operator of a name that such a statement may have, or a cast that is
/// applied without a word.
pub(crate) fn create_plain(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<()> {
    let operators = OPERATORS.join(",");
    conn.batch_execute(&format!(
        "CREATE OR REPLACE FUNCTION {are_plain}(schema text, tables text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path TO pg_catalog, pg_temp AS $plain$
BEGIN
    RETURN current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
        AND has_schema_privilege(schema, 'USAGE')
        AND NOT EXISTS (
            SELECT FROM pg_operator WHERE oid >= {USERS} AND oprname = ANY ('{{{operators}}}')
        )
        AND NOT EXISTS (
            SELECT FROM pg_cast
            WHERE oid >= {USERS} AND castcontext = 'i' AND castfunc >= {USERS}
        )
        AND NOT EXISTS (
            SELECT FROM unnest(tables) AS named (name)
            LEFT JOIN pg_class AS c ON c.relname = named.name
                AND c.relnamespace = to_regnamespace(quote_ident(schema))
            WHERE c.relkind IS DISTINCT FROM 'r'
                OR c.relrowsecurity OR c.relhasrules OR c.relhassubclass
                OR to_regclass(quote_ident(named.name)) IS NOT NULL
                OR EXISTS (
                    SELECT FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
                    WHERE a.attrelid = c.oid AND a.attnum > 0
                        AND t.oid >= {USERS} AND t.typtype <> 'e'
                )
                OR EXISTS (
                    SELECT FROM pg_depend
                    WHERE refclassid = 'pg_type'::regclass AND refobjid = c.reltype
                        AND classid = 'pg_proc'::regclass
                )
                OR EXISTS (
                    SELECT FROM pg_depend AS part
                    JOIN pg_depend AS uses
                        ON uses.classid = part.classid AND uses.objid = part.objid
                    WHERE part.refclassid = 'pg_class'::regclass AND part.refobjid = c.oid
                        AND part.classid IN (
                            'pg_class'::regclass, 'pg_constraint'::regclass,
                            'pg_statistic_ext'::regclass
                        )
                        AND uses.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
                )
        );
END
$plain$;
CREATE OR REPLACE FUNCTION {plain}(schema text, tables text[]) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $plain$
BEGIN
    IF NOT {are_plain}($1, $2) THEN
        RAISE EXCEPTION 'a query of more than plain tables needs its search path';
    END IF;
    RETURN 0;
END
$plain$",
        plain = within(public, PLAIN),
        are_plain = within(public, ARE_PLAIN),
    ))
}

/// The first number that PostgreSQL gives to what somebody makes.
const USERS: u32 = 16384;

/// The function, as PostgreSQL tells it from others.
pub(crate) fn signature(public: &SchemaName) -> String {
    within(public, PLAIN) + "(text, text[])"
}

/// Whether the function is there, and the session may call it, as an expression.
pub(crate) fn has_plain(public: &SchemaName) -> String {
    let function = literal(&signature(public));
    format!(
        "coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure({function}), 'EXECUTE'), false)"
    )
}

/// How often a prepared statement ran with a plan that is kept, and with one of its own.
#[derive(QueryableByName)]
pub(crate) struct Plans {
    #[diesel(sql_type = BigInt)]
    pub(crate) kept: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) thrown_away: i64,
}

/// How a statement that this session has prepared was planned; an error in PostgreSQL 13, which does not say.
pub(crate) fn plans(conn: &mut PgConnection, statement: &str) -> QueryResult<Plans> {
    diesel::sql_query(
        "SELECT generic_plans AS kept, custom_plans AS thrown_away \
         FROM pg_catalog.pg_prepared_statements WHERE statement OPERATOR(pg_catalog.=) $1",
    )
    .bind::<Text, _>(statement)
    .get_result(conn)
}

/// What is zero if these are plain tables of a schema, and an error otherwise.
pub(crate) fn plain(public: &SchemaName, schema: &SchemaName, tables: &[String]) -> String {
    let tables: Vec<String> = tables.iter().map(|table| literal(table)).collect();
    format!(
        "{}({}, ARRAY[{}])",
        within(public, PLAIN),
        literal(schema.as_str()),
        tables.join(", ")
    )
}
