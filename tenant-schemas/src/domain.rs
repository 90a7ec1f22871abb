//! [`Domains`]: the domains of tenants that have a table of their own.

use std::net::IpAddr;

use diesel::Connection as _;

use crate::connection::TenantConnection;
use crate::error::{Error, Result, unique_violation};
use crate::model::{DomainModel, RowId as _};
use crate::{ledger, sql};

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
    /// Nothing is changed if there is an error. [`Error::Domain`] if the domain is
    /// no host name in lower case, [`Error::DuplicateDomain`] if a tenant has it already.
    fn save(&mut self, conn: &mut TenantConnection) -> Result<()> {
        check_domain(self.domain())?;
        let given = self.clone();
        let doing = format!("saving domain {}", self.domain());
        let stored = public_transaction(conn, &doing, |conn| {
            if given.is_primary() {
                // Two that become primary at once would not see each other's row.
                let table = Self::domain_table().table;
                let key = ledger::key_of(&format!("{table}/{}", given.tenant_id()));
                conn.own(|inner| sql::lock_in_transaction(inner, key))?;
                Self::demote_rows_of(conn, given.tenant_id())?;
            }
            if !given.id().is_unset()
                && let Some(stored) = given.update_row(conn)?
            {
                return Ok(stored);
            }
            Ok(given.insert_row(conn)?)
        })
        .map_err(|error| duplicate(self.domain(), error))?;
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

    /// The domain of this name: a host name without scheme, port or path, in any case.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn by_domain(conn: &mut TenantConnection, domain: &str) -> Result<Option<Self>> {
        public_transaction(conn, "looking for the domain", |conn| {
            Ok(Self::row_by_domain(conn, &domain.to_lowercase())?)
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

fn duplicate(domain: &str, error: Error) -> Error {
    match error {
        Error::Database { source, doing } => match unique_violation(&source) {
            Some(detail) => Error::DuplicateDomain {
                domain: domain.to_owned(),
                detail,
                source,
            },
            None => Error::Database { doing, source },
        },
        error => error,
    }
}

/// Refuses what no request's host could ever be equal to.
pub(crate) fn check_domain(domain: &str) -> Result<()> {
    let literal = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(domain);
    if literal.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let rule = if domain.is_empty() {
        "it is empty"
    } else if domain.contains("://") {
        "it has a scheme"
    } else if domain.contains(['/', '?', '#']) {
        "it has a path"
    } else if domain.contains(':') {
        "it has a port"
    } else if domain.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "it has white space"
    } else if domain.contains(char::is_uppercase) {
        "it has upper case, and hosts are compared in lower case"
    } else if !domain.is_ascii() {
        "it has letters that no host has: write it as `xn--..`"
    } else if domain.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
        "it has characters that no host has"
    } else if domain.split('.').any(str::is_empty) {
        "it has a dot too many"
    } else if domain.len() > 253 {
        "it is longer than 253 bytes"
    } else {
        return Ok(());
    };
    Err(Error::Domain {
        domain: domain.to_owned(),
        rule,
    })
}

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

#[cfg(test)]
mod tests {
    use super::check_domain;

    #[test]
    fn hosts_are_domains() {
        for domain in [
            "localhost",
            "tenant.my-domain.com",
            "tenant_1.my-domain.com",
            "1.2.3.4",
            "::1",
            "[::1]",
            "xn--mnchen-3ya.de",
        ] {
            check_domain(domain).expect(domain);
        }
    }

    #[test]
    fn what_no_host_can_be_is_refused_with_the_rule() {
        for (domain, rule) in [
            ("", "it is empty"),
            ("https://acme.com", "it has a scheme"),
            ("acme.com/app", "it has a path"),
            ("acme.com:8000", "it has a port"),
            ("acme .com", "it has white space"),
            ("acme.com\n", "it has white space"),
            ("Acme.com", "it has upper case"),
            ("münchen.de", "write it as `xn--..`"),
            ("*.acme.com", "characters that no host has"),
            ("acme..com", "a dot too many"),
            (&"a".repeat(254), "longer than 253 bytes"),
        ] {
            let error = check_domain(domain).expect_err(domain).to_string();
            assert!(error.contains(rule), "{error:?} does not say {rule:?}");
            assert!(error.contains(&format!("{domain:?}")), "{error:?}");
            assert!(error.contains("give the host name alone"), "{error:?}");
        }
    }
}
