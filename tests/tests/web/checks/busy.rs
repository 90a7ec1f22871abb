//! Connections that are all in use, and statements counted.

use std::io::Read as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::web::Site;
use tenant_schemas::{Lifecycle as _, SetCalls, Tenancy};

use super::clean::{Gate, ask};
use crate::support::{Client, client, customers, hotels};
use crate::world::{Framework, Served, World};

pub(crate) fn when_all_connections_are_in_use_503_says_when_to_try_again<F: Framework>() {
    // A program whose own checkouts are patient, far beyond the end of this test.
    let patient = Duration::from_mins(10);
    let world = World::with(|builder| builder.pool_size(2).checkout_timeout(patient));
    let site = world.site().wait_for_connection(Duration::from_millis(50));
    let served = F::serve(site.build());
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    let mut gate = Gate::closed(&world);
    let mut held: Vec<_> = (0..2).map(|_| ask(&served, "acme", "/hold")).collect();
    gate.waiting(2);
    // They are answered before the gate opens. `globex` was not asked for before,
    // so it is looked for too.
    for _ in 0..4 {
        for (host, path) in [
            ("acme.my-domain.com", "/rooms"),
            ("globex.my-domain.com", "/rooms"),
            ("my-domain.com", "/plans"),
        ] {
            let answer = served.get(host, path);
            answer.is(503, "the service is busy, try again in a moment");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        // What needs no connection is served, what is not there refused.
        served
            .get("acme.my-domain.com", "/whoami")
            .is(200, "tenant acme /whoami");
        assert_eq!(served.get("nobody.my-domain.com", "/rooms").status, 404);
    }
    gate.open();
    for stream in &mut held {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("acme's own"),
            "{answer}"
        );
    }
    world.pool_is_clean();
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    served.get("my-domain.com", "/plans").is(200, "free,team");
}

pub(crate) fn a_request_takes_as_many_statements_as_the_documentation_says<F: Framework>() {
    // For each `run`: to the same tenant as the connection's last, and to another.
    // What was prepared for a tenant is there still when the connection comes back to it.
    for (set_calls, same, other) in [
        (SetCalls::EveryCheckout, 1 + 1, 1 + 1),
        (SetCalls::WhenChanged, 1, 1 + 1),
        (SetCalls::FirstStatement, 1, 1),
        (SetCalls::EveryStatement, 1 + 2, 1 + 2),
    ] {
        let meter = Meter::<F>::new(set_calls);
        let [acme, globex] = ["acme.my-domain.com", "globex.my-domain.com"];
        for host in [acme, globex] {
            // As often as it takes until everything is prepared.
            for _ in 0..3 {
                meter.served.get(host, "/rooms").is(200, "");
            }
        }
        meter.expect(same, globex, "/rooms");
        meter.expect(same, globex, "/rooms");
        meter.expect(other, acme, "/rooms");
        meter.expect(other, globex, "/rooms");
        // Who asks for no connection sends nothing, nor does who is refused.
        meter.expect(0, globex, "/whoami");
        meter.expect(0, acme, "/whoami");
        meter.expect(0, "nobody.my-domain.com", "/rooms");
        meter.expect(0, "no..host", "/rooms");
        meter.expect(same, globex, "/rooms");
    }
    // A tenant that is not remembered: a checkout of the public schema, and the query for its row.
    let meter = Meter::<F>::new(SetCalls::EveryCheckout);
    meter.expect(1 + 2, "acme.my-domain.com", "/whoami");
    meter.expect(0, "acme.my-domain.com", "/whoami");
    meter.expect(1 + 1, "globex.my-domain.com", "/whoami");
}

/// A server that logs every message, each line with the database it is from.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        Server::builder()
            .setting("log_min_duration_statement", "0")
            .setting("log_line_prefix", "db=%d|")
            .start()
            .expect("a server")
    })
}

/// A database of its own on that server, with two tenants, one connection, and a site.
struct Meter<F> {
    database: String,
    served: Served,
    framework: std::marker::PhantomData<F>,
}

impl<F: Framework> Meter<F> {
    fn new(set_calls: SetCalls) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let database = format!("meter_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut conn = PgConnection::establish(&server().url()).expect("a connection");
        conn.batch_execute(&format!("CREATE DATABASE {database}"))
            .expect("a database");
        let tenancy = Tenancy::<Client>::builder(server().url_of(&database))
            .app(customers())
            .app(hotels())
            .pool_size(1)
            .set_calls(set_calls)
            .build()
            .expect("a tenancy");
        tenancy
            .migrate()
            .shared()
            .run()
            .and_then(tenant_schemas::Report::into_result)
            .expect("migrated");
        for schema in ["acme", "globex"] {
            client(schema)
                .save(&mut tenancy.public().expect("public"))
                .expect("saved");
        }
        Self {
            database,
            served: F::serve(Site::builder(&tenancy).build()),
            framework: std::marker::PhantomData,
        }
    }

    /// Expects a request to make the server get this many messages.
    #[track_caller]
    fn expect(&self, count: usize, host: &str, path: &str) {
        let before = server().log().len();
        self.served.get(host, path);
        let log = server().log();
        let prefix = format!("db={}|", self.database);
        let messages: Vec<&str> = log[before..]
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix)?.split_once(" ms  "))
            .map(|(_, message)| message)
            .filter(|message| {
                ["statement: ", "execute ", "parse __diesel"]
                    .iter()
                    .any(|kind| message.starts_with(kind))
            })
            // The directory's listener has a connection beside the pool.
            .filter(|message| *message != "statement: SELECT 1")
            .collect();
        assert_eq!(messages.len(), count, "{host}{path}: {messages:#?}");
    }
}
