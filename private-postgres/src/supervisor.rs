//! The shell script that outlives this process just long enough to clean up after it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::binaries::Binaries;
use crate::command::{self, User};
use crate::directory::Directory;
use crate::error::Attempt as _;
use crate::server::{Holder, read_lossy};
use crate::{Builder, Error, Server};

const SCRIPT: &str = include_str!("supervisor.sh");
const TICK: Duration = Duration::from_millis(5);

/// Longer than the script gives PostgreSQL before it uses SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// All that a server needs before it can start.
pub(crate) struct Cluster<'a> {
    pub(crate) builder: &'a Builder,
    pub(crate) binaries: Binaries,
    pub(crate) directory: Directory,
    pub(crate) data: PathBuf,
    /// The lock of a kept cluster.
    pub(crate) lock: Option<File>,
    pub(crate) user: Option<User>,
}

/// A pipe that other processes can hold too.
pub(crate) struct NamedPipe {
    pub(crate) reader: File,
    pub(crate) writer: File,
    /// How many tenths of a second the server waits for another holder.
    pub(crate) linger: u32,
}

impl Cluster<'_> {
    /// Starts the server, held by `pipe` or else by a pipe of this process alone.
    pub(crate) fn start(self, pipe: Option<NamedPipe>) -> Result<Server, Error> {
        let builder = self.builder;
        let mut script = command::postgres("/bin/sh", self.user);
        script
            .args(["-c", SCRIPT, "private-postgres"])
            .arg(&self.directory.path)
            .arg(&self.data);
        script.arg(if builder.keep_in.is_some() {
            "INT"
        } else {
            "QUIT"
        });
        script.arg(pipe.as_ref().map_or(0, |pipe| pipe.linger).to_string());
        script
            .arg(&self.binaries.dir)
            .args(initdb_flags(builder.durable))
            .arg("--");
        for (name, value) in settings(builder) {
            script.arg("-c").arg(format!("{name}={value}"));
        }
        // In a process group of its own, Ctrl-C does not reach it.
        script.process_group(0);
        let doing = || "start /bin/sh".to_owned();
        script.stdout(self.directory.lock.try_clone().attempt(doing)?);
        script.stderr(self.lock.map_or_else(Stdio::null, Stdio::from));
        let (stdin, writer) = pipe.map_or_else(
            || (Stdio::piped(), None),
            |pipe| (Stdio::from(pipe.reader), Some(pipe.writer)),
        );
        script.stdin(stdin);
        let child = script.spawn().attempt(doing)?;
        // From here on, an early return stops what was started.
        let supervisor = Supervisor {
            child,
            writer,
            directory: self.directory,
            data: self.data,
        };
        let pid = supervisor.wait_until_ready(builder.start_timeout)?;
        let directory = supervisor.directory.path.clone();
        Ok(Server {
            directory,
            binaries: self.binaries,
            pid,
            _holder: Holder::Starter(supervisor),
        })
    }
}

fn initdb_flags(durable: bool) -> Vec<&'static str> {
    let mut flags = vec![
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ];
    if !durable {
        flags.push("-N");
    }
    flags
}

/// The caller's settings come after ours, so that they count.
fn settings(builder: &Builder) -> impl Iterator<Item = (&str, &str)> {
    const ALWAYS: [(&str, &str); 4] = [
        ("listen_addresses", ""),
        ("port", "5432"),
        ("max_connections", "200"),
        ("max_locks_per_transaction", "256"),
    ];
    const IN_A_HURRY: [(&str, &str); 3] = [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
    ];
    let hurry: &[_] = if builder.durable { &[] } else { &IN_A_HURRY };
    let callers = builder
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    ALWAYS.iter().chain(hurry).copied().chain(callers)
}

/// The running script, and the end of the pipe that it waits on.
#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    /// The end of a named pipe; that of a private one is in `child`.
    writer: Option<File>,
    directory: Directory,
    data: PathBuf,
}

impl Supervisor {
    /// Waits for line 8 of PostgreSQL's lock file, and returns line 1, the process identifier.
    fn wait_until_ready(&self, limit: Duration) -> Result<u32, Error> {
        let deadline = Instant::now() + limit;
        let directory = &self.directory.path;
        loop {
            if let Some(pid) = ready_pid(&self.data, directory)
                && pid_in(&directory.join("pid")) == Some(pid)
            {
                return Ok(pid);
            }
            if directory.join("exited").exists() {
                return Err(Error::Died {
                    log: last_lines(directory),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut {
                    after: limit,
                    log: last_lines(directory),
                });
            }
            sleep(TICK);
        }
    }

    /// Does the script's work if it was killed: stops PostgreSQL and removes the directory.
    fn clean_up(&self) {
        let directory = &self.directory.path;
        let pid = pid_in(&directory.join("pid")).filter(|_| !directory.join("exited").exists());
        // The lock file makes sure that the number does not belong to another process by now.
        let pid = pid.filter(|&pid| pid_in(&self.data.join("postmaster.pid")) == Some(pid));
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, Signal::QUIT);
            wait_until(Duration::from_secs(10), || test_kill_process(pid).is_err());
        }
        let _ = fs::remove_dir_all(directory);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.writer.take());
        drop(self.child.stdin.take());
        let child = &mut self.child;
        if !wait_until(STOP_TIMEOUT, || !matches!(child.try_wait(), Ok(None))) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.directory.path.exists() {
            self.clean_up();
        }
    }
}

fn wait_until(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !happened() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(TICK);
    }
    true
}

/// The process identifier in PostgreSQL's lock file, once that says that it is ready.
///
/// A lock file that a crash left in a kept cluster says so too, perhaps under the same process
/// identifier: the socket's directory is another.
pub(crate) fn ready_pid(data: &Path, directory: &Path) -> Option<u32> {
    let lock_file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = lock_file.lines().map(str::trim).collect();
    let socket = Path::new(lines.get(4)?);
    let ready = *lines.get(7)? == "ready" && socket.file_name() == directory.file_name();
    ready.then(|| lines[0].parse().ok()).flatten()
}

/// The process identifier in the first line of a file.
pub(crate) fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file)
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}

fn last_lines(directory: &Path) -> String {
    let log = read_lossy(&directory.join("log"));
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_a_crash_left_says_nothing() {
        let data = std::env::temp_dir().join(format!("ready-pid-{}", std::process::id()));
        fs::create_dir_all(&data).expect("a directory");
        let lock_file =
            "42\n/kept/data\n1700000000\n5432\n/tmp/private-postgres-1\n\n  1 2\nready   \n";
        fs::write(data.join("postmaster.pid"), lock_file).expect("a file");
        let pid_for = |directory: &str| ready_pid(&data, Path::new(directory));
        assert_eq!(pid_for("/tmp/private-postgres-1"), Some(42));
        assert_eq!(pid_for("/tmp/private-postgres-2"), None);
        fs::remove_dir_all(&data).expect("the directory can go");
    }
}
