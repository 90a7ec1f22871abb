//! The first chapter of tenant-schemas, as a program that says what it does and checks it.
//!
//! A company rents software to hotels. Its customers and a list of countries
//! are shared; rooms and bookings are each hotel's own, in a schema of its own.

use std::error::Error;
use std::process::ExitCode;

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use quickstart::schema::{bookings, countries, rooms};
use quickstart::{Booking, Bookings, Client, Customers, Hotels, Room};
use tenant_schemas::testing::TestDatabase;
use tenant_schemas::{App, Lifecycle as _, SchemaName, Tenancy, TenantConnection, tenant_app};

/// Has a mistake in its SQL.
#[tenant_app(migrations = "migrations/faulty")]
struct Faulty;

/// What the next release adds to `Hotels`.
const NEXT_RELEASE: EmbeddedMigrations = embed_migrations!("migrations/release_2");

fn main() -> ExitCode {
    let Err(error) = chapter() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.for_each(|cause| eprintln!("cause: {cause}"));
    ExitCode::FAILURE
}

#[expect(
    clippy::too_many_lines,
    reason = "a chapter is read from top to bottom"
)]
fn chapter() -> Result<(), Box<dyn Error>> {
    let database = TestDatabase::new()?;
    if std::env::var("DATABASE_URL").is_ok_and(|url| !url.is_empty()) {
        println!("Using the server of DATABASE_URL, and a database of its own there.");
    } else {
        println!("DATABASE_URL is not set: a private PostgreSQL is running.");
    }
    let url = database.url();

    step("Build the tenancy and migrate what is shared");
    let tenancy = Tenancy::<Client>::builder(&url)
        .app(Customers)
        .app(Hotels)
        .app(Bookings)
        .build()?;
    tenancy.migrate().shared().run()?.into_result()?;
    let mut conn = tenancy.public()?;
    let tables = tables_of(&mut conn, "public")?;
    println!("  `public` has {}", tables.join(", "));
    assert!(tables.contains(&"clients".to_owned()) && !tables.contains(&"rooms".to_owned()));

    step("The public tenant: the company's own website");
    let mut company = Client::new(SchemaName::public(), "my-domain.com")
        .name("Schemas Inc.")
        .on_trial(false);
    company.save(&mut conn)?;
    println!("  {} is at {}", company.name, company.domain_url);

    step("Two real tenants: saving one makes its schema");
    let mut fonzy = Client::new("tenant1".parse()?, "tenant.my-domain.com")
        .name("Fonzy Tenant")
        .paid_until(NaiveDate::from_ymd_opt(2026, 12, 5));
    let mut potsie = Client::new("tenant2".parse()?, "potsie.my-domain.com").name("Potsie Tenant");
    for tenant in [&mut fonzy, &mut potsie] {
        let saved = tenant.save(&mut conn)?;
        let tables = tables_of(&mut conn, tenant.schema_name.as_str())?;
        println!(
            "  {} has id {}, {} migrations, and in schema {}: {}",
            tenant.name,
            tenant.id,
            saved.applied.len(),
            tenant.schema_name,
            tables.join(", ")
        );
        assert_eq!(tables, ["__tenant_migrations", "bookings", "rooms"]);
    }

    step("Rows under the same keys in both");
    let mut at_fonzy = tenancy.tenant(&fonzy)?;
    let mut at_potsie = tenancy.tenant(&potsie)?;
    fill(&mut at_fonzy, ["Blue Room", "Jukebox Suite"], ("Ada", "GB"))?;
    fill(&mut at_potsie, ["Red Room", "Attic"], ("Hideo", "JP"))?;
    println!("  each has rooms 1 and 2, and booking 1");

    step("The same query, by tenant");
    let rooms_of = |conn: &mut TenantConnection| {
        rooms::table
            .select(Room::as_select())
            .order(rooms::id)
            .load(conn)
    };
    for (tenant, conn) in [(&fonzy, &mut at_fonzy), (&potsie, &mut at_potsie)] {
        let names: Vec<String> = rooms_of(conn)?.into_iter().map(|room| room.name).collect();
        println!("  {}: {}", tenant.domain_url, names.join(", "));
    }
    assert_eq!(rooms_of(&mut at_fonzy)?[0].name, "Blue Room");
    assert_eq!(rooms_of(&mut at_potsie)?[0].name, "Red Room");

    step("A shared table, joined from both");
    for (tenant, conn, expected) in [
        (&fonzy, &mut at_fonzy, "Ada from United Kingdom"),
        (&potsie, &mut at_potsie, "Hideo from Japan"),
    ] {
        let (guest, country): (String, String) = bookings::table
            .inner_join(countries::table)
            .select((bookings::guest, countries::name))
            .first(conn)?;
        println!("  {}: {guest} from {country}", tenant.domain_url);
        assert_eq!(format!("{guest} from {country}"), expected);
    }
    drop((at_fonzy, at_potsie));

    step("From a domain to its tenant");
    let found = Client::by_domain(&mut conn, "tenant.my-domain.com")?;
    assert_eq!(found.as_ref(), Some(&fonzy));
    println!("  tenant.my-domain.com belongs to {}", fonzy.name);
    assert_eq!(Client::by_domain(&mut conn, "nobody.my-domain.com")?, None);

    step("A provisioning that fails leaves nothing");
    let faulty = Tenancy::<Client>::builder(&url)
        .app(Customers)
        .app(Hotels)
        .app(Faulty)
        .build()?;
    let mut chachi = Client::new("tenant3".parse()?, "chachi.my-domain.com").name("Chachi Tenant");
    let error = chachi
        .save(&mut *faulty.public()?)
        .expect_err("the migration has a mistake");
    println!("  error: {error}");
    if let Some(cause) = error.source() {
        println!("  cause: {cause}");
    }
    assert!(error.to_string().contains("line 5"), "{error}");
    assert_eq!(Client::by_schema(&mut conn, "tenant3")?, None);
    assert!(tables_of(&mut conn, "tenant3")?.is_empty());
    println!("  no row, no schema, no table of tenant3");

    step("The next release has one migration more");
    let hotels = App::from(Hotels).migrations(NEXT_RELEASE);
    let next_release = Tenancy::<Client>::builder(&url)
        .app(Customers)
        .app(hotels)
        .app(Bookings)
        .build()?;
    let pending = next_release.migrate().check()?;
    println!("  pending in {} schemas", pending.schemas.len());
    assert_eq!(pending.schemas.len(), 2);
    for (schema, done) in next_release.migrate().jobs(2).run()?.into_result()? {
        let applied: Vec<String> = done.applied.iter().map(ToString::to_string).collect();
        println!(
            "  {schema}: {}",
            if applied.is_empty() {
                "nothing to do"
            } else {
                &applied[0]
            }
        );
    }
    assert!(next_release.migrate().check()?.is_empty());
    let prices: Vec<i32> = diesel::sql_query("SELECT price FROM rooms ORDER BY id")
        .load::<Price>(&mut next_release.tenant(&fonzy)?)?
        .into_iter()
        .map(|row| row.price)
        .collect();
    assert_eq!(prices, [100, 100]);

    println!("\nEverything was as expected.");
    Ok(())
}

fn step(title: &str) {
    println!("\n{title}");
}

/// Writes two rooms and a booking of the first.
fn fill(conn: &mut TenantConnection, rooms: [&str; 2], guest: (&str, &str)) -> QueryResult<()> {
    conn.transaction(|conn| {
        for (id, name) in (1..).zip(rooms) {
            diesel::insert_into(rooms::table)
                .values(Room {
                    id,
                    name: name.to_owned(),
                })
                .execute(conn)?;
        }
        diesel::insert_into(bookings::table)
            .values(Booking {
                id: 1,
                room_id: 1,
                guest: guest.0,
                country_code: guest.1,
            })
            .execute(conn)?;
        Ok(())
    })
}

#[derive(QueryableByName)]
struct Price {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    price: i32,
}

/// The names of the tables in a schema.
fn tables_of(conn: &mut TenantConnection, schema: &str) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Table {
        #[diesel(sql_type = diesel::sql_types::Text)]
        tablename: String,
    }
    let tables: Vec<Table> = diesel::sql_query(
        "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1 ORDER BY 1",
    )
    .bind::<diesel::sql_types::Text, _>(schema)
    .load(conn)?;
    Ok(tables.into_iter().map(|table| table.tablename).collect())
}
