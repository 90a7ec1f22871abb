//! [`JobError`]: why a job was not done, and whether to try again.

use std::fmt;

use crate::error::{BoxError, Error};
use crate::name::SchemaName;
use crate::script::MigrationId;

use super::TenantRef;

/// Why a job was not done.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use tenant_schemas::jobs::{InTenant, JobError};
///
/// let envelope = InTenant::new(&acme, "a job")?;
/// tenancy.drop_schema_cascade(&acme.schema_name)?;
/// let waits = tenancy.run_job(&envelope, |_, _| Ok::<_, JobError>(())).unwrap_err();
/// assert!(matches!(waits, JobError::NoSchema { .. }) && waits.can_retry());
///
/// acme.delete(&mut *tenancy.public()?)?;
/// let gone = tenancy.run_job(&envelope, |_, _| Ok::<_, JobError>(())).unwrap_err();
/// assert!(matches!(gone, JobError::Gone { .. }) && !gone.can_retry());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The tenant was deleted. No retry helps.
    #[error("tenant {tenant} is gone{}: drop the job", Taken(*.taken, .tenant.schema()))]
    #[non_exhaustive]
    Gone {
        /// The tenant that the job names.
        tenant: TenantRef,
        /// Whether another tenant has the schema's name now; the job is not its.
        taken: bool,
    },

    /// The message is no envelope of the kind that was expected. No retry helps.
    #[error("the message is refused: {reason}")]
    #[non_exhaustive]
    Refused {
        /// What is wrong with it.
        reason: String,
    },

    /// What the message says is no primary key of the tenant model. No retry helps.
    #[error(
        "{id:?} is no primary key of the tenant model: the message was sent by another program, or garbled"
    )]
    #[non_exhaustive]
    BadReference {
        /// What the message says.
        id: String,
    },

    /// No tenant has the schema that a message of Celery's names. No retry helps.
    #[error(
        "no tenant has the schema {schema}: it was deleted or renamed after the message was sent, \
         which names it by that alone: send it again from the tenant"
    )]
    #[non_exhaustive]
    NoSuchTenant {
        /// What the message says.
        schema: SchemaName,
    },

    /// The tenant's schema is one that is shared. No retry helps.
    #[error(
        "tenant {tenant} has the shared schema {schema}, where no tenant's job runs: \
         declare the job `SharedJob` and send it as `Shared`"
    )]
    #[non_exhaustive]
    SharedSchema {
        /// The tenant that the job names.
        tenant: TenantRef,
        /// Its schema.
        schema: SchemaName,
    },

    /// The tenant's schema does not exist yet, or not any more.
    #[error("the schema {schema} of tenant {tenant} does not exist: retry once it is provisioned")]
    #[non_exhaustive]
    NoSchema {
        /// The tenant that the job names.
        tenant: TenantRef,
        /// Its schema, as it is called now.
        schema: SchemaName,
    },

    /// The tenant's schema lacks migrations that this program has.
    #[error(
        "the schema {schema} of tenant {tenant} lacks {} migrations, the first is {}: retry once it is migrated",
        .pending.len(), .pending.first().map(ToString::to_string).unwrap_or_default()
    )]
    #[non_exhaustive]
    Behind {
        /// The tenant that the job names.
        tenant: TenantRef,
        /// Its schema, as it is called now.
        schema: SchemaName,
        /// What it lacks, in order.
        pending: Vec<MigrationId>,
    },

    /// The job ran, and failed.
    #[error("the job failed in schema {schema}")]
    #[non_exhaustive]
    Failed {
        /// The schema that it ran in.
        schema: SchemaName,
        /// What the job returned.
        source: BoxError,
    },

    /// The job panicked; its connection was closed.
    #[error("the job panicked in schema {schema}: {message}")]
    #[non_exhaustive]
    Panicked {
        /// The schema that it ran in.
        schema: SchemaName,
        /// The panic's message.
        message: String,
    },

    /// The worker has no tenancy of this model (feature `apalis`).
    #[error(
        "the worker has no tenancy of {model}: give it one with `.layer(TenancyLayer::new(tenancy))`"
    )]
    #[non_exhaustive]
    NoTenancy {
        /// The tenant model.
        model: &'static str,
    },

    /// The job did not get as far as its tenant.
    #[error("the job was not begun")]
    NotBegun(#[source] Error),
}

impl JobError {
    /// Whether the same job can succeed later.
    ///
    /// A job's own failure can, unless it is a [`GiveUp`]; a panic can, too.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Gone { .. }
            | Self::Refused { .. }
            | Self::BadReference { .. }
            | Self::NoSuchTenant { .. }
            | Self::SharedSchema { .. } => false,
            Self::Failed { source, .. } => !source.is::<GiveUp>(),
            Self::NoSchema { .. }
            | Self::Behind { .. }
            | Self::Panicked { .. }
            | Self::NoTenancy { .. }
            | Self::NotBegun(_) => true,
        }
    }

    /// Whether the tenant's schema is missing or behind, and may not be soon.
    #[must_use]
    pub fn tenant_is_not_ready(&self) -> bool {
        matches!(self, Self::NoSchema { .. } | Self::Behind { .. })
    }

    /// Whether nothing is wrong with the job: the database was busy, or away.
    pub(super) fn is_for_want_of_a_database(&self) -> bool {
        matches!(self, Self::NotBegun(error) if error.is_busy_or_away())
    }

    /// The variant's name, for programs in other languages.
    #[cfg(feature = "celery")]
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "Gone",
            Self::Refused { .. } => "Refused",
            Self::BadReference { .. } => "BadReference",
            Self::NoSuchTenant { .. } => "NoSuchTenant",
            Self::SharedSchema { .. } => "SharedSchema",
            Self::NoSchema { .. } => "NoSchema",
            Self::Behind { .. } => "Behind",
            Self::Failed { .. } => "Failed",
            Self::Panicked { .. } => "Panicked",
            Self::NoTenancy { .. } => "NoTenancy",
            Self::NotBegun(_) => "NotBegun",
        }
    }
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::NotBegun(error)
    }
}

/// What a job returns if no retry will help it.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use tenant_schemas::jobs::{GiveUp, InTenant};
///
/// let envelope = InTenant::new(&acme, "no address")?;
/// let failed = tenancy.run_job(&envelope, |_, job| Err::<(), _>(GiveUp::new(*job))).unwrap_err();
/// assert!(!failed.can_retry());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GiveUp(BoxError);

impl GiveUp {
    /// Says that `reason` will be the same however often the job is tried.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for GiveUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Says that another tenant has the name, if one has.
struct Taken<'a>(bool, &'a SchemaName);

impl fmt::Display for Taken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 {
            write!(f, ", and {} is another tenant's now", self.1)?;
        }
        Ok(())
    }
}
