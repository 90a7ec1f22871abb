//! [`Users`]: making, finding and checking the users of a scope.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::TenantConnection;
use crate::error::Error;
use crate::name::SchemaName;

use super::{AuthError, Hasher, Password, auth_users, sql, username};

/// How often a login is checked again because the user was changed meanwhile.
const ATTEMPTS: usize = 3;

/// A user. Their hash stays in the database.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Identifiable)]
#[diesel(table_name = auth_users)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct User {
    /// The key, unique in the schema: another tenant has the same ones.
    pub id: i64,
    /// As it was given, in normal form (NFKC). Unique in the schema whatever the case.
    pub username: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// Whether they may do everything.
    pub is_superuser: bool,
    /// Whether they may log in.
    pub is_active: bool,
    /// When they were made.
    pub created_at: DateTime<Utc>,
    /// When they last logged in.
    pub last_login: Option<DateTime<Utc>>,
}

/// A user who is to be made.
///
/// ```
/// use tenant_schemas::auth::NewUser;
///
/// let ada = NewUser::new("ada", "correct horse").email("ada@example.com");
/// assert!(!format!("{ada:?}").contains("horse"));
/// ```
#[derive(Debug, Clone)]
pub struct NewUser {
    /// 1 to 150 letters, digits and `@ . + - _`.
    pub username: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// At least 8 characters, at most 4096 bytes.
    pub password: Password,
}

impl NewUser {
    /// A user without an email address.
    pub fn new(username: impl Into<String>, password: impl Into<Password>) -> Self {
        Self {
            username: username.into(),
            email: None,
            password: password.into(),
        }
    }

    /// Gives the user an email address.
    #[must_use]
    pub fn email(self, email: impl Into<String>) -> Self {
        Self {
            email: Some(email.into()),
            ..self
        }
    }
}

/// The users of the scope that a connection has, with passwords hashed at a cost of one's own.
///
/// The functions of [`auth`](super) are the methods of `Users::default()`.
///
/// ```
/// use tenant_schemas::auth::{Hasher, Users};
///
/// let users = Users::with_hasher(Hasher::with_cost(46 * 1024, 1, 1)?);
/// # Ok::<(), tenant_schemas::auth::AuthError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Users {
    hasher: Hasher,
}

impl Users {
    /// Hashes passwords with `hasher`.
    #[must_use]
    pub fn with_hasher(hasher: Hasher) -> Self {
        Self { hasher }
    }

    /// As [`create_user`](super::create_user).
    ///
    /// # Errors
    ///
    /// As [`create_user`](super::create_user).
    pub fn create_user(
        &self,
        conn: &mut TenantConnection,
        new: NewUser,
    ) -> Result<User, AuthError> {
        self.create(conn, new, false)
    }

    /// As [`create_superuser`](super::create_superuser).
    ///
    /// # Errors
    ///
    /// As [`create_user`](super::create_user).
    pub fn create_superuser(
        &self,
        conn: &mut TenantConnection,
        new: NewUser,
    ) -> Result<User, AuthError> {
        self.create(conn, new, true)
    }

    fn create(
        &self,
        conn: &mut TenantConnection,
        new: NewUser,
        is_superuser: bool,
    ) -> Result<User, AuthError> {
        let NewUser {
            username,
            email,
            password,
        } = new;
        let username = username::parse(&username)?;
        if let Some(email) = email.as_deref().filter(|email| !is_email(email)) {
            return Err(AuthError::Email {
                email: email.chars().take(MAX_EMAIL).collect(),
            });
        }
        password.check()?;
        let schema = require_own_table(conn, sql::TABLE)?;
        let hash = self.hasher.hash(&password)?;
        sql::insert(
            conn,
            &schema,
            &username,
            email.as_deref(),
            &hash,
            is_superuser,
        )
        .map_err(|error| Error::database("storing the user", error))?
        .ok_or(AuthError::UsernameTaken {
            username: username.shown,
            schema,
        })
    }

    /// As [`authenticate`](super::authenticate).
    ///
    /// # Errors
    ///
    /// As [`authenticate`](super::authenticate).
    pub fn authenticate(
        &self,
        conn: &mut TenantConnection,
        username: &str,
        password: impl Into<Password>,
    ) -> Result<Option<User>, AuthError> {
        let password = password.into();
        let schema = require_own_table(conn, sql::TABLE)?;
        if password.check_length().is_err() {
            return Ok(None);
        }
        // Another login may bring the hash up to date between our look and our write: look again.
        for _ in 0..ATTEMPTS {
            let Some(found) = find(conn, &schema, username)? else {
                // An answer that came at once would tell that there is no such user.
                self.hasher.hash(&password)?;
                return Ok(None);
            };
            if !self.hasher.verify(&password, &found.password_hash) || !found.user.is_active {
                return Ok(None);
            }
            let new_hash = if self.hasher.needs_rehash(&found.password_hash) {
                Some(self.hasher.hash(&password)?)
            } else {
                None
            };
            let user = sql::log_in(conn, &schema, &found, new_hash.as_deref())
                .map_err(|error| Error::database("writing the login down", error))?;
            if user.is_some() {
                return Ok(user);
            }
        }
        Ok(None)
    }

    /// As [`set_password`](super::set_password).
    ///
    /// # Errors
    ///
    /// As [`set_password`](super::set_password).
    pub fn set_password(
        &self,
        conn: &mut TenantConnection,
        username: &str,
        password: impl Into<Password>,
    ) -> Result<(), AuthError> {
        let password = password.into();
        password.check()?;
        let parsed = username::parse(username)?;
        let schema = require_own_table(conn, sql::TABLE)?;
        let hash = self.hasher.hash(&password)?;
        match sql::set_hash(conn, &schema, &parsed, &hash)
            .map_err(|error| Error::database("setting the password", error))?
        {
            0 => Err(AuthError::NoSuchUser {
                username: parsed.shown,
                schema,
            }),
            _ => Ok(()),
        }
    }

    /// As [`find`](super::find).
    ///
    /// # Errors
    ///
    /// As [`find`](super::find).
    pub fn find(
        &self,
        conn: &mut TenantConnection,
        username: &str,
    ) -> Result<Option<User>, AuthError> {
        let schema = require_own_table(conn, sql::TABLE)?;
        Ok(find(conn, &schema, username)?.map(|found| found.user))
    }
}

/// The user of a name; nobody has a name that breaks the rules.
fn find(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    username: &str,
) -> Result<Option<sql::Credentials>, AuthError> {
    let Ok(username) = username::parse(username) else {
        return Ok(None);
    };
    Ok(sql::credentials(conn, schema, &username)
        .map_err(|error| Error::database("looking for the user", error))?)
}

/// The schema of the connection's scope, if it has such a table of its own.
///
/// A tenant's search path goes on to `public`: without the check, a tenant that
/// lacks the table would have its users written into the one of `public`.
///
/// # Errors
///
/// [`AuthError::NoUsersTable`] if it has none, and [`Error::NoScope`] if the
/// connection has no scope.
pub fn require_own_table(
    conn: &mut TenantConnection,
    table: &str,
) -> Result<SchemaName, AuthError> {
    let schema = conn.schema_name().cloned().ok_or(Error::NoScope)?;
    let quoted = sql::within(&schema, table);
    match conn.own(|inner| crate::sql::tables::table_exists(inner, &quoted)) {
        Ok(true) => Ok(schema),
        Ok(false) => Err(AuthError::NoUsersTable {
            schema,
            table: table.to_owned(),
        }),
        Err(error) => Err(Error::database("looking for the table of users", error).into()),
    }
}

/// The most bytes of an email address.
const MAX_EMAIL: usize = 254;

/// Whether mail could be sent there: something before the last `@`, something behind it, no spaces.
fn is_email(text: &str) -> bool {
    text.len() <= MAX_EMAIL
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && text
            .rsplit_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_has_two_sides_and_no_spaces() {
        for email in ["ada@example.com", "a@localhost", "änne@bücher.example"] {
            assert!(is_email(email), "{email}");
        }
        for email in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@example.com",
            "a@b\n",
            "a\0@b",
        ] {
            assert!(!is_email(email), "{email:?}");
        }
        assert!(!is_email(&format!("{}@example.com", "a".repeat(250))));
    }
}
