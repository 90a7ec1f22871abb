//! [`Lifecycle`]: a tenant is saved, provisioned, renamed, deleted.

use std::any::TypeId;
use std::sync::Arc;

use diesel::Connection as _;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};

use crate::connection::TenantConnection;
use crate::domain::check_domain;
use crate::error::{Error, Result, UNNAMED, names_missing_table, unique_violation};
use crate::event::{Happened, ListenerFailure, What};
use crate::ledger;
use crate::migrate::{Failures, Job, Migrated, emit, lock};
use crate::model::{RowId as _, TenantModel};
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;
use crate::sql;

/// How a tenant is saved.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct SaveOptions {
    schema: SchemaChoice,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SchemaChoice {
    /// As the model says.
    #[default]
    Model,
    Create,
    Adopt,
    Leave,
}

impl SaveOptions {
    /// Options that do what the model says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a new tenant's schema is created. Defaults to the model's `auto_create_schema`.
    ///
    /// Without its schema the tenant is announced with
    /// [`SchemaNeedsSync`](crate::Event::SchemaNeedsSync); [`Lifecycle::provision`] makes up for it.
    pub fn auto_create_schema(self, create: bool) -> Self {
        Self {
            schema: if create {
                SchemaChoice::Create
            } else {
                SchemaChoice::Leave
            },
        }
    }

    /// Takes over a schema that exists, instead of creating one; also for a
    /// tenant that has a row already.
    ///
    /// What Diesel's own harness recorded there counts as applied; the rest is migrated.
    pub fn adopt(self) -> Self {
        Self {
            schema: SchemaChoice::Adopt,
        }
    }
}

/// How a tenant is deleted.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct DeleteOptions {
    drop_schema: Option<bool>,
}

impl DeleteOptions {
    /// Options that do what the model says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the schema is dropped with the row. Defaults to the model's `auto_drop_schema`.
    pub fn auto_drop_schema(self, drop: bool) -> Self {
        Self {
            drop_schema: Some(drop),
        }
    }
}

/// What saving a tenant did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Whether the row is new.
    pub created: bool,
    /// Whether the tenant's schema was created or adopted.
    pub provisioned: bool,
    /// The migrations that were applied.
    pub applied: Vec<MigrationId>,
    /// Listeners that failed after the commit. Inside a transaction of the
    /// caller's they have not run yet; their failures are logged then.
    pub listener_failures: Vec<ListenerFailure>,
}

/// What deleting a tenant did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether the tenant's schema was dropped.
    pub schema_dropped: bool,
    /// Listeners that failed after the commit. Inside a transaction of the
    /// caller's they have not run yet; their failures are logged then.
    pub listener_failures: Vec<ListenerFailure>,
}

/// What happens to a tenant and its schema. Every [`TenantModel`] has it.
///
/// The methods work on a connection of the public schema, or of the tenant
/// itself; each is one transaction, or a savepoint of the caller's.
pub trait Lifecycle: TenantModel {
    /// Saves the tenant; a new one is provisioned: row, schema and every migration, all or nothing.
    ///
    /// A tenant whose key is unset, or has no row yet, is new. Of one that
    /// exists the row alone is updated. The value takes over what the database
    /// filled in. A tenant of the public schema has the shared apps migrated,
    /// and no schema created.
    ///
    /// Migrations that can't run in a transaction, and those behind them, run
    /// after the commit; if one fails the tenant exists, and migrating again
    /// resumes there. Inside a transaction of the caller's they run after its
    /// commit, and a failure is logged.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error, but for that last case.
    /// [`Error::SchemaExists`] if the schema exists: see [`SaveOptions::adopt`].
    /// [`Error::OtherScope`] from the scope of another tenant. [`Error::Name`] if
    /// the tenancy's policy does not admit a new tenant's schema name,
    /// [`Error::Domain`] if a new `domain_url` is no host name in lower case.
    /// [`Error::Migration`], [`Error::Duplicate`], [`Error::Listener`].
    fn save(&mut self, conn: &mut TenantConnection) -> Result<Saved> {
        self.save_with(conn, SaveOptions::new())
    }

    /// Saves the tenant in another way than the model says.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    fn save_with(&mut self, conn: &mut TenantConnection, options: SaveOptions) -> Result<Saved> {
        let registry = registry_of::<Self>(conn)?;
        refuse_other_scope(conn, &registry, self.schema_name())?;
        let outer = conn.in_transaction();
        let given = self.clone();
        let (stored, work) = transaction(conn, &registry, |conn| {
            Work::save(&given, conn, &registry, options)
        })
        .map_err(|error| doing("saving", self.schema_name(), error))?;
        *self = stored;
        work.finish(conn, &registry, outer)
    }

    /// Saves a tenant over a schema that exists, and migrates it.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save); [`Error::NoSuchSchema`] if there is no such schema.
    fn adopt(&mut self, conn: &mut TenantConnection) -> Result<Saved> {
        self.save_with(conn, SaveOptions::new().adopt())
    }

    /// Creates and migrates the schema of a tenant that was saved without it.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save); [`Error::NotSaved`] if the tenant has no row.
    fn provision(&self, conn: &mut TenantConnection) -> Result<Saved> {
        let registry = registry_of::<Self>(conn)?;
        refuse_other_scope(conn, &registry, self.schema_name())?;
        let outer = conn.in_transaction();
        let work = conn
            .transaction(|conn| {
                let row = self.row(conn)?.ok_or_else(|| not_saved(self))?;
                let mut work = Work::default();
                work.provision(&row, conn, &registry, false)?;
                Ok::<_, Error>(work)
            })
            .map_err(|error| doing("provisioning", self.schema_name(), error))?;
        work.finish(conn, &registry, outer)
    }

    /// Deletes the tenant's row, and its schema if the model says `auto_drop_schema`.
    ///
    /// The public schema never is. Domains that have a table of their own go
    /// with the row if their foreign key says `ON DELETE CASCADE`.
    ///
    /// A schema that is too wide for the server's lock slots is dropped with
    /// [`Tenancy::drop_schema_cascade`](crate::Tenancy::drop_schema_cascade)
    /// first. A connection in the scope of the tenant can't be used for it any
    /// more; choose another scope.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::NotSaved`] if there is no
    /// row, [`Error::OtherScope`] from the scope of another tenant.
    fn delete(&self, conn: &mut TenantConnection) -> Result<Deleted> {
        self.delete_with(conn, DeleteOptions::new())
    }

    /// Deletes the tenant in another way than the model says.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    fn delete_with(&self, conn: &mut TenantConnection, options: DeleteOptions) -> Result<Deleted> {
        let mut deleted = Self::delete_all([self], conn, options)?;
        Ok(deleted.pop().unwrap_or_default())
    }

    /// Deletes several tenants, all or none.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete), for the first that fails.
    fn delete_all<'a>(
        tenants: impl IntoIterator<Item = &'a Self>,
        conn: &mut TenantConnection,
        options: DeleteOptions,
    ) -> Result<Vec<Deleted>> {
        let registry = registry_of::<Self>(conn)?;
        let tenants: Vec<&Self> = tenants.into_iter().collect();
        let deletions: Vec<Deletion> = transaction(conn, &registry, |conn| {
            tenants
                .iter()
                .map(|tenant| {
                    refuse_other_scope(conn, &registry, tenant.schema_name())?;
                    let deletion = delete(*tenant, conn, &registry, options);
                    deletion.map_err(|error| doing("deleting", tenant.schema_name(), error))
                })
                .collect::<Result<_>>()
        })?;
        Ok(deletions.into_iter().map(Deletion::finish).collect())
    }

    /// Renames the tenant's schema, and the row with it.
    ///
    /// A connection in the scope of the tenant follows to the new name. Others
    /// that are out in its scope get [`Error::NoSuchSchema`] from then on if they
    /// are of the same pool; those of other processes with their next checkout.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::SchemaExists`] if the new
    /// name is taken, [`Error::Protected`] if either name is not a tenant's to have,
    /// [`Error::InsideTransaction`] from the tenant's own scope inside a transaction:
    /// the scope could not follow a rollback.
    fn rename(&mut self, conn: &mut TenantConnection, to: &SchemaName) -> Result<()> {
        let registry = registry_of::<Self>(conn)?;
        let from = self.schema_name().clone();
        refuse_other_scope(conn, &registry, &from)?;
        SchemaName::with_policy(to.as_str(), registry.names)?;
        registry.refuse_protected(&from, "renamed")?;
        registry.refuse_protected(to, "taken by a tenant")?;
        let own_scope = conn.schema_name() == Some(&from);
        if own_scope && conn.in_transaction() {
            return Err(Error::InsideTransaction { schema: to.clone() });
        }
        let renamed = conn
            .transaction(|conn| rename(self, conn, &registry, to))
            .map_err(|error| doing("renaming", &from, error))?;
        *self = renamed;
        if own_scope {
            // The scope's schema is gone; the tenant is still the same.
            conn.follow(to);
        }
        Ok(())
    }

    /// The tenant of a schema.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_schema(conn: &mut TenantConnection, schema: &str) -> Result<Option<Self>> {
        in_public(conn, "looking for the tenant", |conn| {
            Self::row_by_schema(conn, schema)
        })
    }

    /// The tenant that has a domain: a host name without scheme, port or path, in any case.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_domain(conn: &mut TenantConnection, domain: &str) -> Result<Option<Self>> {
        in_public(conn, "looking for the tenant", |conn| {
            Self::row_by_domain(conn, &domain.to_lowercase())
        })
    }

    /// The tenant with a primary key.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_id(conn: &mut TenantConnection, id: &Self::Id) -> Result<Option<Self>> {
        in_public(conn, "looking for the tenant", |conn| {
            Self::row_by_id(conn, id)
        })
    }

    /// All tenants, the public one included, in the order of their schemas' names, byte by byte.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn all(conn: &mut TenantConnection) -> Result<Vec<Self>> {
        let mut tenants = in_public(conn, "reading the tenants", Self::rows)?;
        tenants.sort_by(|a, b| a.schema_name().cmp(b.schema_name()));
        Ok(tenants)
    }

    /// Reads the tenant's row again; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn row(&self, conn: &mut TenantConnection) -> Result<Option<Self>> {
        if self.id().is_unset() {
            return Ok(None);
        }
        Self::by_id(conn, self.id())
    }
}

impl<T: TenantModel> Lifecycle for T {}

/// How often something is tried that others may be in the way of.
const TRIES: usize = 4;

/// Runs `f` in a transaction; again, if it met others that had a lock it wants and wanted one it had.
///
/// Tables that refer to a shared one lock it when they come and go, and where
/// that is the table of tenants, everyone who is at it has a lock on it already.
/// From the second time on, one waits for the other.
pub(crate) fn transaction<R>(
    conn: &mut TenantConnection,
    registry: &Registry,
    mut f: impl FnMut(&mut TenantConnection) -> Result<R>,
) -> Result<R> {
    let outer = conn.in_transaction();
    let key = ledger::key_of(&format!("{}/tenants", registry.public()));
    let mut attempt = 1;
    loop {
        let result = conn.transaction(|conn| {
            if attempt > 1 {
                conn.own(|inner| sql::lock_in_transaction(inner, key))?;
            }
            f(conn)
        });
        match result {
            Err(error) if !outer && attempt < TRIES && error.is_deadlock() => attempt += 1,
            result => return result,
        }
    }
}

/// What is left to do when the transaction is over.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) saved: Saved,
    /// The job whose rest can't run in a transaction.
    rest: Option<Job>,
    /// Events that wait for that rest.
    events: Vec<Happened>,
    pub(crate) failures: Failures,
}

impl Work {
    fn save<T: TenantModel>(
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        options: SaveOptions,
    ) -> Result<(T, Self)> {
        let mut work = Self::default();
        if let Some(row) = tenant.row(conn)? {
            if row.schema_name() != tenant.schema_name() {
                return Err(Error::SchemaNameChanged {
                    from: row.schema_name().clone(),
                    to: tenant.schema_name().clone(),
                });
            }
            if row.domain_url() != tenant.domain_url() {
                tenant.domain_url().map_or(Ok(()), check_domain)?;
            }
            let stored = conn
                .with_public(|conn| tenant.update_row(conn))
                .map_err(|error| duplicate(tenant.schema_name(), error))?
                .ok_or_else(|| not_saved(tenant))?;
            if options.schema == SchemaChoice::Adopt {
                work.provision(&stored, conn, registry, true)?;
            }
            return Ok((stored, work));
        }
        let is_public = tenant.schema_name() == registry.public();
        if !is_public {
            SchemaName::with_policy(tenant.schema_name().as_str(), registry.names)?;
            registry.refuse_protected(tenant.schema_name(), "taken by a tenant")?;
        }
        tenant.domain_url().map_or(Ok(()), check_domain)?;
        let stored = conn
            .with_public(|conn| tenant.insert_row(conn))
            .map_err(|error| duplicate(tenant.schema_name(), error))?;
        work.saved.created = true;
        let create = match options.schema {
            SchemaChoice::Model => T::AUTO_CREATE_SCHEMA,
            SchemaChoice::Create | SchemaChoice::Adopt => true,
            SchemaChoice::Leave => false,
        };
        if create || is_public {
            let adopt = options.schema == SchemaChoice::Adopt;
            work.provision(&stored, conn, registry, adopt)?;
        } else {
            let event = happened(&stored, What::SchemaNeedsSync);
            emit(conn, registry, event, &work.failures)?;
        }
        Ok((stored, work))
    }

    /// Makes the schema and migrates it, as far as a transaction can.
    pub(crate) fn provision<T: TenantModel>(
        &mut self,
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        adopt: bool,
    ) -> Result<()> {
        let schema = tenant.schema_name();
        let is_public = schema == registry.public();
        let public = registry.public();
        let there = conn
            .own(|inner| {
                ledger::lock_in_transaction(inner, schema)?;
                sql::bookkeeping(inner, schema, public)
            })
            .map_err(|error| Error::database("looking for the schema", error))?;
        match (there.schema, adopt || is_public) {
            (true, false) => {
                return Err(Error::SchemaExists {
                    schema: schema.clone(),
                });
            }
            (false, true) => {
                return Err(Error::NoSuchSchema {
                    schema: schema.clone(),
                });
            }
            (true, true) => {}
            (false, false) => conn
                .own(|inner| ledger::make(inner, schema, public, there, &[]))
                .map_err(|error| Error::database(format!("creating schema {schema}"), error))?,
        }
        let kind = if is_public {
            Kind::Shared
        } else {
            Kind::Tenant(tenant.tenant_type())
        };
        let mut job = Job::new(schema.clone(), kind);
        job.tenant = Some(Arc::new(tenant.clone()));
        job.fresh = !there.schema;
        job.atomic = true;
        job.adopt = adopt;
        let (done, unfinished) = job.run_in_transaction(conn, registry, &self.failures)?;
        self.saved.provisioned = !is_public;
        self.saved.applied = done.applied;
        let synced = happened(tenant, What::PostSchemaSync);
        if unfinished {
            job.fresh = false;
            job.resumed = Some(self.saved.applied.clone());
            self.rest = Some(job);
            self.events.push(synced);
        } else {
            emit(conn, registry, synced, &self.failures)?;
        }
        Ok(())
    }

    /// Does the rest: now, or when the caller's transaction is committed.
    pub(crate) fn finish(
        self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        outer: bool,
    ) -> Result<Saved> {
        let Self {
            mut saved,
            rest,
            events,
            failures,
        } = self;
        if let Some(job) = rest {
            if outer {
                let registry = Arc::clone(registry);
                conn.after_commit(move |conn| {
                    let schema = job.schema.clone();
                    if let Err(error) = finish(&job, &events, conn, &registry) {
                        log::error!(
                            "schema {schema} is not fully migrated, run the migrations again: {}",
                            crate::error::chain(&error)
                        );
                    }
                });
            } else {
                let done = finish(&job, &events, conn, registry)?;
                saved.applied.extend(done.applied);
                saved.listener_failures.extend(done.listener_failures);
            }
        }
        saved
            .listener_failures
            .extend(std::mem::take(&mut *lock(&failures)));
        Ok(saved)
    }
}

/// Runs what can't run in a transaction, and tells those who waited for it.
fn finish(
    job: &Job,
    events: &[Happened],
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
) -> Result<Migrated> {
    let failures = Arc::default();
    let mut done = conn.with_schema(&job.schema, |conn| job.run(conn, registry))?;
    for event in events {
        emit(conn, registry, event.clone(), &failures)?;
    }
    done.listener_failures
        .extend(std::mem::take(&mut *lock(&failures)));
    Ok(done)
}

/// A tenant that is deleted, as soon as the transaction is committed.
struct Deletion {
    schema_dropped: bool,
    pub(crate) failures: Failures,
}

impl Deletion {
    fn finish(self) -> Deleted {
        Deleted {
            schema_dropped: self.schema_dropped,
            listener_failures: std::mem::take(&mut *lock(&self.failures)),
        }
    }
}

fn delete<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    options: DeleteOptions,
) -> Result<Deletion> {
    let schema = tenant.schema_name();
    let Some(row) = tenant.row(conn)? else {
        return Err(not_saved(tenant));
    };
    if row.schema_name() != schema {
        return Err(Error::SchemaNameChanged {
            from: row.schema_name().clone(),
            to: schema.clone(),
        });
    }
    let failures = Failures::default();
    let drop = options.drop_schema.unwrap_or(T::AUTO_DROP_SCHEMA)
        && registry.refuse_protected(schema, "dropped").is_ok();
    let exists = drop
        && conn
            .own(|inner| {
                ledger::lock_in_transaction(inner, schema)?;
                sql::schema_exists(inner, schema)
            })
            .map_err(|error| Error::database("looking for the schema", error))?;
    if exists {
        emit(conn, registry, happened(&row, What::PreDrop), &failures)?;
    }
    let deleted = conn
        .with_public(|conn| row.delete_row(conn))
        .map_err(|error: DieselError| {
            Error::database(format!("deleting the row of tenant {schema}"), error)
        })?;
    if !deleted {
        return Err(not_saved(tenant));
    }
    if exists {
        conn.own(|inner| {
            sql::drop_schema_cascade(inner, schema)?;
            forget_state(inner, registry, schema)
        })
        .map_err(|error| Error::database(format!("dropping schema {schema}"), error))?;
        look_again(conn, registry);
    }
    Ok(Deletion {
        schema_dropped: exists,
        failures,
    })
}

/// Removes a schema that is gone from the table of states, if there is one.
pub(crate) fn forget_state(
    conn: &mut PgConnection,
    registry: &Registry,
    schema: &SchemaName,
) -> QueryResult<()> {
    let public = registry.public();
    if sql::bookkeeping(conn, public, public)?.state {
        sql::forget_state(conn, public, schema)?;
    }
    Ok(())
}

/// Makes every connection look its names up again: this one now, the others
/// once they can see what was changed.
pub(crate) fn look_again(conn: &mut TenantConnection, registry: &Arc<Registry>) {
    registry.policy.bump_generation();
    registry.bump_after_commit(conn);
}

fn rename<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    to: &SchemaName,
) -> Result<T> {
    let from = tenant.schema_name();
    let mut row = tenant.row(conn)?.ok_or_else(|| not_saved(tenant))?;
    let (old, new) = conn
        .own(|inner| {
            ledger::lock_all_in_transaction(inner, [from, to])?;
            Ok((
                sql::schema_exists(inner, from)?,
                sql::schema_exists(inner, to)?,
            ))
        })
        .map_err(|error| Error::database("looking for the schemas", error))?;
    if !old {
        return Err(Error::NoSuchSchema {
            schema: from.clone(),
        });
    }
    if new {
        return Err(Error::SchemaExists { schema: to.clone() });
    }
    row.set_schema_name(to.clone());
    let stored = conn
        .with_public(|conn| row.update_row(conn))
        .map_err(|error| duplicate(to, error))?
        .ok_or_else(|| not_saved(tenant))?;
    conn.own(|inner| {
        let public = registry.public();
        sql::rename_schema(inner, from, to)?;
        if sql::bookkeeping(inner, public, public)?.state {
            sql::rename_state(inner, public, from, to)?;
        }
        Ok(())
    })
    .map_err(|error| Error::database(format!("renaming schema {from} to {to}"), error))?;
    look_again(conn, registry);
    Ok(stored)
}

/// The registry of a connection's tenancy, if it is one of this model.
pub(crate) fn registry_of<T: TenantModel>(conn: &TenantConnection) -> Result<Arc<Registry>> {
    conn.owner::<Registry>()
        .filter(|registry| registry.model == TypeId::of::<T>())
        .ok_or(Error::Detached)
}

pub(crate) fn refuse_other_scope(
    conn: &TenantConnection,
    registry: &Registry,
    schema: &SchemaName,
) -> Result<()> {
    match conn.schema_name() {
        None => Err(Error::NoScope),
        Some(current) if current == registry.public() || current == schema => Ok(()),
        Some(current) => Err(Error::OtherScope {
            schema: schema.clone(),
            current: current.clone(),
        }),
    }
}

fn in_public<R>(
    conn: &mut TenantConnection,
    doing: &str,
    f: impl FnOnce(&mut TenantConnection) -> QueryResult<R>,
) -> Result<R> {
    conn.with_public(f)
        .map_err(|error| Error::database(doing, error))
}

pub(crate) fn duplicate(schema: &SchemaName, error: DieselError) -> Error {
    if let Some(detail) = unique_violation(&error) {
        return Error::Duplicate {
            schema: schema.clone(),
            detail,
            source: error,
        };
    }
    let hint = if names_missing_table(&error) {
        " (whose table `tenancy.migrate().shared().run()` makes)"
    } else {
        ""
    };
    Error::database(format!("writing the row of tenant {schema}{hint}"), error)
}

/// Names the work in a failure of `COMMIT`, which knows nothing of it.
pub(crate) fn doing(verb: &str, schema: &SchemaName, error: Error) -> Error {
    match error {
        Error::Database { doing, source } if doing == UNNAMED => Error::Database {
            doing: format!("{verb} tenant {schema}"),
            source,
        },
        error => error,
    }
}

fn not_saved<T: TenantModel>(tenant: &T) -> Error {
    Error::NotSaved {
        schema: tenant.schema_name().clone(),
    }
}

pub(crate) fn happened<T: TenantModel>(tenant: &T, what: What) -> Happened {
    Happened {
        what,
        schema: tenant.schema_name().clone(),
        tenant: Some(Arc::new(tenant.clone())),
    }
}
