//! What a hotel looks like, and who works there.

use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use tenant_schemas::auth::{self, AuthError, NewUser, User, auth_users};
use tenant_schemas::web::{PublicDb, Tenant, TenantDb};

use super::{chrome, logo};
use crate::error::PageError;
use crate::form::{Errors, is_email};
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::session::Staff;
use crate::state::App;
use crate::theme::{self, THEMES};

/// What else a form with a file in it may take.
const AROUND_A_FILE: usize = 4 * 1024;

pub(super) fn routes() -> Router<App> {
    let limit = DefaultBodyLimit::max(logo::MAX_BYTES + AROUND_A_FILE);
    Router::new()
        .route("/desk/settings", get(settings))
        .route("/desk/theme", post(set_theme))
        .route("/desk/logo", post(set_logo).layer(limit))
        .route("/desk/staff", post(add_staff))
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct StaffForm {
    email: String,
    #[serde(skip_serializing)]
    password: String,
}

async fn settings(
    staff: Staff,
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
) -> Result<Html<String>, PageError> {
    let errors = Errors::default();
    show(&app, &hotel, &db, &staff, &StaffForm::default(), errors).await
}

async fn show(
    app: &App,
    hotel: &Hotel,
    db: &TenantDb,
    staff: &Staff,
    form: &StaffForm,
    errors: Errors,
) -> Result<Html<String>, PageError> {
    let users: Vec<User> = db
        .run(|conn| {
            let users = auth_users::table.order(auth_users::username);
            Ok::<_, PageError>(users.select(User::as_select()).load(conn)?)
        })
        .await?;
    let colleagues: Vec<String> = users.into_iter().map(|user| user.username).collect();
    let chrome = chrome(app, hotel, Some(staff));
    let view = view! { themes => THEMES, colleagues, form, errors, ..chrome };
    pages::page("settings.html", view)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ThemeForm {
    theme: String,
}

async fn set_theme(
    _: Staff,
    hotel: Tenant<Hotel>,
    db: PublicDb,
    Form(form): Form<ThemeForm>,
) -> Result<Redirect, PageError> {
    let theme = theme::find(&form.theme).ok_or(PageError::NotFound)?;
    let change = move |hotel: &mut Hotel| theme.name.clone_into(&mut hotel.theme);
    Hotel::change(&db, hotel.schema_name.clone(), change).await?;
    Ok(Redirect::to("/desk/settings"))
}

async fn set_logo(
    staff: Staff,
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    mut form: Multipart,
) -> Result<Response, PageError> {
    let file = match form.next_field().await {
        Ok(Some(field)) => field.bytes().await.ok(),
        _ => None,
    };
    // A file that is too large ends in the middle.
    let logo = match file.as_deref().map(logo::check) {
        Some(Ok(logo)) => Ok(logo),
        Some(Err(problem)) => Err(problem),
        None => Err(logo::TOO_LARGE),
    };
    match logo {
        Ok(logo) => {
            db.run(move |conn| logo::store(conn, &logo)).await?;
            Ok(Redirect::to("/desk/settings").into_response())
        }
        Err(problem) => {
            let mut errors = Errors::default();
            errors.add("logo", problem);
            let form = StaffForm::default();
            let page = show(&app, &hotel, &db, &staff, &form, errors).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn add_staff(
    staff: Staff,
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    Form(form): Form<StaffForm>,
) -> Result<Response, PageError> {
    let mut errors = Errors::default();
    let email = form.email.trim().to_owned();
    if is_email(&email) {
        let new = NewUser::new(&email, form.password.clone()).email(&email);
        match db.run(move |conn| auth::create_user(conn, new)).await {
            Ok(_) => return Ok(Redirect::to("/desk/settings").into_response()),
            Err(AuthError::Tenancy(error)) => return Err(error.into()),
            Err(error @ AuthError::UsernameTaken { .. }) => errors.add("email", say(&error)),
            Err(error) => errors.add("password", say(&error)),
        }
    } else {
        errors.add("email", "We need an address like ada@example.com.");
    }
    let page = show(&app, &hotel, &db, &staff, &form, errors).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

fn say(error: &AuthError) -> String {
    match error {
        AuthError::UsernameTaken { .. } => "They work here already.".to_owned(),
        error => format!("Please choose another: {error}."),
    }
}
