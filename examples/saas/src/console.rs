//! The operator's console: every hotel, how large it is, what it lacks.

mod fleet;
mod release;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::response::{AppendHeaders, Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use tenant_schemas::SchemaName;
use tenant_schemas::web::PublicDb;

use crate::error::PageError;
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::progress::Progress;
use crate::secret;
use crate::state::App;

pub(crate) use self::release::Release;

const COOKIE: &str = "operator";

/// What the operator does.
#[derive(Debug)]
pub(crate) struct Console {
    password: [u8; 32],
    /// Who has this is the operator, for as long as the program runs.
    token: String,
    release: Arc<Release>,
}

impl Console {
    pub(crate) fn new(password: &str, release: Arc<Release>) -> Result<Self, getrandom::Error> {
        Ok(Self {
            password: secret::hash(password),
            token: secret::random()?,
            release,
        })
    }

    /// Hashes are compared: how long that takes says nothing about the secret.
    fn knows(&self, token: &str) -> bool {
        secret::hash(token) == secret::hash(&self.token)
    }
}

/// The routes, of the public site.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/console", get(show))
        .route("/console/login", get(form).post(login))
        .route("/console/migrate", post(migrate))
        .route("/console/progress", get(progress))
        .route("/console/hotels/{schema}/suspend", post(suspend))
        .route("/console/hotels/{schema}/resume", post(resume))
}

/// The operator, as an argument of a handler. Others are sent to the form.
struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Redirect> {
        match secret::cookie(&parts.headers, COOKIE) {
            Some(token) if app.console.knows(token) => Ok(Self),
            _ => Err(Redirect::to("/console/login")),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoginForm {
    password: String,
}

async fn form() -> Result<Html<String>, PageError> {
    pages::page("console_login.html", view! { wrong => false })
}

async fn login(State(app): State<App>, Form(form): Form<LoginForm>) -> Result<Response, PageError> {
    if secret::hash(&form.password) != app.console.password {
        let page = pages::page("console_login.html", view! { wrong => true })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    let cookie = secret::set_cookie(COOKIE, Some(&app.console.token));
    let headers = AppendHeaders([(SET_COOKIE, cookie)]);
    Ok((headers, Redirect::to("/console")).into_response())
}

async fn show(
    _: Operator,
    State(app): State<App>,
    db: PublicDb,
) -> Result<Html<String>, PageError> {
    let fleet = fleet::look(&app, &db).await?;
    let progress = app.console.release.progress();
    pages::page("console.html", view! { fleet, progress })
}

async fn migrate(_: Operator, State(app): State<App>) -> Result<Redirect, PageError> {
    app.console.release.roll_out(&app.tenancy)?;
    Ok(Redirect::to("/console"))
}

async fn progress(_: Operator, State(app): State<App>) -> Json<Progress> {
    Json(app.console.release.progress())
}

async fn suspend(
    _: Operator,
    db: PublicDb,
    Path(schema): Path<String>,
) -> Result<Redirect, PageError> {
    set_suspended(&db, &schema, true).await
}

async fn resume(
    _: Operator,
    db: PublicDb,
    Path(schema): Path<String>,
) -> Result<Redirect, PageError> {
    set_suspended(&db, &schema, false).await
}

async fn set_suspended(
    db: &PublicDb,
    schema: &str,
    suspended: bool,
) -> Result<Redirect, PageError> {
    let schema: SchemaName = schema.parse().map_err(|_| PageError::NotFound)?;
    Hotel::change(db, schema, move |hotel| hotel.suspended = suspended).await?;
    Ok(Redirect::to("/console"))
}
