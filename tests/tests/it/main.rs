//! The behaviour of tenant-schemas on a real PostgreSQL. A test whose name begins with `cNN_` is
//! the behaviour of that number in the conformance list.
//!
//! `lifecycle` · a tenant is saved, adopted and deleted, all or nothing
//! `support` · what the tests share: a tenant model, apps out of SQL text, databases
//! `auth` · users of each tenant: hashes, isolation, a table of one's own
//! `generation` · connections look again once a change is committed
//! `pooler` · PgBouncer, where it is installed
//! `smoke` · the program of the README's first page

mod auth;
mod generation;
mod lifecycle;
mod pooler;
mod smoke;
mod support;
