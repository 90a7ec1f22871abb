//! Looking at a fleet, and going to a version of an app: list, plan, check, fake, to, zero, redo.

use diesel::connection::SimpleConnection as _;
use tenant_schemas::{App, AppScope, Error, Migrated, Tenancy};

use crate::support::{Client, Db, customers, name, sql_app};

fn versions(label: &str, table: &str) -> App {
    let up = |n: u32| format!("CREATE TABLE {table}_{n} (id integer)");
    let down = |n: u32| format!("DROP TABLE {table}_{n}");
    sql_app(
        label,
        AppScope::Tenant,
        &[
            ("2024-02-01-000000_one", &up(1), &down(1)),
            ("2024-02-02-000000_two", &up(2), &down(2)),
            ("2024-03-01-000000_three", &up(3), &down(3)),
        ],
    )
}

/// Three tenants that have nothing yet, and a tenancy with two apps of three migrations.
fn behind() -> (Db, Tenancy<Client>) {
    let db = Db::with(|builder| builder.app(customers()));
    db.tenants(["t1", "t2", "t3"]);
    let tenancy = db.again(|builder| {
        builder
            .app(customers())
            .app(versions("bars", "bar"))
            .app(versions("pools", "pool"))
    });
    (db, tenancy)
}

#[track_caller]
fn done(
    report: tenant_schemas::Result<tenant_schemas::Report<Migrated>>,
) -> Vec<(String, Vec<String>)> {
    report
        .expect("a report")
        .into_result()
        .expect("migrated")
        .into_iter()
        .map(|(schema, done)| {
            let down = done
                .reverted
                .iter()
                .map(|id| format!("-{}/{}", id.app, id.version));
            let up = done
                .applied
                .iter()
                .map(|id| format!("+{}/{}", id.app, id.version));
            (schema.to_string(), down.chain(up).collect())
        })
        .collect()
}

/// The tables of a tenant's apps.
fn tables(db: &Db, schema: &str) -> Vec<String> {
    let mut tables = db.tables(schema);
    tables.retain(|table| !table.starts_with("__"));
    tables
}

/// The names of the migrations in a tenant's ledger.
fn ledger(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT app || ' ' || version AS value FROM {schema}.__tenant_migrations ORDER BY 1"
    ))
}

#[test]
fn c47_list_and_plan_and_check_change_nothing_and_say_what_is_pending() {
    let (db, tenancy) = behind();
    let t2 = name("t2");
    done(
        tenancy
            .migrate()
            .schema(&t2)
            .app("bars")
            .to("2024-02-02")
            .run(),
    );
    assert_eq!(tables(&db, "t2"), ["bar_1", "bar_2"]);
    let before = [ledger(&db, "t1"), ledger(&db, "t2"), ledger(&db, "public")];

    let list = tenancy.migrate().list().expect("a list");
    let lines: Vec<String> = list
        .iter()
        .flat_map(|schema| {
            schema.migrations.iter().map(|migration| {
                let mark = if migration.applied { "x" } else { " " };
                format!("{} [{mark}] {}", schema.schema, migration.id)
            })
        })
        .collect();
    let apps = |schema: &str, marks: [&str; 6]| -> Vec<String> {
        let names = [
            "2024-02-01-000000_one",
            "2024-02-02-000000_two",
            "2024-03-01-000000_three",
        ];
        ["bars", "pools"]
            .iter()
            .flat_map(|app| names.iter().map(move |name| format!("{app}/{name}")))
            .zip(marks)
            .map(|(id, mark)| format!("{schema} [{mark}] {id}"))
            .collect()
    };
    let mut expected = vec!["public [x] customers/2024-01-01-000000_clients".to_owned()];
    expected.extend(apps("t1", [" "; 6]));
    expected.extend(apps("t2", ["x", "x", " ", " ", " ", " "]));
    expected.extend(apps("t3", [" "; 6]));
    assert_eq!(lines, expected);

    let plan = tenancy
        .migrate()
        .schema(&t2)
        .app("bars")
        .plan()
        .expect("a plan");
    let steps: Vec<String> = plan[0]
        .steps
        .iter()
        .map(|step| step.id.to_string())
        .collect();
    assert_eq!((plan.len(), plan[0].schema.as_str()), (1, "t2"));
    assert_eq!(steps, ["bars/2024-03-01-000000_three"]);
    let back = tenancy
        .migrate()
        .schema(&t2)
        .app("bars")
        .to_zero()
        .plan()
        .expect("a plan");
    let steps: Vec<(bool, &str)> = back[0]
        .steps
        .iter()
        .map(|step| (step.reverted, step.id.version.as_str()))
        .collect();
    assert_eq!(steps, [(true, "20240202000000"), (true, "20240201000000")]);

    let pending = tenancy.migrate().check().expect("checked");
    let counts: Vec<(&str, usize)> = pending
        .schemas
        .iter()
        .map(|s| (s.schema.as_str(), s.steps.len()))
        .collect();
    assert_eq!(counts, [("t1", 6), ("t2", 4), ("t3", 6)]);
    assert!(!pending.is_empty());
    assert!(
        tenancy
            .migrate()
            .shared()
            .check()
            .expect("checked")
            .is_empty()
    );
    assert_eq!(
        [ledger(&db, "t1"), ledger(&db, "t2"), ledger(&db, "public")],
        before
    );
}

#[test]
fn c47_a_plan_goes_on_past_a_missing_schema() {
    let (db, tenancy) = behind();
    db.raw()
        .batch_execute("DROP SCHEMA t1 CASCADE")
        .expect("dropped");
    let plan = tenancy.migrate().tenants().plan().expect("a plan");
    let schemas: Vec<(&str, bool, usize)> = plan
        .iter()
        .map(|s| (s.schema.as_str(), s.exists, s.steps.len()))
        .collect();
    assert_eq!(
        schemas,
        [("t1", false, 0), ("t2", true, 6), ("t3", true, 6)]
    );
}

#[test]
fn c47_an_unknown_line_of_the_ledger_is_listed() {
    let (db, tenancy) = behind();
    done(tenancy.migrate().run());
    let older = db.again(|builder| builder.app(customers()).app(versions("bars", "bar")));
    let list = older.migrate().schema(&name("t1")).list().expect("a list");
    assert_eq!(
        list[0].unknown,
        [
            "pools/20240201000000",
            "pools/20240202000000",
            "pools/20240301000000"
        ]
    );
    // An older program has nothing to do, and takes nothing away.
    assert!(
        done(older.migrate().run())
            .iter()
            .all(|(_, work)| work.is_empty())
    );
    assert_eq!(tables(&db, "t1").len(), 6);
}

#[test]
fn c47_fake_writes_the_ledger_and_runs_nothing() {
    let (db, tenancy) = behind();
    done(tenancy.migrate().schema(&name("t1")).fake(true).run());
    assert!(tables(&db, "t1").is_empty());
    assert_eq!(ledger(&db, "t1").len(), 6);
    assert!(ledger(&db, "t2").is_empty());
    let t1 = tenancy
        .migrate()
        .schema(&name("t1"))
        .check()
        .expect("checked");
    assert!(t1.is_empty());
    // Faked back, it runs after all.
    done(
        tenancy
            .migrate()
            .schema(&name("t1"))
            .app("pools")
            .to_zero()
            .fake(true)
            .run(),
    );
    assert_eq!(ledger(&db, "t1").len(), 3);
    done(tenancy.migrate().schema(&name("t1")).run());
    assert_eq!(tables(&db, "t1"), ["pool_1", "pool_2", "pool_3"]);
}

#[test]
fn c47_fake_to_a_version_runs_the_rest() {
    let (db, tenancy) = behind();
    done(
        tenancy
            .migrate()
            .tenants()
            .app("bars")
            .to("20240202000000")
            .fake(true)
            .run(),
    );
    assert_eq!(
        ledger(&db, "t3"),
        ["bars 20240201000000", "bars 20240202000000"]
    );
    done(tenancy.migrate().tenants().app("bars").run());
    for schema in ["t1", "t2", "t3"] {
        assert_eq!(tables(&db, schema), ["bar_3"]);
    }
}

#[test]
fn c47_one_app_goes_up_and_down_to_a_version_in_the_selected_schemas() {
    let (db, tenancy) = behind();
    let selected = |tenancy: &Tenancy<Client>, version: &str| {
        let (t1, t3) = (name("t1"), name("t3"));
        done(
            tenancy
                .migrate()
                .schema(&t1)
                .schema(&t3)
                .app("bars")
                .to(version)
                .run(),
        )
    };
    let both = |steps: &[&str]| -> Vec<(String, Vec<String>)> {
        ["t1", "t3"]
            .iter()
            .map(|schema| {
                (
                    (*schema).to_owned(),
                    steps.iter().map(|s| (*s).to_owned()).collect(),
                )
            })
            .collect()
    };
    assert_eq!(
        selected(&tenancy, "2024-02-02-000000_two"),
        both(&["+bars/20240201000000", "+bars/20240202000000"])
    );
    assert_eq!(
        selected(&tenancy, "2024-03"),
        both(&["+bars/20240301000000"])
    );
    assert_eq!(
        selected(&tenancy, "2024-02-01"),
        both(&["-bars/20240301000000", "-bars/20240202000000"])
    );
    assert_eq!(selected(&tenancy, "2024-02-01"), both(&[]));
    assert_eq!(tables(&db, "t1"), ["bar_1"]);
    assert!(tables(&db, "t2").is_empty());
    let zero = done(tenancy.migrate().tenants().app("bars").to_zero().run());
    assert_eq!(zero[0].1, ["-bars/20240201000000"]);
    assert!(zero[1].1.is_empty());
    assert!(tables(&db, "t1").is_empty() && ledger(&db, "t1").is_empty());
}

#[test]
fn c47_what_was_reverted_in_the_shared_schema_is_reported_if_the_tenants_go_with_it() {
    let (db, tenancy) = behind();
    let report = tenancy.migrate().app("customers").to_zero().run();
    let reverted = vec!["-customers/20240101000000".to_owned()];
    assert_eq!(done(report), [("public".to_owned(), reverted)]);
    assert!(!db.tables("public").contains(&"clients".to_owned()));
}

#[test]
fn a_schema_that_is_no_tenants_is_an_error_also_beside_an_app_that_tenants_do_not_have() {
    let (_db, tenancy) = behind();
    let (public, typo) = (name("public"), name("t11"));
    let migrate = tenancy.migrate().schema(&public).schema(&typo);
    let error = migrate.app("customers").run().expect_err("a typo");
    assert!(matches!(error, Error::NotSaved { .. }), "{error}");
}

#[test]
fn c47_redo_takes_the_last_migration_back_and_applies_it_again() {
    let (db, tenancy) = behind();
    let t2 = name("t2");
    done(
        tenancy
            .migrate()
            .tenants()
            .app("bars")
            .to("2024-02-02")
            .run(),
    );
    for schema in ["t1", "t2"] {
        db.raw()
            .batch_execute(&format!(
                "INSERT INTO {schema}.bar_1 VALUES (1); INSERT INTO {schema}.bar_2 VALUES (1)"
            ))
            .expect("rows");
    }
    let redone = done(tenancy.migrate().schema(&t2).app("bars").redo().run());
    assert_eq!(
        redone,
        [(
            "t2".to_owned(),
            vec![
                "-bars/20240202000000".to_owned(),
                "+bars/20240202000000".to_owned()
            ]
        )]
    );
    let rows = |table: &str| db.strings(&format!("SELECT count(*)::text AS value FROM {table}"));
    assert_eq!([rows("t1.bar_1"), rows("t1.bar_2")], [["1"], ["1"]]);
    assert_eq!([rows("t2.bar_1"), rows("t2.bar_2")], [["1"], ["0"]]);
}

#[test]
fn c47_what_can_not_be_reverted_stops_before_anything_is() {
    let app = sql_app(
        "oneway",
        AppScope::Tenant,
        &[
            ("1_for_ever", "CREATE TABLE a (id integer)", ""),
            ("2_not", "CREATE TABLE b (id integer)", "DROP TABLE b"),
        ],
    );
    let db = Db::with(|builder| builder.app(customers()).app(app));
    db.tenant("acme");
    let report = db
        .tenancy
        .migrate()
        .tenants()
        .app("oneway")
        .to_zero()
        .run()
        .expect("a report");
    let (_, error) = report.failed().next().expect("a failure");
    assert_eq!(
        error.to_string(),
        "migration oneway/1_for_ever can't be reverted: it has no down.sql; \
         give it one, or take it out of the ledger alone with `fake`"
    );
    assert_eq!(tables(&db, "acme"), ["a", "b"]);
    done(
        db.tenancy
            .migrate()
            .tenants()
            .app("oneway")
            .to_zero()
            .fake(true)
            .run(),
    );
    assert!(ledger(&db, "acme").is_empty());
}

#[test]
fn c47_a_wrong_name_is_answered_with_those_that_there_are() {
    let (_db, tenancy) = behind();
    let error = |result: tenant_schemas::Result<_>| -> String {
        let report: tenant_schemas::Report<Migrated> = match result {
            Ok(report) => report,
            Err(error) => return Error::to_string(&error),
        };
        panic!("{report:?}");
    };
    assert_eq!(
        error(tenancy.migrate().app("bar").run()),
        "there is no app \"bar\" here; there are customers, bars, pools"
    );
    for version in ["2025", "2024-02", "", "-"] {
        assert_eq!(
            error(tenancy.migrate().app("bars").to(version).run()),
            format!(
                "app bars has no migration {version:?}, or several that begin so; it has \
                 2024-02-01-000000_one, 2024-02-02-000000_two, 2024-03-01-000000_three"
            )
        );
    }
    assert_eq!(
        error(tenancy.migrate().schema(&name("nobody")).run()),
        "tenant nobody has no row: save it first"
    );
    for run in [
        tenancy.migrate().to("2024"),
        tenancy.migrate().to_zero(),
        tenancy.migrate().redo(),
    ] {
        assert!(error(run.run()).contains("name it with `app(..)`"));
    }
    assert!(
        error(tenancy.migrate().shared().schema(&name("t1")).run())
            .ends_with("`shared()` leaves out `schema(..)` of t1: use one of the two")
    );
    assert!(
        error(tenancy.migrate().tenants().schema(&name("public")).run())
            .ends_with("`tenants()` leaves out `schema(..)` of public: use one of the two")
    );
}

#[test]
fn c50_an_applied_migration_whose_text_changed_is_reported() {
    let (db, tenancy) = behind();
    done(tenancy.migrate().run());
    let changed = sql_app(
        "bars",
        AppScope::Tenant,
        &[
            (
                "2024-02-01-000000_one",
                "CREATE TABLE bar_1 (id integer)",
                "",
            ),
            // How it is reverted may change.
            (
                "2024-02-02-000000_two",
                "CREATE TABLE bar_2 (id integer)",
                "DROP TABLE IF EXISTS bar_2",
            ),
            (
                "2024-03-01-000000_three",
                "CREATE TABLE bar_3 (id bigint)",
                "DROP TABLE bar_3",
            ),
        ],
    );
    let edited = db.again(|builder| {
        builder
            .app(customers())
            .app(changed)
            .app(versions("pools", "pool"))
    });
    let pending = edited.migrate().check().expect("checked");
    assert!(pending.is_empty(), "nothing is run for it: {pending:?}");
    let expected = "bars/2024-03-01-000000_three";
    let names: Vec<String> = pending
        .changed
        .iter()
        .map(|(schema, id)| format!("{schema} {id}"))
        .collect();
    assert_eq!(
        names,
        ["t1", "t2", "t3"].map(|schema| format!("{schema} {expected}"))
    );
    let report = edited
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    for (schema, done) in &report[1..] {
        let names: Vec<String> = done.changed.iter().map(ToString::to_string).collect();
        assert_eq!(names, [expected], "{schema}");
        assert!(done.is_unchanged());
    }
    let list = edited.migrate().schema(&name("t1")).list().expect("a list");
    let marked: Vec<String> = list[0]
        .migrations
        .iter()
        .filter(|migration| migration.changed)
        .map(|migration| migration.id.to_string())
        .collect();
    assert_eq!(marked, [expected]);
    assert!(
        tenancy
            .migrate()
            .check()
            .expect("checked")
            .changed
            .is_empty()
    );
}

#[test]
fn c42_a_check_never_says_that_nothing_is_pending_in_tenants_that_it_could_not_read() {
    let (db, tenancy) = behind();
    let pending = tenancy.migrate().tenants().check().expect("checked");
    assert_eq!(pending.schemas.len(), 3, "control");
    // The next release's model has a column that the shared migrations have yet to add.
    db.raw()
        .batch_execute("ALTER TABLE clients RENAME COLUMN on_trial TO trial")
        .expect("renamed");
    for (what, result) in [
        ("check", tenancy.migrate().tenants().check().map(drop)),
        ("plan", tenancy.migrate().tenants().plan().map(drop)),
        ("list", tenancy.migrate().tenants().list().map(drop)),
        ("shared too", tenancy.migrate().check().map(drop)),
    ] {
        let error = result.expect_err(what);
        let said = crate::bad_input::chain(&error);
        assert!(said.contains("on_trial"), "{what}: {said}");
    }
    // If a shared migration is pending, that is what has to be done first, and what is said.
    let newer = db.again(|builder| {
        builder
            .app(customers())
            .app(sql_app(
                "plans",
                AppScope::Shared,
                &[(
                    "1_trial",
                    "ALTER TABLE clients RENAME COLUMN trial TO on_trial",
                    "",
                )],
            ))
            .app(versions("bars", "bar"))
    });
    let pending = newer.migrate().check().expect("checked");
    let schemas: Vec<_> = pending
        .schemas
        .iter()
        .map(|one| one.schema.as_str())
        .collect();
    assert_eq!(schemas, ["public"]);
    newer
        .migrate()
        .tenants()
        .check()
        .expect_err("not without the shared one");
    done(newer.migrate().shared().run());
    let pending = newer.migrate().check().expect("checked");
    assert_eq!(pending.schemas.len(), 3);
    let error = newer.migrate().schema(&name("typo")).check();
    assert!(matches!(error, Err(Error::NotSaved { .. })), "{error:?}");
}

#[test]
fn c43_nothing_is_reverted_beneath_what_another_version_of_the_program_applied() {
    let (db, tenancy) = behind();
    done(tenancy.migrate().tenants().run());
    let older = db.again(|builder| {
        let two = sql_app(
            "bars",
            AppScope::Tenant,
            &[
                (
                    "2024-02-01-000000_one",
                    "CREATE TABLE bar_1 ()",
                    "DROP TABLE bar_1",
                ),
                (
                    "2024-02-02-000000_two",
                    "CREATE TABLE bar_2 ()",
                    "DROP TABLE bar_2",
                ),
            ],
        );
        builder
            .app(customers())
            .app(two)
            .app(versions("pools", "pool"))
    });
    let t1 = || older.migrate().schema(&name("t1")).app("bars");
    let before = (tables(&db, "t1"), ledger(&db, "t1"));
    for run in [t1().to_zero(), t1().to("2024-02-01-000000"), t1().redo()] {
        let failed = run.run().expect("a report").into_result();
        let error = failed.expect_err("refused").to_string();
        assert!(
            error.contains("bars") && error.contains("20240301000000") && error.contains("`fake`"),
            "{error}"
        );
    }
    assert_eq!((tables(&db, "t1"), ledger(&db, "t1")), before);
    let t1 = older.migrate().schema(&name("t1"));
    assert_eq!(
        done(t1.app("pools").redo().run())[0].1,
        ["-pools/20240301000000", "+pools/20240301000000"]
    );
    let fake = older.migrate().schema(&name("t1")).app("bars").fake(true);
    assert_eq!(done(fake.to_zero().run())[0].1.len(), 2);
}

#[test]
fn c43_what_can_not_be_done_once_more_is_left_as_it_was() {
    let (db, tenancy) = behind();
    done(tenancy.migrate().tenants().run());
    db.raw()
        .batch_execute("INSERT INTO t1.bar_3 VALUES (1); CREATE TABLE t1.bar_9 ()")
        .expect("a row");
    let broken = db.again(|builder| {
        let up = "CREATE TABLE bar_9 (id integer)";
        let app = sql_app(
            "bars",
            AppScope::Tenant,
            &[("2024-03-01-000000_three", up, "DROP TABLE bar_3")],
        );
        builder.app(customers()).app(app)
    });
    let redo = broken.migrate().schema(&name("t1")).app("bars").redo();
    redo.run()
        .expect("a report")
        .into_result()
        .expect_err("it is there already");
    assert_eq!(
        db.strings("SELECT id::text AS value FROM t1.bar_3"),
        ["1"],
        "the table and its row"
    );
    assert!(ledger(&db, "t1").contains(&"bars 20240301000000".to_owned()));
}
