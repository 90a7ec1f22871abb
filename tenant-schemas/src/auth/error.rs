//! [`AuthError`]: why there is no user.

use diesel::result::Error as DieselError;

use crate::error::{BoxError, Error};
use crate::name::SchemaName;

use super::password::{MAX_BYTES, MIN_CHARACTERS};

/// Every failure of [`auth`](crate::auth). A wrong password is none: it is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The schema has a user of that name.
    #[error("username {username:?} is taken in schema {schema}: choose another")]
    #[non_exhaustive]
    UsernameTaken {
        /// The username.
        username: String,
        /// The schema.
        schema: SchemaName,
    },

    /// The username breaks a rule.
    #[error("username {username:?} can't be used: {reason}")]
    #[non_exhaustive]
    Username {
        /// The username, or its beginning.
        username: String,
        /// The rule.
        reason: String,
    },

    /// The email address is none.
    #[error("email address {email:?} can't be used: write one like \"ada@example.com\", or none")]
    #[non_exhaustive]
    Email {
        /// What was given.
        email: String,
    },

    /// The password is too short.
    #[error("the password has {length} characters, it needs at least {MIN_CHARACTERS}")]
    #[non_exhaustive]
    PasswordTooShort {
        /// How many characters it has.
        length: usize,
    },

    /// The password is too long.
    #[error("the password is {length} bytes long, at most {MAX_BYTES} are accepted")]
    #[non_exhaustive]
    PasswordTooLong {
        /// How many bytes it has.
        length: usize,
    },

    /// The schema has no table of users. One in `public` would be the wrong one.
    #[error(
        "schema {schema} has no table {table} of its own, and one of another schema is not used: \
         give the builder the app that creates it, and migrate"
    )]
    #[non_exhaustive]
    NoUsersTable {
        /// The schema.
        schema: SchemaName,
        /// The table.
        table: String,
    },

    /// The schema has no user of that name.
    #[error("schema {schema} has no user {username:?}")]
    #[non_exhaustive]
    NoSuchUser {
        /// The username.
        username: String,
        /// The schema.
        schema: SchemaName,
    },

    /// Argon2 can't work with these costs.
    #[error(
        "argon2 can't work with {memory_kib} KiB, {passes} passes and {lanes} lanes: {reason}; \
         the least is 8 KiB for each lane, 1 pass and 1 lane"
    )]
    #[non_exhaustive]
    Cost {
        /// The memory, in KiB.
        memory_kib: u32,
        /// The passes over it.
        passes: u32,
        /// The lanes.
        lanes: u32,
        /// What argon2 says.
        reason: String,
    },

    /// The password could not be hashed: no memory, or no randomness.
    #[error("the password could not be hashed")]
    Hash(#[source] BoxError),

    /// The connection has no scope, or the database refused a statement.
    #[error(transparent)]
    Tenancy(#[from] Error),
}

/// Lets `?` work in closures that return this error, as in `conn.transaction(..)`.
impl From<DieselError> for AuthError {
    fn from(source: DieselError) -> Self {
        Self::Tenancy(source.into())
    }
}
