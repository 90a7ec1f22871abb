//! `migrate_schemas` and `sync_schemas`, each option.

use std::process::Stdio;

use diesel::connection::SimpleConnection as _;
use serde_json::Value;

use crate::support::Program;

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn c47_a_run_migrates_the_public_schema_and_then_every_tenant() {
    let program = Program::with_tenants(&["b", "a"]).words("release2");
    let ran = program.ok("migrate_schemas --format tsv");
    assert_eq!(
        lines(&ran.out),
        [
            "public\tmigrated\t+customers/2024-06-01-000000_create_plans",
            "a\tmigrated\t+hotels/2024-06-02-000000_rooms_have_floors",
            "b\tmigrated\t+hotels/2024-06-02-000000_rooms_have_floors",
        ]
    );
    assert!(program.tables("public").contains(&"plans".to_owned()));
    assert!(!program.tables("a").contains(&"plans".to_owned()));
    let again = program.ok("migrate_schemas");
    assert_eq!(again.out, "");
    assert!(again.err.contains("3 had nothing to do"), "{}", again.err);
}

#[test]
fn c47_shared_and_tenant_each_leave_the_other_out() {
    let program = Program::with_tenants(&["a"]).words("release2");
    let shared = program.ok("migrate_schemas --shared --format tsv");
    assert_eq!(shared.out.lines().count(), 1, "{}", shared.out);
    assert!(shared.out.starts_with("public\tmigrated"), "{}", shared.out);
    let program = Program::with_tenants(&["a"]).words("release2");
    let tenant = program.ok("migrate_schemas --tenant --format tsv");
    assert_eq!(tenant.out.lines().count(), 1, "{}", tenant.out);
    assert!(tenant.out.starts_with("a\tmigrated"), "{}", tenant.out);
}

#[test]
fn c47_schema_and_exclude_take_names_and_patterns() {
    let migrated = |args: &str| {
        let program = Program::with_tenants(&["hotel_1", "hotel_2", "inn"]).words("release2");
        let ran = program.ok(&format!("migrate_schemas --format tsv {args}"));
        ran.out
            .lines()
            .filter_map(|line| line.split('\t').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(migrated("--schema inn"), ["inn"]);
    assert_eq!(migrated("--schema=hotel_*"), ["hotel_1", "hotel_2"]);
    assert_eq!(
        migrated("--schema hotel_1 --schema inn"),
        ["hotel_1", "inn"]
    );
    assert_eq!(migrated("--schema public"), ["public"]);
    assert_eq!(migrated("--exclude hotel_*"), ["public", "inn"]);
    assert_eq!(migrated("--tenant --exclude inn"), ["hotel_1", "hotel_2"]);
    let program = Program::with_tenants(&["hotel_1"]);
    program.run("migrate_schemas --schema motel*").fails(
        2,
        &[
            "no tenant has the schema `motel*`",
            "there are public, hotel_1",
        ],
    );
    program
        .run("migrate_schemas --schema hotel_1 --exclude hotel_1")
        .fails(2, &["no schema is left"]);
    let ran = program.ok("migrate_schemas --exclude motel");
    assert!(ran.err.contains("leaves nothing out"), "{}", ran.err);
}

#[test]
fn c47_list_shows_what_each_schema_has_and_changes_nothing() {
    let program = Program::with_tenants(&["a"]).words("release2");
    let ran = program.ok("migrate_schemas --list --schema a hotels");
    assert_eq!(
        lines(&ran.out),
        [
            "a",
            "  hotels",
            "    [X] 2024-01-02-000000_create_rooms",
            "    [X] 2024-01-03-000000_create_bookings",
            "    [ ] 2024-06-02-000000_rooms_have_floors",
        ]
    );
    let json: Value = serde_json::from_str(&program.ok("migrate_schemas --list --format json").out)
        .expect("JSON");
    assert_eq!(json[0]["schema"], "public");
    assert_eq!(json[0]["migrations"][1]["applied"], false);
    let tsv = program
        .ok("migrate_schemas --list --format tsv --schema a")
        .out;
    assert!(
        tsv.contains("a\thotels\t2024-06-02-000000_rooms_have_floors\tpending\n"),
        "{tsv}"
    );
    program.run("migrate_schemas --check").fails(3, &[]);
}

#[test]
fn c47_plan_shows_what_would_run_and_runs_nothing() {
    let program = Program::with_tenants(&["a"]).words("release2");
    let ran = program.ok("migrate_schemas --plan --format tsv");
    assert_eq!(
        lines(&ran.out),
        [
            "public\tapply\tcustomers/2024-06-01-000000_create_plans",
            "a\tapply\thotels/2024-06-02-000000_rooms_have_floors",
        ]
    );
    let ran = program.ok("migrate_schemas hotels zero --plan --format tsv");
    assert_eq!(
        lines(&ran.out)[0],
        "a\trevert\thotels/2024-01-03-000000_create_bookings"
    );
    assert!(!program.tables("public").contains(&"plans".to_owned()));
    assert!(program.tables("a").contains(&"bookings".to_owned()));
}

#[test]
fn c47_check_ends_with_3_if_anything_is_pending_and_with_0_if_not() {
    let program = Program::with_tenants(&["a"]);
    let ran = program.ok("migrate_schemas --check");
    assert_eq!(ran.out, "");
    let program = program.words("release2");
    let ran = program.run("migrate_schemas --check --format tsv");
    ran.fails(3, &["pending in 2 schemas", "migrate_schemas"]);
    assert_eq!(
        lines(&ran.out)[1],
        "a\tpending\thotels/2024-06-02-000000_rooms_have_floors"
    );
    program
        .run("migrate_schemas --check --schema a")
        .fails(3, &["pending in 1 schema"]);
    program.sql("DROP SCHEMA a CASCADE");
    let ran = program.run("migrate_schemas --check --tenant --format json");
    ran.fails(3, &["create_missing_schemas"]);
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["missing"][0], "a");
}

#[test]
fn c47_fake_writes_the_ledger_and_builds_nothing() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    program.ok("migrate_schemas hotels 2024-06-02 --fake --schema a");
    program
        .run("migrate_schemas --check --schema a")
        .fails(0, &[]);
    let floors = "SELECT table_schema FROM information_schema.columns WHERE column_name = 'floor'";
    assert_eq!(program.strings(floors), Vec::<String>::new());
    // The other tenant was not selected.
    program
        .run("migrate_schemas --check --schema b")
        .fails(3, &[]);
    program.ok("migrate_schemas --tenant");
    assert_eq!(program.strings(floors), ["b"]);
}

#[test]
fn c47_an_app_goes_to_a_version_to_zero_and_back() {
    let program = Program::with_tenants(&["a", "b"]);
    program.ok("migrate_schemas hotels 20240102000000 --schema a");
    assert!(!program.tables("a").contains(&"bookings".to_owned()));
    assert!(program.tables("a").contains(&"rooms".to_owned()));
    assert!(program.tables("b").contains(&"bookings".to_owned()));
    program.ok("migrate_schemas hotels zero --schema a");
    assert!(!program.tables("a").contains(&"rooms".to_owned()));
    assert!(program.tables("a").contains(&"auth_users".to_owned()));
    program.ok("migrate_schemas hotels --schema a");
    assert!(program.tables("a").contains(&"bookings".to_owned()));
    program
        .run("migrate_schemas motels")
        .fails(1, &["motels", "hotels"]);
    program
        .run("migrate_schemas hotels 1999")
        .fails(1, &["1999", "2024-01-02-000000_create_rooms"]);
}

#[test]
fn c47_redo_reverts_the_last_migration_and_applies_it_again() {
    let program = Program::with_tenants(&["a"]);
    program.sql("INSERT INTO a.rooms (id, name) VALUES (1, 'Blue'); INSERT INTO a.bookings (id, room_id) VALUES (1, 1)");
    let ran = program.ok("migrate_schemas hotels --redo --tenant --format tsv");
    assert_eq!(
        lines(&ran.out),
        [
            "a\tmigrated\t-hotels/2024-01-03-000000_create_bookings +hotels/2024-01-03-000000_create_bookings"
        ]
    );
    assert_eq!(program.strings("SELECT count(*) FROM a.bookings"), ["0"]);
    assert_eq!(program.strings("SELECT count(*) FROM a.rooms"), ["1"]);
    program.run("migrate_schemas --redo").fails(2, &["APP"]);
}

#[test]
fn c40_every_failure_is_shown_with_its_cause_and_the_exit_code_is_1() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    program.sql("INSERT INTO b.rooms (name) VALUES ('x')");
    program.sql("ALTER TABLE b.rooms ADD COLUMN floor text");
    let program = program.words("release2");
    let ran = program.run("migrate_schemas --format json");
    ran.fails(
        1,
        &[
            "error: b: migration hotels/2024-06-02-000000_rooms_have_floors failed in schema b",
            "caused by: column \"floor\" of relation \"rooms\" already exists",
            "1 of 4 schemas failed",
        ],
    );
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    let outcomes: Vec<&str> = json
        .as_array()
        .expect("schemas")
        .iter()
        .filter_map(|one| one["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, ["migrated", "migrated", "failed", "migrated"]);
    assert!(
        json[2]["error"]
            .as_str()
            .expect("an error")
            .contains("already exists")
    );
}

#[test]
fn c41_fail_fast_starts_no_further_tenant() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    program.sql("ALTER TABLE b.rooms ADD COLUMN floor text");
    let program = program.words("release2");
    let ran = program.run("migrate_schemas --fail-fast --format tsv");
    ran.fails(1, &["left to do: 1 schema: c"]);
    assert!(ran.out.contains("c\tleft\t"), "{}", ran.out);
    program.sql("ALTER TABLE b.rooms DROP COLUMN floor");
    program.ok("migrate_schemas");
    program.ok("migrate_schemas --check");
}

#[test]
fn c44_jobs_and_executor_say_how_many_tenants_are_worked_on_at_once() {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let processors = processors.min(3).to_string();
    for (args, at_once) in [
        ("--jobs 3", "3"),
        ("--executor parallel", &*processors),
        ("--executor parallel --jobs 2", "2"),
        ("--executor sequential", "1"),
        ("", "1"),
    ] {
        let program = Program::with_tenants(&["a", "b", "c"]).words("lock");
        let mut holder = program.connect();
        holder
            .batch_execute("SELECT pg_advisory_lock(4242)")
            .expect("the lock");
        let child = program
            .command()
            .arg("migrate_schemas")
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        program.wait_for_waiting(at_once);
        holder
            .batch_execute("SELECT pg_advisory_unlock(4242)")
            .expect("given back");
        assert!(
            child.wait_with_output().expect("ended").status.success(),
            "{args}"
        );
        program.ok("migrate_schemas --check");
    }
}

#[test]
fn numbers_of_jobs_that_make_no_sense_are_refused() {
    let program = Program::fresh();
    program
        .run("migrate_schemas --executor sequential --jobs 2")
        .fails(2, &["works on one tenant at a time"]);
    program
        .run("migrate_schemas --jobs 0")
        .fails(2, &["at least 1"]);
    program
        .run("migrate_schemas --jobs many")
        .fails(2, &["no number"]);
}

#[test]
fn atomic_leaves_a_schema_between_no_two_versions() {
    let at = |args: &str| {
        let program = Program::with_tenants(&["a"]).words("release2 release3");
        program
            .run(&format!("migrate_schemas --tenant {args}"))
            .fails(1, &["nothing"]);
        let floors = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'floor'";
        program.strings(floors)[0].clone()
    };
    assert_eq!(at(""), "1");
    assert_eq!(at("--atomic"), "0");
}

#[test]
fn what_turns_out_at_the_end_to_have_failed_is_said_with_its_reason() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    program.sql(
        "DO $$ DECLARE f regprocedure; BEGIN \
         FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' \
         LOOP EXECUTE format('ALTER FUNCTION %s RENAME TO no_message', f); END LOOP; END $$",
    );
    let ran = program.run("migrate_schemas");
    let reason = |schema| format!("waiting for the migrations of schema {schema} to be on disk");
    ran.fails(1, &[&reason("a"), &reason("b"), "does not exist"]);
}

#[test]
fn adopt_takes_over_what_diesel_recorded() {
    let program = Program::fresh();
    program.sql(
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now()); \
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20240101000000'); \
         CREATE TABLE clients (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
         schema_name varchar(63) NOT NULL UNIQUE, domain_url text NOT NULL UNIQUE, name text NOT NULL, \
         paid_until date, on_trial boolean NOT NULL, rooms_at_most integer NOT NULL, email text)",
    );
    program
        .run("migrate_schemas --shared")
        .fails(1, &["__diesel_schema_migrations"]);
    let ran = program.ok("migrate_schemas --shared --adopt");
    assert!(ran.err.contains("1 had nothing to do"), "{}", ran.err);
    program.ok("migrate_schemas --shared --check");
}

#[test]
fn verify_reads_the_ledgers_and_not_their_sum() {
    let program = Program::with_tenants(&["a"]);
    program.sql("DELETE FROM a.__tenant_migrations WHERE version = '20240103000000'");
    program.ok("migrate_schemas --check");
    program
        .run("migrate_schemas --check --verify")
        .fails(3, &[]);
}

#[test]
fn verify_brings_back_what_only_the_ledger_lacks() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql(
        "DELETE FROM a.__tenant_migrations WHERE version = '20240103000000'; \
         DROP TABLE a.bookings",
    );
    let bookings = |schema: &str| program.tables(schema).contains(&"bookings".to_owned());
    assert!(bookings("b") && !bookings("a"));
    let listed = |args: &str| {
        let list = program.ok(&format!("migrate_schemas --list --format json {args}"));
        let list: Value = serde_json::from_str(&list.out).expect("JSON");
        list.to_string().matches("\"applied\":false").count()
    };
    assert_eq!((listed(""), listed("--verify")), (0, 1));
    let planned = |args: &str| {
        program
            .ok(&format!("migrate_schemas --plan --format tsv {args}"))
            .out
    };
    assert_eq!(planned(""), "");
    let plan = planned("--verify");
    assert!(
        plan.starts_with("a\t") && plan.contains("create_bookings"),
        "{plan}"
    );
    let ran = program.ok("migrate_schemas");
    assert!(ran.err.contains("0 schemas migrated"), "{}", ran.err);
    assert!(!bookings("a"));
    let ran = program.ok("migrate_schemas --verify");
    assert!(ran.err.contains("1 schema migrated"), "{}", ran.err);
    assert!(bookings("a"));
    program.ok("migrate_schemas --check --verify");
}

#[test]
fn c50_a_changed_migration_is_pointed_out() {
    let program = Program::with_tenants(&["a"]).words("changed");
    let ran = program.ok("migrate_schemas --check --format tsv");
    assert!(
        ran.out
            .contains("a\tchanged\thotels/2024-01-02-000000_create_rooms"),
        "{}",
        ran.out
    );
    assert!(
        ran.err
            .contains("1 migration was applied with another text"),
        "{}",
        ran.err
    );
    assert!(
        program
            .ok("migrate_schemas --list")
            .out
            .contains("its text has changed since"),
    );
}

#[test]
fn verbosity_and_no_terminal_decide_what_is_said() {
    let said = |args: &str| {
        let program = Program::with_tenants(&["a"]).words("release2");
        program.ok("migrate_schemas --shared -v 0");
        program.ok(&format!("migrate_schemas {args}")).err
    };
    assert_eq!(said("-v 0"), "");
    assert_eq!(
        said("--verbosity 1"),
        "[1/1] a: applied hotels/2024-06-02-000000_rooms_have_floors\n1 schema migrated, 1 had nothing to do\n"
    );
    assert!(said("-v 2").starts_with("public: nothing to do\n"));
    assert!(said("-v 3").starts_with("public: begins\n"));
}

#[test]
fn c90_sync_schemas_makes_what_is_not_there_and_leaves_what_is() {
    let program = Program::fresh();
    let ran = program.ok("sync_schemas");
    assert!(
        ran.out
            .contains("customers/2024-01-01-000000_create_tenants"),
        "{}",
        ran.out
    );
    let program = program.and_tenants(&["a", "b"]);
    program.sql("DROP SCHEMA b CASCADE");
    // A new app is made, a missing schema too, a migration of an app that is there is left.
    let program = program.words("release2 spa");
    let ran = program.ok("sync_schemas --tenant");
    assert!(program.tables("a").contains(&"baths".to_owned()), "{ran:?}");
    assert!(program.tables("b").contains(&"rooms".to_owned()), "{ran:?}");
    assert!(
        ran.err.contains("1 schema has migrations pending"),
        "{}",
        ran.err
    );
    program
        .run("migrate_schemas --check --schema a")
        .fails(3, &[]);
    program.ok("sync_schemas --migrate");
    program.ok("migrate_schemas --check");
}

#[test]
fn c90_sync_schemas_keeps_to_the_half_and_the_schema_that_are_named() {
    let program = Program::with_tenants(&["a", "b"]).words("release2 spa");
    program.ok("sync_schemas --shared --migrate");
    assert!(program.tables("public").contains(&"plans".to_owned()));
    assert!(!program.tables("a").contains(&"baths".to_owned()));
    program.ok("sync_schemas --schema=a");
    assert!(program.tables("a").contains(&"baths".to_owned()));
    assert!(!program.tables("b").contains(&"baths".to_owned()));
    program
        .run("sync_schemas --schema nobody")
        .fails(2, &["nobody"]);
    program
        .run("sync_schemas --shared --schema a")
        .fails(2, &["no schema is left"]);
}
