//! Root runs PostgreSQL as somebody else; everybody else runs it as themselves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
