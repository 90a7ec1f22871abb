//! [`Event`]: what happens to tenants and their schemas, and who wants to know.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error, Result};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::script::MigrationId;

/// Something that happens to a schema.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use std::sync::mpsc;
/// use tenant_schemas::Event;
/// # use tenant_schemas::testing::TestTenancy;
///
/// fn say(event: &Event<'_>) -> Option<String> {
///     let schema = event.schema();
///     match event {
///         Event::PostMigrate { applied, .. } => Some(format!("{schema}: {} applied", applied.len())),
///         Event::PostSchemaSync { .. } => event
///             .tenant::<Client>()
///             .map(|client| format!("{} is ready", client.domain_url)),
///         _ => None, // there are more, and there will be others
///     }
/// }
///
/// let (tell, told) = mpsc::channel();
/// # let tests = TestTenancy::<Client>::new(|builder| {
/// let builder = builder.app(Customers).app(Hotels).listener(move |event| {
///     say(event).map_or(Ok(()), |line| Ok(tell.send(line)?))
/// });
/// # builder })?;
/// # let tenancy = tests.tenancy();
/// # told.try_iter().count();
/// # client(tenancy, "acme")?;
///
/// // once tenant `acme` is saved:
/// let lines: Vec<String> = told.try_iter().collect();
/// assert_eq!(lines, ["acme: 1 applied", "acme.my-domain.com is ready"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A tenant was saved without its schema, because creating it was switched off.
    #[non_exhaustive]
    SchemaNeedsSync {
        /// Whose schema it is.
        subject: Subject<'a>,
    },
    /// Migrations are about to run in a schema.
    #[non_exhaustive]
    PreMigrate {
        /// Whose schema it is.
        subject: Subject<'a>,
        /// The migrations that will run, in order.
        pending: &'a [MigrationId],
    },
    /// One migration was applied or reverted.
    #[non_exhaustive]
    MigrationApplied {
        /// Whose schema it is.
        subject: Subject<'a>,
        /// The migration.
        migration: &'a MigrationId,
        /// Whether it was reverted, not applied.
        reverted: bool,
    },
    /// All migrations that were pending in a schema have run.
    #[non_exhaustive]
    PostMigrate {
        /// Whose schema it is.
        subject: Subject<'a>,
        /// The migrations that ran, in order.
        applied: &'a [MigrationId],
    },
    /// A tenant's schema was created and migrated: the tenant is ready.
    #[non_exhaustive]
    PostSchemaSync {
        /// Whose schema it is.
        subject: Subject<'a>,
    },
    /// A schema is about to be dropped.
    #[non_exhaustive]
    PreDrop {
        /// Whose schema it is.
        subject: Subject<'a>,
    },
}

/// Whose schema an event is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    schema: &'a SchemaName,
    tenant: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> Subject<'a> {
    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &'a SchemaName {
        self.schema
    }

    /// The tenant; `None` for the shared schema, or if `T` is another model.
    #[must_use]
    pub fn tenant<T: TenantModel>(&self) -> Option<&'a T> {
        self.tenant?.downcast_ref()
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl<'a> Event<'a> {
    /// Whose schema the event is about.
    #[must_use]
    pub fn subject(&self) -> Subject<'a> {
        match self {
            Self::SchemaNeedsSync { subject, .. }
            | Self::PreMigrate { subject, .. }
            | Self::MigrationApplied { subject, .. }
            | Self::PostMigrate { subject, .. }
            | Self::PostSchemaSync { subject, .. }
            | Self::PreDrop { subject, .. } => *subject,
        }
    }

    /// The schema the event is about.
    #[must_use]
    pub fn schema(&self) -> &'a SchemaName {
        self.subject().schema()
    }

    /// The tenant the event is about, if it is a `T`.
    #[must_use]
    pub fn tenant<T: TenantModel>(&self) -> Option<&'a T> {
        self.subject().tenant()
    }

    /// The event's name, such as `PostSchemaSync`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SchemaNeedsSync { .. } => "SchemaNeedsSync",
            Self::PreMigrate { .. } => "PreMigrate",
            Self::MigrationApplied { .. } => "MigrationApplied",
            Self::PostMigrate { .. } => "PostMigrate",
            Self::PostSchemaSync { .. } => "PostSchemaSync",
            Self::PreDrop { .. } => "PreDrop",
        }
    }
}

/// A listener that failed after everything was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerFailure {
    /// The event's name.
    pub event: &'static str,
    /// The schema the event was about.
    pub schema: SchemaName,
    /// What the listener returned, or its panic's message.
    pub message: String,
}

impl fmt::Display for ListenerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            event,
            schema,
            message,
        } = self;
        write!(
            f,
            "a listener of {event} failed for schema {schema}: {message}"
        )
    }
}

type Inside = Box<dyn Fn(&Event<'_>, &mut TenantConnection) -> Result<(), BoxError> + Send + Sync>;
type After = Box<dyn Fn(&Event<'_>) -> Result<(), BoxError> + Send + Sync>;

/// Who wants to know, in the order of registration.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) inside: Vec<Inside>,
    pub(crate) after: Vec<After>,
}

/// What is wrong with code that a transaction of ours ran, if the transaction is another afterwards.
pub(crate) const UNBALANCED: &str = "it began a transaction and did not end it, or ended one that was not its own: \
     use `conn.transaction(..)`, which does both";

impl Listeners {
    /// Tells the listeners inside the transaction; the first failure is the caller's to roll back.
    pub(crate) fn tell_inside(
        &self,
        happened: &Happened,
        conn: &mut TenantConnection,
    ) -> Result<()> {
        happened.as_event(|event| {
            for listener in &self.inside {
                let (told, balanced) = conn.balanced(|conn| listener(event, conn));
                told.and_then(|()| {
                    if balanced {
                        Ok(())
                    } else {
                        Err(UNBALANCED.into())
                    }
                })
                .map_err(|source| Error::Listener {
                    event: event.name(),
                    schema: event.schema().clone(),
                    source,
                })?;
            }
            Ok(())
        })
    }

    /// Tells the listeners that wait for the commit; every one is told, whatever the others do.
    pub(crate) fn tell_after(&self, happened: &Happened) -> Vec<ListenerFailure> {
        happened.as_event(|event| {
            let mut failures = Vec::new();
            for listener in &self.after {
                let message = match catch_unwind(AssertUnwindSafe(|| listener(event))) {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => crate::error::chain(&*error),
                    Err(panic) => panic_message(&*panic),
                };
                let failure = ListenerFailure {
                    event: event.name(),
                    schema: event.schema().clone(),
                    message,
                };
                log::error!("{failure}");
                failures.push(failure);
            }
            failures
        })
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("inside", &self.inside.len())
            .field("after", &self.after.len())
            .finish()
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// An event that owns its data, so that it can wait for a commit.
#[derive(Clone)]
pub(crate) struct Happened {
    pub(crate) what: What,
    pub(crate) schema: SchemaName,
    pub(crate) tenant: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
pub(crate) enum What {
    SchemaNeedsSync,
    PreMigrate(Vec<MigrationId>),
    MigrationApplied {
        migration: MigrationId,
        reverted: bool,
    },
    PostMigrate(Vec<MigrationId>),
    PostSchemaSync,
    PreDrop,
}

impl Happened {
    fn as_event<R>(&self, f: impl FnOnce(&Event<'_>) -> R) -> R {
        let subject = Subject {
            schema: &self.schema,
            tenant: self.tenant.as_deref(),
        };
        f(&match &self.what {
            What::SchemaNeedsSync => Event::SchemaNeedsSync { subject },
            What::PreMigrate(pending) => Event::PreMigrate { subject, pending },
            What::MigrationApplied {
                migration,
                reverted,
            } => Event::MigrationApplied {
                subject,
                migration,
                reverted: *reverted,
            },
            What::PostMigrate(applied) => Event::PostMigrate { subject, applied },
            What::PostSchemaSync => Event::PostSchemaSync { subject },
            What::PreDrop => Event::PreDrop { subject },
        })
    }
}
