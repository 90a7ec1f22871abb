//! Staff come and go.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::{Deserialize, Serialize};
use tenant_schemas::auth;
use tenant_schemas::web::{Tenant, TenantDb};

use super::chrome;
use crate::error::PageError;
use crate::form::is_email;
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::state::App;
use crate::{secret, session};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/login", get(form).post(login))
        .route("/logout", post(logout))
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct LoginForm {
    email: String,
    #[serde(skip_serializing)]
    password: String,
}

async fn form(State(app): State<App>, hotel: Tenant<Hotel>) -> Result<Html<String>, PageError> {
    show(&app, &hotel, &LoginForm::default(), false)
}

fn show(
    app: &App,
    hotel: &Hotel,
    form: &LoginForm,
    wrong: bool,
) -> Result<Html<String>, PageError> {
    let chrome = chrome(app, hotel, None);
    let view = view! { form, wrong, ..chrome };
    pages::page("login.html", view)
}

/// Whoever is asked is the hotel's own user: the same email address at another hotel is another one.
async fn login(
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    Form(form): Form<LoginForm>,
) -> Result<Response, PageError> {
    let (email, password) = (form.email.trim().to_owned(), form.password.clone());
    let token = if is_email(&email) {
        db.run(
            move |conn| match auth::authenticate(conn, &email, password)? {
                Some(user) => session::begin(conn, &user).map(Some),
                None => Ok(None),
            },
        )
        .await?
    } else {
        None
    };
    let Some(token) = token else {
        let page = show(&app, &hotel, &form, true)?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let sealed = app.seal.seal(&*hotel, &token)?;
    let cookie = secret::set_cookie(session::COOKIE, Some(&sealed));
    let headers = AppendHeaders([(SET_COOKIE, cookie)]);
    Ok((headers, Redirect::to("/desk")).into_response())
}

async fn logout(
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    if let Some(token) = session::token(&app.seal, &hotel, &headers) {
        db.run(move |conn| Ok::<_, PageError>(session::end(conn, &token)?))
            .await?;
    }
    let headers = AppendHeaders([(SET_COOKIE, secret::set_cookie(session::COOKIE, None))]);
    Ok((headers, Redirect::to("/")).into_response())
}
