//! Two routers, what is added to them, the URI as it was, HTTP/2.

use axum::Router;
use axum::extract::{MatchedPath, Path};
use axum::routing::get;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::HOST;
use tenant_schemas::resolve::{Host, PathPrefix};
use tower::Layer as _;

use super::server::{public, serve, tenants};
use crate::http;
use crate::world::World;

#[test]
fn c75_paths_that_are_bypassed_are_the_public_routers() {
    let world = World::new();
    let site = world.site().bypass("/static").build();
    let files = |whose: &'static str| {
        Router::new().route(
            "/static/{*path}",
            get(async move |Path(path): Path<String>| format!("{whose} {path}")),
        )
    };
    let served = serve(site.routes(files("shared"), files("a tenant's")));
    for host in [
        "acme.my-domain.com",
        "my-domain.com",
        "nobody.my-domain.com",
    ] {
        served
            .get(host, "/static/a/b.css")
            .is(200, "shared a/b.css");
    }
}

#[test]
fn c75_a_route_that_is_added_to_both_has_no_tenant() {
    let world = World::new();
    let routes = world.site().build().routes(public(), tenants());
    let served = serve(routes.route("/healthz", get(async || "ok")));
    served.get("nobody.my-domain.com", "/healthz").is(200, "ok");
    served.get("..", "/healthz").is(200, "ok");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
}

#[test]
fn c74_routing_sees_the_stripped_path_and_the_handler_both() {
    let world = World::new();
    let site = world
        .site()
        .resolver(PathPrefix::after("/t"))
        .resolver(Host::new())
        .build();
    let nested = Router::new().nest(
        "/floors/{floor}",
        Router::new().route(
            "/rooms/{id}",
            get(async |Path(ids): Path<(i32, i32)>, path: MatchedPath| {
                format!("{ids:?} {}", path.as_str())
            }),
        ),
    );
    let tenants = tenants().merge(nested);
    // In a router, and a service alone.
    let routes = site.routes(public(), tenants.clone());
    let layered = Router::new().fallback_service(site.layer().layer(tenants));
    for routes in [routes, layered] {
        let served = serve(routes);
        served
            .get("my-domain.com", "/t/acme/original?a")
            .is(200, "/t/acme/original?a as /original?a");
        served
            .get("acme.my-domain.com", "/original?a")
            .is(200, "/original?a as /original?a");
        served
            .get("my-domain.com", "/t/acme/floors/2/rooms/7")
            .is(200, "(2, 7) /floors/{floor}/rooms/{id}");
    }
}

#[test]
fn c74_the_original_uri_is_kept_where_no_router_is_outside() {
    use tower::ServiceExt as _;

    let world = World::new();
    let site = world.site().resolver(PathPrefix::after("/t")).build();
    let service = site.layer().layer(tenants());
    let request = Request::get("/t/acme/original?a").header(HOST, "my-domain.com");
    let request = request.body(axum::body::Body::empty()).expect("a request");
    let body = http::runtime().block_on(async {
        let response = service.oneshot(request).await.expect("a response");
        axum::body::to_bytes(response.into_body(), 1_000).await
    });
    assert_eq!(body.expect("a body"), "/t/acme/original?a as /original?a");
}

#[test]
fn c70_http_2_says_its_host_in_the_authority() {
    let world = World::new();
    let served = serve(world.site().build().routes(public(), tenants()));
    let ask = |authority: &str, host: Option<&str>| {
        let mut request = Request::get(format!("http://{authority}/rooms"));
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        http::send_http2(served.at, request.body(Empty::new()).expect("a request"))
    };
    ask("acme.my-domain.com", None).is(200, "acme's own");
    ask("GLOBEX.my-domain.com:8000", None).is(200, "globex's own");
    ask("nobody.my-domain.com", None).is(404, "there is nothing at this address");
    // The authority is what counts, as the target does in HTTP/1.
    ask("acme.my-domain.com", Some("globex.my-domain.com")).is(200, "acme's own");
    ask("nobody.my-domain.com", Some("acme.my-domain.com"))
        .is(404, "there is nothing at this address");
}
