//! Tasks of [Celery](https://docs.celeryq.dev), to and from Python (feature `celery`).
//!
//! A Django project with `tenant-schemas-celery` names the tenant of a task in
//! its header `_schema_name`. A [`Producer`] sends tasks that such a project's
//! workers run in the right tenant, and a [`Worker`] runs those that it sends,
//! so that a project can move from Python task by task. Both speak Celery's
//! protocol 2 over Redis, with arguments as JSON. `docs/from-django.md` is the
//! whole way.
//!
//! ```no_run
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*;
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use serde::{Deserialize, Serialize};
//! use tenant_schemas::TenantConnection;
//! use tenant_schemas::jobs::celery::{CeleryTask, Delivery, Producer, Worker};
//! use tenant_schemas::jobs::{InTenant, Stop};
//!
//! #[derive(Serialize, Deserialize)]
//! struct AddRoom {
//!     name: String,
//! }
//!
//! impl CeleryTask for AddRoom {
//!     const NAME: &str = "hotels.add_room";
//! }
//!
//! fn add_room(conn: &mut TenantConnection, task: &Delivery<AddRoom>) -> QueryResult<usize> {
//!     diesel::insert_into(rooms::table)
//!         .values((rooms::id.eq(1), rooms::name.eq(&task.job.name)))
//!         .execute(conn)
//! }
//!
//! // For Python's workers, or ours:
//! let producer = Producer::new("redis://localhost:6379/0")?.queue("hotels");
//! producer.send(&InTenant::new(&acme, AddRoom { name: "Blue".into() })?)?;
//!
//! // Of Python's, or ours:
//! let worker = Worker::new(tenancy.clone(), "redis://localhost:6379/0")?
//!     .queue("hotels")
//!     .task(add_room);
//! worker.run(&Stop::new())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which tenant that is
//!
//! Python knows tenants by their schemas' names, and so does a task that Python
//! sent: it runs in the tenant that has the schema now, and fails with
//! [`JobError::NoSuchTenant`](crate::jobs::JobError::NoSuchTenant) if none has; its
//! retries run in the same tenant, whatever that is called by then, and so does the
//! next try after its worker was killed. A [`Producer`] says which tenant it means as well, by its key in a header
//! `_tenant_id`, which Python does not look at: between Rust and Rust, a tenant
//! that was renamed is followed, as with [`InTenant`](crate::jobs::InTenant).
//!
//! A task without a tenant is refused, unless it is registered with
//! [`Worker::shared_task`]; so is a shared one that names a tenant.
//!
//! # What becomes of a task
//!
//! Its result, or its failure, is where Python's `AsyncResult` looks for it. A
//! task that was killed with its worker is done again by another, of ours:
//! tasks are done at least once, unless that happens to one five times. One that
//! is not due yet waits in Redis, not in a worker.
//!
//! # What there is not
//!
//! Other brokers than Redis. Canvases: a task with a chain, a callback or a
//! chord fails before it runs, a group is fine. Remote control, so revoking a
//! task does not reach it; time limits; events for monitors.

mod broker;
mod error;
mod handler;
mod message;
mod outcome;
mod producer;
mod task;
mod worker;

pub use self::error::CeleryError;
pub use self::producer::{Producer, SendOptions};
pub use self::task::{CeleryTask, Delivery, Retry};
pub use self::worker::Worker;
