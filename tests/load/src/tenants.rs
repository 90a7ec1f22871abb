//! Who is served: a model, two apps, and tenants with a row each, of the same key.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tenant_schemas::{
    App, AppScope, Lifecycle as _, SchemaName, Tenancy, TenantConnection, TenantModel,
};

use crate::Failure;

const SHARED: EmbeddedMigrations = embed_migrations!("migrations/shared");
const TENANTS: EmbeddedMigrations = embed_migrations!("migrations/tenants");

/// Those who stay as they are.
const STAYING: usize = 200;

/// Those whose domain or schema is renamed all the time.
const MOVING: usize = 8;

diesel::table! {
    tenants (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        name -> Text,
    }
}

diesel::table! {
    rooms (id) {
        id -> Integer,
        name -> Text,
        visits -> BigInt,
    }
}

/// A tenant.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = tenants)]
pub(crate) struct Client {
    pub(crate) id: i32,
    pub(crate) schema_name: SchemaName,
    pub(crate) domain_url: String,
    pub(crate) name: String,
}

/// A tenant, and what its answers have to be.
pub(crate) struct Guest {
    pub(crate) tenant: Client,
    pub(crate) secret: String,
    pub(crate) moves: bool,
}

pub(crate) fn shared() -> App {
    App::new("shared", AppScope::Shared).migrations(SHARED)
}

pub(crate) fn tenants_app() -> App {
    App::new("tenants", AppScope::Tenant).migrations(TENANTS)
}

/// Saves all tenants, each with its secret in the room 1.
pub(crate) fn settle(tenancy: &Tenancy<Client>) -> Result<Vec<Guest>, Failure> {
    tenancy.migrate().shared().run()?.into_result()?;
    let mut guests = Vec::new();
    for number in 0..STAYING + MOVING {
        let moves = number >= STAYING;
        let name = if moves { "moving" } else { "staying" };
        let schema: SchemaName = format!("{name}_{number}").parse()?;
        let mut tenant = Client::new(schema, format!("{name}-{number}.test"));
        name.clone_into(&mut tenant.name);
        tenant.save(&mut *tenancy.public()?)?;
        let secret = format!("{:016x}{:016x}", random(), random());
        diesel::insert_into(rooms::table)
            .values((rooms::id.eq(1), rooms::name.eq(&secret)))
            .execute(&mut *tenancy.tenant(&tenant)?)?;
        guests.push(Guest {
            tenant,
            secret,
            moves,
        });
    }
    Ok(guests)
}

/// What is in a tenant's room 1.
pub(crate) fn secret_of(conn: &mut TenantConnection) -> QueryResult<String> {
    rooms::table.find(1).select(rooms::name).first(conn)
}

/// The other domain and schema of a tenant that moves: there and back again.
pub(crate) fn moved(name: &str, suffix: &str) -> String {
    match name.strip_suffix(suffix) {
        Some(back) => back.to_owned(),
        None => format!("{name}{suffix}"),
    }
}

/// Host, secret and whether it may be away, for each host.
pub(crate) fn lines(guests: &[Guest]) -> String {
    let mut lines = String::new();
    for guest in guests {
        let (host, secret) = (&guest.tenant.domain_url, &guest.secret);
        let moves = u8::from(guest.moves);
        let _ = writeln!(lines, "{host} {secret} {moves}");
        if guest.moves {
            let _ = writeln!(lines, "{} {secret} {moves}", moved(host, ".moved"));
        }
    }
    lines
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// One of them.
pub(crate) fn any<T>(all: &[T]) -> &T {
    let index = random() % u64::try_from(all.len()).unwrap_or(1);
    &all[usize::try_from(index).unwrap_or(0)]
}
