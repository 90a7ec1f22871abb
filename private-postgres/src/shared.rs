//! One server for a whole process, or for a whole test run.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, process};

use rustix::fs::OFlags;

use crate::binaries::{self, Binaries};
use crate::command::{self, User};
use crate::directory::{self, Directory};
use crate::error::Attempt as _;
use crate::server::Holder;
use crate::supervisor::{Cluster, NamedPipe, ready_pid};
use crate::{Error, Server};

/// How long a process waits for the server of another before it starts its own.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(10);

/// Two seconds: enough from the end of one test process to the start of the next.
const LINGER: u32 = 20;

/// The server of this process, started by the first call, for statics and test binaries.
///
/// `cargo nextest` runs every test in a process of its own. All processes of such a run (with the
/// same `NEXTEST_RUN_ID`) get the same server, which goes two seconds after the last of them. So
/// tests that use it should not meet in one database.
///
/// # Errors
///
/// Returns the [`Error`] of [`Server::start`]; the next call tries again.
pub fn shared() -> Result<&'static Server, Error> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = SERVER.get() {
        return Ok(server);
    }
    let server = match env::var_os("NEXTEST_RUN_ID").filter(|id| !id.is_empty()) {
        Some(run) => of_run(run)?,
        None => Server::start()?,
    };
    Ok(SERVER.get_or_init(|| server))
}

/// The server of a test run: that of another process, or a new one for others to join.
fn of_run(run: OsString) -> Result<Server, Error> {
    let user = User::instead_of_root();
    directory::sweep(user);
    let mut hasher = DefaultHasher::new();
    (
        run,
        env::var_os(binaries::BIN),
        env::var_os(binaries::MAJOR),
    )
        .hash(&mut hasher);
    let name = format!("{}{:016x}", directory::PREFIX, hasher.finish());
    let path = directory::parent(user).join(name);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // Only one process succeeds in making the directory.
        if let Ok(directory) = Directory::create_at(path.clone(), user) {
            return start(directory, user);
        }
        if !directory::is_ours(&path, user) {
            // It was removed just now, or it is none of ours and stays.
        } else if let Ok(server) = join(&path, deadline) {
            return Ok(server);
        } else {
            let _ = directory::remove_if_abandoned(&path);
        }
        sleep(TICK);
    }
    // A server of one's own is always right, if slower.
    Server::start()
}

fn start(directory: Directory, user: Option<User>) -> Result<Server, Error> {
    let path = directory.path.clone();
    let result = binaries::find(None, user).and_then(|binaries| {
        let pipe =
            named_pipe(&path, &binaries).attempt(|| format!("make {}/pipe", path.display()))?;
        let data = path.join("data");
        let builder = &Server::builder();
        Cluster {
            builder,
            binaries,
            directory,
            data,
            lock: None,
            user,
        }
        .start(Some(pipe))
    });
    if result.is_err() {
        // The supervisor has done this, if it came to one.
        let _ = fs::remove_dir_all(&path);
    }
    result
}

/// Makes what [`join`] looks for.
fn named_pipe(directory: &Path, binaries: &Binaries) -> io::Result<NamedPipe> {
    fs::write(directory.join("bin"), binaries.dir.as_os_str().as_bytes())?;
    let path = directory.join("pipe");
    let mut mkfifo = command::postgres("mkfifo", None);
    let made = command::output_within(mkfifo.args(["-m", "600"]).arg(&path), PATIENCE)?;
    if !made.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&made.stderr).trim().to_owned(),
        ));
    }
    // Opening one end waits for the other, unless both are opened at once.
    let both = OpenOptions::new().read(true).write(true).open(&path)?;
    let reader = File::open(&path)?;
    let writer = OpenOptions::new().write(true).open(&path)?;
    drop(both);
    Ok(NamedPipe {
        reader,
        writer,
        linger: LINGER,
    })
}

/// Joins the server in `directory`, unless it is going or not yet there.
///
/// Having opened the pipe is not enough: the supervisor may have seen the end of its previous
/// holders just before. Once it answers, it waits for the end of this process too.
fn join(directory: &Path, deadline: Instant) -> io::Result<Server> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let wait_for = |done: &dyn Fn() -> bool| {
        while !done() {
            let ended = !directory.exists() || directory.join("exited").exists();
            if ended || Instant::now() >= deadline {
                return Err(gone());
            }
            sleep(TICK);
        }
        Ok(())
    };
    let bin = fs::read(directory.join("bin"))?;
    // Without waiting for a reader: if there is none, the supervisor is gone or yet to come.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let pipe = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(directory.join("pipe"))?;
    let name = format!(
        "joined-{}-{:x}",
        process::id(),
        RandomState::new().hash_one(0)
    );
    (&pipe).write_all(format!("{name}\n").as_bytes())?;
    let answer = directory.join(name);
    wait_for(&|| answer.exists())?;
    fs::remove_file(answer)?;
    let data = directory.join("data");
    wait_for(&|| ready_pid(&data, directory).is_some())?;
    let major = fs::read_to_string(data.join("PG_VERSION"))?.trim().parse();
    Ok(Server {
        directory: directory.to_owned(),
        binaries: Binaries {
            dir: OsString::from_vec(bin).into(),
            major: major.map_err(io::Error::other)?,
        },
        pid: ready_pid(&data, directory).ok_or_else(gone)?,
        _holder: Holder::Joiner(pipe),
    })
}
