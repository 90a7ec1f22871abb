//! [`ReadySchemas`]: schemas that are made ahead of their tenants.

mod keep;
mod make;
mod take;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::make::{drop_ready, drop_schema, make};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::ledger::Applied;
use crate::migrate::{locked, try_locked};
use crate::model::TenantModel;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::registry::{Kind, Registry};
use crate::sql;
use crate::sql::ready::ReadyRow;
use crate::tenancy::Tenancy;

pub use self::keep::KeepReady;
pub(super) use self::take::take;

/// How often it is looked whether schemas are missing, unless it is said.
const EVERY: Duration = Duration::from_secs(5);

/// How old schemas of an older version are before [`keep`](ReadySchemas::keep) drops them.
const SPARED: Duration = Duration::from_mins(10);

/// Schemas that are made ahead of their tenants, so that saving one takes a rename.
///
/// [`save`](crate::Lifecycle::save) and [`provision`](crate::Lifecycle::provision) take such a
/// schema by themselves, in their transaction, if one has exactly the migrations that this program
/// would run for the tenant: the same versions, with the same text. If there is none, they run the
/// migrations, as ever. Two tenants that are saved at once never take the same. If the
/// transaction is rolled back, the schema is still there for the next.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// // From cron, or behind a deployment:
/// let filled = tenancy.ready_schemas(2).fill()?;
/// assert_eq!((filled.made, filled.ready), (2, 2));
///
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
/// let saved = acme.save(&mut *tenancy.public()?)?;
/// assert_eq!(saved.applied[0].to_string(), "hotels/2024-01-02-000000_create_rooms");
///
/// // Or on a thread, as long as the program runs:
/// let keep = tenancy.ready_schemas(2).keep();
/// # drop(keep);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is different
///
/// - Listeners are told the same events, in the transaction that takes the schema. What
///   [`PreMigrate`](crate::Event::PreMigrate) announces is there already. Nobody is told when a
///   schema is made: it is no tenant's yet.
/// - What a migration dates with `now()`, or draws at random, is of the time when the schema was
///   made. What it writes outside its schema, it writes then.
/// - Migrations that can't run in a transaction have been run when the schema is taken.
///
/// A schema in which the name of the schema stands as text can't be renamed, and none is made of
/// its kind: [`Error::NamesItself`]. Looked for is the name, or half of it, in everything that
/// a dump of the structure shows, function bodies and comments among it, and in all rows.
///
/// # Several programs, several versions
///
/// A schema is taken by whoever has the same migrations. One that has fewer than this program is
/// dropped by [`fill`](Self::fill), so that behind a deployment new ones take the place of the old,
/// and some minutes later by [`keep`](Self::keep); one that has others, of a newer version perhaps, is
/// left alone. Only schemas of the
/// role that saves are taken, and only in a transaction that is read committed.
///
/// A schema in which others have something is not dropped, but warned of. That is so where migrations
/// of tenants make an extension, which a database has once: the first schema gets it, and all need that. Make
/// extensions in migrations of a shared app.
///
/// The schemas are called `__tenant_schemas_ready_..`. They are no tenants: no run migrates them,
/// `doctor` does not mention them, and no name that begins with `__tenant_schemas_` can be a
/// tenant's, or be dropped or renamed as one.
pub struct ReadySchemas<T: TenantModel> {
    tenancy: Tenancy<T>,
    count: usize,
    tenant_type: Option<String>,
    every: Duration,
}

/// What [`ReadySchemas::fill`] found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filled {
    /// How many schemas of the kind are there now.
    pub ready: usize,
    /// How many of them were made.
    pub made: usize,
    /// How many were dropped because they lacked migrations, of any kind.
    pub dropped: usize,
}

impl<T: TenantModel> Tenancy<T> {
    /// Schemas made ahead, for `count` tenants that are yet to come.
    ///
    /// See [`ReadySchemas`].
    #[must_use]
    pub fn ready_schemas(&self, count: usize) -> ReadySchemas<T> {
        ReadySchemas {
            tenancy: self.clone(),
            count,
            tenant_type: None,
            every: EVERY,
        }
    }
}

impl<T: TenantModel> ReadySchemas<T> {
    /// Makes them for tenants of a type. Defaults to tenants without a type.
    #[must_use]
    pub fn of_type(self, tenant_type: impl Into<String>) -> Self {
        Self {
            tenant_type: Some(tenant_type.into()),
            ..self
        }
    }

    /// How often [`keep`](Self::keep) looks whether some are missing, if no tenant of this tenancy takes
    /// one; and how long it waits after a failure, whoever takes one. Defaults to 5 s.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Makes as many as are missing, and drops those that lack migrations of this program.
    ///
    /// A schema is found when it is whole. What an interrupted program left is dropped. It
    /// takes one connection of the pool. Of two programs that fill at once one waits for the other.
    ///
    /// # Errors
    ///
    /// [`Error::NamesItself`], [`Error::Migration`], [`Error::Pool`]; what was made before stays.
    pub fn fill(&self) -> Result<Filled> {
        self.alone(|conn| self.fill_until(conn, Duration::ZERO, &AtomicBool::new(false)))
    }

    /// As [`fill`](Self::fill), but that it waits for nobody: `None` if another program fills now.
    ///
    /// What an older version of the program made is left to that for some time: while both are there,
    /// each would undo what the other does.
    fn fill_if_free(&self, stop: &AtomicBool) -> Result<Option<Filled>> {
        let (mut conn, lock) = (self.tenancy.public()?, Self::lock()?);
        try_locked(&mut conn, &lock, |conn| self.fill_until(conn, SPARED, stop))
    }

    /// Keeps them ready on a thread, until the value that is returned is dropped.
    ///
    /// When a tenant that is saved through this tenancy takes one, the next is made at once, unless making
    /// one failed the last time. What others take is noticed when it [looks](Self::every).
    ///
    /// Failures are logged, and it tries again; but for [`Error::NamesItself`], which ends it. Several
    /// programs may do so: they share what is ready. Schemas of an older version of the program are
    /// dropped when they are ten minutes old: until then that version may be at work.
    pub fn keep(self) -> KeepReady {
        let every = self.every;
        KeepReady::start(self, every)
    }

    /// Drops all that are ready, of every kind and version, but those that others depend on; returns how many.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// let ready = tenancy.ready_schemas(2);
    /// ready.fill()?;
    /// assert_eq!(ready.clear()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    pub fn clear(&self) -> Result<usize> {
        self.alone(|conn| {
            self.drop_half_made(conn)?;
            self.drop_those(conn, |_| true)
        })
    }

    /// Drops what lacks migrations of this program and is as old as that, and makes what is missing, until
    /// it is to stop. Nobody else fills meanwhile.
    fn fill_until(
        &self,
        conn: &mut TenantConnection,
        old: Duration,
        stop: &AtomicBool,
    ) -> Result<Filled> {
        let registry = self.tenancy.registry();
        let kind = Kind::Tenant(self.tenant_type.clone());
        let fingerprint = registry.fingerprint(&kind);
        let stale = Stale::new(registry);
        self.drop_half_made(conn)?;
        let is_stale = |row: &ReadyRow| row.age >= old.as_secs_f64() && stale.is(row);
        let mut filled = Filled {
            dropped: self.drop_those(conn, is_stale)?,
            ..Filled::default()
        };
        let there = self.rows(conn)?;
        filled.ready = there
            .iter()
            .filter(|row| row.own && row.fingerprint == fingerprint)
            .count();
        while filled.ready < self.count && !stop.load(Ordering::Relaxed) {
            make(conn, registry, &kind)?;
            filled.made += 1;
            filled.ready += 1;
        }
        Ok(filled)
    }

    /// Runs `f` while nobody else fills or clears.
    fn alone<R>(&self, f: impl FnOnce(&mut TenantConnection) -> Result<R>) -> Result<R> {
        locked(&mut *self.tenancy.public()?, &Self::lock()?, f)
    }

    /// What is locked by who fills or clears.
    fn lock() -> Result<SchemaName> {
        Ok(sql::ready::READY.parse()?)
    }

    fn rows(&self, conn: &mut TenantConnection) -> Result<Vec<ReadyRow>> {
        let public = self.tenancy.registry().public();
        conn.own(|inner| {
            if sql::ledger::bookkeeping(inner, public, public)?.state {
                sql::ready::all(inner, public)
            } else {
                Ok(Vec::new())
            }
        })
        .map_err(|error| Error::database("looking for ready-made schemas", error))
    }

    fn drop_those(
        &self,
        conn: &mut TenantConnection,
        which: impl Fn(&ReadyRow) -> bool,
    ) -> Result<usize> {
        let registry = self.tenancy.registry();
        let mut dropped = 0;
        for row in self.rows(conn)?.iter().filter(|row| which(row)) {
            let schema = SchemaName::with_policy(&row.schema_name, SchemaNamePolicy::Quoted)?;
            dropped += usize::from(drop_ready(conn, registry, &schema)?);
        }
        Ok(dropped)
    }

    /// Drops what an interrupted program left: nobody else makes any now.
    fn drop_half_made(&self, conn: &mut TenantConnection) -> Result<()> {
        let registry: &Arc<Registry> = self.tenancy.registry();
        let half_made = conn
            .own(sql::ready::half_made)
            .map_err(|error| Error::database("looking for half-made schemas", error))?;
        for schema in half_made {
            let schema = SchemaName::with_policy(&schema, SchemaNamePolicy::Quoted)?;
            drop_schema(conn, registry, &schema)?;
        }
        Ok(())
    }
}

impl<T: TenantModel> fmt::Debug for ReadySchemas<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadySchemas")
            .field("count", &self.count)
            .field("tenant_type", &self.tenant_type)
            .finish_non_exhaustive()
    }
}

/// Tells schemas that an older version of this program made.
struct Stale {
    /// What each kind of tenant would have.
    current: HashSet<String>,
    known: HashSet<String>,
}

impl Stale {
    fn new(registry: &Registry) -> Self {
        let types = registry.apps.iter().flat_map(|app| app.app.tenant_types());
        let kinds = types.map(|own| Some(own.clone())).chain([None]);
        let scripts = registry.apps.iter().flat_map(|app| &app.scripts);
        Self {
            current: kinds
                .map(|tenant_type| registry.fingerprint(&Kind::Tenant(tenant_type)))
                .collect(),
            known: scripts.map(|script| Applied::of(script).line()).collect(),
        }
    }

    /// Whether a schema has nothing but what this program knows, and no kind of tenant would have just that.
    fn is(&self, row: &ReadyRow) -> bool {
        !self.current.contains(&row.fingerprint)
            && row.applied.iter().all(|line| self.known.contains(line))
    }
}
