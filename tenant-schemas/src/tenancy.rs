//! [`Tenancy`]: what a program holds.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::builder::TenancyBuilder;
use crate::connection::{Scope, TenantConnection};
use crate::error::{Error, Result};
use crate::event::panic_message;
use crate::ledger;
use crate::ledger::Known;
use crate::migrate::{Migrate, locked};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::pool::{PooledConnection, TenantPool};
use crate::provision::{Lifecycle as _, Saved, dropping};
use crate::registry::{Kind, Registry};
use crate::report::{Outcome, Report};

/// A pool of connections, the apps, and the tenants of model `T`: what a program holds.
///
/// Cloning is cheap; clones share the pool.
///
/// # Handling a request
///
/// A handler finds the tenant by the host of the request, takes a connection for
/// it, and runs ordinary Diesel. Nothing has to be reset: the tenant ends with
/// the connection's return to the pool.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// use tenant_schemas::Error;
///
/// /// `GET /rooms`; `None` is a 404.
/// fn rooms_of(tenancy: &Tenancy<Client>, host: &str) -> Result<Option<Vec<String>>, Error> {
///     let Some(client) = Client::by_domain(&mut *tenancy.public()?, host)? else {
///         return Ok(None);
///     };
///     let mut conn = tenancy.tenant(&client)?;
///     Ok(Some(rooms::table.select(rooms::name).load(&mut conn)?))
/// }
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// # let mut conn = tenancy.tenant(&acme)?;
/// # diesel::insert_into(rooms::table).values((rooms::id.eq(1), rooms::name.eq("Blue"))).execute(&mut conn)?;
/// # drop(conn);
///
/// assert_eq!(rooms_of(tenancy, "acme.my-domain.com")?, Some(vec!["Blue".to_owned()]));
/// assert_eq!(rooms_of(tenancy, "globex.my-domain.com")?, Some(vec![]));
/// assert_eq!(rooms_of(tenancy, "nobody.my-domain.com")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The calls block. In an asynchronous server, make them where blocking is
/// allowed, and give them a clone of the tenancy.
pub struct Tenancy<T: TenantModel> {
    pool: TenantPool,
    registry: Arc<Registry>,
    model: PhantomData<fn() -> T>,
}

impl<T: TenantModel> Tenancy<T> {
    /// Starts building a tenancy over a database.
    ///
    /// `database_url` is whatever libpq understands, as in Diesel.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::testing::TestDatabase;
    ///
    /// let database = TestDatabase::new()?; // yours is a URL
    /// let tenancy = Tenancy::<Client>::builder(database.url())
    ///     .app(Customers)
    ///     .app(Hotels)
    ///     .build()?;
    /// tenancy.migrate().shared().run()?.into_result()?;
    /// assert_eq!(tenancy.tenants()?, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(database_url: impl Into<String>) -> TenancyBuilder<T> {
        TenancyBuilder::new(database_url.into())
    }

    pub(crate) fn new(pool: TenantPool, registry: Arc<Registry>) -> Self {
        Self {
            pool,
            registry,
            model: PhantomData,
        }
    }

    /// A connection to the public schema.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// let mut conn = tenancy.public()?;
    /// assert_eq!(clients::table.count().get_result(&mut conn), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if no connection can be had, [`Error::NoSuchSchema`] if there
    /// is no public schema.
    pub fn public(&self) -> Result<PooledConnection> {
        self.schema(self.registry.public())
    }

    /// A connection to a tenant: one round trip, the search path in the place of the pool's ping,
    /// or none; [`SetCalls`](crate::SetCalls) says when.
    ///
    /// What counts is the schema name of the value. One that was read before the tenant was
    /// renamed leads to whoever has that name now.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let mut conn = tenancy.tenant(&acme)?;
    /// assert_eq!(conn.tenant(), Some(&acme));
    /// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if no connection can be had, [`Error::NoSuchSchema`] if the
    /// tenant has no schema. With [`FirstStatement`](crate::SetCalls::FirstStatement) it is
    /// the first statement that says so.
    pub fn tenant(&self, tenant: &T) -> Result<PooledConnection> {
        self.tenant_read_at(tenant, Instant::now())
    }

    /// As [`tenant`](Self::tenant), with a value that was not read before `read`: if its name went to another
    /// since then, there is no such schema.
    pub(crate) fn tenant_read_at(&self, tenant: &T, read: Instant) -> Result<PooledConnection> {
        let path = self.registry.policy.path(tenant.schema_name());
        let scope = Scope::new(path).with_tenant(Arc::new(tenant.clone()));
        self.checkout(&scope.read_at(read))
    }

    /// A connection to a schema, whether or not it is a tenant's.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// use tenant_schemas::{Error, SchemaName};
    ///
    /// let acme: SchemaName = "acme".parse()?;
    /// let mut conn = tenancy.schema(&acme)?;
    /// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(0));
    ///
    /// let missing = tenancy.schema(&"nobody".parse()?);
    /// assert!(matches!(missing, Err(Error::NoSuchSchema { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`tenant`](Self::tenant).
    pub fn schema(&self, schema: &SchemaName) -> Result<PooledConnection> {
        self.checkout(&Scope::new(self.registry.policy.path(schema)))
    }

    /// Starts putting together a migration of the shared schema and the tenants.
    pub fn migrate(&self) -> Migrate<'_, T> {
        Migrate::new(self)
    }

    /// Runs `f` for every tenant, each in its own scope, in the order of the schemas' names.
    ///
    /// The public tenant is left out. An error or a panic of one tenant is its
    /// outcome in the report, and the next tenant's turn. So is [`Error::NoSuchSchema`], if
    /// the tenant was renamed or dropped since the walk began.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let report = tenancy.for_each_tenant(|_, conn| rooms::table.count().get_result::<i64>(conn))?;
    /// for (schema, error) in report.failed() {
    ///     eprintln!("{schema}: {error}");
    /// }
    /// let rooms: i64 = report.succeeded().map(|(_, rooms)| rooms).sum();
    /// assert_eq!((report.len(), rooms), (2, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the tenants can't be read.
    pub fn for_each_tenant<R, E>(
        &self,
        mut f: impl FnMut(&T, &mut TenantConnection) -> std::result::Result<R, E>,
    ) -> Result<Report<R>>
    where
        Error: From<E>,
    {
        let read = Instant::now();
        let outcomes = self
            .tenants()?
            .into_iter()
            .map(|tenant| {
                let schema = tenant.schema_name().clone();
                outcome(schema, || {
                    let mut conn = self.tenant_read_at(&tenant, read)?;
                    Ok(f(&tenant, &mut conn)?)
                })
            })
            .collect();
        Ok(Report::new(outcomes))
    }

    /// All tenants but the public one, in the order of their schemas' names.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if no connection can be had, or what the database says.
    pub fn tenants(&self) -> Result<Vec<T>> {
        let mut tenants = T::all(&mut *self.public()?)?;
        tenants.retain(|tenant| tenant.schema_name() != self.registry.public());
        Ok(tenants)
    }

    /// Creates and migrates the schema of every tenant that has none.
    ///
    /// Tenants whose schema exists are neither touched nor in the report.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// use tenant_schemas::SaveOptions;
    ///
    /// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// let later = SaveOptions::new().auto_create_schema(false);
    /// acme.save_with(&mut *tenancy.public()?, later)?;
    /// assert!(tenancy.tenant(&acme).is_err());
    ///
    /// let made = tenancy.create_missing_schemas()?.into_result()?;
    /// assert_eq!(made[0].0, acme.schema_name);
    /// assert!(tenancy.tenant(&acme).is_ok());
    /// assert!(tenancy.create_missing_schemas()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the tenants can't be read; a tenant's failure is in the report.
    pub fn create_missing_schemas(&self) -> Result<Report<Saved>> {
        let tenants = self.tenants()?;
        let schemas: Vec<(SchemaName, Kind)> = tenants
            .iter()
            .map(|tenant| {
                let kind = Kind::Tenant(tenant.tenant_type());
                (tenant.schema_name().clone(), kind)
            })
            .collect();
        // Given back at once: the pool may have no other.
        let known = self
            .public()?
            .own(|inner| ledger::fleet(inner, &self.registry, &schemas))?;
        let outcomes = tenants
            .iter()
            .zip(known)
            .filter(|(_, known)| *known == Known::Missing)
            .map(|(tenant, _)| {
                outcome(tenant.schema_name().clone(), || {
                    tenant.provision(&mut *self.public()?)
                })
            })
            // Someone else was faster: it is not missing any more.
            .filter(|outcome| !matches!(outcome.result, Err(Error::SchemaExists { .. })))
            .collect();
        Ok(Report::new(outcomes))
    }

    /// Drops a tenant's schema and everything in it; the row, if there is one, stays.
    ///
    /// The tables go in batches of a transaction each, so that a schema of any
    /// width fits into the server's lock slots. Before that the schema gets a name of
    /// the library's own, so that nobody works in what is left of it. Interrupted, it is resumed by
    /// dropping again; `doctor` tells of what was not. The rename asks for `CREATE` on the database.
    /// [`delete`](crate::Lifecycle::delete) drops in the one transaction that deletes the row.
    ///
    /// Listeners are told of [`PreDrop`](crate::Event::PreDrop) before, those
    /// inside a transaction in one of its own.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// use tenant_schemas::Error;
    ///
    /// tenancy.drop_schema_cascade(&acme.schema_name)?;
    /// assert!(matches!(tenancy.tenant(&acme), Err(Error::NoSuchSchema { .. })));
    /// acme.delete(&mut *tenancy.public()?)?; // the row
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Protected`] for the shared schema, `public`, those of the extra search path, templates
    /// and the library's own. Any other is dropped, whether or not a tenant has it.
    /// [`Error::Dependents`] if something in another schema would go along.
    /// [`Error::NoSuchSchema`], [`Error::Listener`] with nothing dropped, or what
    /// the database says.
    pub fn drop_schema_cascade(&self, schema: &SchemaName) -> Result<()> {
        if !dropping::is_rest(schema) {
            self.registry.refuse_protected(schema, "dropped")?;
        }
        let mut conn = self.public()?;
        locked(&mut conn, schema, |conn| {
            dropping::drop_apart::<T>(schema, conn, &self.registry)
        })
    }

    /// The pool, whose connections have no scope yet; choose one with
    /// [`set_tenant`](TenantConnection::set_tenant) before the first statement.
    #[must_use]
    pub fn pool(&self) -> &TenantPool {
        &self.pool
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Takes a connection and turns it to `scope`.
    pub(crate) fn checkout(&self, scope: &Scope) -> Result<PooledConnection> {
        checkout(&self.pool, scope, None)
    }
}

/// Making a connection takes a while.
const MIN_WAIT: Duration = Duration::from_millis(100);

/// Takes a connection and turns it to `scope`; one that died while it was idle is replaced, and so is one
/// that what its last tenant left keeps from being turned.
///
/// It waits for one as long as `wait` says, or as the pool does; a little in any case,
/// so that a pool that has none can make one.
pub(crate) fn checkout(
    pool: &TenantPool,
    scope: &Scope,
    wait: Option<Duration>,
) -> Result<PooledConnection> {
    // Every idle connection may have died at once, as when the server restarts.
    let mut tries = pool.max_size().saturating_add(1);
    // One that lives has cost time already.
    let mut again = true;
    loop {
        let mut conn = match wait {
            Some(wait) => pool.get_timeout(wait.max(MIN_WAIT))?,
            None => pool.get()?,
        };
        match conn.enter(scope.clone()) {
            Ok(()) => return Ok(conn),
            Err(Error::InsideTransaction { .. }) if conn.is_condemned() && tries > 1 => {
                tries -= 1;
            }
            Err(_) if conn.is_dead() && tries > 1 => {
                tries -= 1;
                conn.condemn();
            }
            Err(_) if conn.is_condemned() && again => again = false,
            Err(error) => return Err(error),
        }
    }
}

/// What becomes of the work for one schema, a panic included.
pub(crate) fn outcome<R>(schema: SchemaName, work: impl FnOnce() -> Result<R>) -> Outcome<R> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Error::Panicked {
            schema: schema.clone(),
            message: panic_message(&*panic),
        })
    });
    Outcome::new(schema, result)
}

impl<T: TenantModel> Clone for Tenancy<T> {
    fn clone(&self) -> Self {
        Self::new(self.pool.clone(), Arc::clone(&self.registry))
    }
}

impl<T: TenantModel> fmt::Debug for Tenancy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apps: Vec<&str> = self
            .registry
            .apps
            .iter()
            .map(|app| app.app.label())
            .collect();
        f.debug_struct("Tenancy")
            .field("model", &std::any::type_name::<T>())
            .field("apps", &apps)
            .field("pool", &self.pool.state())
            .finish()
    }
}
