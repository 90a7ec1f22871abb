//! [`ProvisionTenant`]: a tenant is saved now, and gets its schema from a job.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use serde::{Deserialize, Serialize};

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error, Result, chain};
use crate::event::{Event, What};
use crate::ledger;
use crate::migrate::{Failures, Job, emit};
use crate::model::TenantModel;
use crate::provision::{Work, happened, locked_row, registry_of, transaction};
use crate::registry::{Kind, Registry};
use crate::sql;
use crate::tenancy::Tenancy;

use super::ready::{Readiness, readiness};
use super::{GiveUp, InTenant, JobError, TenantRef};

/// The job that gives a tenant its schema. [`Tenancy::provision_job`] does it.
///
/// A form that signs a customer up saves the tenant and its message in one
/// transaction, and shows a page that asks for [`Tenancy::provisioning`]:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # use tenant_schemas::testing::TestTenancy;
/// use std::sync::mpsc;
/// use tenant_schemas::SaveOptions;
/// use tenant_schemas::jobs::{Provisioning, TenantRef, provision_later};
///
/// let (queue, worker) = mpsc::channel(); // yours is a real one, such as `PostgresQueue`
/// # let tests = TestTenancy::<Client>::new(|builder| {
/// let builder = builder.app(Customers).app(Hotels).listener_in_transaction(
///     provision_later::<Client>(move |_conn, envelope| {
///         queue.send(envelope.clone())?;
///         Ok(())
///     }),
/// );
/// # builder })?;
/// # let tenancy = tests.tenancy();
///
/// // The form:
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
/// acme.save_with(&mut *tenancy.public()?, SaveOptions::new().auto_create_schema(false))?;
///
/// // The page, in any process:
/// let reference = TenantRef::of(&acme)?;
/// assert_eq!(tenancy.provisioning(&reference)?, Provisioning::Waiting);
///
/// // The worker:
/// tenancy.provision_job(&worker.recv()?)?;
/// assert_eq!(tenancy.provisioning(&reference)?, Provisioning::Ready);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvisionTenant {}

impl ProvisionTenant {
    /// The job.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

/// How far a tenant is on its way to a schema of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provisioning {
    /// Nothing was begun yet.
    Waiting,
    /// A worker is at it.
    #[non_exhaustive]
    Running {
        /// How many migrations have run.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// The schema has everything that this program expects.
    Ready,
    /// The last try failed. If the queue tries again, it is running again.
    #[non_exhaustive]
    Failed {
        /// Why.
        reason: String,
        /// How many tries failed.
        failures: usize,
    },
}

/// A listener inside the transaction, which sends a [`ProvisionTenant`] for each tenant
/// that is saved without its schema.
///
/// Give it to [`listener_in_transaction`](crate::TenancyBuilder::listener_in_transaction).
/// `send` hands the message to a queue, in the transaction if the queue can do
/// that. A schema of the tenant's name that exists already is refused, and
/// nothing is saved.
pub fn provision_later<T: TenantModel>(
    send: impl Fn(&mut TenantConnection, &InTenant<ProvisionTenant>) -> Result<(), BoxError>
    + Send
    + Sync
    + 'static,
) -> impl Fn(&Event<'_>, &mut TenantConnection) -> Result<(), BoxError> + Send + Sync + 'static {
    move |event, conn| {
        let Event::SchemaNeedsSync { subject } = event else {
            return Ok(());
        };
        let Some(tenant) = subject.tenant::<T>() else {
            return Ok(());
        };
        let registry = registry_of::<T>(conn)?;
        let schema = tenant.schema_name();
        let reference = TenantRef::of(tenant)?;
        let exists = conn.own(|inner| {
            ledger::lock_in_transaction(inner, schema)?;
            sql::schemas::schema_exists(inner, schema)
        })?;
        if exists {
            // The job could not tell it from one that it made itself.
            return Err(Error::SchemaExists {
                schema: schema.clone(),
            }
            .into());
        }
        conn.own(|inner| {
            make_table(inner, &registry)?;
            sql::jobs::forget_provisioning(inner, registry.public(), reference.id())?;
            sql::jobs::request_provisioning(inner, registry.public(), reference.id())
        })?;
        send(conn, &InTenant::by_ref(reference, ProvisionTenant::new()))
    }
}

impl<T: TenantModel> Tenancy<T> {
    /// Gives a tenant its schema, or finishes what was begun (feature `jobs`).
    ///
    /// Done twice, by two workers at once too, it is done once. As when a tenant
    /// is saved, it is one transaction, but for the migrations that can't run in
    /// one; killed in the middle it leaves nothing, or goes on there the next time.
    ///
    /// # Errors
    ///
    /// A [`JobError`]; [`JobError::Failed`] with what failed, which
    /// [`provisioning`](Self::provisioning) reports from then on. A schema of that
    /// name that was not made for this tenant is never taken over, and no retry helps.
    pub fn provision_job(&self, envelope: &InTenant<ProvisionTenant>) -> Result<(), JobError> {
        let reference = envelope.tenant();
        let mut conn = self.public()?;
        let tenant = self.find_on(&mut conn, reference)?;
        let registry = Arc::clone(self.registry());
        let schema = tenant.schema_name();
        let result = provision(&tenant, reference, &mut conn, &registry);
        let reason = result.as_ref().err().map(|error| chain(error));
        let noted = conn.own(|inner| {
            make_table(inner, &registry)?;
            sql::jobs::note_provisioning(
                inner,
                registry.public(),
                reference.id(),
                reason.as_deref(),
            )
        });
        if let Err(error) = noted {
            log::error!("what became of tenant {reference} could not be noted: {error}");
        }
        result.map_err(|error| JobError::Failed {
            schema: schema.clone(),
            source: match error {
                Error::SchemaExists { .. } | Error::Protected { .. } | Error::Name(_) => {
                    GiveUp::new(error).into()
                }
                error => error.into(),
            },
        })
    }

    /// How far a tenant is on its way to a schema of its own, whichever process is at it (feature `jobs`).
    ///
    /// It takes a handful of statements, and waits for nobody.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn provisioning(&self, reference: &TenantRef) -> Result<Provisioning, JobError> {
        let mut conn = self.public()?;
        let tenant = self.find_on(&mut conn, reference)?;
        let registry = self.registry();
        let schema = tenant.schema_name();
        let kind = Kind::Tenant(tenant.tenant_type());
        let of = registry.all_applied(&kind).len();
        let failed = |error| Error::database(format!("looking after schema {schema}"), error);
        // Before the schema: what is at work now and committed then is ready.
        let at_work = conn
            .own(|inner| sql::jobs::at_work(inner, schema))
            .map_err(failed)?;
        let ready = readiness(&mut conn, registry, &[(schema.clone(), kind)])?.pop();
        let row = conn
            .own(|inner| {
                make_table(inner, registry)?;
                sql::jobs::provisioning(inner, registry.public(), reference.id())
            })
            .map_err(failed)?;
        let foreign = row
            .as_ref()
            .is_some_and(|row| row.reason.is_some() && !row.requested);
        let begun = match ready {
            Some(Readiness::Ready) if !foreign => return Ok(Provisioning::Ready),
            Some(Readiness::Ready) => Some(of),
            Some(Readiness::Behind(pending)) => Some(of.saturating_sub(pending.len())),
            Some(Readiness::NoSchema) | None => None,
        };
        if let Some(done) = at_work {
            return Ok(Provisioning::Running {
                done: done.max(begun.unwrap_or(0)),
                of,
            });
        }
        Ok(match (row, begun) {
            (Some(row), _) if row.reason.is_some() => Provisioning::Failed {
                reason: row.reason.unwrap_or_default(),
                failures: usize::try_from(row.failures).unwrap_or_default(),
            },
            (_, Some(done)) => Provisioning::Running { done, of },
            (_, None) => Provisioning::Waiting,
        })
    }
}

fn provision<T: TenantModel>(
    tenant: &T,
    reference: &TenantRef,
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
) -> Result<()> {
    let schema = tenant.schema_name();
    let kind = Kind::Tenant(tenant.tenant_type());
    let asked = [(schema.clone(), kind.clone())];
    let failed = |error| Error::database(format!("provisioning schema {schema}"), error);
    let public = registry.public();
    conn.own(|inner| make_table(inner, registry))
        .map_err(failed)?;
    if readiness(conn, registry, &asked)?.pop() == Some(Readiness::NoSchema) {
        let work = transaction(conn, registry, |conn| {
            let there = conn
                .own(|inner| {
                    ledger::lock_in_transaction(inner, schema)?;
                    inner.batch_execute(&sql::locks::show_progress(schema, 0))?;
                    sql::schemas::schema_exists(inner, schema)
                })
                .map_err(failed)?;
            if there {
                // Another worker was faster.
                return Ok(None);
            }
            // It may have been deleted or renamed while the lock was waited for.
            let row = locked_row(tenant, conn, registry)?;
            conn.own(|inner| sql::jobs::request_provisioning(inner, public, reference.id()))
                .map_err(failed)?;
            let mut work = Work::watched();
            work.provision(&row, conn, registry, false)?;
            Ok::<_, Error>(Some(work))
        })?;
        if let Some(work) = work {
            work.finish(conn, registry, false)?;
        }
    }
    // The schema is there: made just now, by another worker, or by one that did not finish.
    let made_for_it = conn
        .own(|inner| {
            let row = sql::jobs::provisioning(inner, public, reference.id())?;
            let (there, _) = ledger::read(inner, schema, public)?;
            Ok(row.is_some_and(|row| row.requested) && there.ledger)
        })
        .map_err(failed)?;
    if !made_for_it {
        return Err(Error::SchemaExists {
            schema: schema.clone(),
        });
    }
    if readiness(conn, registry, &asked)?.pop() != Some(Readiness::Ready) {
        let mut job = Job::new(schema.clone(), kind);
        job.tenant = Some(Arc::new(tenant.clone()));
        job.watched = true;
        conn.with_schema(schema, |conn| job.run(conn, registry))?;
        let synced = happened(tenant, What::PostSchemaSync);
        emit(conn, registry, synced, &Failures::default())?;
    }
    Ok(())
}

fn make_table(
    conn: &mut diesel::pg::PgConnection,
    registry: &Registry,
) -> diesel::result::QueryResult<()> {
    let lock = ledger::lock_key(registry.public()).wrapping_add(3);
    sql::jobs::make_provisioning(conn, registry.public(), lock)
}
