//! Settings of the server, and how the doctor gets along with a busy one.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{AppScope, Check, DeleteOptions, Lifecycle as _, Report, Severity, Tenancy};

use super::{assert_finding, assert_healthy, assert_says, complaints, examine, heal, of, only};
use crate::status::statements;
use crate::support::{Client, Db, client, customers, hotels, name, sql_app, strings};

fn small_server(settings: &[(&str, &str)]) -> Server {
    let builder = settings
        .iter()
        .fold(Server::builder(), |builder, (name, value)| {
            builder.setting(*name, *value)
        });
    builder.start().expect("a server")
}

fn tenancy(server: &Server, pool_size: u32) -> Tenancy<Client> {
    let tenancy = Tenancy::<Client>::builder(server.url())
        .app(customers())
        .app(hotels())
        .pool_size(pool_size)
        .build()
        .expect("a tenancy");
    super::migrate(&tenancy);
    tenancy
}

fn grow(tenancy: &Tenancy<Client>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        client(&format!("t{number:03}"))
            .save(&mut tenancy.public().expect("a connection"))
            .expect("saved");
    }
}

#[test]
fn a_server_that_is_too_small_is_found_with_the_settings_to_change() {
    let small = [
        ("max_connections", "10"),
        ("max_locks_per_transaction", "10"),
        ("shared_buffers", "1MB"),
        ("superuser_reserved_connections", "2"),
    ];
    let server = small_server(&small);
    let tenancy_of = |server| {
        let tenancy = tenancy(server, 9);
        grow(&tenancy, 0..30);
        let mut conn = PgConnection::establish(&server.url()).expect("a connection");
        for number in 0..30 {
            let table =
                format!("CREATE TABLE t000.more_{number} (id serial PRIMARY KEY, note text)");
            conn.batch_execute(&table).expect(&table);
        }
        tenancy
    };
    let tenancy = tenancy_of(&server);
    let diagnosis = examine(&tenancy);

    let locks = of(&diagnosis, Check::LockSlots);
    assert_eq!(locks.len(), 2, "{locks:#?}");
    assert_finding(
        &locks[0],
        Severity::Error,
        Some("t000"),
        "max_locks_per_transaction",
    );
    assert_says(
        &locks[0].message,
        &["dropping this widest schema takes", "share 100 lock slots"],
    );
    assert_says(
        &locks[0].advice,
        &[
            "ALTER SYSTEM SET max_locks_per_transaction = ",
            "tenancy.drop_schema_cascade",
        ],
    );
    assert_finding(
        &locks[1],
        Severity::Warning,
        None,
        "max_locks_per_transaction",
    );
    assert_says(&locks[1].message, &["`pg_dump` of the database locks"]);

    let connections = only(&diagnosis, Check::Connections);
    assert_finding(&connections, Severity::Warning, None, "max_connections");
    assert_says(
        &connections.message,
        &["up to 9 connections", "the server has 8 for all"],
    );
    let buffers = only(&diagnosis, Check::SharedBuffers);
    assert_finding(&buffers, Severity::Warning, None, "shared_buffers");

    // What is advised, on a server that begins with it.
    let advised: Vec<(String, String)> = diagnosis
        .findings()
        .iter()
        .filter_map(|finding| {
            finding
                .advice
                .split('`')
                .find(|part| part.starts_with("ALTER SYSTEM"))
        })
        .map(|statement| {
            let assignment = statement.trim_start_matches("ALTER SYSTEM SET ");
            let (name, value) = assignment.split_once(" = ").expect("an assignment");
            (name.to_owned(), value.trim_matches('\'').to_owned())
        })
        .collect();
    let mut settings: Vec<(&str, &str)> = vec![("superuser_reserved_connections", "2")];
    settings.extend(
        advised
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let larger = small_server(&settings);
    let tenancy = tenancy_of(&larger);
    let left: Vec<String> = complaints(&examine(&tenancy))
        .into_iter()
        .filter(|complaint| !complaint.contains("[drift]"))
        .collect();
    assert_eq!(left, [""; 0], "with {settings:?}");
}

#[test]
fn the_locks_that_dropping_takes_are_counted_right() {
    let server = small_server(&[
        ("max_connections", "5"),
        ("max_locks_per_transaction", "10"),
        ("superuser_reserved_connections", "1"),
    ]);
    let tenancy = tenancy(&server, 2);
    grow(&tenancy, 0..1);
    let mut conn = PgConnection::establish(&server.url()).expect("a connection");
    for number in 0..10 {
        let table = format!(
            "CREATE TABLE t000.more_{number} (id serial PRIMARY KEY, note text UNIQUE, n integer DEFAULT 3 CHECK (n > 0))"
        );
        conn.batch_execute(&table).expect(&table);
    }
    let finding = of(&examine(&tenancy), Check::LockSlots).remove(0);
    let said: usize = finding
        .message
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .expect("a number");
    let roomy = small_server(&[]);
    let dump = |sql: &str, conn: &mut PgConnection| strings(conn, sql);
    let mut conn = PgConnection::establish(&roomy.url()).expect("a connection");
    let tenancy = super::server::tenancy(&roomy, 2);
    grow(&tenancy, 0..1);
    for number in 0..10 {
        let table = format!(
            "CREATE TABLE t000.more_{number} (id serial PRIMARY KEY, note text UNIQUE, n integer DEFAULT 3 CHECK (n > 0))"
        );
        conn.batch_execute(&table).expect(&table);
    }
    conn.batch_execute("BEGIN; DROP SCHEMA t000 CASCADE")
        .expect("dropped");
    let taken: usize = dump(
        "SELECT count(*)::text AS value FROM pg_locks WHERE pid = pg_backend_pid()",
        &mut conn,
    )[0]
    .parse()
    .expect("a number");
    assert!(
        said.abs_diff(taken) * 5 < taken,
        "said {said}, taken {taken}"
    );
}

#[test]
fn a_server_that_does_not_clean_up_is_found_and_told_to() {
    let server = small_server(&[]);
    let tenancy = tenancy(&server, 4);
    let mut conn = PgConnection::establish(&server.url()).expect("a connection");
    for (setting, statement) in [
        ("autovacuum", "ALTER SYSTEM SET autovacuum = on"),
        ("track_counts", "ALTER SYSTEM SET track_counts = on"),
    ] {
        conn.batch_execute(&format!("ALTER SYSTEM SET {setting} = off"))
            .expect("set");
        reload(&mut conn, setting, "off");
        let finding = only(&examine(&fresh(&server)), Check::Autovacuum);
        assert_finding(&finding, Severity::Warning, None, setting);
        assert_says(&finding.advice, &[statement, "pg_reload_conf()"]);
        conn.batch_execute(statement).expect("set");
        reload(&mut conn, setting, "on");
        assert_healthy(&fresh(&server));
    }
    drop(tenancy);
}

/// A tenancy with connections that are new.
fn fresh(server: &Server) -> Tenancy<Client> {
    tenancy(server, 4)
}

fn reload(conn: &mut PgConnection, setting: &str, value: &str) {
    conn.batch_execute("SELECT pg_reload_conf()")
        .expect("reloaded");
    for _ in 0..200 {
        let mut other = PgConnection::establish(&url(conn)).expect("a connection");
        if strings(
            &mut other,
            &format!("SELECT current_setting('{setting}') AS value"),
        ) == [value]
        {
            return;
        }
        conn.batch_execute("SELECT pg_sleep(0.02)").expect("slept");
    }
    panic!("{setting} did not become {value}");
}

fn url(conn: &mut PgConnection) -> String {
    let directory = strings(
        conn,
        "SELECT split_part(current_setting('unix_socket_directories'), ',', 1) AS value",
    );
    format!("host={} user=postgres dbname=postgres", directory[0])
}

#[test]
fn a_catalog_of_dead_rows_is_found_and_vacuumed() {
    let server = small_server(&[("autovacuum", "off")]);
    let tenancy = tenancy(&server, 4);
    let columns: Vec<String> = (0..1500)
        .map(|number| format!("c{number} integer"))
        .collect();
    let mut conn = PgConnection::establish(&server.url()).expect("a connection");
    for _ in 0..10 {
        let sql = format!(
            "CREATE TABLE wide ({}); DROP TABLE wide",
            columns.join(", ")
        );
        conn.batch_execute(&sql).expect("made and dropped");
    }
    drop(conn); // Its counts are sent at the latest now.
    let bloat = || of(&examine(&tenancy), Check::CatalogBloat);
    let mut found = bloat();
    for _ in 0..200 {
        if !found.is_empty() {
            break;
        }
        found = bloat();
    }
    assert_finding(
        &found[0],
        Severity::Warning,
        None,
        "pg_catalog.pg_attribute",
    );
    for finding in &found {
        heal(&tenancy, finding);
    }
    assert!(bloat().is_empty(), "{:?}", bloat());
}

#[test]
fn timeouts_that_are_set_are_not_remarked_on() {
    let db = Db::new();
    let [finding, ..] = &of(&examine(&db.tenancy), Check::Timeouts)[..] else {
        panic!("no remark");
    };
    assert_says(&finding.advice, &["on_connect", "ALTER DATABASE"]);
    let set = db.again(|builder| {
        builder.app(customers()).app(hotels()).on_connect(|conn| {
            conn.batch_execute("SET lock_timeout = '5s'; SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'")
        })
    });
    assert!(of(&examine(&set), Check::Timeouts).is_empty());
    for finding in of(&examine(&db.tenancy), Check::Timeouts) {
        db.run(finding.advice.split('`').nth(3).expect("a statement"));
    }
    let again = db.again(|builder| builder.app(customers()).app(hotels()));
    assert!(of(&examine(&again), Check::Timeouts).is_empty());
}

#[test]
fn a_search_path_of_the_database_is_remarked_on_and_reset() {
    let db = Db::new();
    let database = db.database.name().to_owned();
    for whose in [
        format!("DATABASE {database}"),
        format!("ROLE CURRENT_USER IN DATABASE {database}"),
    ] {
        db.run(&format!("ALTER {whose} SET search_path = public, acme"));
        let finding = only(&examine(&db.tenancy), Check::SearchPathSetting);
        assert_eq!(finding.severity, Severity::Info);
        assert_says(&finding.message, &["search_path=public, acme", &database]);
        heal(&db.tenancy, &finding);
        assert!(of(&examine(&db.tenancy), Check::SearchPathSetting).is_empty());
    }
}

#[test]
fn the_number_of_statements_does_not_depend_on_the_fleet() {
    let server = small_server(&[("log_statement", "all")]);
    let tenancy = tenancy(&server, 4);
    let mut raw = PgConnection::establish(&server.url()).expect("a connection");
    let mut count = |label: &str| {
        raw.batch_execute(&format!("SELECT 'begin {label}'"))
            .expect("marked");
        assert_healthy(&tenancy);
        raw.batch_execute(&format!("SELECT 'end {label}'"))
            .expect("marked");
        statements(&server, label)
    };
    grow(&tenancy, 0..3);
    let few = count("few");
    grow(&tenancy, 3..30);
    let many = count("many");
    grow(&tenancy, 30..60);
    let more = count("more");
    assert_eq!(few, many);
    assert_eq!(
        more,
        many + 1,
        "one more for the ledgers after the first 50"
    );
    assert!(few < 40, "{few}");
}

#[test]
fn c46_tenants_that_come_and_go_meanwhile_raise_no_alarm() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                let mut tenant = client(&format!("t{number}"));
                let mut conn = db.tenancy.public().expect("a connection");
                tenant.save(&mut conn).expect("saved");
                if number % 2 == 0 {
                    let options = DeleteOptions::new().auto_drop_schema(true);
                    tenant.delete_with(&mut conn, options).expect("deleted");
                }
            }
            stop.store(true, Ordering::Release);
        });
        let mut visits = 0;
        while !stop.load(Ordering::Acquire) {
            let diagnosis = examine(&db.tenancy);
            let odd: Vec<String> = complaints(&diagnosis);
            assert_eq!(odd, [""; 0]);
            visits += 1;
        }
        assert!(visits > 1, "the visits fell between the changes");
    });
}

#[test]
fn c46_a_tenant_that_is_migrated_meanwhile_is_not_taken_for_another() {
    const PRICE: (&str, &str, &str) = (
        "2_price",
        "ALTER TABLE rooms ADD COLUMN price integer",
        "ALTER TABLE rooms DROP COLUMN price",
    );
    let db = Db::with(|builder| {
        let prices = sql_app("prices", AppScope::Tenant, &[PRICE]);
        builder.app(customers()).app(hotels()).app(prices)
    });
    db.tenants(["acme", "globex", "hooli", "initech", "pied"]);
    let run = |schema: &str| db.tenancy.migrate().app("prices").schema(&name(schema));
    for schema in ["globex", "hooli"] {
        let report = run(schema).to_zero().run();
        report.and_then(Report::into_result).expect("down");
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..40 {
                let report = run("acme").redo().run();
                report.and_then(Report::into_result).expect("down and up");
            }
            stop.store(true, Ordering::Release);
        });
        while !stop.load(Ordering::Acquire) {
            let drift = of(&examine(&db.tenancy), Check::Drift);
            assert!(drift.is_empty(), "{drift:#?}");
        }
    });
}

#[test]
fn the_connection_is_given_back_as_it_was() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let one = db.again(|builder| builder.app(customers()).app(hotels()).pool_size(1));
    assert_healthy(&one);
    let mut conn = one.tenant(&acme).expect("a connection");
    assert_eq!(
        strings(&mut *conn, "SELECT current_setting('search_path') AS value"),
        ["acme, public"]
    );
    drop(conn);
    let mut conn = one.public().expect("a connection");
    assert_eq!(
        strings(&mut *conn, "SELECT current_setting('search_path') AS value"),
        ["public"]
    );
}
