//! The database that is kept between calls.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use private_postgres::{Error, Server};
use tenant_schemas::BoxError;

/// The directory of the private server, if `TENANT_SCHEMAS_DATA` names no other.
const DIRECTORY: &str = ".tenant-schemas";

/// How long to wait for another call to let go of the directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// The URL of the database: `DATABASE_URL`, or that of a private server.
pub(crate) fn url() -> Result<String, BoxError> {
    match env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => private(),
    }
}

fn private() -> Result<String, BoxError> {
    // The server is there for as long as the process.
    static SERVER: OnceLock<Server> = OnceLock::new();
    let directory = env::var_os("TENANT_SCHEMAS_DATA").unwrap_or_else(|| DIRECTORY.into());
    let directory = PathBuf::from(directory);
    let deadline = Instant::now() + PATIENCE;
    let server = loop {
        match Server::builder().keep_in(&directory).start() {
            // The server of the last call is on its way out, or another call is at work.
            Err(Error::InUse { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(20));
            }
            result => break result?,
        }
    };
    Ok(SERVER.get_or_init(|| server).url())
}
