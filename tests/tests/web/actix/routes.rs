//! Scopes and guards, prefixes, the URI as it was, HTTP/2, one connection for many tenants.

use std::io::{BufReader, Write as _};

use actix_web::middleware::{NormalizePath, TrailingSlash};
use actix_web::{App, HttpRequest, HttpResponse, web};
use http_body_util::Empty;
use hyper::Request;
use hyper::header::HOST;
use tenant_schemas::resolve::{Host, PathPrefix};
use tenant_schemas::web::actix::{public_only, tenants_only};

use super::server::{public, scopes, serve, tenants};
use crate::http;
use crate::world::World;

#[test]
fn c75_paths_that_are_bypassed_are_the_public_scopes() {
    let world = World::new();
    let site = world.site().bypass("/static").build();
    let served = serve(move || {
        let files = |whose: &'static str| {
            web::get().to(move |path: web::Path<String>| async move { format!("{whose} {path}") })
        };
        App::new()
            .wrap(site.middleware())
            .service(
                web::resource("/static/{path:.*}")
                    .guard(tenants_only())
                    .route(files("a tenant's")),
            )
            .service(
                web::resource("/static/{path:.*}")
                    .guard(public_only())
                    .route(files("shared")),
            )
    });
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
fn c75_guards_choose_one_page_that_is_not_found_too() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || {
        let page = |text: &'static str| {
            web::to(move || async move { HttpResponse::NotFound().body(text) })
        };
        App::new()
            .wrap(site.middleware())
            .service(
                web::scope("")
                    .guard(tenants_only())
                    .configure(tenants)
                    .default_service(page("not at this hotel")),
            )
            .service(
                web::scope("")
                    .guard(public_only())
                    .configure(public)
                    .default_service(page("not here")),
            )
    });
    served
        .get("acme.my-domain.com", "/plans")
        .is(404, "not at this hotel");
    served.get("my-domain.com", "/add").is(404, "not here");
    served
        .get("nobody.my-domain.com", "/add")
        .is(404, "there is nothing at this address");
}

#[test]
fn c75_guards_let_nothing_through_where_no_site_stands_in_front() {
    let world = World::new();
    let served = serve(|| App::new().configure(scopes));
    for host in ["acme.my-domain.com", "my-domain.com"] {
        assert_eq!(served.get(host, "/whoami").status, 404);
    }
    // Around its own scope, it comes too late for the scope's guard, and in time for those within.
    let site = world.site().build();
    let served = serve(move || {
        App::new()
            .service(
                web::scope("/late")
                    .guard(tenants_only())
                    .wrap(site.middleware())
                    .configure(tenants),
            )
            .service(
                web::scope("/within")
                    .wrap(site.middleware())
                    .configure(scopes),
            )
    });
    assert_eq!(served.get("acme.my-domain.com", "/late/rooms").status, 404);
    served
        .get("acme.my-domain.com", "/within/rooms")
        .is(200, "acme's own");
    served
        .get("my-domain.com", "/within/plans")
        .is(200, "free,team");
}

#[test]
fn c74_routing_sees_the_stripped_path_and_the_handler_both() {
    let world = World::new();
    let site = world
        .site()
        .resolver(PathPrefix::after("/t"))
        .resolver(Host::new())
        .build();
    let served = serve(move || {
        let nested = web::scope("/floors/{floor}").route(
            "/rooms/{id}",
            web::get().to(
                async |ids: web::Path<(String, String)>, request: HttpRequest| {
                    let pattern = request.match_pattern();
                    format!("{} {} {}", ids.0, ids.1, pattern.unwrap_or_default())
                },
            ),
        );
        App::new()
            .wrap(site.middleware())
            .service(nested)
            .configure(tenants)
    });
    let at_main = |path| served.get("my-domain.com", path);
    at_main("/t/acme/original?a=/t/acme")
        .is(200, "/t/acme/original?a=/t/acme as /original?a=/t/acme");
    served
        .get("acme.my-domain.com", "/original?a")
        .is(200, "/original?a as /original?a");
    // What is encoded stays so, and is decoded once, at the place where it is.
    for (prefix, host) in [("/t/acme", "my-domain.com"), ("", "acme.my-domain.com")] {
        let path = format!("{prefix}/floors/caf%C3%A9/rooms/7%25");
        served
            .get(host, &path)
            .is(200, "café 7% /floors/{floor}/rooms/{id}");
    }
    at_main("/t/%61cme/floors/%32/rooms/7").is(200, "2 7 /floors/{floor}/rooms/{id}");
}

#[test]
fn c74_a_prefix_is_stripped_beside_other_middleware_that_rewrites_paths() {
    let world = World::new();
    let site = world
        .site()
        .resolver(PathPrefix::after("/t"))
        .resolver(Host::new())
        .build();
    // Middleware that is added later is outside.
    let outside = site.clone();
    let outside = serve(move || {
        App::new()
            .wrap(outside.middleware())
            .wrap(NormalizePath::new(TrailingSlash::Trim))
            .configure(tenants)
    });
    let inside = serve(move || {
        App::new()
            .wrap(NormalizePath::new(TrailingSlash::Trim))
            .wrap(site.middleware())
            .configure(tenants)
    });
    for served in [&outside, &inside] {
        for path in ["/t/acme/rooms", "/t/acme//rooms/", "/t/acme/rooms///"] {
            served.get("my-domain.com", path).is(200, "acme's own");
        }
    }
    outside
        .get("my-domain.com", "//t//acme//rooms")
        .is(200, "acme's own");
    // Who has a prefix of two slashes has none.
    assert_eq!(inside.get("my-domain.com", "//t/acme/rooms").status, 404);
}

#[test]
fn c74_a_scope_that_took_the_prefix_loses_nothing_more() {
    let world = World::new();
    let site = world.site().resolver(PathPrefix::after("/t"));
    let site = site.resolver(Host::new()).build();
    let served = serve(move || {
        App::new().configure(public).service(
            web::scope("/t/{tenant}")
                .wrap(site.middleware())
                .configure(tenants),
        )
    });
    served
        .get("my-domain.com", "/t/acme/rooms")
        .is(200, "acme's own");
    served
        .get("my-domain.com", "/t/globex/whoami?a")
        .is(200, "tenant globex /t/globex/whoami?a");
    assert_eq!(served.get("my-domain.com", "/t/nobody/rooms").status, 404);
    // The scope takes a prefix that is encoded, and so does the site.
    served
        .get("acme.my-domain.com", "/%74/globex/rooms")
        .is(200, "globex's own");
    // What is outside of the scope has no site.
    assert_eq!(served.get("my-domain.com", "/whoami").status, 500);
}

#[test]
fn c70_http_2_says_its_host_in_the_authority() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
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

#[test]
fn c73_what_a_client_says_of_proxies_chooses_no_tenant() {
    let world = World::new();
    let forwarded = |served: &crate::world::Served, host: &str| {
        let request = Request::get("/rooms")
            .header(HOST, host)
            .header("x-forwarded-host", "globex.my-domain.com")
            .header("forwarded", "host=globex.my-domain.com");
        http::send(served.at, request.body(Empty::new()).expect("a request"))
    };
    let site = world.site().build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
    forwarded(&served, "acme.my-domain.com").is(200, "acme's own");
    assert_eq!(forwarded(&served, "nobody.my-domain.com").status, 404);
    // Unless the program trusts the proxy in front of it.
    let behind_proxy = Host::from_header("x-forwarded-host");
    let site = world.site().resolver(behind_proxy).build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
    forwarded(&served, "acme.my-domain.com").is(200, "globex's own");
}

/// actix-web keeps the memory of a request for the next one of the same worker.
#[test]
fn c79_one_connection_serves_many_tenants_and_each_its_own() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
    let expected = [
        ("acme.my-domain.com", 200, "acme's own"),
        ("globex.my-domain.com", 200, "globex's own"),
        ("my-domain.com", 404, "there is nothing at this address"),
        ("acme.my-domain.com", 200, "acme's own"),
        (
            "nobody.my-domain.com",
            404,
            "there is nothing at this address",
        ),
        ("my-domain.com", 404, "there is nothing at this address"),
        ("globex.my-domain.com", 200, "globex's own"),
    ];
    // All at once, before the first is answered; then one after the other.
    for pipelined in [true, false] {
        let mut stream = BufReader::new(http::begin(served.at, b""));
        let ask = |host: &str| format!("GET /rooms HTTP/1.1\r\nHost: {host}\r\n\r\n");
        if pipelined {
            let all: String = expected.iter().map(|(host, ..)| ask(host)).collect();
            stream.get_mut().write_all(all.as_bytes()).expect("sent");
        }
        for (host, status, body) in expected {
            if !pipelined {
                let one = ask(host);
                stream.get_mut().write_all(one.as_bytes()).expect("sent");
            }
            assert_eq!(answer(&mut stream), (status, body.to_owned()), "{host}");
        }
    }
    world.pool_is_clean();
}

/// The next answer of a connection that is kept.
fn answer(stream: &mut impl std::io::BufRead) -> (u16, String) {
    let mut status = 0;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().expect("a status");
        } else if let Some(digits) = line.strip_prefix("content-length: ") {
            length = digits.parse().expect("a length");
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (status, String::from_utf8(body).expect("text"))
}
