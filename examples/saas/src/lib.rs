//! Innkeep: a small service for hotels, on tenant-schemas and axum.
//!
//! Every hotel is a tenant with a schema of its own, and lives at a host of its own:
//! rooms, bookings, staff, sessions and a logo are there, and nowhere else. What is
//! shared is the list of hotels.
//!
//! In reading order:
//!
//! | module | |
//! |---|---|
//! | `models`, `schema` | the apps and their tables; nothing in them knows of tenants |
//! | `state` | what handlers share |
//! | `public`, `signup`, `console` | the public site: first page, opening a hotel, the operator |
//! | `hotel` | the site of a hotel: guests, front desk, settings, logo |
//! | `session`, `secret`, `security` | who is who, and what may be sent from where |
//! | `pages`, `form`, `theme`, `progress` | what pages are made of |
//! | `demo` | hotels to look at |

mod console;
mod demo;
mod error;
mod form;
mod hotel;
mod models;
mod pages;
mod progress;
mod public;
mod schema;
mod secret;
mod security;
mod session;
mod signup;
mod state;
mod theme;

use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use tenant_schemas::auth::Auth;
use tenant_schemas::jobs::provision_later;
use tenant_schemas::resolve::{Host, Subdomain};
use tenant_schemas::session::SessionSeal;
use tenant_schemas::web::{Refusal, Site};
use tenant_schemas::{BoxError, Event, Tenancy};

use crate::console::{Console, Release};
use crate::models::{Hotel, Hotels, House};
use crate::signup::Signups;
use crate::state::{Address, App};

pub use crate::demo::{OWNER, PASSWORD};

/// What the program is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database.
    pub database_url: String,
    /// The host of the public site; hotels are one label below.
    pub domain: String,
    /// The port, as browsers have to say it.
    pub port: u16,
    /// What the operator has to know.
    pub operator_password: String,
    /// Whether hotels are opened to look at, if there are none.
    pub demo: bool,
    /// How much longer each migration takes, so that one can watch. Nothing, in earnest.
    pub pace: Duration,
}

fn made_up_secret() -> Result<String, BoxError> {
    Ok(secret::random().map_err(|error| error.to_string())?)
}

/// A password that nobody guesses.
///
/// # Errors
///
/// If the operating system has no randomness.
pub fn made_up_password() -> Result<String, BoxError> {
    Ok(secret::short().map_err(|error| error.to_string())?)
}

/// The whole program as a router, with its database migrated. It blocks.
///
/// # Errors
///
/// If the database can't be reached or migrated.
pub fn app(config: &Config) -> Result<Router, BoxError> {
    let signups = Arc::<Signups>::default();
    let release = Arc::<Release>::default();
    let tenancy = tenancy(config, &signups, &release)?;
    // What is shared comes first. The hotels are the operator's to migrate, see `console`.
    tenancy.migrate().shared().run()?.into_result()?;
    signup::forget_unfinished(&tenancy)?;
    if config.demo {
        demo::open_hotels(&config.database_url, &config.domain)?;
    }
    signups.start(tenancy.clone())?;
    let site = Site::builder(&tenancy)
        .resolver(Subdomain::of(&config.domain).hyphens_as_underscores())
        .resolver(Host::new()) // a hotel may have a domain of its own
        .bypass(public::STATIC)
        .suspended_if(|hotel: &Hotel| hotel.suspended)
        .build();
    let address = Arc::new(Address {
        domain: config.domain.clone(),
        port: config.port,
    });
    let app = App {
        signups,
        console: Arc::new(Console::new(&config.operator_password, release)?),
        // With a secret from outside, logins would outlive a restart, and count in every process.
        seal: SessionSeal::new(made_up_secret()?)?,
        address: Arc::clone(&address),
        tenancy,
    };
    let home = address.home();
    let layer = site
        .layer()
        .refuse_with(move |refusal: &Refusal, _: &_| public::refusal(refusal, &home));
    let router = layer.routes(public::routes(app.clone()), hotel::routes(app));
    Ok(router.layer(middleware::from_fn(security::guard)))
}

fn tenancy(
    config: &Config,
    signups: &Arc<Signups>,
    release: &Arc<Release>,
) -> tenant_schemas::Result<Tenancy<Hotel>> {
    let (signups, release, pace) = (Arc::clone(signups), Arc::clone(release), config.pace);
    Tenancy::builder(&config.database_url)
        .app(Hotels)
        .app(Auth)
        .app(House::release_2())
        // A hotel that lacks a table fails, instead of finding one in `public`.
        .include_shared(false)
        .listener_in_transaction(move |event, _| {
            if let Event::MigrationApplied { .. } = event {
                std::thread::sleep(pace);
            }
            signups.hear(event);
            Ok(())
        })
        .listener_in_transaction(provision_later::<Hotel>(signup::enqueue))
        .listener_in_transaction(signup::hand_over)
        .listener(move |event| {
            release.hear(event);
            Ok(())
        })
        .build()
}
