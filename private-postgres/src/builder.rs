//! What a server is asked to be.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Server, server};

/// Describes a [`Server`] before it starts. See [`Server::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before start"]
pub struct Builder {
    pub(crate) major: Option<u32>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) durable: bool,
    pub(crate) keep_in: Option<PathBuf>,
    pub(crate) start_timeout: Duration,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            major: None,
            settings: Vec::new(),
            durable: false,
            keep_in: None,
            start_timeout: Duration::from_mins(1),
        }
    }

    /// Sets the major version of PostgreSQL, such as 17.
    ///
    /// Defaults to that of a [kept](Builder::keep_in) cluster, or else to the one that
    /// `PRIVATE_POSTGRES_MAJOR` names, or else to the first on `PATH` or the newest installed,
    /// from 13 on.
    pub fn major(self, major: u32) -> Self {
        Builder {
            major: Some(major),
            ..self
        }
    }

    /// Sets one of PostgreSQL's settings, such as `("work_mem", "64MB")`. May be called repeatedly;
    /// the last value of a setting counts. Defaults to PostgreSQL's own defaults, except for
    /// `max_connections = 200` and `max_locks_per_transaction = 256`. What says where the server
    /// is found can't be set: `port`, `unix_socket_directories` and `data_directory` get
    /// [`Error::Setting`].
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Sets whether commits wait for the disk, as in production: a benchmark needs `true`.
    /// Defaults to `false`: without `fsync`, `synchronous_commit` and `full_page_writes`.
    pub fn durable(self, durable: bool) -> Self {
        Builder { durable, ..self }
    }

    /// Keeps the cluster in `directory`, which is made if it does not exist, and starts from it
    /// the next time. Only one server at a time can have it; a second gets [`Error::InUse`].
    /// For root, an empty directory is given to the user that runs PostgreSQL, who has to be able
    /// to enter those above it.
    ///
    /// Defaults to a new cluster for every server, removed with it.
    pub fn keep_in(self, directory: impl Into<PathBuf>) -> Self {
        Builder {
            keep_in: Some(directory.into()),
            ..self
        }
    }

    /// Sets how long [`start`](Builder::start) waits for PostgreSQL, not counting the download of
    /// a package. Defaults to 60 seconds.
    pub fn start_timeout(self, start_timeout: Duration) -> Self {
        Builder {
            start_timeout,
            ..self
        }
    }

    /// Starts the server, and returns once it accepts connections.
    ///
    /// # Errors
    ///
    /// Every [`Error`] means that there is no server; nothing is left behind.
    pub fn start(self) -> Result<Server, Error> {
        server::start(&self)
    }
}
