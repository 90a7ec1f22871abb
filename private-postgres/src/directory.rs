//! The private directory of a server: its making, its lock, and the sweeping of abandoned ones.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::BuildHasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};

use crate::Error;
use crate::command::User;
use crate::error::Attempt as _;

pub(crate) const PREFIX: &str = "private-postgres-";

/// A socket's path holds 103 bytes on macOS and 107 on Linux; ours adds up to 49 to this.
const MAX_PARENT_BYTES: usize = 54;

/// A directory that is ours alone until both this process and its supervisor are gone.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) lock: File,
}

impl Directory {
    /// Makes a directory with a random name, owned by `user`.
    pub(crate) fn create(user: Option<User>) -> Result<Directory, Error> {
        let parent = parent(user);
        let mut refused = None;
        for _ in 0..100 {
            let name = format!(
                "{PREFIX}{:08x}",
                RandomState::new().hash_one(0) & 0xffff_ffff
            );
            let error = match Directory::create_at(parent.join(name), user) {
                Ok(directory) => return Ok(directory),
                Err(error) => error,
            };
            // The name is taken, or a sweeper was there.
            let another_may_do = matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
            );
            refused = Some(error);
            if !another_may_do {
                break;
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
            .attempt(|| format!("make a directory in {} (see TMPDIR)", parent.display()))
    }

    /// Makes the directory `path`, which does not exist.
    ///
    /// Between the making of the directory and of its lock a sweeper may remove it, so whoever
    /// holds the lock makes sure that it is still the directory's.
    pub(crate) fn create_at(path: PathBuf, user: Option<User>) -> io::Result<Directory> {
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = lock(&path).inspect_err(|_| {
            // Only if it is empty: it may be another's by now.
            let _ = fs::remove_dir(&path);
        })?;
        if let Some(User { uid, gid }) = user {
            chown(&path, Some(uid), Some(gid)).inspect_err(|_| {
                let _ = fs::remove_dir_all(&path);
            })?;
        }
        Ok(Directory { path, lock })
    }
}

/// Makes the lock of the directory `path` and takes it.
fn lock(path: &Path) -> io::Result<File> {
    let lock_path = path.join("lock");
    let lock = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&lock_path)?;
    lock.try_lock()?;
    let (ours, there) = (lock.metadata()?, fs::metadata(&lock_path)?);
    if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(lock)
}

/// Where private directories are made: TMPDIR if its name is short enough and, for root, the
/// user that runs the server can enter it, or else `/tmp`.
pub(crate) fn parent(user: Option<User>) -> PathBuf {
    let is_open = |dir: &Path| {
        user.is_none_or(|user| user.kept_out_by(dir).is_ok_and(|closed| closed.is_none()))
    };
    env::var_os("TMPDIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .filter(|dir| dir.as_os_str().as_bytes().len() <= MAX_PARENT_BYTES)
        .filter(|dir| is_open(dir))
        .unwrap_or_else(|| "/tmp".into())
}

/// Removes the directories whose process and supervisor were both killed.
///
/// If their PostgreSQL is still there, it misses its lock file and stops within a minute; but not
/// that of a kept cluster, whose lock file is not here.
pub(crate) fn sweep(user: Option<User>) {
    for entry in fs::read_dir(parent(user)).into_iter().flatten().flatten() {
        let named = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        if named && is_ours(&entry.path(), user) {
            // What cannot be removed now is left to the next sweep.
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

/// Whether `path` is a directory that this process, or one like it, has made.
pub(crate) fn is_ours(path: &Path, user: Option<User>) -> bool {
    let me = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| {
        let owner = found.uid();
        found.is_dir() && (owner == me || user.is_some_and(|user| owner == user.uid))
    })
}

/// Whether `directory` is gone: it has no living owner, and nothing kept it from being removed.
pub(crate) fn remove_if_abandoned(directory: &Path) -> io::Result<bool> {
    let lock_path = directory.join("lock");
    let is_file = |path: &Path| fs::symlink_metadata(path).map(|found| found.is_file());
    match is_file(&lock_path) {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Either it was made this instant, and making it fails if it is removed, or somebody
            // is busy removing it, or was killed while doing so.
            let age = fs::metadata(directory)?
                .modified()?
                .elapsed()
                .unwrap_or_default();
            if fs::remove_dir(directory).is_err() && age > Duration::from_mins(10) {
                fs::remove_dir_all(directory)?;
            }
            return Ok(!directory.exists());
        }
        Err(error) => return Err(error),
    }
    let lock = File::open(&lock_path)?;
    match lock.try_lock() {
        Ok(()) if is_still_at(&lock, &lock_path)? => {}
        Ok(()) | Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The lock file last, so that another sweep finds what this one could not finish.
    match fs::remove_dir_all(directory.join("data")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::remove_dir_all(directory)?,
    }
    Ok(true)
}

/// Whether `file` has not been removed, or replaced, since it was opened.
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}
