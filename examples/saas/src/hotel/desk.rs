//! The front desk: who stays where, and the rooms.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use chrono::{Datelike as _, Days, NaiveDate, Weekday};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::{Deserialize, Serialize};
use tenant_schemas::TenantConnection;
use tenant_schemas::web::{Tenant, TenantDb};

use super::chrome;
use super::front::today;
use crate::error::PageError;
use crate::form::Errors;
use crate::models::{Booking, Hotel, Room};
use crate::pages::{self, view};
use crate::schema::{bookings, length, rooms};
use crate::session::Staff;
use crate::state::App;

/// As many days are on the plan.
const DAYS: u64 = 14;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/desk", get(desk))
        .route("/desk/rooms", post(add_room))
        .route("/desk/bookings/{id}/cancel", post(cancel))
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct RoomForm {
    number: String,
    name: String,
    price: String,
}

struct NewRoom {
    number: String,
    name: String,
    price: i32,
}

impl RoomForm {
    fn read(&self) -> Result<NewRoom, Errors> {
        let mut errors = Errors::default();
        let (number, name) = (self.number.trim(), self.name.trim());
        errors.require("number", !number.is_empty(), "What is on the door?");
        errors.require(
            "number",
            number.chars().count() <= 8,
            "At most 8 characters.",
        );
        errors.require("name", !name.is_empty(), "What do you call it?");
        errors.require("name", name.chars().count() <= 40, "At most 40 characters.");
        errors.require_line("number", number);
        errors.require_line("name", name);
        let price = self.price.trim().parse();
        let price = price.ok().filter(|price| (1..=100_000).contains(price));
        match price {
            Some(price) if errors.is_empty() => Ok(NewRoom {
                number: number.to_owned(),
                name: name.to_owned(),
                price,
            }),
            _ => {
                errors.require("price", price.is_some(), "Whole euros, from 1 to 100000.");
                Err(errors)
            }
        }
    }
}

/// A day on the plan.
#[derive(Serialize)]
struct Day {
    weekday: String,
    number: u32,
    weekend: bool,
}

/// A room on the plan, and who stays there.
#[derive(Serialize)]
struct Row {
    room: Room,
    stays: Vec<Stay>,
}

/// A booking on the plan, cut at its edges.
#[derive(Serialize)]
struct Stay {
    guest: String,
    column: i64,
    span: i64,
}

/// A booking in the list.
#[derive(Serialize)]
struct Entry {
    id: i32,
    guest: String,
    reference: String,
    room: String,
    arrival: String,
    departure: String,
    nights: i64,
    here: bool,
}

struct Plan {
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

impl Plan {
    fn read(conn: &mut TenantConnection, from: NaiveDate) -> QueryResult<Self> {
        let rooms: Vec<Room> = rooms::table
            .order((length(rooms::number), rooms::number))
            .select(Room::as_select())
            .load(conn)?;
        let coming: Vec<(Booking, String)> = bookings::table
            .inner_join(rooms::table)
            .filter(bookings::departure.gt(from))
            .order((bookings::arrival, bookings::id))
            .select((Booking::as_select(), rooms::number))
            .load(conn)?;
        let row = |room: Room| Row {
            stays: coming
                .iter()
                .filter(|(booking, _)| booking.room_id == room.id)
                .filter_map(|(booking, _)| Stay::of(booking, from))
                .collect(),
            room,
        };
        Ok(Self {
            rows: rooms.into_iter().map(row).collect(),
            entries: coming
                .into_iter()
                .map(|(booking, room)| Entry::of(booking, room, from))
                .collect(),
        })
    }
}

impl Stay {
    fn of(booking: &Booking, from: NaiveDate) -> Option<Self> {
        let days = DAYS.cast_signed();
        let first = (booking.arrival - from).num_days().max(0);
        let last = (booking.departure - from).num_days().min(days);
        (first < days).then(|| Self {
            guest: booking.guest.clone(),
            column: first + 1,
            span: last - first,
        })
    }
}

impl Entry {
    fn of(booking: Booking, room: String, today: NaiveDate) -> Self {
        Self {
            id: booking.id,
            room,
            arrival: booking.arrival.format("%a %-d %b").to_string(),
            departure: booking.departure.format("%a %-d %b").to_string(),
            nights: (booking.departure - booking.arrival).num_days(),
            here: booking.arrival <= today,
            guest: booking.guest,
            reference: booking.reference,
        }
    }
}

async fn desk(
    staff: Staff,
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
) -> Result<Html<String>, PageError> {
    let errors = Errors::default();
    show(&app, &hotel, &db, &staff, RoomForm::default(), errors).await
}

async fn show(
    app: &App,
    hotel: &Hotel,
    db: &TenantDb,
    staff: &Staff,
    form: RoomForm,
    errors: Errors,
) -> Result<Html<String>, PageError> {
    let from = today();
    let Plan { rows, entries } = db
        .run(move |conn| Ok::<_, PageError>(Plan::read(conn, from)?))
        .await?;
    let days: Vec<Day> = (0..DAYS)
        .map(|ahead| from + Days::new(ahead))
        .map(|date| Day {
            weekday: date.format("%a").to_string(),
            number: date.day(),
            weekend: matches!(date.weekday(), Weekday::Sat | Weekday::Sun),
        })
        .collect();
    let chrome = chrome(app, hotel, Some(staff));
    let view = view! { days, rows, entries, form, errors, ..chrome };
    pages::page("desk.html", view)
}

async fn add_room(
    staff: Staff,
    State(app): State<App>,
    hotel: Tenant<Hotel>,
    db: TenantDb,
    Form(form): Form<RoomForm>,
) -> Result<Response, PageError> {
    let errors = match form.read() {
        Err(errors) => errors,
        Ok(room) => {
            if db.run(move |conn| insert(conn, &room)).await? {
                return Ok(Redirect::to("/desk").into_response());
            }
            let mut errors = Errors::default();
            errors.add("number", "There is a room of this number.");
            errors
        }
    };
    let page = show(&app, &hotel, &db, &staff, form, errors).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Whether the number was free.
fn insert(conn: &mut TenantConnection, room: &NewRoom) -> Result<bool, PageError> {
    let inserted = diesel::insert_into(rooms::table)
        .values((
            rooms::number.eq(&room.number),
            rooms::name.eq(&room.name),
            rooms::price.eq(room.price),
        ))
        .execute(conn);
    match inserted {
        Ok(_) => Ok(true),
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The id is the hotel's own: the same number is another booking elsewhere.
async fn cancel(_: Staff, db: TenantDb, Path(id): Path<i32>) -> Result<Redirect, PageError> {
    db.run(
        move |conn| match diesel::delete(bookings::table.find(id)).execute(conn)? {
            0 => Err(PageError::NotFound),
            _ => Ok(()),
        },
    )
    .await?;
    Ok(Redirect::to("/desk"))
}
