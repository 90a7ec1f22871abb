//! [`Site`]: how requests are turned into tenants.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::db::{PublicDb, TenantDb, Waiting};
use super::observe;
use super::refusal::Refusal;
use crate::connection::Scope;
use crate::error::{Error, Result};
use crate::event::panic_message;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::resolve::{
    Answer, Directory, Host, Malformed, Question, Remembered, RequestHead, Resolver,
};
use crate::tenancy::Tenancy;

/// A request does not wait longer than a day. What is longer may be no time on the clock.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How many requests may ask the database for tenants that are not remembered, at the same time.
const LOOKUPS: usize = 4;

/// How requests are turned into tenants. Cloning is cheap; clones are the same site.
///
/// A framework's layer or middleware does this with each request; another server can:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// use tenant_schemas::resolve::{Host, PathPrefix, RequestHead};
/// use tenant_schemas::web::{Site, Visit};
///
/// let site = Site::builder(tenancy)
///     .resolver(PathPrefix::after("/t"))
///     .resolver(Host::new())
///     .bypass("/healthz")
///     .build();
///
/// # runtime.block_on(async {
/// let request = RequestHead::new("my-domain.com", "/t/acme/rooms");
/// let admission = site.admit(site.read(&request)?).await?;
/// assert_eq!(admission.stripped, "/t/acme".len());
/// let Visit::Tenant(client) = admission.visit else { panic!("it is acme's") };
/// let db = site.tenant_db(&client);
/// let rooms = db.run(|conn| rooms::table.count().get_result(conn)).await;
/// assert_eq!(rooms, Ok(0));
///
/// let request = RequestHead::new("nobody.my-domain.com", "/rooms");
/// let refusal = site.admit(site.read(&request)?).await.unwrap_err();
/// assert_eq!(refusal.status(), 404);
/// # Ok::<(), tenant_schemas::web::Refusal>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Site<T: TenantModel>(Arc<Inner<T>>);

struct Inner<T: TenantModel> {
    tenancy: Tenancy<T>,
    directory: Directory<T>,
    resolvers: Vec<Box<dyn Resolver>>,
    unknown: Unknown,
    bypassed: Vec<String>,
    suspended: Option<Box<Suspended<T>>>,
    group: Option<Box<Group<T>>>,
    wait: Duration,
    /// One permit for each of the pool's connections.
    connections: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

type Suspended<T> = dyn Fn(&T) -> bool + Send + Sync;
type Group<T> = dyn Fn(&T) -> &'static str + Send + Sync;

/// What becomes of a request for a tenant that does not exist.
///
/// If the resolver's answer was not [`or_next`](crate::resolve::Answer::or_next), as that of a header or a
/// claim, the request is refused in any case: it has said whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// It is refused with 404.
    #[default]
    NotFound,
    /// It is refused with 400.
    BadRequest,
    /// It is served as one for what all tenants share.
    Public,
    /// It is served as one for the tenant of this schema.
    Tenant(SchemaName),
}

/// Whose a request is.
#[non_exhaustive]
pub enum Visit<T> {
    /// A tenant's.
    Tenant(Arc<T>),
    /// Nobody's: it is about what all tenants share. The tenant is the row of the
    /// public schema, if there is one and the request led there by it.
    Public(Option<Arc<T>>),
    /// It was not asked, because the path is one that has no tenant.
    Bypassed,
}

/// Builds a [`Site`].
#[must_use = "nothing happens before `build` is called"]
pub struct SiteBuilder<T: TenantModel> {
    tenancy: Tenancy<T>,
    directory: Option<Directory<T>>,
    resolvers: Vec<Box<dyn Resolver>>,
    unknown: Unknown,
    bypassed: Vec<String>,
    suspended: Option<Box<Suspended<T>>>,
    group: Option<Box<Group<T>>>,
    wait: Duration,
}

impl<T: TenantModel> SiteBuilder<T> {
    /// Adds a resolver behind those that were added before. Defaults to [`Host`] alone.
    ///
    /// They are asked one after the other until one finds a tenant, or refuses.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolvers.push(Box::new(resolver));
        self
    }

    /// Sets the directory. Defaults to one with its own defaults, made by `build`.
    pub fn directory(self, directory: Directory<T>) -> Self {
        Self {
            directory: Some(directory),
            ..self
        }
    }

    /// Sets what becomes of requests for tenants that do not exist. Defaults to [`Unknown::NotFound`].
    pub fn unknown(self, unknown: Unknown) -> Self {
        Self { unknown, ..self }
    }

    /// Serves a path, and all below it, without a tenant: `/healthz`, static files. Defaults to none.
    pub fn bypass(mut self, path: impl Into<String>) -> Self {
        let path: String = path.into();
        self.bypassed.push(format!("/{}", path.trim_matches('/')));
        self
    }

    /// Refuses tenants of whom `suspended` says so, with 403. Defaults to none.
    ///
    /// It is asked for each request, with the row as the directory knows it: it must not block.
    pub fn suspended_if(self, suspended: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        Self {
            suspended: Some(Box::new(suspended)),
            ..self
        }
    }

    /// Counts requests of tenants by a group that they are in, such as their plan. Defaults to one group for all.
    ///
    /// The names of the groups are part of the program, so the metrics (feature
    /// `metrics`) can't become more with the tenants.
    pub fn group_by(self, group: impl Fn(&T) -> &'static str + Send + Sync + 'static) -> Self {
        Self {
            group: Some(Box::new(group)),
            ..self
        }
    }

    /// Sets how long a request may wait for a connection. Defaults to 1 s.
    pub fn wait_for_connection(self, time: Duration) -> Self {
        Self {
            wait: time.min(LONGEST_WAIT),
            ..self
        }
    }

    /// Makes the site. A directory of its own waits until it listens, at most 5 s.
    #[must_use]
    pub fn build(self) -> Site<T> {
        let Self {
            tenancy,
            directory,
            mut resolvers,
            unknown,
            bypassed,
            suspended,
            group,
            wait,
        } = self;
        if resolvers.is_empty() {
            resolvers.push(Box::new(Host::new()));
        }
        let size = tenancy.pool().max_size() as usize;
        Site(Arc::new(Inner {
            directory: directory.unwrap_or_else(|| Directory::builder(&tenancy).build()),
            resolvers,
            unknown,
            bypassed,
            suspended,
            group,
            wait,
            connections: Arc::new(Semaphore::new(size)),
            lookups: Arc::new(Semaphore::new(LOOKUPS.min(size))),
            tenancy,
        }))
    }
}

impl<T: TenantModel> fmt::Debug for SiteBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteBuilder")
            .field("resolvers", &self.resolvers.len())
            .field("unknown", &self.unknown)
            .field("bypassed", &self.bypassed)
            .finish_non_exhaustive()
    }
}

/// A request that may go on to the routes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Admission<T: TenantModel> {
    /// Whose it is.
    pub visit: Visit<T>,
    /// How many bytes of its path are to be taken away before it is routed.
    pub stripped: usize,
    /// When that was looked up, or before.
    #[cfg_attr(
        not(any(feature = "actix", feature = "tower")),
        expect(
            dead_code,
            reason = "who enters requests by hand asks for a scope of its own"
        )
    )]
    pub(super) read: Instant,
}

impl<T: TenantModel> Site<T> {
    /// Starts building a site over a tenancy.
    pub fn builder(tenancy: &Tenancy<T>) -> SiteBuilder<T> {
        SiteBuilder {
            tenancy: tenancy.clone(),
            directory: None,
            resolvers: Vec::new(),
            unknown: Unknown::default(),
            bypassed: Vec::new(),
            suspended: None,
            group: None,
            wait: Duration::from_secs(1),
        }
    }

    /// The tenancy.
    #[must_use]
    pub fn tenancy(&self) -> &Tenancy<T> {
        &self.0.tenancy
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Directory<T> {
        &self.0.directory
    }

    /// A tenant's database, for work that no request asks for.
    ///
    /// What counts is the schema name of the value. One that was read before the tenant was renamed leads
    /// to whoever has that name now: for what a request goes on with, such as a socket, keep the
    /// [`TenantDb`] that its handler was given, which ends with the name.
    #[must_use]
    pub fn tenant_db(&self, tenant: &Arc<T>) -> TenantDb {
        self.tenant_db_read_at(tenant, Instant::now())
    }

    /// The database of a tenant that was not looked up before `read`.
    pub(super) fn tenant_db_read_at(&self, tenant: &Arc<T>, read: Instant) -> TenantDb {
        let path = self.0.tenancy.registry().policy.path(tenant.schema_name());
        let tenant: Arc<dyn Any + Send + Sync> = Arc::clone(tenant) as _;
        let scope = Scope::new(path).with_tenant(tenant);
        TenantDb::new(self.waiting(), scope.read_at(read))
    }

    /// What all tenants share, for work that no request asks for.
    #[must_use]
    pub fn public_db(&self) -> PublicDb {
        let registry = self.0.tenancy.registry();
        PublicDb::new(
            self.waiting(),
            Scope::new(registry.policy.path(registry.public())),
        )
    }

    /// Notes that a request was let in, and opens the span in which the rest of it runs.
    #[cfg_attr(
        not(any(feature = "actix", feature = "tower")),
        expect(dead_code, reason = "the frameworks call it")
    )]
    pub(super) fn entered(&self, visit: &Visit<T>, head: &RequestHead<'_>) -> observe::RequestSpan {
        let group = match (visit, &self.0.group) {
            (Visit::Tenant(tenant), Some(group)) => Some(group(tenant)),
            _ => None,
        };
        observe::let_in(visit, group);
        observe::RequestSpan::new(visit, self.0.tenancy.registry().public(), head)
    }

    fn waiting(&self) -> Waiting {
        Waiting {
            pool: self.0.tenancy.pool().clone(),
            connections: Arc::clone(&self.0.connections),
            wait: self.0.wait,
        }
    }

    /// Reads whose a request is, as far as that goes without waiting.
    ///
    /// What is left to look up is borrowed from nothing, so that the request's
    /// head need not be kept, nor sent to another thread.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it may not go on.
    pub fn read(&self, head: &RequestHead<'_>) -> Result<Reading<T>, Refusal> {
        let read = Instant::now();
        let bypassed = &self.0.bypassed;
        if bypassed.iter().any(|path| is_below(head.path(), path)) {
            return Ok(Reading(Read::Done(Admission {
                visit: Visit::Bypassed,
                stripped: 0,
                read,
            })));
        }
        let mut answers: Vec<Result<Answer<'static>, Malformed>> = Vec::new();
        let mut last = false;
        for resolver in &self.0.resolvers {
            match resolver.resolve(head) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    last = !answer.is_or_next();
                    // Behind one that has to be looked up, the others wait.
                    let remembered = if answers.is_empty() {
                        self.remembered(answer.question())
                    } else {
                        Remembered::Nothing
                    };
                    match remembered {
                        Remembered::Tenant(visit) => {
                            let visit = self.let_in(visit)?;
                            let stripped = answer.stripped();
                            return Ok(Reading(Read::Done(Admission {
                                visit,
                                stripped,
                                read,
                            })));
                        }
                        Remembered::Nobody => {}
                        Remembered::Nothing => answers.push(Ok(answer.into_owned())),
                    }
                    if last {
                        break;
                    }
                }
                Err(malformed) if answers.is_empty() => return Err(Refusal::Malformed(malformed)),
                Err(malformed) => {
                    answers.push(Err(malformed));
                    break;
                }
            }
        }
        Ok(Reading(Read::Left { answers, last }))
    }

    /// Whose a request is.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it may not go on.
    pub async fn admit(&self, reading: Reading<T>) -> Result<Admission<T>, Refusal> {
        let (answers, last) = match reading.0 {
            Read::Done(admission) => return Ok(admission),
            Read::Left { answers, last } => (answers, last),
        };
        for answer in answers {
            let answer = answer.map_err(Refusal::Malformed)?;
            let read = Instant::now();
            if let Some(visit) = self.visit(answer.question()).await? {
                let stripped = answer.stripped();
                return Ok(Admission {
                    visit,
                    stripped,
                    read,
                });
            }
        }
        let read = Instant::now();
        let visit = match &self.0.unknown {
            // It was said whose the request is: that is nobody else's to serve.
            Unknown::Public | Unknown::Tenant(_) if last => {
                return Err(Refusal::UnknownTenant { status: 404 });
            }
            Unknown::NotFound => return Err(Refusal::UnknownTenant { status: 404 }),
            Unknown::BadRequest => return Err(Refusal::UnknownTenant { status: 400 }),
            Unknown::Public => Visit::Public(None),
            Unknown::Tenant(schema) => {
                let question = Question::Schema(schema.as_str().into());
                let visit = self.visit(&question).await?;
                visit.ok_or(Refusal::UnknownTenant { status: 404 })?
            }
        };
        Ok(Admission {
            visit,
            stripped: 0,
            read,
        })
    }

    fn remembered(&self, question: &Question<'_>) -> Remembered<Visit<T>> {
        if *question == Question::Public {
            return Remembered::Tenant(Visit::Public(None));
        }
        match self.0.directory.remembered(question) {
            Remembered::Tenant(tenant) => Remembered::Tenant(Visit::Tenant(tenant)),
            Remembered::Nobody => Remembered::Nobody,
            Remembered::Nothing => Remembered::Nothing,
        }
    }

    async fn visit(&self, question: &Question<'_>) -> Result<Option<Visit<T>>, Refusal> {
        match self.remembered(question) {
            Remembered::Tenant(visit) => self.let_in(visit).map(Some),
            Remembered::Nobody => Ok(None),
            Remembered::Nothing => match self.look_up(question).await {
                Ok(Some(tenant)) => self.let_in(Visit::Tenant(tenant)).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(Refusal::Unavailable(error)),
            },
        }
    }

    /// Turns the tenant of the public schema away from the tenants' routes, and suspended ones from all.
    fn let_in(&self, visit: Visit<T>) -> Result<Visit<T>, Refusal> {
        let Visit::Tenant(tenant) = visit else {
            return Ok(visit);
        };
        if tenant.schema_name() == self.0.tenancy.registry().public() {
            return Ok(Visit::Public(Some(tenant)));
        }
        if self.0.suspended.as_ref().is_some_and(|is| is(&tenant)) {
            return Err(Refusal::Suspended {
                schema: tenant.schema_name().clone(),
            });
        }
        Ok(Visit::Tenant(tenant))
    }

    /// Asks the database, on a thread that may block; not more than a few at a time.
    async fn look_up(&self, question: &Question<'_>) -> Result<Option<Arc<T>>> {
        let wait = self.0.wait;
        let deadline = Instant::now() + wait;
        let lookups = Arc::clone(&self.0.lookups);
        let Ok(Ok(permit)) = timeout(wait, lookups.acquire_owned()).await else {
            return Err(Error::Busy { waited: wait });
        };
        let directory = self.0.directory.clone();
        let question = question.clone().into_owned();
        let asked = spawn_blocking(move || {
            // Someone may have asked while we waited; the directory knows.
            let found = directory.find_until(&question, deadline);
            drop(permit);
            found
        });
        asked.await.unwrap_or_else(|died| {
            let why = if died.is_panic() {
                panic_message(&*died.into_panic())
            } else {
                "the runtime shut down".to_owned()
            };
            Err(Error::Pool(format!("looking for the tenant: {why}")))
        })
    }
}

/// How far a request was read.
#[derive(Debug)]
pub struct Reading<T: TenantModel>(Read<T>);

#[derive(Debug)]
enum Read<T: TenantModel> {
    /// It is known whose it is.
    Done(Admission<T>),
    /// These are left to look up, one after the other.
    Left {
        answers: Vec<Result<Answer<'static>, Malformed>>,
        /// The last of them is to have a tenant, or nobody is let in.
        last: bool,
    },
}

impl<T: TenantModel> Reading<T> {
    /// The admission, if nothing is left to look up.
    #[cfg(feature = "tower")]
    pub(super) fn done(self) -> Result<Admission<T>, Self> {
        match self.0 {
            Read::Done(admission) => Ok(admission),
            left @ Read::Left { .. } => Err(Self(left)),
        }
    }
}

/// Whether `path` is `base`, or below it.
fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || base == "/")
}

impl<T: TenantModel> Clone for Site<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: TenantModel> fmt::Debug for Site<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("tenancy", &self.0.tenancy)
            .field("directory", &self.0.directory)
            .field("unknown", &self.0.unknown)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for Visit<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Tenant(tenant) => Self::Tenant(Arc::clone(tenant)),
            Self::Public(tenant) => Self::Public(tenant.clone()),
            Self::Bypassed => Self::Bypassed,
        }
    }
}

impl<T: TenantModel> fmt::Debug for Visit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "Tenant({})", tenant.schema_name()),
            Self::Public(_) => f.write_str("Public"),
            Self::Bypassed => f.write_str("Bypassed"),
        }
    }
}
