//! Signing up: a hotel is opened while its owner watches.
//!
//! The row is saved at once, so that the name is taken. Schema, tables and owner
//! come on a thread behind a queue, in one transaction: a hotel is either not there
//! yet or complete. A listener of the tenancy notes how far it is, and a page polls that.

mod board;
mod form;
mod opening;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Form, Json, Router, routing::get};
use tenant_schemas::web::PublicDb;
use tenant_schemas::{Error, Lifecycle as _, SaveOptions, Tenancy};

use crate::error::PageError;
use crate::form::Errors;
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::public::Sign;
use crate::secret;
use crate::state::App;

pub(crate) use self::board::Board;
use self::form::SignupForm;
pub(crate) use self::opening::{Opening, forget_unfinished, open};

/// As many hotels may wait to be opened.
const QUEUE: usize = 32;

/// Hotels that are being opened.
#[derive(Debug)]
pub(crate) struct Signups {
    board: Arc<Board>,
    queue: SyncSender<Opening>,
}

impl Signups {
    /// Starts the thread that opens hotels, one after the other.
    pub(crate) fn start(tenancy: Tenancy<Hotel>, board: Arc<Board>) -> std::io::Result<Self> {
        let (queue, openings) = sync_channel::<Opening>(QUEUE);
        let told = Arc::clone(&board);
        std::thread::Builder::new()
            .name("openings".to_owned())
            .spawn(move || {
                for opening in openings {
                    let result = open(&tenancy, &opening);
                    told.finish(&opening.ticket, result);
                }
            })?;
        Ok(Self { board, queue })
    }

    fn push(&self, opening: Opening) -> Result<(), PageError> {
        self.board
            .begin(&opening.ticket, &opening.hotel.schema_name);
        self.queue.try_send(opening).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => PageError::Busy,
        })
    }
}

/// The routes, of the public site.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/signup", get(form).post(submit))
        .route("/signup/{ticket}", get(watch))
        .route("/signup/{ticket}/progress", get(progress))
}

async fn form(State(app): State<App>) -> Result<Response, PageError> {
    show(&app, &SignupForm::default(), &Errors::default())
}

fn show(app: &App, form: &SignupForm, errors: &Errors) -> Result<Response, PageError> {
    let status = if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let domain = &app.address.domain;
    let page = pages::page("signup.html", view! { form, errors, domain })?;
    Ok((status, page).into_response())
}

async fn submit(
    State(app): State<App>,
    db: PublicDb,
    Form(form): Form<SignupForm>,
) -> Result<Response, PageError> {
    let (mut hotel, owner) = match form.read(&app.address.domain) {
        Ok(new) => new,
        Err(errors) => return show(&app, &form, &errors),
    };
    let saved: Result<Hotel, Error> = db
        .run(move |conn| {
            let later = SaveOptions::new().auto_create_schema(false);
            hotel.save_with(conn, later)?;
            Ok(hotel)
        })
        .await;
    let hotel = match saved {
        Ok(hotel) => hotel,
        Err(Error::Duplicate { .. }) => {
            let mut errors = Errors::default();
            errors.add("subdomain", "Another hotel lives there already.");
            return show(&app, &form, &errors);
        }
        Err(error) => return Err(error.into()),
    };
    let ticket = secret::short()?;
    let to = format!("/signup/{ticket}");
    let taken = hotel.clone();
    let opening = Opening {
        ticket,
        hotel,
        owner,
    };
    if let Err(busy) = app.signups.push(opening) {
        // Nobody will open it: the name is free again.
        db.run(move |conn| taken.delete(conn)).await?;
        return Err(busy);
    }
    Ok(Redirect::to(&to).into_response())
}

async fn watch(
    State(app): State<App>,
    db: PublicDb,
    Path(ticket): Path<String>,
) -> Result<Response, PageError> {
    let entry = app.signups.board.look(&ticket).ok_or(PageError::NotFound)?;
    let schema = entry.schema.clone();
    let hotel = db.run(move |conn| Hotel::by_schema(conn, schema.as_str()));
    let hotel = hotel.await?.map(|hotel| Sign::of(&hotel, &app.address));
    let poll = format!("/signup/{ticket}/progress");
    let progress = &entry.progress;
    let page = pages::page("progress.html", view! { hotel, poll, progress })?;
    Ok(page.into_response())
}

async fn progress(
    State(app): State<App>,
    Path(ticket): Path<String>,
) -> Result<Response, PageError> {
    let entry = app.signups.board.look(&ticket).ok_or(PageError::NotFound)?;
    Ok(Json(entry.progress).into_response())
}
