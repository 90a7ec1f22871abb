//! Dropping a schema of any width, under a name that no tenant can have.

use std::sync::Arc;

use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use super::Lifecycle as _;
use super::delete::{forget_state, refuse_dependents};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::event::{Happened, What};
use crate::migrate::{Failures, emit};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::script::hex;
use crate::sql;
use crate::sql::ready::DROPPING;

/// Whether a schema is what is left of one whose dropping was interrupted.
pub(crate) fn is_rest(schema: &SchemaName) -> bool {
    schema.as_str().starts_with(DROPPING)
}

/// The name of a schema while it is dropped: the same each time.
fn rest_of(schema: &SchemaName) -> Result<SchemaName> {
    if is_rest(schema) {
        return Ok(schema.clone());
    }
    let hash = hex(&Sha256::digest(schema.as_str().as_bytes())[..16]);
    Ok(format!("{DROPPING}{hash}").parse()?)
}

/// Drops a schema, and what an earlier attempt has left of it, in as many transactions as it takes.
///
/// Its lock has to be held.
pub(crate) fn drop_apart<T: TenantModel>(
    schema: &SchemaName,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
) -> Result<()> {
    let failed = |error| Error::database(format!("dropping schema {schema}"), error);
    let rest = rest_of(schema)?;
    let (there, left) = conn
        .own(|inner| {
            let left = sql::schemas::schema_exists(inner, &rest)?;
            let there = *schema != rest && sql::schemas::schema_exists(inner, schema)?;
            Ok((there, left))
        })
        .map_err(failed)?;
    if !there && !left {
        return Err(Error::NoSuchSchema {
            schema: schema.clone(),
        });
    }
    if there {
        refuse_dependents(conn, schema)?;
        let tenant = T::by_schema(conn, schema.as_str())?;
        let event = Happened {
            what: What::PreDrop,
            schema: schema.clone(),
            tenant: tenant.map(|tenant| Arc::new(tenant) as _),
        };
        emit(conn, registry, event, &Failures::default())?;
    }
    if left {
        conn.own(|inner| sql::schemas::drop_schema_in_batches(inner, &rest))
            .map_err(failed)?;
    }
    if there {
        let renamed = conn.own(|inner| {
            inner.transaction(|inner| {
                sql::schemas::rename_schema(inner, schema, &rest)?;
                forget_state(inner, registry, schema)
            })
        });
        // Whatever came of it: it may be that only the answer was lost.
        registry.policy.name_moved(schema);
        registry.policy.bump_generation();
        renamed
            .and_then(|()| conn.own(|inner| sql::schemas::drop_schema_in_batches(inner, &rest)))
            .map_err(failed)?;
    }
    Ok(())
}
