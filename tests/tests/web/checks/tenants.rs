//! The tenant at hand, routes of its own, and other ways to name it than by host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Empty;
use hyper::Request;
use hyper::header::HOST;
use tenant_schemas::resolve::{Header, Host, PathPrefix, Subdomain};
use tenant_schemas::web::Unknown;
use tenant_schemas::{Lifecycle as _, SaveOptions};

use crate::http::{self, Answer};
use crate::support::{client, name};
use crate::world::{Framework, Served, World};

pub(crate) fn c74_subdomains_name_schemas<F: Framework>() {
    let world = World::new();
    let resolver = Subdomain::of("my-domain.org");
    let served = F::serve(world.site().resolver(resolver).build());
    // Whatever their domains are, which end in `.com`.
    served
        .get("acme.my-domain.org", "/rooms")
        .is(200, "acme's own");
    served
        .get("GLOBEX.my-domain.org:80", "/rooms")
        .is(200, "globex's own");
    served
        .get("my-domain.org", "/whoami")
        .is(200, "public /whoami");
    served
        .get("www.my-domain.org", "/whoami")
        .is(200, "public /whoami");
    for host in [
        "nobody.my-domain.org",
        "a.acme.my-domain.org",
        "acme.my-domain.com",
    ] {
        assert_eq!(served.get(host, "/whoami").status, 404, "{host}");
    }
    // Neither what is shared nor what is PostgreSQL's is a tenant by its name.
    for host in [
        "pg_catalog.my-domain.org",
        "information_schema.my-domain.org",
    ] {
        assert_eq!(served.get(host, "/whoami").status, 404, "{host}");
    }
    served
        .get("public.my-domain.org", "/whoami")
        .is(200, "public /whoami");
}

pub(crate) fn c74_a_path_prefix_is_stripped_before_routing<F: Framework>() {
    let world = World::new();
    let site = world
        .site()
        .resolver(PathPrefix::after("/t"))
        .resolver(Host::new());
    let served = F::serve(site.build());
    let at_main = |path: &str| served.get("my-domain.com", path);
    at_main("/t/acme/whoami").is(200, "tenant acme /whoami");
    at_main("/t/acme/whoami?a=/t/globex&b").is(200, "tenant acme /whoami?a=/t/globex&b");
    at_main("/t/globex/rooms").is(200, "globex's own");
    at_main("/t/%61cme/rooms").is(200, "acme's own");
    at_main("/whoami").is(200, "public /whoami");
    // Who is named on purpose is not replaced by who has the host.
    assert_eq!(
        served.get("acme.my-domain.com", "/t/nobody/rooms").status,
        404
    );
    served
        .get("acme.my-domain.com", "/t/globex/rooms")
        .is(200, "globex's own");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    // No route of the tenant's: its prefix alone, twice, or in front of another path.
    for path in [
        "/t/acme",
        "/t/acme/",
        "/t/acme/t/acme/rooms",
        "/x/t/acme/rooms",
        "/tt/acme/rooms",
    ] {
        assert_eq!(at_main(path).status, 404, "{path}");
    }
    assert_eq!(at_main("/t/%ff/rooms").status, 400);
}

pub(crate) fn c74_a_header_names_a_tenant<F: Framework>() {
    let world = World::new();
    let site = world
        .site()
        .resolver(Header::new("x-tenant"))
        .resolver(Host::new());
    let served = F::serve(site.build());
    let named = |tenant: &str| with_header(&served, "my-domain.com", tenant);
    named("acme").is(200, "tenant acme /whoami");
    named(" globex ").is(200, "tenant globex /whoami");
    // One that names nobody is refused, not served as the host's.
    assert_eq!(named("nobody").status, 404);
    assert_eq!(named("acme; DROP SCHEMA acme").status, 404);
    assert_eq!(named("").status, 400);
    let twice = "GET /whoami HTTP/1.1\r\nHost: my-domain.com\r\nX-Tenant: acme\r\nx-tenant: globex\r\n\
                 Connection: close\r\n\r\n";
    assert_eq!(http::raw(served.at, twice.as_bytes()).0, 400);
    served
        .get("acme.my-domain.com", "/whoami")
        .is(200, "tenant acme /whoami");
    // Nor is it served as what requests of nobody are.
    let globex = "globex".parse().expect("a name");
    for unknown in [Unknown::Public, Unknown::Tenant(globex)] {
        let site = world.site().resolver(Header::new("x-tenant"));
        let served = F::serve(site.resolver(Host::new()).unknown(unknown).build());
        let named = |tenant: &str| with_header(&served, "nobody.my-domain.com", tenant);
        // Twice: the second time it is known that there is none.
        for _ in 0..2 {
            assert_eq!(named("nobody").status, 404);
        }
        named("acme").is(200, "tenant acme /whoami");
        let host_alone = served.get("nobody.my-domain.com", "/whoami");
        assert_eq!(host_alone.status, 200);
    }
    // It is opt-in.
    let served = F::serve(world.site().build());
    with_header(&served, "globex.my-domain.com", "acme").is(200, "tenant globex /whoami");
}

pub(crate) fn c74_a_chain_is_asked_in_its_order<F: Framework>() {
    let world = World::new();
    let site = world
        .site()
        .resolver(Header::new("x-tenant"))
        .resolver(PathPrefix::after("/t"))
        .resolver(Subdomain::of("my-domain.org"))
        .resolver(Host::new());
    let served = F::serve(site.build());
    // Twice: the second time out of memory.
    for _ in 0..2 {
        served
            .get("acme.my-domain.com", "/whoami")
            .is(200, "tenant acme /whoami");
        served
            .get("acme.my-domain.org", "/whoami")
            .is(200, "tenant acme /whoami");
        served
            .get("acme.my-domain.org", "/t/globex/whoami")
            .is(200, "tenant globex /whoami");
        served
            .get("my-domain.org", "/t/acme/whoami")
            .is(200, "tenant acme /whoami");
        served
            .get("my-domain.org", "/whoami")
            .is(200, "public /whoami");
        served
            .get("my-domain.com", "/whoami")
            .is(200, "public /whoami");
        let request = Request::get("/t/acme/whoami")
            .header(HOST, "acme.my-domain.org")
            .header("x-tenant", "globex");
        // The first that finds one decides; the prefix is not its own to strip.
        let answer = http::send(served.at, request.body(Empty::new()).expect("a request"));
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(served.get("nobody.my-domain.org", "/whoami").status, 404);
    }
}

pub(crate) fn c75_public_and_tenants_have_routes_of_their_own<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    served.get("my-domain.com", "/plans").is(200, "free,team");
    assert_eq!(served.get("acme.my-domain.com", "/plans").status, 404);
    assert_eq!(served.get("acme.my-domain.com", "/add").status, 200);
    assert_eq!(served.get("my-domain.com", "/add").status, 404);
    // One path, two routes.
    served
        .get("my-domain.com", "/whoami")
        .is(200, "public /whoami");
    served
        .get("acme.my-domain.com", "/whoami")
        .is(200, "tenant acme /whoami");
}

pub(crate) fn c76_the_tenant_is_at_hand_and_the_connection_is_scoped<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    served
        .get("acme.my-domain.com", "/whoami?a=1")
        .is(200, "tenant acme /whoami?a=1");
    served
        .get("globex.my-domain.com", "/whoami")
        .is(200, "tenant globex /whoami");
    // The same key is in both, so each is there to be leaked.
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    served
        .get("acme.my-domain.com", "/add")
        .is(200, "acme's own,added");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    served
        .get("globex.my-domain.com", "/add")
        .is(200, "globex's own,added");
    world.pool_is_clean();
}

pub(crate) fn c76_a_path_that_is_bypassed_has_no_tenant<F: Framework>() {
    let world = World::new();
    let site = world.site().bypass("/whoami").bypass("plans/");
    let site = site.suspended_if(|tenant| tenant.schema_name.as_str() == "acme");
    let served = F::serve(site.build());
    // Whatever the host is, and however bad.
    for host in [
        "acme.my-domain.com",
        "my-domain.com",
        "nobody.my-domain.com",
        "no..host",
    ] {
        served.get(host, "/whoami").is(200, "bypassed /whoami");
        served.get(host, "/plans").is(200, "free,team");
    }
    let (status, _) = http::raw(served.at, b"GET /whoami HTTP/1.0\r\n\r\n");
    assert_eq!(status, 200);
    // What only begins so is not meant.
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    assert_eq!(served.get("nobody.my-domain.com", "/whoamix").status, 404);
    let answer = served.get("acme.my-domain.com", "/plansx");
    assert_eq!(answer.status, 403, "{answer:?}");
}

pub(crate) fn c76_a_suspended_tenant_is_403<F: Framework>() {
    let world = World::new();
    let site = world.site().suspended_if(|tenant| !tenant.on_trial);
    let served = F::serve(site.build());
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    let mut acme = world.acme.clone();
    acme.on_trial = false;
    acme.save(&mut world.db.tenancy.public().expect("public"))
        .expect("saved");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(403, "this account is suspended");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    acme.on_trial = true;
    acme.save(&mut world.db.tenancy.public().expect("public"))
        .expect("saved");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
}

pub(crate) fn c79_a_tenant_whose_name_goes_to_another_before_it_is_entered_gets_nothing_of_the_others<
    F: Framework,
>() {
    for remembered in [false, true] {
        let world = World::new();
        let armed = Arc::new(AtomicBool::new(false));
        let (swaps, tenancy) = (Arc::clone(&armed), world.db.tenancy.clone());
        let (acme, globex) = (world.acme.clone(), world.globex.clone());
        // Between the look at the row and the scope, a site asks this.
        let site = world.site().suspended_if(move |_| {
            if swaps.swap(false, Ordering::SeqCst) {
                let mut conn = tenancy.public().expect("public");
                let [mut acme, mut globex] = [&acme, &globex].map(Clone::clone);
                acme.rename(&mut conn, &name("acme_inc")).expect("renamed");
                globex.rename(&mut conn, &name("acme")).expect("renamed");
            }
            false
        });
        let served = F::serve(site.build());
        let rooms = || served.get("acme.my-domain.com", "/rooms");
        if remembered {
            rooms().is(200, "acme's own");
        }
        armed.store(true, Ordering::SeqCst);
        let answer = rooms();
        assert!(!armed.load(Ordering::SeqCst), "the names were swapped");
        let there = world.db.strings("SELECT name AS value FROM acme.rooms");
        assert_eq!(there, ["globex's own"], "that is there to be read");
        assert_eq!(answer.status, 503, "{remembered}: {answer:?}");
        rooms().is(200, "acme's own");
    }
}

pub(crate) fn c76_a_tenant_without_a_schema_is_503_until_it_has_one<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    let mut later = client("later");
    later
        .save_with(
            &mut world.db.tenancy.public().expect("public"),
            SaveOptions::new().auto_create_schema(false),
        )
        .expect("the row is saved");
    // The tenant is known; where its rooms would be, what is shared must not be read.
    served
        .get("later.my-domain.com", "/whoami")
        .is(200, "tenant later /whoami");
    let answer = served.get("later.my-domain.com", "/rooms");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("later"), "{answer:?}");
    world
        .db
        .tenancy
        .create_missing_schemas()
        .and_then(tenant_schemas::Report::into_result)
        .expect("made");
    served.get("later.my-domain.com", "/rooms").is(200, "");
    world.pool_is_clean();
}

fn with_header(served: &Served, host: &str, tenant: &str) -> Answer {
    let request = Request::get("/whoami")
        .header(HOST, host)
        .header("x-tenant", tenant);
    http::send(served.at, request.body(Empty::new()).expect("a request"))
}
