//! [`Lifecycle`]: a tenant is saved, provisioned, renamed, deleted.

mod delete;
pub(crate) mod dropping;
mod options;
mod ready;
mod rename;
mod save;

use std::any::TypeId;
use std::sync::Arc;

use diesel::Connection as _;
use diesel::result::{Error as DieselError, QueryResult};

use crate::changes::{Change, announce, of_tenant};
use crate::connection::TenantConnection;
use crate::error::{Error, Result, UNNAMED, names_missing_table, unique_violation};
use crate::event::{Happened, What};
use crate::ledger;
use crate::model::{RowId as _, TenantModel};
use crate::name::SchemaName;
use crate::registry::Registry;
use crate::sql::tables::RowLock;
use crate::{rules, sql};

use self::delete::{Deletion, delete};
use self::rename::rename;

pub use self::options::{DeleteOptions, Deleted, SaveOptions, Saved};
pub use self::ready::{Filled, KeepReady, ReadySchemas};
pub(crate) use self::save::Work;

/// What happens to a tenant and its schema. Every [`TenantModel`] has it.
///
/// The methods work on a connection of the public schema, or of the tenant
/// itself; each is one transaction, or a savepoint of the caller's.
///
/// # The life of a tenant
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// use tenant_schemas::{DeleteOptions, Error};
///
/// let mut conn = tenancy.public()?;
///
/// // It comes: the row, its schema and every migration, or nothing of them.
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com").name("Acme Inc.");
/// let saved = acme.save(&mut conn)?;
/// assert!(saved.created && saved.provisioned);
/// assert_ne!(acme.id, 0); // the database chose it
///
/// // It is found, by what a request says.
/// assert_eq!(Client::by_domain(&mut conn, "acme.my-domain.com")?.as_ref(), Some(&acme));
///
/// // It changes: of one that exists, the row alone is saved.
/// acme.on_trial = false;
/// let saved = acme.save(&mut conn)?;
/// assert!(!saved.created && !saved.provisioned);
///
/// // It moves: schema and row together.
/// acme.rename(&mut conn, &"acme_inc".parse()?)?;
/// assert_eq!(acme.schema_name.as_str(), "acme_inc");
///
/// // It goes. The schema goes with it only if that is said, here or by the model.
/// let deleted = acme.delete_with(&mut conn, DeleteOptions::new().auto_drop_schema(true))?;
/// assert!(deleted.schema_dropped);
/// assert!(matches!(tenancy.schema(&acme.schema_name), Err(Error::NoSuchSchema { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A schema that is there before its tenant is taken over with
/// [`adopt`](Self::adopt). A tenant can be saved without its schema, which
/// [`provision`](Self::provision) makes later. Copies of a tenant are made with
/// [`CloneTenant`](crate::CloneTenant), files with [`DumpTenant`](crate::DumpTenant).
pub trait Lifecycle: TenantModel {
    /// Saves the tenant; a new one is provisioned: row, schema and every migration, all or nothing.
    ///
    /// A tenant whose key is unset, or has no row yet, is new. Of one that
    /// exists the row alone is updated. The value takes over what the database
    /// filled in. A tenant of the public schema has the shared apps migrated,
    /// and no schema created.
    ///
    /// A foreign key to a shared table keeps everyone from writing to that table until
    /// the commit. So such keys are made last, behind all migrations, if the table is
    /// named with its schema and nothing in between may ask for them; listeners in the
    /// transaction find them made.
    ///
    /// A tenant whose type became another is brought the apps of that type by the
    /// next migration run; what the apps of the old one made stays.
    ///
    /// Migrations that can't run in a transaction, and those behind them, run
    /// after the commit; if one fails, that is the error, the tenant exists, and migrating
    /// again resumes there. Inside a transaction of the caller's they run after its
    /// commit, and a failure is logged.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// use tenant_schemas::Error;
    ///
    /// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// let saved = acme.save(&mut *tenancy.public()?)?;
    /// assert_eq!(saved.applied[0].to_string(), "hotels/2024-01-02-000000_create_rooms");
    ///
    /// let mut twin = Client::new("acme_two".parse()?, "acme.my-domain.com");
    /// let refused = twin.save(&mut *tenancy.public()?);
    /// assert!(matches!(refused, Err(Error::Duplicate { .. })));
    /// assert!(tenancy.schema(&twin.schema_name).is_err()); // no schema without its row
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error, unless it is one of what runs after the commit.
    /// [`Error::SchemaExists`] if the schema exists: see [`SaveOptions::adopt`].
    /// [`Error::SchemaNameChanged`] if the row has another schema name than the value.
    /// [`Error::OtherScope`] from the scope of another tenant, [`Error::NoScope`] without one.
    /// [`Error::Name`] if the tenancy's policy does not admit a new tenant's schema name,
    /// [`Error::Protected`] if it is not a tenant's to have,
    /// [`Error::Domain`] if a new `domain_url` is no host name in lower case.
    /// [`Error::Migration`], [`Error::Duplicate`], [`Error::Listener`], or what the database
    /// says. [`Error::Detached`] if the connection is not one of this model's tenancy.
    fn save(&mut self, conn: &mut TenantConnection) -> Result<Saved> {
        self.save_with(conn, SaveOptions::new())
    }

    /// Saves the tenant in another way than the model says.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// use tenant_schemas::SaveOptions;
    ///
    /// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// let options = SaveOptions::new().auto_create_schema(false);
    /// let saved = acme.save_with(&mut *tenancy.public()?, options)?;
    /// assert!(saved.created && !saved.provisioned);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        announce(conn, of_tenant(self.schema_name(), self.domain_url()));
        work.finish(conn, &registry, outer)
    }

    /// Saves a tenant over a schema that exists, and migrates it.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// use diesel::connection::SimpleConnection;
    /// use tenant_schemas::Error;
    ///
    /// let mut conn = tenancy.public()?;
    /// conn.batch_execute("CREATE SCHEMA acme")?;
    ///
    /// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// assert!(matches!(acme.save(&mut conn), Err(Error::SchemaExists { .. })));
    /// assert!(acme.adopt(&mut conn)?.provisioned);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save); [`Error::NoSuchSchema`] if there is no such schema.
    fn adopt(&mut self, conn: &mut TenantConnection) -> Result<Saved> {
        self.save_with(conn, SaveOptions::new().adopt())
    }

    /// Creates and migrates the schema of a tenant that was saved without it.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # use tenant_schemas::SaveOptions;
    /// # let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// # acme.save_with(&mut *tenancy.public()?, SaveOptions::new().auto_create_schema(false))?;
    /// // saved with `auto_create_schema(false)`:
    /// assert!(tenancy.tenant(&acme).is_err());
    /// acme.provision(&mut *tenancy.public()?)?;
    /// assert!(tenancy.tenant(&acme).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save); [`Error::NotSaved`] if the tenant has no row.
    fn provision(&self, conn: &mut TenantConnection) -> Result<Saved> {
        let registry = registry_of::<Self>(conn)?;
        refuse_other_scope(conn, &registry, self.schema_name())?;
        let outer = conn.in_transaction();
        let work = transaction(conn, &registry, |conn| {
            let row = locked_row(self, conn, &registry)?;
            let mut work = Work::default();
            work.provision(&row, conn, &registry, false)?;
            Ok(work)
        })
        .map_err(|error| doing("provisioning", self.schema_name(), error))?;
        work.finish(conn, &registry, outer)
    }

    /// Deletes the tenant's row, and its schema if the model says `auto_drop_schema`.
    ///
    /// The public schema never is. Domains that have a table of their own go
    /// with the row if their foreign key says `ON DELETE CASCADE`.
    ///
    /// What in another schema depends on something in this one, such as a view over tenants, is not
    /// dropped along: that is [`Error::Dependents`].
    ///
    /// A schema that is too wide for the server's lock slots is dropped with
    /// [`Tenancy::drop_schema_cascade`](crate::Tenancy::drop_schema_cascade)
    /// first. A connection in the scope of the tenant can't be used for it any
    /// more; choose another scope.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// let mut conn = tenancy.public()?;
    /// let deleted = acme.delete(&mut conn)?;
    /// assert!(!deleted.schema_dropped); // the model does not say `auto_drop_schema`
    /// assert_eq!(Client::by_schema(&mut conn, "acme")?, None);
    /// assert!(tenancy.schema(&acme.schema_name).is_ok()); // the data is still there
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::NotSaved`] if there is no
    /// row, [`Error::SchemaNameChanged`] if it has another schema name than the value,
    /// [`Error::OtherScope`] from the scope of another tenant, [`Error::Listener`] if one of
    /// [`PreDrop`](crate::Event::PreDrop) refuses, or what the database says.
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
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// use tenant_schemas::DeleteOptions;
    ///
    /// let mut conn = tenancy.public()?;
    /// let options = DeleteOptions::new().auto_drop_schema(true);
    /// let deleted = Client::delete_all([&acme, &globex], &mut conn, options)?;
    /// assert!(deleted.iter().all(|deleted| deleted.schema_dropped));
    ///
    /// let again = Client::delete_all([&acme], &mut conn, options);
    /// assert!(matches!(again, Err(tenant_schemas::Error::NotSaved { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        for tenant in &tenants {
            announce(conn, of_tenant(tenant.schema_name(), tenant.domain_url()));
        }
        Ok(deletions.into_iter().map(Deletion::finish).collect())
    }

    /// Renames the tenant's schema, and the row with it.
    ///
    /// A connection in the scope of the tenant follows to the new name. Others
    /// that are out in its scope get [`Error::NoSuchSchema`] from then on if they
    /// are of the same pool, or of a process with a directory that has heard of it,
    /// whoever takes the name; those of other processes go on under the name until their next checkout.
    /// A statement that is on its way when the rename commits finds no such schema, and looks into the
    /// shared one if that is in the path. Rename while nobody works for the tenant, or suspend it before.
    ///
    /// Functions of the schema that say its name, in their body or the path that they set, say the new one;
    /// the role has to own them. What may mean something else, as in a string, there or in the default of a column or
    /// an argument of a trigger, is left and logged.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let mut acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// use tenant_schemas::Error;
    ///
    /// let mut conn = tenancy.public()?;
    /// acme.rename(&mut conn, &"acme_inc".parse()?)?;
    /// assert_eq!(acme.schema_name.as_str(), "acme_inc");
    ///
    /// let taken = acme.rename(&mut conn, &globex.schema_name);
    /// assert!(matches!(taken, Err(Error::SchemaExists { .. })));
    /// assert_eq!(acme.schema_name.as_str(), "acme_inc");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::SchemaExists`] if the new
    /// name is taken, [`Error::Name`] if the policy does not admit it,
    /// [`Error::Protected`] if either name is not a tenant's to have,
    /// [`Error::NotSaved`] if there is no row, [`Error::SchemaNameChanged`] if it has another
    /// schema name than the value, [`Error::NoSuchSchema`] if the tenant has no schema,
    /// [`Error::Duplicate`] if another row has the name, [`Error::OtherScope`] from
    /// the scope of another tenant, [`Error::InsideTransaction`] from the tenant's own
    /// scope inside a transaction: the scope could not follow a rollback.
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
        let renamed = transaction(conn, &registry, |conn| rename(self, conn, &registry, to))
            .map_err(|error| doing("renaming", &from, error))?;
        *self = renamed;
        announce(conn, of_tenant(&from, self.domain_url()));
        announce(conn, of_tenant(to, None));
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
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// # let globex = client(tenancy, "globex")?;
    /// let mut conn = tenancy.public()?;
    /// assert_eq!(Client::all(&mut conn)?, [acme.clone(), globex]);
    /// assert_eq!(Client::by_schema(&mut conn, "acme")?, Some(acme.clone()));
    /// assert_eq!(Client::by_domain(&mut conn, "ACME.my-domain.com")?, Some(acme.clone()));
    /// assert_eq!(Client::by_id(&mut conn, &acme.id)?, Some(acme));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
                conn.own(|inner| sql::locks::lock_in_transaction(inner, key))?;
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

/// Ends the scopes of these names, once others can see that they mean something else.
pub(crate) fn names_moved<'a>(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    names: impl IntoIterator<Item = &'a SchemaName>,
) {
    let names: Vec<SchemaName> = names.into_iter().cloned().collect();
    let registry = Arc::clone(registry);
    conn.invalidate_after_commit(move |_| {
        // First: whoever finds a row from before in a directory is dated before the names went.
        let rows = names.iter().map(|name| Change::Tenant(name.to_string()));
        let rows: Vec<Change> = rows.collect();
        registry.watchers.tell(|watcher| watcher.changed(&rows));
        for name in &names {
            registry.policy.name_moved(name);
        }
    });
}

/// Runs `f`, which moves names, so that this process knows them when it hears of them; not what the caller's
/// transaction does behind it.
fn signed<R>(
    conn: &mut TenantConnection,
    registry: &Registry,
    f: impl FnOnce(&mut TenantConnection) -> Result<R>,
) -> Result<R> {
    let sign = |conn: &mut TenantConnection, origin: &str| {
        conn.own(|inner| sql::changes::sign(inner, origin))
            .map_err(|error| Error::database("signing a change of tenants", error))
    };
    sign(conn, &registry.policy.origin)?;
    let done = f(conn)?;
    sign(conn, "")?;
    Ok(done)
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

/// The row of a tenant, if it has one. An error if the row has another schema than the value: the
/// value's may be another tenant's by now.
///
/// While the schema is locked nobody renames it, so the answer holds.
pub(crate) fn saved_row<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
) -> Result<Option<T>> {
    let row = tenant.row(conn)?;
    match row {
        Some(row) if row.schema_name() != tenant.schema_name() => Err(Error::SchemaNameChanged {
            from: row.schema_name().clone(),
            to: tenant.schema_name().clone(),
        }),
        row => Ok(row),
    }
}

/// The row of a tenant that is to get its schema: until the transaction ends, nobody makes or drops the
/// schema, and the row is neither deleted nor renamed.
pub(crate) fn locked_row<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Registry,
) -> Result<T> {
    let schema = tenant.schema_name();
    conn.own(|inner| ledger::lock_in_transaction(inner, schema))
        .map_err(|error| Error::database(format!("taking the lock of schema {schema}"), error))?;
    let row = saved_row(tenant, conn)?.ok_or_else(|| not_saved(tenant))?;
    // Migrations may take long, and lock the table: who changes the row must not wait for them.
    keep_name(tenant, conn, registry, RowLock::Keep)?;
    Ok(row)
}

/// Keeps others from renaming or deleting a tenant until the transaction ends.
pub(crate) fn keep_name<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Registry,
    lock: RowLock,
) -> Result<()> {
    let table = rules::quoted(registry, &registry.tenant_table);
    let (column, schema) = (registry.schema_column, tenant.schema_name());
    let kept = conn
        .own(|inner| sql::tables::lock_row(inner, &table, column, schema.as_str(), lock))
        .map_err(|error| Error::database("looking for the row of the tenant", error))?;
    if !kept {
        // It says what became of it.
        saved_row(tenant, conn)?;
        return Err(not_saved(tenant));
    }
    Ok(())
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
