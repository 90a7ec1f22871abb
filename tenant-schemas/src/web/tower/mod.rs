//! Tenants in front of any tower service (feature `tower`).
//!
//! [`Site::layer`] makes a layer for services of HTTP requests, whatever their bodies
//! are. It finds out whose a request is, takes the part of the path away that says so,
//! and leaves with the request, as extensions:
//!
//! - [`Visit<T>`](super::Visit), whose it is;
//! - [`TenantDb`](super::TenantDb), if it is a tenant's;
//! - [`PublicDb`](super::PublicDb);
//! - [`OriginalUri`], if the path is not what it was.
//!
//! A request that may not go on is answered by the layer; see [`SiteLayer::refuse_with`].
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! use http::{Request, Response};
//! use tenant_schemas::web::{Site, TenantDb};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! async fn rooms_of(request: Request<()>) -> tenant_schemas::Result<Response<String>> {
//!     let db: &TenantDb = request.extensions().get().expect("only tenants come here");
//!     let rooms: i64 = db.run(|conn| rooms::table.count().get_result(conn)).await?;
//!     Ok(Response::new(format!("{rooms} rooms")))
//! }
//!
//! let site = Site::builder(tenancy).build();
//! let service = ServiceBuilder::new().layer(site.layer()).service(service_fn(rooms_of));
//!
//! # runtime.block_on(async {
//! let request = Request::get("/rooms").header("host", "acme.my-domain.com").body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.body(), "0 rooms");
//!
//! let request = Request::get("/rooms").header("host", "nobody.my-domain.com").body(())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.status(), 404);
//! assert_eq!(response.body(), "there is nothing at this address");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The scope of a connection is a value in the request, so layers around this one or
//! inside it, for time-outs, panics or tracing, may stand in any order.

mod enter;
pub(super) mod refuse;
mod service;

use std::fmt;

use tower_layer::Layer;

pub use self::enter::OriginalUri;
pub use self::refuse::{PlainText, Refuse};
pub use self::service::{SiteFuture, SiteService};
use super::site::Site;
use crate::model::TenantModel;

impl<T: TenantModel> Site<T> {
    /// This site as a layer of tower.
    ///
    /// The module [`tower`](super::tower) says what it does. Routes go into
    /// `Site::routes` if they are axum's: what `Router::layer` adds runs when the
    /// route is chosen already.
    pub fn layer(&self) -> SiteLayer<T> {
        SiteLayer {
            site: self.clone(),
            refuse: PlainText,
        }
    }
}

/// A [`Site`] as a layer of tower. Cloning is cheap.
#[must_use = "it does nothing before a service is put behind it"]
pub struct SiteLayer<T: TenantModel, R = PlainText> {
    site: Site<T>,
    refuse: R,
}

impl<T: TenantModel, R> SiteLayer<T, R> {
    /// Sets how requests are answered that are refused. Defaults to [`PlainText`].
    ///
    /// `refuse` is a closure that makes a response out of a
    /// [`Refusal`](super::Refusal) and the request's head, the path as the client
    /// sent it. It must not block. What it has no answer of its own for it can leave
    /// to [`PlainText`].
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let site = tenant_schemas::web::Site::builder(tests.tenancy()).build();
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use http::{Request, Response, request::Parts};
    /// use tenant_schemas::web::Refusal;
    /// use tenant_schemas::web::tower::{PlainText, Refuse};
    /// # use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// # async fn pages(_: Request<()>) -> Result<Response<String>, std::convert::Infallible> {
    /// #     unreachable!()
    /// # }
    ///
    /// let layer = site.layer().refuse_with(|refusal: &Refusal, request: &Parts| match refusal {
    ///     Refusal::UnknownTenant { .. } => Response::builder()
    ///         .status(404)
    ///         .header("content-type", "text/html; charset=utf-8")
    ///         .body("<h1>No hotel lives here</h1>".to_owned())
    ///         .expect("it is well formed"),
    ///     other => PlainText.refuse(other, request),
    /// });
    ///
    /// let service = ServiceBuilder::new().layer(layer).service(service_fn(pages));
    /// let request = Request::get("/").header("host", "nobody.my-domain.com").body(())?;
    /// assert_eq!(service.oneshot(request).await?.body(), "<h1>No hotel lives here</h1>");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse_with<F, B>(self, refuse: F) -> SiteLayer<T, F>
    where
        F: Fn(&super::Refusal, &http::request::Parts) -> http::Response<B> + Clone,
    {
        SiteLayer {
            site: self.site,
            refuse,
        }
    }
}

impl<T: TenantModel, R: Clone, S> Layer<S> for SiteLayer<T, R> {
    type Service = SiteService<T, S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        SiteService::new(self.site.clone(), self.refuse.clone(), inner)
    }
}

impl<T: TenantModel, R: Clone> Clone for SiteLayer<T, R> {
    fn clone(&self) -> Self {
        Self {
            site: self.site.clone(),
            refuse: self.refuse.clone(),
        }
    }
}

impl<T: TenantModel, R> fmt::Debug for SiteLayer<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteLayer")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
