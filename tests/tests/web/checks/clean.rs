//! What happens to a request leaves nothing to the next one.

use std::io::Read as _;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::HOST;

use crate::http;
use crate::support::{insert_room, strings};
use crate::world::{Framework, POOL, Served, World, secret};

pub(crate) fn c79_parallel_requests_of_many_tenants_never_mix<F: Framework>() {
    let world = World::new();
    let mut tenants = vec![world.acme.clone(), world.globex.clone()];
    for schema in ["initech", "umbrella", "hooli", "stark"] {
        let tenant = world.db.tenant(schema);
        let mut conn = world.db.tenancy.tenant(&tenant).expect("a connection");
        insert_room(&mut conn, 1, &secret(&tenant));
        tenants.push(tenant);
    }
    let served = F::serve(
        world
            .site()
            .wait_for_connection(Duration::from_mins(1))
            .build(),
    );
    // More at once than there are connections, and every tenant after every other.
    http::runtime().block_on(async {
        let clients = (0..12).map(|client| {
            let (tenants, at) = (&tenants, served.at);
            async move {
                for turn in 0..40 {
                    let tenant = &tenants[(client + turn * (1 + client % 5)) % tenants.len()];
                    let request = Request::get("/rooms").header(HOST, &tenant.domain_url);
                    let request = request.body(Empty::new()).expect("a request");
                    let answer = http::send_async(at, request).await;
                    answer.is(200, &secret(tenant));
                }
            }
        });
        futures_util::future::join_all(clients).await;
    });
    world.pool_is_clean();
}

pub(crate) fn c79_a_panic_in_a_handler_leaves_the_pool_clean<F: Framework>() {
    let world = World::new();
    // As long as it takes: no clock goes that far.
    let site = world.site().wait_for_connection(Duration::MAX);
    let served = F::serve(site.build());
    for _ in 0..2 * POOL {
        // Whether it is answered is the framework's.
        let mut answer = Vec::new();
        let _ = ask(&served, "acme", "/panic").read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
    world.pool_is_clean();
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
}

pub(crate) fn c79_a_panic_in_a_closure_leaves_the_pool_clean<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    for _ in 0..2 * POOL {
        let answer = served.get("acme.my-domain.com", "/panic-in-closure");
        answer.is(500, "something went wrong");
    }
    world.pool_is_clean();
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    // What it did before it panicked was in a transaction.
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
}

pub(crate) fn c79_a_client_that_goes_away_leaves_the_pool_clean<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    let mut gate = Gate::closed(&world);
    // As many as there are connections are in the middle of a statement, others wait.
    let clients: Vec<_> = (0..POOL + 2)
        .map(|_| ask(&served, "acme", "/hold"))
        .collect();
    gate.waiting(POOL);
    drop(clients);
    gate.open();
    world.pool_is_clean();
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    served
        .get("acme.my-domain.com", "/hold")
        .is(200, "acme's own");
}

pub(crate) fn c79_a_body_that_queries_while_it_streams_stays_in_its_tenant<F: Framework>() {
    let world = World::new();
    let served = F::serve(
        world
            .site()
            .wait_for_connection(Duration::from_mins(1))
            .build(),
    );
    for tenant in [&world.acme, &world.globex] {
        let mut conn = world.db.tenancy.tenant(tenant).expect("a connection");
        for id in 2..=20 {
            insert_room(&mut conn, id, &format!("{id} of {}", tenant.schema_name));
        }
    }
    let expected = |schema: &str| -> String {
        let rest = (2..=20).map(|id| format!("{id} of {schema},"));
        std::iter::once(format!("{schema}'s own,"))
            .chain(rest)
            .collect()
    };
    http::runtime().block_on(async {
        let streams = (0..8).map(|turn| {
            let schema = ["acme", "globex"][turn % 2];
            let expected = expected(schema);
            let at = served.at;
            async move {
                let host = format!("{schema}.my-domain.com");
                let request = Request::get("/stream").header(HOST, host);
                let request = request.body(Empty::new()).expect("a request");
                http::send_async(at, request).await.is(200, &expected);
            }
        });
        futures_util::future::join_all(streams).await;
    });
    // Some who go away as soon as it begins.
    for _ in 0..POOL {
        let mut stream = ask(&served, "acme", "/stream");
        let _ = stream.read(&mut [0; 1]);
    }
    world.pool_is_clean();
}

pub(crate) fn c79_a_task_that_outlives_its_request_stays_in_its_tenant<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    assert_eq!(served.get("acme.my-domain.com", "/spawn").status, 200);
    let patience = Instant::now() + Duration::from_mins(1);
    while served.get("acme.my-domain.com", "/rooms").body != "acme's own,spawned" {
        served
            .get("globex.my-domain.com", "/rooms")
            .is(200, "globex's own");
        assert!(Instant::now() < patience, "it never inserted");
    }
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    world.pool_is_clean();
}

pub(crate) fn c79_connections_that_died_are_replaced<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    // All of the pool, and the one that listens for the directory.
    let killed = world.db.strings(
        "SELECT pg_terminate_backend(pid)::text AS value FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(killed.len() > 1, "{killed:?}");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    world.pool_is_clean();
}

pub(crate) fn c79_a_path_that_was_moved_is_not_the_next_requests<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    for _ in 0..2 * POOL {
        served
            .get("acme.my-domain.com", "/move")
            .is(200, "acme's own");
        served
            .get("acme.my-domain.com", "/rooms")
            .is(200, "acme's own");
    }
    world.pool_is_clean();
}

pub(crate) fn c79_what_fails_is_rolled_back<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    let answer = served.get("acme.my-domain.com", "/add-and-fail");
    answer.is(500, "something went wrong");
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    // It was there to stay.
    served
        .get("acme.my-domain.com", "/add")
        .is(200, "acme's own,added");
    // The same key again: what the database says of it is not for strangers.
    served
        .get("acme.my-domain.com", "/add")
        .is(500, "something went wrong");
    world.pool_is_clean();
}

/// Sends a request for a tenant, and does not wait for the answer.
pub(crate) fn ask(served: &Served, schema: &str, path: &str) -> std::net::TcpStream {
    let host = format!("{schema}.my-domain.com");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    http::begin(served.at, request.as_bytes())
}

/// What `/hold` waits for.
pub(crate) struct Gate {
    conn: PgConnection,
}

impl Gate {
    pub(crate) fn closed(world: &World) -> Self {
        let mut conn = world.db.raw();
        conn.batch_execute("SELECT pg_advisory_lock(1)")
            .expect("locked");
        Self { conn }
    }

    /// Waits until this many connections wait.
    #[track_caller]
    pub(crate) fn waiting(&mut self, count: u32) {
        let waiting = "SELECT count(*)::text AS value FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event = 'advisory'";
        let patience = Instant::now() + Duration::from_mins(1);
        while strings(&mut self.conn, waiting) != [count.to_string()] {
            assert!(
                Instant::now() < patience,
                "there were never {count} waiting"
            );
        }
    }

    pub(crate) fn open(self) {
        drop(self.conn);
    }
}
