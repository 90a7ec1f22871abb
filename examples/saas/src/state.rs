//! [`App`]: what all handlers share.

use std::sync::Arc;

use tenant_schemas::Tenancy;
use tenant_schemas::session::SessionSeal;

use crate::console::Console;
use crate::models::Hotel;
use crate::signup::Signups;

/// What all handlers share. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The hotels and their schemas.
    pub(crate) tenancy: Tenancy<Hotel>,
    /// Where all of it is to be found.
    pub(crate) address: Arc<Address>,
    /// What closes the cookies of sessions.
    pub(crate) seal: SessionSeal,
    /// Hotels that are being opened.
    pub(crate) signups: Arc<Signups>,
    /// What the operator does.
    pub(crate) console: Arc<Console>,
}

/// Where the public site and the hotels are.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// The host name of the public site; hotels are one label below.
    pub(crate) domain: String,
    /// The port, as browsers have to say it.
    pub(crate) port: u16,
}

impl Address {
    /// The public site's first page.
    #[must_use]
    pub(crate) fn home(&self) -> String {
        self.of_host(&self.domain)
    }

    /// A hotel's first page.
    #[must_use]
    pub(crate) fn of(&self, hotel: &Hotel) -> String {
        self.of_host(&hotel.domain_url)
    }

    fn of_host(&self, host: &str) -> String {
        match self.port {
            80 => format!("http://{host}/"),
            port => format!("http://{host}:{port}/"),
        }
    }
}
