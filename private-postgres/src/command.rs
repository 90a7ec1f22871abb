//! Commands that run as the right user, in an environment that leaves PostgreSQL alone.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// The user that runs PostgreSQL in place of root, which it refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The first of `directory` and those above it that this user can't enter.
    pub(crate) fn kept_out_by(self, directory: &Path) -> io::Result<Option<PathBuf>> {
        for above in directory.canonicalize()?.ancestors() {
            let found = fs::metadata(above)?;
            let may_enter = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if found.mode() & may_enter == 0 {
                return Ok(Some(above.to_owned()));
            }
        }
        Ok(None)
    }

    /// `None` unless this process is root; `postgres`, `_postgres` (macOS), or else `nobody`.
    pub(crate) fn instead_of_root() -> Option<User> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        // 65534 is what almost every system calls nobody.
        let fallback = User {
            uid: 65534,
            gid: 65534,
        };
        Some(
            ["postgres", "_postgres", "nobody"]
                .iter()
                .find_map(|name| in_passwd(&passwd, name))
                .unwrap_or(fallback),
        )
    }
}

fn in_passwd(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        // On macOS nobody is -2.
        let negative = |id: &str| id.parse().ok().map(i32::cast_unsigned);
        let mut ids = fields
            .skip(1)
            .map(|id| id.parse().ok().or_else(|| negative(id)));
        let user = User {
            uid: ids.next()??,
            gid: ids.next()??,
        };
        (found && user.uid != 0).then_some(user)
    })
}

/// A command for one of PostgreSQL's programs, run by `user` if there is one.
pub(crate) fn postgres(program: impl AsRef<OsStr>, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    // The current directory may be closed to the user, or about to be removed.
    command.current_dir("/").stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"PG") || bytes.starts_with(b"LC_") || bytes.starts_with(b"LANG") {
            command.env_remove(&name);
        }
    }
    // With these the log is in English, the default time zone the same everywhere, and the
    // shell's own tools are found even if PATH is empty.
    command
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env_remove("ENV")
        .env_remove("BASH_ENV");
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(if path.is_empty() {
        "/usr/bin:/bin"
    } else {
        ":/usr/bin:/bin"
    });
    command.env("PATH", path);
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs `command` to its end, or kills it after `limit`. Its output must be short.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no end after {limit:?}"),
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:7:::\npostgres:x:101:104:::\nbad\n";
        let user = in_passwd(passwd, "postgres").expect("a user");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(in_passwd(passwd, "nobody").is_none());
        assert!(in_passwd(passwd, "root").is_none());
        assert!(in_passwd(passwd, "bad").is_none());
        let nobody = in_passwd("nobody:*:-2:-2:::", "nobody").expect("a user");
        assert_eq!((nobody.uid, nobody.gid), (u32::MAX - 1, u32::MAX - 1));
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        let error = output_within(Command::new("sleep").arg("60"), Duration::from_millis(50))
            .expect_err("sleep is killed");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
