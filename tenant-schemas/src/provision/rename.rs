//! Renaming: schema, row and state together.

use std::sync::Arc;

use super::{duplicate, look_again, names_moved, not_saved, saved_row, sign};
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
    sign(conn, registry)?;
    row.set_schema_name(to.clone());
    let stored = conn
        .with_public(|conn| row.update_row(conn))
        .map_err(|error| duplicate(to, error))?
        .ok_or_else(|| not_saved(tenant))?;
    conn.own(|inner| {
        let public = registry.public();
        sql::schemas::rename_schema(inner, from, to)?;
        if sql::ledger::bookkeeping(inner, public, public)?.state {
            sql::ledger::rename_state(inner, public, from, to)?;
        }
        Ok(())
    })
    .map_err(|error| Error::database(format!("renaming schema {from} to {to}"), error))?;
    names_moved(conn, registry, [from, to]);
    look_again(conn, registry);
    Ok(stored)
}
