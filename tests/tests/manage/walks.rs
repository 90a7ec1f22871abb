//! `--jobs`, `--fail-fast`, `--exclude` and `--format` of each command that goes over many tenants.

use std::process::Stdio;

use diesel::connection::SimpleConnection as _;
use serde_json::Value;

use crate::support::{Program, Ran};

/// Runs what waits for a lock in every tenant, and expects so many to wait at the same time.
#[track_caller]
fn works_on(program: &Program, args: &[&str], at_once: &str) {
    let mut holder = program.connect();
    holder
        .batch_execute("SELECT pg_advisory_lock(4242)")
        .expect("the lock");
    let child = program
        .command()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    program.wait_for_waiting(at_once);
    holder
        .batch_execute("SELECT pg_advisory_unlock(4242)")
        .expect("given back");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{args:?}: {output:?}");
}

const WAIT: &str = "SELECT pg_advisory_xact_lock(4242)";

#[test]
fn jobs_of_every_command_say_how_many_tenants_are_worked_on_at_once() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    works_on(&program, &["exec", "--all", WAIT], "1");
    works_on(&program, &["exec", "--all", WAIT, "--jobs", "3"], "3");
    let program = program.words("lock");
    works_on(&program, &["sync_schemas", "--migrate", "--jobs=2"], "2");
    for schema in ["a", "b", "c"] {
        program.sql(&format!("DROP SCHEMA {schema} CASCADE"));
    }
    works_on(&program, &["create_missing_schemas", "--jobs", "3"], "3");
}

#[test]
fn jobs_of_all_tenants_command_reach_the_public_schema_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b"]);
    let child = program
        .command()
        .args(["all_tenants_command", "--jobs", "3", "hold"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("started");
    let mut err = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut holding = 0;
    while holding < 3 {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut err, &mut line).expect("a line");
        assert_ne!(read, 0, "it ended early");
        holding += usize::from(line.contains("holding"));
    }
    std::fs::write(&file, "").expect("written");
    assert!(child.wait().expect("ended").success());
}

#[test]
fn jobs_of_fixtures_say_how_many_tenants_are_worked_on_at_once() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    let fixture = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&fixture, r#"{"rooms": [{"name": "x"}]}"#).expect("written");
    let file = fixture.path().to_str().expect("a path");
    for (args, most) in [(&["load", file][..], "3"), (&["dump"], "2")] {
        for at_once in ["1", most] {
            let mut holder = program.connect();
            holder
                .batch_execute("BEGIN; LOCK TABLE a.rooms, b.rooms, c.rooms")
                .expect("the locks");
            let child = program
                .command()
                .args(args)
                .args(["--jobs", at_once])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("started");
            program.wait_for_waiting(at_once);
            holder.batch_execute("COMMIT").expect("given back");
            let output = child.wait_with_output().expect("ended");
            assert!(output.status.success(), "{args:?}: {output:?}");
        }
    }
}

/// A program with three tenants without schemas, the first of which can't have one.
fn with_an_obstacle() -> Program {
    let program = Program::with_tenants(&["a", "b", "c"]);
    program.sql(
        "DROP SCHEMA a CASCADE; DROP SCHEMA b CASCADE; DROP SCHEMA c CASCADE; \
         CREATE FUNCTION no_a() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'a') THEN RAISE 'there is no room for a'; END IF; \
         END $$; CREATE EVENT TRIGGER no_a ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION no_a()",
    );
    program
}

#[track_caller]
fn left(ran: &Ran) {
    ran.fails(
        1,
        &["there is no room for a", "left to do: 2 schemas: b, c"],
    );
}

#[test]
fn fail_fast_of_every_command_starts_no_further_tenant() {
    let program = with_an_obstacle();
    left(&program.run("create_missing_schemas --fail-fast"));
    left(&program.run("sync_schemas --fail-fast"));
    assert!(!program.schema_exists("b"));
    program
        .run("create_missing_schemas")
        .fails(1, &["1 of 3 schemas failed", "2 schemas created"]);
    assert!(program.schema_exists("b") && program.schema_exists("c"));
}

#[test]
fn fail_fast_of_fixtures_starts_no_further_tenant() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    program.sql("DROP TABLE a.rooms CASCADE");
    let load = |args: &[&str]| {
        program.run_with_input(
            &[&["load", "-"], args].concat(),
            r#"{"rooms": [{"name": "x"}]}"#,
        )
    };
    let left = &[
        "no table \"rooms\" of its own",
        "left to do: 2 schemas: b, c",
    ];
    load(&["--fail-fast"]).fails(1, left);
    assert_eq!(program.strings("SELECT count(*) FROM b.rooms"), ["0"]);
    load(&[]).fails(1, &["1 of 3 schemas failed"]);
    assert_eq!(program.strings("SELECT count(*) FROM b.rooms"), ["1"]);
    program.run("dump rooms --fail-fast").fails(1, left);
    program
        .run("dump rooms")
        .fails(1, &["1 of 3 schemas failed"]);
}

#[test]
fn exclude_of_every_command_leaves_tenants_out() {
    let program = with_an_obstacle();
    program.ok("create_missing_schemas --exclude a --exclude c");
    assert!(program.schema_exists("b") && !program.schema_exists("c"));
    program.ok("sync_schemas --exclude a");
    assert!(program.schema_exists("c") && !program.schema_exists("a"));
}

#[test]
fn format_of_sync_schemas_is_for_programs_too() {
    let program = Program::fresh();
    let ran = program.ok("sync_schemas --shared --format tsv");
    assert_eq!(
        ran.out,
        "public\tmigrated\t+customers/2024-01-01-000000_create_tenants\n"
    );
}

#[test]
fn sync_schemas_writes_one_json_document_however_many_runs_it_takes() {
    let program = Program::with_tenants(&["a", "b"]).words("release2 spa");
    let json = |program: &Program, args: &str| -> Vec<String> {
        let out = program
            .ok(&format!("sync_schemas --format json {args}"))
            .out;
        let document: Value = serde_json::from_str(&out).expect(&out);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let line = |one: &Value| {
            let applied = one["applied"].as_array().expect("migrations");
            let apps: Vec<_> = applied.iter().map(|id| text(&id["app"])).collect();
            let (schema, outcome) = (text(&one["schema"]), text(&one["outcome"]));
            format!("{schema} {outcome} {}", apps.join(" "))
        };
        document
            .as_array()
            .expect("an array")
            .iter()
            .map(line)
            .collect()
    };
    assert_eq!(
        json(&program, "--tenant"),
        ["a migrated spa", "b migrated spa"]
    );
    assert_eq!(json(&program, "--tenant"), [""; 0]);
    assert_eq!(
        json(&program, "--migrate"),
        [
            "public migrated customers",
            "a migrated hotels",
            "b migrated hotels"
        ]
    );
    assert_eq!(program.ok("sync_schemas").out, "");
}

#[test]
fn a_tenancy_that_is_built_already_can_be_managed_too() {
    let program = Program::with_tenants(&["a"]).words("built");
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\n");
}
