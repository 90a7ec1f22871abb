//! Running a job where it belongs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error};
use crate::event::panic_message;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::pool::PooledConnection;
use crate::provision::Lifecycle as _;
use crate::registry::Kind;
use crate::tenancy::Tenancy;

use super::ready::{Readiness, readiness};
use super::{InTenant, JobError, Shared, SharedJob, TenantRef};

impl<T: TenantModel> Tenancy<T> {
    /// Runs a tenant's job on a connection in the scope of its tenant (feature `jobs`).
    ///
    /// The connection goes back when the job returns or fails; after a panic it
    /// is closed. It takes four round trips until the job begins: two look for
    /// the tenant's row, one at what its schema lacks, one enters it.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// use tenant_schemas::jobs::InTenant;
    ///
    /// let envelope = InTenant::new(&acme, "Blue")?;
    /// let rooms: i64 = tenancy.run_job(&envelope, |conn, name| {
    ///     assert_eq!(conn.tenant::<Client>(), Some(&acme));
    ///     rooms::table.filter(rooms::name.eq(name)).count().get_result(conn)
    /// })?;
    /// assert_eq!(rooms, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`JobError`]: without calling `work` if the tenant is gone or not ready,
    /// [`JobError::Failed`] with what `work` returns, [`JobError::Panicked`].
    pub fn run_job<J, R, E>(
        &self,
        envelope: &InTenant<J>,
        work: impl FnOnce(&mut TenantConnection, &J) -> Result<R, E>,
    ) -> Result<R, JobError>
    where
        E: Into<BoxError>,
    {
        let conn = self.job_connection(envelope.tenant())?;
        run(conn, |conn| work(conn, envelope.job()))
    }

    /// Runs a job that was declared to be nobody's, in the public schema (feature `jobs`).
    ///
    /// # Errors
    ///
    /// [`JobError::NotBegun`] if there is no connection, [`JobError::Failed`] with
    /// what `work` returns, [`JobError::Panicked`].
    pub fn run_shared_job<J, R, E>(
        &self,
        envelope: &Shared<J>,
        work: impl FnOnce(&mut TenantConnection, &J) -> Result<R, E>,
    ) -> Result<R, JobError>
    where
        J: SharedJob,
        E: Into<BoxError>,
    {
        run(self.public()?, |conn| work(conn, envelope.job()))
    }

    /// The tenant that a reference names, as it is now (feature `jobs`).
    ///
    /// # Errors
    ///
    /// [`JobError::Gone`], [`JobError::BadReference`] or [`JobError::SharedSchema`],
    /// and [`JobError::NotBegun`] if the database can't be asked.
    pub fn find(&self, reference: &TenantRef) -> Result<T, JobError> {
        self.find_on(&mut *self.public()?, reference)
    }

    /// A connection in the scope of the tenant that a reference names, if it is ready for work.
    pub(crate) fn job_connection(
        &self,
        reference: &TenantRef,
    ) -> Result<PooledConnection, JobError> {
        let mut conn = self.public()?;
        let read = Instant::now();
        let tenant = self.find_on(&mut conn, reference)?;
        self.enter_ready(&mut conn, (&tenant, read), reference)?;
        Ok(conn)
    }

    /// The tenant that a reference names, if it is ready for work.
    #[cfg(feature = "apalis")]
    pub(crate) fn find_ready(&self, reference: &TenantRef) -> Result<T, JobError> {
        let mut conn = self.public()?;
        let tenant = self.find_on(&mut conn, reference)?;
        self.check_ready(&mut conn, &tenant, reference)?;
        Ok(tenant)
    }

    pub(super) fn find_on(
        &self,
        conn: &mut TenantConnection,
        reference: &TenantRef,
    ) -> Result<T, JobError> {
        let id: T::Id = reference.id().parse().map_err(|_| JobError::BadReference {
            id: reference.id().to_owned(),
        })?;
        let Some(tenant) = T::by_id(conn, &id)? else {
            let heir = T::by_schema(conn, reference.schema().as_str())?;
            return Err(JobError::Gone {
                tenant: reference.clone(),
                taken: heir.is_some(),
            });
        };
        if self
            .registry()
            .refuse_protected(tenant.schema_name(), "used by a job")
            .is_err()
        {
            return Err(JobError::SharedSchema {
                tenant: reference.clone(),
                schema: tenant.schema_name().clone(),
            });
        }
        Ok(tenant)
    }

    /// Turns a connection to a tenant whose schema has everything that this program expects, and
    /// still is its own since the row was read.
    fn enter_ready(
        &self,
        conn: &mut TenantConnection,
        (tenant, read): (&T, Instant),
        reference: &TenantRef,
    ) -> Result<(), JobError> {
        self.check_ready(conn, tenant, reference)?;
        let entered = conn.set_tenant_read_at(tenant, read);
        entered.map_err(|error| match error {
            // Renamed or dropped since we looked: the next try finds out.
            Error::NoSuchSchema { schema } => JobError::NoSchema {
                tenant: reference.clone(),
                schema,
            },
            error => error.into(),
        })
    }

    fn check_ready(
        &self,
        conn: &mut TenantConnection,
        tenant: &T,
        reference: &TenantRef,
    ) -> Result<(), JobError> {
        let schema = tenant.schema_name();
        let asked = [(schema.clone(), Kind::Tenant(tenant.tenant_type()))];
        match readiness(conn, self.registry(), &asked)?.pop() {
            Some(Readiness::Ready) => Ok(()),
            Some(Readiness::Behind(pending)) => Err(JobError::Behind {
                tenant: reference.clone(),
                schema: schema.clone(),
                pending,
            }),
            Some(Readiness::NoSchema) | None => Err(JobError::NoSchema {
                tenant: reference.clone(),
                schema: schema.clone(),
            }),
        }
    }
}

/// Runs a job on its connection, which goes back before anyone hears of the result.
pub(super) fn run<R, E: Into<BoxError>>(
    conn: PooledConnection,
    work: impl FnOnce(&mut TenantConnection) -> Result<R, E>,
) -> Result<R, JobError> {
    let schema = conn
        .schema_name()
        .cloned()
        .unwrap_or_else(SchemaName::public);
    // The connection is given back while the panic unwinds, which is how its pool knows to close it.
    let ran = catch_unwind(AssertUnwindSafe(move || {
        let mut conn = conn;
        work(&mut conn)
    }));
    match ran {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(JobError::Failed {
            schema,
            source: error.into(),
        }),
        Err(panic) => Err(JobError::Panicked {
            schema,
            message: panic_message(&*panic),
        }),
    }
}
