//! [`TenantConnection`]: a Diesel connection that knows whose data it sees.
//!
//! Everything that needs Diesel's door for third-party connections is in this
//! module and those below it.

mod alone;
mod belief;
mod carry;
mod copy;
mod diesel_impl;
mod home;
mod own;
mod plans;
mod rack;
mod scope;
mod send;
mod served;
mod transaction;
mod turn;
mod watch;
mod written;

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection as _, SimpleConnection as _,
    TransactionManager as _,
};
use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::error::{Error, Result};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::sql;

use self::belief::{Belief, Beliefs};
use self::carry::Carrying;
use self::home::Home;
use self::plans::Plans;
use self::rack::Session;
use self::served::Served;
use self::watch::{Notes, Watch};
use self::written::Texts;

pub(crate) use self::rack::Rack;
pub use self::scope::SetCalls;
use self::scope::{Epoch, Undone};
pub(crate) use self::scope::{OnConnect, Policy, Scope};
pub use self::transaction::{TenantTransactionBuilder, TenantTransactionManager};

/// How many tenants a connection serves before it is closed, unless the builder says otherwise.
pub(crate) const MAX_TENANTS: usize = 200;

/// Work that waits for a commit.
struct AfterCommit {
    /// The level of transaction that has to be committed.
    depth: usize,
    /// It has others look again, also if nobody knows whether it was committed.
    invalidates: bool,
    work: Box<dyn FnOnce(&mut TenantConnection) + Send>,
}

/// A PostgreSQL connection that knows whose data it sees.
///
/// It is a Diesel connection in every way: queries, transactions, `COPY` and
/// migrations run unchanged, and unqualified names resolve in the schema of the
/// connection's scope. It dereferences to [`PgConnection`], so that functions
/// which take one can be called with `&mut conn`.
///
/// A connection without a scope refuses every statement. The pool of a
/// [`Tenancy`](crate::Tenancy) hands out connections that have one; the
/// scope ends when the connection goes back, and a connection whose state can't
/// be vouched for is closed instead.
///
/// # Isolation
///
/// Before a statement is sent, the path that the server has is known to be the
/// path of the scope, or is sent first; [`SetCalls`] says when it counts as
/// known. With [`SetCalls::FirstStatement`] a statement may name its schema itself instead, on a path on
/// which nothing else is found. A transaction has it from `BEGIN` on; a nested scope in it sets its own with `SET LOCAL`.
/// Prepared statements and the types that Diesel remembers are kept apart, tenant
/// by tenant, so that a connection that comes back to one finds its statements
/// planned. They end in a comment, such as `/*3*/`. Those of code that borrowed the
/// [`PgConnection`] can't be told apart: after a loan, all are forgotten when the
/// connection turns to another tenant.
///
/// A statement that found a shared table, because the tenant had none of that name,
/// is planned anew after a migration that made one. After one that was made by hand
/// it is not: other sessions go on reading the shared table until they close.
///
/// Between the checkouts of two tenants everything else is forgotten:
/// temporary tables, cursors, sequence values, session locks, notifications,
/// and, if a statement changed them, the role and the settings of the session.
/// An instrumentation that was set stays until the connection goes back. One
/// that is put on the borrowed [`PgConnection`] stays until the next statement.
///
/// # Which connection a tenant gets
///
/// Of those that are idle, the one that it had last, if nobody else came there since; or else
/// one that it had before, if possible not one whose last tenant comes back often; or else
/// one that has served few tenants. Nobody waits for a particular one. With
/// [`SetCalls::FirstStatement`], where it costs little to turn, it is the one that came back last of those that
/// it had before.
///
/// # Round trips
///
/// Choosing a tenant takes one, in the place of the pool's ping, or goes with its first query. A query or a
/// transaction takes as many as without tenancy; [`SetCalls`] has the numbers.
/// [`with_schema`](Self::with_schema) takes one there, and one back with the
/// next statement; in a transaction it takes two there.
///
/// # Examples
///
/// What one tenant leaves behind does not reach the next, though both use the
/// same connection:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use diesel::connection::SimpleConnection;
/// # use tenant_schemas::testing::TestTenancy;
/// # let tests = TestTenancy::<Client>::new(|builder| builder.app(Customers).app(Hotels).pool_size(1))?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// // built with `pool_size(1)`:
/// let mut conn = tenancy.tenant(&acme)?;
/// conn.batch_execute("INSERT INTO rooms VALUES (1, 'Blue'); CREATE TEMPORARY TABLE notes (line text)")?;
/// conn.batch_execute("SET search_path TO public; SET statement_timeout TO 1")?;
/// drop(conn);
///
/// let mut conn = tenancy.tenant(&globex)?;
/// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(0));
/// assert!(conn.batch_execute("SELECT * FROM notes").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Borrowed as Diesel's own connection, and `COPY` both ways:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use std::io::BufRead;
///
/// #[derive(Insertable)]
/// #[diesel(table_name = rooms, treat_none_as_default_value = false)]
/// struct Room {
///     id: i32,
///     name: String,
/// }
///
/// fn count(conn: &mut PgConnection) -> QueryResult<i64> {
///     rooms::table.count().get_result(conn)
/// }
///
/// let mut conn = tenancy.tenant(&acme)?;
/// let blue = Room { id: 1, name: "Blue".to_owned() };
/// diesel::copy_from(rooms::table).from_insertable(vec![blue]).execute(&mut *conn)?;
/// assert_eq!(count(&mut conn), Ok(1));
///
/// // Diesel keeps the trait behind `copy_to` to itself, so its connection is named:
/// let lines = diesel::copy_to(rooms::table).load_raw(&mut **conn)?.lines().count();
/// assert_eq!(lines, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TenantConnection {
    inner: Session,
    policy: Arc<Policy>,
    /// The tenancy that the connection belongs to, for the modules that know its type.
    owner: Option<Arc<dyn Any + Send + Sync>>,
    scope: Option<Scope>,
    beliefs: Beliefs,
    notes: Arc<Notes>,
    /// The path in use of those whose plans and types the caches hold.
    cached: Belief,
    plans: Plans,
    texts: Texts,
    /// The path of the checkout whose temporary tables, cursors and settings
    /// the session may hold; `None` if it may hold those of several.
    resident: Belief,
    /// Some tenant may have left something since everything was removed from the session.
    stained: bool,
    /// The changes that plans and whoever left something take notice of.
    epoch: Epoch,
    /// What the user asked of Diesel's statement cache.
    cache_size: CacheSize,
    /// The user set an instrumentation of their own.
    instrumented: bool,
    served: Served,
    /// Whether [`run_alone`](Self::run_alone) can be called; `None` if nobody looked.
    alone: Option<bool>,
    broken: bool,
    /// When the session began.
    born: Instant,
    /// How often its tenant was there to stay, lately.
    credit: u64,
    carrying: Carrying,
    home: Home,
    after_commit: Vec<AfterCommit>,
    /// How often something may have been rolled back.
    undone: Undone,
    /// How often the role may have become another.
    roles: u64,
}

impl TenantConnection {
    fn new(inner: PgConnection) -> Self {
        let mut conn = Self::with(Session::new(inner), Arc::default(), Arc::default());
        conn.watch();
        conn
    }

    fn with(inner: Session, policy: Arc<Policy>, notes: Arc<Notes>) -> Self {
        Self {
            inner,
            policy,
            owner: None,
            scope: None,
            beliefs: Beliefs::default(),
            notes,
            cached: None,
            plans: Plans::default(),
            texts: Texts::default(),
            resident: None,
            stained: false,
            epoch: Epoch::default(),
            cache_size: CacheSize::Unbounded,
            instrumented: false,
            served: Served::default(),
            alone: None,
            broken: false,
            born: Instant::now(),
            credit: 0,
            carrying: Carrying::default(),
            home: Home::default(),
            after_commit: Vec::new(),
            undone: Undone::default(),
            roles: 0,
        }
    }

    /// Makes the connection one of a pool: its rules, and a path on which nothing is found.
    pub(crate) fn join(
        &mut self,
        policy: Arc<Policy>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> QueryResult<()> {
        self.epoch = policy.epoch();
        self.notes.join(Arc::clone(&policy));
        self.policy = policy;
        self.owner = Some(owner);
        self.customize()?;
        self.own_now(|inner| inner.batch_execute(sql::session::CLOSED_PATH))?;
        // Whoever comes next may choose it, whichever shell they are handed.
        self.park();
        Ok(())
    }

    /// Does what the program does to each new connection.
    fn customize(&mut self) -> QueryResult<()> {
        let policy = Arc::clone(&self.policy);
        for customize in &policy.on_connect {
            self.own_now(|inner| customize.call(inner))?;
        }
        if !Watch::is_kept(self.inner.instrumentation(), &self.notes) {
            self.watch();
        }
        Ok(())
    }

    /// The tenancy that the connection belongs to, if it is an `O`.
    pub(crate) fn owner<O: Send + Sync + 'static>(&self) -> Option<Arc<O>> {
        Arc::clone(self.owner.as_ref()?).downcast().ok()
    }

    /// The schema of the scope; `None` if no scope was chosen.
    #[must_use]
    pub fn schema_name(&self) -> Option<&SchemaName> {
        self.scope.as_ref().map(Scope::schema)
    }

    /// The search path of the scope; `None` if no scope was chosen.
    #[must_use]
    pub fn search_path(&self) -> Option<&SearchPath> {
        self.scope.as_ref().map(|scope| &*scope.path)
    }

    /// The tenant of the scope; `None` if the scope was chosen by a schema's name, or is public.
    #[must_use]
    pub fn tenant<T: TenantModel>(&self) -> Option<&T> {
        self.scope.as_ref()?.tenant.as_deref()?.downcast_ref()
    }

    /// Turns the connection to `tenant`, for as long as it is checked out.
    ///
    /// It is as if it were checked out anew: if the tenant is another, temporary
    /// tables, cursors and settings of the session are gone.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let mut conn = tenancy.tenant(&acme)?;
    /// conn.set_tenant(&globex)?;
    /// assert_eq!(conn.schema_name(), Some(&globex.schema_name));
    ///
    /// let inside = conn.transaction(|conn| conn.set_tenant(&acme));
    /// assert!(matches!(inside, Err(tenant_schemas::Error::InsideTransaction { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InsideTransaction`] inside a transaction. [`Error::NoSuchSchema`]
    /// if the tenant has no schema; the connection has no scope then.
    pub fn set_tenant<T: TenantModel>(&mut self, tenant: &T) -> Result<()> {
        let scope = self.tenant_scope(tenant);
        self.turn_to(scope)
    }

    /// Turns the connection to `schema`, for as long as it is checked out.
    ///
    /// # Errors
    ///
    /// As [`set_tenant`](Self::set_tenant).
    pub fn set_schema(&mut self, schema: &SchemaName) -> Result<()> {
        let scope = Scope::new(self.policy.path(schema));
        self.turn_to(scope)
    }

    /// Turns the connection to the public schema, for as long as it is checked out.
    ///
    /// # Errors
    ///
    /// As [`set_tenant`](Self::set_tenant).
    pub fn set_public(&mut self) -> Result<()> {
        let public = self.policy.public.clone();
        self.set_schema(&public)
    }

    /// Runs `f` with the connection turned to `tenant`.
    ///
    /// Scopes nest, in transactions too. The outer scope is back when `f`
    /// returns, fails or panics.
    ///
    /// It is the same session: temporary tables, settings, the role and locks stay, those of the
    /// outer scope and those that `f` leaves, which one tenant after the other would find. A walk over all
    /// tenants is [`for_each_tenant`](crate::Tenancy::for_each_tenant). What `f` defers to the end of
    /// an outer transaction, such as a deferred trigger, runs on the outer scope's path: let it run inside,
    /// with `SET CONSTRAINTS ALL IMMEDIATE`.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let mut conn = tenancy.tenant(&acme)?;
    /// conn.transaction(|conn| {
    ///     let theirs: i64 = conn.with_tenant(&globex, |conn| rooms::table.count().get_result(conn))?;
    ///     assert_eq!(theirs, 0);
    ///     assert_eq!(conn.tenant(), Some(&acme)); // it is back
    ///     diesel::result::QueryResult::Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever `f` returns. [`Error::NoSuchSchema`], without calling `f`, if the
    /// tenant has no schema.
    pub fn with_tenant<T, R, E>(
        &mut self,
        tenant: &T,
        f: impl FnOnce(&mut Self) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E>
    where
        T: TenantModel,
        E: From<Error>,
    {
        let scope = self.tenant_scope(tenant);
        self.lend(scope, f)
    }

    /// Runs `f` with the connection turned to `schema`.
    ///
    /// Scopes nest as with [`with_tenant`](Self::with_tenant).
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// use tenant_schemas::Error;
    ///
    /// let mut conn = tenancy.public()?;
    /// let rooms = conn.with_schema(&acme.schema_name, |conn| {
    ///     Ok::<i64, Error>(rooms::table.count().get_result(conn)?)
    /// })?;
    /// assert_eq!(rooms, 0);
    ///
    /// let missing = conn.with_schema(&"nobody".parse()?, |_| Ok::<(), Error>(()));
    /// assert!(matches!(missing, Err(Error::NoSuchSchema { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever `f` returns. [`Error::NoSuchSchema`], without calling `f`, if there
    /// is no such schema: PostgreSQL would skip it in silence and look in the next one.
    pub fn with_schema<R, E>(
        &mut self,
        schema: &SchemaName,
        f: impl FnOnce(&mut Self) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E>
    where
        E: From<Error>,
    {
        let scope = Scope::new(self.policy.path(schema));
        self.lend(scope, f)
    }

    /// Runs `f` with the connection turned to the public schema.
    ///
    /// # Errors
    ///
    /// As [`with_schema`](Self::with_schema).
    pub fn with_public<R, E>(
        &mut self,
        f: impl FnOnce(&mut Self) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E>
    where
        E: From<Error>,
    {
        let public = self.policy.public.clone();
        self.with_schema(&public, f)
    }

    /// Starts building a transaction with an isolation level or an access mode.
    ///
    /// As [`PgConnection::build_transaction`], and the closure gets the tenant's connection.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let mut conn = tenancy.tenant(&acme)?;
    /// let rooms: i64 = conn
    ///     .build_transaction()
    ///     .serializable()
    ///     .read_only()
    ///     .run(|conn| rooms::table.count().get_result(conn))?;
    /// assert_eq!(rooms, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build_transaction(&mut self) -> TenantTransactionBuilder<'_> {
        TenantTransactionBuilder::new(self)
    }

    /// How many tenants the connection has served since it was opened; those are not counted
    /// whose schemas it did nothing but migrate, in one message.
    #[must_use]
    pub fn tenants_served(&self) -> usize {
        self.served.count()
    }

    /// Whether the scope is that of the public schema.
    #[cfg(feature = "jobs")]
    pub(crate) fn is_public(&self) -> bool {
        self.schema_name() == Some(&self.policy.public)
    }

    /// Whether the connection to the server is gone.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.status().transaction_depth().is_err()
    }

    /// Whether the session is older than the pool admits.
    fn is_expired(&self) -> bool {
        let most = self.policy.max_lifetime;
        most.is_some_and(|most| self.born.elapsed() >= most)
    }

    /// Whether the pool will close the connection.
    pub(crate) fn is_condemned(&self) -> bool {
        self.broken
    }

    /// Marks the connection as one that the pool has to close.
    pub(crate) fn condemn(&mut self) {
        self.broken = true;
    }

    /// Runs `f` once the outermost transaction is committed; now, if there is none.
    ///
    /// It does not run if the transaction, or the savepoint it is in, is rolled back.
    pub(crate) fn after_commit(&mut self, f: impl FnOnce(&mut Self) + Send + 'static) {
        self.when_committed(false, f);
    }

    /// The same, before all other work, and also if nobody knows whether the commit succeeded.
    pub(crate) fn invalidate_after_commit(&mut self, f: impl FnOnce(&mut Self) + Send + 'static) {
        self.when_committed(true, f);
    }

    fn when_committed(&mut self, invalidates: bool, f: impl FnOnce(&mut Self) + Send + 'static) {
        self.resync();
        if invalidates {
            self.notes.unsettle();
        }
        match self.beliefs.depth() {
            0 => f(self),
            depth => self.after_commit.push(AfterCommit {
                depth,
                invalidates,
                work: Box::new(f),
            }),
        }
    }

    /// Looks names up anew in a schema in which nobody else has been: it may have changed on the way.
    pub(crate) fn forget_plans_of(&mut self, schema: &SchemaName) {
        self.plans.forget(schema);
        if self
            .cached
            .as_ref()
            .is_some_and(|path| path.schema() == schema)
        {
            self.cached = None;
        }
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&mut self) -> bool {
        self.resync();
        self.beliefs.depth() > 0
    }

    /// Whether the path is that of the scope, and stays it whatever is rolled back.
    pub(super) fn has_path_throughout(&self) -> bool {
        let scope = self.scope.as_ref();
        scope.is_some_and(|scope| self.beliefs.hold_throughout(&scope.path))
    }

    fn in_test_transaction(&mut self) -> bool {
        !AnsiTransactionManager::is_broken_transaction_manager(&mut *self.inner)
    }
}

impl Deref for TenantConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

/// Lends the inner connection, on the path of the scope.
///
/// SQL that is sent through it is watched like any other.
///
/// # Panics
///
/// If the path of the scope can't be established: in a failed transaction whose
/// path is not known, or was another scope's before, where a rollback would lead nobody knows where. Without a
/// scope, the inner connection has a path on which no unqualified name is found; so it does
/// with [`SetCalls::FirstStatement`] if the tenant turns out to have no schema.
impl DerefMut for TenantConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        let prepared = if self.scope.is_some() {
            self.observe();
            let mut prepared = if self.transaction_has_failed() && self.has_path_throughout() {
                // All that can be done is a rollback, wherever to.
                Ok(())
            } else {
                self.ensure()
            };
            if let Err(error) = &prepared
                && self.carrying.due
            {
                // The checkout asked nobody. Whoever borrows finds nothing, as without a scope.
                log::warn!("a connection is lent on a path without a schema: {error}");
                prepared = self.close_path();
            }
            // What a borrower prepares has no mark.
            self.plans.mix();
            prepared
        } else {
            self.close_path()
        };
        if let Err(error) = prepared {
            // On a connection that is gone nothing runs, on whatever path.
            assert!(
                self.is_gone(),
                "the search path could not be established, and no query may run without it: {error}"
            );
        }
        &mut self.inner
    }
}

impl fmt::Debug for TenantConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantConnection")
            .field("scope", &self.scope)
            .field("tenants_served", &self.served.count())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
