//! [`Migrate`]: bringing the shared schema and the fleet up to date.

mod adopt;
mod at_once;
mod execute;
mod fleet;
mod job;
mod list;
mod message;
mod outlook;
mod plan;
mod run;
mod verify;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::report::Report;
use crate::tenancy::Tenancy;

use self::plan::{Selection, Target};

pub use self::execute::{Executor, Parallel, Sequential};
pub use self::job::Migrated;
pub(crate) use self::job::{Failures, Job, locked, try_locked};
pub use self::list::{ListedMigration, ListedSchema, Pending, PlannedMigration, PlannedSchema};
pub(crate) use self::run::{emit, lock};

/// A run over the shared schema and the fleet, put together and then started.
///
/// It begins with both, everything pending, one schema after the other: first
/// the shared schema, then the tenants in the order of their schemas' names;
/// within a schema apps in their order, within an app migrations by version.
///
/// Each migration is a transaction of its own, together with its line in the
/// ledger. A schema is locked while it is worked on, so that of two runs at the
/// same time one does the work and the other finds it done. A run that was
/// interrupted, by whatever, is resumed by running again.
///
/// # A deployment
///
/// The shared schema goes first, for itself: a tenant's migrations may need what
/// is in it, and if it fails no tenant is touched.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// # tenancy.migrate().tenants().app("hotels").to_zero().run()?.into_result()?;
/// // In continuous integration, against a copy of production: what would run?
/// for schema in tenancy.migrate().plan()? {
///     println!("{}: {} migrations", schema.schema, schema.steps.len());
/// }
///
/// // The deployment, while the old program still runs.
/// tenancy.migrate().shared().run()?.into_result()?;
/// let report = tenancy.migrate().tenants().jobs(4).run()?;
/// for (schema, error) in report.failed() {
///     eprintln!("{schema}: {error}");
/// }
/// assert_eq!(report.into_result()?.len(), 2);
///
/// // Before the new program takes requests: is anything missing, anywhere?
/// assert!(tenancy.migrate().check()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// The tenants and what each of them has are read in one statement, besides the
/// checkout, however many there are. A tenant that lacks nothing costs no other;
/// with [`verify`](Self::verify) fifty ledgers cost one.
///
/// What is pending in a tenant is one message if it is one transaction, one
/// migration or an [`atomic`](Self::atomic) run, written in SQL that changes nothing
/// of the session, and no listener is registered: lock, ledger and migration travel
/// together. Anything else takes a dozen round trips and three for each migration.
/// Such a message commits without waiting for the disk; the run waits once, at its end.
///
/// # After a crash, or a failure
///
/// Run again. What has a line in the ledger is not repeated, what was in the
/// middle of a transaction was rolled back, and locks ended with their
/// connection. A migration that says `run_in_transaction = false` is the
/// exception: the statements before the one that failed have been done. Write it
/// so that it can be repeated, or finish it by hand and tell the ledger with
/// [`fake`](Self::fake).
///
/// One broken tenant leaves the others up to date. After the cause is seen to,
/// [`schema`](Self::schema) runs that tenant alone. A tenant that was renamed or deleted
/// while the run went on has failed, with [`Error::SchemaNameChanged`] or [`Error::NotSaved`]; not if
/// its schema was left, and what was pending in it was one message: that goes by the schema, not by the row.
///
/// If no connection can be had, or it is lost, for three tenants in a row, the server is gone or the
/// migration brings it down: no further one is begun, and the others are [`Error::Skipped`].
///
/// # Coming from Diesel
///
/// A database that `diesel migration run` or `MigrationHarness` has managed has a
/// table `__diesel_schema_migrations` in each schema. A run refuses such a schema
/// until it is told to [`adopt`](Self::adopt) what is recorded there. A schema
/// that other tools filled, without any record, has its ledger written by
/// [`fake`](Self::fake).
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use diesel::connection::SimpleConnection;
/// use diesel_migrations::{FileBasedMigrations, MigrationHarness};
/// use tenant_schemas::Error;
///
/// # let database = tenant_schemas::testing::TestDatabase::new()?;
/// // As Diesel left it: the shared tables in `public`, a customer in a schema.
/// let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
/// let mut diesels = PgConnection::establish(&database.url())?;
/// let customers = FileBasedMigrations::from_path(format!("{dir}/customers"))?;
/// diesels.run_pending_migrations(customers)?;
/// diesels.batch_execute("CREATE SCHEMA acme; SET search_path TO acme")?;
/// let hotels = FileBasedMigrations::from_path(format!("{dir}/hotels"))?;
/// diesels.run_pending_migrations(hotels)?;
/// diesels.batch_execute("INSERT INTO rooms VALUES (1, 'Blue')")?;
///
/// // The same migrations, given to apps.
/// let tenancy = Tenancy::<Client>::builder(database.url())
///     .app(Customers)
///     .app(Hotels)
///     .build()?;
/// let report = tenancy.migrate().shared().run()?;
/// assert!(matches!(report.failed().next(), Some((_, Error::NeedsAdoption { .. }))));
///
/// // `public`: what is recorded counts as applied, the rest would run.
/// let done = tenancy.migrate().shared().adopt().run()?.into_result()?;
/// assert!(done[0].1.applied.is_empty());
///
/// // The customer becomes a tenant, and keeps what it has.
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
/// acme.adopt(&mut *tenancy.public()?)?;
/// assert_eq!(rooms::table.count().get_result(&mut *tenancy.tenant(&acme)?), Ok(1));
/// assert!(tenancy.migrate().check()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// Customers that have a row in the table of tenants already are taken over all
/// at once, by `migrate().tenants().adopt()`.
#[must_use = "nothing runs until `run`, `plan`, `list` or `check` is called"]
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that goes with every other"
)]
pub struct Migrate<'a, T: TenantModel> {
    tenancy: &'a Tenancy<T>,
    shared: bool,
    tenants: bool,
    only: Vec<SchemaName>,
    selection: Selection,
    fake: bool,
    atomic: bool,
    adopt: bool,
    fail_fast: bool,
    verify: bool,
    executor: Arc<dyn Executor>,
    observer: Observer,
}

/// Who is told where a run is: before a schema, without a result, and after it.
type Observe = dyn Fn(&SchemaName, Option<&Result<Migrated>>) + Send + Sync;

/// Who is told where a run is, if anybody.
#[derive(Clone, Default)]
struct Observer(Option<Arc<Observe>>);

impl Observer {
    fn tell(&self, schema: &SchemaName, result: Option<&Result<Migrated>>) {
        if let Some(observe) = &self.0 {
            observe(schema, result);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

impl<'a, T: TenantModel> Migrate<'a, T> {
    pub(crate) fn new(tenancy: &'a Tenancy<T>) -> Self {
        Self {
            tenancy,
            shared: true,
            tenants: true,
            only: Vec::new(),
            selection: Selection::default(),
            fake: false,
            atomic: false,
            adopt: false,
            fail_fast: false,
            verify: false,
            executor: Arc::new(Sequential),
            observer: Observer::default(),
        }
    }

    /// Restricts the run to the shared schema.
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            tenants: false,
            ..self
        }
    }

    /// Restricts the run to the tenants.
    pub fn tenants(self) -> Self {
        Self {
            shared: false,
            tenants: true,
            ..self
        }
    }

    /// Restricts the run to one schema, a tenant's or the shared one; called again, to several.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let report = tenancy.migrate().schema(&acme.schema_name).run()?;
    /// assert_eq!(report.len(), 1);
    /// assert!(report.outcome(&globex.schema_name).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schema(mut self, schema: &SchemaName) -> Self {
        self.only.push(schema.clone());
        self
    }

    /// Restricts the run to one app, by its label.
    pub fn app(mut self, label: impl Into<String>) -> Self {
        self.selection.app = Some(label.into());
        self
    }

    /// Goes up or down to a version of the app, which stays applied.
    ///
    /// It is named by its version, its full name, or an unambiguous beginning
    /// of either. Needs [`app`](Self::app).
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let hotels = || tenancy.migrate().tenants().app("hotels");
    ///
    /// let down = hotels().to_zero().run()?.into_result()?;
    /// assert_eq!(down[0].1.reverted.len(), 1);
    /// let up = hotels().to("2024-01-02").run()?.into_result()?;
    /// assert_eq!(up[0].1.applied.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to(mut self, version: impl Into<String>) -> Self {
        self.selection.target = Target::Version(version.into());
        self
    }

    /// Reverts every migration of the app. Needs [`app`](Self::app).
    pub fn to_zero(mut self) -> Self {
        self.selection.target = Target::Zero;
        self
    }

    /// Reverts the app's last migration and applies it again. Needs [`app`](Self::app).
    pub fn redo(mut self) -> Self {
        self.selection.target = Target::Redo;
        self
    }

    /// Writes the ledger as if the migrations had run, and runs none. Defaults to `false`.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # use diesel::connection::SimpleConnection;
    /// # use tenant_schemas::SaveOptions;
    /// # let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// # acme.save_with(&mut *tenancy.public()?, SaveOptions::new().auto_create_schema(false))?;
    /// let mut conn = tenancy.public()?;
    /// conn.batch_execute("CREATE SCHEMA acme; CREATE TABLE acme.rooms (id int PRIMARY KEY, name text NOT NULL)")?;
    ///
    /// let migrate = || tenancy.migrate().schema(&acme.schema_name);
    /// assert_eq!(migrate().run()?.failed().count(), 1); // `rooms` is there already
    /// migrate().fake(true).run()?.into_result()?;
    /// assert!(migrate().check()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fake(self, fake: bool) -> Self {
        Self { fake, ..self }
    }

    /// Takes over what Diesel's own harness recorded in `__diesel_schema_migrations`.
    ///
    /// Versions recorded there count as applied, if exactly one app has them; also those that an
    /// older program adds there after the first run that adopts. A schema that has that table is
    /// migrated step by step: drop the table once nothing uses Diesel's harness any more.
    pub fn adopt(self) -> Self {
        Self {
            adopt: true,
            ..self
        }
    }

    /// Runs all pending migrations of a schema in one transaction, as one message.
    /// Defaults to `false`: each migration in its own.
    ///
    /// Faster over a slow network, and a schema is never left between two
    /// versions. A value that `ALTER TYPE .. ADD VALUE` adds can't be used in the
    /// same transaction, which is why it is not the default.
    pub fn atomic(self, atomic: bool) -> Self {
        Self { atomic, ..self }
    }

    /// Starts no further schema once one has failed. Defaults to `false`.
    pub fn fail_fast(self, fail_fast: bool) -> Self {
        Self { fail_fast, ..self }
    }

    /// Reads the ledger of every schema, not just the table that sums them up. Defaults to `false`.
    ///
    /// For fleets whose ledgers were changed by hand or by other tools; a schema, a ledger, or the
    /// table that sums them up, that was put back from a backup is noticed without, unless only its
    /// rows were (`pg_restore --data-only`). Fifty
    /// ledgers are read in one statement; a schema is locked and worked on only if it
    /// lacks something, or the table says something else of it, which is put right.
    pub fn verify(self, verify: bool) -> Self {
        Self { verify, ..self }
    }

    /// Works on up to `jobs` tenants at once. Defaults to 1; no more than the pool has connections.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let report = tenancy.migrate().tenants().jobs(4).run()?;
    /// assert_eq!(report.into_result()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jobs(self, jobs: usize) -> Self {
        let most = self.most_jobs();
        self.executor(Parallel::new(jobs.min(most)))
    }

    /// How many connections there are to work with.
    pub(crate) fn most_jobs(&self) -> usize {
        usize::try_from(self.tenancy.pool().max_size()).unwrap_or(usize::MAX)
    }

    /// Walks the fleet with an executor. Defaults to [`Sequential`].
    pub fn executor(self, executor: impl Executor + 'static) -> Self {
        Self {
            executor: Arc::new(executor),
            ..self
        }
    }

    /// Tells `observe` of each schema: before it is worked on, and what became of it.
    #[cfg(feature = "manage")]
    pub(crate) fn observer(
        self,
        observe: impl Fn(&SchemaName, Option<&Result<Migrated>>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            observer: Observer(Some(Arc::new(observe))),
            ..self
        }
    }

    /// Runs, and reports what became of each schema.
    ///
    /// The shared schema is created if it is not there. A tenant's failure stops
    /// no other tenant, unless [`fail_fast`](Self::fail_fast) is set. No tenant is touched if the shared schema fails.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let report = tenancy.migrate().run()?;
    /// let schemas: Vec<&str> = report.succeeded().map(|(schema, _)| schema.as_str()).collect();
    /// assert_eq!(schemas, ["public", "acme"]);
    /// report.into_result()?;
    ///
    /// use tenant_schemas::Error;
    /// let typo = tenancy.migrate().app("hotel").run();
    /// assert!(matches!(typo, Err(Error::UnknownApp { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the run could not start: no connection, no such app or version, a target
    /// without an app, a schema that is no tenant's. Failures of single schemas are in the report.
    /// If the server goes away before the commits are on its disk, each tenant that may have
    /// lost one has failed.
    pub fn run(self) -> Result<Report<Migrated>> {
        self.check_selection()?;
        let mut outcomes = Vec::new();
        if self.wants_shared() {
            let outcome = self.run_shared()?;
            let failed = outcome.result.is_err();
            outcomes.push(outcome);
            if failed {
                outcomes.extend(self.skipped_tenants());
                return Ok(Report::new(outcomes));
            }
        }
        if self.wants_tenants() {
            match self.run_tenants() {
                Ok(tenants) => outcomes.extend(tenants),
                // What they are read from may just have been reverted.
                Err(error @ Error::Database { .. })
                    if !outcomes.is_empty() && !self.concerns_tenants() =>
                {
                    log::debug!("the tenants, who lack nothing, can't be read: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Report::new(outcomes))
    }

    fn registry(&self) -> &Arc<Registry> {
        self.tenancy.registry()
    }

    fn wants_shared(&self) -> bool {
        if self.only.is_empty() {
            self.shared
        } else {
            self.shared && self.only.contains(self.registry().public())
        }
    }

    fn wants_tenants(&self) -> bool {
        let public = self.registry().public();
        self.tenants && (self.only.is_empty() || self.only.iter().any(|schema| schema != public))
    }

    /// Whether tenants have what the run is about.
    fn concerns_tenants(&self) -> bool {
        let app = self.selection.app.as_deref();
        app.and_then(|label| self.registry().app(label))
            .is_none_or(|loaded| loaded.app.scope().is_tenant())
    }

    fn check_selection(&self) -> Result<()> {
        let registry = self.registry();
        if !self.only.is_empty() && !self.wants_shared() && !self.wants_tenants() {
            let part = if self.shared { "shared()" } else { "tenants()" };
            let schemas: Vec<&str> = self.only.iter().map(SchemaName::as_str).collect();
            return Err(Error::Config {
                problems: vec![format!(
                    "`{part}` leaves out `schema(..)` of {}: use one of the two",
                    schemas.join(", ")
                )],
            });
        }
        let Some(label) = &self.selection.app else {
            if self.selection.target == Target::Latest {
                return Ok(());
            }
            return Err(Error::NoApp);
        };
        let Some(app) = registry.app(label) else {
            return Err(Error::UnknownApp {
                app: label.clone(),
                known: registry
                    .apps
                    .iter()
                    .map(|app| app.app.label().to_owned())
                    .collect(),
            });
        };
        if let Target::Version(version) = &self.selection.target {
            plan::find_version(app, version)?;
        }
        Ok(())
    }

    fn job(&self, schema: SchemaName, kind: Kind) -> Job {
        Job {
            selection: self.selection.clone(),
            fake: self.fake,
            atomic: self.atomic,
            adopt: self.adopt,
            ..Job::new(schema, kind)
        }
    }
}
