//! A private PostgreSQL server for examples, tests and benchmarks, gone when its parent is gone.
//!
//! ```
//! let server = private_postgres::Server::start()?;
//! let url = server.url(); // postgresql://postgres@%2Ftmp%2Fprivate-postgres-…:5432/postgres
//! # assert!(url.starts_with("postgresql://postgres@%2F"), "{url}");
//! # Ok::<(), private_postgres::Error>(())
//! ```
//!
//! # What it does
//!
//! [`Server::start`] makes a cluster in a directory that only its owner can enter, starts
//! PostgreSQL on a Unix socket in that directory, and returns once it accepts connections. There
//! is no port to collide on and nothing for others to connect to.
//!
//! Dropping the [`Server`] stops PostgreSQL and removes the directory. So does any other end of
//! the process: a panic, [`std::process::exit`], Ctrl-C, `kill -9`. A small shell script holds
//! PostgreSQL and reads from a pipe whose other end is held by this process alone; when the
//! system closes that end, the script cleans up. If the script is killed as well, the next start
//! removes what it left, and PostgreSQL stops by itself within a minute of that. Only the server
//! of a [kept](Builder::keep_in) cluster then goes on until it is ended: [`Error::InUse`] names it.
//!
//! # Where PostgreSQL comes from
//!
//! 1. The directory named by `PRIVATE_POSTGRES_BIN`, and no other, if it is set.
//! 2. `PATH`: the first from 13 on.
//! 3. Where Debian, Red Hat, Homebrew and Postgres.app install it; the newest.
//! 4. A pinned and checksummed package, fetched with the `npm` client if there is one, and kept
//!    in the user's cache directory (`/var/cache` for root).
//!
//! [`Builder::major`] or `PRIVATE_POSTGRES_MAJOR` asks for one major version, and skips the others.
//! If nothing is found, [`Error::NotFound`] says how to install it.
//!
//! PostgreSQL refuses to run as root: for root it runs as the user `postgres` (`_postgres` on
//! macOS), or else `nobody`.
//!
//! # What it does not do
//!
//! It needs a Unix system. Unless it is [`durable`](Builder::durable), the server does not wait
//! for the disk, so a crash of the whole machine can corrupt a [kept](Builder::keep_in) cluster.
//! Everybody who can enter the directory is the superuser: it is not for production.

#[cfg(not(unix))]
compile_error!("private-postgres needs a Unix system");

mod binaries;
mod builder;
mod command;
mod database;
mod directory;
mod error;
mod package;
mod server;
mod shared;
mod supervisor;

pub use builder::Builder;
pub use database::Database;
pub use error::Error;
pub use server::Server;
pub use shared::shared;
