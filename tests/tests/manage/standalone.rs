//! Commands that choose schemas themselves, below `tenant_command` and `all_tenants_command`.

use serde_json::Value;
use tenant_schemas_tests::skipped;

use crate::support::{Program, ends_with};

#[test]
fn c91_tenant_command_gives_a_command_of_the_library_its_schema() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    for args in [
        "tenant_command migrate_schemas --list --format tsv hotels --schema=a",
        "tenant_command migrate_schemas --list --format tsv --schema a hotels",
        "tenant_command --schema a migrate_schemas hotels --list --format tsv",
        "tenant_command -s a migrate-schemas hotels --list --format tsv",
        "tenant_command migrate_schemas -s a hotels --list --format tsv",
    ] {
        let out = program.ok(args).out;
        assert_eq!(out.lines().count(), 3, "{args}: {out}");
        assert!(
            out.lines().all(|line| line.starts_with("a\t")),
            "{args}: {out}"
        );
    }
    program.ok("tenant_command migrate_schemas --schema=a");
    program
        .run("migrate_schemas --check --schema a")
        .fails(0, &[]);
    program
        .run("migrate_schemas --check --schema b")
        .fails(3, &[]);
    // The exit code is the command's own.
    program
        .run("tenant_command migrate_schemas --check --schema b")
        .fails(3, &["pending in 1 schema"]);
    let exec = [
        "tenant_command",
        "exec",
        "SELECT current_schema() AS s",
        "--schema=b",
    ];
    assert_eq!(program.ok_args(&exec).out, "schema  s\nb       b\n");
    let exec = [
        "tenant_command",
        "--schema=public",
        "exec",
        "SELECT current_schema() AS s",
    ];
    assert_eq!(program.ok_args(&exec).out, "schema  s\npublic  public\n");
    let args = [
        "tenant_command",
        "create_tenant_superuser",
        "--username",
        "ada",
        "--schema=a",
        "--password-stdin",
    ];
    assert_eq!(program.run_with_input(&args, "correct horse\n").code, 0);
    assert_eq!(
        program.strings("SELECT username FROM a.auth_users"),
        ["ada"]
    );
    assert_eq!(program.strings("SELECT count(*) FROM b.auth_users"), ["0"]);
}

#[test]
fn c91_commands_whose_first_argument_is_the_schema_run_on_one_too() {
    let program = Program::with_tenants(&["a", "b"]);
    program.ok("tenant_command rename_schema --schema=b c");
    assert!(program.schema_exists("c") && !program.schema_exists("b"));
    program.ok("tenant_command clone_tenant --schema_name d --domain_url d.com -s c");
    assert!(program.schema_exists("d"));
    assert!(
        program
            .ok("tenant_command dump_tenant --schema a")
            .out
            .contains("rooms")
    );
    program.ok("tenant_command delete_tenant --schema d --noinput --keep-schema");
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\nc\tb.com\n");
    if std::process::Command::new("psql")
        .arg("--version")
        .output()
        .is_err()
    {
        skipped("`psql`", "apt-get install postgresql-client");
        return;
    }
    let psql = [
        "tenant_command",
        "psql",
        "--schema",
        "a",
        "-Atc",
        "SELECT current_schema()",
    ];
    assert_eq!(program.ok_args(&psql).out, "a\n");
    let psql = [
        "all_tenants_command",
        "psql",
        "-Atc",
        "SELECT current_schema()",
    ];
    assert_eq!(program.ok_args(&psql).out, "public\na\nc\n");
}

#[test]
fn c91_tenant_command_runs_on_one_schema_and_says_so() {
    let program = Program::with_tenants(&["a", "b"]);
    program
        .run("tenant_command migrate_schemas --schema *")
        .fails(
            2,
            &["no tenant has the schema `*`", "there are public, a, b"],
        );
    program
        .run("tenant_command migrate_schemas --schema a --schema b")
        .fails(2, &["--schema"]);
    program
        .run("tenant_command migrate_schemas hotels --schema=a --schema b")
        .fails(2, &["say `--schema` once"]);
    program
        .run("tenant_command exec SELECT --schema")
        .fails(2, &["`--schema` is to be followed by a value"]);
    program
        .run("tenant_command migrate_schemas")
        .fails(2, &["which schema?", "--schema=NAME", "list_tenants"]);
}

#[test]
fn c91_mistakes_are_told_before_the_schema_is_asked_for() {
    let program = Program::with_tenants(&["a"]).words("release2");
    let said = ends_with(
        program.on_terminal("tenant_command migrate_schemas --lst"),
        2,
    );
    assert!(
        said.contains("--list") && !said.contains("Schema"),
        "{said}"
    );
    let mut terminal = program.on_terminal("tenant_command migrate_schemas --plan --format tsv");
    terminal
        .exp_string("Schema (? lists them): ")
        .expect("a question");
    terminal.send_line("a").expect("typed");
    let rest = ends_with(terminal, 0);
    assert!(rest.contains("a\tapply\thotels/2024-06-02"), "{rest}");
    // The help of the command is its own, and needs no database.
    let mut command = program.command();
    command
        .env_remove("DATABASE_URL")
        .args(["tenant_command", "migrate_schemas", "--help"]);
    let help = crate::support::finished(&mut command);
    assert_eq!(help.out, program.ok("migrate_schemas --help").out);
}

#[test]
fn verbosity_reaches_a_command_below_another() {
    let said = |args: &str| {
        let program = Program::with_tenants(&["a"]).words("release2");
        program.ok(&format!("{args} --schema a")).err
    };
    assert_eq!(said("tenant_command migrate_schemas -v 0"), "");
    assert_eq!(said("tenant_command -v 0 migrate_schemas"), "");
    assert_eq!(said("-v 0 tenant_command migrate_schemas --fake"), "");
    assert!(said("tenant_command migrate_schemas").contains("1 schema migrated"));
    assert!(said("tenant_command migrate_schemas -v 3").contains("a: begins"));
}

#[test]
fn c91_what_can_run_on_no_schema_says_why_and_the_help_has_what_can() {
    let program = Program::with_tenants(&["a"]);
    for command in ["tenant_command", "all_tenants_command"] {
        program
            .run(&format!("{command} create_tenant --schema_name b"))
            .fails(
                2,
                &[
                    "`create_tenant` can't be run on a schema",
                    "manage-program create_tenant",
                ],
            );
        program.run(&format!("{command} count")).fails(
            2,
            &[
                "`count` can't be run on a schema",
                "PlainCommand",
                "TenantCommand",
                "`--schema`",
            ],
        );
        let help = program.ok(&format!("{command} --help")).out;
        for name in [
            "greet",
            "load",
            "migrate_schemas",
            "sync_schemas",
            "exec",
            "psql",
            "visit",
        ] {
            assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
        }
        for name in ["create_tenant", "count", "restore_tenant"] {
            assert!(!help.contains(&format!("\n  {name} ")), "{name}: {help}");
        }
    }
    // A command of one's own that takes a schema is given it.
    assert_eq!(
        program.ok("tenant_command visit --schema a").out,
        "visited a\n"
    );
}

#[test]
fn c93_all_tenants_command_runs_commands_of_the_library_at_once() {
    let program = Program::with_tenants(&["a", "b", "inn"]).words("release2");
    let exec = |args: &[&str]| {
        let all = [&["all_tenants_command"], args, &["--format", "json"]].concat();
        let out = program.ok_args(&all).out;
        let json: Value = serde_json::from_str(&out).expect(&out);
        let schema = |row: &Value| row["schema"].as_str().expect("a name").to_owned();
        json.as_array()
            .expect("rows")
            .iter()
            .map(schema)
            .collect::<Vec<_>>()
    };
    assert_eq!(exec(&["exec", "SELECT 1"]), ["public", "a", "b", "inn"]);
    assert_eq!(
        exec(&["--no-public", "exec", "SELECT 1"]),
        ["a", "b", "inn"]
    );
    assert_eq!(
        exec(&["exec", "SELECT 1", "--no_public", "--exclude", "in*"]),
        ["a", "b"]
    );
    assert_eq!(
        exec(&["--exclude=a", "exec", "SELECT 1", "--exclude=b"]),
        ["public", "inn"]
    );
    assert_eq!(exec(&["--jobs", "3", "exec", "SELECT 1"]).len(), 4);
    let out = program
        .ok("all_tenants_command migrate_schemas --plan --format tsv --no-public")
        .out;
    assert_eq!(out.lines().count(), 3, "{out}");
}

#[test]
fn c93_all_tenants_command_runs_the_others_one_after_the_other() {
    let program = Program::with_tenants(&["a", "closed", "z"]);
    let ran = program.run("all_tenants_command visit");
    ran.fails(
        1,
        &[
            "-- a",
            "error: closed: the door is locked",
            "1 of 4 schemas failed",
        ],
    );
    assert_eq!(ran.out, "visited public\nvisited a\nvisited z\n");
    for args in ["visit --fail-fast", "--fail-fast visit"] {
        let ran = program.run(&format!("all_tenants_command {args} --no-public"));
        ran.fails(1, &["left to do: 1 schema: z"]);
        assert_eq!(ran.out, "visited a\n", "{args}");
    }
    // What is wrong in one schema alone is no mistake in the command line.
    let create = [
        "all_tenants_command",
        "--no-public",
        "create_tenant_superuser",
        "--username=admin",
        "--password-stdin",
    ];
    let first = [&create[..], &["--exclude=z", "--exclude=closed"]].concat();
    assert_eq!(program.run_with_input(&first, "correct horse\n").code, 0);
    program.run_with_input(&create, "correct horse\n").fails(
        1,
        &[
            "error: a: admin is taken in a",
            "Superuser admin of closed is there",
            "1 of 3 schemas failed",
        ],
    );
    for schema in ["a", "closed", "z"] {
        let users =
            format!("SELECT count(*) FROM {schema}.auth_users WHERE password_hash LIKE '$argon2%'");
        assert_eq!(program.strings(&users), ["1"], "{schema}");
    }
    let quiet = program.run("all_tenants_command -v 0 visit --exclude closed");
    assert_eq!((quiet.code, &*quiet.err), (0, ""));
    program
        .run("all_tenants_command --jobs 2 visit")
        .fails(2, &["`visit` works on one schema at a time"]);
    program
        .run("all_tenants_command delete_tenant --noinput")
        .fails(2, &["`delete_tenant` is about one tenant"]);
    assert_eq!(program.strings("SELECT count(*) FROM clients"), ["3"]);
}
