//! The statements of the command line.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{Array, Bool, Nullable, Text};

use crate::connection::TenantConnection;
use crate::model::DomainTable;
use crate::name::SchemaName;
use crate::table::TableName;

use super::identifier;

/// A row of any shape: its columns' names, which may be equal, and their values as text and as JSON.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct AnyRow {
    #[diesel(sql_type = Array<Text>)]
    pub(crate) names: Vec<String>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    pub(crate) texts: Vec<Option<String>>,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) jsons: Vec<String>,
}

/// Turns what gives a JSON object `j` into rows of any shape.
const ANY_ROW: &str = "SELECT ARRAY(SELECT k FROM pg_catalog.json_object_keys(j) AS k) AS names, \
     ARRAY(SELECT e.value FROM pg_catalog.json_each_text(j) AS e) AS texts, \
     ARRAY(SELECT e.value::text FROM pg_catalog.json_each(j) AS e) AS jsons";

/// The rows of a `SELECT`, `VALUES` or `TABLE`.
pub(crate) fn selected(conn: &mut TenantConnection, statement: &str) -> QueryResult<Vec<AnyRow>> {
    let statement = statement.trim_end().trim_end_matches(';');
    diesel::sql_query(format!(
        "WITH q AS MATERIALIZED (\n{statement}\n) \
         {ANY_ROW} FROM (SELECT pg_catalog.row_to_json(q.*) AS j FROM q) AS s"
    ))
    .load(conn)
}

/// The rows of any statement that has some; `None`, and nothing done, if it can have none.
pub(crate) fn returned(
    conn: &mut TenantConnection,
    statement: &str,
) -> QueryResult<Option<Vec<AnyRow>>> {
    let result = conn.transaction(|conn| {
        conn.batch_execute(
            "CREATE OR REPLACE FUNCTION pg_temp.__tenant_rows(statement text) RETURNS SETOF json \
             LANGUAGE plpgsql AS $$ DECLARE one record; BEGIN \
             FOR one IN EXECUTE statement LOOP RETURN NEXT pg_catalog.row_to_json(one); END LOOP; \
             EXCEPTION WHEN invalid_cursor_definition THEN RAISE EXCEPTION '__tenant_no_rows'; END $$",
        )?;
        let rows = diesel::sql_query(format!(
            "{ANY_ROW} FROM pg_temp.__tenant_rows($1) AS j"
        ))
        .bind::<Text, _>(statement.trim_end().trim_end_matches(';'))
        .load(conn)?;
        conn.batch_execute("DROP FUNCTION pg_temp.__tenant_rows(text)")?;
        Ok(rows)
    });
    match result {
        Ok(rows) => Ok(Some(rows)),
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, information))
            if information.message() == "__tenant_no_rows" =>
        {
            // PostgreSQL's own words depend on the language of the server.
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Runs a statement that has no rows, and returns how many it changed.
pub(crate) fn execute(conn: &mut TenantConnection, statement: &str) -> QueryResult<usize> {
    diesel::sql_query(statement).execute(conn)
}

/// A table of the shared schema as it is written into SQL text.
fn shared(table: &TableName, public: &SchemaName) -> String {
    let schema = table.schema().unwrap_or(public.as_str());
    format!("{}.{}", identifier(schema), identifier(table.name()))
}

/// The tenants' table and the columns that tell them apart.
#[derive(Debug, Clone)]
pub(crate) struct TenantTable {
    pub(crate) table: TableName,
    pub(crate) id: &'static str,
    pub(crate) schema_name: &'static str,
}

/// Every tenant's row, in the order of the schemas' names, byte by byte.
pub(crate) fn tenant_rows(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenants: &TenantTable,
) -> QueryResult<Vec<AnyRow>> {
    diesel::sql_query(format!(
        "{ANY_ROW} FROM (SELECT pg_catalog.row_to_json(t.*) AS j FROM {} AS t ORDER BY t.{}::text COLLATE \"C\") AS s",
        shared(&tenants.table, public),
        identifier(tenants.schema_name),
    ))
    .load(conn)
}

/// A domain and its tenant.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct DomainRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) domain: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_primary: bool,
}

/// Every domain, a tenant's primary one first.
pub(crate) fn domains(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenants: &TenantTable,
    domains: &DomainTable,
) -> QueryResult<Vec<DomainRow>> {
    diesel::sql_query(format!(
        "SELECT t.{schema}::text AS schema_name, d.{domain}::text AS domain, d.{primary} AS is_primary \
         FROM {domains} AS d JOIN {tenants} AS t ON t.{id} = d.{tenant} \
         ORDER BY t.{schema}::text COLLATE \"C\", d.{primary} DESC, d.{domain}::text COLLATE \"C\"",
        schema = identifier(tenants.schema_name),
        domain = identifier(domains.domain),
        primary = identifier(domains.is_primary),
        tenant = identifier(domains.tenant_id),
        id = identifier(tenants.id),
        domains = shared(&domains.table, public),
        tenants = shared(&tenants.table, public),
    ))
    .load(conn)
}

/// Gives a tenant a domain. As its primary one, if it is to be so or the tenant has none.
pub(crate) fn insert_domain(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenants: &TenantTable,
    domains: &DomainTable,
    (schema, domain, primary): (&SchemaName, &str, bool),
) -> QueryResult<()> {
    let names = [domains.domain, domains.tenant_id, domains.is_primary].map(identifier);
    let [_, tenant_column, primary_column] = &names;
    let domain_table = shared(&domains.table, public);
    let tenant_table = shared(&tenants.table, public);
    let id = identifier(tenants.id);
    let schema_column = identifier(tenants.schema_name);
    if primary {
        diesel::sql_query(format!(
            "UPDATE {domain_table} AS d SET {primary_column} = false FROM {tenant_table} AS t \
             WHERE t.{id} = d.{tenant_column} AND t.{schema_column} = $1 AND d.{primary_column}"
        ))
        .bind::<Text, _>(schema.as_str())
        .execute(conn)?;
    }
    let inserted = diesel::sql_query(format!(
        "INSERT INTO {domain_table} ({}) SELECT $1, t.{id}, \
         $2 OR NOT EXISTS (SELECT FROM {domain_table} AS d WHERE d.{tenant_column} = t.{id} AND d.{primary_column}) \
         FROM {tenant_table} AS t WHERE t.{schema_column} = $3",
        names.join(", ")
    ))
    .bind::<Text, _>(domain)
    .bind::<Bool, _>(primary)
    .bind::<Text, _>(schema.as_str())
    .execute(conn)?;
    if inserted == 0 {
        return Err(DieselError::NotFound);
    }
    Ok(())
}

/// Deletes a domain.
pub(crate) fn delete_domain(
    conn: &mut PgConnection,
    public: &SchemaName,
    domains: &DomainTable,
    domain: &str,
) -> QueryResult<usize> {
    diesel::sql_query(format!(
        "DELETE FROM {} WHERE {} = $1",
        shared(&domains.table, public),
        identifier(domains.domain)
    ))
    .bind::<Text, _>(domain)
    .execute(conn)
}

/// Deletes every domain of a tenant.
pub(crate) fn delete_domains_of(
    conn: &mut PgConnection,
    public: &SchemaName,
    tenants: &TenantTable,
    domains: &DomainTable,
    schema: &SchemaName,
) -> QueryResult<usize> {
    diesel::sql_query(format!(
        "DELETE FROM {} AS d USING {} AS t WHERE t.{} = d.{} AND t.{} = $1",
        shared(&domains.table, public),
        shared(&tenants.table, public),
        identifier(tenants.id),
        identifier(domains.tenant_id),
        identifier(tenants.schema_name),
    ))
    .bind::<Text, _>(schema.as_str())
    .execute(conn)
}
