//! Renaming: schema, row and state together.

use std::sync::Arc;

use diesel::pg::PgConnection;

use super::{duplicate, look_again, names_moved, not_saved, saved_row, signed};
use crate::catalog::{self, Session, queries, run};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::ledger;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::sql;

pub(super) fn rename<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    to: &SchemaName,
) -> Result<T> {
    let from = tenant.schema_name();
    let (old, new) = conn
        .own(|inner| {
            ledger::lock_all_in_transaction(inner, [from, to])?;
            Ok((
                sql::schemas::schema_exists(inner, from)?,
                sql::schemas::schema_exists(inner, to)?,
            ))
        })
        .map_err(|error| Error::database("looking for the schemas", error))?;
    let mut row = saved_row(tenant, conn)?.ok_or_else(|| not_saved(tenant))?;
    if !old {
        return Err(Error::NoSuchSchema {
            schema: from.clone(),
        });
    }
    if new {
        return Err(Error::SchemaExists { schema: to.clone() });
    }
    row.set_schema_name(to.clone());
    let stored = signed(conn, registry, |conn| {
        conn.with_public(|conn| row.update_row(conn))
            .map_err(|error| duplicate(to, error))?
            .ok_or_else(|| not_saved(tenant))
    })?;
    conn.own(|inner| rename_all(inner, registry.public(), from, to))?;
    names_moved(conn, registry, [from, to]);
    look_again(conn, registry);
    Ok(stored)
}

/// Renames a schema, its state, and what its functions call it: whoever has the name next is another.
fn rename_all(
    inner: &mut PgConnection,
    public: &SchemaName,
    from: &SchemaName,
    to: &SchemaName,
) -> Result<()> {
    let renaming = |error| Error::database(format!("renaming schema {from} to {to}"), error);
    let session = Session::begin(inner).map_err(renaming)?;
    Session::enter(inner, from).map_err(renaming)?;
    let oid = queries::number(inner, from).map_err(renaming)?;
    let (functions, remarks) = match oid {
        Some(oid) => catalog::that_say(inner, from, oid).map_err(renaming)?,
        None => Default::default(),
    };
    sql::schemas::rename_schema(inner, from, to).map_err(renaming)?;
    if !functions.is_empty() {
        Session::enter(inner, to).map_err(renaming)?;
        run(inner, &functions, to)?;
    }
    session.end(inner).map_err(renaming)?;
    if sql::ledger::bookkeeping(inner, public, public)
        .map_err(renaming)?
        .state
    {
        sql::ledger::rename_state(inner, public, from, to).map_err(renaming)?;
    }
    for remark in remarks {
        log::warn!("schema {from} is {to} now, and {remark}");
    }
    Ok(())
}
