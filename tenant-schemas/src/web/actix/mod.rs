//! Tenants in front of the routes of actix-web (feature `actix`).
//!
//! [`Site::middleware`](super::Site::middleware) goes around the whole `App`. Behind
//! it, handlers take [`Tenant`](super::Tenant), [`TenantDb`](super::TenantDb),
//! [`PublicDb`](super::PublicDb) and [`Visit`](super::Visit) as arguments, and may
//! fail with [`Error`](crate::Error), which is answered as a stranger may know it.
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use actix_web::{App, HttpResponse, web};
//! use tenant_schemas::resolve::{Host, PathPrefix};
//! use tenant_schemas::web::actix::{public_only, tenants_only};
//! use tenant_schemas::web::{PublicDb, Refusal, Site, Tenant, TenantDb};
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
//! let site = Site::builder(tenancy)
//!     .resolver(PathPrefix::after("/t"))
//!     .resolver(Host::new())
//!     .bypass("/hotels")
//!     .build();
//!
//! // Called once for each worker of `HttpServer::new(app)`.
//! let app = move || {
//!     App::new()
//!         .wrap(site.middleware().refuse_with(|refusal, request| match refusal {
//!             Refusal::UnknownTenant { .. } => HttpResponse::NotFound()
//!                 .body(format!("no hotel at {}", request.path())),
//!             other => other.into(),
//!         }))
//!         .service(
//!             web::scope("").guard(tenants_only()).route("/rooms", web::get().to(rooms_of)),
//!         )
//!         .service(
//!             web::scope("").guard(public_only()).route("/hotels", web::get().to(hotels)),
//!         )
//! };
//!
//! # actix_web::rt::System::new().block_on(async {
//! # use actix_web::test::{TestRequest, call_and_read_body, init_service};
//! # let app = init_service(app()).await;
//! # let answer = |host: &str, path: &str| {
//! #     let request = TestRequest::get().uri(path).insert_header(("host", host));
//! #     let answer = call_and_read_body(&app, request.to_request());
//! #     async { String::from_utf8(answer.await.to_vec()).expect("text") }
//! # };
//! assert_eq!(answer("acme.my-domain.com", "/rooms").await, "acme has 0 rooms");
//! assert_eq!(answer("my-domain.com", "/t/acme/rooms").await, "acme has 0 rooms");
//! assert_eq!(answer("my-domain.com", "/hotels").await, "1 hotels");
//! assert_eq!(answer("my-domain.com", "/rooms").await, "no hotel at /rooms");
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the middleware does
//!
//! It looks at the request alone, never at `ConnectionInfo`: whoever sends
//! `Forwarded` or `X-Forwarded-Host` chooses no tenant, unless a resolver was made
//! to read it. A tenant that is remembered costs no waiting. The prefix that a
//! resolver takes away is gone from the path before any route is looked for;
//! [`OriginalUri`] has the whole of it. A refused request is answered, not failed,
//! so that middleware around this one, such as `Logger` or `DefaultHeaders`, has
//! its part in the answer.
//!
//! # Routes for tenants, and for what they share
//!
//! [`tenants_only`] and [`public_only`] are guards for scopes and resources. A
//! request on a path that [bypasses](super::SiteBuilder::bypass) the site is nobody's, so
//! the public routes serve it. Guards are asked behind the middleware around the `App`,
//! but in front of one around their own scope.
//!
//! # Around a scope
//!
//! The middleware may go around `web::scope("/t/{tenant}")` as well. The scope has taken
//! its prefix by then, so the middleware takes nothing more from the path.

mod extract;
mod guard;
mod middleware;
mod respond;

pub use self::extract::OriginalUri;
pub use self::guard::{SiteGuard, public_only, tenants_only};
pub use self::middleware::{SiteMiddleware, SiteService};

/// Whose a request is, for what does not know the tenants' type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Tenants,
    Nobodys,
}
