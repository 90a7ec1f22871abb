//! Ctrl-C: what is at hand is finished, what is left is named, and running again does it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use rustix::process::{Pid, Signal, kill_process};
use tenant_schemas_tests::skipped;

use crate::support::{Program, ends_with};

fn interrupt(child: &Child) {
    signal(child, Signal::INT);
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("a signal");
}

/// Whether a process is not told of a signal.
fn ignores(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("a process");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.expect("a line").trim();
    let ignored = u64::from_str_radix(ignored, 16).expect("a set of signals");
    ignored & (1 << (signal.as_raw() - 1)) != 0
}

/// The program with the signals as a shell has them, whatever ignores some runs the tests.
fn command(program: &Program) -> Command {
    launched(program, &["env", "--default-signal"])
}

/// The program, started by something that puts itself in its place.
fn launched(program: &Program, launcher: &[&str]) -> Command {
    let plain = program.command();
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).arg(plain.get_program());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Reads standard error up to a line with these words, and returns all of it.
fn read_to(err: &mut impl BufRead, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        assert_ne!(
            err.read_line(&mut text).expect("a line"),
            0,
            "{words} did not come: {text}"
        );
    }
    text
}

#[test]
fn an_interrupted_migration_finishes_the_tenant_at_hand_and_is_resumed() {
    let program = Program::with_tenants(&["a", "b", "c"]).words("lock");
    let mut holder = program.connect();
    holder
        .batch_execute("SELECT pg_advisory_lock(4242)")
        .expect("the lock");
    let mut child = command(&program)
        .args(["migrate_schemas", "--tenant", "--format", "tsv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    program.wait_for_waiting("1");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    interrupt(&child);
    read_to(&mut err, "interrupted: finishing what is at hand");
    holder
        .batch_execute("SELECT pg_advisory_unlock(4242)")
        .expect("given back");
    let rest = read_to(&mut err, "left to do");
    assert!(rest.contains("left to do: 2 schemas: b, c"), "{rest}");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        out.starts_with("a\tmigrated\t+hotels/2024-07-01-000000_wait\nb\tleft"),
        "{out}"
    );
    let again = program.ok("migrate_schemas --tenant --format tsv");
    assert_eq!(
        again.out.matches("\tmigrated\t").count(),
        2,
        "{}",
        again.out
    );
}

#[test]
fn an_interrupted_command_names_the_tenants_that_are_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b", "c"]);
    let mut child = command(&program)
        .arg("hold")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    read_to(&mut err, "holding");
    interrupt(&child);
    read_to(&mut err, "interrupted");
    std::fs::write(&file, "").expect("written");
    read_to(&mut err, "left to do: 2 schemas: b, c");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a: let go\n");
}

#[test]
fn one_after_the_other_is_interrupted_between_two() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b"]);
    let mut child = command(&program)
        .args(["all_tenants_command", "visit", "--until"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    read_to(&mut err, "holding");
    interrupt(&child);
    read_to(&mut err, "interrupted");
    std::fs::write(&file, "").expect("written");
    read_to(&mut err, "left to do: 2 schemas: a, b");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "visited public\n");
}

#[test]
fn what_ends_one_psql_begins_no_other() {
    let program = Program::with_tenants(&["a", "b"]);
    if Command::new("psql").arg("--version").output().is_err() {
        skipped("`psql`", "apt-get install postgresql-client");
        return;
    }
    for end in [Signal::INT, Signal::TERM] {
        let mut holder = program.connect();
        holder
            .batch_execute("SELECT pg_advisory_lock(4242)")
            .expect("the lock");
        let lock = "SELECT pg_advisory_xact_lock(4242), current_schema()";
        let mut child = command(&program)
            .args(["all_tenants_command", "psql", "-XAtc", lock])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        program.wait_for_waiting("1");
        signal(&child, end);
        // It is told before what is at hand is over.
        std::thread::sleep(Duration::from_millis(300));
        drop(holder);
        let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
        read_to(&mut err, "left to do: 2 schemas: a, b");
        let output = child.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(130), "{end:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "|public\n");
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::with_tenants(&["a"]);
    let mut child = command(&program)
        .arg("hold")
        .arg(directory.path().join("never"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    read_to(&mut err, "holding");
    interrupt(&child);
    read_to(&mut err, "interrupted");
    interrupt(&child);
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

#[test]
fn what_is_to_be_ignored_is_ignored_as_nohup_wants_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b"]);
    let nohup = "trap '' HUP; exec env --default-signal=INT,TERM \"$@\"";
    let mut child = launched(&program, &["sh", "-c", nohup, "nohup"])
        .arg("hold")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    read_to(&mut err, "holding");
    assert!(ignores(&child, Signal::HUP), "it has a handler of its own");
    signal(&child, Signal::HUP);
    std::fs::write(&file, "").expect("written");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(out, "a: let go\nb: let go\n");
}

#[test]
fn a_command_knows_nothing_of_what_interrupted_the_one_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("go");
    let program = Program::with_tenants(&["a", "b"]).words("twice");
    let mut child = command(&program)
        .arg("hold")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    read_to(&mut err, "holding");
    interrupt(&child);
    read_to(&mut err, "interrupted");
    std::fs::write(&file, "").expect("written");
    read_to(&mut err, "left to do: 1 schema: b");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(out, "a: let go\na: let go\nb: let go\n");
}

#[test]
fn an_interrupt_at_a_prompt_ends_the_program() {
    let program = Program::with_tenants(&["a"]);
    let mut command = command(&program);
    command.args([
        "create_tenant_superuser",
        "--schema=a",
        "--username=admin",
        "--email=x@y.z",
    ]);
    command.env("NO_COLOR", "1");
    let mut terminal = rexpect::session::spawn_command(command, Some(30_000)).expect("a terminal");
    terminal.exp_string("password: ").expect("a question");
    terminal.send_control('c').expect("typed");
    ends_with(terminal, 130);
}
