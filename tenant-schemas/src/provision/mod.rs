//! [`Lifecycle`]: a tenant is saved, provisioned, renamed, deleted.

mod delete;
mod options;
mod rename;
mod save;

use std::any::TypeId;
use std::sync::Arc;

use diesel::Connection as _;
use diesel::result::{Error as DieselError, QueryResult};

use crate::connection::TenantConnection;
use crate::error::{Error, Result, UNNAMED, names_missing_table, unique_violation};
use crate::event::{Happened, What};
use crate::ledger;
use crate::model::{RowId as _, TenantModel};
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::sql;

use self::delete::{Deletion, delete};
use self::rename::rename;

pub(crate) use self::delete::forget_state;
pub use self::options::{DeleteOptions, Deleted, SaveOptions, Saved};
pub(crate) use self::save::Work;

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

/// Makes every connection look its names up again: this one now, the others
/// once they can see what was changed.
pub(crate) fn look_again(conn: &mut TenantConnection, registry: &Arc<Registry>) {
    registry.policy.bump_generation();
    registry.bump_after_commit(conn);
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
