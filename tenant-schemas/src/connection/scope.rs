//! [`Scope`]: whose data a connection sees, and [`Policy`]: the rules for all connections of a pool.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::name::SchemaName;
use crate::path::SearchPath;

use super::rack::Rack;

/// How often the search path is sent to the server; the guide's `TENANT_LIMIT_SET_CALLS`.
///
/// Round trips, as the server counts them, with the statements prepared already:
///
/// | | without tenancy | [`EveryCheckout`](Self::EveryCheckout) | [`WhenChanged`](Self::WhenChanged) | [`FirstStatement`](Self::FirstStatement) | [`EveryStatement`](Self::EveryStatement) |
/// |---|---|---|---|---|---|
/// | a checkout, same tenant again | 1 (the ping) | 1 | 0 | 0 | 1 |
/// | a checkout, another tenant | 1 | 1 | 1 | 0 | 1 |
/// | each statement | 1 | 1 | 1 | 1 | 2 |
/// | `BEGIN` and `COMMIT` | 2 | 2 | 2 | 2 | 3 |
///
/// With `FirstStatement`, a checkout that begins with a transaction, or with a statement that can't take
/// the path along, has that one round trip then.
///
/// On each connection a statement is prepared once for each tenant, which is one
/// round trip for its first use there; the path too, for a tenant that comes back.
/// A session whose settings someone changed is reset before it serves another tenant:
/// one more.
///
/// # Examples
///
/// The costly one, and what it is for:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use diesel::connection::SimpleConnection;
/// use tenant_schemas::SetCalls;
/// # use tenant_schemas::testing::TestTenancy;
///
/// # let tests = TestTenancy::<Client>::new(|builder| {
/// let builder = builder.app(Customers).app(Hotels).set_calls(SetCalls::EveryStatement);
/// # builder })?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// let mut conn = tenancy.tenant(&acme)?;
/// conn.batch_execute(
///     "CREATE FUNCTION wander() RETURNS void LANGUAGE plpgsql \
///      AS 'BEGIN SET search_path TO public; END'",
/// )?;
/// conn.batch_execute("SELECT wander()")?; // the text does not say it
/// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(0)); // found, in `acme`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCalls {
    /// Before every statement, and before `COMMIT`, at which deferred triggers run: one round trip more
    /// for each.
    ///
    /// For programs whose own SQL changes the path in places that no text shows,
    /// such as a `SET` in the body of a function that a query calls, and that
    /// go on using the same connection afterwards.
    EveryStatement,
    /// At every checkout, in the place of the pool's ping: no round trip more
    /// than a pool without tenancy.
    ///
    /// Whatever an earlier user of the connection did to the path can't matter.
    /// Within a checkout, SQL that may move the path makes the next statement
    /// send it again: text that mentions `search_path`, `set_config`,
    /// `pg_settings`, `RESET`, `DISCARD`, `EXECUTE` or `SET SCHEMA`, and any
    /// `DO`, `CALL`, `FETCH`, or transaction control by hand.
    ///
    /// A `SET ROLE` makes the next statement look for the schema again, which the role may not be allowed
    /// to use.
    ///
    /// Not seen is a `SET search_path` or `SET ROLE` in the body of a function that a query calls, or a
    /// trigger, or a view: PostgreSQL does not report it, and to ask would be a
    /// round trip. Give such a function a `SET search_path` clause in the place of it,
    /// which PostgreSQL undoes when the function returns; beside a clause, a `SET` in the body
    /// would stay all the same.
    ///
    /// Other settings and the role, which row security may go by, are reset before another tenant comes
    /// if a statement changed them, or called a function that is not one of PostgreSQL's best known
    /// ones. Not seen is what a trigger or a view changes.
    #[default]
    EveryCheckout,
    /// Only when the tenant is another than the connection's last one: a
    /// checkout for the same tenant sends nothing at all.
    ///
    /// As above, and what is not seen lasts beyond the checkout: a `SET` in the
    /// body of a function, a schema that another process dropped, a connection
    /// that died while it was idle (its first statement fails).
    WhenChanged,
    /// With the first statement of every checkout: no round trip of its own, where a pool without
    /// tenancy has its ping.
    ///
    /// A `SELECT` or `DELETE` that is built by Diesel's query builder, is of a type that says all of its text
    /// (not boxed), and has been first in a checkout of the tenant on this connection before,
    /// takes the path along as a parameter of a type of ours. All other statements, and `BEGIN`, are
    /// sent after the path, as with [`EveryCheckout`](Self::EveryCheckout). Either way the schema is looked for
    /// each time, and what another tenant left is removed before the statement runs. A checkout of the
    /// public schema sends its path at once.
    ///
    /// A session that has served 32 checkouts in a row with one such statement each, and is to turn to
    /// another tenant, goes home, where no name without a schema finds anybody's table: one round trip. From
    /// there a `SELECT` that reads plain tables of the tenant is sent with its schema in front of each,
    /// `"acme"."rooms"`, and nothing is turned or removed, which is a third less to do for the
    /// server. It is for texts with comparisons, joins and subselects, without functions but `COUNT(*)`, and
    /// without `LIMIT` behind `ORDER BY`. The statement has PostgreSQL itself make sure, whenever it plans it, that the tables are
    /// no views, have no row security, rules or children, no indexes that call functions, and
    /// columns of built-in types or enums alone, and that nobody has made operators `=`, `<` and the like (as `citext`
    /// and `hstore` do). All else is sent as above. If something that needs the path follows in such a checkout, it
    /// is sent first, a round trip more than if the first statement had taken it along; and the
    /// session does without this for the next 32. Each such statement is prepared once more for
    /// each tenant. To make sure takes as long as to plan it, so one that PostgreSQL plans each time
    /// is not sent from home any more when that is seen (from PostgreSQL 14 on).
    ///
    /// The type is a domain in the public schema, `__tenant_schemas_path_1`, with a function that
    /// it calls, and plain tables have another, `__tenant_schemas_plain_1`; a migration of the shared schema makes them. Without them, for a role that may not
    /// use them, and with a major version of PostgreSQL that is younger than this crate, the path
    /// is always sent ahead.
    ///
    /// What that gives up:
    ///
    /// - A checkout asks nobody, so it is the first statement that fails if the tenant has no schema
    ///   ([`Error::NoSuchSchema`](crate::Error::NoSuchSchema), in Diesel's error) or if the connection died while it was idle.
    /// - A cursor `WITH HOLD` that a function opens is not closed if the text shows no call of the function:
    ///   one that a trigger, a view, an operator, a default or a policy calls, or that is called like a column.
    ///   After the call of a function that is not one of PostgreSQL's best known ones, the next path is
    ///   sent ahead, and all is removed.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::SetCalls;
    /// # use tenant_schemas::testing::TestTenancy;
    ///
    /// # let tests = TestTenancy::<Client>::new(|builder| {
    /// let builder = builder.app(Customers).app(Hotels).set_calls(SetCalls::FirstStatement);
    /// # builder })?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let mut conn = tenancy.tenant(&acme)?; // nothing is sent
    /// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    FirstStatement,
}

/// What a program does to each new connection.
pub(crate) struct OnConnect(Box<Customize>);

type Customize = dyn Fn(&mut PgConnection) -> QueryResult<()> + Send + Sync;

impl OnConnect {
    pub(crate) fn new(
        f: impl Fn(&mut PgConnection) -> QueryResult<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(f))
    }

    pub(crate) fn call(&self, conn: &mut PgConnection) -> QueryResult<()> {
        (self.0)(conn)
    }
}

impl fmt::Debug for OnConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnConnect")
    }
}

/// How many changes there were, of which a connection may not have taken notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Schemas were changed: plans may be stuck on what was there before.
    pub(super) generation: u64,
    /// Names of schemas mean others: so may a path, and whoever left something there.
    pub(super) moves: u64,
    /// The connection's role may be another, which may not use the same schemas.
    pub(super) roles: u64,
}

/// How often something may have been rolled back on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Undone(pub(super) u64);

/// The rules for all connections of a pool.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) public: SchemaName,
    pub(crate) include_shared: bool,
    pub(crate) extra: Vec<SchemaName>,
    pub(crate) set_calls: SetCalls,
    pub(crate) max_tenants: usize,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) on_connect: Vec<OnConnect>,
    /// Counts changes to schemas: a plan that is older may be stuck on `public`.
    pub(crate) generation: AtomicU64,
    /// Names of schemas that were taken away from a tenant, or given to one, and when this process heard
    /// of it. By hashes: those of a directory have to be remembered, and they may be a million.
    pub(crate) moved: Mutex<HashMap<u64, Instant>>,
    pub(crate) hasher: RandomState,
    /// Counts these.
    pub(crate) moves: AtomicU64,
    /// The schemas in which some connection has been: it may have prepared statements there.
    pub(crate) met: Mutex<HashSet<SchemaName>>,
    /// By what this process knows changes of its own when it hears of them.
    pub(crate) origin: String,
    /// The sessions of the pool.
    pub(crate) rack: Rack,
}

impl Policy {
    /// The path of a scope in `schema`.
    pub(crate) fn path(&self, schema: &SchemaName) -> SearchPath {
        self.path_of(schema, self.include_shared)
    }

    /// The path on which migrations of `schema` run: alone with the extra ones, unless their app
    /// asks to see the shared one.
    pub(crate) fn migration_path(&self, schema: &SchemaName, sees_shared: bool) -> SearchPath {
        self.path_of(schema, sees_shared)
    }

    fn path_of(&self, schema: &SchemaName, shared: bool) -> SearchPath {
        let path = SearchPath::new(schema.clone());
        let path = if shared {
            path.shared(self.public.clone())
        } else {
            path
        };
        path.extra(self.extra.iter().cloned())
    }

    /// How much has changed so far.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch {
            generation: self.generation.load(Ordering::Acquire),
            moves: self.moves.load(Ordering::Acquire),
            roles: 0,
        }
    }

    /// A name means another schema from now on, or none: older scopes of it have ended.
    pub(crate) fn name_moved(&self, schema: &SchemaName) {
        self.names_moved([self.hash(schema.as_str())]);
    }

    /// The same of several names, as [hashes](Self::hash).
    pub(crate) fn names_moved(&self, names: impl IntoIterator<Item = u64>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        moved.extend(names.into_iter().map(|name| (name, now)));
        self.moves.fetch_add(1, Ordering::AcqRel);
    }

    /// A text as it is remembered of a million tenants. Two that have one hash end each other's scopes.
    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    /// Whether the name of a scope's schema has meant the same since then.
    pub(crate) fn means_the_same(&self, scope: &Scope) -> bool {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.is_empty()
            || moved
                .get(&self.hash(scope.schema().as_str()))
                .is_none_or(|moved| scope.since >= *moved)
    }

    /// A connection comes to a schema for the first time.
    pub(super) fn meet(&self, schema: &SchemaName) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.insert(schema.clone());
    }

    /// Whether some connection has been in a schema of this name.
    pub(crate) fn has_met(&self, schema: &SchemaName) -> bool {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.contains(schema)
    }

    /// Makes every connection of the pool forget its plans before it is used again.
    pub(crate) fn bump_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            public: SchemaName::public(),
            include_shared: true,
            extra: Vec::new(),
            set_calls: SetCalls::default(),
            max_tenants: super::MAX_TENANTS,
            max_lifetime: None,
            on_connect: Vec::new(),
            generation: AtomicU64::new(0),
            moved: Mutex::default(),
            hasher: RandomState::new(),
            moves: AtomicU64::new(0),
            met: Mutex::default(),
            origin: String::new(),
            rack: Rack::default(),
        }
    }
}

/// Whose data a connection sees: a search path, and the tenant if one was given.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) path: Arc<SearchPath>,
    pub(crate) tenant: Option<Arc<dyn Any + Send + Sync>>,
    /// When it was made, or the tenant's row was read: one that has the schema's name since is another.
    pub(crate) since: Instant,
    /// What had changed when its schema was looked for; `None` if it never was.
    pub(super) looked: Option<Epoch>,
    /// That was in a transaction, which may have made it: good until something is rolled back.
    pub(super) looked_inside: Option<Undone>,
}

impl Scope {
    pub(crate) fn new(path: SearchPath) -> Self {
        Self {
            path: Arc::new(path),
            tenant: None,
            since: Instant::now(),
            looked: None,
            looked_inside: None,
        }
    }

    /// The same, for a row that was not read before `read`: who was given its name since then is another.
    pub(crate) fn read_at(self, read: Instant) -> Self {
        Self {
            since: read,
            ..self
        }
    }

    pub(crate) fn with_tenant(self, tenant: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            tenant: Some(tenant),
            ..self
        }
    }

    /// The same scope, whose schema has another name now.
    pub(crate) fn followed(&self, path: SearchPath) -> Self {
        Self {
            tenant: self.tenant.clone(),
            ..Self::new(path)
        }
    }

    pub(crate) fn schema(&self) -> &SchemaName {
        self.path.schema()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
