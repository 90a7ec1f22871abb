//! The apps and the models of the examples: hotels that rent software.
//!
//! Its customers and a list of countries are shared; rooms and bookings are
//! each hotel's own, in a schema of its own.

#[expect(missing_docs, reason = "the columns are those of the models")]
pub mod schema;

use chrono::NaiveDate;
use diesel::prelude::*;
use tenant_schemas::{SchemaName, TenantModel, shared_app, tenant_app};

use crate::schema::{bookings, clients, rooms};

/// Lives once, in `public`.
#[shared_app(migrations = "migrations/customers")]
#[derive(Debug)]
pub struct Customers;

/// Lives in every tenant's schema.
#[tenant_app(migrations = "migrations/hotels")]
#[derive(Debug)]
pub struct Hotels;

/// Lives in every tenant's schema, and refers to the tables of `Hotels`.
#[tenant_app(migrations = "migrations/bookings", after = [Hotels])]
#[derive(Debug)]
pub struct Bookings;

/// A customer: the tenant.
#[shared_app]
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
pub struct Client {
    /// The key.
    pub id: i32,
    /// The schema of the customer's own data.
    pub schema_name: SchemaName,
    /// The host name of the customer's site.
    pub domain_url: String,
    /// The name on the invoice.
    pub name: String,
    /// The last day that is paid for.
    pub paid_until: Option<NaiveDate>,
    /// Whether the customer is only trying.
    #[tenant(default = true)]
    pub on_trial: bool,
}

/// A room of a hotel.
#[tenant_app]
#[derive(Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = rooms)]
pub struct Room {
    /// The number on the door.
    pub id: i32,
    /// What the hotel calls it.
    pub name: String,
}

/// A booking of a room.
#[tenant_app]
#[derive(Debug, PartialEq, Insertable)]
#[diesel(table_name = bookings)]
pub struct Booking<'a> {
    /// The key.
    pub id: i32,
    /// Which room.
    pub room_id: i32,
    /// Who stays there.
    pub guest: &'a str,
    /// Where they come from.
    pub country_code: &'a str,
}
