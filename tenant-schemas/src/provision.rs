//! [`Lifecycle`]: a tenant is saved, provisioned, renamed, deleted.

use std::any::TypeId;
use std::sync::Arc;

use diesel::Connection as _;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::event::{Happened, ListenerFailure, What};
use crate::ledger;
use crate::migrate::{Job, Migrated, emit, lock};
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

    /// Takes over a schema that exists, instead of creating one.
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
    /// [`Error::OtherScope`] from the scope of another tenant.
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
        SchemaName::with_policy(self.schema_name().as_str(), registry.names)?;
        let outer = conn.in_transaction();
        let given = self.clone();
        let (stored, work) =
            conn.transaction(|conn| Work::save(&given, conn, &registry, options))?;
        *self = stored;
        work.finish(conn, &registry, outer)
    }

    /// Saves a new tenant over a schema that exists, and migrates it.
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
        let work = conn.transaction(|conn| {
            let row = self.row(conn)?.ok_or_else(|| not_saved(self))?;
            let mut work = Work::default();
            work.provision(&row, conn, &registry, false)?;
            Ok::<_, Error>(work)
        })?;
        work.finish(conn, &registry, outer)
    }

    /// Deletes the tenant's row, and its schema if the model says `auto_drop_schema`.
    ///
    /// Returns whether the schema was dropped. The public schema never is.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::NotSaved`] if there is no
    /// row, [`Error::OtherScope`] from the scope of another tenant.
    fn delete(&self, conn: &mut TenantConnection) -> Result<bool> {
        self.delete_with(conn, DeleteOptions::new())
    }

    /// Deletes the tenant in another way than the model says.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    fn delete_with(&self, conn: &mut TenantConnection, options: DeleteOptions) -> Result<bool> {
        let registry = registry_of::<Self>(conn)?;
        refuse_other_scope(conn, &registry, self.schema_name())?;
        conn.transaction(|conn| delete(self, conn, &registry, options))
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
    ) -> Result<()> {
        let registry = registry_of::<Self>(conn)?;
        conn.transaction(|conn| {
            for tenant in tenants {
                refuse_other_scope(conn, &registry, tenant.schema_name())?;
                delete(tenant, conn, &registry, options)?;
            }
            Ok(())
        })
    }

    /// Renames the tenant's schema, and the row with it.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::SchemaExists`] if the new
    /// name is taken, [`Error::Protected`] if either name is not a tenant's to have.
    fn rename(&mut self, conn: &mut TenantConnection, to: &SchemaName) -> Result<()> {
        let registry = registry_of::<Self>(conn)?;
        let from = self.schema_name().clone();
        refuse_other_scope(conn, &registry, &from)?;
        SchemaName::with_policy(to.as_str(), registry.names)?;
        registry.refuse_protected(&from, "renamed")?;
        registry.refuse_protected(to, "taken by a tenant")?;
        let renamed = conn.transaction(|conn| rename(self, conn, &registry, to))?;
        *self = renamed;
        if conn.schema_name() == Some(&from) {
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

    /// The tenant that has a domain: a host name without scheme, port or path.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_domain(conn: &mut TenantConnection, domain: &str) -> Result<Option<Self>> {
        in_public(conn, "looking for the tenant", |conn| {
            Self::row_by_domain(conn, domain)
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

/// What is left to do when the transaction is over.
#[derive(Default)]
struct Work {
    saved: Saved,
    /// The job whose rest can't run in a transaction.
    rest: Option<Job>,
    /// Events that wait for that rest.
    events: Vec<Happened>,
    failures: Arc<std::sync::Mutex<Vec<ListenerFailure>>>,
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
            let stored = conn
                .with_public(|conn| tenant.update_row(conn))
                .map_err(|error| duplicate(tenant.schema_name(), error))?
                .ok_or_else(|| not_saved(tenant))?;
            return Ok((stored, work));
        }
        let is_public = tenant.schema_name() == registry.public();
        if !is_public {
            registry.refuse_protected(tenant.schema_name(), "taken by a tenant")?;
        }
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
    fn provision<T: TenantModel>(
        &mut self,
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        adopt: bool,
    ) -> Result<()> {
        let schema = tenant.schema_name();
        let is_public = schema == registry.public();
        let key = ledger::lock_key(schema);
        let exists = conn
            .own(|inner| {
                sql::lock_in_transaction(inner, key)?;
                sql::schema_exists(inner, schema)
            })
            .map_err(|error| Error::database("looking for the schema", error))?;
        match (exists, adopt || is_public) {
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
                .own(|inner| sql::create_schema(inner, schema))
                .map_err(|error| Error::database(format!("creating schema {schema}"), error))?,
        }
        let kind = if is_public {
            Kind::Shared
        } else {
            Kind::Tenant(tenant.tenant_type())
        };
        let mut job = Job::new(schema.clone(), kind);
        job.tenant = Some(Arc::new(tenant.clone()));
        job.atomic = true;
        job.adopt = adopt;
        let (done, unfinished) = job.run_in_transaction(conn, registry)?;
        self.saved.provisioned = !is_public;
        self.saved.applied = done.applied;
        let synced = happened(tenant, What::PostSchemaSync);
        if unfinished {
            self.rest = Some(job);
            self.events.push(synced);
        } else {
            emit(conn, registry, synced, &self.failures)?;
        }
        Ok(())
    }

    /// Does the rest: now, or when the caller's transaction is committed.
    fn finish(
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

fn delete<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    options: DeleteOptions,
) -> Result<bool> {
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
    let drop = options.drop_schema.unwrap_or(T::AUTO_DROP_SCHEMA)
        && registry.refuse_protected(schema, "dropped").is_ok();
    let exists = drop
        && conn
            .own(|inner| {
                sql::lock_in_transaction(inner, ledger::lock_key(schema))?;
                sql::schema_exists(inner, schema)
            })
            .map_err(|error| Error::database("looking for the schema", error))?;
    if exists {
        emit(
            conn,
            registry,
            happened(&row, What::PreDrop),
            &Arc::default(),
        )?;
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
        let public = registry.public();
        conn.own(|inner| {
            sql::drop_schema_cascade(inner, schema)?;
            if sql::bookkeeping(inner, public, public)?.state {
                sql::forget_state(inner, public, schema)?;
            }
            Ok(())
        })
        .map_err(|error| Error::database(format!("dropping schema {schema}"), error))?;
        registry.bump_after_commit(conn);
    }
    Ok(exists)
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
            let mut keys = [ledger::lock_key(from), ledger::lock_key(to)];
            keys.sort_unstable();
            for key in keys {
                sql::lock_in_transaction(inner, key)?;
            }
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
    conn.own(|inner| sql::rename_schema(inner, registry.public(), from, to))
        .map_err(|error| Error::database(format!("renaming schema {from} to {to}"), error))?;
    registry.bump_after_commit(conn);
    Ok(stored)
}

/// The registry of a connection's tenancy, if it is one of this model.
pub(crate) fn registry_of<T: TenantModel>(conn: &TenantConnection) -> Result<Arc<Registry>> {
    conn.owner::<Registry>()
        .filter(|registry| registry.model == TypeId::of::<T>())
        .ok_or(Error::Detached)
}

fn refuse_other_scope(
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

fn duplicate(schema: &SchemaName, error: DieselError) -> Error {
    match &error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
            Error::Duplicate {
                schema: schema.clone(),
                detail: information
                    .details()
                    .unwrap_or_else(|| information.message())
                    .trim_end_matches('.')
                    .to_owned(),
                source: error,
            }
        }
        _ => Error::database(format!("writing the row of tenant {schema}"), error),
    }
}

fn not_saved<T: TenantModel>(tenant: &T) -> Error {
    Error::NotSaved {
        schema: tenant.schema_name().clone(),
    }
}

fn happened<T: TenantModel>(tenant: &T, what: What) -> Happened {
    Happened {
        what,
        schema: tenant.schema_name().clone(),
        tenant: Some(Arc::new(tenant.clone())),
    }
}
