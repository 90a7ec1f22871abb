//! Work that leaves the request keeps its tenant (feature `jobs`).
//!
//! A job travels in an envelope that says whose it is: [`InTenant`], or
//! [`Shared`] for the few jobs that are nobody's. Any queue that carries what
//! `serde` writes can carry either. [`Tenancy::run_job`] opens it: the job gets
//! a connection in the scope of its tenant, and there is no way to run it in
//! another, nor in `public`.
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use serde::{Deserialize, Serialize};
//! use tenant_schemas::jobs::InTenant;
//!
//! #[derive(Serialize, Deserialize)]
//! struct AddRoom {
//!     name: String,
//! }
//!
//! // Where the work arises:
//! let conn = tenancy.tenant(&acme)?;
//! let envelope = InTenant::<AddRoom>::current::<Client>(&conn, AddRoom { name: "Blue".into() })?;
//! let sent = serde_json::to_string(&envelope)?;
//! assert_eq!(sent, r#"{"v":1,"tenant_id":"1","tenant_schema":"acme","job":{"name":"Blue"}}"#);
//! # drop(conn);
//!
//! // Where it is done, perhaps by another process, perhaps next week:
//! let envelope: InTenant<AddRoom> = serde_json::from_str(&sent)?;
//! tenancy.run_job(&envelope, |conn, job| {
//!     diesel::insert_into(rooms::table)
//!         .values((rooms::id.eq(1), rooms::name.eq(&job.name)))
//!         .execute(conn)
//! })?;
//! assert_eq!(rooms::table.count().get_result(&mut tenancy.tenant(&acme)?), Ok(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which tenant that is
//!
//! The one whose row has the primary key that the envelope names. A tenant that
//! was renamed meanwhile is followed; one that was deleted is gone, also if
//! another has its schema's name now. Primary keys must not be used twice.
//!
//! # Jobs that are due again and again
//!
//! A [`Scheduler`] runs a job for all tenants, some, or those of which a closure
//! says yes, whenever a [`Schedule`] says so, in one process of several.
//!
//! # Tenants that a job makes
//!
//! [`ProvisionTenant`] gives a tenant its schema after it was saved, and
//! [`Tenancy::provisioning`] says how far that is.
//!
//! # Jobs are done at least once
//!
//! A worker that dies after the commit and before it says so makes its queue
//! send the job again. A job that must not be done twice has to find that out in
//! the tenant's own tables, in the transaction that it does its work in.
//!
//! # What can go wrong
//!
//! [`JobError`] says it, and [`JobError::can_retry`] whether trying again can
//! help: a tenant whose schema is still being made, or migrated, is worth
//! waiting for, one that is gone is not.

#[cfg(feature = "apalis")]
pub mod apalis;
#[cfg(feature = "celery")]
pub mod celery;
mod envelope;
mod error;
mod provision;
mod ready;
mod reference;
mod run;
mod schedule;

pub use self::envelope::{InTenant, Shared, SharedJob};
pub use self::error::{GiveUp, JobError};
pub use self::provision::{ProvisionTenant, Provisioning, provision_later};
pub use self::reference::TenantRef;
pub use self::schedule::{Fired, Schedule, Scheduler, Stop, Turn};

#[cfg(doc)]
use crate::tenancy::Tenancy;
