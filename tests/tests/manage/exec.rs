//! `exec`, `psql`, and the fixtures of `load` and `dump`.

use std::process::Command;

use serde_json::{Value, json};
use tenant_schemas_tests::skipped;

use crate::support::{Program, finished};

#[test]
fn rows_of_many_tenants_come_in_one_table_with_the_schema_first() {
    let program = Program::with_tenants(&["a", "b", "inn"]);
    program.sql("INSERT INTO a.rooms (name, price) VALUES ('Blue', 1.50); INSERT INTO b.rooms (name) VALUES (E'tab\\there')");
    let run = |args: &[&str]| {
        program
            .ok_args(&[&["exec", "SELECT id, name, price FROM rooms"][..], args].concat())
            .out
    };
    assert_eq!(
        run(&["--all"]),
        "schema  id  name      price\na       1   Blue      1.50\nb       1   tab here  100\n"
    );
    assert_eq!(
        run(&["--all", "--format=tsv"]),
        "a\t1\tBlue\t1.50\nb\t1\ttab\\there\t100\n"
    );
    assert_eq!(
        run(&["--schema=b", "--format=tsv"]),
        "b\t1\ttab\\there\t100\n"
    );
    assert_eq!(
        run(&["--all", "--exclude=b", "--format=tsv"]),
        "a\t1\tBlue\t1.50\n"
    );
    let json = run(&["--all", "--format=json"]);
    assert!(
        json.contains(r#"{"schema":"a","id":1,"name":"Blue","price":1.50}"#),
        "{json}"
    );
    serde_json::from_str::<Value>(&json).expect("JSON");
    program
        .run_args(&["exec", "SELECT 1"])
        .fails(2, &["--all", "--schema"]);
    assert_eq!(
        program
            .ok_args(&["exec", "--all", "SELECT 1 WHERE false", "--format=json"])
            .out,
        "[]\n"
    );
}

#[test]
fn columns_of_the_same_name_are_all_there() {
    let program = Program::with_tenants(&["a"]);
    program.sql("INSERT INTO a.rooms (name) VALUES ('Blue'), ('Red')");
    let counts = "SELECT count(*), count(price) + 5 AS count, 'x' AS schema FROM rooms";
    let run = |format: &str| {
        program
            .ok_args(&["exec", "--all", counts, "--format", format])
            .out
    };
    assert_eq!(run("tsv"), "a\t2\t7\tx\n");
    assert_eq!(
        run("table"),
        "schema  count  count_2  schema_2\na       2      7        x\n"
    );
    assert_eq!(
        run("json"),
        "[\n  {\"schema\":\"a\",\"count\":2,\"count_2\":7,\"schema_2\":\"x\"}\n]\n"
    );
}

#[test]
fn statements_of_every_kind_are_run() {
    let program = Program::with_tenants(&["a"]);
    let run = |sql: &str| program.ok_args(&["exec", "--schema=a", "--format=tsv", sql]);
    let ran = run("INSERT INTO rooms (name) VALUES ('Blue'), ('Red')");
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("2 changed"), "{}", ran.err);
    assert_eq!(
        run("INSERT INTO rooms (name) VALUES ('Pink') RETURNING id, name").out,
        "a\t3\tPink\n"
    );
    assert_eq!(
        run("WITH gone AS (DELETE FROM rooms WHERE id = 1 RETURNING *) SELECT name FROM gone").out,
        "a\tBlue\n"
    );
    let ran = run("WITH x AS (SELECT 'Grey' AS name) INSERT INTO rooms (name) SELECT name FROM x");
    assert!(ran.err.contains("1 changed"), "{}", ran.err);
    assert_eq!(run("SHOW search_path").out, "a\ta, public\n");
    assert!(
        run("EXPLAIN SELECT * FROM rooms")
            .out
            .contains("Seq Scan on rooms")
    );
    assert_eq!(run("/* n */ SELECT 1 /* of them */").out, "a\t1\n");
    assert_eq!(run("VALUES (1, NULL), (2, 'x');").out, "a\t1\t\na\t2\tx\n");
    assert_eq!(
        run("UPDATE rooms SET price = 7; SELECT sum(price) FROM rooms -- all of them").out,
        "a\t21\n"
    );
    let ran = program.run_with_input(&["exec", "--all", "-", "--format=tsv"], "SELECT 40 + 2;\n");
    assert_eq!(ran.out, "a\t42\n");
    program
        .run_args(&["exec", "--all", "-- nothing"])
        .fails(2, &["no SQL"]);
    assert_eq!(
        program.strings("SELECT count(*) FROM pg_proc WHERE proname = '__tenant_rows'"),
        ["0"],
        "nothing of ours stays behind"
    );
}

#[test]
fn what_fails_in_one_tenant_changes_nothing_there_and_stops_no_other() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql("DROP TABLE a.bookings");
    let sql = "INSERT INTO rooms (name) VALUES ('x'); SELECT count(*) FROM bookings";
    let ran = program.run_args(&["exec", "--all", "--format=tsv", sql]);
    ran.fails(
        1,
        &[
            "error: a: ",
            "relation \"bookings\" does not exist",
            "1 of 2 schemas failed",
        ],
    );
    assert_eq!(ran.out, "b\t0\n");
    assert_eq!(program.strings("SELECT count(*) FROM a.rooms"), ["0"]);
    assert_eq!(program.strings("SELECT count(*) FROM b.rooms"), ["1"]);
    let ran = program.run_args(&["exec", "--all", "--fail-fast", sql]);
    ran.fails(1, &["left to do: 1 schema: b"]);
}

#[test]
fn what_can_not_run_in_a_transaction_runs_without_one() {
    let program = Program::with_tenants(&["a"]);
    let vacuum = ["exec", "--all", "VACUUM rooms"];
    program
        .run_args(&vacuum)
        .fails(1, &["VACUUM cannot run inside a transaction block"]);
    program.ok_args(&[&vacuum[..], &["--no-transaction"]].concat());
}

#[test]
fn psql_has_the_schemas_path_and_its_own_exit_code() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql("INSERT INTO a.rooms (name) VALUES ('Blue')");
    let query = "SELECT current_schema(), count(*) FROM rooms";
    let ran = program.run_args(&["psql", "a", "-At", "-c", query]);
    if ran.err.contains("psql can't be started") {
        skipped("`psql`", "apt-get install postgresql-client");
        return;
    }
    assert_eq!(ran.out, "a|1\n", "{ran:?}");
    assert_eq!(
        program.run_args(&["psql", "b", "-At", "-c", query]).out,
        "b|0\n"
    );
    program
        .run_args(&["psql", "a", "-c", "SELECT nonsense"])
        .fails(1, &["nonsense"]);
    program
        .run("psql nobody")
        .fails(2, &["no tenant has the schema `nobody`"]);
    program.sql("DROP SCHEMA b CASCADE");
    program
        .run_args(&["psql", "b", "-c", query])
        .fails(1, &["schema b does not exist"]);
}

/// Whether PostgreSQL's client is there; says so if not.
fn has_psql() -> bool {
    let found = Command::new("psql").arg("--version").output().is_ok();
    if !found {
        skipped("`psql`", "apt-get install postgresql-client");
    }
    found
}

#[test]
fn psql_does_not_start_where_its_path_does_not_arrive() {
    if !has_psql() {
        return;
    }
    let program = Program::with_tenants(&["a"]);
    program.sql(
        "CREATE TABLE rooms (name text); INSERT INTO rooms VALUES ('shared'); \
         INSERT INTO a.rooms (name) VALUES ('Blue')",
    );
    let services = tempfile::NamedTempFile::new().expect("a file");
    let service = "[own]\noptions=-c statement_timeout=60s\n";
    std::fs::write(services.path(), service).expect("written");
    let names = "SELECT name FROM rooms";
    let mark = if program.url().contains('?') {
        '&'
    } else {
        '?'
    };
    let url = format!("{}{mark}service=own", program.url());
    // Control: libpq takes the options of the service, and the path is lost.
    let mut psql = Command::new("psql");
    psql.args(["-XAt", "-d", &url, "-c", names])
        .env("PGSERVICEFILE", services.path())
        .env("PGOPTIONS", "-c search_path=a");
    assert_eq!(finished(&mut psql).out, "shared\n");
    let run = |url: &str, sql: &str| {
        let mut command = program.command();
        command
            .args(["psql", "a", "-XAtc", sql])
            .env("PGSERVICEFILE", services.path())
            .env("DATABASE_URL", url);
        finished(&mut command)
    };
    let ran = run(&url, names);
    ran.fails(
        1,
        &[
            "psql would not be in schema a",
            "would be \"$user\", public, and not \"a\", \"public\"",
            "write them into the database URL",
        ],
    );
    assert_eq!(ran.out, "");
    // Its own arguments lead nowhere else either.
    let mut command = program.command();
    command
        .args(["psql", "a", "-XAt", "-d", &url, "-c", names])
        .env("PGSERVICEFILE", services.path());
    let ran = finished(&mut command);
    ran.fails(2, &["leave `-d` out"]);
    assert_eq!(ran.out, "");
    // The way out.
    let url = format!("{url}&options=-c%20statement_timeout%3D61s");
    assert_eq!(run(&url, names).out, "Blue\n");
    assert_eq!(run(&url, "SHOW statement_timeout").out, "61s\n");
}

#[test]
fn psql_has_the_options_of_the_connection_and_shows_no_password() {
    if !has_psql() {
        return;
    }
    let program = Program::with_tenants(&["a"]);
    let mark = if program.url().contains('?') {
        '&'
    } else {
        '?'
    };
    let url = format!("{}{mark}password=hush", program.url());
    let query = "SELECT current_schema(), current_setting('statement_timeout')";
    let call = r"\! tr '\000' ' ' < /proc/$PPID/cmdline; echo; echo $PGPASSWORD";
    let mut command = program.command();
    command
        .args(["psql", "a", "-XAt", "-c", query, "-c", call])
        .env("PGOPTIONS", "-c statement_timeout=60s")
        .env("DATABASE_URL", url);
    let ran = finished(&mut command);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "a|1min", "{ran:?}");
    assert!(
        lines[1].contains("psql -d") && !lines[1].contains("hush"),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2], "hush");
}

#[test]
fn a_column_may_have_the_name_of_what_it_is_in() {
    let program = Program::with_tenants(&["a"]);
    program.sql(
        "CREATE TABLE a.letters (q integer, t text); INSERT INTO a.letters VALUES (1, 'x'); \
         CREATE TYPE a.pair AS (x integer, y integer); CREATE TABLE a.pairs (t a.pair); \
         INSERT INTO a.pairs VALUES (ROW(1, 2)); ALTER TABLE clients ADD COLUMN t text",
    );
    let select = |sql: &str| {
        program
            .ok_args(&["exec", "--all", "--format=json", sql])
            .out
    };
    assert_eq!(
        select("SELECT 1 AS q"),
        "[\n  {\"schema\":\"a\",\"q\":1}\n]\n"
    );
    assert_eq!(
        select("SELECT * FROM letters"),
        "[\n  {\"schema\":\"a\",\"q\":1,\"t\":\"x\"}\n]\n"
    );
    let dumped = program
        .ok("tenant_command dump --schema=a letters pairs")
        .out;
    let json: Value = serde_json::from_str(&dumped).expect("JSON");
    assert_eq!(json["letters"], json!([{"q": 1, "t": "x"}]));
    assert_eq!(json["pairs"], json!([{"t": {"x": 1, "y": 2}}]));
    let listed = program.ok("list_tenants --format json").out;
    let json: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(json[0]["schema_name"], "a");
}

#[test]
fn a_dump_has_a_row_once_whether_tables_inherit_or_have_partitions() {
    let program = Program::with_tenants(&["a", "b"]);
    for schema in ["a", "b"] {
        program.sql(&format!(
            "CREATE TABLE {schema}.places (id integer); \
             CREATE TABLE {schema}.towns (mayor text) INHERITS ({schema}.places); \
             CREATE TABLE {schema}.stays (night integer) PARTITION BY RANGE (night); \
             CREATE TABLE {schema}.stays_1 PARTITION OF {schema}.stays FOR VALUES FROM (1) TO (9)"
        ));
    }
    program.sql(
        "INSERT INTO a.places VALUES (1); INSERT INTO a.towns VALUES (2, 'Ada'); \
         INSERT INTO a.stays VALUES (3)",
    );
    let dumped = program.ok("tenant_command dump --schema=a").out;
    let json: Value = serde_json::from_str(&dumped).expect("JSON");
    assert_eq!(json["places"], json!([{"id": 1}]));
    assert_eq!(json["towns"], json!([{"id": 2, "mayor": "Ada"}]));
    assert_eq!(json["stays"], json!([{"night": 3}]));
    let load = ["tenant_command", "load", "--schema=b", "-"];
    assert_eq!(
        program.run_with_input(&load, &dumped).out,
        "b: 3 rows loaded\n"
    );
    assert_eq!(program.strings("SELECT count(*) FROM b.places"), ["2"]);
}

#[test]
fn fixtures_go_from_one_tenant_to_another() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql(
        "INSERT INTO a.rooms (id, name, price) VALUES (3, 'Blue', 12345678901234567890.12), (7, 'Red', 1); \
         INSERT INTO a.bookings (id, room_id, guest) VALUES (1, 7, 'Ada')",
    );
    let dumped = program.ok("tenant_command dump --schema=a").out;
    let json: Value = serde_json::from_str(&dumped).expect("JSON");
    assert_eq!(json["rooms"].as_array().map(Vec::len), Some(2));
    assert!(json.get("__tenant_migrations").is_none());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("fixture.json");
    std::fs::write(&file, &dumped).expect("written");
    let load = [
        "tenant_command",
        "load",
        "--schema=b",
        file.to_str().expect("a path"),
    ];
    assert_eq!(program.ok_args(&load).out, "b: 3 rows loaded\n");
    assert_eq!(program.ok("tenant_command dumpdata --schema=b").out, dumped);
    assert_eq!(program.strings("SELECT loud FROM b.bookings"), ["ADA"]);
    // The sequence is behind what was loaded.
    program.sql("INSERT INTO b.rooms (name) VALUES ('next')");
    assert_eq!(
        program.strings("SELECT id FROM b.rooms WHERE name = 'next'"),
        ["8"]
    );
    // Nor does it go back: what it gave out may belong to a row that is gone, or not there yet.
    program.sql("SELECT setval('b.rooms_id_seq', 50); DELETE FROM b.bookings; DELETE FROM b.rooms");
    program.ok_args(&load);
    program.sql("INSERT INTO b.rooms (name) VALUES ('behind')");
    assert_eq!(
        program.strings("SELECT id FROM b.rooms WHERE name = 'behind'"),
        ["51"]
    );
    // Loading again changes nothing: the rows are there.
    let again = ["tenant_command", "loaddata", "--schema=b", load[3]];
    program.run_args(&again).fails(1, &["duplicate key value"]);
    let some = program.ok("tenant_command dump rooms --schema=a").out;
    assert!(!some.contains("bookings"), "{some}");
}

#[test]
fn a_dump_has_nothing_of_what_is_only_true_where_it_was_written() {
    let program = Program::with_tenants(&["a"]);
    let diesel = "__diesel_schema_migrations (version text, run_on timestamp)";
    program.sql(&format!(
        "CREATE TABLE __tenant_schedules (id integer); CREATE TABLE __tenant_provisioning (id integer); \
         CREATE TABLE a.{diesel}; CREATE TABLE {diesel}"
    ));
    let tables = |schema: &str| {
        let dumped = program
            .ok(&format!("tenant_command dump --schema={schema}"))
            .out;
        let json: Value = serde_json::from_str(&dumped).expect("JSON");
        let json = json.as_object().expect("an object");
        let mut tables: Vec<String> = json.keys().cloned().collect();
        tables.sort();
        tables
    };
    assert!(
        program
            .tables("public")
            .contains(&"__tenant_schemas".to_owned())
    );
    assert_eq!(tables("public"), ["clients"]);
    assert_eq!(tables("a"), ["auth_users", "bookings", "rooms"]);
}

#[test]
fn a_fixture_on_standard_input_is_loaded_into_every_tenant() {
    let program = Program::with_tenants(&["a", "b"]);
    let fixture = r#"{"rooms": [{"name": "x"}]}"#;
    for (args, loaded) in [
        ("all_tenants_command --no-public load -", "1"),
        ("load - --schema ? --jobs 2", "2"),
    ] {
        let args: Vec<&str> = args.split_whitespace().collect();
        let ran = program.run_with_input(&args, fixture);
        assert_eq!(ran.code, 0, "{ran:?}");
        for schema in ["a", "b"] {
            let rooms = format!("SELECT count(*) FROM {schema}.rooms");
            assert_eq!(program.strings(&rooms), [loaded], "{args:?}");
        }
    }
}

#[test]
fn fixtures_go_to_and_come_from_the_tenants_that_are_named() {
    let program = Program::with_tenants(&["hotel_1", "hotel_2", "inn"]);
    let load = |options: &[&str]| {
        let args = [&["load", "-"], options].concat();
        let ran = program.run_with_input(&args, r#"{"rooms": [{"name": "x"}]}"#);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    assert_eq!(load(&["--schema=inn"]), "inn: 1 row loaded\n");
    assert_eq!(load(&["--exclude=hotel_*"]), "inn: 1 row loaded\n");
    let one = load(&["--schema=hotel_?", "--exclude=*_1"]);
    assert_eq!(one, "hotel_2: 1 row loaded\n");
    let dumped = |args: &str| program.ok(args).out.matches("\"name\"").count();
    assert_eq!(dumped("dump rooms"), 3);
    assert_eq!(dumped("dump rooms --schema hotel_*"), 1);
    assert_eq!(dumped("dump rooms --exclude inn"), 1);
}

#[test]
fn a_fixture_with_a_mistake_loads_nothing() {
    let program = Program::with_tenants(&["a"]);
    let load =
        |text: &str| program.run_with_input(&["tenant_command", "load", "--schema=a", "-"], text);
    for (text, words) in [
        ("{", "EOF"),
        ("[]", "object of tables"),
        (r#"{"clients": []}"#, "no table \"clients\" of its own"),
        (r#"{"__tenant_migrations": []}"#, "no table"),
        (r#"{"rooms": {}}"#, "no list of rows"),
        (
            r#"{"rooms": [{"id": 1, "name": "x", "colour": "red"}]}"#,
            "no column \"colour\"",
        ),
        (
            r#"{"rooms": [{"id": 1, "name": "x"}, {"id": 2, "name": null}]}"#,
            "null value",
        ),
        (r#"{"bookings": [{"id": 1, "room_id": 9}]}"#, "foreign key"),
    ] {
        load(text).fails(1, &[words]);
    }
    assert_eq!(program.strings("SELECT count(*) FROM a.rooms"), ["0"]);
    // What a row leaves out gets its default.
    let ran = load(r#"{"rooms": [{"name": "x"}, {"name": "y", "price": 5}]}"#);
    assert_eq!(ran.out, "a: 2 rows loaded\n", "{ran:?}");
    assert_eq!(
        program.strings("SELECT name || price FROM a.rooms ORDER BY name"),
        ["x100", "y5"]
    );
}
