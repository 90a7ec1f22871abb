//! actix-web: the checks of every framework, and what is its own.

mod extractors; // arguments of handlers, and what is said where they can't be had
mod middleware; // other middleware around and inside, answers to requests that are refused
mod routes; // scopes and guards, prefixes, the URI as it was, HTTP/2
mod server;

use crate::checks::checks_of;

checks_of! { server::Actix }
