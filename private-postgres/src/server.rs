//! A running server.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::binaries::{self, Binaries};
use crate::command::User;
use crate::directory::{self, Directory};
use crate::error::Attempt as _;
use crate::supervisor::{Cluster, Supervisor, pid_in};
use crate::{Builder, Error};

/// A private PostgreSQL server, stopped and removed when it is dropped or its process ends.
#[derive(Debug)]
pub struct Server {
    pub(crate) directory: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) pid: u32,
    /// Ends the server when dropped.
    pub(crate) _holder: Holder,
}

/// What keeps a server running.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "held, not read: the end of either is noticed by the supervisor"
)]
pub(crate) enum Holder {
    /// This process started the server.
    Starter(Supervisor),
    /// Another process started it, and this one writes to the same pipe.
    Joiner(fs::File),
}

impl Server {
    /// Starts a server with PostgreSQL's defaults, except that it does not wait for the disk.
    ///
    /// # Errors
    ///
    /// Every [`Error`] means that there is no server; nothing is left behind.
    pub fn start() -> Result<Server, Error> {
        Server::builder().start()
    }

    /// Describes a server that differs from the one of [`Server::start`].
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The URL of the database `postgres`, for the superuser `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database on this server. It is not made by asking for its URL.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        let host = percent_encoded(self.directory.as_os_str().as_bytes());
        format!(
            "postgresql://postgres@{host}:5432/{}",
            percent_encoded(database.as_bytes())
        )
    }

    /// The major version of PostgreSQL, such as 17.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The directory of `postgres` and, in most installations, `psql` and `pg_dump`.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.binaries.dir
    }

    /// The directory of the socket `.s.PGSQL.5432`, which is removed with the server.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.directory
    }

    /// The process identifier of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.directory.join("log"))
    }
}

pub(crate) fn start(builder: &Builder) -> Result<Server, Error> {
    let user = User::instead_of_root();
    directory::sweep(user);
    settings_leave_the_socket_alone(builder)?;
    let kept = builder.keep_in.as_deref().and_then(major_in);
    if let (Some(kept), Some(asked), Some(path)) = (kept, builder.major, &builder.keep_in)
        && kept != asked
    {
        return Err(Error::OtherMajor {
            directory: path.clone(),
            kept,
            asked,
        });
    }
    let binaries = binaries::find(kept.or(builder.major), user)?;
    let lock = builder.keep_in.as_deref();
    let lock = lock.map(|path| keep(path, user)).transpose()?;
    let directory = Directory::create(user)?;
    let data = match &builder.keep_in {
        Some(path) => absolute(path)?.join("data"),
        None => directory.path.join("data"),
    };
    Cluster {
        builder,
        binaries,
        directory,
        data,
        lock,
        user,
    }
    .start(None)
}

/// Where the server is found is not the caller's choice: [`Server::url`] says it.
fn settings_leave_the_socket_alone(builder: &Builder) -> Result<(), Error> {
    const OURS: [&str; 3] = ["port", "unix_socket_directories", "data_directory"];
    let mut names = builder.settings.iter().map(|(name, _)| name);
    // PostgreSQL takes `Unix-Socket-Directories` too.
    let ours = |name: &&String| OURS.contains(&name.to_lowercase().replace('-', "_").as_str());
    match names.find(ours) {
        Some(name) => Err(Error::Setting { name: name.clone() }),
        None => Ok(()),
    }
}

/// The major version of the cluster that is kept in `path`, if there is one.
fn major_in(path: &Path) -> Option<u32> {
    let version = fs::read_to_string(path.join("data/PG_VERSION")).ok()?;
    version.trim().parse().ok()
}

/// Makes the directory of a cluster that outlives its server, and takes its lock.
fn keep(path: &Path, user: Option<User>) -> Result<fs::File, Error> {
    let make = || format!("make the directory {}", path.display());
    fs::create_dir_all(path).attempt(make)?;
    let is_empty = fs::read_dir(path).attempt(make)?.next().is_none();
    if let (Some(User { uid, gid }), true) = (user, is_empty) {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).attempt(make)?;
    }
    if let Some(user) = user
        && let Some(closed) = user.kept_out_by(path).attempt(make)?
    {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(denied).attempt(|| {
            format!(
                "enter {} as user {}, who runs PostgreSQL in place of root: \
                 keep the cluster elsewhere, or let that user in",
                closed.display(),
                user.uid
            )
        });
    }
    let lock_path = path.join("lock");
    let lock = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&lock_path);
    let lock = lock.attempt(|| format!("open {}", lock_path.display()))?;
    // One whose parent was killed has the lock until the last of its processes is gone.
    let patience = Instant::now() + Duration::from_secs(1);
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) if Instant::now() < patience => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    directory: path.to_owned(),
                    pid: pid_in(&path.join("data/postmaster.pid")),
                });
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).attempt(|| format!("lock {}", lock_path.display()));
            }
        }
    }
    Ok(lock)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize()
        .attempt(|| format!("find {}", path.display()))
}

pub(crate) fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, &byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            text + &char::from(byte).to_string()
        }
        _ => text + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn only_unreserved_characters_are_left_as_they_are() {
        assert_eq!(
            percent_encoded(b"/tmp/private-postgres_1.~a b%\xc3\xa9"),
            "%2Ftmp%2Fprivate-postgres_1.~a%20b%25%C3%A9"
        );
    }
}
