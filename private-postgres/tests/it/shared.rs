//! One server for a whole process, or a whole test run.

use std::env;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use private_postgres::shared;

use crate::support::{Parent, announce, assert_answers, kill, process_exists, scratch};

#[test]
fn the_shared_server_of_a_process_is_one() {
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| shared().expect("a server").url()))
        .collect();
    let urls: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("a URL"))
        .collect();
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
}

/// Holds the shared server until standard input ends; without `PARENT_MODE`, a test that passes.
#[test]
fn parent() {
    if env::var_os("PARENT_MODE").is_none() {
        return;
    }
    let server = shared().expect("a server");
    assert_answers(server.socket_dir());
    announce(server);
    let _ = std::io::stdin().read(&mut [0]);
    assert_answers(server.socket_dir());
}

fn holder_of(run: &str) -> Parent {
    let mut command = Parent::command("shared::parent", "");
    Parent::spawn_command(command.env("NEXTEST_RUN_ID", run).stdin(Stdio::piped()))
}

fn new_run() -> String {
    scratch().0.display().to_string()
}

#[test]
fn the_processes_of_a_run_share_a_server_until_the_last_is_gone() {
    let run = new_run();
    let mut starter = holder_of(&run);
    let mut joiner = holder_of(&run);
    assert_eq!(starter.socket_dir, joiner.socket_dir);
    assert_eq!(starter.server_pid, joiner.server_pid);
    kill("KILL", &starter.process.id().to_string());
    starter.reap();
    // Longer than the server waits for others when it has nobody.
    std::thread::sleep(Duration::from_secs(4));
    assert_answers(&joiner.socket_dir);
    let other_run = holder_of(&new_run());
    assert_ne!(joiner.socket_dir, other_run.socket_dir);
    kill("KILL", &joiner.process.id().to_string());
    joiner.reap();
    // Within the two seconds, the server is still there for the next.
    let mut late = holder_of(&run);
    assert_eq!(late.server_pid, joiner.server_pid);
    kill("KILL", &late.process.id().to_string());
    late.reap();
    late.assert_server_goes();
}

#[test]
fn processes_that_come_and_go_at_any_time_always_have_a_server() {
    let run = new_run();
    let threads: Vec<_> = (0_u64..4)
        .map(|thread| {
            let run = run.clone();
            std::thread::spawn(move || {
                for round in 0..4 {
                    // Around the two seconds after which the server goes.
                    let pause = 1900 + 70 * (thread * 4 + round) % 500;
                    let mut holder = holder_of(&run);
                    drop(holder.process.stdin.take());
                    holder.reap();
                    let status = holder.process.wait().expect("a status");
                    assert!(status.success(), "{status}");
                    std::thread::sleep(Duration::from_millis(pause));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every process had a server");
    }
    let last = holder_of(&run);
    assert!(process_exists(last.server_pid));
    let (pid, dir) = (last.server_pid, last.socket_dir.clone());
    drop(last);
    crate::support::eventually("all is gone", || !process_exists(pid) && !dir.exists());
}
