//! [`Superusers`]: where the superusers of a tenant are kept.

use crate::connection::TenantConnection;
use crate::error::BoxError;

use super::{Auth, NewUser, Users};

/// Makes superusers, for commands that know nothing of a program's users.
///
/// [`Auth`] and [`Users`] do it with the table of this module. A program that
/// has users of its own implements it over its own table:
///
/// ```
/// use diesel::prelude::*;
/// use tenant_schemas::auth::{Hasher, NewUser, Superusers, require_own_table};
/// use tenant_schemas::{BoxError, TenantConnection};
///
/// struct Staff;
///
/// impl Superusers for Staff {
///     fn create_superuser(
///         &self,
///         conn: &mut TenantConnection,
///         new: NewUser,
///     ) -> Result<(), BoxError> {
///         require_own_table(conn, "staff")?; // not the one in `public`
///         new.password.check()?;
///         diesel::insert_into(staff::table)
///             .values((
///                 staff::login.eq(new.username),
///                 staff::secret.eq(Hasher::default().hash(&new.password)?),
///                 staff::role.eq("owner"),
///             ))
///             .execute(conn)?;
///         Ok(())
///     }
/// }
/// # diesel::table! { staff (login) { login -> Text, secret -> Text, role -> Text, } }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't make superusers",
    label = "does not implement `Superusers`",
    note = "use `tenant_schemas::auth::Auth`, or implement `Superusers` over the table of your own users"
)]
pub trait Superusers: Send + Sync {
    /// Stores a superuser in the scope of `conn`, with a hash of the password.
    ///
    /// # Errors
    ///
    /// Whatever tells the person at the terminal what to do: the username is
    /// taken, the password is too short.
    fn create_superuser(&self, conn: &mut TenantConnection, new: NewUser) -> Result<(), BoxError>;

    /// Whether the username is taken in the scope of `conn`, so that a prompt can ask again early.
    /// Defaults to `false`: [`create_superuser`](Self::create_superuser) refuses it then.
    ///
    /// # Errors
    ///
    /// If it can't be found out, or the username could never be used.
    fn exists(&self, conn: &mut TenantConnection, username: &str) -> Result<bool, BoxError> {
        let _ = (conn, username);
        Ok(false)
    }
}

impl Superusers for Auth {
    fn create_superuser(&self, conn: &mut TenantConnection, new: NewUser) -> Result<(), BoxError> {
        Superusers::create_superuser(&Users::default(), conn, new)
    }

    fn exists(&self, conn: &mut TenantConnection, username: &str) -> Result<bool, BoxError> {
        Users::default().exists(conn, username)
    }
}

impl Superusers for Users {
    fn create_superuser(&self, conn: &mut TenantConnection, new: NewUser) -> Result<(), BoxError> {
        Users::create_superuser(self, conn, new)?;
        Ok(())
    }

    fn exists(&self, conn: &mut TenantConnection, username: &str) -> Result<bool, BoxError> {
        super::username::parse(username)?;
        Ok(self.find(conn, username)?.is_some())
    }
}
