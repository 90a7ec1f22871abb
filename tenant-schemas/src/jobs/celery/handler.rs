//! From a message to a job that runs in its tenant.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::connection::TenantConnection;
use crate::error::BoxError;
use crate::jobs::{InTenant, JobError, Shared, SharedJob, TenantRef};
use crate::model::TenantModel;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::provision::Lifecycle as _;
use crate::tenancy::Tenancy;

use super::message::{Message, PUBLIC, SCHEMA, Whose};
use super::{CeleryTask, Delivery};

/// Does what a message says, and returns what came of it. A message that does not say which tenant had its
/// schema gets a note of it, and is shown before the work begins.
pub(super) type Handler<T> = Box<
    dyn Fn(&Tenancy<T>, &mut Message, &mut dyn FnMut(&Message)) -> Result<Value, JobError>
        + Send
        + Sync,
>;

/// The handler of a tenant's task.
pub(super) fn in_tenant<T, J, R, E>(
    work: impl Fn(&mut TenantConnection, &Delivery<J>) -> Result<R, E> + Send + Sync + 'static,
) -> Handler<T>
where
    T: TenantModel,
    J: CeleryTask + DeserializeOwned,
    R: Serialize,
    E: Into<BoxError>,
{
    Box::new(move |tenancy, message, show| {
        let tenant = tenant_of(tenancy, message)?;
        if message.pin(&tenant) {
            show(message);
        }
        let envelope = InTenant::by_ref(tenant, delivery::<J>(message)?);
        tenancy.run_job(&envelope, |conn, delivery| result_of(work(conn, delivery)))
    })
}

/// The handler of a task that was declared to be nobody's.
pub(super) fn shared<T, J, R, E>(
    work: impl Fn(&mut TenantConnection, &Delivery<J>) -> Result<R, E> + Send + Sync + 'static,
) -> Handler<T>
where
    T: TenantModel,
    J: CeleryTask + SharedJob + DeserializeOwned,
    R: Serialize,
    E: Into<BoxError>,
{
    Box::new(move |tenancy, message, _| {
        let public = tenancy.registry().public().as_str();
        let whose = match message.whose().map_err(refused)? {
            Whose::Unsaid => None,
            Whose::Schema(schema) if schema == public || schema == PUBLIC => None,
            Whose::Schema(schema) => Some(schema),
            Whose::Tenant(tenant) => Some(tenant.schema().to_string()),
        };
        if let Some(schema) = whose {
            return Err(refused(format!(
                "its tenant is {schema}, and {} is declared shared: send it with the header `{SCHEMA}` {PUBLIC:?}",
                J::NAME
            )));
        }
        let envelope = Shared::new(delivery::<J>(message)?);
        tenancy.run_shared_job(&envelope, |conn, delivery| result_of(work(conn, delivery)))
    })
}

/// The tenant whose a message is, with its key: that of the message, or of the schema's owner now.
fn tenant_of<T: TenantModel>(
    tenancy: &Tenancy<T>,
    message: &Message,
) -> Result<TenantRef, JobError> {
    let schema = match message.whose().map_err(refused)? {
        Whose::Tenant(tenant) => return Ok(tenant),
        Whose::Schema(schema) => schema,
        Whose::Unsaid => {
            return Err(refused(format!(
                "it names no tenant: send it from a tenant with `tenant-schemas-celery`, which sets \
                 the header `{SCHEMA}`, or register the task with `shared_task`"
            )));
        }
    };
    let schema = SchemaName::with_policy(&schema, SchemaNamePolicy::Quoted)
        .map_err(|error| refused(format!("`{SCHEMA}` is none: {error}")))?;
    if tenancy
        .registry()
        .refuse_protected(&schema, "used by a task")
        .is_err()
    {
        return Err(refused(format!(
            "`{SCHEMA}` is {schema}, which is no tenant's: send it from a tenant, \
             or register the task with `shared_task`"
        )));
    }
    match T::by_schema(&mut *tenancy.public()?, schema.as_str())? {
        Some(tenant) => Ok(TenantRef::of(&tenant)?),
        None => Err(JobError::NoSuchTenant { schema }),
    }
}

/// The task that a message carries.
fn delivery<J: CeleryTask + DeserializeOwned>(message: &Message) -> Result<Delivery<J>, JobError> {
    let kwargs = message.keywords(J::PARAMETERS).map_err(refused)?;
    let none = kwargs.is_empty();
    let job = read(kwargs, none)
        .map_err(|error| refused(format!("its arguments are none of {}: {error}", J::NAME)))?;
    Ok(Delivery::new(
        job,
        message.names().0.to_owned(),
        message.retries(),
    ))
}

/// A struct out of its fields; one without fields is nothing to `serde`.
fn read<J: DeserializeOwned>(
    kwargs: Map<String, Value>,
    none: bool,
) -> Result<J, serde_json::Error> {
    serde_json::from_value(kwargs.into()).or_else(|error| {
        let unit = none
            .then(|| serde_json::from_value(Value::Null).ok())
            .flatten();
        unit.ok_or(error)
    })
}

fn result_of<R: Serialize, E: Into<BoxError>>(result: Result<R, E>) -> Result<Value, BoxError> {
    result
        .map_err(Into::into)
        .and_then(|value| serde_json::to_value(value).map_err(Into::into))
}

fn refused(reason: String) -> JobError {
    JobError::Refused { reason }
}
