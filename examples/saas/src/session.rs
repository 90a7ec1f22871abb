//! Who is logged in at a hotel.
//!
//! A session is a row in the hotel's own schema: the cookie of one hotel means
//! nothing at another, because the row that it stands for is not there.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::Utc;
use diesel::prelude::*;
use tenant_schemas::TenantConnection;
use tenant_schemas::auth::{User, auth_users};
use tenant_schemas::web::TenantDb;

use crate::error::PageError;
use crate::schema::sessions;
use crate::secret;

/// The cookie's name.
pub(crate) const COOKIE: &str = "session";

/// Begins a session in the connection's hotel, and returns what the browser has to show.
pub(crate) fn begin(conn: &mut TenantConnection, user: &User) -> Result<String, PageError> {
    let token = secret::random()?;
    diesel::delete(sessions::table.filter(sessions::expires_at.le(Utc::now()))).execute(conn)?;
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(secret::hash(&token).as_slice()),
            sessions::user_id.eq(user.id),
        ))
        .execute(conn)?;
    Ok(token)
}

/// Ends a session of the connection's hotel.
pub(crate) fn end(conn: &mut TenantConnection, token: &str) -> QueryResult<usize> {
    diesel::delete(sessions::table.find(secret::hash(token).as_slice())).execute(conn)
}

/// The user whose session this is, at the connection's hotel.
fn user(conn: &mut TenantConnection, token: &str) -> QueryResult<Option<User>> {
    let session: Option<i64> = sessions::table
        .find(secret::hash(token).as_slice())
        .filter(sessions::expires_at.gt(Utc::now()))
        .select(sessions::user_id)
        .first(conn)
        .optional()?;
    let Some(id) = session else {
        return Ok(None);
    };
    auth_users::table
        .find(id)
        .filter(auth_users::is_active)
        .select(User::as_select())
        .first(conn)
        .optional()
}

/// The user who is logged in, as an argument of a handler. Others are sent to the form.
#[derive(Debug)]
pub(crate) struct Staff(pub User);

impl<S: Send + Sync> FromRequestParts<S> for Staff {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let db = <TenantDb as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| PageError::NotFound)?;
        let Some(token) = secret::cookie(&parts.headers, COOKIE).map(str::to_owned) else {
            return Err(PageError::LoginNeeded);
        };
        let user: Result<_, PageError> = db.run(move |conn| Ok(user(conn, &token)?)).await;
        user?.map(Self).ok_or(PageError::LoginNeeded)
    }
}
