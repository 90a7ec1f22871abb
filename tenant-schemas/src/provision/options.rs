//! What a tenant's save and delete are asked to do, and what they did.

use crate::event::ListenerFailure;
use crate::script::MigrationId;

/// How a tenant is saved.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// use tenant_schemas::SaveOptions;
///
/// let later = SaveOptions::new().auto_create_schema(false);
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
/// acme.save_with(&mut *tenancy.public()?, later)?;
/// assert!(tenancy.tenant(&acme).is_err());
///
/// // Of a tenant that exists the row alone is saved, whatever is said here.
/// let saved = acme.save_with(&mut *tenancy.public()?, SaveOptions::new().auto_create_schema(true))?;
/// assert!(!saved.created && !saved.provisioned);
/// assert!(acme.provision(&mut *tenancy.public()?)?.provisioned);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct SaveOptions {
    pub(super) schema: SchemaChoice,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SchemaChoice {
    /// As the model says.
    #[default]
    Model,
    Create,
    Adopt,
    Leave,
}

impl SaveOptions {
    /// Options that do what the model says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a new tenant's schema is created. Defaults to the model's `auto_create_schema`.
    ///
    /// A schema of its name that exists already is refused either way: it would be somebody else's.
    ///
    /// Without its schema the tenant is announced with
    /// [`SchemaNeedsSync`](crate::Event::SchemaNeedsSync); [`Lifecycle::provision`](crate::Lifecycle::provision) makes up for it.
    pub fn auto_create_schema(self, create: bool) -> Self {
        Self {
            schema: if create {
                SchemaChoice::Create
            } else {
                SchemaChoice::Leave
            },
        }
    }

    /// Takes over a schema that exists, instead of creating one; also for a
    /// tenant that has a row already.
    ///
    /// What Diesel's own harness recorded there counts as applied; the rest is migrated.
    pub fn adopt(self) -> Self {
        Self {
            schema: SchemaChoice::Adopt,
        }
    }
}

/// How a tenant is deleted.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct DeleteOptions {
    pub(super) drop_schema: Option<bool>,
}

impl DeleteOptions {
    /// Options that do what the model says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the schema is dropped with the row. Defaults to the model's `auto_drop_schema`.
    pub fn auto_drop_schema(self, drop: bool) -> Self {
        Self {
            drop_schema: Some(drop),
        }
    }
}

/// What saving a tenant did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Whether the row is new.
    pub created: bool,
    /// Whether the tenant's schema was created or adopted.
    pub provisioned: bool,
    /// Whether the schema was made ahead ([`ReadySchemas`](crate::ReadySchemas)). Where tenants often find
    /// none that is, more of them have to be kept ready.
    pub made_ahead: bool,
    /// The migrations that were applied; those of a schema that was made ahead among them.
    pub applied: Vec<MigrationId>,
    /// How many wait for the end of the caller's transaction.
    pub(crate) left: usize,
    /// Listeners that failed after the commit. Inside a transaction of the
    /// caller's they have not run yet; their failures are logged then.
    pub listener_failures: Vec<ListenerFailure>,
}

/// What deleting a tenant did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether the tenant's schema was dropped.
    pub schema_dropped: bool,
    /// Listeners that failed after the commit. Inside a transaction of the
    /// caller's they have not run yet; their failures are logged then.
    pub listener_failures: Vec<ListenerFailure>,
}
