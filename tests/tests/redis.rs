//! A Redis for a test.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
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
        let directory = TempDir::with_prefix("redis").expect("a directory");
        let socket = directory.path().join("socket");
        let process = Command::new("redis-server")
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
