//! The session in the README is what the program really prints.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The heading under which the session stands.
const HEADING: &str = "## The command line";

#[test]
fn the_session_in_the_readme_is_what_is_printed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let (_, section) = readme.split_once(HEADING).expect("a section");
    let (_, block) = section.split_once("```console\n").expect("a session");
    let (session, _) = block.split_once("```").expect("an end");
    let server = private_postgres::Server::start().expect("a server");
    let mut printed = String::new();
    for line in session.lines() {
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        printed.push_str(line);
        printed.push('\n');
        printed.push_str(&run(command, &server.url()));
    }
    assert_eq!(printed, session, "copy what is printed into the README");
}

/// Everything that a command prints, in the order in which it does.
fn run(command: &str, url: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_manage"));
    let directory = program.parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}; }} 2>&1")])
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("DATABASE_URL", url)
        .output()
        .expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
