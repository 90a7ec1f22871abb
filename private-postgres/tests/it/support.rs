//! Parents that can be killed, and questions to servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use private_postgres::Server;

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A user that is not root.
pub(crate) const NOBODY: u32 = 65534;

/// Waits until `happened`, and fails with `what` if it does not.
#[track_caller]
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn process_exists(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

/// Sends a signal, by its name.
pub(crate) fn kill(signal: &str, target: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -s {signal} -- {target}")])
        .status();
    assert!(
        status.expect("sh runs").success(),
        "kill -s {signal} {target}"
    );
}

/// Asserts that a server answers PostgreSQL's smallest request, that for encryption.
#[track_caller]
pub(crate) fn assert_answers(socket_dir: &Path) {
    let mut stream = UnixStream::connect(socket_dir.join(".s.PGSQL.5432")).expect("a socket");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
        .write_all(&[0, 0, 0, 8, 4, 210, 22, 47])
        .expect("a request");
    let mut answer = [0];
    std::io::Read::read_exact(&mut stream, &mut answer).expect("an answer");
    assert!(matches!(answer, [b'N' | b'S']), "{answer:?}");
}

/// The output of `psql -c SQL`, or `None` if this PostgreSQL comes without psql.
pub(crate) fn psql(server: &Server, url: &str, sql: &str) -> Option<String> {
    let psql = server.bin_dir().join("psql");
    if !psql.exists() {
        println!("skipped: there is no {}", psql.display());
        return None;
    }
    let output = Command::new(psql)
        .args(["-X", "-A", "-t", "-q", "-c", sql, url])
        .output();
    let output = output.expect("psql runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .trim()
            .to_owned(),
    )
}

/// Another process that has a server; see `parent` in `lifetime.rs`.
pub(crate) struct Parent {
    pub(crate) process: Child,
    pub(crate) socket_dir: PathBuf,
    pub(crate) server_pid: u32,
    announced: mpsc::Receiver<String>,
}

impl Parent {
    /// This test binary again, running only its test `test`, as a process to be changed further.
    pub(crate) fn command(test: &str, mode: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a name"));
        command
            .args(["--exact", test, "--nocapture"])
            .env("PARENT_MODE", mode);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// The same as a user who is not root. `scratch` holds the binary and all that it writes.
    pub(crate) fn plain_command(test: &str, mode: &str, scratch: &Scratch) -> Command {
        let mut command = Parent::command(test, mode);
        if rustix::process::geteuid().is_root() {
            // The test binary may be in a directory that is closed to others.
            let copy = scratch.0.join("it");
            std::fs::copy(command.get_program(), &copy).expect("a copy");
            command = Command::new(copy);
            command
                .args(["--exact", test, "--nocapture"])
                .env("PARENT_MODE", mode);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .uid(NOBODY)
                .gid(NOBODY);
        }
        command
            .current_dir("/")
            .env("HOME", &scratch.0)
            .env("XDG_CACHE_HOME", &scratch.0);
        command
    }

    pub(crate) fn spawn(mode: &str) -> Parent {
        Parent::spawn_command(&mut Parent::command("lifetime::parent", mode))
    }

    pub(crate) fn spawn_command(command: &mut Command) -> Parent {
        let mut process = command.spawn().expect("a parent");
        let stdout = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, announced) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // libtest may have begun the line.
                if let Some((_, server)) = line.split_once("server: ") {
                    let _ = sender.send(server.to_owned());
                }
            }
        });
        let (socket_dir, server_pid) = (PathBuf::new(), 0);
        let mut parent = Parent {
            process,
            socket_dir,
            server_pid,
            announced,
        };
        (parent.server_pid, parent.socket_dir) = parent.next();
        parent
    }

    /// The next process identifier and directory that the parent tells.
    pub(crate) fn next(&self) -> (u32, PathBuf) {
        let line = self
            .announced
            .recv_timeout(LIMIT)
            .expect("the parent tells what it has");
        let (pid, dir) = line.split_once(' ').expect("two words");
        (pid.parse().expect("a number"), dir.into())
    }

    /// Waits for the end of the parent.
    pub(crate) fn reap(&mut self) {
        eventually("the parent ends", || {
            self.process.try_wait().expect("a child").is_some()
        });
    }

    #[track_caller]
    pub(crate) fn assert_server_goes(&self) {
        eventually("PostgreSQL ends", || !process_exists(self.server_pid));
        eventually("the directory is removed", || !self.socket_dir.exists());
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says what a [`Parent`] has.
pub(crate) fn announce(server: &Server) {
    println!("server: {} {}", server.pid(), server.socket_dir().display());
}

/// An empty directory in `/tmp`, open to all users.
pub(crate) fn scratch() -> Scratch {
    let path = PathBuf::from(format!("/tmp/pp-test-{:016x}", {
        use std::hash::BuildHasher as _;
        std::collections::hash_map::RandomState::new().hash_one(0)
    }));
    std::fs::create_dir(&path).expect("a new directory");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("open to all");
    Scratch(path)
}

pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
