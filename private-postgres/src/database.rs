//! The database that an example uses.

use std::env;

use crate::{Error, Server};

/// The database that `DATABASE_URL` names, or a private one.
///
/// ```
/// let database = private_postgres::Database::from_env()?;
/// println!("using {}", database.url());
/// # Ok::<(), private_postgres::Error>(())
/// ```
#[derive(Debug)]
pub enum Database {
    /// The value of `DATABASE_URL`.
    Given(String),
    /// A server that lasts as long as this value.
    Private(Server),
}

impl Database {
    /// Takes `DATABASE_URL` if it is set and not empty, and starts a [`Server`] otherwise.
    ///
    /// # Errors
    ///
    /// Returns the [`Error`] of [`Server::start`], or [`Error::Variable`] if `DATABASE_URL` is not
    /// Unicode. A URL that leads nowhere is not noticed here.
    pub fn from_env() -> Result<Database, Error> {
        match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Ok(Database::Given(url)),
            Ok(_) | Err(env::VarError::NotPresent) => Server::start().map(Database::Private),
            Err(env::VarError::NotUnicode(value)) => Err(Error::Variable {
                name: "DATABASE_URL",
                problem: format!("{}, which is not Unicode", value.display()),
            }),
        }
    }

    /// The URL to connect to.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Database::Given(url) => url.clone(),
            Database::Private(server) => server.url(),
        }
    }
}
