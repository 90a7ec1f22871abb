//! Every way in which a server can fail to start.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

/// Why there is no server.
///
/// `Debug` prints the message and its cause, not the variant: it is what `fn main` prints that
/// returns an error, and what `unwrap` does, and there the reader needs the way out.
#[non_exhaustive]
pub enum Error {
    /// There is no PostgreSQL, or not the major version that was asked for.
    #[non_exhaustive]
    NotFound {
        /// The major version that was asked for.
        major: Option<u32>,
        /// Why no package was fetched instead.
        package: String,
    },
    /// An environment variable has a value that cannot be used.
    #[non_exhaustive]
    Variable {
        /// The name of the variable.
        name: &'static str,
        /// Its value, and what is wrong with it.
        problem: String,
    },
    /// The kept cluster belongs to another major version than the one asked for.
    #[non_exhaustive]
    OtherMajor {
        /// The directory given to [`Builder::keep_in`](crate::Builder::keep_in).
        directory: PathBuf,
        /// The major version that made the cluster.
        kept: u32,
        /// The major version that was asked for.
        asked: u32,
    },
    /// The kept cluster already has a server.
    #[non_exhaustive]
    InUse {
        /// The directory given to [`Builder::keep_in`](crate::Builder::keep_in).
        directory: PathBuf,
        /// The process identifier of that server, unless it is just starting.
        pid: Option<u32>,
    },
    /// A setting that says where the server is found, which is not the caller's choice.
    #[non_exhaustive]
    Setting {
        /// The name given to [`Builder::setting`](crate::Builder::setting).
        name: String,
    },
    /// PostgreSQL, or the making of its cluster, ended instead of becoming ready.
    #[non_exhaustive]
    Died {
        /// The last lines of the log.
        log: String,
    },
    /// PostgreSQL was not ready in time.
    #[non_exhaustive]
    TimedOut {
        /// The time it was given.
        after: Duration,
        /// The last lines of the log.
        log: String,
    },
    /// The operating system refused something.
    #[non_exhaustive]
    System {
        /// What was attempted.
        attempt: String,
        /// The refusal.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { major, package } => {
                f.write_str("there is no PostgreSQL")?;
                if let Some(major) = major {
                    write!(f, " {major}")?;
                }
                let install = install_command(*major);
                write!(f, " on this machine: install it with `{install}`, ")?;
                f.write_str("or name the directory of its binaries in PRIVATE_POSTGRES_BIN")?;
                write!(f, " (no package was fetched instead: {package})")
            }
            Error::Variable { name, problem } => write!(f, "{name} is {problem}"),
            Error::OtherMajor {
                directory,
                kept,
                asked,
            } => write!(
                f,
                "{} holds a cluster of PostgreSQL {kept}, not {asked}: \
                 keep the cluster of PostgreSQL {asked} in another directory",
                directory.display(),
            ),
            Error::InUse { directory, pid } => {
                write!(
                    f,
                    "the cluster in {} already has a server",
                    directory.display()
                )?;
                if let Some(pid) = pid {
                    write!(f, ", process {pid}")?;
                }
                f.write_str(": connect to that one, end it, or keep a cluster in another directory")
            }
            Error::Setting { name } => write!(
                f,
                "the setting {name} can't be changed, since `Server::url` says where the server \
                 is found: remove it; `listen_addresses` opens it to TCP on port 5432",
            ),
            Error::Died { log } => {
                f.write_str("PostgreSQL ended instead of starting")?;
                // What a container with `--user 1000` is told.
                if log.contains("could not look up effective user ID") {
                    f.write_str(
                        ": it needs a name for the user that runs it: add a line to \
                         /etc/passwd, or set DATABASE_URL to use another server",
                    )?;
                }
                write!(f, "; the end of its log:\n{log}")
            }
            Error::TimedOut { after, log } => write!(
                f,
                "PostgreSQL was not ready after {after:?}: give it a longer start_timeout; \
                 the end of its log:\n{log}",
            ),
            Error::System { attempt, .. } => write!(f, "could not {attempt}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match std::error::Error::source(self) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Says what could not be done when the operating system refuses it.
pub(crate) trait Attempt<T> {
    /// Completes the sentence "could not …".
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System {
            attempt: what(),
            source: error.into(),
        })
    }
}

/// The one command that installs PostgreSQL on this system.
fn install_command(major: Option<u32>) -> String {
    let at_least = |first: &str| {
        first
            .lines()
            .any(|path| std::path::Path::new(path).exists())
    };
    if cfg!(target_os = "macos") {
        return format!(
            "brew install postgresql@{}",
            major.unwrap_or(crate::package::NEWEST)
        );
    }
    let major = major.map(|major| major.to_string()).unwrap_or_default();
    if at_least("/usr/bin/apt-get") {
        let dash = if major.is_empty() { "" } else { "-" };
        format!("apt-get install postgresql{dash}{major}")
    } else if at_least("/usr/bin/dnf\n/usr/bin/yum") {
        "dnf install postgresql-server postgresql-contrib".into()
    } else if at_least("/sbin/apk") {
        format!("apk add postgresql{major} postgresql{major}-contrib")
    } else if at_least("/usr/bin/pacman") {
        "pacman -S postgresql".into()
    } else if at_least("/usr/bin/zypper") {
        format!("zypper install postgresql{major}-server postgresql{major}-contrib")
    } else {
        "your package manager (the package is often called postgresql-server)".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_the_message_with_its_cause() {
        let error = Error::NotFound {
            major: Some(17),
            package: "there is no npm".into(),
        };
        assert_eq!(format!("{error:?}"), error.to_string());
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Err::<(), _>(refused).attempt(|| "make it".into());
        let error = error.expect_err("refused");
        assert_eq!(format!("{error:?}"), "could not make it: permission denied");
    }
}
