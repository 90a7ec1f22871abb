//! The rules that the database itself has to keep: one tenant per schema, one per domain, one primary domain,
//! and no schema name that can't be one.
//!
//! A project's own migrations may have made the indexes already; what is
//! missing is made after the shared migrations.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::sql;
use crate::table::TableName;

/// Makes sure of the unique indexes, and that every row has a schema name.
pub(crate) fn enforce(conn: &mut TenantConnection, registry: &Registry) -> Result<()> {
    for (table, column, only) in all(registry) {
        unique(conn, registry, table, column, only)?;
    }
    schema_names(conn, registry)?;
    announcements(conn, registry)?;
    carrier(conn, registry)
}

/// Makes the type with which a statement can bring its path along, and the function that vouches for one that
/// needs none.
fn carrier(conn: &mut TenantConnection, registry: &Registry) -> Result<()> {
    let public = registry.public();
    conn.own(|inner| {
        let (carrier, plain) = sql::carrier::has_carrier(inner, public)?;
        if !plain {
            sql::plain::create_plain(inner, public)?;
        }
        if !carrier {
            sql::carrier::create_carrier(inner, public)?;
        }
        if !carrier || !plain {
            // Connections that missed it look again.
            registry.policy.bump_generation();
        }
        Ok(())
    })
    .map_err(|error| Error::database("making the type of paths", error))
}

/// Has the database tell every process when a tenant or a domain changes, so that none
/// goes on believing what it remembers.
fn announcements(conn: &mut TenantConnection, registry: &Registry) -> Result<()> {
    for (table, pairs) in announced(registry) {
        conn.own(|inner| {
            if sql::changes::is_announced(inner, registry.public(), &table, &pairs)? {
                return Ok(());
            }
            sql::changes::create_announcer(inner, registry.public())?;
            sql::changes::announce(inner, registry.public(), &table, &pairs)
        })
        .map_err(|error| Error::database(format!("having changes of {table} announced"), error))?;
    }
    Ok(())
}

/// The tables whose changes are announced, and which columns name what has changed.
pub(crate) fn announced(registry: &Registry) -> Vec<(String, Vec<(&'static str, &str)>)> {
    let mut tenants = vec![("schema", registry.schema_column)];
    if registry.domain_table.is_none() {
        tenants.extend(registry.domain_column.map(|column| ("domain", column)));
    }
    let mut tables = vec![(quoted(registry, &registry.tenant_table), tenants)];
    if let Some(domains) = &registry.domain_table {
        let pairs = vec![("domain", domains.domain)];
        tables.push((quoted(registry, &domains.table), pairs));
    }
    tables
}

/// A row whose schema name is none, written by other hands, would be in the way of every other tenant:
/// no program could read the table any more.
fn schema_names(conn: &mut TenantConnection, registry: &Registry) -> Result<()> {
    let table = quoted(registry, &registry.tenant_table);
    conn.own(|inner| {
        if sql::tables::checks_schema_names(inner, &table)? {
            return Ok(());
        }
        sql::tables::check_schema_names(inner, &table, registry.schema_column)
    })
    .map_err(|error| {
        Error::database(
            format!("keeping {table} free of what is no schema name"),
            error,
        )
    })
}

/// A table, a column of it that has to be unique, and the column that says for which rows.
pub(crate) type Rule<'a> = (&'a TableName, &'a str, Option<&'a str>);

/// The rules of a tenancy.
pub(crate) fn all(registry: &Registry) -> Vec<Rule<'_>> {
    let tenants = &registry.tenant_table;
    let columns = registry.unique_columns.iter();
    let mut rules: Vec<Rule<'_>> = columns.map(|column| (tenants, *column, None)).collect();
    if let Some(domains) = &registry.domain_table {
        rules.push((&domains.table, domains.domain, None));
        let primary = Some(domains.is_primary);
        rules.push((&domains.table, domains.tenant_id, primary));
    }
    rules
}

/// A shared table as it is written into SQL text.
pub(crate) fn quoted(registry: &Registry, table: &TableName) -> String {
    let schema = table.schema().unwrap_or(registry.public().as_str());
    format!(
        "{}.{}",
        sql::identifier(schema),
        sql::identifier(table.name())
    )
}

fn unique(
    conn: &mut TenantConnection,
    registry: &Registry,
    table: &TableName,
    column: &str,
    only: Option<&str>,
) -> Result<()> {
    let quoted = quoted(registry, table);
    let result = conn.own(|inner| {
        if !sql::tables::table_exists(inner, &quoted)? {
            return Ok(false);
        }
        if !sql::tables::has_unique_index(inner, &quoted, column, only.is_some())? {
            sql::tables::create_unique_index(inner, &quoted, column, only)?;
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
        Err(error) => {
            let duplicated = match &error {
                DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
                    let detail = information
                        .details()
                        .unwrap_or_default()
                        .trim_end_matches('.');
                    format!(
                        " ({detail}: each of its rows needs a value of its own, change those and migrate again)"
                    )
                }
                _ => String::new(),
            };
            let doing = format!("making column {column} of {quoted} unique{duplicated}");
            Err(Error::database(doing, error))
        }
    }
}
