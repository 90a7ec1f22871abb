//! From a request to its tenant, over real sockets: the behaviours C70 to C76 and C79, and what
//! each framework adds.
//!
//! `actix` · those checks, and the middleware and extractors of actix-web
//! `checks` · what holds for every framework, asked over HTTP
//! `axum` · those checks, and the tower layer and axum's extractors
//! `http` · a client that sends what it is told, good or bad
//! `support` · tenant model, apps and databases, as the tests of the library have them
//! `world` · two hotels with the same keys, a site over them, a server for each test

mod actix;
mod axum;
mod checks;
mod http;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
mod support;
mod world;
