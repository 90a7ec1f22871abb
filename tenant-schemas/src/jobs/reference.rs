//! [`TenantRef`]: which tenant, for someone who reads it later.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::model::{RowId as _, TenantModel};
use crate::name::{SchemaName, SchemaNamePolicy};

/// Names a tenant in a message that is read later: by its primary key.
///
/// The schema's name goes along for people who read the message, and to see
/// that another tenant has it now.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let mut acme = client(tenancy, "acme")?;
/// use tenant_schemas::jobs::TenantRef;
///
/// let reference = TenantRef::of(&acme)?;
/// assert_eq!(reference.to_string(), "acme (1)");
///
/// acme.rename(&mut *tenancy.public()?, &"acme_inc".parse()?)?;
/// assert_eq!(tenancy.find(&reference)?, acme);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct TenantRef {
    #[serde(rename = "tenant_id")]
    id: String,
    #[serde(rename = "tenant_schema", serialize_with = "as_text")]
    schema: SchemaName,
}

impl TenantRef {
    /// Names a tenant that was saved.
    ///
    /// # Errors
    ///
    /// [`Error::NotSaved`] if it has no primary key yet.
    pub fn of<T: TenantModel>(tenant: &T) -> Result<Self> {
        if tenant.id().is_unset() {
            return Err(Error::NotSaved {
                schema: tenant.schema_name().clone(),
            });
        }
        Ok(Self {
            id: tenant.id().to_string(),
            schema: tenant.schema_name().clone(),
        })
    }

    /// Names the tenant in whose scope a connection is.
    ///
    /// # Errors
    ///
    /// [`Error::NoTenant`] if the scope is public, was chosen by a schema's name,
    /// or there is none.
    pub fn current<T: TenantModel>(conn: &TenantConnection) -> Result<Self> {
        match conn.tenant::<T>() {
            Some(tenant) if !conn.is_public() => Self::of(tenant),
            _ => Err(Error::NoTenant {
                scope: conn.schema_name().cloned(),
            }),
        }
    }

    /// The primary key as text.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The schema that the tenant had when it was named.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Checks what came in a message.
    pub(super) fn from_message(id: Option<String>, schema: Option<&str>) -> Result<Self, String> {
        let (Some(id), Some(schema)) = (id, schema) else {
            return Err(
                "the message names no tenant: wrap the job in `InTenant` where it is sent, \
                 or declare it `SharedJob` and send it as `Shared`"
                    .to_owned(),
            );
        };
        if id.is_empty() {
            return Err("the message names a tenant by an empty `tenant_id`".to_owned());
        }
        let schema = SchemaName::with_policy(schema, SchemaNamePolicy::Quoted)
            .map_err(|error| format!("`tenant_schema` is none: {error}"))?;
        if schema == SchemaName::public() {
            return Err(
                "`tenant_schema` is `public`, which is no tenant's: a job for all is sent as `Shared`"
                    .to_owned(),
            );
        }
        Ok(Self { id, schema })
    }
}

impl fmt::Display for TenantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.schema, self.id)
    }
}

impl<'de> Deserialize<'de> for TenantRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "TenantRef", deny_unknown_fields)]
        struct Wire {
            tenant_id: Option<String>,
            tenant_schema: Option<String>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Self::from_message(wire.tenant_id, wire.tenant_schema.as_deref()).map_err(de::Error::custom)
    }
}

fn as_text<S: serde::Serializer>(schema: &SchemaName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(schema.as_str())
}
