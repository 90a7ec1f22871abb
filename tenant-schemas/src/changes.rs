//! [`Change`]: a tenant or a domain is not what it was, and who has to know.
//!
//! Triggers on the two tables tell every process, whoever writes (`sql::changes`).
//! The process that writes through this crate does not wait for that.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::connection::TenantConnection;
use crate::name::SchemaName;
use crate::registry::Registry;

/// What is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The row of the tenant whose schema this is, or was.
    Tenant(String),
    /// Whose this domain is.
    Domain(String),
    /// Who had the schema of this name: another has it now, or nobody.
    #[cfg(feature = "resolve")]
    Name {
        /// The process that did it, if it said so.
        origin: String,
        /// The name.
        schema: String,
    },
    /// Anything.
    Anything,
}

impl Change {
    /// Reads what a trigger says.
    #[cfg(feature = "resolve")]
    pub(crate) fn read(payload: &str) -> Self {
        match payload.split_once(':') {
            Some(("schema", schema)) => Self::Tenant(schema.to_owned()),
            Some(("domain", domain)) => Self::Domain(domain.to_owned()),
            Some(("moved", moved)) if moved.contains(':') => {
                let (origin, schema) = moved.split_once(':').unwrap_or_default();
                Self::Name {
                    origin: origin.to_owned(),
                    schema: schema.to_owned(),
                }
            }
            _ => Self::Anything,
        }
    }
}

/// Someone who has to know.
pub(crate) trait Watcher: Send + Sync {
    /// Forgets what may not be so any more.
    fn changed(&self, _changes: &[Change]) {}

    /// A tenant has taken a schema that was made ahead, with the migrations of this fingerprint.
    fn ready_taken(&self, _fingerprint: &str) {}
}

/// Those of this process who have to know.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Weak<dyn Watcher>>>);

impl Watchers {
    pub(crate) fn add(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
    }

    pub(crate) fn tell(&self, what: impl Fn(&dyn Watcher)) {
        let watchers: Vec<Arc<dyn Watcher>> = {
            let watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        for watcher in watchers {
            what(&*watcher);
        }
    }
}

/// Tells this process, once others can see what was changed.
pub(crate) fn announce(conn: &mut TenantConnection, changes: Vec<Change>) {
    if let Some(registry) = conn.owner::<Registry>() {
        conn.after_commit(move |_| registry.watchers.tell(|watcher| watcher.changed(&changes)));
    }
}

/// Tells those of this tenancy that a schema that was made ahead has a tenant, once that is so.
pub(crate) fn announce_taken(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    fingerprint: String,
) {
    let registry = Arc::clone(registry);
    conn.after_commit(move |_| {
        let watchers = &registry.watchers;
        watchers.tell(|watcher| watcher.ready_taken(&fingerprint));
    });
}

/// The row of a tenant, and its domain if that is in the row.
pub(crate) fn of_tenant(schema: &SchemaName, domain: Option<&str>) -> Vec<Change> {
    let domain = domain.map(|domain| Change::Domain(domain.to_owned()));
    let tenant = Change::Tenant(schema.as_str().to_owned());
    std::iter::once(tenant).chain(domain).collect()
}
