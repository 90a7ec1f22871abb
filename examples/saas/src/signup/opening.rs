//! A hotel is opened, all of it or nothing.

use diesel::Connection as _;
use tenant_schemas::auth::{self, AuthError, NewUser};
use tenant_schemas::{DeleteOptions, Lifecycle as _, Tenancy};

use crate::models::Hotel;

/// A hotel whose row is saved, and whose schema is not made yet.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) ticket: String,
    pub(crate) hotel: Hotel,
    pub(crate) owner: NewUser,
}

/// Makes the schema, its tables and the owner; if that fails, gives the name back.
pub(crate) fn open(tenancy: &Tenancy<Hotel>, opening: &Opening) -> Result<(), AuthError> {
    let Opening { hotel, owner, .. } = opening;
    let mut conn = tenancy.public()?;
    let opened = conn.transaction(|conn| {
        hotel.provision(conn)?;
        conn.with_tenant(hotel, |conn| {
            auth::create_superuser(conn, owner.clone()).map(drop)
        })
    });
    if opened.is_err() {
        // The schema was rolled back. One that is there now is someone else's.
        let row_alone = DeleteOptions::new().auto_drop_schema(false);
        hotel.delete_with(&mut conn, row_alone)?;
    }
    opened
}

/// Gives the names back that were taken when the program ended in the middle. For one program
/// alone on its database: with several, openings belong into a queue that all can see.
///
/// The password of such an owner is gone with the program, so there is nothing to go on with.
pub(crate) fn forget_unfinished(tenancy: &Tenancy<Hotel>) -> tenant_schemas::Result<()> {
    let status = tenancy.status()?;
    let mut conn = tenancy.public()?;
    for schema in status.tenants.iter().filter(|schema| !schema.exists) {
        if let Some(hotel) = Hotel::by_schema(&mut conn, schema.schema.as_str())? {
            log::warn!("{} was never opened, its name is free again", schema.schema);
            let row_alone = DeleteOptions::new().auto_drop_schema(false);
            hotel.delete_with(&mut conn, row_alone)?;
        }
    }
    Ok(())
}
