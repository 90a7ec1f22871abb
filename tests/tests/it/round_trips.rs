//! How many messages the server gets, counted by the server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::Error as DieselError;
use private_postgres::Server;
use tenant_schemas::{Lifecycle as _, SetCalls, Tenancy, TenantConnection};

use crate::support::{Client, client, customers, hotels, name, rooms};

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

/// A database of its own on that server, with two tenants.
struct Meter {
    database: String,
    tenancy: Tenancy<Client>,
    acme: Client,
    globex: Client,
}

impl Meter {
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
        let [acme, globex] = ["acme", "globex"].map(|schema| {
            let mut tenant = client(schema);
            tenant
                .save(&mut tenancy.public().expect("public"))
                .expect("saved");
            tenant
        });
        // As often as it takes until nothing is left that happens only the first time.
        for tenant in [&acme, &globex, &acme] {
            for _ in 0..3 {
                read(&mut tenancy.tenant(tenant).expect("a connection"));
            }
        }
        Self {
            database,
            tenancy,
            acme,
            globex,
        }
    }

    /// The messages that `f` makes the server get, one line each.
    fn messages<R>(&self, f: impl FnOnce() -> R) -> Vec<String> {
        let before = server().log().len();
        let value = f();
        let log = server().log();
        drop(value);
        let prefix = format!("db={}|", self.database);
        log[before..]
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            // Each is one message and its answer: a simple query, the preparation
            // of a named statement, an execution.
            .filter_map(|line| {
                let message = line.split_once(" ms  ")?.1;
                let counts = ["statement: ", "execute ", "parse __diesel"]
                    .iter()
                    .any(|kind| message.starts_with(kind));
                counts.then(|| message.to_owned())
            })
            .collect()
    }

    #[track_caller]
    fn expect(&self, count: usize, f: impl FnOnce(&Self)) -> Vec<String> {
        let messages = self.messages(|| f(self));
        assert_eq!(messages.len(), count, "{messages:#?}");
        messages
    }

    fn acme(&self) -> tenant_schemas::PooledConnection {
        self.tenancy.tenant(&self.acme).expect("acme")
    }

    fn globex(&self) -> tenant_schemas::PooledConnection {
        self.tenancy.tenant(&self.globex).expect("globex")
    }
}

fn read(conn: &mut TenantConnection) {
    let found: i64 = rooms::table.count().get_result(conn).expect("read");
    assert_eq!(found, 0);
}

fn in_transaction(conn: &mut TenantConnection) {
    conn.transaction(|conn| {
        read(conn);
        read(conn);
        Ok::<_, DieselError>(())
    })
    .expect("committed");
}

#[test]
fn c21_every_checkout_takes_as_many_round_trips_as_a_pool_without_tenancy() {
    let meter = Meter::new(SetCalls::EveryCheckout);
    let pool = Pool::builder()
        .max_size(1)
        .build(ConnectionManager::<PgConnection>::new(
            server().url_of(&meter.database),
        ))
        .expect("a pool");
    let plain = |queries: usize, transaction: bool| {
        let mut conn = pool.get().expect("a connection");
        let read = |conn: &mut PgConnection| {
            for _ in 0..queries {
                diesel::select(diesel::dsl::count_star())
                    .get_result::<i64>(conn)
                    .expect("read");
            }
            Ok::<_, DieselError>(())
        };
        if transaction {
            conn.transaction(|conn| read(conn)).expect("committed");
        } else {
            read(&mut conn).expect("read");
        }
    };
    plain(1, false);
    // The same numbers for both: the ping or the path, then the work.
    meter.expect(1, |_| plain(0, false));
    meter.expect(1, |meter| drop(meter.acme()));
    meter.expect(2, |_| plain(1, false));
    meter.expect(2, |meter| read(&mut meter.acme()));
    meter.expect(3, |_| plain(2, false));
    meter.expect(3, |meter| {
        let mut conn = meter.acme();
        read(&mut conn);
        read(&mut conn);
    });
    meter.expect(5, |_| plain(2, true));
    let messages = meter.expect(5, |meter| in_transaction(&mut meter.acme()));
    assert_eq!(messages[1], "statement: BEGIN");
    assert_eq!(messages[4], "statement: COMMIT");
}

#[test]
fn c21_a_tenant_that_stays_sends_its_path_as_a_statement_that_is_prepared_once() {
    let meter = Meter::new(SetCalls::EveryCheckout);
    let messages = meter.expect(1, |meter| drop(meter.acme()));
    assert!(messages[0].starts_with("execute __diesel"), "{messages:?}");
    // `SHOW` says the same after either.
    let path = |meter: &Meter| -> String {
        diesel::dsl::sql::<diesel::sql_types::Text>("SELECT current_setting('search_path')")
            .get_result(&mut meter.acme())
            .expect("a path")
    };
    let prepared = path(&meter);
    drop(meter.globex());
    assert_eq!(path(&meter), prepared);
    assert_eq!(prepared, "acme, public");
}

#[test]
fn c21_another_tenant_takes_one_round_trip_and_each_statement_is_prepared_once_for_it() {
    for set_calls in [SetCalls::EveryCheckout, SetCalls::WhenChanged] {
        let meter = Meter::new(set_calls);
        let messages = meter.expect(1, |meter| drop(meter.globex()));
        assert_eq!(
            messages,
            ["statement: SELECT '\"globex\"'::pg_catalog.regnamespace, \
                 pg_catalog.to_regclass('\"globex\".__tenant_migrations'), \
                 pg_catalog.pg_advisory_unlock_all(); \
                 SET search_path TO \"globex\", \"public\"; CLOSE ALL; \
                 DISCARD TEMP; DISCARD SEQUENCES; UNLISTEN *"]
        );
        // A statement that is new, in one tenant and then in the other.
        let names = |conn: &mut TenantConnection| {
            let names = rooms::table.select(rooms::name).load::<String>(conn);
            assert_eq!(names, Ok(Vec::new()));
        };
        for turn in [Meter::acme, Meter::globex] {
            let messages = meter.expect(4, |meter| {
                let mut conn = turn(meter);
                names(&mut conn);
                names(&mut conn);
            });
            assert!(messages[1].starts_with("parse __diesel"), "{messages:?}");
            assert!(messages[2].starts_with("execute __diesel"), "{messages:?}");
        }
        // What was prepared for either is there still.
        meter.expect(3, |meter| {
            let mut conn = meter.acme();
            read(&mut conn);
            read(&mut conn);
        });
        meter.expect(2, |meter| read(&mut meter.globex()));
        meter.expect(1, |meter| drop(meter.acme()));
        meter.expect(1, |meter| drop(meter.globex()));
        meter.expect(1, |meter| drop(meter.acme()));
    }
}

#[test]
fn c21_when_changed_sends_nothing_for_the_same_tenant() {
    let meter = Meter::new(SetCalls::WhenChanged);
    meter.expect(0, |meter| drop(meter.acme()));
    meter.expect(1, |meter| read(&mut meter.acme()));
    meter.expect(4, |meter| in_transaction(&mut meter.acme()));
    // Until someone moves the path: then the next checkout sends it.
    meter.expect(1, |meter| {
        meter
            .acme()
            .batch_execute("SET search_path TO globex")
            .expect("set");
    });
    meter.expect(1, |meter| drop(meter.acme()));
    meter.expect(0, |meter| drop(meter.acme()));
}

#[test]
fn c21_first_statement_sends_nothing_for_a_checkout_and_one_message_for_a_query() {
    let meter = Meter::new(SetCalls::FirstStatement);
    for turn in [Meter::acme, Meter::globex] {
        // Prepared with the path, and without.
        in_transaction(&mut turn(&meter));
    }
    for turn in [Meter::acme, Meter::globex, Meter::globex, Meter::acme] {
        meter.expect(0, |meter| drop(turn(meter)));
        let messages = meter.expect(1, |meter| read(&mut turn(meter)));
        assert!(messages[0].contains("/*$1*/SELECT"), "{messages:?}");
        meter.expect(2, |meter| {
            let mut conn = turn(meter);
            read(&mut conn);
            read(&mut conn);
        });
    }
    // Ahead of a transaction, and of a statement that is new, the path takes one.
    let messages = meter.expect(5, |meter| in_transaction(&mut meter.globex()));
    assert_eq!(
        messages[0],
        "statement: SELECT '\"globex\"'::pg_catalog.regnamespace, \
         pg_catalog.to_regclass('\"globex\".__tenant_migrations'), \
         pg_catalog.pg_advisory_unlock_all(); \
         SELECT pg_catalog.set_config('search_path', '\"globex\", \"public\"', false); CLOSE ALL; \
         DISCARD TEMP; DISCARD SEQUENCES; UNLISTEN *"
    );
    assert_eq!(messages[1], "statement: BEGIN");
    let names = |conn: &mut TenantConnection| {
        let names = rooms::table.select(rooms::name).load::<String>(conn);
        assert_eq!(names, Ok(Vec::new()));
    };
    for turn in [Meter::acme, Meter::globex] {
        let messages = meter.expect(3, |meter| names(&mut turn(meter)));
        assert!(messages[1].starts_with("parse __diesel"), "{messages:?}");
        // By now it is prepared with the path, and without.
        meter.expect(1, |meter| names(&mut turn(meter)));
    }
    meter.expect(1, |meter| names(&mut meter.acme()));
    // The plan is the tenant's own, as it was: nothing is planned anew when the path changes.
    let planned = meter.messages(|| names(&mut meter.globex()));
    assert_eq!(planned.len(), 1, "{planned:?}");
}

#[test]
fn c21_statements_that_name_their_schema_take_one_message_and_what_needs_the_path_one_more() {
    let meter = Meter::new(SetCalls::FirstStatement);
    let rest = || {
        for turn in [Meter::acme, Meter::globex].repeat(20) {
            // It may be new to the session, at home.
            assert!(meter.messages(|| read(&mut turn(&meter))).len() <= 3);
        }
    };
    for _ in 0..2 {
        rest();
        for turn in [Meter::acme, Meter::globex, Meter::globex, Meter::acme] {
            let messages = meter.expect(1, |meter| read(&mut turn(meter)));
            assert!(messages[0].contains("\".\"rooms\" OFFSET"), "{messages:?}");
            meter.expect(2, |meter| {
                let mut conn = turn(meter);
                read(&mut conn);
                read(&mut conn);
            });
        }
        let messages = meter.expect(6, |meter| {
            let mut conn = meter.acme();
            read(&mut conn);
            in_transaction(&mut conn);
        });
        assert!(messages[1].contains("set_config('search_path', '\"acme\""));
    }
    // PostgreSQL is asked once whether it keeps the plan.
    for _ in 0..3 {
        rest();
    }
    in_transaction(&mut meter.acme());
    // By now both ways of sending it are prepared: to go home is the only message that is not a query.
    let all = meter.messages(|| {
        for turn in [Meter::acme, Meter::globex].repeat(50) {
            read(&mut turn(&meter));
        }
    });
    assert_eq!(all.len(), 100 + 1);
}

#[test]
fn c21_every_statement_takes_one_round_trip_more_for_each() {
    let meter = Meter::new(SetCalls::EveryStatement);
    meter.expect(1, |meter| drop(meter.acme()));
    meter.expect(3, |meter| read(&mut meter.acme()));
    // The path at the checkout, with BEGIN, before each query, and before COMMIT, which may run something too.
    let messages = meter.expect(8, |meter| in_transaction(&mut meter.acme()));
    assert_eq!(
        messages[1],
        "statement: BEGIN; SET search_path TO \"acme\", \"public\"; COMMIT; BEGIN"
    );
    assert_eq!(messages[7], "statement: COMMIT");
}

#[test]
fn c21_begin_carries_a_path_that_is_not_set_yet() {
    let meter = Meter::new(SetCalls::EveryCheckout);
    let mut conn = meter.acme();
    let messages = meter.messages(|| {
        conn.with_schema(&name("globex"), |_| Ok::<_, DieselError>(()))
            .expect("lent");
        conn.transaction(|conn| {
            read(conn);
            Ok::<_, DieselError>(())
        })
        .expect("committed");
    });
    assert_eq!(messages.len(), 4, "{messages:#?}");
    assert_eq!(
        messages[1],
        "statement: BEGIN; SET search_path TO \"acme\", \"public\"; COMMIT; BEGIN"
    );
    assert!(messages[2].starts_with("execute "), "{messages:#?}");
    assert_eq!(messages[3], "statement: COMMIT");
    conn.with_schema(&name("globex"), |_| Ok::<_, DieselError>(()))
        .expect("lent");
    let messages = meter.messages(|| {
        conn.build_transaction()
            .serializable()
            .read_only()
            .run(|_| Ok::<_, DieselError>(()))
            .expect("committed");
    });
    assert_eq!(
        messages,
        [
            "statement: BEGIN; SET search_path TO \"acme\", \"public\"; COMMIT; \
             BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY",
            "statement: COMMIT"
        ]
    );
}

#[test]
fn c21_a_sign_up_leaves_the_statements_of_others_prepared() {
    for set_calls in [SetCalls::EveryCheckout, SetCalls::FirstStatement] {
        let meter = Meter::new(set_calls);
        let ready = meter.tenancy.ready_schemas(1);
        for schema in ["initech", "umbrella"] {
            if schema == "umbrella" {
                ready.fill().expect("made");
            }
            let mut tenant = client(schema);
            let saved = tenant.save(&mut meter.tenancy.public().expect("public"));
            assert_eq!(saved.expect("saved").made_ahead, schema == "umbrella");
            let prepares = |tenant: &Client| {
                let read = || read(&mut meter.tenancy.tenant(tenant).expect("there"));
                let messages = meter.messages(read);
                messages.iter().any(|message| message.starts_with("parse"))
            };
            assert!(!prepares(&meter.acme), "{set_calls:?}");
            assert!(prepares(&tenant), "the control: it is new");
        }
    }
}

#[test]
fn c21_a_savepoint_and_a_lent_scope_cost_what_their_docs_say() {
    let meter = Meter::new(SetCalls::EveryCheckout);
    let mut conn = meter.acme();
    let messages = meter.messages(|| {
        conn.transaction(|conn| conn.transaction(|_| Ok::<_, DieselError>(())))
            .expect("committed");
    });
    assert_eq!(messages.len(), 4, "{messages:#?}");
    // There: one. Back: with the next query.
    let messages = meter.messages(|| {
        conn.with_schema(&name("globex"), |_| Ok::<_, DieselError>(()))
            .expect("lent");
    });
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let messages = meter.messages(|| read(&mut conn));
    assert_eq!(messages.len(), 2, "{messages:#?}");
    // A scope in the same schema costs nothing.
    let messages = meter.messages(|| {
        conn.with_schema(&name("acme"), |conn| {
            read(conn);
            Ok::<_, DieselError>(())
        })
        .expect("lent");
    });
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

#[test]
fn c21_a_session_whose_settings_were_changed_is_reset_for_another_tenant_only() {
    let meter = Meter::new(SetCalls::EveryCheckout);
    meter
        .acme()
        .batch_execute("SET statement_timeout = '7s'")
        .expect("set");
    meter.expect(1, |meter| drop(meter.acme()));
    let messages = meter.expect(1, |meter| drop(meter.globex()));
    assert!(messages[0].contains("RESET ALL"), "{messages:#?}");
    meter.expect(1, |meter| drop(meter.acme()));
}
