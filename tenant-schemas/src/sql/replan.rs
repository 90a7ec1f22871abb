//! Plans that found a shared table before the tenant had one.

use super::{DIESEL_LEDGER, LEDGER, literal};
use crate::name::SchemaName;

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
