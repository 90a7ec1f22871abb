//! Separate routes for what all tenants share, and for tenants.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::request::Parts;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::model::TenantModel;
use crate::web::site::{Site, Visit};
use crate::web::tower::{Refuse, SiteLayer};

impl<T: TenantModel> Site<T> {
    /// This site in front of routes: `public` for what all tenants share, `tenants` for each tenant.
    ///
    /// A request is routed when it is known whose it is, by its path without the
    /// prefix that said so. Paths that [bypass](super::super::SiteBuilder::bypass) the
    /// site are `public`'s, whatever the host. A path that the one router does not
    /// have is its own 404: the other is not tried.
    ///
    /// Layers that are added to what this returns run before the tenant is known, those of
    /// the two routers after it. A route that is added to it has no tenant.
    ///
    /// The module [`axum`](super) has an example; [`SiteLayer::routes`] is the same
    /// with answers of yours for requests that are refused.
    pub fn routes(&self, public: Router, tenants: Router) -> Router {
        self.layer().routes(public, tenants)
    }
}

impl<T, R> SiteLayer<T, R>
where
    T: TenantModel,
    R: Refuse<Body> + Clone + Send + Sync + 'static,
{
    /// As [`Site::routes`].
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let site = tenant_schemas::web::Site::builder(tests.tenancy()).build();
    /// # let (public, tenants) = (axum::Router::new(), axum::Router::new());
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// use axum::response::{Html, IntoResponse};
    /// use http::StatusCode;
    /// use tenant_schemas::web::Refusal;
    ///
    /// let app = site
    ///     .layer()
    ///     .refuse_with(|refusal: &Refusal, _: &_| match refusal {
    ///         Refusal::UnknownTenant { .. } => {
    ///             (StatusCode::NOT_FOUND, Html("<h1>No hotel lives here</h1>")).into_response()
    ///         }
    ///         other => other.into_response(),
    ///     })
    ///     .routes(public, tenants);
    /// # runtime.block_on(async {
    /// # use tower::ServiceExt;
    /// # let request = http::Request::get("/").header("host", "nobody.my-domain.com");
    /// # let request = request.body(axum::body::Body::empty()).expect("a request");
    /// # let response = app.oneshot(request).await.expect("a response");
    /// # assert_eq!(response.status(), 404);
    /// # let body = axum::body::to_bytes(response.into_body(), 1_000).await.expect("a body");
    /// # assert_eq!(body, "<h1>No hotel lives here</h1>");
    /// # });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn routes(self, public: Router, tenants: Router) -> Router {
        let switch = Switch::<T> {
            public,
            tenants,
            model: PhantomData,
        };
        Router::new().fallback_service(self.layer(switch))
    }
}

/// One router for tenants, one for everything else.
struct Switch<T> {
    public: Router,
    tenants: Router,
    model: PhantomData<fn(T)>,
}

impl<T: TenantModel> Service<Request> for Switch<T> {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // as a router always is
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match request.extensions().get::<Visit<T>>() {
            Some(Visit::Tenant(_)) => self.tenants.call(request),
            _ => self.public.call(request),
        }
    }
}

impl<T> Clone for Switch<T> {
    fn clone(&self) -> Self {
        Self {
            public: self.public.clone(),
            tenants: self.tenants.clone(),
            model: PhantomData,
        }
    }
}

/// Keeps the URI where axum's extractor of that name looks for it.
pub(in crate::web) fn keep(parts: &mut Parts) {
    let original = OriginalUri(parts.uri.clone());
    parts.extensions.get_or_insert_with(|| original);
}
