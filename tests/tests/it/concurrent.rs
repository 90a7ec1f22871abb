//! Several at once: two deployers, tenants that are made meanwhile, and a schema that is busy.

use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use tenant_schemas::jobs::{InTenant, ProvisionTenant};
use tenant_schemas::{
    App, AppScope, DeleteOptions, Error, Event, Lifecycle as _, Migrated, Report, SaveOptions,
    Tenancy,
};

use crate::support::{After, Client, Db, client, customers, hotels, name, sql_app};

/// What is applied twice shows.
fn counting() -> App {
    sql_app(
        "counting",
        AppScope::Both,
        &[
            (
                "1_one",
                "CREATE TABLE runs (step integer); INSERT INTO runs VALUES (1)",
                "",
            ),
            ("2_two", "INSERT INTO runs VALUES (2)", ""),
            (
                "3_three!",
                "CREATE INDEX CONCURRENTLY ON runs (step); INSERT INTO runs VALUES (3)",
                "",
            ),
        ],
    )
}

fn aboard(db: &Db) -> Tenancy<Client> {
    db.again(|builder| builder.app(customers()).app(hotels()).app(counting()))
}

fn applied(report: Report<Migrated>) -> usize {
    report
        .into_result()
        .expect("migrated")
        .iter()
        .map(|(_, done)| done.applied.len())
        .sum()
}

#[track_caller]
fn assert_once(db: &Db, schema: &str) {
    let runs = db.strings(&format!(
        "SELECT step::text AS value FROM {schema}.runs ORDER BY 1"
    ));
    assert_eq!(runs, ["1", "2", "3"], "{schema}");
}

#[test]
fn c45_two_runs_at_once_do_the_work_once() {
    let db = Db::new();
    let tenants = ["t1", "t2", "t3", "t4", "t5", "t6"];
    db.tenants(tenants);
    let together = Barrier::new(2);
    let done: usize = thread::scope(|scope| {
        let runs: Vec<_> = (1..=2)
            .map(|jobs| {
                let (db, together) = (&db, &together);
                scope.spawn(move || {
                    let tenancy = aboard(db);
                    together.wait();
                    applied(tenancy.migrate().jobs(jobs).run().expect("a report"))
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("no panic"))
            .sum()
    });
    assert_eq!(done, 3 * (tenants.len() + 1));
    for schema in tenants.iter().chain(&["public"]) {
        assert_once(&db, schema);
    }
}

#[test]
fn c45_two_runs_at_once_on_an_empty_database() {
    let db = Db::unmigrated(|builder| builder);
    let together = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let tenancy = aboard(&db);
                together.wait();
                tenancy
                    .migrate()
                    .run()
                    .expect("a report")
                    .into_result()
                    .expect("migrated");
            });
        }
    });
    assert_once(&db, "public");
    let indexes = "SELECT count(*)::text AS value FROM pg_indexes WHERE tablename = 'clients'";
    assert_eq!(db.strings(indexes), ["3"]);
}

#[test]
fn c45_unique_indexes_are_made_once_by_two_runs() {
    let loose = sql_app(
        "customers",
        AppScope::Shared,
        &[(
            "2024-01-01-000000_clients",
            "CREATE TABLE clients (id serial PRIMARY KEY, schema_name text NOT NULL, \
             domain_url text NOT NULL, name text NOT NULL, on_trial boolean NOT NULL)",
            "",
        )],
    );
    let db = Db::unmigrated(|builder| builder);
    let tenancies = [(); 2].map(|()| db.again(|builder| builder.app(loose.clone())));
    // The table is there, and nobody can put an index on it yet.
    let first = tenancies[0].migrate().shared().app("customers").run();
    first.expect("a report").into_result().expect("migrated");
    let mut busy = db.raw();
    busy.batch_execute("BEGIN; LOCK TABLE clients IN ROW EXCLUSIVE MODE")
        .expect("the table is busy");
    let blocked = || {
        let waiting = "SELECT count(*)::text AS value FROM pg_locks WHERE NOT granted \
             AND relation = 'clients'::regclass";
        db.strings(waiting).remove(0)
    };
    let end = Instant::now() + Duration::from_secs(30);
    let run = |tenancy: &Tenancy<Client>| {
        tenancy
            .migrate()
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
    };
    thread::scope(|scope| {
        // Whatever happens, it goes before the runs are waited for.
        let mut busy = busy;
        scope.spawn(|| run(&tenancies[0]));
        while blocked() != "1" {
            assert!(Instant::now() < end, "the first run makes no index");
        }
        scope.spawn(|| run(&tenancies[1]));
        // The second one waits for the first, or has come as far as it.
        while !someone_asks(&db) && blocked() != "2" {
            assert!(Instant::now() < end, "the second run does not come so far");
        }
        busy.batch_execute("COMMIT").expect("the table is free");
    });
    let indexes = "SELECT count(*)::text AS value FROM pg_indexes WHERE tablename = 'clients'";
    assert_eq!(db.strings(indexes), ["3"]);
}

#[test]
fn c46_tenants_that_are_made_during_a_run_are_complete() {
    let db = Db::new();
    db.tenants(["t1", "t2", "t3", "t4"]);
    let newer = aboard(&db);
    // Made by the old program and by the new one, while the fleet is migrated.
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..8 {
                db.tenant(&format!("old{number}"));
            }
        });
        scope.spawn(|| {
            for number in 0..8 {
                let mut conn = newer.public().expect("a connection");
                client(&format!("new{number}"))
                    .save(&mut conn)
                    .expect("saved");
            }
        });
        for _ in 0..3 {
            newer
                .migrate()
                .jobs(2)
                .run()
                .expect("a report")
                .into_result()
                .expect("migrated");
        }
    });
    for number in 0..8 {
        assert_once(&db, &format!("new{number}"));
    }
    newer
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    for number in 0..8 {
        assert_once(&db, &format!("old{number}"));
    }
    for schema in ["t1", "t2", "t3", "t4"] {
        assert_once(&db, schema);
    }
    assert!(
        newer
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
}

/// A tenancy whose run says when it has the lock of `t1`, and then waits to be let on.
fn stopped_in_t1(db: &Db) -> (Tenancy<Client>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (says, there) = mpsc::channel();
    let (go, waits) = mpsc::channel::<()>();
    let ends = Mutex::new((says, waits));
    let tenancy = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(counting())
            .listener(move |event| {
                if matches!(event, Event::PreMigrate { .. }) && event.schema().as_str() == "t1" {
                    let ends = ends.lock().expect("a lock");
                    ends.0.send(()).expect("someone listens");
                    ends.1
                        .recv_timeout(Duration::from_secs(30))
                        .expect("let on");
                }
                Ok(())
            })
    });
    (tenancy, there, go)
}

/// Whether some session asked for a lock that another one has, and asked for nothing since.
fn someone_asks(db: &Db) -> bool {
    let asking = "SELECT count(*)::text AS value FROM pg_stat_activity \
         WHERE datname = current_database() AND state <> 'active' \
         AND (query LIKE '%pg_try_advisory_lock%' OR query LIKE '%waiting for the lock%') \
         AND query NOT LIKE '%pg_stat_activity%'";
    db.strings(asking) != ["0"]
}

/// Waits until some session asks for the lock that another one has.
fn until_someone_asks(db: &Db) {
    let end = Instant::now() + Duration::from_secs(30);
    // The one that has the lock has gone on to other statements.
    while !someone_asks(db) {
        assert!(Instant::now() < end, "nobody asks for the lock");
    }
}

#[test]
fn a_run_waits_for_the_schema_that_another_one_works_on() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let (slow, there, go) = stopped_in_t1(&db);
    thread::scope(|scope| {
        let first = scope.spawn(|| applied(slow.migrate().tenants().run().expect("a report")));
        there
            .recv_timeout(Duration::from_secs(30))
            .expect("it has the lock");
        let held = "SELECT count(*)::text AS value FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(db.strings(held), ["1"]);
        let second =
            scope.spawn(|| applied(aboard(&db).migrate().tenants().run().expect("a report")));
        until_someone_asks(&db);
        assert!(!second.is_finished());
        assert!(
            !db.tables("t2").contains(&"runs".to_owned()),
            "it went past the lock"
        );
        go.send(()).expect("let on");
        let (first, second) = (
            first.join().expect("no panic"),
            second.join().expect("no panic"),
        );
        assert_eq!(first + second, 6);
        assert!(first >= 3, "the one that had the lock did the work");
    });
    assert_once(&db, "t1");
    assert_once(&db, "t2");
}

#[test]
fn a_tenant_that_is_deleted_while_a_run_waits_for_it_is_reported() {
    let db = Db::new();
    let [t1, _] = db.tenants(["t1", "t2"]);
    let gone = Arc::new(Mutex::new(Some(t1)));
    // Between the reading of the fleet and the job: the first listener deletes the second tenant.
    let (other, schema) = (Arc::clone(&gone), name("t2"));
    let raw = Mutex::new(db.raw());
    let tenancy = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(counting())
            .listener(move |event| {
                if matches!(event, Event::PreMigrate { .. })
                    && other.lock().expect("a lock").take().is_some()
                {
                    raw.lock()
                        .expect("a lock")
                        .batch_execute("DROP SCHEMA t2 CASCADE")?;
                }
                Ok(())
            })
    });
    let report = tenancy.migrate().tenants().run().expect("a report");
    let failed: Vec<(&str, String)> = report
        .failed()
        .map(|(schema, error)| (schema.as_str(), error.to_string()))
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        matches!(
            report.outcome(&schema),
            Some(Err(Error::NoSuchSchema { .. }))
        ),
        "{failed:?}"
    );
    assert_once(&db, "t1");
    assert!(!db.schema_exists("t2"));
}

#[test]
fn c45_whoever_has_a_name_since_the_fleet_was_read_is_not_taken_for_the_one_before() {
    let db = Db::new();
    let [_, t2, t3, t4] = db.tenants(["t1", "t2", "t3", "t4"]);
    let meanwhile = move |tenancy: &Tenancy<Client>| {
        let mut conn = tenancy.public().expect("a connection");
        let (mut t2, mut t3) = (t2.clone(), t3.clone());
        let mut rename = |tenant: &mut Client, to| {
            tenant.rename(&mut conn, &name(to)).expect("renamed");
        };
        rename(&mut t2, "other");
        rename(&mut t3, "t2");
        rename(&mut t2, "t3");
        let drop = DeleteOptions::new().auto_drop_schema(true);
        t4.delete_with(&mut conn, drop).expect("deleted");
        client("t4").save(&mut conn).expect("saved");
    };
    // What a listener is told goes into the tenant's own table.
    let tenancy = db.again(|builder| {
        let app = builder.app(customers()).app(hotels()).app(counting());
        app.listener_in_transaction(|event, conn| {
            if let (Event::PostMigrate { .. }, Some(client)) = (event, event.tenant::<Client>()) {
                let row = format!("INSERT INTO rooms VALUES (1, '{}')", client.name);
                conn.batch_execute(&row)?;
            }
            Ok(())
        })
    });
    let other = db.again(|builder| builder.app(customers()).app(hotels()));
    let executor = After(move || meanwhile(&other));
    let report = tenancy.migrate().tenants().executor(executor).run();
    let report = report.expect("a report");
    let failed: Vec<&str> = report.failed().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(failed, ["t2", "t3", "t4"]);
    let outcome = |schema| report.outcome(&name(schema)).expect("an outcome");
    let renamed = outcome("t2");
    assert!(
        matches!(renamed, Err(Error::SchemaNameChanged { .. })),
        "{renamed:?}"
    );
    let gone = outcome("t4");
    assert!(matches!(gone, Err(Error::NotSaved { .. })), "{gone:?}");
    let rooms = |schema| db.strings(&format!("SELECT name AS value FROM {schema}.rooms"));
    assert_eq!(rooms("t1"), ["The t1"]); // control: a listener writes what it is told
    for schema in ["t2", "t3", "t4"] {
        assert_eq!(rooms(schema), [""; 0], "{schema}");
    }
    // The next run knows them.
    let report = tenancy.migrate().tenants().run().expect("a report");
    report.into_result().expect("migrated");
    assert_eq!(rooms("t2"), ["The t3"]);
}

#[test]
fn a_tenant_that_has_another_name_since_the_fleet_was_read_is_told_from_one_whose_schema_is_lost() {
    for is_told in [false, true] {
        let db = Db::new();
        let [_, t2, t3] = db.tenants(["t1", "t2", "t3"]);
        let other = db.again(|builder| builder.app(customers()).app(hotels()));
        let meanwhile = After(move || {
            let mut conn = other.public().expect("a connection");
            let mut t2 = t2.clone();
            t2.rename(&mut conn, &name("other")).expect("renamed");
            let drop = DeleteOptions::new().auto_drop_schema(true);
            t3.delete_with(&mut conn, drop).expect("deleted");
        });
        let tenancy = db.again(|builder| {
            let builder = builder.app(customers()).app(hotels()).app(counting());
            if is_told {
                // Then it goes step by step.
                builder.listener(|_| Ok(()))
            } else {
                builder
            }
        });
        let migrate = tenancy.migrate().tenants().atomic(true);
        let report = migrate.executor(meanwhile).run().expect("a report");
        let outcome = |schema| report.outcome(&name(schema)).expect("an outcome");
        assert!(outcome("t1").is_ok(), "{report:?}");
        assert!(
            matches!(outcome("t2"), Err(Error::SchemaNameChanged { .. })),
            "{report:?}"
        );
        assert!(
            matches!(outcome("t3"), Err(Error::NotSaved { .. })),
            "{report:?}"
        );
    }
}

#[test]
fn a_schema_that_goes_while_a_run_waits_for_its_lock_is_not_made_anew() {
    let db = Db::new();
    let [t1] = db.tenants(["t1"]);
    let (slow, there, go) = stopped_in_t1(&db);
    let raw = Mutex::new(db.raw());
    thread::scope(|scope| {
        let first = scope.spawn(|| slow.migrate().tenants().run().expect("a report"));
        there
            .recv_timeout(Duration::from_secs(30))
            .expect("it has the lock");
        let second = scope.spawn(|| aboard(&db).migrate().tenants().run().expect("a report"));
        until_someone_asks(&db);
        raw.lock()
            .expect("a lock")
            .batch_execute("DROP SCHEMA t1 CASCADE")
            .expect("dropped");
        go.send(()).expect("let on");
        for run in [first, second] {
            let report = run.join().expect("no panic");
            let outcome = report.outcome(&t1.schema_name).expect("an outcome");
            assert!(outcome.is_err(), "{outcome:?}");
        }
    });
    assert!(!db.schema_exists("t1"));
    assert_eq!(
        db.tables("public"),
        [
            "__tenant_migrations",
            "__tenant_schemas",
            "clients",
            "plans"
        ]
    );
}

#[test]
fn a_tenant_is_not_deleted_under_the_hands_of_a_run() {
    let db = Db::new();
    let [t1] = db.tenants(["t1"]);
    let (slow, there, go) = stopped_in_t1(&db);
    thread::scope(|scope| {
        let run = scope.spawn(|| applied(slow.migrate().tenants().run().expect("a report")));
        there
            .recv_timeout(Duration::from_secs(30))
            .expect("it has the lock");
        let delete = scope.spawn(|| {
            let mut conn = db.tenancy.public().expect("a connection");
            t1.delete_with(&mut conn, DeleteOptions::new().auto_drop_schema(true))
        });
        until_someone_asks(&db);
        assert!(!delete.is_finished(), "the deletion does not wait");
        assert!(db.schema_exists("t1"));
        go.send(()).expect("let on");
        // The index that is built concurrently and the waiting deletion must not wait for each other.
        assert_eq!(run.join().expect("no panic"), 3);
        assert!(
            delete
                .join()
                .expect("no panic")
                .expect("deleted")
                .schema_dropped
        );
    });
    assert!(!db.schema_exists("t1"));
}

#[test]
fn a_tenant_that_is_deleted_while_it_is_provisioned_gets_no_schema() {
    let db = Db::new();
    let mut acme = client("acme");
    let later = SaveOptions::new().auto_create_schema(false);
    acme.save_with(&mut db.tenancy.public().expect("public"), later)
        .expect("saved");
    let job = InTenant::new(&acme, ProvisionTenant::new()).expect("an envelope");
    let (held, is_held) = mpsc::channel();
    let results = thread::scope(|scope| {
        let delete = scope.spawn(|| {
            let mut conn = db.tenancy.public().expect("public");
            conn.transaction(|conn| {
                let with_schema = DeleteOptions::new().auto_drop_schema(true);
                acme.delete_with(conn, with_schema)?;
                held.send(()).expect("the others wait");
                // They see the row still, and wait for the lock of the schema.
                thread::sleep(Duration::from_millis(300));
                Ok::<_, Error>(())
            })
        });
        is_held.recv().expect("deleted");
        let provision = scope.spawn(|| {
            let done = acme.provision(&mut db.tenancy.public().expect("public"));
            done.map(drop).map_err(|error| error.to_string())
        });
        let work = scope.spawn(|| {
            let done = db.tenancy.provision_job(&job);
            done.map_err(|error| error.to_string())
        });
        delete.join().expect("no panic").expect("deleted");
        [provision, work].map(|thread| thread.join().expect("no panic"))
    });
    assert!(!db.schema_exists("acme"), "{results:?}");
    assert!(results.iter().all(Result::is_err), "{results:?}");
}
