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
//! - [`PublicDb`], the same for what all tenants share;
//! - [`Visit`], whose the request is.
//!
//! They are values, and there is nothing else: no task, thread or connection
//! *has* a tenant. When a request is over, times out, panics, or its client goes
//! away, nothing has to be reset. A task or a body that outlives its request
//! takes a clone of its [`TenantDb`] along, and stays in that tenant.
//!
//! With axum:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! use axum::{Router, extract::Path, http::StatusCode, routing::{get, post}};
//! use tenant_schemas::resolve::{Host, PathPrefix};
//! use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb, Unknown};
//! use tenant_schemas::{Error, Result};
//!
//! async fn rooms_of(hotel: Tenant<Client>, db: TenantDb) -> Result<String> {
//!     let rooms: Vec<String> = db
//!         .run(|conn| rooms::table.select(rooms::name).load(conn).map_err(Error::from))
//!         .await?;
//!     Ok(format!("{}: {}", hotel.schema_name, rooms.join(", ")))
//! }
//!
//! async fn add_room(db: TenantDb, Path((id, name)): Path<(i32, String)>) -> Result<StatusCode> {
//!     db.transaction(move |conn| {
//!         let room = (rooms::id.eq(id), rooms::name.eq(name));
//!         diesel::insert_into(rooms::table).values(room).execute(conn)
//!     })
//!     .await
//!     .map_err(Error::from)?;
//!     Ok(StatusCode::CREATED)
//! }
//!
//! async fn hotels(db: PublicDb) -> Result<String> {
//!     let hotels: i64 = db.run(|conn| clients::table.count().get_result(conn)).await?;
//!     Ok(format!("{hotels} hotels"))
//! }
//!
//! let site = Site::builder(tenancy)
//!     .resolver(PathPrefix::after("/t")) // my-domain.com/t/acme/rooms
//!     .resolver(Host::new())             // acme.my-domain.com/rooms
//!     .unknown(Unknown::Public)          // my-domain.com/hotels
//!     .build();
//! let app = site.routes(
//!     Router::new().route("/hotels", get(hotels)),
//!     Router::new().route("/rooms", get(rooms_of)).route("/rooms/{id}/{name}", post(add_room)),
//! );
//! // axum::serve(listener, app).await?;
//!
//! # runtime.block_on(async {
//! # use tower::ServiceExt;
//! # let ask = async |request: http::request::Builder| {
//! #     let request = request.body(axum::body::Body::empty()).expect("a request");
//! #     let response = app.clone().oneshot(request).await.expect("a response");
//! #     let status = response.status().as_u16();
//! #     let body = axum::body::to_bytes(response.into_body(), 1_000).await.expect("a body");
//! #     (status, String::from_utf8(body.to_vec()).expect("text"))
//! # };
//! # let get = |host: &str, path: &str| ask(http::Request::get(path).header("host", host));
//! # let post = |host: &str, path: &str| ask(http::Request::post(path).header("host", host));
//! assert_eq!(post("acme.my-domain.com", "/rooms/1/Blue").await.0, 201);
//! assert_eq!(get("acme.my-domain.com:8000", "/rooms").await.1, "acme: Blue");
//! assert_eq!(get("my-domain.com", "/t/acme/rooms").await.1, "acme: Blue");
//! assert_eq!(get("my-domain.com", "/hotels").await.1, "1 hotels");
//! assert_eq!(get("my-domain.com", "/t/nobody/rooms").await.0, 404);
//! # });
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With actix-web the same site goes around the `App`, the handlers are the same, and
//! guards tell the routes of the public from those of tenants:
//!
//! ```
//! # #[cfg(feature = "actix")] {
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use actix_web::{App, web};
//! use tenant_schemas::web::actix::{public_only, tenants_only};
//! # use tenant_schemas::Result;
//! # use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb, Unknown};
//! # async fn rooms_of(hotel: Tenant<Client>, db: TenantDb) -> Result<String> {
//! #     let rooms: i64 = db.run(|conn| rooms::table.count().get_result(conn)).await?;
//! #     Ok(format!("{}: {rooms}", hotel.schema_name))
//! # }
//! # async fn hotels(db: PublicDb) -> Result<String> {
//! #     let hotels: i64 = db.run(|conn| clients::table.count().get_result(conn)).await?;
//! #     Ok(format!("{hotels} hotels"))
//! # }
//! # let site = Site::builder(tenancy).unknown(Unknown::Public).build();
//!
//! let app = move || {
//!     App::new()
//!         .wrap(site.middleware())
//!         .service(web::scope("").guard(public_only()).route("/hotels", web::get().to(hotels)))
//!         .service(web::scope("").guard(tenants_only()).route("/rooms", web::get().to(rooms_of)))
//! };
//! // HttpServer::new(app).bind("127.0.0.1:8000")?.run().await?;
//!
//! # actix_web::rt::System::new().block_on(async {
//! # use actix_web::test::{TestRequest, call_and_read_body, init_service};
//! # let app = init_service(app()).await;
//! # for (host, path, text) in [
//! #     ("acme.my-domain.com", "/rooms", "acme: 0"),
//! #     ("my-domain.com", "/hotels", "1 hotels"),
//! #     ("my-domain.com", "/rooms", ""),
//! # ] {
//! #     let request = TestRequest::get().uri(path).insert_header(("host", host));
//! #     assert_eq!(call_and_read_body(&app, request.to_request()).await, text);
//! # }
//! # });
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Statements of a request
//!
//! For a tenant that the [`Directory`](crate::resolve::Directory) remembers:
//!
//! | [`SetCalls`](crate::SetCalls) | to find the tenant | for each `run` | for each statement in it |
//! |---|---|---|---|
//! | `EveryCheckout` | 0 | 1 | 1 |
//! | `WhenChanged`, the connection's last tenant | 0 | 0 | 1 |
//! | `WhenChanged`, another tenant | 0 | 1 | 1 |
//! | `FirstStatement` | 0 | 0 | 1 |
//! | `EveryStatement` | 0 | 1 | 2 |
//!
//! With `FirstStatement`, a `run` that begins with a transaction, or with a statement that can't take the
//! path along, has one more.
//!
//! A statement that the connection never ran for the tenant is prepared first, which
//! is one message. A handler that never asks for a connection takes none, and
//! sends none; so does a request for nobody. A tenant that is not remembered costs a
//! checkout of the public schema and a query for its row, once for all requests.
//!
//! # Logs and metrics
//!
//! With the feature `tracing`, the rest of a request runs in a span `tenant` with
//! the fields `schema` and `domain`: the domain of the tenant's row, or the host if
//! domains have a table of their own. What a closure of [`run`](TenantDb::run)
//! logs on its thread is in it too, through `tracing` or, with a subscriber that
//! takes them, through `log`. A task that outlived its request has a span with the
//! schema. Paths that are bypassed have none.
//!
//! With the feature `metrics`, there are
//!
//! - `tenant_requests_total`, a counter with the labels `outcome` (`tenant`,
//!   `public`, `bypassed`, `unknown`, `malformed`, `suspended`, `unavailable`) and
//!   `group` (that of [`group_by`](SiteBuilder::group_by), or empty);
//! - `tenant_connection_wait_seconds`, a histogram with the label `outcome`
//!   (`taken`, `busy`, `failed`).
//!
//! No label has the name of a tenant: there are as many series with 5,000 tenants
//! as with 5.
//!
//! # When all connections are in use
//!
//! A request waits for one at most [`wait_for_connection`](SiteBuilder::wait_for_connection);
//! then [`run`](TenantDb::run) fails with [`Error::Busy`](crate::Error::Busy), which is
//! answered with 503 and `Retry-After`. At most as many threads block as the pool has connections.

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "axum")]
pub mod axum;
mod db;
#[cfg_attr(
    not(any(feature = "actix", feature = "tower")),
    expect(dead_code, reason = "the frameworks are told of")
)]
mod observe;
mod refusal;
mod site;
#[cfg(any(feature = "actix", feature = "axum"))]
mod tenant;
#[cfg(feature = "tower")]
pub mod tower;

pub use self::db::{PublicDb, TenantDb};
pub use self::refusal::Refusal;
pub use self::site::{Admission, Reading, Site, SiteBuilder, Unknown, Visit};
#[cfg(any(feature = "actix", feature = "axum"))]
pub use self::tenant::Tenant;
