//! Tenants in front of axum's routes (feature `axum`).
//!
//! [`Site::routes`](super::Site::routes) puts a site in front of two routers, one for what all tenants
//! share and one for tenants. Handlers take as arguments:
//!
//! - [`Tenant`](super::Tenant)`<Client>`, the row of the request's tenant;
//! - [`TenantDb`](super::TenantDb) and [`PublicDb`](super::PublicDb), which lend connections;
//! - [`Visit`](super::Visit)`<Client>`, whose the request is.
//!
//! The first two are there for tenants' requests alone, others are answered with 404;
//! a handler for both takes them as `Option`. A handler may fail with
//! [`Error`](crate::Error): a busy database is answered with 503 and `Retry-After`,
//! the rest with 500, and what happened is in the log, not in the response.
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! use axum::{Router, routing::get};
//! use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb};
//!
//! async fn rooms_of(hotel: Tenant<Client>, db: TenantDb) -> tenant_schemas::Result<String> {
//!     let rooms: i64 = db.run(|conn| rooms::table.count().get_result(conn)).await?;
//!     Ok(format!("{} has {rooms} rooms", hotel.schema_name))
//! }
//!
//! async fn hotels(db: PublicDb) -> tenant_schemas::Result<String> {
//!     let hotels: i64 = db.run(|conn| clients::table.count().get_result(conn)).await?;
//!     Ok(format!("{hotels} hotels"))
//! }
//!
//! use tenant_schemas::resolve::Subdomain;
//!
//! let site = Site::builder(tenancy).resolver(Subdomain::of("my-domain.com")).build();
//! let app: Router = site.routes(
//!     Router::new().route("/", get(hotels)),   // my-domain.com
//!     Router::new().route("/", get(rooms_of)), // acme.my-domain.com, ..
//! );
//! // axum::serve(listener, app).await?;
//!
//! # runtime.block_on(async {
//! # use tower::ServiceExt;
//! # let ask = async |host: &str| {
//! #     let request = http::Request::get("/").header("host", host);
//! #     let request = request.body(axum::body::Body::empty()).expect("a request");
//! #     let response = app.clone().oneshot(request).await.expect("a response");
//! #     let body = axum::body::to_bytes(response.into_body(), 1_000).await.expect("a body");
//! #     String::from_utf8(body.to_vec()).expect("text")
//! # };
//! assert_eq!(ask("my-domain.com").await, "1 hotels");
//! assert_eq!(ask("acme.my-domain.com").await, "acme has 0 rooms");
//! assert_eq!(ask("nobody.my-domain.com").await, "there is nothing at this address");
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program with one router for both gives it to the [layer](super::Site::layer):
//! `Router::new().fallback_service(site.layer().layer(router))`. What `Router::layer`
//! adds runs behind routing, too late for a prefix to be taken off the path.

mod extract;
mod respond;
mod routes;

pub use self::extract::SiteRejection;
pub(super) use self::routes::keep;
