//! The rules that the database itself has to keep: one tenant per schema, one per domain, one primary domain.
//!
//! A project's own migrations may have made the indexes already; what is
//! missing is made after the shared migrations.

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::sql;
use crate::table::TableName;

/// Makes sure of the unique indexes.
pub(crate) fn enforce(conn: &mut TenantConnection, registry: &Registry) -> Result<()> {
    for column in &registry.unique_columns {
        unique(conn, registry, &registry.tenant_table, column, None)?;
    }
    if let Some(domains) = &registry.domain_table {
        unique(conn, registry, &domains.table, domains.domain, None)?;
        unique(
            conn,
            registry,
            &domains.table,
            domains.tenant_id,
            Some(domains.is_primary),
        )?;
    }
    Ok(())
}

fn unique(
    conn: &mut TenantConnection,
    registry: &Registry,
    table: &TableName,
    column: &str,
    only: Option<&str>,
) -> Result<()> {
    let schema = table.schema().unwrap_or(registry.public().as_str());
    let quoted = format!(
        "{}.{}",
        sql::identifier(schema),
        sql::identifier(table.name())
    );
    let result = conn.own(|inner| {
        if !sql::table_exists(inner, &quoted)? {
            return Ok(false);
        }
        if !sql::has_unique_index(inner, &quoted, column, only.is_some())? {
            sql::create_unique_index(inner, &quoted, column, only)?;
        }
        Ok(true)
    });
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Config {
            problems: vec![format!(
                "no shared app has a migration that creates table {quoted}: give the builder the app that does"
            )],
        }),
        Err(error) => Err(Error::database(
            format!("making column {column} of {quoted} unique"),
            error,
        )),
    }
}
