//! Tenants in front of a web server's routes (feature `web`, and one for each framework).
//!
//! A [`Site`] says how requests are turned into tenants: by which resolvers, what
//! becomes of requests for nobody, which paths have no tenant at all. It is put in
//! front of the routes as a layer (feature `tower`, and `axum`) or as middleware
//! (feature `actix`). A handler then takes its tenant, and a connection that is
//! its tenant's already, as arguments:
//!
//! - `Tenant`, the row of the request's tenant;
//! - [`TenantDb`], which lends a connection in the tenant's scope to a closure, on
//!   a thread that may block;
//! - [`PublicDb`], the same for what all tenants share.
//!
//! They are values, and there is nothing else: no task, thread or connection
//! *has* a tenant. When a request is over, times out, panics, or its client goes
//! away, nothing has to be reset. A task or a body that outlives its request
//! takes a clone of its [`TenantDb`] along, and stays in that tenant.
//!
//! # Statements of a request
//!
//! For a tenant that the [`Directory`] remembers:
//!
//! | [`SetCalls`](crate::SetCalls) | to find the tenant | for each `run` | for each statement in it |
//! |---|---|---|---|
//! | `EveryCheckout` | 0 | 1 | 1 |
//! | `WhenChanged`, the connection's last tenant | 0 | 0 | 1 |
//! | `WhenChanged`, another tenant | 0 | 1 | 1 |
//! | `EveryStatement` | 0 | 1 | 2 |
//!
//! A handler that never asks for a connection takes none, and sends none. A
//! tenant that is not remembered costs 2 more, once for all requests.
//!
//! # When all connections are in use
//!
//! A request waits for one at most [`wait_for_connection`](SiteBuilder::wait_for_connection);
//! then [`run`](TenantDb::run) fails with [`Error::Busy`](crate::Error::Busy), which is
//! answered with 503 and `Retry-After`. At most as many threads block as the pool has connections.

#[cfg(feature = "axum")]
pub mod axum;
mod db;
mod site;
#[cfg(feature = "axum")]
mod tenant;
#[cfg(feature = "tower")]
pub mod tower;

pub use self::db::{PublicDb, TenantDb};
pub use self::site::{Admission, Reading, Refusal, Site, SiteBuilder, Unknown, Visit};
#[cfg(feature = "axum")]
pub use self::tenant::Tenant;
