//! Workers of [apalis](https://docs.rs/apalis) (feature `apalis`).
//!
//! A worker has a [`TenancyLayer`], its tasks are [`TenantTask`]s, and its
//! handler takes a [`TenantDb`], which lends a connection in the scope of the
//! task's tenant to a closure on a thread where blocking is allowed:
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use apalis::prelude::*;
//! use serde::{Deserialize, Serialize};
//! use tenant_schemas::jobs::apalis::{TenancyLayer, TenantDb, TenantTask};
//! use tenant_schemas::jobs::{InTenant, JobError};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct AddRoom {
//!     name: String,
//! }
//!
//! async fn add_room(task: TenantTask<AddRoom>, db: TenantDb<Client>) -> Result<(), JobError> {
//!     let job = task.into_job()?;
//!     db.run(move |conn| {
//!         diesel::insert_into(rooms::table)
//!             .values((rooms::id.eq(1), rooms::name.eq(job.name)))
//!             .execute(conn)
//!     })
//!     .await?;
//!     Ok(())
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let mut storage = MemoryStorage::new(); // yours is one of apalis-postgres, apalis-redis, ..
//! storage.push(InTenant::new(&acme, AddRoom { name: "Blue".into() })?.into()).await?;
//!
//! let worker = WorkerBuilder::new("rooms")
//!     .backend(storage)
//!     .layer(TenancyLayer::new(tenancy.clone()))
//!     .on_event(|worker, event| {
//!         if matches!(event, Event::Success(_)) {
//!             worker.stop().ok();
//!         }
//!     })
//!     .build(add_room);
//! worker.run().await?;
//! # Ok::<_, BoxDynError>(())
//! # }).map_err(|error| error.to_string())?;
//! assert_eq!(rooms::table.count().get_result(&mut tenancy.tenant(&acme)?), Ok(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Retries
//!
//! A task that no retry helps is killed: one whose tenant is gone, or whose
//! message names none. Others are tried again as the storage does, with the
//! tenant looked for anew each time. One whose tenant is not ready is held back
//! for a moment first: see [`TenancyLayer::pause`]. A retry policy in the
//! worker goes before the layer, `.retry(..).layer(TenancyLayer::new(..))`, so
//! that it sees what was killed. A limit goes behind it, `.layer(..).concurrency(4)`:
//! in front, tasks that are held back would keep the places of others.
//!
//! # The queue
//!
//! It is shared: apalis-postgres keeps it in a schema `apalis` of its own, which
//! no tenant's search path has. There a task can be sent in the transaction of
//! the work that it follows from, with [`PostgresQueue`]; to Redis, send it after
//! the commit.
//!
//! # Threads and connections
//!
//! Each [`TenantDb::run`] takes a connection of the tenancy's pool and a thread
//! of tokio's for blocking work, for as long as its closure runs: let no more
//! tasks run at once than the pool has connections. A handler that is dropped
//! in the middle, by a time-out say, does not stop its closure.

mod db;
mod layer;
mod postgres;
mod task;

pub use self::db::{SharedDb, TenantDb, provision_tenant};
pub use self::layer::{TenancyLayer, TenancyService};
pub use self::postgres::{Envelope, PostgresQueue};
pub use self::task::{Received, ReceivedEnvelope, SharedTask, TenantTask};
