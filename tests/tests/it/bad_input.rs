//! What goes wrong outside: every refusal names the value, the rule and the way out, and nothing is half made.

use std::error::Error as _;
use std::fs;
use std::process::Command;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{Error, Lifecycle as _, SaveOptions, Tenancy};

use crate::lifecycle::{hotels_and, traces};
use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms_of, strings};

/// An error and its causes, in one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let text = chain(error);
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[track_caller]
fn connect_error(url: &str) -> Error {
    let built = Tenancy::<Client>::builder(url).build();
    let error = built.expect_err("there is no such database");
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
    says(&error, &["check the host, the role and the password"]);
    error
}

#[test]
fn a_server_that_can_not_be_reached_is_an_error_at_once() {
    says(
        &connect_error("postgres://u@127.0.0.1:1/db"),
        &["127.0.0.1", "port 1", "refused"],
    );
    says(
        &connect_error("postgres://u@no-such-host.invalid/db"),
        &["no-such-host.invalid"],
    );
    says(
        &connect_error("http://example.com"),
        &["missing ***", "`postgres://user:password@host/database`"],
    );
}

#[test]
fn a_database_that_is_not_there_is_an_error_at_once() {
    let db = Db::new();
    let url = db
        .database
        .url()
        .replace(db.database.name(), "no_such_database");
    says(
        &connect_error(&url),
        &["\"no_such_database\" does not exist"],
    );
}

#[test]
fn a_wrong_password_is_an_error_at_once() {
    let server = Server::start().expect("a server");
    let mut conn = PgConnection::establish(&server.url()).expect("a connection");
    conn.batch_execute("CREATE ROLE shop LOGIN PASSWORD 'right'")
        .expect("a role");
    let hba = strings(&mut conn, "SELECT current_setting('hba_file') AS value").remove(0);
    let rules = fs::read_to_string(&hba).expect("the rules");
    fs::write(&hba, format!("local all shop scram-sha-256\n{rules}")).expect("written");
    conn.batch_execute("SELECT pg_reload_conf()")
        .expect("reloaded");
    let url = |password: &str| {
        server
            .url()
            .replacen("postgres@", &format!("shop:{password}@"), 1)
    };
    // The server reads its rules when it gets to it.
    let refuses = || PgConnection::establish(&url("wrong")).is_err();
    assert!((0..10_000).any(|_| refuses()), "{}", url("wrong"));
    let error = connect_error(&url("wrong"));
    says(
        &error,
        &["password authentication failed for user \"shop\""],
    );
    assert!(
        !chain(&error).contains("wrong"),
        "the password is not shown"
    );
    assert!(!format!("{error:?}").contains("wrong"));
    Tenancy::<Client>::builder(url("right"))
        .build()
        .expect("the right one is let in");
}

#[test]
fn a_server_that_goes_away_in_the_middle_of_a_save_leaves_nothing() {
    for event in ["PreMigrate", "MigrationApplied", "PostSchemaSync"] {
        let db = Db::new();
        let url = db.database.url();
        let dying = db.again(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .listener_in_transaction(move |heard, conn| {
                    if heard.name() == event {
                        let pid = strings(conn, "SELECT pg_backend_pid()::text AS value");
                        let mut other = PgConnection::establish(&url)?;
                        strings(
                            &mut other,
                            &format!(
                                "SELECT pg_terminate_backend({}, 5000)::text AS value",
                                pid[0]
                            ),
                        );
                    }
                    Ok(())
                })
        });
        let mut acme = client("acme");
        let mut conn = dying.public().expect("public");
        let error = acme.save(&mut conn).expect_err("the server is away");
        says(
            &error,
            &[
                "the server closed the connection: nothing that was not committed is kept, run it again",
            ],
        );
        drop(conn);
        assert_eq!(traces(&db, "acme"), [""; 0], "{event}");
        dying.public().expect("the pool takes another connection");
        acme.save(&mut db.tenancy.public().expect("public"))
            .expect("saved by running it again");
    }
}

#[test]
fn a_schema_that_was_dropped_behind_our_back_is_named() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    db.raw()
        .batch_execute("DROP SCHEMA acme CASCADE")
        .expect("dropped");
    let mut conn = db.tenancy.public().expect("public");
    let missing = &["schema acme does not exist", "`create_missing_schemas`"];
    says(&db.tenancy.tenant(&acme).expect_err("gone"), missing);
    says(
        &acme.rename(&mut conn, &name("globex")).expect_err("gone"),
        missing,
    );
    says(
        &db.tenancy
            .drop_schema_cascade(&acme.schema_name)
            .expect_err("gone"),
        missing,
    );
    let report = db.tenancy.migrate().run().expect("a report");
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed.len(), 1);
    says(failed[0].1, missing);
    acme.name = "Acme, Inc.".to_owned();
    acme.save(&mut conn).expect("the row can be saved");
    let deleted = acme.delete(&mut conn).expect("and deleted");
    assert!(!deleted.schema_dropped);
}

#[test]
fn a_table_that_was_dropped_behind_our_back_is_named() {
    let db = Db::new();
    db.raw()
        .batch_execute("DROP TABLE clients")
        .expect("dropped");
    let mut conn = db.tenancy.public().expect("public");
    let error = client("acme").save(&mut conn).expect_err("no table");
    says(
        &error,
        &[
            "writing the row of tenant acme (whose table `tenancy.migrate().shared().run()` makes) failed",
            "relation \"clients\" does not exist",
        ],
    );
    assert!(!db.schema_exists("acme"));
}

#[test]
fn nothing_can_be_saved_before_the_shared_schema_is_migrated() {
    let db = Db::unmigrated(|builder| builder.app(customers()).app(hotels()));
    let mut conn = db.tenancy.public().expect("public");
    let error = client("acme").save(&mut conn).expect_err("no table");
    says(&error, &["clients", "`tenancy.migrate().shared().run()`"]);
    assert!(!db.schema_exists("acme"));
}

#[test]
fn a_migration_with_a_syntax_error_names_file_line_and_schema() {
    let db = Db::new();
    let broken = db.again(|builder| {
        builder.app(customers()).app(hotels_and((
            "2024-03-01-000000_beds",
            "CREATE TABLE beds (id integer);\n-- a comment; with 'quotes\n\nALTER TABEL beds ADD x int;",
            "",
        )))
    });
    let error = client("acme")
        .save(&mut broken.public().expect("public"))
        .expect_err("a syntax error");
    says(
        &error,
        &[
            "migration hotels/2024-03-01-000000_beds failed in schema acme at line 4",
            "syntax error at or near \"TABEL\"",
        ],
    );
    assert_eq!(traces(&db, "acme"), [""; 0]);
}

#[test]
fn a_row_of_a_schema_or_a_domain_that_is_taken_names_it() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.public().expect("public");
    let mut twin = client("acme");
    twin.domain_url = "twin.my-domain.com".to_owned();
    let error = twin.save(&mut conn).expect_err("the schema has a tenant");
    says(
        &error,
        &["tenant acme can't be saved: Key (schema_name)=(acme) already exists: choose another"],
    );
    let mut neighbour = client("globex");
    neighbour.domain_url.clone_from(&acme.domain_url);
    let error = neighbour.save(&mut conn).expect_err("the domain is taken");
    says(
        &error,
        &["Key (domain_url)=(acme.my-domain.com) already exists: choose another"],
    );
    assert_eq!(traces(&db, "globex"), [""; 0]);
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}

#[test]
fn a_server_without_room_for_temporary_files_names_the_setting() {
    let db = Db::new();
    let tight = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels_and((
                "2024-03-01-000000_sorted",
                "CREATE TABLE sorted AS SELECT * FROM generate_series(1, 200000) AS n ORDER BY n DESC",
                "",
            )))
            .on_connect(|conn| {
                conn.batch_execute("SET work_mem = '64kB'; SET temp_file_limit = '64kB'")
            })
    });
    let error = client("acme")
        .save(&mut tight.public().expect("public"))
        .expect_err("no room");
    says(
        &error,
        &[
            "migration hotels/2024-03-01-000000_sorted failed in schema acme (raise `temp_file_limit`)",
            "temporary file size exceeds",
        ],
    );
    assert_eq!(traces(&db, "acme"), [""; 0]);
}

#[test]
fn a_role_that_may_not_create_schemas_is_told_so() {
    let db = Db::new();
    let role = format!("{}_guest", db.database.name());
    db.raw()
        .batch_execute(&format!(
            "CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .expect("a role");
    let as_role = format!("SET ROLE {role}");
    let guest = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .on_connect(move |conn| conn.batch_execute(&as_role))
    });
    let error = client("acme")
        .save(&mut guest.public().expect("public"))
        .expect_err("not allowed");
    says(
        &error,
        &[
            "creating schema acme failed (grant the privilege to the role",
            "permission denied for database",
        ],
    );
    assert_eq!(traces(&db, "acme"), [""; 0]);
    drop(guest);
    db.raw()
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .expect("the role is gone");
}

/// Tells the process that is killed what to do.
const CHILD: &str = "TENANT_SCHEMAS_TEST_CRASH";

/// Not a test of its own: the process that is killed.
#[test]
fn the_process_that_is_killed() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = task.splitn(3, ' ').collect();
    let [kind, event, url] = parts[..] else {
        panic!("{task}");
    };
    let (inside, event) = (kind == "inside", event.to_owned());
    let die = move |heard: &tenant_schemas::Event<'_>| {
        if heard.name() == event {
            let pid = std::process::id().to_string();
            let killed = Command::new("kill").args(["-9", &pid]).status();
            unreachable!("{killed:?}");
        }
        Ok(())
    };
    let builder = Tenancy::<Client>::builder(url)
        .app(customers())
        .app(hotels_and((
            "2024-03-01-000000_beds",
            "CREATE TABLE beds (id integer)",
            "",
        )));
    let builder = if inside {
        builder.listener_in_transaction(move |heard, _| die(heard))
    } else {
        builder.listener(die)
    };
    let tenancy = builder.build().expect("a tenancy");
    let _ = client("acme").save(&mut tenancy.public().expect("public"));
}

#[test]
fn a_process_that_is_killed_while_it_saves_leaves_nothing_or_everything() {
    let inside = [
        "PreMigrate",
        "MigrationApplied",
        "PostMigrate",
        "PostSchemaSync",
    ];
    for event in inside {
        let db = Db::new();
        crash(&db, "inside", event);
        assert_eq!(traces(&db, "acme"), [""; 0], "killed inside, at {event}");
        db.tenant("acme");
    }
}

/// Lets a process save `acme` and die at an event, and waits until the server has noticed.
#[track_caller]
fn crash(db: &Db, kind: &str, event: &str) {
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "bad_input::the_process_that_is_killed",
            "--nocapture",
        ])
        .env(CHILD, format!("{kind} {event} {}", db.database.url()))
        .output()
        .expect("a child");
    assert!(!status.status.success(), "it was killed");
    let mut conn = db.raw();
    let left = "SELECT count(*)::text AS value FROM pg_stat_activity WHERE datname = current_database() \
         AND state = 'idle in transaction'";
    assert!(
        (0..100_000).any(|_| strings(&mut conn, left) == ["0"]),
        "the server has noticed"
    );
}

#[test]
fn a_process_that_is_killed_behind_the_commit_leaves_everything() {
    let db = Db::new();
    crash(&db, "after", "PreMigrate");
    assert_eq!(traces(&db, "acme"), ["row", "schema", "state"]);
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "beds", "rooms"]);
    let options = SaveOptions::new();
    let error = client("acme").save_with(&mut db.tenancy.public().expect("public"), options);
    assert!(matches!(error, Err(Error::Duplicate { .. })), "{error:?}");
    let acme = Client::by_schema(&mut db.tenancy.public().expect("public"), "acme")
        .expect("read")
        .expect("there");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        [""; 0]
    );
}
