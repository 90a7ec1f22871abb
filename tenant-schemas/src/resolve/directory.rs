//! [`Directory`]: which tenant that is, most of the time without asking the database.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, GuardResult};
use quick_cache::{DefaultHashBuilder, UnitWeighter};

use super::asked::{Asked, By, Key, Stale};
use super::{Question, hostname, listen};
use crate::changes::{Change, Watcher};
use crate::connection::Scope;
use crate::error::{Error, Result};
use crate::model::TenantModel;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::provision::Lifecycle as _;
use crate::tenancy::{Tenancy, checkout};

/// How long a request waits for another one that asks the database for the same tenant.
const PATIENCE: Duration = Duration::from_secs(5);

/// More names than this are not kept: 16 MB.
pub(super) const MAX_NAMES: usize = 1_000_000;

/// Knows the tenants by what requests say of them. Cloning is cheap; clones share what is remembered.
///
/// It remembers tenants that were asked for, and the names of all that there are.
/// A request for a tenant that it remembers costs no query, one for a tenant that
/// does not exist neither: whoever makes up hosts floods nothing. Both take a
/// bounded amount of memory.
///
/// A thread of its own listens, on a connection beside the pool, to what the
/// database says of tenants and domains: when one is saved, renamed or deleted,
/// by any program or by hand, every process knows a moment after the commit (the
/// process that did it, at once). A thread that can't vouch for that says so: then
/// every request asks the database until the connection is there again. What is
/// remembered is asked anew after the [time to live](DirectoryBuilder::time_to_live)
/// in any case, and the names of all tenants are read anew.
///
/// What the process has of a tenant, such as the `TenantDb` of a body that is streamed, ends when the
/// name of its schema is taken away: what it does next fails with [`Error::NoSuchSchema`], and reads
/// nothing of the tenant that may have the name now. If the connection was cut off, that is found out when
/// it is there again, and what nobody announces when the names are read anew: a name that belongs to
/// another key than before, or to nobody, unless there are more than a million tenants. What was there of
/// a tenant that was saved just before the cut ends too.
///
/// The announcements come from triggers, which a run of the shared migrations makes.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let mut acme = client(tenancy, "acme")?;
/// use tenant_schemas::resolve::Directory;
///
/// let directory = Directory::builder(tenancy).build();
/// assert_eq!(directory.by_domain("acme.my-domain.com")?.as_deref(), Some(&acme));
/// assert_eq!(directory.by_domain("nobody.my-domain.com")?, None);
///
/// acme.domain_url = "acme.com".to_owned();
/// acme.save(&mut *tenancy.public()?)?;
/// assert_eq!(directory.by_domain("acme.my-domain.com")?, None);
/// assert_eq!(directory.by_domain("acme.com")?.as_deref(), Some(&acme));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Directory<T: TenantModel>(Arc<Inner<T>>);

/// Builds a [`Directory`].
#[derive(Debug)]
#[must_use = "nothing happens before `build` is called"]
pub struct DirectoryBuilder<T: TenantModel> {
    tenancy: Tenancy<T>,
    capacity: usize,
    time_to_live: Duration,
    listen: bool,
    listen_url: Option<String>,
    know_names: bool,
}

impl<T: TenantModel> DirectoryBuilder<T> {
    /// Sets how many tenants are remembered. Defaults to 10,000.
    pub fn capacity(self, tenants: usize) -> Self {
        Self {
            capacity: tenants.max(1),
            ..self
        }
    }

    /// Sets after how long the database is asked anew, announcements or not. Defaults to 60 s.
    ///
    /// The names of all tenants are read anew then too, but no more often than takes a
    /// twentieth of the time.
    pub fn time_to_live(self, time: Duration) -> Self {
        Self {
            time_to_live: time,
            ..self
        }
    }

    /// Sets whether to listen to what the database says. Defaults to `true`.
    ///
    /// Without it, a change by another process is seen when the time to live is
    /// over, and each host that does not exist costs a query.
    pub fn listen(self, listen: bool) -> Self {
        Self { listen, ..self }
    }

    /// Sets where to listen. Defaults to the URL of the tenancy's database.
    ///
    /// For programs behind a pooler that keeps no connection for a listener. Unless the URL
    /// has them, `connect_timeout` is 5 seconds and `tcp_user_timeout` 4: a server that is
    /// gone without a word is found out by then.
    pub fn listen_on(self, database_url: impl Into<String>) -> Self {
        Self {
            listen_url: Some(database_url.into()),
            ..self
        }
    }

    /// Sets whether the names of all tenants are kept, so that what is not among them
    /// is no tenant, without a query. Defaults to `true`.
    ///
    /// Switch it off for a tenant model that finds tenants by more than the names
    /// in its tables, because its `row_by_domain` is written by hand.
    pub fn know_names(self, know: bool) -> Self {
        Self {
            know_names: know,
            ..self
        }
    }

    /// Makes the directory, and waits until it listens, at most 5 s.
    ///
    /// It fails in no way: without a listener, each request asks the database.
    #[must_use]
    pub fn build(self) -> Directory<T> {
        let inner = Arc::new(Inner {
            known: Cache::new(self.capacity),
            absent: Cache::new(self.capacity.min(1_000)),
            state: RwLock::new(State {
                epoch: 0,
                names: None,
            }),
            hasher: RandomState::new(),
            born: Instant::now(),
            vouched_until: AtomicU64::new(0),
            counts: Counts::default(),
            time_to_live: self.time_to_live,
            listens: self.listen,
            knows_names: self.know_names && self.listen,
            tenancy: self.tenancy,
        });
        let watcher: Weak<Inner<T>> = Arc::downgrade(&inner);
        inner.tenancy.registry().watchers.add(watcher);
        if self.listen {
            let registry = inner.tenancy.registry();
            let url = self
                .listen_url
                .unwrap_or_else(|| registry.database_url.clone());
            listen::start(&inner, url);
        }
        Directory(inner)
    }
}

impl<T: TenantModel> Directory<T> {
    /// Starts building a directory of a tenancy's tenants.
    pub fn builder(tenancy: &Tenancy<T>) -> DirectoryBuilder<T> {
        DirectoryBuilder {
            tenancy: tenancy.clone(),
            capacity: 10_000,
            time_to_live: Duration::from_mins(1),
            listen: true,
            listen_url: None,
            know_names: true,
        }
    }

    /// The tenant that has a domain: a host, as [`RequestHead::host`](super::RequestHead::host) returns it.
    ///
    /// # Errors
    ///
    /// If the database has to be asked, and can't be.
    pub fn by_domain(&self, domain: &str) -> Result<Option<Arc<T>>> {
        self.find(&Question::Domain(Cow::Borrowed(domain)))
    }

    /// The tenant of a schema.
    ///
    /// # Errors
    ///
    /// If the database has to be asked, and can't be.
    pub fn by_schema(&self, schema: &str) -> Result<Option<Arc<T>>> {
        self.find(&Question::Schema(Cow::Borrowed(schema)))
    }

    /// The tenant that is asked for; that of the public schema, if it has one, for [`Question::Public`].
    ///
    /// It may ask the database, and then blocks. Of those who ask for the same tenant at the
    /// same time one asks the database, and the others wait for its answer, for 5 seconds at most;
    /// while the directory can't hear of changes, each asks for itself.
    ///
    /// # Errors
    ///
    /// If the database has to be asked, and can't be.
    pub fn find(&self, question: &Question<'_>) -> Result<Option<Arc<T>>> {
        let asked = self.0.asked(question);
        match self.0.remembered(asked) {
            Remembered::Tenant(tenant) => Ok(Some(tenant)),
            Remembered::Nobody => Ok(None),
            Remembered::Nothing => self.0.ask_once(asked, None),
        }
    }

    /// As [`find`](Self::find), waiting no longer than until `deadline` for those who ask the same,
    /// and for a connection.
    #[cfg(feature = "web")]
    pub(crate) fn find_until(
        &self,
        question: &Question<'_>,
        deadline: Instant,
    ) -> Result<Option<Arc<T>>> {
        let asked = self.0.asked(question);
        match self.0.remembered(asked) {
            Remembered::Tenant(tenant) => Ok(Some(tenant)),
            Remembered::Nobody => Ok(None),
            Remembered::Nothing => self.0.ask_once(asked, Some(deadline)),
        }
    }

    /// The answer, if it is to be had without the database. Allocates nothing.
    #[cfg(feature = "web")]
    pub(crate) fn remembered(&self, question: &Question<'_>) -> Remembered<Arc<T>> {
        self.0.remembered(self.0.asked(question))
    }

    /// Forgets all tenants that are remembered.
    pub fn clear(&self) {
        self.0.changed(&[Change::Anything]);
    }

    /// Whether the directory hears of changes at this moment.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.0.listens && self.0.is_vouched_for(Instant::now())
    }

    /// How many requests were answered out of memory since the directory was made.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.0.counts.hits.load(Ordering::Relaxed)
    }

    /// How often the database was asked since the directory was made.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.0.counts.queries.load(Ordering::Relaxed)
    }

    /// How many tenants are remembered, by all the names under which they were asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.known.len()
    }

    /// Whether no tenant is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: TenantModel> Clone for Directory<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: TenantModel> fmt::Debug for Directory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("len", &self.len())
            .field("hits", &self.hits())
            .field("queries", &self.queries())
            .field("is_listening", &self.is_listening())
            .finish_non_exhaustive()
    }
}

struct Entry<T> {
    tenant: Arc<T>,
    since: Instant,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            tenant: Arc::clone(&self.tenant),
            since: self.since,
        }
    }
}

/// What every answer depends on. Whoever remembers one holds it, whoever makes answers stale takes it alone.
struct State {
    /// Counts changes: an answer that was under way meanwhile is not remembered.
    epoch: u64,
    /// Hashes of the names of all tenants; `None` if they are not known.
    names: Option<HashSet<u64>>,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    queries: AtomicU64,
}

/// The names of all tenants: schemas, and domains.
pub(super) type Names = (Vec<String>, Vec<String>);

/// What is known without the database.
pub(crate) enum Remembered<V> {
    Tenant(V),
    /// There is no such tenant.
    Nobody,
    /// The database has to be asked.
    Nothing,
}

pub(super) struct Inner<T: TenantModel> {
    pub(super) tenancy: Tenancy<T>,
    known: Cache<Key, Entry<T>, UnitWeighter, DefaultHashBuilder>,
    /// Names that are known and lead to no tenant, as those of a domain that was deleted.
    absent: Cache<Key, Instant, UnitWeighter, DefaultHashBuilder>,
    state: RwLock<State>,
    /// Keyed at random: nobody can make up a name that looks like a tenant's.
    hasher: RandomState,
    born: Instant,
    /// Until when the listener vouches for what is remembered, in milliseconds since `born`.
    vouched_until: AtomicU64,
    counts: Counts,
    pub(super) time_to_live: Duration,
    listens: bool,
    pub(super) knows_names: bool,
}

impl<T: TenantModel> Inner<T> {
    fn asked<'a>(&'a self, question: &'a Question<'_>) -> Asked<'a> {
        let (by, name) = match question {
            Question::Domain(domain) => (By::Domain, &**domain),
            Question::Schema(schema) => (By::Schema, &**schema),
            Question::Public => (By::Schema, self.tenancy.registry().public().as_str()),
        };
        Asked { by, name }
    }

    fn remembered(&self, asked: Asked<'_>) -> Remembered<Arc<T>> {
        let now = Instant::now();
        if self.listens && !self.is_vouched_for(now) {
            return Remembered::Nothing;
        }
        let fresh = |since: Instant| now.saturating_duration_since(since) < self.time_to_live;
        if let Some(entry) = self.known.get(&asked) {
            if fresh(entry.since) {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                return Remembered::Tenant(entry.tenant);
            }
            return Remembered::Nothing;
        }
        let is_nobodys = self.is_no_name(asked) || self.absent.get(&asked).is_some_and(fresh);
        // The names may be those of a listener that has just begun.
        if is_nobodys && (!self.listens || self.is_vouched_for(Instant::now())) {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
            return Remembered::Nobody;
        }
        Remembered::Nothing
    }

    /// Whether the names are known, and this one is not among them.
    fn is_no_name(&self, asked: Asked<'_>) -> bool {
        let state = self.read();
        let Some(names) = &state.names else {
            return false;
        };
        let is_name = |name: &str| names.contains(&self.hash(asked.by, name));
        let other = match asked.by {
            By::Domain => hostname::other_spelling(asked.name),
            By::Schema => None,
        };
        !is_name(asked.name) && !other.is_some_and(|other| is_name(&other))
    }

    /// Asks the database, or waits for someone who does.
    fn ask_once(&self, asked: Asked<'_>, deadline: Option<Instant>) -> Result<Option<Arc<T>>> {
        let key = Key::from(&asked);
        let patience = left(deadline).map_or(PATIENCE, |left| left.min(PATIENCE));
        for _ in 0..2 {
            if self.listens && !self.is_vouched_for(Instant::now()) {
                break; // what the other one finds may be older than what we are to find
            }
            match self.known.get_value_or_guard(&key, Some(patience)) {
                GuardResult::Value(entry) if entry.since.elapsed() < self.time_to_live => {
                    return Ok(Some(entry.tenant));
                }
                GuardResult::Value(stale) => {
                    let since = stale.since;
                    self.known
                        .remove_if(&asked, |entry: &Entry<T>| entry.since == since);
                }
                GuardResult::Guard(guard) => {
                    // The one before us may have found out that there is none.
                    if let Remembered::Nobody = self.remembered_absent(asked) {
                        return Ok(None);
                    }
                    let epoch = self.read().epoch;
                    let since = Instant::now();
                    let found = self.ask(asked, deadline)?;
                    let state = self.read();
                    if state.epoch == epoch && (!self.listens || self.is_vouched_for(since)) {
                        match &found {
                            // It is refused if the place was cleared, which is as good.
                            Some(tenant) => drop(guard.insert(Entry {
                                tenant: Arc::clone(tenant),
                                since,
                            })),
                            None => self.absent.insert(key, since),
                        }
                    }
                    return Ok(found);
                }
                GuardResult::Timeout => break,
            }
        }
        self.ask(asked, deadline)
    }

    fn remembered_absent(&self, asked: Asked<'_>) -> Remembered<Arc<T>> {
        match self.absent.get(&asked) {
            Some(since) if since.elapsed() < self.time_to_live => Remembered::Nobody,
            _ => Remembered::Nothing,
        }
    }

    fn ask(&self, asked: Asked<'_>, deadline: Option<Instant>) -> Result<Option<Arc<T>>> {
        self.counts.queries.fetch_add(1, Ordering::Relaxed);
        let registry = self.tenancy.registry();
        let public = Scope::new(registry.policy.path(registry.public()));
        let mut conn = checkout(self.tenancy.pool(), &public, left(deadline))?;
        let found = match asked.by {
            By::Schema => {
                // What can't be a name is nobody's; the server is not asked.
                if SchemaName::with_policy(asked.name, SchemaNamePolicy::Quoted).is_err() {
                    return Ok(None);
                }
                T::by_schema(&mut conn, asked.name)?
            }
            // No text of PostgreSQL's has a zero in it.
            By::Domain if asked.name.contains('\0') => return Ok(None),
            By::Domain => match T::by_domain(&mut conn, asked.name)? {
                Some(found) => Some(found),
                None => match hostname::other_spelling(asked.name) {
                    Some(other) => T::by_domain(&mut conn, &other)?,
                    None => None,
                },
            },
        };
        Ok(found.map(Arc::new))
    }

    /// Forgets everything, and collects the names that come from here on, for
    /// [`renew`](Self::renew); returns since when, as that takes it.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.write();
        state.epoch += 1;
        state.names = self.knows_names.then(HashSet::new);
        self.known.clear();
        self.absent.clear();
        state.epoch
    }

    /// Takes `names`, which were read since `epoch`, for all that there are.
    ///
    /// What nobody announces is found out by that: rows that came by replication,
    /// or while the triggers were switched off.
    pub(super) fn renew(&self, names: Option<Names>, epoch: u64) {
        let mut names = names.map(|names| self.hashes(&names));
        let mut state = self.write();
        if state.epoch != epoch {
            // Some of those that came meanwhile may not have been read.
            names = match (names, &state.names) {
                (Some(mut new), Some(known)) => {
                    new.extend(known);
                    Some(new)
                }
                _ => None,
            };
        }
        state.names = names;
    }

    /// Counts changes.
    pub(super) fn epoch(&self) -> u64 {
        self.read().epoch
    }

    fn hashes(&self, (schemas, domains): &Names) -> HashSet<u64> {
        let schemas = schemas.iter().map(|name| self.hash(By::Schema, name));
        let domains = domains.iter().map(|name| self.hash(By::Domain, name));
        schemas.chain(domains).collect()
    }

    /// Lets what is remembered be believed until `until`.
    pub(super) fn vouch(&self, until: Instant) {
        let until = until.saturating_duration_since(self.born).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.vouched_until.store(until, Ordering::Release);
    }

    fn is_vouched_for(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.born).as_millis();
        now < u128::from(self.vouched_until.load(Ordering::Acquire))
    }

    fn hash(&self, by: By, name: &str) -> u64 {
        self.hasher.hash_one(Asked { by, name })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: TenantModel> Watcher for Inner<T> {
    fn changed(&self, changes: &[Change]) {
        let mut state = self.write();
        state.epoch += 1;
        if let Some(names) = &mut state.names {
            names.extend(changes.iter().filter_map(|change| match change {
                Change::Tenant(schema) => Some(self.hash(By::Schema, schema)),
                Change::Domain(domain) => Some(self.hash(By::Domain, domain)),
                Change::Name { .. } | Change::Anything => None,
            }));
            if names.len() > MAX_NAMES {
                state.names = None;
            }
        }
        let outdated = Stale::of(changes);
        self.known
            .retain(|key, entry| !outdated.has(key, entry.tenant.schema_name().as_str()));
        self.absent.clear();
        drop(state);
        self.end_scopes(changes);
    }
}

impl<T: TenantModel> Inner<T> {
    /// Ends the scopes of names that other processes took away from their tenants. What this one does
    /// ends them at once; to hear of it later would end those of the next who has the name.
    fn end_scopes(&self, changes: &[Change]) {
        let policy = &self.tenancy.registry().policy;
        for change in changes {
            if let Change::Name { origin, schema } = change
                && *origin != policy.origin
                && let Ok(schema) = SchemaName::with_policy(schema, SchemaNamePolicy::Quoted)
            {
                policy.name_moved(&schema);
            }
        }
    }
}

/// The time until `deadline`.
fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// What the listener has to read before the directory can be believed.
pub(super) fn missing_announcements(table: &str) -> Error {
    Error::Config {
        problems: vec![format!(
            "changes of {table} are not announced: run the shared migrations, which make its triggers"
        )],
    }
}
