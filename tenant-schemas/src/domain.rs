//! [`Domains`]: the domains of tenants that have a table of their own.

use diesel::Connection as _;

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::model::{DomainModel, RowId as _};

/// What happens to a tenant's domains. Every [`DomainModel`] has it.
///
/// The methods work on a connection of any scope; the table of domains is a shared one.
pub trait Domains: DomainModel {
    /// Saves the domain. If it is a primary one, the tenant's others become secondary.
    ///
    /// The value takes over what the database filled in.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. A domain that a tenant has
    /// already is refused by the database.
    fn save(&mut self, conn: &mut TenantConnection) -> Result<()> {
        let given = self.clone();
        let stored = public_transaction(conn, "saving the domain", |conn| {
            if given.is_primary() {
                Self::demote_rows_of(conn, given.tenant_id())?;
            }
            if !given.id().is_unset()
                && let Some(stored) = given.update_row(conn)?
            {
                return Ok(stored);
            }
            Ok(given.insert_row(conn)?)
        })?;
        *self = stored;
        Ok(())
    }

    /// Makes this the tenant's primary domain, and saves it.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    fn make_primary(&mut self, conn: &mut TenantConnection) -> Result<()> {
        let mut primary = self.clone();
        primary.set_primary(true);
        primary.save(conn)?;
        *self = primary;
        Ok(())
    }

    /// Deletes the domain and returns whether it was there.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn delete(&self, conn: &mut TenantConnection) -> Result<bool> {
        public_transaction(conn, "deleting the domain", |conn| {
            Ok(self.delete_row(conn)?)
        })
    }

    /// The domain of this name: a host name without scheme, port or path.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_domain(conn: &mut TenantConnection, domain: &str) -> Result<Option<Self>> {
        public_transaction(conn, "looking for the domain", |conn| {
            Ok(Self::row_by_domain(conn, domain)?)
        })
    }

    /// The domains of a tenant, the primary one first, the others by name.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn of(conn: &mut TenantConnection, tenant: &Self::TenantId) -> Result<Vec<Self>> {
        let mut domains = public_transaction(conn, "reading the domains", |conn| {
            Ok(Self::rows_of(conn, tenant)?)
        })?;
        domains.sort_by(|a, b| {
            b.is_primary()
                .cmp(&a.is_primary())
                .then_with(|| a.domain().cmp(b.domain()))
        });
        Ok(domains)
    }
}

impl<D: DomainModel> Domains for D {}

fn public_transaction<R>(
    conn: &mut TenantConnection,
    doing: &str,
    f: impl FnOnce(&mut TenantConnection) -> Result<R>,
) -> Result<R> {
    conn.with_public(|conn| conn.transaction(f))
        .map_err(|error| match error {
            Error::Database { source, .. } => Error::database(doing, source),
            error => error,
        })
}
