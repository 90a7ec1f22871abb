//! Every statement of `auth`, one function each.
//!
//! The table is always named with its schema: where a tenant has none, the
//! search path would lead to the one in `public`.

use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::connection::TenantConnection;
use crate::name::SchemaName;
use crate::sql::identifier;

use super::username::Username;
use super::{User, auth_users};

/// The table of users, which the migration creates.
pub(super) const TABLE: &str = "auth_users";

/// The columns of [`User`].
const COLUMNS: &str = "id, username, email, is_superuser, is_active, created_at, last_login";

/// A user, and what their password is checked against.
#[derive(QueryableByName)]
#[diesel(table_name = auth_users)]
pub(super) struct Credentials {
    #[diesel(embed)]
    pub(super) user: User,
    pub(super) password_hash: String,
}

/// A table of a schema, as it is written into SQL text.
pub(super) fn within(schema: &SchemaName, table: &str) -> String {
    format!("{}.{}", schema.quoted(), identifier(table))
}

/// Inserts a user; `None` if the username is taken, which fails no transaction.
pub(super) fn insert(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    username: &Username,
    email: Option<&str>,
    password_hash: &str,
    is_superuser: bool,
) -> QueryResult<Option<User>> {
    diesel::sql_query(format!(
        "INSERT INTO {} (username, username_key, email, password_hash, is_superuser) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (username_key) DO NOTHING RETURNING {COLUMNS}",
        within(schema, TABLE)
    ))
    .bind::<Text, _>(&username.shown)
    .bind::<Text, _>(&username.key)
    .bind::<Nullable<Text>, _>(email)
    .bind::<Text, _>(password_hash)
    .bind::<Bool, _>(is_superuser)
    .get_result(conn)
    .optional()
}

/// The user of a name, and what their password is checked against.
pub(super) fn credentials(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    username: &Username,
) -> QueryResult<Option<Credentials>> {
    diesel::sql_query(format!(
        "SELECT {COLUMNS}, password_hash FROM {} WHERE username_key = $1",
        within(schema, TABLE)
    ))
    .bind::<Text, _>(&username.key)
    .get_result(conn)
    .optional()
}

/// Writes a login down, and a new hash if there is one; `None` if the user is no longer the one
/// that was checked.
pub(super) fn log_in(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    checked: &Credentials,
    new_hash: Option<&str>,
) -> QueryResult<Option<User>> {
    diesel::sql_query(format!(
        "UPDATE {} SET last_login = pg_catalog.now(), password_hash = coalesce($1, password_hash) \
         WHERE id = $2 AND password_hash = $3 AND is_active RETURNING {COLUMNS}",
        within(schema, TABLE)
    ))
    .bind::<Nullable<Text>, _>(new_hash)
    .bind::<BigInt, _>(checked.user.id)
    .bind::<Text, _>(&checked.password_hash)
    .get_result(conn)
    .optional()
}

/// Sets the hash of a user; how many there were of that name.
pub(super) fn set_hash(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    username: &Username,
    password_hash: &str,
) -> QueryResult<usize> {
    diesel::sql_query(format!(
        "UPDATE {} SET password_hash = $1 WHERE username_key = $2",
        within(schema, TABLE)
    ))
    .bind::<Text, _>(password_hash)
    .bind::<Text, _>(&username.key)
    .execute(conn)
}
