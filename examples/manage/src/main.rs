//! `manage`: the command line over the apps of the quickstart, with a database that is kept.
//!
//! The database is that of `DATABASE_URL`, or a private one in
//! `.tenant-schemas` of the directory in which it is called; `TENANT_SCHEMAS_DATA`
//! names another directory.

mod database;

use std::io::Write;

use diesel::prelude::*;
use quickstart::schema::rooms;
use quickstart::{Bookings, Client, Customers, Hotels};
use tenant_schemas::auth::Auth;
use tenant_schemas::manage::{TenantCommand, clap};
use tenant_schemas::{BoxError, Tenancy, TenantConnection, manage};

fn main() {
    manage(|| {
        let tenancy = Tenancy::<Client>::builder(database::url()?)
            .app(Customers)
            .app(Hotels)
            .app(Bookings)
            .app(Auth)
            .build()?;
        Ok::<_, BoxError>(tenancy)
    })
    .about("Manages hotels: the apps of the quickstart, on a database that is kept")
    .command(Greet)
    .run()
}

/// Greets the guests of a hotel.
struct Greet;

#[derive(clap::Args)]
struct GreetArgs {
    /// Whom to greet.
    #[arg(long, default_value = "dear guest")]
    guest: String,
}

impl TenantCommand for Greet {
    const NAME: &'static str = "greet";
    const ABOUT: &'static str = "Greets a guest";
    type Args = GreetArgs;

    fn run(
        &self,
        args: &GreetArgs,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        let Some(hotel) = conn.tenant::<Client>().cloned() else {
            writeln!(out, "Welcome to us all, {}!", args.guest)?;
            return Ok(());
        };
        let rooms: i64 = rooms::table.count().get_result(conn)?;
        let rooms = match rooms {
            1 => "1 room".to_owned(),
            rooms => format!("{rooms} rooms"),
        };
        writeln!(
            out,
            "Welcome to {}, {}! We have {rooms}.",
            hotel.name, args.guest
        )?;
        Ok(())
    }
}
