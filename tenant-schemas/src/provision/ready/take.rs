//! Taking a schema that was made ahead: it gets the tenant's name.

use std::sync::Arc;

use crate::changes::announce_taken;
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::event::What;
use crate::migrate::{Failures, emit};
use crate::model::TenantModel;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::provision::happened;
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;
use crate::sql;

/// Gives a schema that was made ahead the name of a tenant that has none, and tells the listeners
/// what they would have been told.
///
/// Returns the migrations that it has; `None` if there is no such schema. The caller has the lock of
/// the tenant's schema.
pub(in crate::provision) fn take<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    failures: &Failures,
) -> Result<Option<Vec<MigrationId>>> {
    let schema = tenant.schema_name();
    let public = registry.public();
    let kind = Kind::Tenant(tenant.tenant_type());
    let fingerprint = registry.fingerprint(&kind);
    let taken = conn
        .own(|inner| {
            let Some(ready) = sql::ready::claim(inner, public, &fingerprint)? else {
                return Ok(false);
            };
            let Ok(ready) = SchemaName::with_policy(&ready, SchemaNamePolicy::Quoted) else {
                return Ok(false);
            };
            sql::ready::rename(inner, public, &ready, schema).map(|()| true)
        })
        .map_err(|error| {
            Error::database(format!("taking a ready-made schema for {schema}"), error)
        })?;
    if !taken {
        return Ok(None);
    }
    if registry.policy.has_met(schema) {
        registry.bump_after_commit(conn);
    }
    announce_taken(conn, registry, fingerprint);
    let migrations: Vec<MigrationId> = registry
        .apps_of(&kind)
        .flat_map(|app| &app.scripts)
        .map(|script| script.id.clone())
        .collect();
    if !migrations.is_empty() {
        let mut tell = |what| emit(conn, registry, happened(tenant, what), failures);
        tell(What::PreMigrate(migrations.clone()))?;
        for migration in &migrations {
            tell(What::MigrationApplied {
                migration: migration.clone(),
                reverted: false,
            })?;
        }
        tell(What::PostMigrate(migrations.clone()))?;
    }
    Ok(Some(migrations))
}
