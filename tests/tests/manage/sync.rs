//! `sync_schemas`: many runs, of which none stops the others.

use serde_json::Value;

use crate::support::Program;

/// Two tenants that lack the apps `gym` and `spa`; in `a` there is no room for the first.
fn with_an_obstacle() -> Program {
    let program = Program::with_tenants(&["a", "b"]).words("gym spa");
    program.sql("CREATE TABLE a.weights (id integer)");
    program
}

fn has(program: &Program, schema: &str, table: &str) -> bool {
    program.tables(schema).contains(&table.to_owned())
}

#[test]
fn c40_a_tenant_that_fails_in_one_app_keeps_no_other_from_the_rest() {
    let program = with_an_obstacle();
    assert!(!has(&program, "b", "weights") && !has(&program, "b", "baths"));
    let ran = program.run("sync_schemas --format tsv");
    ran.fails(
        1,
        &[
            "error: a: ",
            "\"weights\" already exists",
            "1 of 2 schemas failed",
        ],
    );
    assert!(has(&program, "b", "weights") && has(&program, "b", "baths"));
    // What failed is left as it is.
    assert!(!has(&program, "a", "baths"));
    assert_eq!(
        ran.out,
        "a\tfailed\t\nb\tmigrated\t+gym/2024-02-03-000000_create_weights\n\
         b\tmigrated\t+spa/2024-02-01-000000_create_baths\n"
    );
    program.sql("DROP TABLE a.weights");
    let ran = program.ok("sync_schemas");
    assert!(ran.err.contains("1 schema migrated"), "{}", ran.err);
    assert!(has(&program, "a", "weights") && has(&program, "a", "baths"));
}

#[test]
fn c41_fail_fast_of_sync_schemas_begins_no_further_app() {
    let program = with_an_obstacle();
    let ran = program.run("sync_schemas --fail-fast --format tsv");
    ran.fails(1, &["1 of 2 schemas failed", "left to do: 1 schema: b"]);
    assert!(!has(&program, "b", "weights") && !has(&program, "b", "baths"));
    assert!(ran.out.starts_with("a\tfailed\t\nb\tleft\t\n"), "{ran:?}");
}

#[test]
fn c40_a_schema_that_cant_be_created_keeps_no_other_from_what_it_lacks() {
    let program = Program::with_tenants(&["a", "b", "c"]).words("gym spa");
    program.sql(
        "DROP SCHEMA a CASCADE; DROP SCHEMA c CASCADE; \
         CREATE FUNCTION no_a() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'a') THEN RAISE 'there is no room for a'; END IF; \
         END $$; CREATE EVENT TRIGGER no_a ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION no_a()",
    );
    for args in ["", "--migrate"] {
        let ran = program.run(&format!("sync_schemas {args}"));
        ran.fails(1, &["there is no room for a", "1 of "]);
        // It is told once, as what could not be created, and not again as what is missing.
        assert_eq!(ran.err.matches("error: a").count(), 1, "{}", ran.err);
        assert!(has(&program, "b", "weights") && has(&program, "b", "baths"));
        assert!(has(&program, "c", "weights"));
    }
    program.sql("DROP EVENT TRIGGER no_a");
    program.ok("sync_schemas");
    program.ok("migrate_schemas --check");
}

#[test]
fn a_shared_app_that_fails_leaves_the_tenants_alone() {
    let program = Program::with_tenants(&["a"]).words("release2 spa");
    program.sql("CREATE TABLE plans (id integer)");
    let ran = program.run("sync_schemas --migrate --format tsv");
    ran.fails(1, &["\"plans\" already exists", "left to do: 1 schema: a"]);
    assert_eq!(ran.out, "public\tfailed\t\na\tleft\t\n");
    assert!(!has(&program, "a", "baths"));
    // Where there is no table of tenants yet, nobody is left.
    let program = Program::fresh();
    program.sql("CREATE TABLE clients (id integer)");
    let ran = program.run("sync_schemas --format tsv");
    ran.fails(1, &["\"clients\" already exists"]);
    assert_eq!(ran.out, "public\tfailed\t\n");
}

#[test]
fn schemas_that_were_created_are_in_the_report() {
    let program = Program::with_tenants(&["a", "b"]);
    let again = || program.sql("DROP SCHEMA b CASCADE");
    again();
    let ran = program.ok("sync_schemas --format tsv");
    assert_eq!(
        ran.out,
        "b\tcreated\t+hotels/2024-01-02-000000_create_rooms +hotels/2024-01-03-000000_create_bookings \
         +auth/2024-01-01-000000_create_auth_users\n"
    );
    assert!(ran.err.contains("1 schema created"), "{}", ran.err);
    again();
    let json = program.ok("sync_schemas --format json").out;
    let json: Value = serde_json::from_str(&json).expect(&json);
    assert_eq!(json[0]["outcome"], "created");
    assert_eq!(json[0]["applied"].as_array().map(Vec::len), Some(3));
    again();
    let ran = program.ok("sync_schemas");
    assert!(
        ran.out
            .starts_with("schema  outcome  migrations\nb       created  +hotels/"),
        "{}",
        ran.out
    );
    again();
    let ran = program.ok("create_missing_schemas --format json");
    let json: Value = serde_json::from_str(&ran.out).expect(&ran.out);
    assert_eq!(
        (&json[0]["schema"], &json[0]["outcome"]),
        (&"b".into(), &"created".into())
    );
    assert_eq!(
        program.ok("create_missing_schemas --format json").out,
        "[]\n"
    );
}
