//! Root runs PostgreSQL as somebody else; everybody else runs it as themselves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;

use crate::support::{NOBODY, Parent, scratch};

fn owner(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("a directory").uid()
}

#[test]
fn the_directory_is_closed_and_belongs_to_the_user_that_runs_postgres() {
    let parent = Parent::spawn("wait");
    let mode = fs::metadata(&parent.socket_dir)
        .expect("a directory")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let me = rustix::process::geteuid().as_raw();
    if me == 0 {
        assert_ne!(owner(&parent.socket_dir), 0);
    } else {
        assert_eq!(owner(&parent.socket_dir), me);
    }
}

#[test]
fn a_user_who_is_not_root_can_have_a_server() {
    let scratch = scratch();
    let mut command = Parent::plain_command("lifetime::parent", "wait", &scratch);
    let mut parent = Parent::spawn_command(&mut command);
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(owner(&parent.socket_dir), if me == 0 { NOBODY } else { me });
    parent.process.kill().expect("kill");
    parent.reap();
    parent.assert_server_goes();
}

#[test]
fn a_user_without_a_name_is_told_to_have_one() {
    // No list of users has this one.
    const NAMELESS: u32 = 1_234_567;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    let scratch = scratch();
    let mut command = Parent::plain_command("binaries::parent", "", &scratch);
    let output = command
        .uid(NAMELESS)
        .gid(NAMELESS)
        .output()
        .expect("it runs");
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("add a line to /etc/passwd"), "{output}");
    assert!(output.contains("DATABASE_URL"), "{output}");
}

#[test]
fn roots_tmpdir_is_used_if_postgres_can_enter_it() {
    let scratch = scratch();
    let directory = |mode: u32| {
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).expect("a mode");
        let mut command = Parent::command("lifetime::parent", "wait");
        let parent = Parent::spawn_command(command.env("TMPDIR", &scratch.0));
        parent.socket_dir.clone()
    };
    assert!(directory(0o777).starts_with(&scratch.0));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(directory(0o700).starts_with(&scratch.0), !is_root);
}
