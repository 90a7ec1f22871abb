//! The apps, and the rows of their tables.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use serde::Serialize;
use tenant_schemas::web::PublicDb;
use tenant_schemas::{App, Lifecycle as _, SchemaName, TenantModel, shared_app, tenant_app};

use crate::error::PageError;
use crate::schema::{bookings, hotels, rooms};

/// What there is once: the list of hotels.
#[shared_app(migrations = "migrations/hotels")]
#[derive(Debug)]
pub(crate) struct Hotels;

/// What every hotel has of its own: rooms, bookings, sessions, a logo. Sessions are those of users, so
/// it comes behind the app `Auth`.
#[tenant_app(migrations = "migrations/house")]
#[derive(Debug)]
pub(crate) struct House;

const RELEASE_2: EmbeddedMigrations = embed_migrations!("migrations/release_2");

impl House {
    /// The app as its second release has it.
    ///
    /// The release only adds what no page reads yet, so it serves hotels that are
    /// migrated and hotels that are not. The third one may read it.
    #[must_use]
    pub(crate) fn release_2() -> App {
        App::from(Self).migrations(RELEASE_2)
    }
}

/// A hotel: the tenant.
#[shared_app]
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = hotels)]
pub(crate) struct Hotel {
    /// The key.
    pub(crate) id: i32,
    /// The schema of what is the hotel's own.
    pub(crate) schema_name: SchemaName,
    /// The host name of its site.
    pub(crate) domain_url: String,
    /// The name above the door.
    pub(crate) name: String,
    /// The name of a [`Theme`](crate::theme::Theme).
    #[tenant(default = "pine")]
    pub(crate) theme: String,
    /// Whether its site is closed by the operator.
    #[tenant(default = false)]
    pub(crate) suspended: bool,
}

impl Hotel {
    /// Changes the row of a hotel, as it is now.
    ///
    /// A handler's own copy may be older: saved whole, it would undo what someone
    /// else changed meanwhile. `save` rather than an `UPDATE`, so that this
    /// process knows at once.
    ///
    /// # Errors
    ///
    /// [`PageError::NotFound`] if there is no such hotel; what the database says.
    pub(crate) async fn change(
        db: &PublicDb,
        schema: SchemaName,
        change: impl FnOnce(&mut Self) + Send + 'static,
    ) -> Result<Self, PageError> {
        db.transaction(move |conn| {
            let mut hotel = hotels::table
                .filter(hotels::schema_name.eq(schema.as_str()))
                .select(Self::as_select())
                .for_update()
                .first(conn)?;
            change(&mut hotel);
            hotel.save(conn)?;
            Ok(hotel)
        })
        .await
    }
}

/// A room of a hotel.
#[tenant_app]
#[derive(Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = rooms)]
pub(crate) struct Room {
    /// The key.
    pub(crate) id: i32,
    /// The number on the door: another hotel has the same.
    pub(crate) number: String,
    /// What the hotel calls it.
    pub(crate) name: String,
    /// For a night, in euros.
    pub(crate) price: i32,
}

/// A booking of a room.
#[tenant_app]
#[derive(Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = bookings)]
pub(crate) struct Booking {
    /// The key.
    pub(crate) id: i32,
    /// What the guest is told, and nobody guesses.
    pub(crate) reference: String,
    /// Which room.
    pub(crate) room_id: i32,
    /// Who stays there.
    pub(crate) guest: String,
    /// The first night.
    pub(crate) arrival: NaiveDate,
    /// The morning after the last.
    pub(crate) departure: NaiveDate,
}
