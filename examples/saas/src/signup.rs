//! Signing up: a hotel is opened while its owner watches.
//!
//! The row is saved at once, so that the name is taken, and with it a job in a table. A
//! thread does the jobs: schema, tables and owner come in one transaction. Whatever is in
//! the table when the program ends is done at the next start. A page polls how far it is.

mod form;
mod opening;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use tenant_schemas::jobs::{Provisioning, TenantRef};
use tenant_schemas::web::PublicDb;
use tenant_schemas::{Error, Event, Tenancy};

use crate::error::{PageError, with_causes};
use crate::form::Errors;
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::progress::{self, Progress, Step, in_words};
use crate::public::Sign;
use crate::secret;
use crate::state::App;

use self::form::SignupForm;
pub(crate) use self::opening::{enqueue, forget_unfinished, hand_over};

/// How long the thread sleeps if nobody wakes it.
const NAP: Duration = Duration::from_secs(5);

/// The last step, which is no migration.
const OWNER: &str = "hand the keys to the owner";

/// Wakes the thread that opens hotels.
#[derive(Debug)]
pub(crate) struct Signups {
    wake: SyncSender<()>,
    woken: Mutex<Option<Receiver<()>>>,
    /// What a new hotel's migrations are called, once one was opened.
    steps: Mutex<Vec<String>>,
}

impl Default for Signups {
    fn default() -> Self {
        let (wake, woken) = sync_channel(1);
        Self {
            wake,
            woken: Mutex::new(Some(woken)),
            steps: Mutex::default(),
        }
    }
}

impl Signups {
    /// Starts the thread that opens hotels, with those that an earlier run of the program left.
    pub(crate) fn start(&self, tenancy: Tenancy<Hotel>) -> std::io::Result<()> {
        let woken = self
            .woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(woken) = woken else { return Ok(()) };
        let thread = std::thread::Builder::new().name("openings".to_owned());
        thread.spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Disconnected;
            loop {
                if let Err(error) = opening::work(&tenancy) {
                    log::error!("the queue of openings waits: {}", with_causes(&*error));
                }
                if woken.recv_timeout(NAP) == Err(Disconnected) {
                    return;
                }
            }
        })?;
        Ok(())
    }

    /// Notes what the steps are called when a hotel gets its tables.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        if let (Event::PreMigrate { pending, .. }, Some(_)) = (event, event.tenant::<Hotel>()) {
            let names = pending
                .iter()
                .map(|id| in_words(&id.name))
                .collect::<Vec<_>>();
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            if names.len() >= steps.len() {
                *steps = names; // not those of a release, which are fewer
            }
        }
    }

    fn wake(&self) {
        // If it is full, the thread is about to look anyway.
        let _ = self.wake.try_send(());
    }

    fn progress(&self, provisioning: &Provisioning, waiting: bool) -> Progress {
        let names = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.clone().into_iter().chain([OWNER.to_owned()]);
        let mut steps: Vec<_> = names.map(|name| Step { name, done: false }).collect();
        let total = steps.len();
        let mut problems = Vec::new();
        let (state, done) = match provisioning {
            Provisioning::Ready => (progress::State::Ready, total),
            Provisioning::Running { done, .. } => (progress::State::Working, *done),
            Provisioning::Failed { .. } if !waiting => {
                let problem = "We could not open your hotel. Its name stays yours.";
                problems.push(problem.to_owned());
                (progress::State::Failed, 0)
            }
            _ => (progress::State::Working, 0),
        };
        for step in steps.iter_mut().take(done) {
            step.done = true;
        }
        Progress {
            state,
            total,
            done: done.min(total),
            steps,
            problems,
        }
    }
}

/// The routes, of the public site.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/signup", get(form).post(submit))
        .route("/signup/{ticket}", get(watch))
        .route("/signup/{ticket}/progress", get(progress))
        .route("/signup/{ticket}/again", post(again))
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
    let ticket = secret::short()?;
    let to = format!("/signup/{ticket}");
    let saved = db.run(move |conn| opening::save(conn, &mut hotel, &owner, &ticket));
    match saved.await {
        Ok(()) => app.signups.wake(),
        Err(PageError::Failed(error)) if is_taken(&*error) => {
            let mut errors = Errors::default();
            errors.add("subdomain", "Another hotel lives there already.");
            return show(&app, &form, &errors);
        }
        Err(error) => return Err(error),
    }
    Ok(Redirect::to(&to).into_response())
}

/// Whether a name is in use: by a hotel, or by a schema that is none of ours.
fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let error = error.downcast_ref::<Error>();
        error.is_some_and(|error| {
            matches!(error, Error::Duplicate { .. } | Error::SchemaExists { .. })
        })
    })
}

/// The hotel of a ticket, and how far it is.
async fn look(app: &App, db: &PublicDb, ticket: String) -> Result<(Hotel, Progress), PageError> {
    if !secret::is_reference(&ticket) {
        return Err(PageError::NotFound);
    }
    let (tenancy, signups) = (app.tenancy.clone(), app.signups.clone());
    let found = db.run(move |conn| opening::look(conn, &ticket)).await?;
    let (hotel, waiting) = found.ok_or(PageError::NotFound)?;
    let reference = TenantRef::of(&hotel)?;
    let asked = tokio::task::spawn_blocking(move || tenancy.provisioning(&reference));
    let provisioning = asked
        .await
        .map_err(|error| PageError::Failed(error.into()))??;
    Ok((hotel, signups.progress(&provisioning, waiting)))
}

async fn watch(
    State(app): State<App>,
    db: PublicDb,
    Path(ticket): Path<String>,
) -> Result<Response, PageError> {
    let (hotel, progress) = look(&app, &db, ticket.clone()).await?;
    let hotel = Sign::of(&hotel, &app.address);
    let poll = format!("/signup/{ticket}/progress");
    let again = format!("/signup/{ticket}/again");
    let page = pages::page("progress.html", view! { hotel, poll, again, progress })?;
    Ok(page.into_response())
}

async fn progress(
    State(app): State<App>,
    db: PublicDb,
    Path(ticket): Path<String>,
) -> Result<Response, PageError> {
    let (_, progress) = look(&app, &db, ticket).await?;
    Ok(Json(progress).into_response())
}

async fn again(
    State(app): State<App>,
    db: PublicDb,
    Path(ticket): Path<String>,
) -> Result<Response, PageError> {
    let to = format!("/signup/{ticket}");
    if !secret::is_reference(&ticket) {
        return Err(PageError::NotFound);
    }
    if db.run(move |conn| opening::again(conn, &ticket)).await? == 0 {
        return Err(PageError::NotFound);
    }
    app.signups.wake();
    Ok(Redirect::to(&to).into_response())
}
