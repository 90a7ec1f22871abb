//! [`Error`]: every failure, as a thing that a caller does differently about.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::model::FieldError;
use crate::name::{NameError, SchemaName};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a listener or a migration written in Rust returns when it fails.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Every failure of this crate.
///
/// A variant is something that a caller does differently about:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// use tenant_schemas::Error;
///
/// fn status_code(error: &Error) -> u16 {
///     match error {
///         Error::NoSuchSchema { .. } | Error::NotSaved { .. } => 404,
///         Error::Duplicate { .. } | Error::SchemaExists { .. } => 409,
///         Error::Name(_) | Error::Domain { .. } => 422,
///         Error::Pool(_) => 503,
///         _ => 500,
///     }
/// }
///
/// let error = tenancy.schema(&"nobody".parse()?).unwrap_err();
/// assert_eq!(status_code(&error), 404);
/// assert!(error.to_string().starts_with("schema nobody does not exist"));
///
/// let error = Error::from("Not a name".parse::<tenant_schemas::SchemaName>().unwrap_err());
/// assert_eq!(status_code(&error), 422);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The cause is in [`source`](std::error::Error::source), and not repeated in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A string is no schema name.
    #[error(transparent)]
    Name(#[from] NameError),

    /// A statement was sent before a tenant was chosen.
    #[error(
        "this connection has no tenant: take it from `Tenancy::tenant`, `schema` or `public`, \
         or choose one with `set_tenant`, `set_schema` or `set_public`"
    )]
    NoScope,

    /// A tenant was needed, and the scope of the connection is no tenant's.
    #[error(
        "the scope of the connection is {}, not a tenant: take it from `Tenancy::tenant`, \
         or lend it with `with_tenant`",
        .scope.as_ref().map_or("none", SchemaName::as_str)
    )]
    #[non_exhaustive]
    NoTenant {
        /// The schema of the scope, if there is one.
        scope: Option<SchemaName>,
    },

    /// The schema does not exist, or the role may not use it. PostgreSQL would skip it in silence and
    /// look in the next one.
    #[error(
        "schema {schema} does not exist: save its tenant, or run `create_missing_schemas` \
         (the shared schema is created by `migrate`); if it is there, grant the role USAGE on it"
    )]
    #[non_exhaustive]
    NoSuchSchema {
        /// The schema that was asked for.
        schema: SchemaName,
    },

    /// The schema exists already, and nothing said that it may be taken over.
    #[error(
        "schema {schema} already exists and was left untouched: choose another name, \
         or take the schema over with `adopt`"
    )]
    #[non_exhaustive]
    SchemaExists {
        /// The schema that was to be made.
        schema: SchemaName,
    },

    /// The schema is not a tenant's to make, rename or drop.
    #[error("schema {schema} can't be {action}: it is {what}")]
    #[non_exhaustive]
    Protected {
        /// The schema.
        schema: SchemaName,
        /// What was to be done, as a participle.
        action: &'static str,
        /// What the schema is.
        what: &'static str,
    },

    /// A tenant was saved, renamed or deleted from the scope of another tenant.
    #[error(
        "tenant {schema} can't be changed from the scope of {current}: \
         use a connection of the public schema, or of the tenant itself"
    )]
    #[non_exhaustive]
    OtherScope {
        /// The tenant that was to be changed.
        schema: SchemaName,
        /// The scope of the connection.
        current: SchemaName,
    },

    /// The scope of a connection was to be changed in the middle of a transaction.
    #[error(
        "the tenant can't be changed to {schema} inside a transaction: \
         finish it first, or lend the connection with `with_schema` or `with_tenant`"
    )]
    #[non_exhaustive]
    InsideTransaction {
        /// The scope that was asked for.
        schema: SchemaName,
    },

    /// A text was to end a transaction, or to go back to a savepoint, and to go on, on a connection that several
    /// scopes had meanwhile: what stands behind would have run on the path of another one.
    #[error(
        "in the scope of {schema}, a text may not go on behind a COMMIT or ROLLBACK of its own, since the search path of \
         another scope would be back: send what stands behind it as a text of its own"
    )]
    #[non_exhaustive]
    PathOfBefore {
        /// The scope of the connection.
        schema: SchemaName,
    },

    /// The connection was not made by the pool of a `Tenancy`, so it knows no apps.
    #[error("this connection knows no apps: take it from a `Tenancy` of the same tenant model")]
    Detached,

    /// The tenant was never saved, or its row is gone.
    #[error("tenant {schema} has no row: save it first")]
    #[non_exhaustive]
    NotSaved {
        /// The tenant's schema.
        schema: SchemaName,
    },

    /// Another tenant has the schema name or the domain.
    #[error("tenant {schema} can't be saved: {detail}: choose another value")]
    #[non_exhaustive]
    Duplicate {
        /// The tenant's schema.
        schema: SchemaName,
        /// What PostgreSQL says is there already.
        detail: String,
        /// The database's error.
        source: DieselError,
    },

    /// A string is no domain.
    #[error(
        "{domain:?} is no domain: {rule}; give the host name alone, as in `tenant.my-domain.com`"
    )]
    #[non_exhaustive]
    Domain {
        /// The string that was refused.
        domain: String,
        /// The rule that it breaks, in words.
        rule: &'static str,
    },

    /// A tenant has the domain already.
    #[error(
        "domain {domain} can't be saved: {detail}: \
         choose another, or delete it where it is"
    )]
    #[non_exhaustive]
    DuplicateDomain {
        /// The domain.
        domain: String,
        /// What PostgreSQL says is there already.
        detail: String,
        /// The database's error.
        source: DieselError,
    },

    /// What was given to the builder contradicts itself.
    #[error("the tenancy can't be built: {}", .problems.join("; "))]
    #[non_exhaustive]
    Config {
        /// Every contradiction, in words.
        problems: Vec<String>,
    },

    /// A field of a tenant can't be set.
    #[error(transparent)]
    Field(#[from] FieldError),

    /// The database can't be reached with the URL that was given.
    #[error(
        "the database can't be reached: check the host, the role and the password of the database URL"
    )]
    Connect(#[source] diesel::ConnectionError),

    /// The database URL leads to a pooler that shares sessions among clients.
    #[error(
        "the database URL leads to a pooler in transaction or statement mode, where the search path \
         of one tenant would be left to another: connect directly, or use session pooling"
    )]
    SharedSessions,

    /// A private server for tests could not be started (feature `testing`).
    #[error("no server for tests: set DATABASE_URL, or see to the cause")]
    TestServer(#[source] BoxError),

    /// No connection could be had.
    #[error(
        "no connection could be had from the pool: {0} \
         (if all are in use, raise `pool_size`, or keep connections for a shorter time)"
    )]
    Pool(String),

    /// All connections were in use, and a request waited for one as long as it may (feature `web`).
    #[error(
        "no connection was free for {waited:?}: try again later \
         (if that happens often, raise `pool_size`, or `wait_for_connection`)"
    )]
    #[non_exhaustive]
    Busy {
        /// How long it waited.
        waited: std::time::Duration,
    },

    /// The migrations of an app can't be read.
    #[error("the migrations of app {app} can't be used: {reason}")]
    #[non_exhaustive]
    MigrationSource {
        /// The app.
        app: String,
        /// What is wrong, and the way out.
        reason: String,
    },

    /// A migration failed and was rolled back, unless it runs outside a transaction:
    /// then the statements before the one that failed have been done.
    #[error("migration {app}/{version} failed in schema {schema}{}{}", Place(*.line), Hint(.source.downcast_ref()))]
    #[non_exhaustive]
    Migration {
        /// The schema.
        schema: SchemaName,
        /// The app.
        app: String,
        /// The migration's version.
        version: String,
        /// The line of the migration's SQL at which PostgreSQL stopped, if it said so.
        line: Option<usize>,
        /// What failed.
        source: BoxError,
    },

    /// A schema can't be made ahead of its tenant, because it could not be renamed: its own name
    /// stands as text in it.
    #[error(
        "schemas can't be made ahead of their tenants: migrations write the name of the schema into {}, \
         where a rename would not change it; ask for `current_schema()` where it is used, or leave \
         the schema out of the name", .says.join(", ")
    )]
    #[non_exhaustive]
    NamesItself {
        /// What has the name in it, in words.
        says: Vec<String>,
    },

    /// A migration was to be reverted beneath others that are applied and that the program does not have.
    #[error(
        "migration {version} of app {app} can't be reverted in schema {schema}: {} applied above it, and this \
         program does not have that; revert with the program that does, or change the ledger alone \
         with `fake`",
        match .unknown.as_slice() {
            [one] => format!("version {one} is"),
            some => format!("versions {} are", some.join(", ")),
        }
    )]
    #[non_exhaustive]
    BeneathUnknown {
        /// The schema.
        schema: SchemaName,
        /// The app.
        app: String,
        /// The migration.
        version: String,
        /// The versions that are applied above it.
        unknown: Vec<String>,
    },

    /// A schema was to be dropped, and what is in other schemas would go with it.
    #[error(
        "schema {schema} can't be dropped, since what is elsewhere depends on it: {}; drop or change that first",
        .dependents.join(", ")
    )]
    #[non_exhaustive]
    Dependents {
        /// The schema.
        schema: SchemaName,
        /// What depends on something in it, in words.
        dependents: Vec<String>,
    },

    /// A schema was to be copied or dumped that has something in it of which no copy can be made.
    #[error(
        "schema {schema} can't be copied: {}, of which no copy can be made; have it in a schema of the extra \
         search path, which all tenants share",
        .needs.join(", ")
    )]
    #[non_exhaustive]
    Uncopyable {
        /// The schema.
        schema: SchemaName,
        /// What needs what, in words.
        needs: Vec<String>,
    },

    /// A version was asked for that the app does not have.
    #[error(
        "app {app} has no migration {version:?}, or several that begin so; it has {}",
        .known.join(", ")
    )]
    #[non_exhaustive]
    UnknownVersion {
        /// The app.
        app: String,
        /// What was asked for.
        version: String,
        /// The migrations that there are.
        known: Vec<String>,
    },

    /// A target was given for all apps at once.
    #[error("`to`, `to_zero` and `redo` are about one app: name it with `app(..)`")]
    NoApp,

    /// An app was asked for that there is none of.
    #[error("there is no app {app:?} here; there are {}", .known.join(", "))]
    #[non_exhaustive]
    UnknownApp {
        /// What was asked for.
        app: String,
        /// The apps that there are.
        known: Vec<String>,
    },

    /// A migration has nothing that reverts it.
    #[error(
        "migration {app}/{version} can't be reverted: it has no down.sql; \
         give it one, or take it out of the ledger alone with `fake`"
    )]
    #[non_exhaustive]
    Irreversible {
        /// The app.
        app: String,
        /// The migration.
        version: String,
    },

    /// Diesel's own harness migrated the schema, and nothing said that its record may be taken over.
    #[error(
        "schema {schema} has migrations in __diesel_schema_migrations that its ledger lacks: \
         take over what is recorded there with `migrate().adopt()`, or write the ledger alone with `fake()`"
    )]
    #[non_exhaustive]
    NeedsAdoption {
        /// The schema.
        schema: SchemaName,
    },

    /// Diesel's own harness recorded a version that several apps have.
    #[error(
        "schema {schema} has version {version} recorded by Diesel, which is in the apps {}: \
         say whose it is with `migrate().app(..).adopt()`", .apps.join(", ")
    )]
    #[non_exhaustive]
    AmbiguousVersion {
        /// The schema.
        schema: SchemaName,
        /// The version.
        version: String,
        /// The apps that have it.
        apps: Vec<String>,
    },

    /// The run stopped before it came to this schema.
    #[error(
        "schema {schema} was skipped: the run stopped after a failure, or for want of a connection, \
         or its executor left it out"
    )]
    #[non_exhaustive]
    Skipped {
        /// The schema.
        schema: SchemaName,
    },

    /// A tenant's value and its row do not have the same schema name: it was changed in the value, or
    /// the tenant was renamed since the value was read.
    #[error(
        "the tenant's row has the schema name {from}, and the value that was given has {to}: \
         read it again; `rename` moves schema and row together"
    )]
    #[non_exhaustive]
    SchemaNameChanged {
        /// The name in the row.
        from: SchemaName,
        /// The name in the value.
        to: SchemaName,
    },

    /// A listener inside the transaction failed, and everything in it was rolled back.
    #[error("a listener of {event} failed for schema {schema}: its transaction was rolled back")]
    #[non_exhaustive]
    Listener {
        /// The event.
        event: &'static str,
        /// The schema.
        schema: SchemaName,
        /// What the listener returned.
        source: BoxError,
    },

    /// Some schemas of a run failed; each has its own outcome in the report.
    #[error("{failed} of {total} schemas failed, the first is {schema}: {reason}")]
    #[non_exhaustive]
    SomeFailed {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
        /// The first that failed.
        schema: SchemaName,
        /// Why the first one failed.
        reason: String,
    },

    /// The code that ran for a tenant panicked.
    #[error("the work for schema {schema} panicked: {message}")]
    #[non_exhaustive]
    Panicked {
        /// The schema.
        schema: SchemaName,
        /// The panic's message.
        message: String,
    },

    /// The database refused a statement.
    #[error("{doing} failed{}", Hint(Some(source)))]
    #[non_exhaustive]
    Database {
        /// What was being done, in words.
        doing: String,
        /// The database's error.
        source: DieselError,
    },

    /// A schema that was to be copied lacks migrations, and nothing said that the copy may be migrated.
    #[error(
        "schema {schema} is behind by {} migrations, the first is {}: migrate it first, \
         or have the copy migrated with `migrate(true)`",
        .pending.len(), .pending.first().map(ToString::to_string).unwrap_or_default()
    )]
    #[non_exhaustive]
    Behind {
        /// The schema that was to be copied.
        schema: SchemaName,
        /// The migrations that it lacks, in order.
        pending: Vec<crate::script::MigrationId>,
    },

    /// Something in a copy of a schema would have needed something in the original.
    #[error(
        "schema {schema} was not made: its {dependent} would depend on {object} of the original, \
         so the two would not be apart; name the object without its schema, and clone again"
    )]
    #[non_exhaustive]
    PointsBack {
        /// The schema that was to be made.
        schema: SchemaName,
        /// What would depend, in PostgreSQL's words.
        dependent: String,
        /// On what, in PostgreSQL's words.
        object: String,
    },

    /// A dump can't be restored.
    #[error("the dump can't be restored: {reason}")]
    #[non_exhaustive]
    Dump {
        /// What is wrong with it, and the way out.
        reason: String,
    },

    /// A job that was run for a tenant failed, or could not be begun.
    #[error("the job failed for schema {schema}")]
    #[non_exhaustive]
    Job {
        /// The tenant's schema.
        schema: SchemaName,
        /// What failed: a `jobs::JobError`.
        source: BoxError,
    },

    /// A schedule can't be used.
    #[error("schedule {name:?} can't be used: {reason}")]
    #[non_exhaustive]
    Schedule {
        /// Its name.
        name: String,
        /// What is wrong with it, and the way out.
        reason: String,
    },

    /// A job can't be written into a message.
    #[error("a job for the queue {queue:?} can't be written as JSON")]
    #[non_exhaustive]
    Envelope {
        /// The queue.
        queue: String,
        /// What the serializer says.
        source: BoxError,
    },

    /// Reading or writing a dump failed.
    #[error("{doing} failed")]
    #[non_exhaustive]
    Io {
        /// What was being done, in words.
        doing: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps a failure of the database, keeping an error of ours that travelled inside one of Diesel's.
    pub(crate) fn database(doing: impl Into<String>, source: DieselError) -> Self {
        match source {
            DieselError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => Self::Database {
                    doing: doing.into(),
                    source: DieselError::QueryBuilderError(inner),
                },
            },
            source => Self::Database {
                doing: doing.into(),
                source,
            },
        }
    }

    /// Whether the database could not be asked: all connections are in use, or it can't be reached.
    #[cfg(any(feature = "jobs", feature = "web"))]
    pub(crate) fn is_busy_or_away(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Pool(_)
                | Self::Connect(_)
                | Self::Database {
                    source: DieselError::DatabaseError(
                        DatabaseErrorKind::ClosedConnection
                            | DatabaseErrorKind::UnableToSendCommand,
                        _,
                    ),
                    ..
                }
        )
    }

    /// Whether no connection could be had, or it was lost.
    pub(crate) fn is_without_connection(&self) -> bool {
        let lost = matches!(
            self.of_diesel(),
            Some(DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _
            ))
        );
        lost || matches!(self, Self::Pool(_) | Self::Connect(_))
    }

    /// Whether two transactions waited for each other, and this one was given up.
    pub(crate) fn is_deadlock(&self) -> bool {
        matches!(self.of_diesel(), Some(DieselError::DatabaseError(_, information))
            if information.message() == DEADLOCK)
    }

    /// What the database said to a statement of ours, or of a migration.
    fn of_diesel(&self) -> Option<&DieselError> {
        match self {
            Self::Database { source, .. } => Some(source),
            Self::Migration { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }
}

/// Diesel passes on the server's words, not its code. They are English: `doctor` says so where they are not.
const DEADLOCK: &str = "deadlock detected";

/// What fails if nobody says what was being done.
pub(crate) const UNNAMED: &str = "the query";

/// Lets `?` work in closures that return this crate's error, as in `conn.transaction(..)`.
impl From<DieselError> for Error {
    fn from(source: DieselError) -> Self {
        Self::database(UNNAMED, source)
    }
}

/// Lets `?` work in closures that return Diesel's error; the original is inside.
impl From<Error> for DieselError {
    fn from(error: Error) -> Self {
        match error {
            Error::Database { source, .. } => source,
            error => Self::QueryBuilderError(Box::new(error)),
        }
    }
}

impl From<diesel::r2d2::PoolError> for Error {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        Self::Pool(error.to_string())
    }
}

/// Says ` at line 3`, or nothing.
struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " at line {line}"))
    }
}

/// Names the knob, for failures of the server that have one.
struct Hint<'a>(Option<&'a DieselError>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .and_then(hint)
            .map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// Whether a statement used a value of an enum that its own transaction had added.
pub(crate) fn uses_new_enum_value(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(DieselError::DatabaseError(_, information))
        if information.message().starts_with("unsafe use of new value"))
}

/// The way out of a failure of the server, for those that have one.
pub(crate) fn hint(error: &DieselError) -> Option<&'static str> {
    let DieselError::DatabaseError(kind, information) = error else {
        return None;
    };
    let message = information.message();
    let server_hint = information.hint().unwrap_or_default();
    if matches!(kind, DatabaseErrorKind::ClosedConnection) {
        Some(
            "the server closed the connection: nothing that was not committed is kept, run it again",
        )
    } else if server_hint.contains("max_locks_per_transaction")
        || message.contains("out of shared memory")
    {
        Some(
            "the server ran out of lock slots: raise `max_locks_per_transaction`, \
             or work on fewer tables in one transaction, as `Tenancy::drop_schema_cascade` does",
        )
    } else if message == DEADLOCK {
        Some("another transaction was in the way: run it again")
    } else if uses_new_enum_value(error) {
        Some(
            "a value that `ALTER TYPE .. ADD VALUE` adds can be used once it is committed: \
             use it in a later migration, and migrate without `atomic`",
        )
    } else if message.contains("temp_file_limit") {
        Some("raise `temp_file_limit`")
    } else if message.contains("No space left on device") {
        Some("the server's disk is full: make room and run it again")
    } else if message.starts_with("permission denied") {
        Some("grant the privilege to the role of the database URL")
    } else {
        None
    }
}

/// What is there already, if that is why the database refused a row.
pub(crate) fn unique_violation(error: &DieselError) -> Option<String> {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
            let detail = information.details().unwrap_or(information.message());
            Some(detail.trim_end_matches('.').to_owned())
        }
        _ => None,
    }
}

/// Whether a statement failed for want of a table.
pub(crate) fn names_missing_table(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information)
        if information.message().starts_with("relation ")
            && information.message().ends_with("does not exist"))
}

/// The causes of an error in one line, outermost first.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
