//! What sets a session up for a tenant, and clears it.

use diesel::connection::SimpleConnection as _;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Text};

use super::literal;
use crate::name::SchemaName;
use crate::path::SearchPath;

/// A path on which no name is found: what a connection has before a tenant is chosen.
pub(crate) const CLOSED_PATH: &str = "SET search_path TO ''";

/// Forgets the server's half of the prepared statements.
pub(crate) const DEALLOCATE: &str = "DEALLOCATE ALL";

/// Makes the server plan prepared statements anew, looking every name up again.
pub(crate) const DISCARD_PLANS: &str = "DISCARD PLANS";

/// Removes what a session can keep of a tenant, but for locks: cursors, temporary tables,
/// `lastval()`, channels that it listens to.
pub(crate) const WASH: &str = "CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; UNLISTEN *";

/// Gives back the locks that a session has.
pub(crate) const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock_all()";

/// Gives a session the role and the settings with which Diesel opened it.
pub(crate) const RESET_SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; \
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

/// Fails if there is no such schema, and says where in the text. Within a message, nothing behind it is
/// run then.
pub(crate) fn require_schema(schema: &SchemaName) -> String {
    format!("SELECT '{}'::pg_catalog.regnamespace", schema.quoted())
}

/// As [`require_schema`], and fails if the role may not use it: PostgreSQL would look in the next one.
///
/// To look a name up in a schema fails then, whether there is such a table or not; as text, that adds half of
/// what [`usable`] does.
pub(crate) fn require_usable(schema: &SchemaName) -> String {
    let required = require_schema(schema);
    let table = literal(&super::within(schema, super::LEDGER));
    format!("{required}, pg_catalog.to_regclass({table})")
}

/// An expression that fails if a schema can't be used: it says so itself if there is none, and a
/// division by zero does if it is not the role's to use.
fn usable(schema: &SchemaName) -> String {
    format!(
        "1 OPERATOR(pg_catalog./) \
         pg_catalog.has_schema_privilege({}, 'USAGE')::pg_catalog.int4",
        literal(schema.as_str())
    )
}

/// As [`require_usable`], and gives back the locks that the session has: a query less.
pub(crate) fn require_usable_and_unlock(schema: &SchemaName) -> String {
    let required = require_usable(schema);
    format!("{required}, pg_catalog.pg_advisory_unlock_all()")
}

/// Sets the path for the session, and fails if its schema is not there: [`require_usable`] and
/// [`set_path`] as one statement that can be prepared.
///
/// The path is written as `SET` writes it, or, `as_written`, as [`set_path_as_written`] does. If it
/// is there already it is not set: the next query would look all its schemas up again.
pub(crate) fn stay(path: &SearchPath, as_written: bool) -> String {
    let usable = usable(path.schema());
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
        "SELECT {usable}, CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) ({names}) \
         THEN pg_catalog.set_config('search_path', {names}, false) END"
    )
}

/// Notes a setting until the transaction ends.
pub(crate) fn keep_setting(name: &str) -> String {
    set_locally(&kept(name), name)
}

/// Gives a setting the value that [`keep_setting`] has noted.
pub(crate) fn restore_setting(name: &str) -> String {
    set_locally(name, &kept(name))
}

fn kept(name: &str) -> String {
    format!("tenant_schemas.kept_{}", name.replace('.', "_"))
}

/// Gives a setting the value of another, until the transaction ends; one of a name that no setting has is
/// left alone.
fn set_locally(name: &str, from: &str) -> String {
    let mut value = format!("pg_catalog.current_setting({}, true)", literal(from));
    if name.contains('.') && from.contains('.') {
        // One of the program's own, which need not have been set before.
        value = format!("coalesce({value}, '')");
    }
    format!(
        "SELECT CASE WHEN {value} IS NOT NULL THEN pg_catalog.set_config({}, {value}, true) END",
        literal(name),
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
