//! Other layers around and inside, and services that are not axum's.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{Html, IntoResponse as _};
use http_body_util::{Empty, Full};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use tenant_schemas::resolve::PathPrefix;
use tenant_schemas::web::tower::OriginalUri;
use tenant_schemas::web::{PublicDb, Refusal, TenantDb, Visit};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::server::{public, serve, tenants};
use crate::checks::{Gate, ask};
use crate::http;
use crate::support::Client;
use crate::world::{POOL, World};

#[test]
fn c72_unknown_hosts_can_be_answered_by_the_users_own_handler() {
    let world = World::new();
    let site = world
        .site()
        .suspended_if(|tenant| tenant.schema_name.as_str() == "globex");
    let layer = site
        .build()
        .layer()
        .refuse_with(|refusal, request| match refusal {
            Refusal::UnknownTenant { .. } => {
                let host = request.headers[HOST].to_str().unwrap_or_default();
                let page = format!("<h1>No hotel at {host}{}</h1>", request.uri);
                (StatusCode::NOT_FOUND, Html(page)).into_response()
            }
            other => other.into_response(),
        });
    let served = serve(layer.routes(public(), tenants()));
    // Known to be none, and not looked for yet: both ways to a refusal.
    let answer = served.get("nobody.my-domain.com", "/a?b");
    answer.is(404, "<h1>No hotel at nobody.my-domain.com/a?b</h1>");
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    served
        .get("globex.my-domain.com", "/rooms")
        .is(403, "this account is suspended");
    served
        .get("..", "/")
        .is(400, "this request does not say for whom it is");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    // A page of the routes' own is another 404.
    served.get("acme.my-domain.com", "/nothing").is(404, "");
}

#[test]
fn c79_a_time_out_leaves_the_pool_clean() {
    let world = World::new();
    let out =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(200));
    // Outside of the site, and inside of it.
    let outside = world.site().build().routes(public(), tenants()).layer(out);
    let inside = world.site().build().routes(public(), tenants().layer(out));
    for routes in [outside, inside] {
        let served = serve(routes);
        served
            .get("globex.my-domain.com", "/whoami")
            .is(200, "tenant globex /whoami");
        let mut gate = Gate::closed(&world);
        let held: Vec<_> = (0..POOL).map(|_| ask(&served, "acme", "/hold")).collect();
        gate.waiting(POOL);
        // One more waits for a connection, and would have got one at last: it never begins.
        assert_eq!(served.get("acme.my-domain.com", "/add").status, 408);
        for mut stream in held {
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
        // Who has a connection keeps it until the statement is over, and nobody else uses it.
        gate.waiting(POOL);
        gate.open();
        world.pool_is_clean();
        served
            .get("acme.my-domain.com", "/rooms")
            .is(200, "acme's own");
        served
            .get("globex.my-domain.com", "/rooms")
            .is(200, "globex's own");
    }
}

#[test]
fn c79_a_panic_is_caught_inside_of_the_site_too() {
    let world = World::new();
    let tenants = tenants().layer(CatchPanicLayer::new());
    let served = serve(world.site().build().routes(public(), tenants));
    for _ in 0..2 * POOL {
        assert_eq!(served.get("acme.my-domain.com", "/panic").status, 500);
    }
    world.pool_is_clean();
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
}

#[test]
fn a_site_stands_in_front_of_any_service() {
    type Answer = Response<Full<Bytes>>;
    async fn answer(request: Request<Empty<Bytes>>) -> Result<Answer, tenant_schemas::Error> {
        let extensions = request.extensions();
        assert!(extensions.get::<PublicDb>().is_some());
        let whose = match extensions.get::<Visit<Client>>() {
            Some(Visit::Tenant(tenant)) => tenant.schema_name.to_string(),
            other => format!("{other:?}"),
        };
        let before = extensions.get::<OriginalUri>().map(|uri| uri.0.to_string());
        let db = extensions
            .get::<TenantDb>()
            .map(|db| db.schema_name().to_string());
        let text = format!("{whose} {before:?} {} {db:?}", request.uri());
        Ok(Response::new(Full::from(text)))
    }
    let world = World::new();
    let site = world
        .site()
        .resolver(PathPrefix::after("/t"))
        .bypass("/static")
        .build();
    let service = ServiceBuilder::new()
        .layer(site.layer())
        .service(service_fn(answer));
    http::runtime().block_on(async {
        let ask = async |path: &str| {
            let request = Request::get(path)
                .header(HOST, "my-domain.com")
                .body(Empty::new());
            let answer = service.clone().oneshot(request.expect("a request")).await;
            let (head, body) = answer.expect("a response").into_parts();
            let body = http_body_util::BodyExt::collect(body)
                .await
                .expect("a body")
                .to_bytes();
            (
                head.status.as_u16(),
                String::from_utf8_lossy(&body).into_owned(),
            )
        };
        let acme = r#"acme Some("/t/acme/a?b") /a?b Some("acme")"#;
        // Looked up, then remembered.
        assert_eq!(ask("/t/acme/a?b").await, (200, acme.to_owned()));
        assert_eq!(ask("/t/acme/a?b").await, (200, acme.to_owned()));
        let bypassed = "Some(Bypassed) None /static/a None";
        assert_eq!(ask("/static/a").await, (200, bypassed.to_owned()));
        assert_eq!(
            ask("/a").await,
            (404, "there is nothing at this address".to_owned())
        );
        // No server has taken the body away from the answer to HEAD.
        let head = Request::head("/a")
            .header(HOST, "my-domain.com")
            .body(Empty::new());
        let answer = service.clone().oneshot(head.expect("a request")).await;
        let answer = answer.expect("a response");
        assert_eq!(answer.headers()["content-length"], "32");
        assert_eq!(hyper::body::Body::size_hint(answer.body()).exact(), Some(0));
    });
}

/// Counts how often it is called without having been asked whether it is ready.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    mistakes: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        // A clone has to be asked itself.
        Self {
            is_ready: false,
            mistakes: Arc::clone(&self.mistakes),
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !std::mem::take(&mut self.is_ready) {
            self.mistakes.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(ready(Ok(Response::new(Body::empty()))))
    }
}

#[test]
fn the_service_that_is_called_is_the_one_that_was_ready() {
    let world = World::new();
    let strict = Strict::default();
    let mut service = world.site().build().layer().layer(strict.clone());
    http::runtime().block_on(async {
        for host in [
            "acme", "acme", "nobody", "globex", "no..host", "acme", "globex",
        ] {
            let request = Request::get("/").header(HOST, format!("{host}.my-domain.com"));
            let request = request.body(Body::empty()).expect("a request");
            let service = service.ready().await.expect("it is ready");
            service.call(request).await.expect("a response");
        }
    });
    assert_eq!(strict.calls.load(Ordering::Relaxed), 5);
    assert_eq!(strict.mistakes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_site_behind_another_leaves_nothing_of_its_tenant() {
    let world = World::new();
    // The outer one knows paths, the inner one hosts.
    let outer = world.site().resolver(PathPrefix::after("/t")).build();
    let inner = world.site().build().routes(public(), tenants());
    let served = serve(axum::Router::new().fallback_service(outer.layer().layer(inner)));
    served
        .get("my-domain.com", "/t/acme/whoami")
        .is(200, "public /whoami");
    assert_eq!(served.get("my-domain.com", "/t/acme/rooms").status, 404);
    served
        .get("globex.my-domain.com", "/t/acme/rooms")
        .is(200, "globex's own");
}
