//! Users of each tenant (feature `auth`).
//!
//! Give the builder [`Auth`] as an app, and every tenant has a table
//! `auth_users` of its own. The same username is another person in another
//! tenant, with another password:
//!
//! ```
//! use diesel::prelude::*;
//! use tenant_schemas::auth::{self, Auth, NewUser};
//! use tenant_schemas::testing::TestTenancy;
//! use tenant_schemas::{SchemaName, TenantModel, shared_app};
//!
//! #[shared_app(migrations = "migrations/customers")]
//! struct Customers;
//! # #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
//! # #[diesel(table_name = clients)]
//! # struct Client { id: i32, schema_name: SchemaName, domain_url: String, name: String, #[tenant(default = true)] on_trial: bool }
//! # diesel::table! { clients (id) { id -> Integer, schema_name -> Text, domain_url -> Text, name -> Text, on_trial -> Bool, } }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenancy = TestTenancy::<Client>::new(|builder| builder.app(Customers).app(Auth))?;
//! let acme = tenancy.tenant(|schema, domain| Client::new(schema, domain).name("Acme"))?;
//! let globex = tenancy.tenant(|schema, domain| Client::new(schema, domain).name("Globex"))?;
//!
//! let mut conn = tenancy.tenancy().tenant(&acme)?;
//! auth::create_superuser(&mut conn, NewUser::new("ada", "correct horse"))?;
//! assert!(auth::authenticate(&mut conn, "Ada", "correct horse")?.is_some());
//! assert!(auth::authenticate(&mut conn, "ada", "wrong").is_ok_and(|user| user.is_none()));
//! # drop(conn);
//!
//! let mut conn = tenancy.tenancy().tenant(&globex)?;
//! assert!(auth::authenticate(&mut conn, "ada", "correct horse")?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # Users outside tenants
//!
//! The staff of the public site lives in `public`: with [`Auth::shared_too`]
//! instead of `Auth`, that schema has a table of users as well. A tenant never
//! falls back on it: a tenant without a table of its own is an error,
//! [`AuthError::NoUsersTable`].
//!
//! # Everything else is Diesel
//!
//! [`auth_users`] is an ordinary table, [`User`] an ordinary row of it:
//!
//! ```
//! # use diesel::prelude::*;
//! use tenant_schemas::TenantConnection;
//! use tenant_schemas::auth::{User, auth_users};
//!
//! fn user_of_session(conn: &mut TenantConnection, id: i64) -> QueryResult<User> {
//!     auth_users::table
//!         .find(id)
//!         .filter(auth_users::is_active)
//!         .select(User::as_select())
//!         .first(conn)
//! }
//!
//! fn lock_out(conn: &mut TenantConnection, user: &User) -> QueryResult<usize> {
//!     diesel::update(user)
//!         .set(auth_users::is_active.eq(false))
//!         .execute(conn)
//! }
//! ```
//!
//! Sessions, roles and forms are the program's own. An id means a user only
//! together with its tenant: a session has to hold both.
//!
//! # What is kept secret
//!
//! A password is stored as a hash of argon2id with a random salt, see
//! [`Hasher`]; [`Password`] is in no `Debug` output. [`authenticate`] works as
//! long for a user who does not exist as for a wrong password of one whose hash
//! has the cost of today; after the cost was raised, those who have not logged in
//! since are told by their time. It does not count attempts: limit them in front
//! of it. Hashing keeps a processor busy
//! for some ten milliseconds, on purpose: in asynchronous programs call it where
//! blocking is allowed.
//!
//! # Users of one's own
//!
//! A program that has users already implements [`Superusers`], which is all
//! that the command `create_tenant_superuser` needs.

mod error;
mod hasher;
mod password;
mod sql;
mod superusers;
mod username;
mod users;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::app::{App, AppScope};
use crate::connection::TenantConnection;

pub use self::error::AuthError;
pub use self::hasher::Hasher;
pub use self::password::Password;
pub use self::superusers::Superusers;
pub use self::users::{NewUser, User, Users, require_own_table};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/auth");

diesel::table! {
    /// The users of a schema.
    auth_users (id) {
        /// The key.
        id -> BigInt,
        /// As it was given.
        username -> Text,
        /// As it is compared: NFKC, in lower case. Use [`find`](crate::auth::find) to look for it.
        username_key -> Text,
        /// Where to reach them.
        email -> Nullable<Text>,
        /// See [`Hasher`](crate::auth::Hasher).
        password_hash -> Text,
        /// Whether they may do everything.
        is_superuser -> Bool,
        /// Whether they may log in.
        is_active -> Bool,
        /// When they were made.
        created_at -> Timestamptz,
        /// When they last logged in.
        last_login -> Nullable<Timestamptz>,
    }
}

/// The app that gives every tenant a table of users.
#[derive(Debug, Clone, Copy, Default)]
pub struct Auth;

impl Auth {
    /// The app with a table of users in the shared schema as well.
    #[must_use]
    pub fn shared_too() -> App {
        app(AppScope::Both)
    }
}

impl From<Auth> for App {
    fn from(_: Auth) -> Self {
        app(AppScope::Tenant)
    }
}

fn app(scope: AppScope) -> App {
    App::new("auth", scope).migrations(MIGRATIONS)
}

/// Makes a user in the connection's scope.
///
/// # Errors
///
/// [`AuthError::UsernameTaken`], which fails no transaction; what is wrong with
/// the username, the email address or the password; [`AuthError::NoUsersTable`].
pub fn create_user(conn: &mut TenantConnection, new: NewUser) -> Result<User, AuthError> {
    Users::default().create_user(conn, new)
}

/// Makes a user in the connection's scope who may do everything.
///
/// # Errors
///
/// As [`create_user`].
pub fn create_superuser(conn: &mut TenantConnection, new: NewUser) -> Result<User, AuthError> {
    Users::default().create_superuser(conn, new)
}

/// The user of the connection's scope who has this name and this password, if they are active.
///
/// Writes `last_login`, and a new hash if the old one was made at another cost.
///
/// # Errors
///
/// [`AuthError::NoUsersTable`]; if the database fails, or is read-only.
pub fn authenticate(
    conn: &mut TenantConnection,
    username: &str,
    password: impl Into<Password>,
) -> Result<Option<User>, AuthError> {
    Users::default().authenticate(conn, username, password)
}

/// Gives a user of the connection's scope another password.
///
/// # Errors
///
/// [`AuthError::NoSuchUser`]; what is wrong with the password;
/// [`AuthError::NoUsersTable`].
pub fn set_password(
    conn: &mut TenantConnection,
    username: &str,
    password: impl Into<Password>,
) -> Result<(), AuthError> {
    Users::default().set_password(conn, username, password)
}

/// The user of the connection's scope who has this name, whatever its case.
///
/// # Errors
///
/// [`AuthError::NoUsersTable`].
pub fn find(conn: &mut TenantConnection, username: &str) -> Result<Option<User>, AuthError> {
    Users::default().find(conn, username)
}
