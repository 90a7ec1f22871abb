//! `COPY .. FROM STDIN` on a tenant's connection.
//!
//! Diesel keeps the trait behind `COPY .. TO STDOUT` to itself; there,
//! borrow the connection as a `PgConnection`: `diesel::copy_to(rooms::table).load(&mut **conn)`.

use diesel::pg::{CopyFromQuery, PgConnection};
use diesel::prelude::ExecuteCopyFromDsl;
use diesel::result::Error as DieselError;

use super::TenantConnection;

impl<T, A> ExecuteCopyFromDsl<TenantConnection> for CopyFromQuery<T, A>
where
    Self: ExecuteCopyFromDsl<PgConnection>,
    <Self as ExecuteCopyFromDsl<PgConnection>>::Error: From<DieselError>,
{
    type Error = <Self as ExecuteCopyFromDsl<PgConnection>>::Error;

    fn execute(self, conn: &mut TenantConnection) -> Result<usize, Self::Error> {
        conn.ensure()?;
        ExecuteCopyFromDsl::<PgConnection>::execute(self, &mut conn.inner)
    }
}
