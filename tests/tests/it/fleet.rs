//! A fleet as a whole: what a check costs, what `verify` sees, who is told, and who walks it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{
    AppScope, Error, Event, Executor, Lifecycle as _, Parallel, Sequential, Tenancy,
};

use crate::support::{Client, Db, client, customers, hotels, name, sql_app, strings};

/// A server that logs every statement, with the database it was for.
static LOGGING: LazyLock<Server> = LazyLock::new(|| {
    Server::builder()
        .setting("log_statement", "all")
        .setting("log_line_prefix", "%d|")
        .start()
        .expect("a server")
});

/// A database on that server, with a tenancy over it and `tenants` tenants.
struct Logged {
    database: &'static str,
    tenancy: Tenancy<Client>,
}

impl Logged {
    fn new(database: &'static str, tenants: usize) -> Self {
        PgConnection::establish(&LOGGING.url())
            .expect("a connection")
            .batch_execute(&format!("CREATE DATABASE {database}"))
            .expect("a database");
        let tenancy = Self::tenancy(database, false);
        tenancy
            .migrate()
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
        let mut conn = tenancy.public().expect("a connection");
        for number in 0..tenants {
            client(&format!("t{number}"))
                .save(&mut conn)
                .expect("saved");
        }
        drop(conn);
        Self { database, tenancy }
    }

    fn tenancy(database: &str, extended: bool) -> Tenancy<Client> {
        let mut builder = Tenancy::builder(LOGGING.url_of(database))
            .pool_size(2)
            .app(customers())
            .app(hotels());
        if extended {
            builder = builder.app(more());
        }
        builder.build().expect("a tenancy")
    }

    /// How many statements the server ran for this database while `f` did its work.
    fn count<R>(&self, f: impl FnOnce() -> R) -> (R, usize) {
        let before = self.logged();
        let value = f();
        (value, self.logged() - before)
    }

    fn logged(&self) -> usize {
        // Whatever was logged by a backend is there before its answer is.
        let prefix = format!("{}|LOG:  ", self.database);
        LOGGING
            .log()
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .filter(|rest| rest.starts_with("statement: ") || rest.starts_with("execute "))
            .count()
    }
}

fn more() -> tenant_schemas::App {
    sql_app(
        "more",
        AppScope::Tenant,
        &[(
            "2024-07-01-000000_more",
            "CREATE TABLE more (id integer)",
            "DROP TABLE more",
        )],
    )
}

#[test]
fn c37_a_second_run_applies_nothing_with_as_many_statements_for_3_tenants_as_for_30() {
    let counts = [("few_run", 3), ("many_run", 30)].map(|(database, tenants)| {
        let logged = Logged::new(database, tenants);
        let run = |tenancy: &Tenancy<Client>| {
            let report = tenancy
                .migrate()
                .run()
                .expect("a report")
                .into_result()
                .expect("migrated");
            assert_eq!(report.len(), tenants + 1);
            report
                .iter()
                .filter(|(_, done)| !done.is_unchanged())
                .count()
        };
        // Warm connections: what a new one costs is another matter.
        run(&logged.tenancy);
        let (worked, statements) = logged.count(|| run(&logged.tenancy));
        assert_eq!(worked, 0);
        let tenants_alone = logged.tenancy.migrate().tenants();
        let (report, alone) = logged.count(|| tenants_alone.run().expect("a report"));
        assert_eq!(report.len(), tenants);
        assert!(report.succeeded().all(|(_, done)| done.is_unchanged()));
        [statements, alone]
    });
    assert_eq!(counts[0], counts[1]);
    // The checkout, and the tenants together with what is known of their schemas.
    assert_eq!(counts[0][1], 2);
}

#[test]
fn verifying_is_a_statement_for_fifty_ledgers_and_touches_only_what_differs() {
    let counts = [("few_verify", 3), ("many_verify", 30)].map(|(database, tenants)| {
        let logged = Logged::new(database, tenants);
        let run = || {
            let verify = logged.tenancy.migrate().tenants().verify(true);
            let report = verify.run().expect("a report").into_result();
            let report = report.expect("migrated");
            assert_eq!(report.len(), tenants);
            assert!(report.iter().all(|(_, done)| done.is_unchanged()));
        };
        run();
        let ((), agreeing) = logged.count(run);
        let mut raw = PgConnection::establish(&LOGGING.url_of(database)).expect("a connection");
        let states = "SELECT fingerprint || array_to_string(applied, ' ') AS value \
             FROM __tenant_schemas WHERE schema_name IN ('t0', 't1', 't2')";
        let before = strings(&mut raw, states);
        raw.batch_execute(
            "UPDATE __tenant_schemas SET fingerprint = 'wrong' WHERE schema_name = 't0'; \
             UPDATE __tenant_schemas SET fingerprint = 'wrong', applied = '{}' WHERE schema_name = 't1'; \
             DELETE FROM __tenant_schemas WHERE schema_name = 't2'",
        )
        .expect("changed");
        let ((), differing) = logged.count(run);
        assert_eq!(strings(&mut raw, states), before, "the states were not written anew");
        let ((), again) = logged.count(run);
        assert_eq!(again, agreeing);
        [agreeing, differing]
    });
    assert_eq!(counts[0], counts[1]);
    // The checkout, the tenants; the checkout, which ledgers there are, the ledgers.
    assert_eq!(counts[0][0], 5);
    assert!(counts[0][1] > 5, "{counts:?}");
}

#[test]
fn what_one_transaction_can_do_is_one_statement_for_each_tenant() {
    let counts = [("few_pending", 3), ("many_pending", 30)].map(|(database, tenants)| {
        let logged = Logged::new(database, tenants);
        let newer = Logged::tenancy(database, true);
        newer
            .migrate()
            .shared()
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
        let run = || newer.migrate().tenants().run().expect("a report");
        let (report, statements) = logged.count(run);
        assert_eq!(report.into_result().expect("migrated").len(), tenants);
        statements - tenants
    });
    assert_eq!(counts[0], counts[1]);
    // The checkout and the tenants; whether the messages can do it, and what is prepared for
    // them; the checkout, the wait for the disk, and what came there.
    assert_eq!(counts[0], 7);
}

#[test]
fn a_check_is_as_many_statements_for_3_tenants_as_for_30_also_when_one_is_behind() {
    let counts = [("few_check", 3), ("many_check", 30)].map(|(database, tenants)| {
        let logged = Logged::new(database, tenants);
        let check = |tenancy: &Tenancy<Client>| tenancy.migrate().check().expect("checked");
        check(&logged.tenancy);
        let (pending, current) = logged.count(|| check(&logged.tenancy));
        assert!(pending.is_empty());
        // All have the newer app but one.
        let newer = Logged::tenancy(database, true);
        newer
            .migrate()
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
        let back = newer
            .migrate()
            .schema(&name("t1"))
            .app("more")
            .to_zero()
            .run();
        back.expect("a report").into_result().expect("reverted");
        check(&newer);
        let (pending, behind) = logged.count(|| check(&newer));
        let schemas: Vec<&str> = pending.schemas.iter().map(|s| s.schema.as_str()).collect();
        assert_eq!(schemas, ["t1"]);
        // An older program's view: every tenant has something that it does not know.
        check(&logged.tenancy);
        let (pending, older) = logged.count(|| check(&logged.tenancy));
        assert!(pending.is_empty());
        let run = || {
            logged
                .tenancy
                .migrate()
                .tenants()
                .run()
                .expect("a report")
                .into_result()
        };
        let (done, older_run) = logged.count(|| run().expect("migrated"));
        assert!(done.iter().all(|(_, done)| done.is_unchanged()));
        [current, behind, older, older_run]
    });
    assert!(counts[0][0] > 0, "nothing was counted");
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0].iter().all(|count| *count < 10), "{counts:?}");
}

#[test]
fn schemas_of_which_nothing_is_known_are_asked_many_at_once() {
    let counts = [("few_ask", 3), ("many_ask", 30)].map(|(database, tenants)| {
        let logged = Logged::new(database, tenants);
        let looks = |verify: bool| {
            let migrate = || logged.tenancy.migrate().verify(verify);
            let (pending, check) = logged.count(|| migrate().check().expect("checked"));
            assert_eq!((pending.schemas.len(), pending.missing.len()), (1, 1));
            let (listed, list) = logged.count(|| migrate().list().expect("listed"));
            let exist = listed.iter().filter(|one| one.exists).count();
            assert_eq!(
                exist, tenants,
                "the public one is among them, and one is not there"
            );
            let lacking = |one: &&tenant_schemas::ListedSchema| {
                one.exists && one.migrations.iter().any(|migration| !migration.applied)
            };
            let lacking: Vec<&str> = listed
                .iter()
                .filter(lacking)
                .map(|one| one.schema.as_str())
                .collect();
            assert_eq!(lacking, ["t1"]);
            [check, list]
        };
        let mut conn = PgConnection::establish(&LOGGING.url_of(database)).expect("a connection");
        conn.batch_execute("DELETE FROM t1.__tenant_migrations; DROP SCHEMA t2 CASCADE")
            .expect("changed");
        let verified = looks(true);
        conn.batch_execute("DELETE FROM __tenant_schemas WHERE schema_name <> 'public'")
            .expect("forgotten");
        let unknown = looks(false);
        // One that has no ledger at all has nothing.
        conn.batch_execute("DROP TABLE t1.__tenant_migrations")
            .expect("dropped");
        assert_eq!(looks(false), unknown);
        [verified, unknown]
    });
    assert!(counts[0][0][0] > 0, "nothing was counted");
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn a_tenant_whose_migration_fails_does_not_send_the_others_the_longer_way() {
    let logged = Logged::new("failing", 3);
    PgConnection::establish(&LOGGING.url_of("failing"))
        .expect("a connection")
        .batch_execute("CREATE TABLE t0.more (id integer)")
        .expect("an obstacle");
    let tenancy = Logged::tenancy("failing", true);
    let report = tenancy.migrate().tenants().run().expect("a report");
    assert_eq!((report.failed().count(), report.len()), (1, 3));
    drop(logged);
    // A statement of several lines goes on behind a tab.
    let log = LOGGING.log().replace("\n\t", " ");
    let lines = |level: &str, part| {
        let level = format!("failing|{level}:  ");
        let of = |line: &&str| line.starts_with(&level) && line.contains(part);
        log.lines().filter(of).count()
    };
    assert_eq!(lines("LOG", "EXECUTE __tenant_schemas_advance"), 3);
    assert_eq!(lines("LOG", "PREPARE __tenant_schemas_advance"), 2);
    assert_eq!(
        lines("ERROR", "already exists"),
        1,
        "the table, and nothing else"
    );
}

#[test]
fn saving_a_tenant_is_seven_statements_however_many_migrations_there_are() {
    let logged = Logged::new("saving", 1);
    let mut conn = logged.tenancy.public().expect("a connection");
    let (_, statements) = logged.count(|| client("new").save(&mut conn).expect("saved"));
    // BEGIN, the row, the lock with what there is, schema and ledger, the path with every
    // migration and its line in the ledger, whether all went well, COMMIT.
    assert_eq!(statements, 7);
}

#[test]
fn a_tenant_that_takes_a_schema_made_ahead_is_seven_statements() {
    let logged = Logged::new("taking", 1);
    let ready = logged.tenancy.ready_schemas(1);
    assert_eq!(ready.fill().expect("filled").made, 1);
    let mut conn = logged.tenancy.public().expect("a connection");
    let (_, statements) = logged.count(|| client("new").save(&mut conn).expect("saved"));
    // BEGIN, the row, the lock with what there is, whose schema it will be, its name,
    // whether all went well, COMMIT.
    assert_eq!(statements, 7);
}

#[test]
fn verify_sees_a_ledger_that_was_changed_behind_our_back() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    db.raw()
        .batch_execute("DELETE FROM t2.__tenant_migrations; DROP TABLE t2.rooms")
        .expect("changed");
    assert!(db.tenancy.migrate().check().expect("checked").is_empty());
    let pending = db.tenancy.migrate().verify(true).check().expect("checked");
    let behind: Vec<&str> = pending.schemas.iter().map(|s| s.schema.as_str()).collect();
    assert_eq!(behind, ["t2"]);
    let report = db.tenancy.migrate().verify(true).run().expect("a report");
    let worked: Vec<String> = report
        .succeeded()
        .filter(|(_, done)| !done.is_unchanged())
        .map(|(schema, _)| schema.to_string())
        .collect();
    assert_eq!(worked, ["t2"]);
    assert!(db.tables("t2").contains(&"rooms".to_owned()));
}

#[test]
fn a_schema_that_was_made_anew_is_noticed_without_being_verified() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    db.raw()
        .batch_execute("DROP SCHEMA t1 CASCADE; CREATE SCHEMA t1")
        .expect("made anew");
    let pending = db.tenancy.migrate().check().expect("checked");
    let behind: Vec<&str> = pending.schemas.iter().map(|s| s.schema.as_str()).collect();
    assert_eq!(behind, ["t1"]);
    db.tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    assert_eq!(db.tables("t1"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn a_schema_that_was_restored_from_an_older_state_is_brought_up_to_date() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    // Put away what there is now, as a dump would.
    db.raw()
        .batch_execute(
            "CREATE SCHEMA kept; \
             CREATE TABLE kept.rooms AS TABLE t1.rooms; \
             CREATE TABLE kept.__tenant_migrations (LIKE t1.__tenant_migrations INCLUDING ALL); \
             INSERT INTO kept.__tenant_migrations TABLE t1.__tenant_migrations",
        )
        .expect("kept");
    let newer = db.again(|builder| builder.app(customers()).app(hotels()).app(more()));
    newer
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    db.raw()
        .batch_execute("DROP SCHEMA t1 CASCADE; ALTER SCHEMA kept RENAME TO t1")
        .expect("restored");
    let pending = newer.migrate().check().expect("checked");
    let behind: Vec<(&str, &str)> = pending
        .schemas
        .iter()
        .map(|schema| (schema.schema.as_str(), schema.steps[0].id.app.as_str()))
        .collect();
    assert_eq!(behind, [("t1", "more")]);
    newer
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    assert_eq!(db.tables("t1"), ["__tenant_migrations", "more", "rooms"]);
    assert!(
        newer
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
}

#[test]
fn a_table_of_states_that_came_from_a_backup_is_not_believed() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let newer = db.again(|builder| builder.app(customers()).app(hotels()).app(more()));
    let run = || newer.migrate().run().expect("a report").into_result();
    run().expect("migrated");
    // What `pg_dump -n public` has of it, before the tenants change.
    db.run(
        "CREATE TABLE kept (LIKE __tenant_schemas INCLUDING ALL); \
         INSERT INTO kept TABLE __tenant_schemas",
    );
    let back = newer.migrate().schema(&name("t1")).app("more").to_zero();
    let back = back.run().expect("a report").into_result();
    assert_eq!(back.expect("reverted")[0].1.reverted.len(), 1);
    let behind = || {
        let pending = newer.migrate().check().expect("checked");
        let behind = pending.schemas.iter().map(|one| one.schema.to_string());
        behind.collect::<Vec<_>>()
    };
    assert_eq!(behind(), ["t1"]);
    db.run("DROP TABLE __tenant_schemas; ALTER TABLE kept RENAME TO __tenant_schemas");
    let state = "SELECT schema_name AS value FROM __tenant_schemas WHERE schema_name = 't1'";
    assert_eq!(db.strings(state), ["t1"]); // control: it says something
    assert_eq!(behind(), ["t1"]);
    run().expect("migrated");
    assert!(db.tables("t1").contains(&"more".to_owned()));
    assert!(behind().is_empty());
}

#[test]
fn c38_listeners_are_told_in_order_and_once() {
    let two = || {
        sql_app(
            "two",
            AppScope::Tenant,
            &[
                ("1_a", "CREATE TABLE a (id integer)", "DROP TABLE a"),
                ("2_b", "CREATE TABLE b (id integer)", "DROP TABLE b"),
            ],
        )
    };
    for atomic in [false, true] {
        let db = Db::new();
        db.tenants(["t1", "t2"]);
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let (inside, after) = (Arc::clone(&told), Arc::clone(&told));
        let line = |who: &str, event: &Event<'_>| {
            let detail = match event {
                Event::PreMigrate { pending, .. } => pending.len().to_string(),
                Event::MigrationApplied { migration, .. } => migration.name.clone(),
                Event::PostMigrate { applied, .. } => applied.len().to_string(),
                _ => String::new(),
            };
            format!("{who} {} {} {detail}", event.schema(), event.name())
        };
        let tenancy = db.again(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .app(two())
                .listener_in_transaction(move |event, conn| {
                    assert_eq!(conn.schema_name(), Some(event.schema()));
                    assert_eq!(
                        event
                            .tenant::<Client>()
                            .map(|tenant| tenant.schema_name.as_str()),
                        Some(event.schema().as_str())
                    );
                    inside.lock().expect("a lock").push(line("inside", event));
                    Ok(())
                })
                .listener(move |event| {
                    after.lock().expect("a lock").push(line("after", event));
                    Ok(())
                })
        });
        let run = || {
            tenancy
                .migrate()
                .atomic(atomic)
                .run()
                .expect("a report")
                .into_result()
                .expect("migrated")
        };
        run();
        let mut expected = Vec::new();
        for schema in ["t1", "t2"] {
            expected.push(format!("inside {schema} PreMigrate 2"));
            expected.push(format!("after {schema} PreMigrate 2"));
            let applied = |who: &str, name: &str| format!("{who} {schema} MigrationApplied {name}");
            if atomic {
                expected.extend([applied("inside", "1_a"), applied("inside", "2_b")]);
                expected.extend([applied("after", "1_a"), applied("after", "2_b")]);
            } else {
                expected.extend([applied("inside", "1_a"), applied("after", "1_a")]);
                expected.extend([applied("inside", "2_b"), applied("after", "2_b")]);
            }
            expected.push(format!("inside {schema} PostMigrate 2"));
            expected.push(format!("after {schema} PostMigrate 2"));
        }
        assert_eq!(*told.lock().expect("a lock"), expected);
        run();
        assert_eq!(
            told.lock().expect("a lock").len(),
            expected.len(),
            "told of nothing"
        );
    }
}

#[test]
fn c38_a_tenant_with_migrations_outside_its_transaction_is_announced_once() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let after = Arc::clone(&told);
    let app = sql_app(
        "late",
        AppScope::Tenant,
        &[
            ("1_a", "CREATE TABLE a (id integer)", ""),
            ("2_b!", "CREATE INDEX CONCURRENTLY ON a (id)", ""),
            ("3_c", "SELECT 1", ""),
        ],
    );
    let db = Db::with(|builder| {
        builder.app(customers()).app(app).listener(move |event| {
            let number = match event {
                Event::PreMigrate { pending, .. } => pending.len(),
                Event::PostMigrate { applied, .. } => applied.len(),
                _ => 1,
            };
            after.lock().expect("a lock").push(format!(
                "{} {} {number}",
                event.schema(),
                event.name()
            ));
            Ok(())
        })
    });
    told.lock().expect("a lock").clear();
    db.tenant("acme");
    assert_eq!(
        *told.lock().expect("a lock"),
        [
            "acme PreMigrate 3",
            "acme MigrationApplied 1",
            "acme MigrationApplied 1",
            "acme MigrationApplied 1",
            "acme PostMigrate 3",
            "acme PostSchemaSync 1",
        ]
    );
}

#[test]
fn a_listener_that_fails_undoes_its_own_transaction_and_no_other() {
    for (event_name, applied, tables) in [
        ("PreMigrate", 0, vec!["rooms"]),
        ("MigrationApplied", 0, vec!["rooms"]),
        ("PostMigrate", 2, vec!["a", "b", "rooms"]),
    ] {
        let db = Db::new();
        db.tenants(["t1", "t2"]);
        let two = sql_app(
            "two",
            AppScope::Tenant,
            &[
                ("1_a", "CREATE TABLE a (id integer)", ""),
                ("2_b", "CREATE TABLE b (id integer)", ""),
            ],
        );
        let tenancy = db.again(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .app(two)
                .listener_in_transaction(move |event, conn| {
                    conn.batch_execute("CREATE TABLE IF NOT EXISTS by_listener (id integer)")?;
                    if event.name() == event_name && event.schema().as_str() == "t1" {
                        return Err("no".into());
                    }
                    conn.batch_execute("DROP TABLE by_listener")?;
                    Ok(())
                })
        });
        let report = tenancy.migrate().run().expect("a report");
        let failed: Vec<String> = report
            .failed()
            .map(|(_, error)| error.to_string())
            .collect();
        assert_eq!(
            failed,
            [format!(
                "a listener of {event_name} failed for schema t1: its transaction was rolled back"
            )]
        );
        let mut found = db.tables("t1");
        found.retain(|table| !table.starts_with("__"));
        assert_eq!(found, tables, "{event_name}");
        let ledger =
            db.strings("SELECT version AS value FROM t1.__tenant_migrations WHERE app = 'two'");
        assert_eq!(ledger.len(), applied, "{event_name}");
        assert!(db.tables("t2").contains(&"b".to_owned()));
    }
}

#[test]
fn a_listener_that_fails_after_the_commit_is_reported_and_undoes_nothing() {
    let db = Db::new();
    db.tenants(["t1"]);
    let tenancy = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(more())
            .listener(|event| match event {
                Event::MigrationApplied { .. } => Err("no".into()),
                Event::PostMigrate { .. } => panic!("oh no"),
                _ => Ok(()),
            })
    });
    let report = tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let failures: Vec<String> = report[1]
        .1
        .listener_failures
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        failures,
        [
            "a listener of MigrationApplied failed for schema t1: no",
            "a listener of PostMigrate failed for schema t1: oh no",
        ]
    );
    assert!(db.tables("t1").contains(&"more".to_owned()));
}

/// From the last to the first, every number twice, and some that there are not.
#[derive(Debug)]
struct Backwards;

impl Executor for Backwards {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        for number in (0..jobs + 2).rev() {
            job(number);
            job(number);
        }
    }
}

/// Forgets every second job.
#[derive(Debug)]
struct Forgetful;

impl Executor for Forgetful {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).step_by(2).for_each(job);
    }
}

type Migrate<'a> = tenant_schemas::Migrate<'a, Client>;

#[test]
fn c44_every_executor_comes_to_the_same_result() {
    let run = |executor: &dyn Fn(Migrate) -> Migrate| {
        let db = Db::new();
        db.tenants(["t1", "t2", "t3", "t4", "t5"]);
        db.raw()
            .batch_execute("CREATE TABLE t3.more (id integer)")
            .expect("an obstacle");
        let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(more()));
        let report = executor(tenancy.migrate()).run().expect("a report");
        let outcomes: Vec<String> = report
            .outcomes()
            .iter()
            .map(|outcome| match &outcome.result {
                Ok(done) => format!("{} {:?}", outcome.schema, done.applied),
                Err(error) => format!("{} {error}", outcome.schema),
            })
            .collect();
        let state: BTreeMap<&str, Vec<String>> = ["t1", "t2", "t3", "t4", "t5"]
            .map(|schema| (schema, db.tables(schema)))
            .into();
        (outcomes, state)
    };
    let sequential = run(&|migrate| migrate.executor(Sequential));
    assert!(
        sequential.0[3].starts_with("t3 migration more/"),
        "{sequential:?}"
    );
    assert_eq!(run(&|migrate| migrate.jobs(3)), sequential);
    assert_eq!(run(&|migrate| migrate.jobs(0)), sequential);
    assert_eq!(run(&|migrate| migrate.jobs(1000)), sequential);
    assert_eq!(
        run(&|migrate| migrate.executor(Parallel::new(2))),
        sequential
    );
    assert_eq!(run(&|migrate| migrate.executor(Backwards)), sequential);
}

#[test]
fn c44_a_job_that_the_executor_left_out_is_reported_as_skipped() {
    let db = Db::new();
    db.tenants(["t1", "t2", "t3", "t4"]);
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(more()));
    let report = tenancy
        .migrate()
        .executor(Forgetful)
        .run()
        .expect("a report");
    let skipped: Vec<&str> = report
        .failed()
        .filter(|(_, error)| matches!(error, Error::Skipped { .. }))
        .map(|(schema, _)| schema.as_str())
        .collect();
    assert_eq!(skipped, ["t2", "t4"]);
    let (_, error) = report.failed().next().expect("skipped");
    assert!(
        error.to_string().contains("its executor left it out"),
        "{error}"
    );
    tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("the rest");
    assert!(db.tables("t4").contains(&"more".to_owned()));
}
