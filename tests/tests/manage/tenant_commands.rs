//! Users' own commands: on one tenant, on all, with their own arguments.

use crate::support::{Program, ends_with};

#[test]
fn c91_tenant_command_passes_arguments_through() {
    let program = Program::with_tenants(&["a", "b"]);
    for args in [
        "tenant_command greet --schema=a --guest Ada good morning",
        "tenant_command --schema a greet good morning --guest=Ada",
    ] {
        assert_eq!(program.ok(args).out, "a: good morning Ada\n", "{args}");
    }
    assert_eq!(
        program.ok("tenant_command greet --schema=public").out,
        "public: hello guest\n"
    );
    program.run("tenant_command greet --schema=nobody").fails(
        2,
        &[
            "no tenant has the schema `nobody`",
            "there are public, a, b",
        ],
    );
    program
        .run("tenant_command grieve --schema=a")
        .fails(2, &["grieve", "greet"]);
    program
        .run("tenant_command greet --schema a --fail-in a")
        .fails(1, &["nobody is at the desk"]);
}

#[test]
fn c91_tenant_command_without_a_schema_fails_where_nobody_can_be_asked() {
    let program = Program::with_tenants(&["a"]);
    program
        .run("tenant_command greet")
        .fails(2, &["which schema?", "--schema=NAME", "list_tenants"]);
}

#[test]
fn c91_tenant_command_asks_for_the_schema_on_a_terminal() {
    let program = Program::with_tenants(&["a", "b"]);
    let mut terminal = program.on_terminal("tenant_command greet");
    terminal
        .exp_string("Schema (? lists them): ")
        .expect("a question");
    terminal.send_line("?").expect("typed");
    terminal
        .exp_string("public\r\n  a\r\n  b\r\n")
        .expect("a list");
    terminal.send_line("nobody").expect("typed");
    terminal
        .exp_string("no tenant has the schema `nobody`")
        .expect("a refusal");
    terminal.send_line("b").expect("typed");
    terminal.exp_string("b: hello guest").expect("the greeting");
    ends_with(terminal, 0);
}

#[test]
fn that_the_database_can_not_be_asked_ends_the_question_for_the_schema() {
    let program = Program::fresh();
    for answer in ["a", "?"] {
        let mut terminal = program.on_terminal("tenant_command greet");
        terminal
            .exp_string("Schema (? lists them): ")
            .expect("a question");
        terminal.send_line(answer).expect("typed");
        let said = ends_with(terminal, 1);
        assert!(said.contains("migrate_schemas --shared"), "{said}");
    }
}

#[test]
fn c92_a_command_runs_on_all_tenants_by_its_own_name() {
    let program = Program::with_tenants(&["b", "a", "inn"]);
    let ran = program.ok("greet --guest Ada");
    assert_eq!(ran.out, "a: hello Ada\nb: hello Ada\ninn: hello Ada\n");
    assert_eq!(
        program.ok("greet --schema=a --schema in*").out,
        "a: hello guest\ninn: hello guest\n"
    );
    assert_eq!(
        program.ok("greet --exclude inn").out,
        "a: hello guest\nb: hello guest\n"
    );
    assert_eq!(
        program.ok("greet --schema public").out,
        "public: hello guest\n"
    );
}

#[test]
fn c92_one_tenants_failure_stops_the_others_only_if_asked_to() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    let ran = program.run("greet --fail-in a");
    ran.fails(
        1,
        &["error: a: nobody is at the desk", "1 of 3 schemas failed"],
    );
    assert_eq!(ran.out, "b: hello guest\nc: hello guest\n");
    let ran = program.run("greet --fail-in a --fail-fast");
    ran.fails(1, &["left to do: 2 schemas: b, c"]);
    assert_eq!(ran.out, "");
}

#[test]
fn c92_jobs_work_on_several_tenants_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b", "c"]);
    let mut child = program
        .command()
        .args(["hold", "--jobs", "3"])
        .arg(&file)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    // All three hold at the same time: the file comes only then.
    let mut holding = 0;
    while holding < 3 {
        let mut line = String::new();
        assert_ne!(
            std::io::BufRead::read_line(&mut err, &mut line).expect("a line"),
            0,
            "ended early"
        );
        holding += usize::from(line.contains("holding"));
    }
    std::fs::write(&file, "").expect("written");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
    assert!(output.status.success());
}

#[test]
fn c93_all_tenants_command_takes_the_public_schema_along_unless_told_not_to() {
    let program = Program::with_tenants(&["a", "b"]);
    let with = program.ok("all_tenants_command greet --guest Ada");
    assert_eq!(with.out, "public: hello Ada\na: hello Ada\nb: hello Ada\n");
    for args in [
        "all_tenants_command --no-public greet",
        "all_tenants_command greet --no-public",
        "all-tenants-command --no_public greet",
    ] {
        assert_eq!(
            program.ok(args).out,
            "a: hello guest\nb: hello guest\n",
            "{args}"
        );
    }
    assert_eq!(
        program.ok("all_tenants_command --exclude a greet").out,
        "public: hello guest\nb: hello guest\n"
    );
    let ran = program.run("all_tenants_command --fail-fast greet --fail-in public");
    ran.fails(1, &["left to do: 2 schemas"]);
}

#[test]
fn c92_a_plain_command_runs_once_with_the_tenancy() {
    let program = Program::with_tenants(&["a", "b"]);
    assert_eq!(program.ok("count").out, "2 tenants\n");
    assert_eq!(program.ok("count hotels").out, "2 hotels\n");
}

#[test]
fn a_command_that_would_be_lost_among_the_others_is_refused_at_the_start() {
    const PANICKED: i32 = 101;
    for (words, message) in [
        ("loud", "command loud has an option `-v` of its own"),
        ("loud_plain", "command loud has an option `-v` of its own"),
        (
            "purge",
            "command purge has an option `--exclude` of its own",
        ),
        ("doctor_too", "there is a command doctor already"),
    ] {
        let program = Program::fresh().words(words);
        program
            .run("--help")
            .fails(PANICKED, &[message, "another name"]);
    }
}
