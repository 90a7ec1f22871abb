//! Whether a tenant's schema is what this program expects of it.

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::ledger::{self, Known};
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;

/// What a job finds in a tenant's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// There is no such schema.
    NoSchema,
    /// It lacks these migrations.
    Behind(Vec<MigrationId>),
}

/// Looks at schemas: one statement for all, but for those of which the table of states knows nothing.
pub(super) fn readiness(
    conn: &mut TenantConnection,
    registry: &Registry,
    schemas: &[(SchemaName, Kind)],
) -> Result<Vec<Readiness>> {
    let known = conn.own(|inner| ledger::fleet(inner, registry, schemas))?;
    schemas
        .iter()
        .zip(known)
        .map(|((schema, kind), known)| {
            let applied = match known {
                Known::Current => return Ok(Readiness::Ready),
                Known::Missing => return Ok(Readiness::NoSchema),
                Known::Applied(applied) => applied,
                Known::Nothing => {
                    let read = |inner: &mut _| ledger::read(inner, schema, registry.public());
                    let (there, applied) = conn.own(read).map_err(|error| {
                        Error::database(format!("reading the ledger of schema {schema}"), error)
                    })?;
                    if !there.schema {
                        return Ok(Readiness::NoSchema);
                    }
                    applied
                }
            };
            let pending = registry.pending(kind, &applied);
            Ok(if pending.is_empty() {
                Readiness::Ready
            } else {
                Readiness::Behind(pending)
            })
        })
        .collect()
}
