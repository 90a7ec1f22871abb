//! The table `openings`: a queue that survives the program, and what is kept for the owner.

use std::str::FromStr as _;

use diesel::prelude::*;
use tenant_schemas::auth::{self, Hasher, NewUser, auth_users};
use tenant_schemas::jobs::{InTenant, ProvisionTenant, Provisioning};
use tenant_schemas::{
    BoxError, DeleteOptions, Event, Lifecycle as _, SaveOptions, Tenancy, TenantConnection,
};

use crate::error::PageError;
use crate::models::Hotel;
use crate::schema::{hotels, openings};
use crate::secret;

/// As many hotels may wait to be opened.
const QUEUE: i64 = 32;

/// Saves a hotel, its place in the queue, and the hash of its owner's password: all or nothing.
pub(super) fn save(
    conn: &mut TenantConnection,
    hotel: &mut Hotel,
    owner: &NewUser,
    ticket: &str,
) -> Result<(), PageError> {
    let hash = Hasher::default().hash(&owner.password)?;
    conn.transaction(|conn| {
        let waiting = openings::table.filter(openings::waiting);
        if waiting.count().get_result::<i64>(conn)? >= QUEUE {
            return Err(PageError::Busy);
        }
        hotel.save_with(conn, SaveOptions::new().auto_create_schema(false))?;
        diesel::update(openings::table.find(hotel.id))
            .set((
                openings::ticket.eq(ticket),
                openings::email.eq(&owner.username),
                openings::password_hash.eq(hash),
            ))
            .execute(conn)?;
        Ok(())
    })
}

/// Puts the job of a hotel into the queue, in the transaction that saves the hotel.
pub(crate) fn enqueue(
    conn: &mut TenantConnection,
    envelope: &InTenant<ProvisionTenant>,
) -> Result<(), BoxError> {
    let hotel = i32::from_str(envelope.tenant().id())?;
    diesel::insert_into(openings::table)
        .values(openings::hotel_id.eq(hotel))
        .execute(conn)?;
    Ok(())
}

/// Makes the owner of a hotel whose schema was made, in the same transaction, and forgets the hash.
pub(crate) fn hand_over(event: &Event<'_>, conn: &mut TenantConnection) -> Result<(), BoxError> {
    let (Event::PostSchemaSync { .. }, Some(hotel)) = (event, event.tenant::<Hotel>()) else {
        return Ok(());
    };
    conn.with_public(|conn| {
        let opening = openings::table.find(hotel.id);
        let kept: Option<(Option<String>, Option<String>)> = opening
            .select((openings::email, openings::password_hash))
            .first(conn)
            .optional()?;
        let Some((Some(email), Some(hash))) = kept else {
            return Ok(()); // it was handed over before
        };
        conn.with_tenant(hotel, |conn| {
            // The account comes first, with a password that nobody knows: the hash is there already.
            let nobodys = secret::random().map_err(|error| error.to_string())?;
            let owner = NewUser::new(&email, nobodys).email(&email);
            let owner = auth::create_superuser(conn, owner)?;
            diesel::update(auth_users::table.find(owner.id))
                .set(auth_users::password_hash.eq(hash))
                .execute(conn)?;
            Ok::<_, BoxError>(())
        })?;
        diesel::update(opening)
            .set(openings::password_hash.eq(None::<String>))
            .execute(conn)?;
        Ok(())
    })
}

/// Does the jobs that wait, one after the other.
pub(super) fn work(tenancy: &Tenancy<Hotel>) -> Result<(), BoxError> {
    loop {
        let next: Option<Hotel> = openings::table
            .inner_join(hotels::table)
            .filter(openings::waiting)
            .order(openings::hotel_id)
            .select(Hotel::as_select())
            .first(&mut *tenancy.public()?)
            .optional()?;
        let Some(hotel) = next else { return Ok(()) };
        let job = InTenant::new(&hotel, ProvisionTenant::new())?;
        if let Err(error) = tenancy.provision_job(&job) {
            // Without a reason the page would say for ever that the hotel is being opened: it waits.
            let Provisioning::Failed { .. } = tenancy.provisioning(job.tenant())? else {
                return Err(error.into());
            };
            log::error!(
                "{} was not opened: {}",
                hotel.schema_name,
                crate::error::with_causes(&error)
            );
        }
        // Only now: if the program ends before, the job is done at the next start.
        diesel::update(openings::table.find(hotel.id))
            .set(openings::waiting.eq(false))
            .execute(&mut *tenancy.public()?)?;
    }
}

/// The hotel of a ticket, and whether its job waits or is being done.
pub(super) fn look(
    conn: &mut TenantConnection,
    ticket: &str,
) -> Result<Option<(Hotel, bool)>, diesel::result::Error> {
    openings::table
        .inner_join(hotels::table)
        .filter(openings::ticket.eq(ticket))
        .select((Hotel::as_select(), openings::waiting))
        .first(conn)
        .optional()
}

/// Puts a job into the queue again.
pub(super) fn again(conn: &mut TenantConnection, ticket: &str) -> QueryResult<usize> {
    diesel::update(openings::table.filter(openings::ticket.eq(ticket)))
        .set(openings::waiting.eq(true))
        .execute(conn)
}

/// Gives the names back of hotels that have neither a schema nor an opening: those of a
/// demonstration that ended in the middle.
pub(crate) fn forget_unfinished(tenancy: &Tenancy<Hotel>) -> Result<(), BoxError> {
    let status = tenancy.status()?;
    let mut conn = tenancy.public()?;
    for schema in status.tenants.iter().filter(|schema| !schema.exists) {
        let Some(hotel) = Hotel::by_schema(&mut conn, schema.schema.as_str())? else {
            continue;
        };
        let opening = openings::table.find(hotel.id).count();
        if opening.get_result::<i64>(&mut *conn)? == 0 {
            log::warn!("{} was never opened, its name is free again", schema.schema);
            let row_alone = DeleteOptions::new().auto_drop_schema(false);
            hotel.delete_with(&mut conn, row_alone)?;
        }
    }
    Ok(())
}
