//! How a command ends.

use std::io;

use crate::error::{BoxError, Error};

/// What a command returns.
pub(super) type Done = Result<Exit, Failure>;

/// How a command ended that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    /// Some tenants failed, or the one thing that was asked for.
    Failed,
    /// The command line was wrong.
    Usage,
    /// `--check` found something pending.
    Pending,
    /// The work was interrupted, and some is left.
    Interrupted,
    /// Another program ran in our place and ended so.
    Other(u8),
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Interrupted => 130,
            Self::Other(code) => code,
        }
    }
}

/// Why a command did not run to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line was wrong, in words.
    Usage(String),
    /// The command line was wrong, or asked for help.
    CommandLine(clap::Error),
    /// Something failed.
    Error(BoxError),
    /// Whoever read our output has had enough.
    NobodyReads,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

/// What was done is done, and the exit code says so, whether or not anyone reads the output.
pub(super) fn heard<E: Into<Failure>>(written: Result<(), E>) -> Result<(), Failure> {
    match written.map_err(Into::into) {
        Err(Failure::NobodyReads) => Ok(()),
        written => written,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        Self::Error(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Error(error.into())
        }
    }
}
