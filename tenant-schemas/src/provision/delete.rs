//! Deleting: the row, and the schema if it is to go with it.

use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};

use super::{
    DeleteOptions, Deleted, happened, look_again, names_moved, not_saved, saved_row, signed,
};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::event::What;
use crate::ledger;
use crate::migrate::{Failures, emit, lock};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::sql;

/// A tenant that is deleted, as soon as the transaction is committed.
pub(super) struct Deletion {
    schema_dropped: bool,
    failures: Failures,
}

impl Deletion {
    pub(super) fn finish(self) -> Deleted {
        Deleted {
            schema_dropped: self.schema_dropped,
            listener_failures: std::mem::take(&mut *lock(&self.failures)),
        }
    }
}

pub(super) fn delete<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    options: DeleteOptions,
) -> Result<Deletion> {
    let schema = tenant.schema_name();
    let failures = Failures::default();
    let drop = options.drop_schema.unwrap_or(T::AUTO_DROP_SCHEMA)
        && registry.refuse_protected(schema, "dropped").is_ok();
    let exists = drop
        && conn
            .own(|inner| {
                ledger::lock_in_transaction(inner, schema)?;
                sql::schemas::schema_exists(inner, schema)
            })
            .map_err(|error| Error::database("looking for the schema", error))?;
    let row = saved_row(tenant, conn)?.ok_or_else(|| not_saved(tenant))?;
    if exists {
        refuse_dependents(conn, schema)?;
        emit(conn, registry, happened(&row, What::PreDrop), &failures)?;
    }
    if exists {
        // Before the row: tables of the tenant's own may refer to it.
        conn.own(|inner| {
            sql::schemas::drop_schema_cascade(inner, schema)?;
            forget_state(inner, registry, schema)
        })
        .map_err(|error| Error::database(format!("dropping schema {schema}"), error))?;
    }
    let deleted = signed(conn, registry, |conn| {
        conn.with_public(|conn| row.delete_row(conn))
            .map_err(|error: DieselError| {
                Error::database(format!("deleting the row of tenant {schema}"), error)
            })
    })?;
    if !deleted {
        return Err(not_saved(tenant));
    }
    if schema != registry.public() {
        // Also without a schema, or with one that stays: the next who has the name is another.
        names_moved(conn, registry, [schema]);
    }
    if exists {
        look_again(conn, registry);
    }
    Ok(Deletion {
        schema_dropped: exists,
        failures,
    })
}

/// What others have is not dropped along with a schema.
pub(super) fn refuse_dependents(conn: &mut TenantConnection, schema: &SchemaName) -> Result<()> {
    let dependents = conn
        .own(|inner| sql::schemas::outside_dependents(inner, schema))
        .map_err(|error| Error::database(format!("looking who needs schema {schema}"), error))?;
    if dependents.is_empty() {
        return Ok(());
    }
    Err(Error::Dependents {
        schema: schema.clone(),
        dependents,
    })
}

/// Removes a schema that is gone from the table of states, if there is one.
pub(crate) fn forget_state(
    conn: &mut PgConnection,
    registry: &Registry,
    schema: &SchemaName,
) -> QueryResult<()> {
    let public = registry.public();
    if sql::ledger::bookkeeping(conn, public, public)?.state {
        sql::ledger::forget_state(conn, public, schema)?;
    }
    Ok(())
}
