//! The behaviour of tenant-schemas on a real PostgreSQL. A test whose name begins with `cNN_` is
//! the behaviour of that number in the conformance list.
//!
//! `support` · what the tests share: a tenant model, apps out of SQL text, databases
//! `auth` · users of each tenant: hashes, isolation, a table of one's own
//! `bad_input` · what goes wrong outside, and what is said about it
//! `declared` · models that are declared shared or a tenant's
//! `domains` · domains, on the tenant's row and in a table of their own
//! `generation` · connections look again once a change is committed
//! `lifecycle` · a tenant is saved, adopted and deleted, all or nothing
//! `models` · tenant models of many shapes: keys, field types, types of tenants
//! `names` · schema names: keywords, the quoted policy, what is refused
//! `pooler` · PgBouncer, where it is installed
//! `public_tenant` · the row whose schema is the shared one
//! `rename_drop` · a tenant's schema is renamed or dropped, and what is not a tenant's is left alone
//! `signals` · what listeners are told, and what becomes of their failures
//! `smoke` · the program of the README's first page
//! `tenancy` · the tenancy and its builder: every knob, every contradiction, work for each tenant
//! `testing` · databases and tenants for tests

mod auth;
mod bad_input;
mod declared;
mod domains;
mod generation;
mod lifecycle;
mod models;
mod names;
mod pooler;
mod public_tenant;
mod rename_drop;
mod signals;
mod smoke;
mod support;
mod tenancy;
mod testing;
