//! [`TenantDb`] and [`SharedDb`]: what a handler takes.

use std::fmt;

use apalis_core::task::Task;
use apalis_core::task::data::Data;
use apalis_core::task::from_request::FromRequest;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error};
use crate::jobs::run::run;
use crate::jobs::{InTenant, JobError, ProvisionTenant, Shared, TenantRef};
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use super::{Received, TenantTask};

/// Lends a connection in the scope of a task's tenant to a closure; a handler takes it.
///
/// The tenant is looked for before the handler is called, and again for each
/// closure. A handler of jobs that are nobody's can't take it.
#[derive(Clone)]
pub struct TenantDb<T: TenantModel> {
    tenancy: Tenancy<T>,
    reference: TenantRef,
    tenant: T,
}

impl<T: TenantModel> TenantDb<T> {
    /// The tenant, as it was when the handler was called.
    #[must_use]
    pub fn tenant(&self) -> &T {
        &self.tenant
    }

    /// Runs `work` in the tenant, on a thread where blocking is allowed.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::run_job`].
    pub async fn run<R, E>(
        &self,
        work: impl FnOnce(&mut TenantConnection) -> Result<R, E> + Send + 'static,
    ) -> Result<R, JobError>
    where
        R: Send + 'static,
        E: Into<BoxError>,
    {
        let (tenancy, reference) = (self.tenancy.clone(), self.reference.clone());
        blocking(move || run(tenancy.job_connection(&reference)?, work)).await
    }

    async fn of<A>(
        task: &Task<A>,
        reference: Result<&TenantRef, JobError>,
    ) -> Result<Self, JobError> {
        let tenancy = tenancy_of::<T, A>(task)?;
        let reference = reference?.clone();
        let (asked, of) = (tenancy.clone(), reference.clone());
        let tenant = blocking(move || asked.find_ready(&of)).await?;
        Ok(Self {
            tenancy,
            reference,
            tenant,
        })
    }
}

/// Lends a connection of the public schema to a closure; a handler of shared jobs takes it.
///
/// A handler of tenants' jobs can't.
#[derive(Clone)]
pub struct SharedDb<T: TenantModel> {
    tenancy: Tenancy<T>,
}

impl<T: TenantModel> SharedDb<T> {
    /// Runs `work` in the public schema, on a thread where blocking is allowed.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::run_shared_job`].
    pub async fn run<R, E>(
        &self,
        work: impl FnOnce(&mut TenantConnection) -> Result<R, E> + Send + 'static,
    ) -> Result<R, JobError>
    where
        R: Send + 'static,
        E: Into<BoxError>,
    {
        let tenancy = self.tenancy.clone();
        blocking(move || run(tenancy.public()?, work)).await
    }

    /// The tenancy, for work that is about tenants and not in one, such as walking all of them.
    #[must_use]
    pub fn tenancy(&self) -> &Tenancy<T> {
        &self.tenancy
    }
}

impl<T: TenantModel, J: Sync> FromRequest<Task<InTenant<J>>> for TenantDb<T> {
    type Error = JobError;

    async fn from_request(task: &Task<InTenant<J>>) -> Result<Self, JobError> {
        Self::of(task, Ok(task.args.tenant())).await
    }
}

impl<T: TenantModel, J: Sync> FromRequest<Task<Received<InTenant<J>>>> for TenantDb<T> {
    type Error = JobError;

    async fn from_request(task: &Task<Received<InTenant<J>>>) -> Result<Self, JobError> {
        Self::of(task, task.args.envelope().map(InTenant::tenant)).await
    }
}

impl<T: TenantModel, J: Sync> FromRequest<Task<Shared<J>>> for SharedDb<T> {
    type Error = JobError;

    async fn from_request(task: &Task<Shared<J>>) -> Result<Self, JobError> {
        let tenancy = tenancy_of(task)?;
        Ok(Self { tenancy })
    }
}

impl<T: TenantModel, J: Sync> FromRequest<Task<Received<Shared<J>>>> for SharedDb<T> {
    type Error = JobError;

    async fn from_request(task: &Task<Received<Shared<J>>>) -> Result<Self, JobError> {
        task.args.envelope()?;
        let tenancy = tenancy_of(task)?;
        Ok(Self { tenancy })
    }
}

/// The handler of a worker that provisions tenants: `.build(provision_tenant::<Client>)`.
///
/// # Errors
///
/// As [`Tenancy::provision_job`].
pub async fn provision_tenant<T: TenantModel>(
    task: TenantTask<ProvisionTenant>,
    tenancy: Data<Tenancy<T>>,
) -> Result<(), JobError> {
    let envelope = task.into_envelope()?;
    let Data(tenancy) = tenancy;
    blocking(move || tenancy.provision_job(&envelope)).await
}

/// The tenancy that the layer left with the task.
fn tenancy_of<T: TenantModel, A>(task: &Task<A>) -> Result<Tenancy<T>, JobError> {
    let tenancy = task.data().get::<Tenancy<T>>();
    tenancy.cloned().ok_or(JobError::NoTenancy {
        model: std::any::type_name::<T>(),
    })
}

/// Runs what blocks where it may.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, JobError> + Send + 'static,
) -> Result<R, JobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Pool("the runtime is shutting down".to_owned()).into()),
        },
    }
}

impl<T: TenantModel> fmt::Debug for TenantDb<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantDb")
            .field("tenant", &self.reference)
            .finish_non_exhaustive()
    }
}

impl<T: TenantModel> fmt::Debug for SharedDb<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDb").finish_non_exhaustive()
    }
}
