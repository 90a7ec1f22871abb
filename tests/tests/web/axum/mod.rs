//! Axum: the checks of every framework, and what is its own.

mod extractors; // arguments of handlers, and what is said where they can't be had
mod layers; // other layers around and inside, and services that are not axum's
mod routes; // two routers, what is added to them, the URI as it was
mod server;

use crate::checks::checks_of;

checks_of! { server::Axum }
