//! Help, completions, the man page, exit codes, colours.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Program, finished};

/// Every command, as the guide and its successors call them.
const COMMANDS: [&str; 21] = [
    "sync_schemas",
    "migrate_schemas",
    "tenant_command",
    "all_tenants_command",
    "create_tenant",
    "create_tenant_superuser",
    "list_tenants",
    "delete_tenant",
    "clone_tenant",
    "dump_tenant",
    "restore_tenant",
    "rename_schema",
    "create_missing_schemas",
    "ready_schemas",
    "create_domain",
    "delete_domain",
    "status",
    "doctor",
    "exec",
    "psql",
    "greet",
];

#[test]
fn c90_every_command_has_its_name_and_its_help_without_a_database() {
    let program = Program::fresh();
    let help = |args: &[&str]| {
        let mut command = program.command();
        command.env_remove("DATABASE_URL").args(args);
        let ran = finished(&mut command);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    let all = help(&["--help"]);
    assert!(all.contains("A program under test"), "{all}");
    for name in COMMANDS {
        assert!(
            all.contains(&format!("\n  {name} ")),
            "{name} is missing in {all}"
        );
        let own = help(&[name, "--help"]);
        assert!(own.contains("Usage:") && own.contains(name), "{own}");
        assert_eq!(
            own,
            help(&[&name.replace('_', "-"), "--help"]),
            "with hyphens"
        );
    }
    assert!(
        help(&["sync_schemas", "--help"]).contains("migrate_schemas"),
        "how they relate"
    );
    assert!(
        help(&["migrate_schemas", "--help"]).contains("sync_schemas"),
        "how they relate"
    );
}

#[test]
fn completions_and_the_man_page_are_printed() {
    let program = Program::fresh();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program.ok(&format!("completions {shell}")).out;
        assert!(
            script.contains("migrate_schemas") && script.contains("fail-fast"),
            "{shell}"
        );
    }
    program.run("completions tcsh").fails(2, &["bash"]);
    assert!(program.ok("man").out.contains(".TH"));
    assert!(
        program
            .ok("man create_tenant")
            .out
            .contains("The name on the invoice")
    );
    program
        .run("man nothing")
        .fails(2, &["no command `nothing`"]);
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let program = Program::fresh();
    program.run("").fails(2, &["Usage:"]);
    program.run("migrate_schema").fails(2, &["migrate_schemas"]);
    program.run("migrate_schemas --lst").fails(2, &["--list"]);
    program
        .run("migrate_schemas --list --plan")
        .fails(2, &["cannot be used with"]);
    program.run("list_tenants -v 4").fails(2, &["0..=3"]);
}

#[test]
fn what_fails_is_printed_with_its_causes_and_ends_with_1() {
    let program = Program::fresh();
    let mut command = program.command();
    command
        .args(["list_tenants"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x");
    finished(&mut command).fails(
        1,
        &["error: the database can't be reached", "\n  caused by: "],
    );
    program.run("list_tenants").fails(
        1,
        &[
            "relation \"public.clients\" does not exist",
            "migrate_schemas --shared",
        ],
    );
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let program = Program::with_tenants(&["a"]);
    let mut child = program
        .command()
        .args(["list_tenants"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_tenant_whose_output_nobody_reads_has_not_failed() {
    let program = Program::with_tenants(&["a", "b"]);
    for args in [
        "greet --fail-fast -v 0",
        "all_tenants_command --fail-fast -v 0 greet",
        "tenant_command greet --schema a",
        "count",
    ] {
        let mut command = program.command();
        command.args(args.split_whitespace()).stdout(unread());
        let ran = finished(&mut command);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{args}");
    }
    // What could not be written for another reason is lost, and that is a failure.
    let mut command = program.command();
    command.arg("greet").stdout(full());
    finished(&mut command).fails(1, &["error: a: ", "2 of 2 schemas failed"]);
}

/// A pipe whose reader has gone away.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A disk that is full.
fn full() -> Stdio {
    let device = File::options().write(true).open("/dev/full");
    device.expect("a device that is full").into()
}

#[test]
fn work_goes_on_if_what_is_said_of_it_can_not_be_written() {
    let program = Program::with_tenants(&["a", "b", "c"]).words("release2");
    let run = |args: &str, err: Stdio| {
        let mut command = program.command();
        finished(command.args(args.split_whitespace()).stderr(err))
    };
    let ran = run("migrate_schemas --jobs 2 --format tsv -v 3", unread());
    assert_eq!((ran.code, ran.out.lines().count()), (0, 4), "{ran:?}");
    program.ok("migrate_schemas --check");
    for err in [unread(), full()] {
        let ran = run("greet --fail-in a", err);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(ran.out, "b: hello guest\nc: hello guest\n");
    }
    assert_eq!(run("migrate_schemas --lst", unread()).code, 2);
    assert_eq!(run("exec SELECT", full()).code, 2);
}

#[test]
fn a_terminal_has_colours_unless_no_color_is_set() {
    let program = Program::with_tenants(&["a"]);
    let shown = |no_color: bool| {
        let mut command = program.command();
        command
            .args(["list_tenants", "--format", "table"])
            .env("TERM", "xterm-256color");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let mut terminal =
            rexpect::session::spawn_command(command, Some(30_000)).expect("a terminal");
        terminal.exp_eof().expect("the end")
    };
    let escape = '\u{1b}';
    assert!(shown(false).contains(escape));
    assert!(!shown(true).contains(escape));
    assert!(
        !program
            .ok("list_tenants --format table")
            .out
            .contains(escape)
    );
}

#[test]
fn a_terminal_shows_a_bar_and_elsewhere_there_are_lines() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    let mut terminal = program.on_terminal("migrate_schemas --jobs 2");
    let shown = terminal.exp_eof().expect("the end");
    assert!(shown.contains("2/2"), "{shown}");
    assert!(!shown.contains("[1/2]"), "{shown}");
    assert!(shown.contains("3 schemas migrated"), "{shown}");
}
