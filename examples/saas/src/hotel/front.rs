//! What guests see: the rooms, and the form to book one.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use chrono::{NaiveDate, Utc};
use diesel::prelude::*;
use serde::Serialize;
use tenant_schemas::TenantConnection;
use tenant_schemas::web::{Tenant, TenantDb};

use super::chrome;
use super::wish::{BookingForm, Wish};
use crate::error::PageError;
use crate::form::Errors;
use crate::models::{Booking, Hotel, Room};
use crate::pages::{self, view};
use crate::schema::{bookings, length, rooms};
use crate::secret;
use crate::state::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(front))
        .route("/bookings", post(book))
        .route("/bookings/{reference}", get(booked))
}

/// A room, and whether someone has it tonight.
#[derive(Serialize)]
struct Offer {
    #[serde(flatten)]
    room: Room,
    taken: bool,
}

fn offers(conn: &mut TenantConnection, tonight: NaiveDate) -> QueryResult<Vec<Offer>> {
    let taken: Vec<i32> = bookings::table
        .filter(bookings::arrival.le(tonight))
        .filter(bookings::departure.gt(tonight))
        .select(bookings::room_id)
        .load(conn)?;
    let rooms = rooms::table
        .order((length(rooms::number), rooms::number))
        .select(Room::as_select())
        .load(conn)?;
    let offer = |room: Room| Offer {
        taken: taken.contains(&room.id),
        room,
    };
    Ok(rooms.into_iter().map(offer).collect())
}

async fn front(
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
) -> Result<Html<String>, PageError> {
    let form = BookingForm::new(today());
    show(&app, &hotel, &db, form, Errors::default(), None).await
}

async fn show(
    app: &App,
    hotel: &Hotel,
    db: &TenantDb,
    form: BookingForm,
    errors: Errors,
    sorry: Option<String>,
) -> Result<Html<String>, PageError> {
    let today = today();
    let offers = db
        .run(move |conn| Ok::<_, PageError>(offers(conn, today)?))
        .await?;
    let chrome = chrome(app, hotel, None);
    let view = view! { offers, form, errors, sorry, today => today.to_string(), ..chrome };
    pages::page("hotel.html", view)
}

async fn book(
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    Form(form): Form<BookingForm>,
) -> Result<Response, PageError> {
    let wish = match form.read(today()) {
        Ok(wish) => wish,
        Err(errors) => {
            let page = show(&app, &hotel, &db, form, errors, None).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let reference = secret::short()?;
    let to = format!("/bookings/{reference}");
    match db.run(move |conn| insert(conn, &wish, &reference)).await? {
        Booked::Yes => Ok(Redirect::to(&to).into_response()),
        Booked::Taken => {
            let sorry = "Someone was quicker: that room is taken on these days. \
                         Another room, or other days?";
            let page = show(
                &app,
                &hotel,
                &db,
                form,
                Errors::default(),
                Some(sorry.into()),
            )
            .await?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Booked::NoSuchRoom => {
            let mut errors = Errors::default();
            errors.add("room", "There is no such room.");
            let page = show(&app, &hotel, &db, form, errors, None).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

enum Booked {
    Yes,
    Taken,
    NoSuchRoom,
}

/// Books, unless the database says that it can't be: looking first would leave a gap for another.
///
/// Who books a room holds its row: of several at once each waits its turn. Without, two that have both written wait
/// for each other at the constraint, and PostgreSQL ends one of them as a deadlock.
fn insert(conn: &mut TenantConnection, wish: &Wish, reference: &str) -> Result<Booked, PageError> {
    conn.transaction(|conn| {
        let room: Option<i32> = rooms::table
            .find(wish.room)
            .select(rooms::id)
            .for_no_key_update()
            .first(conn)
            .optional()?;
        if room.is_none() {
            return Ok(Booked::NoSuchRoom);
        }
        let inserted = diesel::insert_into(bookings::table)
            .values((
                bookings::reference.eq(reference),
                bookings::room_id.eq(wish.room),
                bookings::guest.eq(&wish.guest),
                bookings::arrival.eq(wish.arrival),
                bookings::departure.eq(wish.departure),
            ))
            .on_conflict_do_nothing()
            .execute(conn)?;
        Ok(if inserted == 1 {
            Booked::Yes
        } else {
            Booked::Taken
        })
    })
}

async fn booked(
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    Path(reference): Path<String>,
) -> Result<Html<String>, PageError> {
    if !secret::is_reference(&reference) {
        return Err(PageError::NotFound);
    }
    let (booking, room) = db
        .run(move |conn| {
            let found = bookings::table
                .inner_join(rooms::table)
                .filter(bookings::reference.eq(reference))
                .select((Booking::as_select(), Room::as_select()))
                .first(conn)?;
            Ok::<_, PageError>(found)
        })
        .await?;
    let nights = (booking.departure - booking.arrival).num_days();
    let total = nights * i64::from(room.price);
    let day = |date: NaiveDate| date.format("%A, %-d %B %Y").to_string();
    let (arrival, departure) = (day(booking.arrival), day(booking.departure));
    let chrome = chrome(&app, &hotel, None);
    let view = view! { booking, room, nights, total, arrival, departure, ..chrome };
    pages::page("booked.html", view)
}

/// Today, in UTC: a hotel of one's own would have a time zone.
pub(super) fn today() -> NaiveDate {
    Utc::now().date_naive()
}
