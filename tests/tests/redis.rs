//! A Redis for a test.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenant_schemas_tests::skipped;

/// A Redis of its own, on a socket, gone with this value.
pub(crate) struct Redis {
    process: Child,
    directory: TempDir,
}

impl Redis {
    /// `None` where Redis is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| ())
    }

    /// One whose clock is an hour ahead of ours; `None` where there is no C compiler either.
    pub(crate) fn start_ahead() -> Option<Self> {
        let directory = TempDir::with_prefix("ahead").expect("a directory");
        let library = directory.path().join("ahead.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("celery/ahead.c"))
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            skipped("a Redis with a clock of its own", "a C compiler");
            return None;
        }
        Self::start_with(|redis| {
            redis.env("LD_PRELOAD", &library);
        })
    }

    fn start_with(settings: impl FnOnce(&mut Command)) -> Option<Self> {
        let directory = TempDir::with_prefix("redis").expect("a directory");
        let socket = directory.path().join("socket");
        let mut command = Command::new("redis-server");
        settings(&mut command);
        let process = command
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            skipped("a queue in Redis", "apt-get install redis-server");
            return None;
        };
        let redis = Self { process, directory };
        let patience = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < patience, "Redis does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Some(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        fs::canonicalize(self.directory.path().join("socket")).expect("the socket is there")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
