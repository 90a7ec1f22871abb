//! The program whose command line is tested. `PROGRAM` holds words that change it.

#![expect(missing_docs, reason = "nobody but the tests sees the tables")]

#[expect(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../it/support.rs"]
mod support;

use std::env;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Jsonb, SmallInt};
use tenant_schemas::auth::{Auth, Hasher, NewUser, Superusers, Users};
use tenant_schemas::manage::{Manage, PlainCommand, TenantCommand, clap};
use tenant_schemas::{
    App, AppScope, BoxError, DomainModel, SchemaName, Tenancy, TenancyBuilder, TenantConnection,
    TenantModel, manage,
};
use uuid::Uuid;

use self::support::sql_app;

diesel::table! {
    clients (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        name -> Text,
        paid_until -> Nullable<Date>,
        on_trial -> Bool,
        rooms_at_most -> Integer,
        email -> Nullable<Text>,
    }
}

/// A tenant with its domain on the row.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    domain_url: String,
    /// The name on the invoice.
    name: String,
    /// The last day that is paid for.
    paid_until: Option<NaiveDate>,
    #[tenant(default = true)]
    on_trial: bool,
    #[tenant(default = 10)]
    rooms_at_most: i32,
    /// Where invoices go.
    email: Option<String>,
}

diesel::table! {
    firms (id) {
        id -> Uuid,
        schema_name -> Text,
    }
}

diesel::table! {
    domains (id) {
        id -> Integer,
        domain -> Text,
        tenant_id -> Uuid,
        is_primary -> Bool,
    }
}

/// A tenant whose domains have a table of their own, and whose schema goes with it.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = firms)]
#[tenant(domains = Domain, auto_drop_schema = true)]
struct Firm {
    id: Uuid,
    schema_name: SchemaName,
}

#[expect(clippy::struct_field_names, reason = "a domain model has a domain")]
#[derive(Debug, Clone, Queryable, Selectable, DomainModel)]
#[diesel(table_name = domains)]
struct Domain {
    id: i32,
    domain: String,
    tenant_id: Uuid,
    is_primary: bool,
}

diesel::table! {
    places (id) {
        id -> BigInt,
        schema_name -> Text,
        domain_url -> Nullable<Text>,
        plan -> SmallInt,
        partner -> Uuid,
        settings -> Jsonb,
        discount -> Double,
        opened_at -> Timestamptz,
        listed -> Nullable<Bool>,
        tags -> Array<Text>,
        created_at -> Timestamptz,
    }
}

/// A tenant with fields of many types, of which text can give all but one.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = places)]
struct Place {
    id: i64,
    schema_name: SchemaName,
    domain_url: Option<String>,
    #[tenant(default = Plan::Free)]
    plan: Plan,
    partner: Uuid,
    settings: Json,
    discount: f64,
    opened_at: DateTime<Utc>,
    listed: Option<bool>,
    #[tenant(not_from_text, default)]
    tags: Vec<String>,
    #[tenant(generated)]
    #[expect(dead_code, reason = "the tests look at it in the database")]
    created_at: DateTime<Utc>,
}

/// What is paid for: a word for people, a number in the database.
#[derive(Debug, Clone, Copy, AsExpression, FromSqlRow)]
#[diesel(sql_type = SmallInt)]
enum Plan {
    Free,
    Team,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "free",
            Self::Team => "team",
        })
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "free" => Ok(Self::Free),
            "team" => Ok(Self::Team),
            _ => Err("there are `free` and `team`".to_owned()),
        }
    }
}

impl ToSql<SmallInt, Pg> for Plan {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let number: i16 = match self {
            Self::Free => 0,
            Self::Team => 1,
        };
        <i16 as ToSql<SmallInt, Pg>>::to_sql(&number, &mut out.reborrow())
    }
}

impl FromSql<SmallInt, Pg> for Plan {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match <i16 as FromSql<SmallInt, Pg>>::from_sql(value)? {
            0 => Ok(Self::Free),
            1 => Ok(Self::Team),
            other => Err(format!("{other} is no plan").into()),
        }
    }
}

/// A JSON document.
#[derive(Debug, Clone, Default, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
struct Json(serde_json::Value);

impl FromStr for Json {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        text.parse().map(Self)
    }
}

/// The binary form of `jsonb` begins with its version.
const JSONB: u8 = 1;

impl ToSql<Jsonb, Pg> for Json {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB])?;
        write!(out, "{}", self.0)?;
        Ok(IsNull::No)
    }
}

impl FromSql<Jsonb, Pg> for Json {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            [JSONB, text @ ..] => Ok(Self(serde_json::from_slice(text)?)),
            other => Err(format!("{other:?} is no jsonb").into()),
        }
    }
}

fn main() {
    if word("domains") {
        run(manage(|| tenancy::<Firm>(firms_app())))
    } else if word("places") {
        run(manage(|| tenancy::<Place>(places_app())))
    } else if word("built") {
        let tenancy = tenancy::<Client>(clients_app()).expect("a tenancy");
        run(manage(tenancy))
    } else {
        if word("twice") {
            let again = manage(|| tenancy::<Client>(clients_app())).command(Hold);
            again.run_from(env::args_os());
        }
        run(manage(|| tenancy::<Client>(clients_app()))
            .plain_command(Count)
            .plain_command(Visit))
    }
}

fn run<T: TenantModel>(manage: Manage<T>) -> ! {
    let manage = manage
        .about("A program under test")
        .command(Greet)
        .command(Hold);
    let manage = if word("loud") {
        manage.command(Loud)
    } else {
        manage
    };
    let manage = if word("loud_plain") {
        manage.plain_command(Loud)
    } else {
        manage
    };
    let manage = if word("purge") {
        manage.plain_command(Purge)
    } else {
        manage
    };
    let manage = if word("doctor_too") {
        manage.plain_command(DoctorToo)
    } else {
        manage
    };
    if word("staff") {
        manage.superusers(Staff).run()
    } else {
        manage
            .superusers(Users::with_hasher(
                Hasher::with_cost(8, 1, 1).expect("a cheap hasher"),
            ))
            .run()
    }
}

fn word(word: &str) -> bool {
    env::var("PROGRAM").is_ok_and(|words| words.split_whitespace().any(|own| own == word))
}

fn tenancy<T: TenantModel>(shared: App) -> Result<Tenancy<T>, BoxError> {
    let url = env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    let builder = Tenancy::<T>::builder(url).pool_size(5).app(shared);
    Ok(apps(builder).build()?)
}

fn clients_app() -> App {
    shared_app(
        "CREATE TABLE clients (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
         schema_name varchar(63) NOT NULL UNIQUE, domain_url text NOT NULL UNIQUE, name text NOT NULL, \
         paid_until date, on_trial boolean NOT NULL, rooms_at_most integer NOT NULL, email text)",
        "DROP TABLE clients",
    )
}

fn firms_app() -> App {
    shared_app(
        "CREATE TABLE firms (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), schema_name varchar(63) NOT NULL UNIQUE); \
         CREATE TABLE domains (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
         domain text NOT NULL UNIQUE, tenant_id uuid NOT NULL REFERENCES firms (id), \
         is_primary boolean NOT NULL)",
        "DROP TABLE domains; DROP TABLE firms",
    )
}

fn places_app() -> App {
    shared_app(
        "CREATE TABLE places (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
         schema_name varchar(63) NOT NULL UNIQUE, domain_url text UNIQUE, plan smallint NOT NULL, \
         partner uuid NOT NULL, settings jsonb NOT NULL, discount double precision NOT NULL, \
         opened_at timestamptz NOT NULL, listed boolean, tags text[] NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now())",
        "DROP TABLE places",
    )
}

fn shared_app(up: &str, down: &str) -> App {
    let mut migrations = vec![("2024-01-01-000000_create_tenants", up, down)];
    if word("release2") {
        migrations.push((
            "2024-06-01-000000_create_plans",
            "CREATE TABLE plans (id integer PRIMARY KEY)",
            "DROP TABLE plans",
        ));
    }
    sql_app("customers", AppScope::Shared, &migrations)
}

/// The tenant apps, by release.
fn apps<T: TenantModel>(builder: TenancyBuilder<T>) -> TenancyBuilder<T> {
    let rooms = "CREATE TABLE rooms (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
                 name text NOT NULL, price numeric NOT NULL DEFAULT 100)";
    let mut hotels = vec![("2024-01-02-000000_create_rooms", rooms, "DROP TABLE rooms")];
    hotels.push((
        "2024-01-03-000000_create_bookings",
        "CREATE TABLE bookings (id integer PRIMARY KEY, room_id integer NOT NULL REFERENCES rooms (id), \
         guest text, loud text GENERATED ALWAYS AS (upper(guest)) STORED)",
        "DROP TABLE bookings",
    ));
    if word("release2") {
        hotels.push((
            "2024-06-02-000000_rooms_have_floors",
            "ALTER TABLE rooms ADD COLUMN floor integer",
            "ALTER TABLE rooms DROP COLUMN floor",
        ));
    }
    if word("release3") {
        hotels.push((
            "2024-06-03-000000_number_the_floors",
            "UPDATE rooms SET nothing = 1",
            "",
        ));
    }
    if word("changed") {
        hotels[0].1 = "CREATE TABLE rooms (id integer PRIMARY KEY, name text, price numeric)";
    }
    if word("lock") {
        hotels.push((
            "2024-07-01-000000_wait",
            "SELECT pg_advisory_xact_lock(4242)",
            "",
        ));
    }
    if word("concurrently") {
        let column = if word("wrong") { "nothing" } else { "name" };
        let index: &'static str = format!("CREATE INDEX CONCURRENTLY ON rooms ({column})").leak();
        hotels.push(("2024-08-01-000000_index_rooms!", index, ""));
    }
    let builder = builder.app(sql_app("hotels", AppScope::Tenant, &hotels));
    let builder = if word("typed") {
        let up = "CREATE TABLE pools (id integer)";
        let pools = sql_app("pools", AppScope::Tenant, &[("1_pools", up, "")]);
        builder.app(pools.types(["hotel"]))
    } else {
        builder
    };
    let builder = if word("gym") {
        builder.app(sql_app(
            "gym",
            AppScope::Tenant,
            &[(
                "2024-02-03-000000_create_weights",
                "CREATE TABLE weights (id integer)",
                "DROP TABLE weights",
            )],
        ))
    } else {
        builder
    };
    let builder = if word("spa") {
        builder.app(sql_app(
            "spa",
            AppScope::Tenant,
            &[(
                "2024-02-01-000000_create_baths",
                "CREATE TABLE baths (id integer)",
                "DROP TABLE baths",
            )],
        ))
    } else {
        builder
    };
    if word("staff") {
        builder.app(sql_app(
            "staff",
            AppScope::Tenant,
            &[(
                "2024-02-02-000000_create_staff",
                "CREATE TABLE staff (login text, role text)",
                "DROP TABLE staff",
            )],
        ))
    } else {
        builder.app(Auth)
    }
}

/// Greets, from a tenant.
struct Greet;

#[derive(clap::Args)]
struct GreetArgs {
    /// Whom to greet.
    #[arg(long, default_value = "guest")]
    guest: String,
    /// Fail in the tenant that has this schema.
    #[arg(long)]
    fail_in: Option<String>,
    /// How to say it.
    words: Vec<String>,
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
        let schema = conn.schema_name().cloned().ok_or("no scope")?;
        if args.fail_in.as_deref() == Some(schema.as_str()) {
            return Err("nobody is at the desk".into());
        }
        let words = if args.words.is_empty() {
            "hello".to_owned()
        } else {
            args.words.join(" ")
        };
        writeln!(out, "{schema}: {words} {}", args.guest)?;
        Ok(())
    }
}

/// Says so, and waits for a file.
struct Hold;

#[derive(clap::Args)]
struct HoldArgs {
    /// The file.
    until: PathBuf,
}

impl TenantCommand for Hold {
    const NAME: &'static str = "hold";
    const ABOUT: &'static str = "Waits for a file";
    type Args = HoldArgs;

    fn run(
        &self,
        args: &HoldArgs,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        wait_for(&args.until)?;
        writeln!(out, "{}: let go", conn.schema_name().ok_or("no scope")?)?;
        Ok(())
    }
}

/// Says so, and waits for a file.
fn wait_for(file: &Path) -> Result<(), BoxError> {
    eprintln!("holding");
    for _ in 0..6_000 {
        if file.exists() {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    Err("the file did not come".into())
}

/// Counts the tenants.
struct Count;

#[derive(clap::Args)]
struct CountArgs {
    /// What to call them.
    #[arg(default_value = "tenants")]
    noun: String,
}

impl PlainCommand<Client> for Count {
    const NAME: &'static str = "count";
    const ABOUT: &'static str = "Counts the tenants";
    type Args = CountArgs;

    fn run(
        &self,
        args: &CountArgs,
        tenancy: &Tenancy<Client>,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        writeln!(out, "{} {}", tenancy.tenants()?.len(), args.noun)?;
        Ok(())
    }
}

/// A command whose `-v` would be that of `--verbosity`.
struct Loud;

#[derive(clap::Args)]
struct LoudArgs {
    /// How loud.
    #[arg(short)]
    volume: Option<u8>,
}

impl TenantCommand for Loud {
    const NAME: &'static str = "loud";
    const ABOUT: &'static str = "Is loud";
    type Args = LoudArgs;

    fn run(
        &self,
        _: &LoudArgs,
        _: &mut TenantConnection,
        _: &mut dyn Write,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T: TenantModel> PlainCommand<T> for Loud {
    const NAME: &'static str = "loud";
    const ABOUT: &'static str = "Is loud";
    type Args = LoudArgs;

    fn run(&self, _: &LoudArgs, _: &Tenancy<T>, _: &mut dyn Write) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A command that is about a schema, and whose `--exclude` is about something else.
struct Purge;

#[derive(clap::Args)]
struct PurgeArgs {
    /// The tenant.
    #[arg(long)]
    schema: String,
    /// A table that stays.
    #[arg(long)]
    exclude: Option<String>,
}

impl<T: TenantModel> PlainCommand<T> for Purge {
    const NAME: &'static str = "purge";
    const ABOUT: &'static str = "Purges a tenant";
    type Args = PurgeArgs;

    fn run(&self, _: &PurgeArgs, _: &Tenancy<T>, _: &mut dyn Write) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A command with the name of another.
struct DoctorToo;

#[derive(clap::Args)]
struct NoArgs {}

impl<T: TenantModel> PlainCommand<T> for DoctorToo {
    const NAME: &'static str = "doctor";
    const ABOUT: &'static str = "Heals";
    type Args = NoArgs;

    fn run(&self, _: &NoArgs, _: &Tenancy<T>, _: &mut dyn Write) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Visits one tenant, and takes its schema as the commands of the library do.
struct Visit;

#[derive(clap::Args)]
struct VisitArgs {
    /// The tenant.
    #[arg(long)]
    schema: Option<SchemaName>,
    /// Stay until there is this file.
    #[arg(long)]
    until: Option<PathBuf>,
}

impl PlainCommand<Client> for Visit {
    const NAME: &'static str = "visit";
    const ABOUT: &'static str = "Visits a tenant";
    type Args = VisitArgs;

    fn run(
        &self,
        args: &VisitArgs,
        _: &Tenancy<Client>,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        let schema = args.schema.as_ref().ok_or("whom?")?;
        if schema.as_str() == "closed" {
            return Err("the door is locked".into());
        }
        if let Some(file) = &args.until {
            wait_for(file)?;
        }
        writeln!(out, "visited {schema}")?;
        Ok(())
    }
}

/// Superusers of a table of one's own.
struct Staff;

impl Superusers for Staff {
    fn create_superuser(&self, conn: &mut TenantConnection, new: NewUser) -> Result<(), BoxError> {
        diesel::sql_query("INSERT INTO staff VALUES ($1, 'owner')")
            .bind::<diesel::sql_types::Text, _>(&new.username)
            .execute(conn)?;
        Ok(())
    }
}
