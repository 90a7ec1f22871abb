//! [`TenantPool`]: r2d2's pool, with connections that know the tenancy.

use std::fmt;
use std::sync::Arc;

use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error as ManagerError, Pool};

use crate::connection::TenantConnection;
use crate::registry::Registry;

/// A pool of [`TenantConnection`]s: r2d2's own.
pub type TenantPool = Pool<ConnectionManager<TenantConnection>>;

/// A connection that goes back to its pool, without its tenant, when it is dropped.
pub type PooledConnection = diesel::r2d2::PooledConnection<ConnectionManager<TenantConnection>>;

/// Makes each new connection one of the tenancy's: r2d2 calls it when a
/// connection is made, not at checkout.
pub(crate) struct Baseline {
    pub(crate) registry: Arc<Registry>,
}

impl CustomizeConnection<TenantConnection, ManagerError> for Baseline {
    fn on_acquire(&self, conn: &mut TenantConnection) -> Result<(), ManagerError> {
        let policy = Arc::clone(&self.registry.policy);
        let owner = Arc::<Registry>::clone(&self.registry);
        conn.join(policy, owner).map_err(ManagerError::QueryError)
    }
}

impl fmt::Debug for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Baseline").finish_non_exhaustive()
    }
}
