//! Hotels to look at, so that nobody begins in an empty street.
//!
//! They are opened by the first release of the program. What runs is the second: the
//! console shows what they lack, and has a button.

use chrono::{Days, Utc};
use diesel::prelude::*;
use tenant_schemas::auth::{self, Auth, AuthError, NewUser};
use tenant_schemas::{Lifecycle as _, SaveOptions, Tenancy, TenantConnection};

use crate::models::{Hotel, Hotels, House};
use crate::schema::{bookings, rooms};

/// Who owns every hotel of the demonstration.
pub const OWNER: &str = "owner@example.com";

/// Their password.
pub const PASSWORD: &str = "open sesame";

const HOTELS: [(&str, &str, &str); 6] = [
    ("grand-miramar", "Grand Miramar", "ocean"),
    ("alpenrose", "Alpenrose", "pine"),
    ("casa-azul", "Casa Azul", "midnight"),
    ("old-mill", "The Old Mill", "olive"),
    ("maison-prune", "Maison Prune", "plum"),
    ("cinnabar", "Cinnabar House", "terracotta"),
];

const ROOMS: [(&str, &str, i32); 5] = [
    ("101", "Garden single", 79),
    ("102", "Garden double", 109),
    ("201", "Balcony double", 129),
    ("202", "Corner room", 139),
    ("301", "Under the roof", 189),
];

/// Guests: their room, and the days of arrival and departure counted from today.
const GUESTS: [(&str, &str, u64, u64); 8] = [
    ("Ada Lovelace", "101", 0, 3),
    ("Grace Hopper", "101", 4, 9),
    ("Alan Turing", "102", 1, 6),
    ("Katherine Johnson", "201", 0, 2),
    ("Edsger Dijkstra", "201", 3, 8),
    ("Barbara Liskov", "202", 5, 12),
    ("Donald Knuth", "301", 2, 5),
    ("Margaret Hamilton", "301", 7, 13),
];

/// Opens the hotels of the demonstration, if there is no hotel yet. Returns whether it did.
pub(crate) fn open_hotels(database_url: &str, domain: &str) -> Result<bool, AuthError> {
    let tenancy = Tenancy::<Hotel>::builder(database_url)
        .app(Hotels)
        .app(Auth)
        .app(House)
        .include_shared(false)
        .pool_size(2)
        .build()?;
    if !tenancy.tenants()?.is_empty() {
        return Ok(false);
    }
    for (at, (label, name, theme)) in HOTELS.into_iter().enumerate() {
        let schema = label
            .replace('-', "_")
            .parse()
            .map_err(tenant_schemas::Error::from)?;
        let mut hotel = Hotel::new(schema, format!("{label}.{domain}"))
            .name(name)
            .theme(theme);
        let later = SaveOptions::new().auto_create_schema(false);
        hotel.save_with(&mut *tenancy.public()?, later)?;
        let owner = NewUser::new(OWNER, PASSWORD).email(OWNER);
        let mut conn = tenancy.public()?;
        conn.transaction(|conn| {
            hotel.provision(conn)?;
            conn.with_tenant(&hotel, |conn| auth::create_superuser(conn, owner).map(drop))
        })?;
        let mut conn = tenancy.tenant(&hotel)?;
        furnish(&mut conn, at)?;
    }
    Ok(true)
}

/// The same rooms for all, and other guests.
fn furnish(conn: &mut TenantConnection, at: usize) -> QueryResult<()> {
    let today = Utc::now().date_naive();
    for (number, name, price) in ROOMS {
        diesel::insert_into(rooms::table)
            .values((
                rooms::number.eq(number),
                rooms::name.eq(name),
                rooms::price.eq(price),
            ))
            .execute(conn)?;
    }
    for (index, (guest, number, from, to)) in GUESTS.into_iter().enumerate() {
        if (index + at) % 4 == 3 {
            continue; // not every hotel is full
        }
        let room = rooms::table.filter(rooms::number.eq(number));
        let room: i32 = room.select(rooms::id).first(conn)?;
        diesel::insert_into(bookings::table)
            .values((
                bookings::reference.eq(format!("demo-{at}-{index}")),
                bookings::room_id.eq(room),
                bookings::guest.eq(guest),
                bookings::arrival.eq(today + Days::new(from)),
                bookings::departure.eq(today + Days::new(to)),
            ))
            .execute(conn)?;
    }
    Ok(())
}
