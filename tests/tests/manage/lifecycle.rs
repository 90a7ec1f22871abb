//! `list_tenants`, `rename_schema`, `delete_tenant`, `create_missing_schemas`, domains.

use serde_json::Value;

use crate::support::{Program, ends_with};

#[test]
fn c99_tenants_are_listed_one_per_line_separated_by_tabs() {
    let program = Program::with_tenants(&["b", "a"]);
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\nb\tb.com\n");
    program.ok("create_tenant --schema_name public --domain_url site.com --name Site");
    assert_eq!(
        program.ok("list_tenants").out,
        "a\ta.com\nb\tb.com\npublic\tsite.com\n"
    );
    let table = program.ok("list_tenants --format table").out;
    assert!(
        table.starts_with("id  schema_name  domain_url  name"),
        "{table}"
    );
    let json: Value =
        serde_json::from_str(&program.ok("list_tenants --format json").out).expect("JSON");
    assert_eq!(json[0]["schema_name"], "a");
    assert_eq!(json[0]["on_trial"], true);
    let empty = Program::with_tenants(&[]);
    let ran = empty.ok("list_tenants");
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("create_tenant"), "{}", ran.err);
    assert_eq!(empty.ok("list_tenants --format json").out, "[]\n");
}

#[test]
fn c98_delete_tenant_asks_on_a_terminal() {
    let program = Program::with_tenants(&["a", "b"]);
    let mut terminal = program.on_terminal("delete_tenant a --drop-schema");
    terminal
        .exp_string("Type `a` to go on: ")
        .expect("a question");
    terminal.send_line("b").expect("typed");
    terminal
        .exp_string("nothing was changed")
        .expect("a refusal");
    ends_with(terminal, 1);
    assert!(program.schema_exists("a"));
    let mut terminal = program.on_terminal("delete_tenant a --drop-schema");
    terminal
        .exp_string("with schema a and everything in it")
        .expect("what will happen");
    terminal
        .exp_string("Type `a` to go on: ")
        .expect("a question");
    terminal.send_line("a").expect("typed");
    ends_with(terminal, 0);
    assert!(!program.schema_exists("a"));
    assert_eq!(program.ok("list_tenants").out, "b\tb.com\n");
}

#[test]
fn c98_elsewhere_delete_tenant_needs_noinput() {
    let program = Program::with_tenants(&["a", "b"]);
    program.run("delete_tenant a").fails(2, &["--noinput"]);
    assert_eq!(program.ok("list_tenants").out.lines().count(), 2);
    // The model keeps the schema unless it is told otherwise.
    program.ok("delete_tenant a --noinput");
    assert!(program.schema_exists("a"));
    program.ok("delete_tenant --schema=b --noinput --drop-schema");
    assert!(!program.schema_exists("b"));
    assert_eq!(program.ok("list_tenants").out, "");
}

#[test]
fn delete_tenant_drops_or_keeps_the_schema_as_it_is_told() {
    let program = Program::fresh().words("domains").and_tenants(&[]);
    program.ok("create_tenant --schema_name a --domain a.com");
    program.ok("create_tenant --schema_name b");
    // This model drops the schema unless it is told otherwise; domains go first.
    program.ok("delete_tenant a --noinput");
    assert!(!program.schema_exists("a"));
    assert_eq!(program.strings("SELECT count(*) FROM domains"), ["0"]);
    program.ok("delete_tenant b --noinput --keep-schema");
    assert!(program.schema_exists("b"));
    program
        .run("delete_tenant b --noinput")
        .fails(2, &["no tenant has the schema `b`"]);
}

#[test]
fn c67_the_public_schema_is_neither_deleted_nor_renamed() {
    let program = Program::with_tenants(&[]);
    program.ok("create_tenant --schema_name public --domain_url site.com --name Site");
    program
        .run("delete_tenant public --noinput --drop-schema")
        .fails(
            1,
            &["schema public can't be deleted: it is the shared schema"],
        );
    program
        .run("rename_schema public private")
        .fails(1, &["schema public can't be renamed"]);
    assert!(program.tables("public").contains(&"clients".to_owned()));
}

#[test]
fn c60_rename_schema_moves_schema_and_row() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql("INSERT INTO a.rooms (name) VALUES ('Blue')");
    program.ok("rename_schema a acme");
    assert_eq!(program.ok("list_tenants").out, "acme\ta.com\nb\tb.com\n");
    assert_eq!(program.strings("SELECT name FROM acme.rooms"), ["Blue"]);
    assert!(!program.schema_exists("a"));
    program.ok("rename_schema --rename_from acme --rename_to a");
    assert!(program.schema_exists("a"));
    program
        .run("rename_schema a b")
        .fails(1, &["schema b already exists"]);
    program.run("rename_schema a public").fails(1, &["public"]);
    program
        .run("rename_schema a A")
        .fails(2, &["lower-case letters"]);
    program.run("rename_schema a").fails(2, &["FROM TO"]);
    program
        .run("rename_schema nobody c")
        .fails(2, &["no tenant has the schema `nobody`"]);
}

/// What waits for a tenant, with its tables.
fn waiting(program: &Program) -> Vec<String> {
    program.strings(
        "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname LIKE '%\\_ready\\_%' \
         WHERE c.relkind = 'r' GROUP BY n.oid ORDER BY n.oid",
    )
}

#[test]
fn schemas_are_made_ahead_taken_and_cleared_away() {
    let program = Program::with_tenants(&[]);
    let ran = program.ok("ready_schemas");
    assert!(
        ran.err.contains("5 schemas ready, 5 of them made now"),
        "{ran:?}"
    );
    program.create("a");
    assert_eq!(waiting(&program).len(), 4);
    let ran = program.ok("ready_schemas --count 6");
    assert!(
        ran.err.contains("6 schemas ready, 2 of them made now"),
        "{ran:?}"
    );
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\n");

    let program = program.words("release2");
    let ran = program.ok("ready_schemas --count 1");
    assert!(
        ran.err.contains("6 schemas dropped that lacked migrations"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("1 schema ready, 1 of them made now"),
        "{ran:?}"
    );
    let ran = program.ok("ready_schemas --clear");
    assert!(ran.err.contains("1 schema dropped"), "{ran:?}");
    assert_eq!(waiting(&program), [""; 0]);
    program
        .run("ready_schemas --clear --count 2")
        .fails(2, &["--count"]);
}

#[test]
fn schemas_are_made_ahead_for_tenants_of_a_type() {
    let program = Program::fresh().words("typed").and_tenants(&[]);
    program.ok("ready_schemas --count 1 --type hotel");
    program.ok("ready_schemas --count 1");
    let plain = "__tenant_migrations auth_users bookings rooms";
    assert_eq!(
        waiting(&program),
        ["__tenant_migrations auth_users bookings pools rooms", plain]
    );
    // A tenant without a type takes the one that is like it.
    program.create("a");
    assert_eq!(
        waiting(&program),
        ["__tenant_migrations auth_users bookings pools rooms"]
    );
}

#[test]
fn c61_rename_schema_refuses_names_that_are_taken_or_reserved() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql("CREATE SCHEMA stray; INSERT INTO a.rooms (name) VALUES ('Blue')");
    for (to, code, words) in [
        ("b", 1, "schema b already exists"),
        ("stray", 1, "schema stray already exists"),
        ("public", 1, "public"),
        ("pg_mine", 2, "reserved by PostgreSQL"),
        ("pg_catalog", 2, "reserved by PostgreSQL"),
        ("information_schema", 2, "reserved by PostgreSQL"),
    ] {
        program
            .run(&format!("rename_schema a {to}"))
            .fails(code, &[words]);
        assert_eq!(program.ok("list_tenants").out, "a\ta.com\nb\tb.com\n");
        assert_eq!(program.strings("SELECT name FROM a.rooms"), ["Blue"]);
    }
    // It was the names.
    program.ok("rename_schema a free");
    assert_eq!(program.strings("SELECT name FROM free.rooms"), ["Blue"]);
}

#[test]
fn c68_create_missing_schemas_creates_what_is_missing_and_only_that() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    program.sql(
        "INSERT INTO a.rooms (name) VALUES ('Blue'); DROP SCHEMA b CASCADE; DROP SCHEMA c CASCADE",
    );
    let ran = program.ok("create_missing_schemas --schema c");
    assert!(ran.err.contains("1 schema created"), "{}", ran.err);
    assert!(!program.schema_exists("b"));
    program.ok("create_missing_schemas --jobs 2");
    assert!(program.tables("b").contains(&"rooms".to_owned()));
    assert_eq!(program.strings("SELECT name FROM a.rooms"), ["Blue"]);
    assert!(
        program
            .ok("create_missing_schemas")
            .err
            .contains("No schema is missing")
    );
}

#[test]
fn domains_are_created_and_deleted() {
    let program = Program::fresh().words("domains").and_tenants(&["a"]);
    let domains = || program.strings("SELECT domain || '|' || is_primary FROM domains ORDER BY id");
    program.ok("create_domain a.com --schema a");
    program.ok("create_domain WWW.a.com --schema=a");
    assert_eq!(domains(), ["a.com|true", "www.a.com|false"]);
    program.ok("create_domain --primary a.net --schema=a");
    assert_eq!(
        domains(),
        ["a.com|false", "www.a.com|false", "a.net|true"].map(str::to_owned)
    );
    assert_eq!(program.ok("list_tenants").out, "a\ta.net\n");
    program
        .run("create_domain a.com --schema a")
        .fails(1, &["domain a.com is tenant a's already"]);
    program
        .run("create_domain b.com --schema b")
        .fails(2, &["no tenant has the schema `b`"]);
    program.run("delete_domain a.com").fails(2, &["--noinput"]);
    program.ok("delete_domain a.com --noinput");
    assert_eq!(domains().len(), 2);
    let ran = program.ok("delete_domain a.net --noinput");
    assert!(ran.err.contains("it was the primary one"), "{}", ran.err);
    program
        .run("delete_domain a.net --noinput")
        .fails(2, &["no tenant has the domain a.net"]);
    let mut terminal = program.on_terminal("delete_domain www.a.com");
    terminal
        .exp_string("Type `a` to go on: ")
        .expect("a question");
    terminal.send_line("a").expect("typed");
    terminal.exp_eof().expect("the end");
    assert!(domains().is_empty());
}

#[test]
fn a_model_with_one_domain_on_its_row_has_no_more_of_them() {
    let program = Program::with_tenants(&["a"]);
    program
        .run("create_domain b.com --schema a")
        .fails(2, &["one domain here", "clients"]);
    program
        .run("delete_domain a.com --noinput")
        .fails(2, &["one domain here"]);
}

#[test]
fn schema_and_exclude_of_list_tenants_show_those_alone() {
    let program = Program::with_tenants(&["hotel_1", "hotel_2", "inn"]);
    assert_eq!(
        program.ok("list_tenants --schema hotel_*").out,
        "hotel_1\thotel_1.com\nhotel_2\thotel_2.com\n"
    );
    assert_eq!(
        program.ok("list_tenants --exclude hotel_*").out,
        "inn\tinn.com\n"
    );
    program
        .run("list_tenants --schema motel")
        .fails(2, &["no tenant has the schema `motel`"]);
}
