//! Killed in the middle: the program with `kill -9`, the server, a connection. Run again, nothing
//! is lost and nothing is there twice.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{App, AppScope, Error, Event, Lifecycle as _, Tenancy, TenancyBuilder};

use crate::support::{Client, Db, client, customers, hotels, name, sql_app, strings};

/// Holds the URL of the database, for the program that is to be killed.
const URL: &str = "TENANT_SCHEMAS_CRASH_URL";
/// What that program does: `migrate`, `atomic`, `parallel`, `provision`.
const WORK: &str = "TENANT_SCHEMAS_CRASH_WORK";

const TENANTS: usize = 12;

/// Counts on every run: what is applied twice shows.
fn counting() -> App {
    let migrations: Vec<(String, String)> = (1..=4)
        .map(|number| {
            (
                format!("2024-08-0{number}-000000_step"),
                format!(
                    "CREATE TABLE step_{number} (id integer); \
                     CREATE TABLE IF NOT EXISTS runs (step integer); \
                     INSERT INTO runs VALUES ({number})"
                ),
            )
        })
        .collect();
    let migrations: Vec<(&str, &str, &str)> = migrations
        .iter()
        .map(|(name, up)| (name.as_str(), up.as_str(), ""))
        .collect();
    sql_app("counting", AppScope::Tenant, &migrations)
}

/// Waits for as long as another session holds the lock 42, when it is applied to the tenant in the middle.
fn waiting() -> App {
    sql_app(
        "waiting",
        AppScope::Tenant,
        &[(
            "2024-09-01-000000_wait",
            "CREATE TABLE waited (id integer); \
             INSERT INTO runs VALUES (5); \
             DO $$ BEGIN IF current_schema() = 't05' THEN PERFORM pg_advisory_xact_lock(42); END IF; END $$",
            "",
        )],
    )
}

fn apps(builder: TenancyBuilder<Client>) -> TenancyBuilder<Client> {
    builder
        .app(customers())
        .app(hotels())
        .app(counting())
        .app(waiting())
}

/// Not a test of its own: the program that is killed by the others.
#[test]
fn the_program_that_is_killed() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let work = std::env::var(WORK).expect("what to do");
    let tenancy = apps(Tenancy::<Client>::builder(url))
        .pool_size(4)
        .listener(|event| {
            if let Event::MigrationApplied { migration, .. } = event {
                println!("applied {} {migration}", event.schema());
            }
            Ok(())
        })
        .build()
        .expect("a tenancy");
    println!("begun");
    if work == "provision" {
        for number in 0..TENANTS {
            let mut conn = tenancy.public().expect("a connection");
            let _ = client(&format!("n{number:02}")).save(&mut conn);
        }
    } else {
        let migrate = tenancy.migrate().atomic(work == "atomic");
        let migrate = migrate.jobs(if work == "parallel" { 3 } else { 1 });
        migrate
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
    }
    println!("finished");
}

/// The program at work, in a process of its own.
struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Program {
    fn start(url: &str, work: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "crash::the_program_that_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(URL, url)
            .env(WORK, work)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, lines }
    }

    /// Waits until the program has said something that begins so, `count` times.
    fn wait_for(&mut self, what: &str, count: usize) {
        let mut seen = 0;
        while seen < count {
            let line = self
                .lines
                .next()
                .expect("the program ended")
                .expect("a line");
            if line.contains(what) {
                seen += 1;
            }
        }
    }

    /// `kill -9`, and nothing else.
    fn kill(mut self) {
        self.child.kill().expect("killed");
        let status = self.child.wait().expect("gone");
        assert!(!status.success(), "it had finished before it was killed");
    }
}

/// Migrated but for what is to come.
fn fleet() -> Db {
    let db = Db::new();
    for number in 0..TENANTS {
        db.tenant(&format!("t{number:02}"));
    }
    db
}

fn advisory_locks(conn: &mut PgConnection) -> Vec<String> {
    strings(
        conn,
        "SELECT count(*)::text AS value FROM pg_locks l WHERE locktype = 'advisory' AND l.pid <> pg_backend_pid() \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
}

/// Waits, at most half a minute, until the server has noticed that the program is gone.
fn until_noticed(conn: &mut PgConnection) {
    let end = Instant::now() + Duration::from_secs(30);
    while advisory_locks(conn) != ["0"] {
        assert!(Instant::now() < end, "the server never noticed");
        std::thread::yield_now();
    }
}

/// In every schema the ledger says what the tables say, and nothing ran twice.
#[track_caller]
fn assert_consistent(conn: &mut PgConnection, schema: &str) -> usize {
    let applied = strings(
        conn,
        &format!(
            "SELECT row_number() OVER (PARTITION BY app ORDER BY version) + CASE app WHEN 'waiting' THEN 4 ELSE 0 END || '' AS value \
             FROM {schema}.__tenant_migrations WHERE app IN ('counting', 'waiting') ORDER BY app, version"
        ),
    );
    let tables = strings(
        conn,
        &format!(
            "SELECT CASE c.relname WHEN 'waited' THEN '5' ELSE right(c.relname, 1) END AS value FROM pg_class c \
             WHERE c.relnamespace = '{schema}'::regnamespace AND (c.relname LIKE 'step\\_%' OR c.relname = 'waited') \
             AND c.relkind = 'r' ORDER BY 1"
        ),
    );
    assert_eq!(applied, tables, "{schema}");
    if !applied.is_empty() {
        let runs = strings(
            conn,
            &format!("SELECT step::text AS value FROM {schema}.runs ORDER BY 1"),
        );
        assert_eq!(runs, applied, "{schema}");
    }
    // The sum that answers for the fleet says the same.
    let state = strings(
        conn,
        &format!(
            "SELECT line AS value FROM public.__tenant_schemas, unnest(applied) AS line \
             WHERE schema_name = '{schema}' ORDER BY 1"
        ),
    );
    let ledger = strings(
        conn,
        &format!(
            "SELECT app || '/' || version || '/' || checksum AS value FROM {schema}.__tenant_migrations ORDER BY 1"
        ),
    );
    assert_eq!(state, ledger, "{schema}");
    applied.len()
}

/// Looks at what a crash has left, then migrates to the end.
fn recover(db: &Db) {
    let mut conn = db.raw();
    until_noticed(&mut conn);
    let schemas: Vec<String> = (0..TENANTS).map(|number| format!("t{number:02}")).collect();
    let left: usize = schemas
        .iter()
        .map(|schema| assert_consistent(&mut conn, schema))
        .sum();
    assert!(
        left < TENANTS * 5,
        "everything was done before the program was killed"
    );
    let tenancy = db.again(apps);
    let done: usize = tenancy
        .migrate()
        .jobs(3)
        .run()
        .expect("a report")
        .into_result()
        .expect("finished")
        .iter()
        .map(|(_, done)| done.applied.len())
        .sum();
    assert_eq!(
        left + done,
        TENANTS * 5,
        "something was lost, or done twice"
    );
    for schema in &schemas {
        assert_eq!(assert_consistent(&mut conn, schema), 5);
    }
    assert!(
        tenancy
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
}

#[test]
fn c43_killed_between_migrations_and_run_again() {
    for (work, after) in [
        ("migrate", 1),
        ("migrate", 6),
        ("migrate", 23),
        ("parallel", 17),
    ] {
        let db = fleet();
        let mut program = Program::start(&db.database.url(), work);
        program.wait_for("applied", after);
        program.kill();
        recover(&db);
    }
}

#[test]
fn c43_killed_in_the_middle_of_a_statement_and_run_again() {
    for work in ["migrate", "atomic", "parallel"] {
        let db = fleet();
        // The migration of one tenant waits for this lock.
        let mut holder = db.raw();
        holder
            .batch_execute("SELECT pg_advisory_lock(42)")
            .expect("the lock");
        let program = Program::start(&db.database.url(), work);
        let end = Instant::now() + Duration::from_secs(30);
        let waiting = "SELECT count(*)::text AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut watch = db.raw();
        while strings(&mut watch, waiting) != ["1"] {
            assert!(Instant::now() < end, "it never came to the statement");
        }
        program.kill();
        // Nobody hears the answer any more; what the statement did is rolled back.
        drop(holder);
        recover(&db);
    }
}

#[test]
fn c43_killed_while_a_tenant_is_made_leaves_nothing_or_everything() {
    for after in [1, 9] {
        let db = Db::with(apps);
        let mut program = Program::start(&db.database.url(), "provision");
        program.wait_for("applied", after);
        program.kill();
        until_noticed(&mut db.raw());
        let rows = db.strings("SELECT schema_name AS value FROM clients ORDER BY 1");
        let schemas = db.strings(
            "SELECT nspname::text AS value FROM pg_namespace WHERE nspname LIKE 'n__' ORDER BY 1",
        );
        assert_eq!(rows, schemas);
        assert!(!rows.is_empty() && rows.len() < TENANTS, "{rows:?}");
        for schema in &schemas {
            assert_eq!(assert_consistent(&mut db.raw(), schema), 5);
        }
        assert!(db.tenancy.migrate().check().expect("checked").is_empty());
    }
}

#[test]
fn a_server_that_dies_in_the_middle_loses_nothing_that_was_said() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("cluster");
    let server = Server::builder()
        .keep_in(&directory)
        .start()
        .expect("a server");
    let tenancy = apps(Tenancy::<Client>::builder(server.url()).pool_size(2))
        .build()
        .expect("a tenancy");
    tenancy
        .migrate()
        .shared()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let older = Tenancy::<Client>::builder(server.url())
        .pool_size(2)
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    for number in 0..TENANTS {
        let mut conn = older.public().expect("a connection");
        client(&format!("t{number:02}"))
            .save(&mut conn)
            .expect("saved");
    }
    drop(older);
    // The server is stopped when the seventh migration has been applied.
    let server = std::sync::Mutex::new(Some(server));
    let url = server
        .lock()
        .expect("a lock")
        .as_ref()
        .expect("a server")
        .url();
    let applied = AtomicUsize::new(0);
    let server = std::sync::Arc::new(server);
    let stopper = std::sync::Arc::clone(&server);
    let dying = apps(Tenancy::<Client>::builder(url).pool_size(2))
        .checkout_timeout(Duration::from_millis(300))
        .listener(move |event| {
            if matches!(event, Event::MigrationApplied { .. })
                && applied.fetch_add(1, Ordering::Relaxed) == 6
            {
                drop(stopper.lock().expect("a lock").take());
            }
            Ok(())
        })
        .build()
        .expect("a tenancy");
    let report = dying.migrate().tenants().run().expect("a report");
    // The first was done; the second lost its connection; for the others there was none.
    let failed: Vec<(&str, String)> = report
        .failed()
        .map(|(schema, error)| (schema.as_str(), error.to_string()))
        .collect();
    assert_eq!(failed.len(), TENANTS - 1, "{failed:?}");
    assert_eq!(failed[0].0, "t01");
    assert!(
        failed[1]
            .1
            .starts_with("no connection could be had from the pool"),
        "{failed:?}"
    );
    // And nobody waits for one in vain for each of them.
    let (_, skipped) = failed.split_at(3);
    let is_skipped = |(_, error): &(&str, String)| error.contains("for want of a connection");
    assert!(skipped.iter().all(is_skipped), "{failed:?}");
    drop(dying);

    let server = Server::builder()
        .keep_in(&directory)
        .start()
        .expect("a server again");
    let mut conn = PgConnection::establish(&server.url()).expect("a connection");
    assert_eq!(assert_consistent(&mut conn, "t00"), 5);
    assert_eq!(assert_consistent(&mut conn, "t01"), 2);
    let tenancy = apps(Tenancy::<Client>::builder(server.url()).pool_size(2))
        .build()
        .expect("a tenancy");
    tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("finished");
    for number in 0..TENANTS {
        assert_eq!(assert_consistent(&mut conn, &format!("t{number:02}")), 5);
    }
}

/// A server of its own that writes what was committed without waiting seconds later, with tenants
/// whose migration waits for the lock 42 in `t05`; and that migration.
fn slow_to_write() -> (Server, App) {
    let server = Server::builder()
        .durable(true)
        .setting("wal_writer_delay", "10s")
        .start()
        .expect("a server");
    let older = Tenancy::<Client>::builder(server.url())
        .pool_size(1)
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    let report = older.migrate().shared().run().expect("a report");
    report.into_result().expect("migrated");
    let mut conn = older.public().expect("a connection");
    for number in 0..TENANTS {
        client(&format!("t{number:02}"))
            .save(&mut conn)
            .expect("saved");
    }
    conn.batch_execute(
        "CREATE FUNCTION public.pause() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
         IF current_schema() = 't05' THEN PERFORM pg_advisory_xact_lock(42); END IF; END $$",
    )
    .expect("a function");
    let beds = sql_app(
        "beds",
        AppScope::Tenant,
        &[(
            "2024-08-01-000000_beds",
            "ALTER TABLE rooms ADD COLUMN beds integer; SELECT public.pause()",
            "",
        )],
    );
    (server, beds)
}

/// Waits until a session waits for the lock 42, and says which.
fn waiter(conn: &mut PgConnection) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let waiting = strings(
            conn,
            "SELECT pid::text AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        );
        if let [pid] = waiting.as_slice() {
            return pid.clone();
        }
        assert!(Instant::now() < end, "nobody came to the statement");
    }
}

/// Which tenants have the column of [`slow_to_write`]'s migration, and which the line in the ledger.
fn have_beds(conn: &mut PgConnection) -> [Vec<String>; 2] {
    let column = "SELECT attrelid::regclass::text AS value FROM pg_attribute WHERE attname = 'beds' ORDER BY 1";
    let lines: Vec<String> = (0..TENANTS)
        .map(|number| {
            format!(
                "SELECT 't{number:02}.rooms' AS value FROM t{number:02}.__tenant_migrations WHERE app = 'beds'"
            )
        })
        .collect();
    [
        strings(conn, column),
        strings(conn, &format!("{} ORDER BY 1", lines.join(" UNION ALL "))),
    ]
}

#[test]
fn what_a_crashed_server_forgot_is_done_again_before_it_is_said_to_be_done() {
    let (server, beds) = slow_to_write();
    let tenancy = Tenancy::<Client>::builder(server.url())
        .pool_size(1)
        .app(customers())
        .app(hotels())
        .app(beds)
        .build()
        .expect("a tenancy");
    let connect = || PgConnection::establish(&server.url()).expect("a connection");
    let mut holder = connect();
    holder
        .batch_execute("SELECT pg_advisory_lock(42)")
        .expect("the lock");
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| tenancy.migrate().tenants().run().expect("a report"));
        let pid = waiter(&mut holder);
        assert_eq!(have_beds(&mut holder)[1].len(), 5); // control: others are done
        let status = Command::new("kill").args(["-9", &pid]).status();
        assert!(status.expect("a program").success());
        run.join().expect("no panic")
    });
    // The one whose session it was has failed if it asked again while the server still went down.
    let failed: Vec<&str> = report.failed().map(|(schema, _)| schema.as_str()).collect();
    assert!(failed.is_empty() || failed == ["t05"], "{failed:?}");
    let done: Vec<String> = report
        .succeeded()
        .map(|(schema, _)| format!("{schema}.rooms"))
        .collect();
    assert_eq!(have_beds(&mut connect()), [done.clone(), done]);
}

#[test]
fn a_server_that_is_gone_before_it_wrote_is_no_tenants_success() {
    let (server, beds) = slow_to_write();
    let tenancy = Tenancy::<Client>::builder(server.url())
        .pool_size(1)
        .checkout_timeout(Duration::from_millis(300))
        .app(customers())
        .app(hotels())
        .app(beds)
        .build()
        .expect("a tenancy");
    let mut holder = PgConnection::establish(&server.url()).expect("a connection");
    holder
        .batch_execute("SELECT pg_advisory_lock(42)")
        .expect("the lock");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| tenancy.migrate().tenants().run());
        waiter(&mut holder);
        drop(server);
        let report = run.join().expect("no panic").expect("a report");
        assert_eq!(report.failed().count(), TENANTS);
    });
}

#[test]
fn a_migration_that_brings_the_server_down_is_not_sent_to_a_whole_fleet() {
    let db = fleet();
    // A sequence counts also what is rolled back.
    db.run(
        "CREATE SEQUENCE public.deaths; \
         CREATE FUNCTION public.die() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM nextval('public.deaths'); \
         PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END $$",
    );
    let up = "ALTER TABLE rooms ADD COLUMN beds integer; SELECT public.die()";
    let killing = sql_app(
        "kills",
        AppScope::Tenant,
        &[("2024-09-01-000000_kills", up, "")],
    );
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(killing));
    let report = tenancy.migrate().tenants().run().expect("a report");
    assert_eq!(report.failed().count(), TENANTS);
    let skipped = |(_, error): &(_, &Error)| matches!(error, Error::Skipped { .. });
    assert_eq!(report.failed().filter(skipped).count(), TENANTS - 3);
    // Once more for the first, whose connection may have died while it was idle.
    let deaths = db.strings("SELECT last_value::text AS value FROM public.deaths");
    assert_eq!(deaths, ["4"]);
}

#[test]
fn what_ends_all_sessions_once_is_one_tenants_failure() {
    let db = fleet();
    db.run("CREATE FUNCTION public.die() RETURNS void LANGUAGE sql AS 'SELECT'");
    let before = ("2024-09-01-000000_before", "SELECT public.die()", "SELECT");
    let app = |migrations: &[_]| sql_app("kills", AppScope::Tenant, migrations);
    // One of them lacks two migrations: it goes step by step, and meets no dead session.
    let older = db.again(|builder| {
        let builder = builder.app(customers()).app(hotels());
        builder.app(app(&[before]))
    });
    let migrated = |report: tenant_schemas::Report<_>| report.into_result().expect("migrated");
    migrated(older.migrate().tenants().run().expect("a report"));
    let back = older.migrate().schema(&name("t05")).app("kills");
    migrated(back.to_zero().run().expect("a report"));
    db.run(
        "CREATE OR REPLACE FUNCTION public.die() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid(); \
         PERFORM pg_sleep(0.2); PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END $$",
    );
    let beds = "ALTER TABLE rooms ADD COLUMN beds integer";
    // Each has been used when it happens, and two are idle then.
    let tenancy = db.again(|builder| {
        let builder = builder.app(customers()).app(hotels());
        let app = app(&[before, ("2024-09-02-000000_beds", beds, "")]);
        builder.app(app).pool_size(3)
    });
    let report = tenancy.migrate().tenants().run().expect("a report");
    let failed: Vec<&str> = report.failed().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(failed, ["t05"], "{report:?}");
}

#[test]
fn a_connection_that_is_lost_is_one_tenants_failure() {
    let kill = "DO $$ BEGIN IF current_schema() IN ('t03', 't07') THEN \
        PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; END $$";
    for (jobs, transaction) in [(1, ""), (3, ""), (1, "!")] {
        let db = fleet();
        let name = format!("2024-09-02-000000_kills{transaction}");
        let killing = sql_app(
            "kills",
            AppScope::Tenant,
            &[
                (
                    "2024-09-01-000000_before",
                    "CREATE TABLE before (id integer)",
                    "",
                ),
                (
                    &name,
                    &format!("CREATE TABLE killed (id integer); {kill}"),
                    "",
                ),
            ],
        );
        let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(killing));
        let report = tenancy.migrate().jobs(jobs).run().expect("a report");
        let failed: Vec<(&str, String)> = report
            .failed()
            .map(|(schema, error)| (schema.as_str(), error.to_string()))
            .collect();
        assert_eq!(
            failed.iter().map(|(schema, _)| *schema).collect::<Vec<_>>(),
            ["t03", "t07"]
        );
        assert!(
            failed[0]
                .1
                .contains("kills/2024-09-02-000000_kills failed in schema t03"),
            "{failed:?}"
        );
        for number in 0..TENANTS {
            let tables = db.tables(&format!("t{number:02}"));
            let lost = number == 3 || number == 7;
            assert!(tables.contains(&"before".to_owned()));
            let killed = tables.contains(&"killed".to_owned());
            assert_eq!(killed, !lost || transaction == "!", "t{number:02}");
        }
        assert_eq!(advisory_locks(&mut db.raw()), ["0"]);
        let behind = tenancy.migrate().check().expect("checked");
        let behind: Vec<&str> = behind.schemas.iter().map(|s| s.schema.as_str()).collect();
        assert_eq!(behind, ["t03", "t07"]);
    }
}
