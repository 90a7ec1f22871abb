//! What becomes of a run in which something fails: a report, and who is to blame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{App, AppScope, Error, Lifecycle as _, Report, SchemaNamePolicy, Tenancy};

use crate::bad_input::chain;
use crate::support::{Client, Db, client, customers, hotels, name, sql_app};

/// Two migrations behind the rooms, of which the second fails where a table `broken` is in the way.
fn extended() -> App {
    sql_app(
        "extras",
        AppScope::Tenant,
        &[
            (
                "2024-06-01-000000_fine",
                "CREATE TABLE fine (id integer)",
                "DROP TABLE fine",
            ),
            (
                "2024-06-02-000000_fragile",
                "-- it takes two lines\nCREATE TABLE broken (id integer);",
                "DROP TABLE broken",
            ),
        ],
    )
}

/// Five tenants, of which the second and the fourth can't have the second migration.
fn two_of_five_broken() -> (Db, Tenancy<Client>) {
    let db = Db::new();
    db.tenants(["t1", "t2", "t3", "t4", "t5"]);
    db.raw()
        .batch_execute("CREATE TABLE t2.broken (id integer); CREATE TABLE t4.broken (id integer)")
        .expect("obstacles");
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(extended()));
    (db, tenancy)
}

fn failed<T>(report: &Report<T>) -> Vec<&str> {
    report.failed().map(|(schema, _)| schema.as_str()).collect()
}

/// Which tenants have the table.
fn have(db: &Db, table: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT schemaname::text AS value FROM pg_tables WHERE tablename = '{table}' ORDER BY 1"
    ))
}

#[test]
fn c39_a_tenant_whose_schema_is_missing_is_reported_and_the_others_are_migrated() {
    let (db, tenancy) = two_of_five_broken();
    db.raw()
        .batch_execute("DROP SCHEMA t2 CASCADE; DROP SCHEMA t4 CASCADE")
        .expect("dropped behind our back");
    let pending = tenancy.migrate().check().expect("checked");
    assert_eq!(pending.missing, [name("t2"), name("t4")]);
    let report = tenancy.migrate().run().expect("a report");
    assert_eq!(failed(&report), ["t2", "t4"]);
    for (schema, error) in report.failed() {
        let expected = format!("schema {schema} does not exist: save its tenant, or run `create_");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    assert_eq!(have(&db, "broken"), ["t1", "t3", "t5"]);
    // Nothing fell through to `public`.
    assert!(!db.schema_exists("t2") && !db.schema_exists("t4"));
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
fn c40_every_failure_is_reported_and_every_other_tenant_is_migrated() {
    for jobs in [1, 3] {
        let (db, tenancy) = two_of_five_broken();
        let report = tenancy.migrate().jobs(jobs).run().expect("a report");
        assert_eq!(report.len(), 6);
        assert_eq!(failed(&report), ["t2", "t4"]);
        for (schema, error) in report.failed() {
            assert_eq!(
                error.to_string(),
                format!("migration extras/2024-06-02-000000_fragile failed in schema {schema}")
            );
            let cause = std::error::Error::source(error)
                .expect("a cause")
                .to_string();
            assert_eq!(cause, "relation \"broken\" already exists");
        }
        assert_eq!(have(&db, "broken"), ["t1", "t2", "t3", "t4", "t5"]);
        // What came before the failure is kept: a transaction for each migration.
        assert_eq!(have(&db, "fine"), ["t1", "t2", "t3", "t4", "t5"]);
        let behind = tenancy.migrate().check().expect("checked");
        let behind: Vec<&str> = behind.schemas.iter().map(|s| s.schema.as_str()).collect();
        assert_eq!(behind, ["t2", "t4"]);
        let error = report
            .into_result()
            .expect_err("all or nothing")
            .to_string();
        assert!(
            error.starts_with("2 of 6 schemas failed, the first is t2: migration extras/"),
            "{error}"
        );
    }
}

#[test]
fn c40_a_failure_in_the_shared_schema_leaves_the_tenants_alone() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let bad = sql_app(
        "bad",
        AppScope::Shared,
        &[("2024-06-01-000000_bad", "SELECT 1 / 0", "")],
    );
    let tenancy = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(bad)
            .app(extended())
    });
    let report = tenancy.migrate().run().expect("a report");
    assert_eq!(failed(&report), ["public", "t1", "t2"]);
    let outcome = |schema: &str| report.outcome(&name(schema)).expect("an outcome");
    assert!(matches!(outcome("public"), Err(Error::Migration { .. })));
    assert!(matches!(outcome("t1"), Err(Error::Skipped { .. })));
    assert!(have(&db, "fine").is_empty());
}

#[test]
fn c41_fail_fast_starts_no_further_schema() {
    let (db, tenancy) = two_of_five_broken();
    let report = tenancy.migrate().fail_fast(true).run().expect("a report");
    assert_eq!(failed(&report), ["t2", "t3", "t4", "t5"]);
    let outcome = |schema: &str| report.outcome(&name(schema)).expect("an outcome");
    assert!(matches!(outcome("t2"), Err(Error::Migration { .. })));
    for skipped in ["t3", "t4", "t5"] {
        let error = outcome(skipped).as_ref().expect_err("skipped").to_string();
        assert!(
            error.contains(skipped) && error.contains("the run stopped after a failure"),
            "{error}"
        );
    }
    assert_eq!(have(&db, "fine"), ["t1", "t2"]);
}

#[test]
fn c41_fail_fast_with_several_at_once_starts_no_further_schema() {
    let db = Db::new();
    let names: Vec<String> = (10..40).map(|number| format!("t{number}")).collect();
    for schema in &names {
        db.tenant(schema);
    }
    db.raw()
        .batch_execute("CREATE TABLE t10.broken (id integer)")
        .expect("an obstacle");
    let started = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&started);
    let tenancy = db.again(move |builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(extended())
            .listener(move |event| {
                if matches!(event, tenant_schemas::Event::PreMigrate { .. }) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
    });
    let report = tenancy
        .migrate()
        .jobs(2)
        .fail_fast(true)
        .run()
        .expect("a report");
    let skipped = report
        .failed()
        .filter(|(_, error)| matches!(error, Error::Skipped { .. }))
        .count();
    let migrated = report.succeeded().count() - 1;
    assert_eq!(skipped + migrated + 1, 30);
    assert_eq!(
        started.load(Ordering::Relaxed),
        migrated + 1,
        "a skipped tenant was started"
    );
    assert!(skipped > 0, "all were started before the first had failed");
}

#[test]
fn c42_running_again_finishes_the_rest() {
    let (db, tenancy) = two_of_five_broken();
    let first = tenancy.migrate().run().expect("a report");
    assert_eq!(failed(&first), ["t2", "t4"]);
    db.raw()
        .batch_execute("DROP TABLE t2.broken; DROP TABLE t4.broken")
        .expect("repaired");
    let second = tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("finished");
    let worked: Vec<(String, Vec<String>)> = second
        .into_iter()
        .filter(|(_, done)| !done.is_unchanged())
        .map(|(schema, done)| {
            (
                schema.to_string(),
                done.applied.iter().map(ToString::to_string).collect(),
            )
        })
        .collect();
    let rest = vec!["extras/2024-06-02-000000_fragile".to_owned()];
    assert_eq!(
        worked,
        [("t2".to_owned(), rest.clone()), ("t4".to_owned(), rest)]
    );
    assert!(tenancy.migrate().check().expect("checked").is_empty());
}

/// Saves a tenant with these migrations and returns the failure.
#[track_caller]
fn failure(migrations: &[(&str, &str, &str)]) -> Error {
    let app = sql_app("bad", AppScope::Tenant, migrations);
    let db = Db::with(|builder| builder.app(customers()).app(app.clone()));
    let provisioned = client("acme")
        .save(&mut db.tenancy.public().expect("a connection"))
        .expect_err("the migration fails");
    assert!(!db.schema_exists("acme"));
    // One transaction for each, and all in one, say the same.
    let earlier = db.again(|builder| builder.app(customers()));
    client("acme")
        .save(&mut earlier.public().expect("a connection"))
        .expect("saved");
    for atomic in [false, true] {
        let report = db
            .tenancy
            .migrate()
            .tenants()
            .atomic(atomic)
            .run()
            .expect("a report");
        let (_, error) = report.failed().next().expect("the migration fails");
        assert_eq!(
            error.to_string(),
            provisioned.to_string(),
            "atomic: {atomic}"
        );
        assert_eq!(
            db.tables("acme").contains(&"first".to_owned()),
            !atomic && migrations.len() > 1
        );
        db.raw()
            .batch_execute("DROP SCHEMA acme CASCADE; CREATE SCHEMA acme")
            .expect("cleared");
    }
    provisioned
}

const FIRST: (&str, &str, &str) = ("1_first", "CREATE TABLE first (id integer); -- the end", "");
const SECOND: (&str, &str, &str) = ("2_second", "CREATE TABLE second (id integer)", "");

#[track_caller]
fn fails_at(migrations: &[(&str, &str, &str)], migration: &str, line: Option<usize>) {
    let error = failure(migrations);
    let Error::Migration {
        app,
        version,
        line: at,
        schema,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (app.as_str(), version.as_str(), *at),
        ("bad", migration, line),
        "{error}"
    );
    assert_eq!(schema.as_str(), "acme");
    let place = line.map_or_else(String::new, |line| format!(" at line {line}"));
    let expected = format!("migration bad/{migration} failed in schema acme{place}");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn the_line_of_a_mistake_is_found_in_the_first_migration() {
    fails_at(
        &[("1_bad", "\n-- ümläut\nSELECT * FROM nowhere;\n", "")],
        "1_bad",
        Some(3),
    );
}

#[test]
fn the_line_of_a_mistake_is_found_in_the_second_migration() {
    let bad = (
        "2_bad",
        "CREATE TABLE a (id integer);\n\nCREATE TABL b (id integer);",
        "",
    );
    fails_at(&[FIRST, bad], "2_bad", Some(3));
}

#[test]
fn the_line_of_a_mistake_is_found_in_the_third_migration() {
    let bad = (
        "3_bad",
        "SELECT 'ü';\nSELECT missing_column\nFROM second",
        "",
    );
    fails_at(&[FIRST, SECOND, bad], "3_bad", Some(2));
}

#[test]
fn a_failure_without_a_position_names_its_migration() {
    let bad = (
        "3_bad",
        "INSERT INTO first VALUES (1);\nALTER TABLE first ADD CHECK (id > 1)",
        "",
    );
    fails_at(&[FIRST, SECOND, bad], "3_bad", None);
}

#[test]
fn a_migration_that_ends_too_early_is_to_blame_itself() {
    fails_at(
        &[
            FIRST,
            ("2_bad", "SELECT 1;\nCREATE TABLE b (", ""),
            SECOND_LATER,
        ],
        "2_bad",
        Some(2),
    );
}

#[test]
fn a_quote_left_open_is_not_blamed_on_the_next_migration() {
    // Read as one text, the next migration closes the quote, and the mistake is there.
    for open in ["SELECT 'it", "DO $$ BEGIN NULL; END"] {
        let next = ("3_next", "SELECT $$fine$$, 'fine'", "");
        let error = failure(&[FIRST, ("2_bad", open, ""), next]);
        assert!(
            matches!(&error, Error::Migration { version, .. } if version == "2_bad"),
            "{error}"
        );
    }
}

const SECOND_LATER: (&str, &str, &str) = ("3_second", "CREATE TABLE second (id integer)", "");

#[test]
fn odd_endings_and_quotes_are_no_obstacle() {
    let app = sql_app(
        "odd",
        AppScope::Tenant,
        &[
            (
                "1_comment",
                "CREATE TABLE a (id integer) -- the end, and no newline",
                "",
            ),
            ("2_plain", "CREATE TABLE b (id integer)", ""),
            ("3_semicolons", "CREATE TABLE c (id integer);;", ""),
            ("4_empty", "", ""),
            ("5_only_comment", "/* nothing to do */", ""),
            (
                "6_dollar",
                "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$\n\
                 BEGIN RETURN $$; COMMIT;$$; END\n$body$",
                "",
            ),
            (
                "7_atomic",
                "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
                "",
            ),
            (
                "8_escapes",
                "CREATE TABLE d (t text DEFAULT E'it\\'s; -- fine', u text DEFAULT 'a''b')",
                "",
            ),
        ],
    );
    for atomic in [false, true] {
        let db = Db::with(|builder| builder.app(customers()));
        db.tenant("acme");
        let tenancy = db.again(|builder| builder.app(customers()).app(app.clone()));
        tenancy
            .migrate()
            .atomic(atomic)
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
        assert_eq!(
            db.tables("acme"),
            ["__tenant_migrations", "a", "b", "c", "d"]
        );
        assert_eq!(db.strings("SELECT acme.f() AS value"), ["; COMMIT;"]);
        assert_eq!(db.strings("SELECT acme.g()::text AS value"), ["2"]);
        client("globex")
            .save(&mut tenancy.public().expect("a connection"))
            .expect("saved");
        assert_eq!(db.tables("globex"), db.tables("acme"));
    }
}

#[test]
fn transaction_control_inside_a_migration_is_refused_at_build() {
    let db = Db::unmigrated(|builder| builder);
    for up in [
        "BEGIN; CREATE TABLE a (id integer); COMMIT",
        "SELECT 1;\n-- x\nrollback",
        "START TRANSACTION",
    ] {
        let app = sql_app("bad", AppScope::Tenant, &[("1_control", up, "")]);
        let error = Tenancy::<Client>::builder(db.database.url())
            .app(app)
            .build()
            .expect_err("refused");
        assert!(
            matches!(&error, Error::MigrationSource { app, .. } if app == "bad"),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            "the migrations of app bad can't be used: 1_control contains BEGIN, COMMIT or ROLLBACK, \
             but migrations run in a transaction of the library's: remove it, or set \
             `run_in_transaction = false` in its metadata.toml"
        );
    }
}

#[test]
fn a_copy_whose_rows_nobody_sends_is_refused_at_build() {
    let db = Db::unmigrated(|builder| builder);
    // Also the text of a dump, with its rows.
    let dump = "SELECT 1;\nCOPY public.a (id) FROM stdin;\n1\n\\.\n";
    for (name, up, down) in [
        ("1_copy", "COPY a FROM stdin", ""),
        ("1_copy!", "SELECT 1; copy a from STDIN csv", ""),
        ("1_copy!", dump, ""),
        ("1_copy", "SELECT 1", "COPY a FROM stdin"),
    ] {
        let app = sql_app("bad", AppScope::Tenant, &[(name, up, down)]);
        let error = Tenancy::<Client>::builder(db.database.url())
            .app(app)
            .build()
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "the migrations of app bad can't be used: 1_copy contains COPY .. FROM STDIN, but a \
             migration has no rows to send: use INSERT (`pg_dump --inserts` writes that), or a \
             migration in Rust"
        );
    }
    let app = sql_app(
        "bad",
        AppScope::Tenant,
        &[("1_copy", "COPY (SELECT 1) TO STDOUT; SELECT nope", "")],
    );
    let error = Tenancy::<Client>::builder(db.database.url())
        .app(app)
        .build()
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the migrations of app bad can't be used: 1_copy contains COPY .. TO STDOUT, but nobody takes \
         rows from a migration: leave it out"
    );
}

#[test]
fn two_migrations_of_one_version_are_refused_at_build() {
    let db = Db::unmigrated(|builder| builder);
    let app = sql_app("bad", AppScope::Tenant, &[("1_a", "", ""), ("1_b", "", "")]);
    let error = Tenancy::<Client>::builder(db.database.url())
        .app(app)
        .build()
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the migrations of app bad can't be used: version 1 stands twice, as 1_a and as 1_b: \
         give one of them another version"
    );
}

/// Inserts a tenant as other hands would.
fn insert_raw(db: &Db, schema: &str) -> QueryResult<usize> {
    let row =
        "INSERT INTO clients (schema_name, domain_url, name, on_trial) VALUES ($1, $1, '', true)";
    diesel::sql_query(row)
        .bind::<diesel::sql_types::Text, _>(schema)
        .execute(&mut db.raw())
}

#[test]
fn a_row_whose_schema_name_is_none_can_not_get_in_the_way_of_the_others() {
    let make = "CREATE TABLE clients (id serial PRIMARY KEY, schema_name text NOT NULL, \
         domain_url text NOT NULL, name text NOT NULL, on_trial boolean NOT NULL)";
    let loose = sql_app(
        "customers",
        AppScope::Shared,
        &[("2024-01-01-000000_clients", make, "")],
    );
    let db = Db::with(|builder| builder.app(loose).app(hotels()));
    db.tenant("acme");
    let long = "a".repeat(64);
    let longer = "é".repeat(32);
    for schema in [
        "",
        "bad\"name",
        "bad'name",
        "bad name",
        "bad;name",
        "bad.name",
        "bad\\name",
        "bad]name",
        "bad^name",
        "bad`name",
        "bad{name",
        "bad\n",
        "bad\u{7f}",
        "pg_bad",
        "PG_bad",
        "information_schema",
        "Information_Schema",
        &long,
        &longer,
    ] {
        let error = insert_raw(&db, schema).expect_err(schema);
        assert!(
            error.to_string().contains("is_a_schema_name"),
            "{schema}: {error}"
        );
    }
    for schema in ["initech", "Straße-9", "_", "pgx", &long[1..], &longer[2..]] {
        insert_raw(&db, schema).expect(schema);
    }
    let report = db.tenancy.migrate().run().expect("a report");
    assert_eq!(report.succeeded().count(), 2, "public and acme: {report:?}");
    assert_eq!(
        report.failed().count(),
        6,
        "those without a schema: {report:?}"
    );
}

#[test]
fn a_row_whose_schema_name_is_none_is_named_and_no_other_can_join_it() {
    let db = Db::new();
    db.raw()
        .batch_execute("ALTER TABLE clients DROP CONSTRAINT is_a_schema_name")
        .expect("as an older version made it");
    insert_raw(&db, "bad\"name").expect("inserted");
    let run = || db.tenancy.migrate().run().map(drop);
    for _ in 0..2 {
        let error = chain(&run().expect_err("the tenants can't be read"));
        assert!(
            error.contains("schema name \"bad\\\"name\" contains"),
            "{error}"
        );
    }
    insert_raw(&db, "worse\"name").expect_err("refused");
    db.raw()
        .batch_execute("UPDATE clients SET schema_name = 'good' WHERE schema_name LIKE 'bad%'")
        .expect("mended");
    run().expect("a report");
}

#[test]
fn a_row_of_a_schema_that_is_no_tenants_is_that_tenants_failure() {
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(hotels());
        builder.extra_search_path(["ext"])
    });
    db.tenant("acme");
    insert_raw(&db, "ext").expect("inserted");
    // First there is no such schema, then there is.
    let missing = db.tenancy.create_missing_schemas().expect("a report");
    assert_eq!(failed(&missing), ["ext"]);
    assert!(!db.schema_exists("ext"));
    db.raw()
        .batch_execute("CREATE SCHEMA ext")
        .expect("created");
    let report = db.tenancy.migrate().run().expect("a report");
    assert_eq!(report.succeeded().count(), 2, "public and acme: {report:?}");
    let error = report.failed().next().expect("one").1;
    assert_eq!(
        error.to_string(),
        "schema ext can't be migrated as a tenant's: it is an extra schema of the search path"
    );
    assert!(db.tables("ext").is_empty());
}

#[test]
fn duplicates_that_the_database_must_not_have_are_named() {
    let db = Db::with(|builder| builder.app(customers()));
    assert_eq!(
        db.strings("SELECT count(*)::text AS value FROM pg_indexes WHERE tablename = 'clients'"),
        ["3"]
    );
    let loose = sql_app(
        "customers",
        AppScope::Shared,
        &[(
            "2024-01-01-000000_clients",
            "CREATE TABLE clients (id serial PRIMARY KEY, schema_name text NOT NULL, \
             domain_url text NOT NULL, name text NOT NULL, on_trial boolean NOT NULL); \
             INSERT INTO clients (schema_name, domain_url, name, on_trial) VALUES \
             ('a', 'one.test', '', true), ('b', 'one.test', '', true)",
            "",
        )],
    );
    let db = Db::unmigrated(|builder| builder.app(loose));
    let error = db
        .tenancy
        .migrate()
        .shared()
        .run()
        .expect("a report")
        .into_result()
        .expect_err("the domain is there twice")
        .to_string();
    assert!(
        error.contains("making column domain_url of \"public\".\"clients\" unique")
            && error.contains("Key (domain_url)=(one.test) is duplicated")
            && error.contains("migrate again"),
        "{error}"
    );
    // Once they are told apart, the database keeps them so; a second run adds nothing.
    db.raw()
        .batch_execute("UPDATE clients SET domain_url = 'two.test' WHERE schema_name = 'b'")
        .expect("told apart");
    let indexes = "SELECT count(*)::text AS value FROM pg_indexes WHERE tablename = 'clients'";
    for _ in 0..2 {
        db.tenancy
            .migrate()
            .shared()
            .run()
            .expect("a report")
            .into_result()
            .expect("migrated");
        assert_eq!(db.strings(indexes), ["3"]);
    }
    db.raw()
        .batch_execute("UPDATE clients SET domain_url = 'one.test'")
        .expect_err("the database refuses");
}

#[test]
fn saving_a_tenant_names_the_line_of_its_migrations_that_fails() {
    let bad = sql_app(
        "typo",
        AppScope::Tenant,
        &[(
            "1_typo",
            "-- häßlich\nCREATE TABLE beds (id integer);\nINSERT INTO beds VALUES (one)",
            "",
        )],
    );
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(bad)
            .schema_names(SchemaNamePolicy::Quoted)
    });
    let mut tenant = client("Straße");
    tenant.domain_url = "street.my-domain.com".to_owned();
    let error = tenant
        .save(&mut db.tenancy.public().expect("public"))
        .expect_err("no column one");
    let Error::Migration { version, line, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((version.as_str(), *line), ("1_typo", Some(3)));
}
