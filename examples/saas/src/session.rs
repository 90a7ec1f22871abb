//! Who is logged in at a hotel.
//!
//! A session is a row in the hotel's own schema: the cookie of one hotel means
//! nothing at another, because the row that it stands for is not there. And if it is,
//! since the one is a copy of the other: what the cookie holds is sealed for one hotel.

use axum::RequestPartsExt as _;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use chrono::Utc;
use diesel::prelude::*;
use tenant_schemas::TenantConnection;
use tenant_schemas::auth::{User, auth_users};
use tenant_schemas::session::SessionSeal;
use tenant_schemas::web::{Tenant, TenantDb};

use crate::error::PageError;
use crate::models::Hotel;
use crate::schema::sessions;
use crate::secret;
use crate::state::App;

/// The cookie's name.
pub(crate) const COOKIE: &str = "session";

/// Begins a session in the connection's hotel, and returns what is to be sealed for the browser.
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

/// What the browser shows, if it was sealed for this hotel.
pub(crate) fn token(seal: &SessionSeal, hotel: &Hotel, headers: &HeaderMap) -> Option<String> {
    seal.open(hotel, secret::cookie(headers, COOKIE)?).ok()
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

impl FromRequestParts<App> for Staff {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        let (hotel, db): (Tenant<Hotel>, TenantDb) = parts
            .extract_with_state(app)
            .await
            .map_err(|_| PageError::NotFound)?;
        let Some(token) = token(&app.seal, &hotel, &parts.headers) else {
            return Err(PageError::LoginNeeded);
        };
        let user: Result<_, PageError> = db.run(move |conn| Ok(user(conn, &token)?)).await;
        user?.map(Self).ok_or(PageError::LoginNeeded)
    }
}
