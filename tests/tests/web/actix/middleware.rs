//! Other middleware around and inside, and answers to requests that are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::ContentType;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, Error, HttpResponse, rt};
use http_body_util::Empty;
use hyper::header::HOST;
use hyper::{Method, Request};
use tenant_schemas::resolve::PathPrefix;
use tenant_schemas::web::Refusal;

use super::server::{scopes, serve};
use crate::checks::{Gate, ask};
use crate::http;
use crate::world::{POOL, World};

#[test]
fn c72_unknown_hosts_can_be_answered_by_the_users_own_handler() {
    let world = World::new();
    let site = world
        .site()
        .suspended_if(|tenant| tenant.schema_name.as_str() == "globex")
        .build();
    let served = serve(move || {
        let middleware = site.middleware();
        let middleware = middleware.refuse_with(|refusal, request| match refusal {
            Refusal::UnknownTenant { .. } => {
                let host = request.headers().get("host").expect("it was read");
                let host = host.to_str().unwrap_or_default();
                HttpResponse::NotFound()
                    .content_type(ContentType::html())
                    .body(format!("<h1>No hotel at {host}{}</h1>", request.uri()))
            }
            other => other.into(),
        });
        App::new().wrap(middleware).configure(scopes)
    });
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
fn c72_refusals_and_failures_are_answers_to_the_middleware_outside() {
    let world = World::new();
    let site = world.site().build();
    let (answers, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&answers), Arc::clone(&failures));
    let served = serve(move || {
        let (answers, failures) = counts.clone();
        let count = from_fn(move |request: ServiceRequest, next: Next<_>| {
            let (answers, failures) = (Arc::clone(&answers), Arc::clone(&failures));
            async move {
                let outcome = next.call(request).await;
                let count = if outcome.is_ok() { answers } else { failures };
                count.fetch_add(1, Ordering::Relaxed);
                outcome
            }
        });
        App::new()
            .wrap(site.middleware())
            .wrap(DefaultHeaders::new().add(("x-served-by", "tests")))
            .wrap(count)
            .configure(scopes)
    });
    for (host, path, status) in [
        ("nobody.my-domain.com", "/rooms", 404),
        ("no..host", "/rooms", 400),
        ("my-domain.com", "/rooms", 404),
        ("acme.my-domain.com", "/add-and-fail", 500),
        ("acme.my-domain.com", "/rooms", 200),
    ] {
        let answer = served.get(host, path);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-served-by"), Some("tests"), "{answer:?}");
        if status != 200 {
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("text/plain; charset=utf-8"), "{answer:?}");
        }
    }
    assert_eq!(answers.load(Ordering::Relaxed), 5);
    assert_eq!(failures.load(Ordering::Relaxed), 0);
}

#[test]
fn c72_a_refusal_has_no_body_where_none_is_asked_for() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
    let request = Request::builder().method(Method::HEAD).uri("/rooms");
    let request = request.header(HOST, "nobody.my-domain.com");
    let answer = http::send(served.at, request.body(Empty::new()).expect("a request"));
    answer.is(404, "");
    let (status, answer) = http::raw(
        served.at,
        b"POST /echo HTTP/1.1\r\nHost: nobody.my-domain.com\r\nContent-Length: 5\r\n\
          Connection: close\r\n\r\nhello",
    );
    assert_eq!(status, 404);
    assert!(
        answer.ends_with("there is nothing at this address"),
        "{answer}"
    );
}

#[test]
fn c76_a_body_goes_through_to_the_handler() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || App::new().wrap(site.middleware()).configure(scopes));
    // The first is looked up meanwhile, the second remembered.
    for _ in 0..2 {
        let (status, answer) = http::raw(
            served.at,
            b"POST /echo HTTP/1.1\r\nHost: acme.my-domain.com\r\nTransfer-Encoding: chunked\r\n\
              Connection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        );
        assert_eq!(status, 200, "{answer}");
        assert!(answer.ends_with("acme got hello world"), "{answer}");
    }
}

/// Gives up a request that takes too long, as a time-out of a program's own does.
async fn time_out<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match rt::time::timeout(Duration::from_millis(200), next.call(request)).await {
        Ok(answered) => answered.map(ServiceResponse::map_into_boxed_body),
        Err(_) => Err(actix_web::error::ErrorRequestTimeout("it took too long")),
    }
}

#[test]
fn c79_a_time_out_leaves_the_pool_clean() {
    let world = World::new();
    let site = world.site().build();
    let inner = site.clone();
    // Outside of the site, and inside of it.
    let outside = serve(move || {
        App::new()
            .wrap(site.middleware())
            .wrap(from_fn(time_out))
            .configure(scopes)
    });
    let inside = serve(move || {
        App::new()
            .wrap(from_fn(time_out))
            .wrap(inner.middleware())
            .configure(scopes)
    });
    for served in [outside, inside] {
        served
            .get("globex.my-domain.com", "/whoami")
            .is(200, "tenant globex /whoami");
        let mut gate = Gate::closed(&world);
        let held: Vec<_> = (0..POOL).map(|_| ask(&served, "acme", "/hold")).collect();
        gate.waiting(POOL);
        // One more waits for a connection, and would have got one at last.
        assert_eq!(served.get("acme.my-domain.com", "/hold").status, 408);
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
            .get("globex.my-domain.com", "/rooms")
            .is(200, "globex's own");
    }
}

#[test]
fn a_site_behind_another_leaves_nothing_of_its_tenant() {
    let world = World::new();
    // The outer one knows paths, the inner one hosts.
    let outer = world.site().resolver(PathPrefix::after("/t")).build();
    let inner = world.site().build();
    let served = serve(move || {
        App::new()
            .wrap(inner.middleware())
            .wrap(outer.middleware())
            .configure(scopes)
    });
    served
        .get("my-domain.com", "/t/acme/whoami")
        .is(200, "public /whoami");
    assert_eq!(served.get("my-domain.com", "/t/acme/rooms").status, 404);
    served
        .get("globex.my-domain.com", "/t/acme/rooms")
        .is(200, "globex's own");
    served
        .get("globex.my-domain.com", "/t/acme/original")
        .is(200, "/t/acme/original as /original");
}
