//! Hosts, good, unknown and malformed.

use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::Request;
use hyper::header::HOST;
use tenant_schemas::Lifecycle as _;
use tenant_schemas::web::Unknown;

use crate::http;
use crate::support::{Client, client};
use crate::world::{Framework, Served, World};

pub(crate) fn c70_hosts_are_the_same_host_however_they_are_spelled<F: Framework>() {
    let world = World::new();
    with_domain(&world, "munich", "xn--mnchen-3ya.de");
    let served = F::serve(world.site().build());
    for (host, schema) in [
        ("acme.my-domain.com", "acme"),
        ("acme.my-domain.com:80", "acme"),
        ("acme.my-domain.com:65535", "acme"),
        ("acme.my-domain.com:", "acme"),
        ("ACME.My-Domain.COM", "acme"),
        ("acme.my-domain.com.", "acme"),
        ("Acme.my-domain.com.:8000", "acme"),
        ("www.acme.my-domain.com", "acme"),
        ("WWW.Acme.my-domain.com.:8000", "acme"),
        ("globex.my-domain.com", "globex"),
        ("xn--mnchen-3ya.de", "munich"),
        ("www.XN--MNCHEN-3YA.de:80", "munich"),
    ] {
        let answer = served.get(host, "/whoami");
        assert_eq!(
            answer.body,
            format!("tenant {schema} /whoami"),
            "{host}: {answer:?}"
        );
    }
    // As browsers never send it, and others do.
    let request = "GET /whoami HTTP/1.1\r\nHost: M\u{fc}nchen.de\r\nConnection: close\r\n\r\n";
    let (status, answer) = http::raw(served.at, request.as_bytes());
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("tenant munich /whoami"), "{answer}");
    // A name that is only near is another one.
    for host in [
        "acme.my-domain.com.evil.com",
        "xacme.my-domain.com",
        "www.www.acme.my-domain.com",
    ] {
        assert_eq!(served.get(host, "/whoami").status, 404, "{host}");
    }
}

pub(crate) fn c70_an_absolute_target_goes_before_the_header<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    // RFC 9112, 3.2.2: what `Host` says is ignored then.
    let request = Request::get("http://acme.my-domain.com:80/whoami?a=1")
        .header(HOST, "globex.my-domain.com")
        .body(Empty::new())
        .expect("a request");
    let answer = http::send(served.at, request);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("tenant acme "), "{answer:?}");
    let answer = served.get("globex.my-domain.com", "/whoami");
    assert!(answer.body.starts_with("tenant globex "), "{answer:?}");
}

pub(crate) fn c70_ipv6_addresses_are_hosts<F: Framework>() {
    let world = World::new();
    with_domain(&world, "loopback", "[::1]");
    let served = F::serve(world.site().build());
    for host in ["[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "[0::1]:"] {
        served
            .get(host, "/whoami")
            .is(200, "tenant loopback /whoami");
    }
    assert_eq!(served.get("[::2]", "/whoami").status, 404);
}

pub(crate) fn c71_the_main_domain_is_the_public_tenant<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    for host in ["my-domain.com", "www.my-domain.com:8000", "MY-DOMAIN.com."] {
        served.get(host, "/whoami").is(200, "public /whoami");
        served.get(host, "/plans").is(200, "free,team");
    }
    // It is no tenant's, so there is none to give the handler.
    let answer = served.get("my-domain.com", "/rooms");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

pub(crate) fn c72_unknown_hosts_are_404_by_default<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    let answer = served.get("nobody.my-domain.com", "/whoami");
    answer.is(404, "there is nothing at this address");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(served.get("127.0.0.1", "/whoami").status, 404);
    // One that is saved now is known now.
    with_domain(&world, "nobody", "nobody.my-domain.com");
    served
        .get("nobody.my-domain.com", "/whoami")
        .is(200, "tenant nobody /whoami");
    // The answer to HEAD has the headers, and no body.
    let head = b"HEAD /whoami HTTP/1.1\r\nHost: else.my-domain.com\r\nConnection: close\r\n\r\n";
    let (status, answer) = http::raw(served.at, head);
    assert_eq!(status, 404);
    let length = "there is nothing at this address".len();
    let expected = format!("content-length: {length}\r\n");
    assert!(answer.to_lowercase().contains(&expected), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

pub(crate) fn c72_unknown_hosts_can_be_400<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().unknown(Unknown::BadRequest).build());
    assert_eq!(served.get("nobody.my-domain.com", "/whoami").status, 400);
    assert_eq!(served.get("acme.my-domain.com", "/whoami").status, 200);
}

pub(crate) fn c72_unknown_hosts_can_be_public<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().unknown(Unknown::Public).build());
    served
        .get("nobody.my-domain.com", "/whoami")
        .is(200, "public /whoami");
    served
        .get("nobody.my-domain.com", "/plans")
        .is(200, "free,team");
    assert_eq!(served.get("nobody.my-domain.com", "/rooms").status, 404);
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
}

pub(crate) fn c72_unknown_hosts_can_be_a_chosen_tenant<F: Framework>() {
    let world = World::new();
    let chosen = Unknown::Tenant("globex".parse().expect("a name"));
    let served = F::serve(world.site().unknown(chosen).build());
    served
        .get("nobody.my-domain.com", "/whoami")
        .is(200, "tenant globex /whoami");
    served
        .get("nobody.my-domain.com", "/rooms")
        .is(200, "globex's own");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");

    let gone = Unknown::Tenant("gone".parse().expect("a name"));
    let served = F::serve(world.site().unknown(gone).build());
    assert_eq!(served.get("nobody.my-domain.com", "/rooms").status, 404);
}

pub(crate) fn c73_malformed_hosts_are_400<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().unknown(Unknown::Public).build());
    for host in [
        "",
        " ",
        "acme.my-domain.com:http",
        "acme.my-domain.com:99999",
        "acme.my-domain.com:80:80",
        "acme..my-domain.com",
        ".acme.my-domain.com",
        "acme.my-domain.com..",
        "acme.my-domain.com, globex.my-domain.com",
        "acme.my-domain.com globex.my-domain.com",
        "user@acme.my-domain.com",
        "acme.my-domain.com/rooms",
        "acme%2emy-domain.com",
        "acme.my-domain.com'--",
        "[::1",
        "::1",
        "[acme.my-domain.com]",
        &"a".repeat(64),
        &"a.".repeat(200),
    ] {
        let (status, answer) = with_headers(&served, &format!("Host: {host}\r\n"));
        assert_eq!(status, 400, "{host:?}: {answer}");
    }
    let (status, _) = http::raw(
        served.at,
        b"GET /whoami HTTP/1.1\r\nHost: acme.\xff\xfe.com\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status, 400, "no UTF-8");
    // Two, of which one proxy may read this and we that, and none.
    let twice = "Host: acme.my-domain.com\r\nHost: globex.my-domain.com\r\n";
    assert_eq!(with_headers(&served, twice).0, 400);
    let same = "Host: acme.my-domain.com\r\nHost: acme.my-domain.com\r\n";
    assert_eq!(with_headers(&served, same).0, 400);
    assert_eq!(with_headers(&served, "").0, 400);
    let (status, _) = http::raw(served.at, b"GET /whoami HTTP/1.0\r\n\r\n");
    assert_eq!(status, 400);
    // HTTP/1.0 with one is served.
    let (status, answer) = http::raw(
        served.at,
        b"GET /whoami HTTP/1.0\r\nHost: acme.my-domain.com\r\n\r\n",
    );
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("tenant acme /whoami"), "{answer}");
}

/// A tenant that has this domain.
fn with_domain(world: &World, schema: &str, domain: &str) -> Client {
    let mut tenant = client(schema);
    domain.clone_into(&mut tenant.domain_url);
    tenant
        .save(&mut world.db.tenancy.public().expect("public"))
        .expect("the tenant is saved");
    tenant
}

fn with_headers(served: &Served, headers: &str) -> (u16, String) {
    let to: SocketAddr = served.at;
    http::raw(
        to,
        format!("GET /whoami HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
    )
}
