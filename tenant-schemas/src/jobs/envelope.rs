//! [`InTenant`] and [`Shared`]: a job, and whose it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::connection::TenantConnection;
use crate::error::Result;
use crate::model::TenantModel;

use super::TenantRef;

/// The form of the messages that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A job, and the tenant whose it is. [`Tenancy::run_job`](crate::Tenancy::run_job) runs it.
///
/// As JSON it is flat:
///
/// ```json
/// {"v":1,"tenant_id":"1","tenant_schema":"acme","job":{"name":"Blue"}}
/// ```
///
/// A message that lacks the tenant, or says more than this, is refused when it
/// is read.
///
/// ```
/// use tenant_schemas::jobs::InTenant;
///
/// let lost = serde_json::from_str::<InTenant<u32>>(r#"{"v":1,"job":7}"#).unwrap_err();
/// assert!(lost.to_string().starts_with("the message names no tenant"));
///
/// let shared = serde_json::from_str::<InTenant<u32>>(r#"{"v":1,"shared":true,"job":7}"#);
/// assert!(shared.is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InTenant<J> {
    tenant: TenantRef,
    job: J,
}

impl<J> InTenant<J> {
    /// Addresses a job to a tenant that was saved.
    ///
    /// # Errors
    ///
    /// As [`TenantRef::of`].
    pub fn new<T: TenantModel>(tenant: &T, job: J) -> Result<Self> {
        Ok(Self::by_ref(TenantRef::of(tenant)?, job))
    }

    /// Addresses a job to the tenant in whose scope a connection is.
    ///
    /// # Errors
    ///
    /// As [`TenantRef::current`].
    pub fn current<T: TenantModel>(conn: &TenantConnection, job: J) -> Result<Self> {
        Ok(Self::by_ref(TenantRef::current::<T>(conn)?, job))
    }

    /// Addresses a job to a tenant that was named before.
    #[must_use]
    pub fn by_ref(tenant: TenantRef, job: J) -> Self {
        Self { tenant, job }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantRef {
        &self.tenant
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &J {
        &self.job
    }

    /// The tenant and the job.
    #[must_use]
    pub fn into_parts(self) -> (TenantRef, J) {
        (self.tenant, self.job)
    }
}

/// A job that is nobody's: it runs in the public schema, and says so in its type.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tenant_schemas::jobs::SharedJob;
///
/// #[derive(Serialize, Deserialize)]
/// struct RemoveOldSessions;
///
/// impl SharedJob for RemoveOldSessions {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not declared a shared job",
    note = "send it to a tenant with `InTenant`; if it is nobody's, write `impl SharedJob for {Self} {{}}`"
)]
pub trait SharedJob {}

/// A job that was declared to be nobody's.
/// [`Tenancy::run_shared_job`](crate::Tenancy::run_shared_job) runs it.
///
/// As JSON it is `{"v":1,"shared":true,"job":…}`. A job that was sent to a tenant
/// is not read as one.
///
/// ```
/// # use tenant_schemas::jobs::{Shared, SharedJob};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct RemoveOldSessions;
/// # impl SharedJob for RemoveOldSessions {}
/// let sent = serde_json::to_string(&Shared::new(RemoveOldSessions))?;
/// assert_eq!(sent, r#"{"v":1,"shared":true,"job":null}"#);
///
/// let theirs = r#"{"v":1,"tenant_id":"1","tenant_schema":"acme","job":null}"#;
/// assert!(serde_json::from_str::<Shared<RemoveOldSessions>>(theirs).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shared<J> {
    job: J,
}

impl<J: SharedJob> Shared<J> {
    /// Addresses a job to nobody.
    #[must_use]
    pub fn new(job: J) -> Self {
        Self { job }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &J {
        &self.job
    }

    /// The job.
    #[must_use]
    pub fn into_job(self) -> J {
        self.job
    }
}

impl<J: Serialize> Serialize for InTenant<J> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "InTenant")]
        struct Wire<'a, J> {
            v: u32,
            tenant_id: Option<&'a str>,
            tenant_schema: Option<&'a str>,
            job: &'a J,
        }
        let wire = Wire {
            v: VERSION,
            tenant_id: Some(self.tenant.id()),
            tenant_schema: Some(self.tenant.schema().as_str()),
            job: &self.job,
        };
        wire.serialize(serializer)
    }
}

impl<'de, J: Deserialize<'de>> Deserialize<'de> for InTenant<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The fields are optional so that we, not serde, say what their absence means.
        #[derive(Deserialize)]
        #[serde(rename = "InTenant", deny_unknown_fields)]
        struct Wire<J> {
            v: u32,
            tenant_id: Option<String>,
            tenant_schema: Option<String>,
            job: J,
        }
        let wire = Wire::deserialize(deserializer)?;
        check_version(wire.v)?;
        let tenant = TenantRef::from_message(wire.tenant_id, wire.tenant_schema.as_deref())
            .map_err(de::Error::custom)?;
        Ok(Self::by_ref(tenant, wire.job))
    }
}

impl<J: Serialize> Serialize for Shared<J> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "Shared")]
        struct Wire<'a, J> {
            v: u32,
            shared: bool,
            job: &'a J,
        }
        let wire = Wire {
            v: VERSION,
            shared: true,
            job: &self.job,
        };
        wire.serialize(serializer)
    }
}

impl<'de, J: SharedJob + Deserialize<'de>> Deserialize<'de> for Shared<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Shared", deny_unknown_fields)]
        struct Wire<J> {
            v: u32,
            shared: bool,
            job: J,
        }
        let wire = Wire::deserialize(deserializer)?;
        check_version(wire.v)?;
        if !wire.shared {
            return Err(de::Error::custom(
                "the message names no tenant, and says that it is not shared",
            ));
        }
        Ok(Self { job: wire.job })
    }
}

fn check_version<E: de::Error>(version: u32) -> Result<(), E> {
    if version == VERSION {
        return Ok(());
    }
    Err(E::custom(format!(
        "the message has the form {version}, this program reads {VERSION}: \
         run the release that wrote it, or a later one"
    )))
}
