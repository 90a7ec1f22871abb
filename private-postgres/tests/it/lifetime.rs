//! However a parent ends, its server ends too.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use private_postgres::Server;

use crate::support::{Parent, announce, assert_answers, eventually, kill, process_exists};

/// The other side of [`Parent`]; without `PARENT_MODE`, a test that passes.
#[test]
fn parent() {
    let Ok(mode) = env::var("PARENT_MODE") else {
        return;
    };
    let server = Server::start().expect("a server");
    announce(&server);
    match mode.as_str() {
        "return" => {}
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "forget" => std::mem::forget(server),
        "grandchild" => {
            let sleep = Command::new("sleep")
                .arg("100")
                .stdout(Stdio::null())
                .spawn();
            println!("server: {} /", sleep.expect("sleep runs").id());
            thread::sleep(Duration::from_secs(100));
        }
        _ => thread::sleep(Duration::from_secs(100)),
    }
}

#[test]
fn a_dropped_server_is_gone_at_once() {
    let server = Server::start().expect("a server");
    let (pid, dir) = (server.pid(), server.socket_dir().to_owned());
    assert!(process_exists(pid) && dir.exists());
    drop(server);
    assert!(!process_exists(pid));
    assert!(!dir.exists());
}

#[test]
fn a_server_goes_when_its_parent_ends_by_itself() {
    for mode in ["return", "panic", "exit", "abort", "forget"] {
        println!("{mode}");
        let mut parent = Parent::spawn(mode);
        parent.reap();
        parent.assert_server_goes();
    }
}

#[test]
fn a_server_goes_when_its_parent_is_killed() {
    for signal in ["KILL", "TERM", "INT", "HUP", "QUIT"] {
        println!("{signal}");
        let mut parent = Parent::spawn("wait");
        assert_answers(&parent.socket_dir);
        kill(signal, &parent.process.id().to_string());
        parent.reap();
        parent.assert_server_goes();
    }
}

/// What Ctrl-C in a terminal does, and worse.
#[test]
fn a_server_goes_when_the_process_group_of_its_parent_is_killed() {
    for signal in ["INT", "KILL"] {
        let mut command = Parent::command("lifetime::parent", "wait");
        let mut parent = Parent::spawn_command(command.process_group(0));
        kill(signal, &format!("-{}", parent.process.id()));
        parent.reap();
        parent.assert_server_goes();
    }
}

#[test]
fn a_parent_killed_before_its_server_is_ready_leaves_nothing() {
    for delay in [20, 100, 300, 600, 900] {
        let tmp = crate::support::scratch();
        let mut command = Parent::command("lifetime::parent", "wait");
        // The directory is found by looking for it: where TMPDIR is not taken, it is in `/tmp`.
        let mut process = command.env("TMPDIR", &tmp.0).spawn().expect("a parent");
        thread::sleep(Duration::from_millis(delay));
        let lock = lock_held_by(process.id());
        process.kill().expect("kill");
        process.wait().expect("its end");
        if let Some(dir) = lock {
            eventually("the directory is removed", || !dir.exists());
        }
        eventually("TMPDIR is empty", || {
            fs::read_dir(&tmp.0).expect("a directory").next().is_none()
        });
    }
}

/// The private directory of which `pid` holds the lock, on systems that tell.
fn lock_held_by(pid: u32) -> Option<std::path::PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    targets
        .filter(|target| target.ends_with("lock"))
        .find_map(|lock| Some(lock.parent()?.to_owned()))
}

#[test]
fn a_surviving_grandchild_does_not_keep_the_server() {
    let mut command = Parent::command("lifetime::parent", "grandchild");
    let mut parent = Parent::spawn_command(&mut command);
    let grandchild = parent.next().0;
    kill("KILL", &parent.process.id().to_string());
    parent.reap();
    parent.assert_server_goes();
    assert!(process_exists(grandchild), "control: it survived");
    kill("KILL", &grandchild.to_string());
}

#[test]
fn a_server_whose_supervisor_was_killed_still_goes_when_dropped() {
    let server = Server::start().expect("a server");
    let (pid, dir) = (server.pid(), server.socket_dir().to_owned());
    let Some(supervisor) = supervisor(std::process::id(), &dir) else {
        return;
    };
    kill("KILL", &supervisor);
    drop(server);
    eventually("PostgreSQL ends", || !process_exists(pid));
    assert!(!dir.exists());
}

#[test]
fn what_two_killed_processes_left_is_swept_by_the_next_start() {
    let mut parent = Parent::spawn("wait");
    let Some(supervisor) = supervisor(parent.process.id(), &parent.socket_dir) else {
        return;
    };
    // Stopped, so that it cannot clean up when its parent is killed.
    kill("STOP", &supervisor);
    kill("KILL", &parent.process.id().to_string());
    kill("KILL", &supervisor);
    parent.reap();
    eventually("the directory is swept", || {
        drop(Server::start().expect("a server"));
        !parent.socket_dir.exists()
    });
    // It looks for its lock file every minute.
    eventually("PostgreSQL ends", || !process_exists(parent.server_pid));
}

/// The child of `parent` that holds the server in `dir`, on systems that tell.
fn supervisor(parent: u32, dir: &std::path::Path) -> Option<String> {
    let Ok(output) = Command::new("ps")
        .args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "args="])
        .output()
    else {
        println!("skipped: there is no ps");
        return None;
    };
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let (parent, dir) = (
        parent.to_string(),
        format!("private-postgres {} ", dir.display()),
    );
    let ours = output.lines().filter(|line| line.contains(&dir));
    let mut ours = ours.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = ours.find(|words| words[1] == parent).expect("a supervisor");
    Some(found[0].to_owned())
}
