//! Copying a tenant: its schema from the catalog, its rows if asked for.

use std::sync::Arc;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;

use crate::catalog::{self, Session, queries, run};
use crate::connection::TenantConnection;
use crate::domain::check_domain;
use crate::error::{Error, Result};
use crate::event::What;
use crate::ledger;
use crate::migrate::emit;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::{
    Saved, Work, doing, duplicate, happened, keep_name, look_again, refuse_other_scope,
    registry_of, saved_row, transaction,
};
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;
use crate::sql;
use crate::sql::tables::RowLock;

/// How a tenant is cloned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct CloneOptions {
    data: bool,
    migrate: bool,
}

impl CloneOptions {
    /// Options that copy the structure of an up-to-date schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the rows are copied, and the sequences go on where they stand. Defaults to no.
    ///
    /// The ledger is copied either way: the clone has these migrations.
    pub fn data(self, data: bool) -> Self {
        Self { data, ..self }
    }

    /// Whether the copy is migrated if migrations are pending. Defaults to no, which is an error then.
    pub fn migrate(self, migrate: bool) -> Self {
        Self { migrate, ..self }
    }
}

/// What making a tenant out of another, or out of a dump, did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// What saving the new tenant did.
    pub saved: Saved,
    /// What was left out or may still say the old schema's name, each in a sentence.
    pub warnings: Vec<String>,
}

/// Copies of tenants. Every [`TenantModel`] has it.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use tenant_schemas::{CloneOptions, CloneTenant};
///
/// let mut conn = tenancy.tenant(&acme)?;
/// diesel::insert_into(rooms::table).values((rooms::id.eq(1), rooms::name.eq("Blue"))).execute(&mut conn)?;
///
/// let mut copy = Client::new("acme_demo".parse()?, "demo.my-domain.com");
/// acme.clone_to(&mut conn, &mut copy, CloneOptions::new().data(true))?;
/// assert_eq!(rooms::table.count().get_result(&mut tenancy.tenant(&copy)?), Ok(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CloneTenant: TenantModel {
    /// Saves `new` as a tenant whose schema is a copy of this tenant's.
    ///
    /// Types, tables, keys, indexes, views, functions, triggers, policies,
    /// comments, owners and grants are copied from the catalog, and whatever
    /// referred to something in this tenant's schema refers to its copy.
    /// That holds for values of the types `regclass`, `regtype`, `regproc` and `regprocedure` too;
    /// one that stands for something that is not copied, such as a foreign table, is 0, and a warning.
    /// Function bodies are text: where they name the schema without doubt the
    /// new name is put, everything else is a warning; so is a string that has the name, as an argument of a trigger.
    ///
    /// Rows are copied as they are at one moment. One transaction does it all,
    /// or a savepoint of the caller's. In a transaction that is repeatable read, a table that was
    /// emptied or rewritten since it began has no rows, as PostgreSQL has it. A tenant that was
    /// saved without its schema gets it here.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::SchemaExists`] if the new
    /// schema is there, [`Error::NoSuchSchema`] if this tenant's is not,
    /// [`Error::Behind`] if it lacks migrations, [`Error::Protected`],
    /// [`Error::OtherScope`], [`Error::SchemaNameChanged`], [`Error::Duplicate`];
    /// [`Error::PointsBack`] if the copy would need something of the original.
    fn clone_to(
        &self,
        conn: &mut TenantConnection,
        new: &mut Self,
        options: CloneOptions,
    ) -> Result<Copied> {
        let registry = registry_of::<Self>(conn)?;
        let source = self.schema_name();
        if conn.schema_name() != Some(source) {
            refuse_other_scope(conn, &registry, new.schema_name())?;
        }
        registry.refuse_protected(source, "cloned")?;
        let make = Make {
            source: Some(self),
            migrate: options.migrate,
            once: false,
        };
        make.tenant(conn, &registry, new, |conn, target| {
            clone_schema(conn, source, target, options.data)
        })
    }
}

impl<T: TenantModel> CloneTenant for T {}

/// The making of a tenant whose schema comes from somewhere else than migrations.
pub(crate) struct Make<'a, T> {
    /// The tenant whose schema is read, and locked meanwhile.
    pub(crate) source: Option<&'a T>,
    pub(crate) migrate: bool,
    /// What it comes from can be read once, so it is not tried again after a deadlock.
    pub(crate) once: bool,
}

impl<T: TenantModel> Make<'_, T> {
    /// Saves `new`; `fill` makes its schema, and says what a person should know.
    pub(crate) fn tenant(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        new: &mut T,
        mut fill: impl FnMut(&mut PgConnection, &SchemaName) -> Result<Vec<String>>,
    ) -> Result<Copied> {
        let target = new.schema_name().clone();
        SchemaName::with_policy(target.as_str(), registry.names)?;
        registry.refuse_protected(&target, "taken by a tenant")?;
        let outer = conn.in_transaction();
        let given = new.clone();
        let mut make = |conn: &mut TenantConnection| {
            self.lock(conn, &target)?;
            let (stored, created) = row(&given, conn, registry)?;
            if let Some(source) = self.source {
                saved_row(source, conn)?;
                // Before anything is copied in vain.
                let kind = Kind::Tenant(stored.tenant_type());
                self.pending(conn, registry, source.schema_name(), &kind)?;
            }
            let warnings = conn.own(|conn| fill(conn, &target))?;
            let mut work = self.conclude(conn, registry, &stored)?;
            work.saved.created = created;
            look_again(conn, registry);
            Ok::<_, Error>((stored, work, warnings))
        };
        let (stored, work, warnings) = if self.once {
            conn.transaction(make)
        } else {
            transaction(conn, registry, &mut make)
        }
        .map_err(|error| doing("saving", &target, error))?;
        *new = stored;
        let saved = work.finish(conn, registry, outer)?;
        Ok(Copied { saved, warnings })
    }

    /// Locks all schemas, in an order that everyone has, and looks which of them exist.
    fn lock(&self, conn: &mut TenantConnection, target: &SchemaName) -> Result<()> {
        let failed = |error| Error::database("looking for the schemas", error);
        let source = self.source.map(TenantModel::schema_name);
        let schemas = source.into_iter().chain([target]);
        conn.own(|inner| ledger::lock_all_in_transaction(inner, schemas))
            .map_err(failed)?;
        if let Some(schema) = source
            && !conn
                .own(|inner| sql::schemas::schema_exists(inner, schema))
                .map_err(failed)?
        {
            return Err(Error::NoSuchSchema {
                schema: schema.clone(),
            });
        }
        if conn
            .own(|inner| sql::schemas::schema_exists(inner, target))
            .map_err(failed)?
        {
            return Err(Error::SchemaExists {
                schema: target.clone(),
            });
        }
        Ok(())
    }

    /// The migrations that a schema of this kind lacks; an error unless it was asked to migrate them.
    fn pending(
        &self,
        conn: &mut TenantConnection,
        registry: &Registry,
        schema: &SchemaName,
        kind: &Kind,
    ) -> Result<Vec<MigrationId>> {
        let (_, applied) = conn
            .own(|inner| ledger::read(inner, schema, registry.public()))
            .map_err(|error| {
                Error::database(format!("reading the ledger of schema {schema}"), error)
            })?;
        let pending = registry.pending(kind, &applied);
        if pending.is_empty() || self.migrate {
            return Ok(pending);
        }
        Err(Error::Behind {
            schema: schema.clone(),
            pending,
        })
    }

    /// Writes the state of the new schema, and migrates it if that is needed.
    fn conclude(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        stored: &T,
    ) -> Result<Work> {
        let schema = stored.schema_name();
        let public = registry.public();
        let kind = Kind::Tenant(stored.tenant_type());
        let pending = self.pending(conn, registry, schema, &kind)?;
        conn.own(|inner| {
            inner.batch_execute(&sql::ledger::create_ledger(schema))?;
            if sql::ledger::bookkeeping(inner, schema, public)?.state {
                inner.batch_execute(&sql::ledger::write_state(public, schema))?;
            }
            Ok(())
        })
        .map_err(|error| Error::database(format!("writing the state of schema {schema}"), error))?;
        let mut work = Work::default();
        if pending.is_empty() {
            work.saved.provisioned = true;
            let synced = happened(stored, What::PostSchemaSync);
            emit(conn, registry, synced, &work.failures)?;
        } else {
            work.provision(stored, conn, registry, true)?;
        }
        Ok(work)
    }
}

/// The row of a new tenant, and whether it was inserted: it may be there already, and stays then.
fn row<T: TenantModel>(
    tenant: &T,
    conn: &mut TenantConnection,
    registry: &Registry,
) -> Result<(T, bool)> {
    if let Some(row) = saved_row(tenant, conn)? {
        keep_name(tenant, conn, registry, RowLock::Keep)?;
        return Ok((row, false));
    }
    tenant.domain_url().map_or(Ok(()), check_domain)?;
    conn.with_public(|conn| tenant.insert_row(conn))
        .map(|row| (row, true))
        .map_err(|error| duplicate(tenant.schema_name(), error))
}

/// Makes a schema like another, in the transaction that is open.
///
/// Returns what a person should know. The caller has locked both schemas.
fn clone_schema(
    conn: &mut PgConnection,
    source: &SchemaName,
    target: &SchemaName,
    data: bool,
) -> Result<Vec<String>> {
    let reading = |error| Error::database(format!("reading the catalog of schema {source}"), error);
    let session = Session::begin(conn).map_err(reading)?;
    Session::enter(conn, source).map_err(reading)?;
    let oid = queries::number(conn, source)
        .map_err(reading)?
        .ok_or_else(|| Error::NoSuchSchema {
            schema: source.clone(),
        })?;
    let structure = catalog::read(conn, source, oid).map_err(reading)?;
    let structure = structure.possible(source)?;
    let making = |error| Error::database(format!("making schema {target}"), error);
    sql::schemas::create_schema(conn, target).map_err(making)?;
    Session::enter(conn, target).map_err(making)?;
    run(conn, &structure.before, target)?;
    copy_rows(conn, source, &structure, data)?;
    let lost = if data {
        structure.lost(conn).map_err(making)?
    } else {
        Vec::new()
    };
    run(conn, &structure.after, target)?;
    if let Some([dependent, object]) = catalog::dependent(conn, oid).map_err(reading)? {
        return Err(Error::PointsBack {
            schema: target.clone(),
            dependent,
            object,
        });
    }
    session.end(conn).map_err(making)?;
    let mut remarks = structure.remarks(data);
    remarks.extend(lost);
    Ok(remarks)
}

fn copy_rows(
    conn: &mut PgConnection,
    source: &SchemaName,
    structure: &catalog::Structure,
    data: bool,
) -> Result<()> {
    let copying = |error| Error::database(format!("copying the rows of schema {source}"), error);
    let tables = structure
        .tables
        .iter()
        .filter(|table| data || sql::ledger::is_ledger(&table.name));
    if let Some(copy) = queries::copy_rows(source, tables) {
        conn.batch_execute(&copy).map_err(copying)?;
    }
    if data && !structure.sequences.is_empty() {
        // Behind the rows: a number that was drawn meanwhile is skipped, never used twice.
        let counters = queries::counters(conn, source, &structure.sequences).map_err(copying)?;
        let sets: Vec<String> = counters.iter().map(queries::Counter::set).collect();
        conn.batch_execute(&sets.join("; ")).map_err(copying)?;
    }
    Ok(())
}
