//! [`TenancyBuilder`]: what a tenancy is made of.

use std::any::TypeId;
use std::fmt;
use std::hash::RandomState;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::QueryResult;

use crate::app::App;
use crate::changes::Watchers;
use crate::connection::{MAX_TENANTS, OnConnect, Policy, Rack, SetCalls, TenantConnection};
use crate::error::{BoxError, Error, Result};
use crate::event::{Event, Listeners};
use crate::keys::Memory;
use crate::model::{FieldRole, TenantModel};
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::pool::Baseline;
use crate::pooler::refuse_shared_sessions;
use crate::random;
use crate::registry::{LoadedApp, Registry, check_declarations, in_order};
use crate::script::Script;
use crate::secret;
use crate::tenancy::Tenancy;

/// What a [`Tenancy`] is made of. Contradictions are reported by [`build`](Self::build).
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use std::time::Duration;
/// use tenant_schemas::testing::TestDatabase;
/// use tenant_schemas::Error;
///
/// # let database = TestDatabase::new()?;
/// let tenancy = Tenancy::<Client>::builder(database.url())
///     .app(Customers)
///     .app(Hotels)
///     .pool_size(20)
///     .checkout_timeout(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(tenancy.pool().max_size(), 20);
///
/// let contradiction = Tenancy::<Client>::builder(database.url())
///     .app(Customers)
///     .app(Customers)
///     .pool_size(0)
///     .build();
/// let Err(Error::Config { problems, .. }) = contradiction else { panic!() };
/// assert_eq!(problems.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is built until `build` is called"]
pub struct TenancyBuilder<T> {
    database_url: String,
    apps: Vec<App>,
    pool_size: u32,
    min_idle: u32,
    checkout_timeout: Duration,
    max_lifetime: Option<Duration>,
    idle_timeout: Option<Duration>,
    public: String,
    include_shared: bool,
    extra: Vec<String>,
    templates: Vec<String>,
    names: SchemaNamePolicy,
    set_calls: SetCalls,
    max_tenants: usize,
    listeners: Listeners,
    on_connect: Vec<OnConnect>,
    model: PhantomData<fn() -> T>,
}

impl<T: TenantModel> TenancyBuilder<T> {
    pub(crate) fn new(database_url: String) -> Self {
        Self {
            database_url,
            apps: Vec::new(),
            pool_size: 10,
            min_idle: 0,
            checkout_timeout: Duration::from_secs(30),
            max_lifetime: Some(Duration::from_mins(30)),
            idle_timeout: Some(Duration::from_mins(10)),
            public: SchemaName::public().to_string(),
            include_shared: true,
            extra: Vec::new(),
            templates: Vec::new(),
            names: SchemaNamePolicy::default(),
            set_calls: SetCalls::default(),
            max_tenants: MAX_TENANTS,
            listeners: Listeners::default(),
            on_connect: Vec::new(),
            model: PhantomData,
        }
    }

    /// Adds an app. Apps are migrated in the order in which they are added,
    /// unless they come [`after`](App::after) another.
    pub fn app(mut self, app: impl Into<App>) -> Self {
        self.apps.push(app.into());
        self
    }

    /// Sets how many connections the pool has at most. Defaults to 10.
    pub fn pool_size(self, pool_size: u32) -> Self {
        Self { pool_size, ..self }
    }

    /// Sets how many idle connections the pool keeps ready. Defaults to 0: they are made when needed.
    pub fn min_idle(self, min_idle: u32) -> Self {
        Self { min_idle, ..self }
    }

    /// Sets how long a checkout waits for a connection. Defaults to 30 seconds.
    pub fn checkout_timeout(self, checkout_timeout: Duration) -> Self {
        Self {
            checkout_timeout,
            ..self
        }
    }

    /// Sets how long a connection lives. Defaults to 30 minutes; `None` means for ever.
    ///
    /// One that is out when its time is over is closed when it comes back.
    pub fn max_lifetime(self, max_lifetime: Option<Duration>) -> Self {
        Self {
            max_lifetime,
            ..self
        }
    }

    /// Sets how long a connection may be idle. Defaults to 10 minutes; `None` means for ever.
    ///
    /// Of a pool in which not all are out at once, one is idle at any time: after so long a session is
    /// closed, the one that was used longest ago. Where [`min_idle`](Self::min_idle) keeps the pool full, one that
    /// knows no tenants is made in its place: give `None` there.
    pub fn idle_timeout(self, idle_timeout: Option<Duration>) -> Self {
        Self {
            idle_timeout,
            ..self
        }
    }

    /// Names the schema that holds what all tenants share. Defaults to `public`.
    pub fn public_schema(self, name: impl Into<String>) -> Self {
        Self {
            public: name.into(),
            ..self
        }
    }

    /// Adds schemas to the end of every search path, for extensions and the
    /// like; the guide's `PG_EXTRA_SEARCH_PATHS`. Defaults to none.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let database = tenant_schemas::testing::TestDatabase::new()?;
    /// let tenancy = Tenancy::<Client>::builder(database.url())
    ///     .extra_search_path(["extensions"])
    ///     .build()?;
    /// let conn = tenancy.public()?;
    /// let path = conn.search_path().map(ToString::to_string);
    /// assert_eq!(path.as_deref(), Some(r#""public", "extensions""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extra_search_path<S: Into<String>>(
        mut self,
        schemas: impl IntoIterator<Item = S>,
    ) -> Self {
        self.extra.extend(schemas.into_iter().map(Into::into));
        self
    }

    /// Protects schemas that are kept as templates: made like a tenant's, and no
    /// tenant's. Defaults to none.
    ///
    /// No tenant can take, rename, copy over or drop them, and
    /// [`doctor`](Tenancy::doctor) does not call them orphans.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let database = tenant_schemas::testing::TestDatabase::new()?;
    /// use tenant_schemas::{Error, SchemaName};
    ///
    /// let tenancy = Tenancy::<Client>::builder(database.url())
    ///     .template_schemas(["template"])
    ///     .build()?;
    /// let template: SchemaName = "template".parse()?;
    /// let refused = tenancy.drop_schema_cascade(&template);
    /// assert!(matches!(refused, Err(Error::Protected { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn template_schemas<S: Into<String>>(
        mut self,
        schemas: impl IntoIterator<Item = S>,
    ) -> Self {
        self.templates.extend(schemas.into_iter().map(Into::into));
        self
    }

    /// Whether a tenant's search path has the public schema behind the tenant's own.
    /// Defaults to `true`.
    ///
    /// `false` is recommended for new projects: a tenant's query that misses its
    /// table fails instead of finding one of that name in `public`, and shared
    /// tables are declared as `public.plans` in `table!`.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # use tenant_schemas::testing::TestTenancy;
    /// # let tests = TestTenancy::<Client>::new(|builder| {
    /// #    builder.app(Customers).app(Hotels).include_shared(false)
    /// # })?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// // diesel::table! { public.clients (id) { .. } }
    /// # mod public { diesel::table! { public.clients (id) { id -> Integer, } } }
    /// // built with `include_shared(false)`:
    /// let mut conn = tenancy.tenant(&acme)?;
    /// assert_eq!(public::clients::table.count().get_result(&mut conn), Ok(1));
    /// assert!(clients::table.count().get_result::<i64>(&mut conn).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn include_shared(self, include_shared: bool) -> Self {
        Self {
            include_shared,
            ..self
        }
    }

    /// Sets which schema names tenants may have. Defaults to [`SchemaNamePolicy::Plain`].
    pub fn schema_names(self, names: SchemaNamePolicy) -> Self {
        Self { names, ..self }
    }

    /// Sets how often the search path is sent. Defaults to [`SetCalls::EveryCheckout`].
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let database = tenant_schemas::testing::TestDatabase::new()?;
    /// use tenant_schemas::SetCalls;
    ///
    /// let tenancy = Tenancy::<Client>::builder(database.url())
    ///     .set_calls(SetCalls::WhenChanged)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_calls(self, set_calls: SetCalls) -> Self {
        Self { set_calls, ..self }
    }

    /// Sets how many tenants a connection serves before it is closed. Defaults to 200.
    ///
    /// A backend keeps 9 KB of catalog cache for each tenant and table it has seen,
    /// and 20 KB if the table has indexes and keys, and gives it back only by ending.
    /// It keeps prepared statements for as many tenants, and for 256 at least: some 10 KB each.
    /// Migrating a schema counts by the statements, twenty of which are a tenant.
    ///
    /// A tenant's first visit to a connection costs several times what later ones do. If
    /// this number times `pool_size` is not well above the number of tenants in use, a busy
    /// pool closes connections as soon as they know their tenants.
    pub fn max_tenants_per_connection(self, max_tenants: usize) -> Self {
        Self {
            max_tenants,
            ..self
        }
    }

    /// Adds a listener that is told of events once they are committed.
    ///
    /// What it returns, or its panic, is logged and reported, and undoes
    /// nothing. It must not block for long: the connection waits for it. In a
    /// migration run the schema stays locked meanwhile, so that migrating,
    /// dropping or renaming the same schema from here would wait for ever.
    ///
    /// It is told at most once: of what was committed just before the process died nobody is
    /// told, nor is [`PostSchemaSync`](Event::PostSchemaSync) made up for if the migrations that a
    /// tenant gets after its commit failed and a later run completes them. What must not be missed
    /// is written down [inside the transaction](Self::listener_in_transaction).
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use std::sync::mpsc;
    /// use tenant_schemas::Event;
    /// # use tenant_schemas::testing::TestTenancy;
    ///
    /// let (tell, told) = mpsc::channel();
    /// # let tests = TestTenancy::<Client>::new(|builder| {
    /// let builder = builder.app(Customers).app(Hotels).listener(move |event| {
    ///     if matches!(event, Event::PostSchemaSync { .. }) {
    ///         tell.send(event.schema().to_string())?; // a welcome mail, for one
    ///     }
    ///     Ok(())
    /// });
    /// # builder })?;
    /// # let tenancy = tests.tenancy();
    /// # client(tenancy, "acme")?;
    ///
    /// // once a tenant is saved:
    /// assert_eq!(told.try_recv(), Ok("acme".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listener(
        mut self,
        listener: impl Fn(&Event<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.listeners.after.push(Box::new(listener));
        self
    }

    /// Adds a listener that is told of events inside the transaction that
    /// brings them about, with the connection turned to the schema; for
    /// [`SchemaNeedsSync`](Event::SchemaNeedsSync), as there is none, to the public one.
    ///
    /// If it fails, everything is rolled back. Before and after the migrations
    /// of a schema that exists, which are a transaction each, it has one of its own.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::Event;
    /// # use tenant_schemas::testing::TestTenancy;
    ///
    /// # let tests = TestTenancy::<Client>::new(|builder| {
    /// let builder = builder.app(Customers).app(Hotels).listener_in_transaction(|event, conn| {
    ///     if matches!(event, Event::PostSchemaSync { .. }) {
    ///         diesel::insert_into(rooms::table)
    ///             .values((rooms::id.eq(1), rooms::name.eq("Lobby")))
    ///             .execute(conn)?;
    ///     }
    ///     Ok(())
    /// });
    /// # builder })?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    ///
    /// // a tenant is not there before it has its first room:
    /// let mut conn = tenancy.tenant(&acme)?;
    /// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listener_in_transaction(
        mut self,
        listener: impl Fn(&Event<'_>, &mut TenantConnection) -> Result<(), BoxError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.listeners.inside.push(Box::new(listener));
        self
    }

    /// Adds something to be done to each new connection, such as `SET statement_timeout`.
    ///
    /// It is done again when a connection turns to another tenant after someone
    /// changed the session's settings. The search path is none of its business:
    /// it is set afterwards. For an instrumentation, use
    /// [`set_default_instrumentation`](diesel::connection::set_default_instrumentation).
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use diesel::connection::SimpleConnection;
    /// use diesel::dsl::sql;
    /// use diesel::sql_types::Text;
    ///
    /// # let database = tenant_schemas::testing::TestDatabase::new()?;
    /// let tenancy = Tenancy::<Client>::builder(database.url())
    ///     .on_connect(|conn| conn.batch_execute("SET statement_timeout TO '5s'"))
    ///     .build()?;
    /// let timeout = diesel::select(sql::<Text>("current_setting('statement_timeout')"));
    /// assert_eq!(timeout.get_result(&mut *tenancy.public()?), Ok("5s".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_connect(
        mut self,
        f: impl Fn(&mut PgConnection) -> QueryResult<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_connect.push(OnConnect::new(f));
        self
    }

    /// Builds the tenancy: reads the migrations, connects to look for a pooler, opens as many
    /// connections as [`min_idle`](Self::min_idle) says.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with every contradiction, [`Error::MigrationSource`],
    /// [`Error::Connect`] if the database can't be reached, [`Error::Pool`] if the
    /// connections can't be opened in the time that a checkout may take,
    /// [`Error::SharedSessions`] if a pooler in transaction mode stands in between, or
    /// [`Error::Database`] if [`on_connect`](Self::on_connect) fails.
    pub fn build(self) -> Result<Tenancy<T>> {
        let mut problems = Vec::new();
        let name = |name: &str, what: &str, problems: &mut Vec<String>| {
            SchemaName::with_policy(name, SchemaNamePolicy::Quoted)
                .map_err(|error| problems.push(format!("{what}: {error}")))
                .ok()
        };
        let public = name(&self.public, "the public schema", &mut problems)
            .unwrap_or_else(SchemaName::public);
        let names = |schemas: &[String], what: &str, problems: &mut Vec<String>| {
            let each = schemas
                .iter()
                .filter_map(|schema| name(schema, what, problems));
            each.collect::<Vec<_>>()
        };
        let extra = names(&self.extra, "the extra search path", &mut problems);
        let templates = names(&self.templates, "the template schemas", &mut problems);
        check_schemas(&public, &extra, &templates, &mut problems);
        self.check_numbers(&mut problems);
        check_declarations(&public, &mut problems);
        let apps = in_order(self.apps, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Config { problems });
        }
        let apps = apps
            .into_iter()
            .map(|app| {
                let scripts = Script::load(&app)?;
                Ok(LoadedApp { app, scripts })
            })
            .collect::<Result<Vec<_>>>()?;
        let unique_columns = T::fields()
            .iter()
            .filter(|field| matches!(field.role, FieldRole::SchemaName | FieldRole::DomainUrl))
            .map(|field| field.column)
            .collect();
        let registry = Arc::new(Registry {
            apps,
            listeners: self.listeners,
            policy: Arc::new(Policy {
                public,
                include_shared: self.include_shared,
                extra,
                set_calls: self.set_calls,
                max_tenants: self.max_tenants,
                max_lifetime: self.max_lifetime,
                on_connect: self.on_connect,
                generation: AtomicU64::new(0),
                moved: Mutex::default(),
                hasher: RandomState::new(),
                moves: AtomicU64::new(0),
                met: Mutex::default(),
                origin: random::number(),
                rack: Rack::default(),
            }),
            templates,
            names: self.names,
            #[cfg(any(feature = "manage", feature = "resolve"))]
            database_url: self.database_url.clone(),
            watchers: Watchers::default(),
            new_schemas: Memory::default(),
            model: TypeId::of::<T>(),
            tenant_table: T::table(),
            domain_table: T::domains(),
            schema_column: column_of::<T>(FieldRole::SchemaName).unwrap_or("schema_name"),
            domain_column: column_of::<T>(FieldRole::DomainUrl),
            unique_columns,
        });
        // The pool would try until its time is over, and then say less.
        let mut first = secret::connect(&self.database_url)?;
        refuse_shared_sessions(&mut first, &self.database_url)?;
        for customize in &registry.policy.on_connect {
            customize
                .call(&mut first)
                .map_err(|error| Error::database("what `on_connect` does", error))?;
        }
        drop(first);
        let pool = Pool::builder()
            .max_size(self.pool_size)
            .min_idle(Some(self.min_idle))
            .connection_timeout(self.checkout_timeout)
            .max_lifetime(self.max_lifetime)
            .idle_timeout(self.idle_timeout)
            .connection_customizer(Box::new(Baseline {
                registry: Arc::clone(&registry),
            }))
            .build(ConnectionManager::new(self.database_url))?;
        Ok(Tenancy::new(pool, registry))
    }

    /// Finds sizes and times that can't be.
    fn check_numbers(&self, problems: &mut Vec<String>) {
        if self.pool_size == 0 {
            problems.push("the pool has no connections: give `pool_size` at least 1".to_owned());
        }
        if self.min_idle > self.pool_size {
            problems.push(format!(
                "`min_idle` is {}, more than the {} connections of `pool_size`",
                self.min_idle, self.pool_size
            ));
        }
        if self.max_tenants == 0 {
            problems.push(
                "a connection can't serve 0 tenants: give `max_tenants_per_connection` at least 1"
                    .to_owned(),
            );
        }
        for (duration, setter) in [
            (Some(self.checkout_timeout), "checkout_timeout"),
            (self.max_lifetime, "max_lifetime"),
            (self.idle_timeout, "idle_timeout"),
        ] {
            if duration == Some(Duration::ZERO) {
                problems.push(format!("`{setter}` is zero: give it some time"));
            }
        }
    }
}

/// Reports schemas that have two places at once.
fn check_schemas(
    public: &SchemaName,
    extra: &[SchemaName],
    templates: &[SchemaName],
    problems: &mut Vec<String>,
) {
    if extra.contains(public) {
        problems.push(format!(
            "schema {public} is both the public schema and an extra one: \
             use `include_shared` to say whether it is on the path"
        ));
    }
    for template in templates {
        if template == public || extra.contains(template) {
            problems.push(format!(
                "schema {template} is a template and on the search path: it can be one of them"
            ));
        }
    }
}

fn column_of<T: TenantModel>(role: FieldRole) -> Option<&'static str> {
    let mut fields = T::fields().iter();
    let field = fields.find(|field| field.role == role)?;
    Some(field.column)
}

impl<T> fmt::Debug for TenancyBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("TenancyBuilder")
            .field("apps", &self.apps)
            .field("pool_size", &self.pool_size)
            .field("public", &self.public)
            .field("set_calls", &self.set_calls)
            .finish_non_exhaustive()
    }
}
