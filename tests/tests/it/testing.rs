//! Databases and tenants for tests: gone when they are dropped, clean when they are lent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::slice::from_ref;
use std::sync::LazyLock;
use std::thread;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::testing::{TestDatabase, TestTenancy};
use tenant_schemas::{Lifecycle as _, SchemaName};

use crate::support::{Client, Db, customers, hotels, insert_room, room, rooms, rooms_of, strings};

/// What a test suite has in its support module: one tenancy that all tests share.
static TESTS: LazyLock<TestTenancy<Client>> = LazyLock::new(tests);

fn tests() -> TestTenancy<Client> {
    TestTenancy::new(|builder| builder.app(customers()).app(hotels())).expect("a tenancy")
}

fn make(schema: SchemaName, domain: String) -> Client {
    Client::new(schema, domain).name("Test")
}

/// The databases of tests on a server.
fn databases(url: &str) -> Vec<String> {
    let mut conn = PgConnection::establish(url).expect("a connection");
    strings(
        &mut conn,
        "SELECT datname::text AS value FROM pg_database \
         WHERE starts_with(datname::text, 'tenant_schemas_test_') ORDER BY 1",
    )
}

#[test]
fn a_database_goes_with_its_value_even_if_someone_is_connected() {
    let witness = Db::new();
    let database = TestDatabase::new().expect("a database");
    let name = database.name().to_owned();
    let url = witness.database.url();
    assert!(databases(&url).contains(&name), "it was there");
    let mut forgotten = PgConnection::establish(&database.url()).expect("a connection");
    drop(database);
    assert!(!databases(&url).contains(&name));
    forgotten
        .batch_execute("SELECT 1")
        .expect_err("the connection is gone");
    let failed = catch_unwind(|| {
        let database = TestDatabase::new().expect("a database");
        std::panic::panic_any(database.name().to_owned());
    });
    let name = failed.expect_err("a failing test");
    let name = name.downcast_ref::<String>().expect("a name");
    assert!(!databases(&url).contains(name), "also if the test fails");
}

#[test]
fn c130_a_tenant_goes_with_its_value() {
    let (schema, id) = {
        let acme = TESTS.tenant(make).expect("a tenant");
        let mut conn = TESTS.tenancy().tenant(&acme).expect("its scope");
        insert_room(&mut conn, 1, "Blue");
        assert_eq!(rooms_of(&mut conn), ["Blue"]);
        (acme.schema_name.clone(), acme.id)
    };
    let mut conn = TESTS.tenancy().public().expect("public");
    assert_eq!(Client::by_id(&mut conn, &id).expect("read"), None);
    let schema = TESTS.tenancy().schema(&schema);
    schema.expect_err("the schema is gone");
}

#[test]
fn c130_parallel_tests_have_tenants_of_their_own() {
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let acme = TESTS.tenant(make).expect("a tenant");
                let mut conn = TESTS.tenancy().tenant(&acme).expect("its scope");
                insert_room(&mut conn, 1, &format!("Room of {thread}"));
                assert_eq!(rooms_of(&mut conn), [format!("Room of {thread}")]);
            });
        }
    });
}

#[test]
fn c130_a_lent_tenant_is_clean_again_and_used_again() {
    let tests = tests();
    let first = {
        let mut lease = tests.lease(make).expect("a lease");
        insert_room(lease.conn(), 1, "Blue");
        assert_eq!(rooms_of(lease.conn()), ["Blue"]);
        // A transaction of the test's own is a savepoint.
        let undone: Result<(), diesel::result::Error> = lease.conn().transaction(|conn| {
            insert_room(conn, 2, "Undone");
            Err(diesel::result::Error::RollbackTransaction)
        });
        undone.expect_err("rolled back");
        assert_eq!(rooms_of(lease.conn()), ["Blue"]);
        let tenant = lease.tenant().clone();
        assert_eq!(lease.conn().tenant::<Client>(), Some(&tenant));
        tenant
    };
    let mut lease = tests.lease(make).expect("a lease");
    assert_eq!(*lease.tenant(), first, "the same tenant");
    assert_eq!(rooms_of(lease.conn()), [""; 0], "and nothing in it");
    let mut other = tests.lease(make).expect("a second at the same time");
    assert_ne!(other.tenant(), lease.tenant());
    insert_room(lease.conn(), 1, "Blue");
    assert_eq!(rooms_of(other.conn()), [""; 0]);
}

#[test]
fn a_lease_that_ends_badly_is_not_lent_again() {
    let tests = tests();
    let mut spoilt = Vec::new();
    // A failed statement: a rollback makes it good.
    let mut lease = tests.lease(make).expect("a lease");
    let kept = lease.tenant().schema_name.clone();
    insert_room(lease.conn(), 1, "Blue");
    diesel::insert_into(rooms::table)
        .values(room(1, "twice"))
        .execute(lease.conn())
        .expect_err("a duplicate");
    drop(lease);
    // A panic in the middle of a transaction of the test's own.
    let mut lease = tests.lease(make).expect("a lease");
    assert_eq!(lease.tenant().schema_name, kept, "a rollback was enough");
    assert_eq!(rooms_of(lease.conn()), [""; 0]);
    spoilt.push(lease.tenant().schema_name.clone());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        lease
            .conn()
            .transaction(|conn| -> QueryResult<()> {
                insert_room(conn, 1, "Lost");
                panic!("a failing assertion")
            })
            .expect("never comes here");
    }));
    panicked.expect_err("a failing test");
    drop(lease);
    // Work that was committed for good.
    let mut lease = tests.lease(make).expect("a lease");
    assert!(!spoilt.contains(&lease.tenant().schema_name));
    spoilt.push(lease.tenant().schema_name.clone());
    insert_room(lease.conn(), 1, "Kept");
    lease
        .conn()
        .batch_execute("COMMIT")
        .expect("behind Diesel's back");
    drop(lease);
    let mut lease = tests.lease(make).expect("a lease");
    assert!(!spoilt.contains(&lease.tenant().schema_name));
    assert_eq!(rooms_of(lease.conn()), [""; 0]);
}

/// Tells the other process what to do.
const CHILD: &str = "TENANT_SCHEMAS_TEST_OTHER_PROCESS";

/// Not a test of its own: the process that has a database and, if told so, crashes.
#[test]
fn the_other_process() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let database = TestDatabase::new().expect("a database");
    println!("made {}", database.name());
    if task == "crash" {
        let pid = std::process::id().to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status();
        unreachable!("{killed:?}");
    }
}

/// Runs another process on a server, and returns the database that it made.
#[track_caller]
fn other_process(task: &str, url: &str) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "testing::the_other_process", "--nocapture"])
        .env(CHILD, task)
        .env("DATABASE_URL", url)
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = said.lines().find_map(|line| {
        line.split_once("made ")
            .map(|(_, name)| name.trim().to_owned())
    });
    name.expect("it says what it made")
}

#[test]
fn a_url_that_leads_to_another_database_than_was_made_is_refused() {
    let server = Server::start().expect("a server");
    let url = server.url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "testing::the_other_process", "--nocapture"])
        .env(CHILD, "end")
        .env("DATABASE_URL", format!("{url}{mark}%64bname=postgres"))
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("leads to postgres: name a database"),
        "{said}"
    );
    assert_eq!(databases(&url), [""; 0], "what was made is gone");
}

#[test]
fn database_url_says_where_and_leftovers_of_crashes_are_dropped() {
    let server = Server::start().expect("a server");
    let url = server.url();
    let made = other_process("end", &url);
    assert_eq!(databases(&url), [""; 0], "{made} was there, and is gone");
    let crashed = other_process("crash", &url);
    assert_eq!(databases(&url), from_ref(&crashed));
    // A young one may be another process's that is just about to connect.
    other_process("end", &url);
    assert_eq!(databases(&url), from_ref(&crashed));
    let mut conn = PgConnection::establish(&url).expect("a connection");
    let old = format!(
        "tenant_schemas_test_1000000000_{}",
        crashed.rsplit('_').next().expect("a number")
    );
    let in_use = "tenant_schemas_test_1000000001_1_1";
    let foreign = "tenant_schemas_test_of_someone_else";
    conn.batch_execute(&format!("ALTER DATABASE {crashed} RENAME TO {old}"))
        .expect("it has grown old");
    for name in [in_use, foreign] {
        conn.batch_execute(&format!("CREATE DATABASE {name}"))
            .expect(name);
    }
    let user = PgConnection::establish(&server.url_of(in_use)).expect("in use");
    other_process("end", &url);
    assert_eq!(databases(&url), [in_use, foreign], "the old one is swept");
    drop(user);
}
