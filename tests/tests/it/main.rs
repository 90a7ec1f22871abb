//! The behaviour of tenant-schemas on a real PostgreSQL. A test whose name begins with `cNN_` is
//! the behaviour of that number in the conformance list.
//!
//! `support` · what the tests share: a tenant model, apps out of SQL text, databases
//! `adopt_diesel` · coming aboard from Diesel's own harness, and where migrations come from
//! `affinity` · which of a pool's sessions a tenant gets
//! `at_once` · what one transaction can do, done by one message
//! `auth` · users of each tenant: hashes, isolation, a table of one's own
//! `bad_input` · what goes wrong outside, and what is said about it
//! `by_hand` · transactions, savepoints, roles and schemas that a program changes by hand
//! `clone` · a tenant made out of another
//! `concurrent` · two deployers, tenants made meanwhile, a schema that is busy
//! `crash` · the program, the server or a connection killed in the middle
//! `declared` · models that are declared shared or a tenant's
//! `deferred` · what runs at the end of a transaction runs in its scope
//! `diesel_face` · a Diesel connection in every way, and none of them without a tenant
//! `directory` · who a host leads to, remembered, and forgotten when it changes
//! `doctor` · what is wrong with a fleet is found, and the advice helps
//! `domains` · domains, on the tenant's row and in a table of their own
//! `dump` · a tenant as a file, and back
//! `fall_through` · where PostgreSQL would pass by a schema, and go on to `public`
//! `first_statement` · the path on its way with the first statement of a checkout
//! `fleet` · what a check costs, what `verify` sees, who is told, and who walks the fleet
//! `generation` · connections look again once a change is committed
//! `home` · statements that name their schema, from a session where nothing of anybody's is found
//! `isolation` · whose rows a query sees, after transactions and scopes that failed too
//! `jobs` · a job and its tenant: what travels, where it runs, and when it does not
//! `jobs_provision` · tenants that get their schema from a job, and a page that shows how far it is
//! `jobs_schedule` · periodic jobs, fanned out over tenants by one process of several
//! `keys` · foreign keys to shared tables, made last
//! `lifecycle` · a tenant is saved, adopted and deleted, all or nothing
//! `migrate_failures` · what becomes of a run in which something fails, and who is to blame
//! `migrate_kinds` · migrations outside a transaction, in Rust, and with values added to an enum
//! `migrate_targets` · list, plan, check, fake, and going to a version of an app
//! `migrate_where` · which app is migrated where, in which order, and what its migrations see
//! `models` · tenant models of many shapes: keys, field types, types of tenants
//! `moved_path` · SQL of the user's own that moves the search path
//! `names` · schema names: keywords, the quoted policy, what is refused
//! `plans` · prepared statements and types across tenants and migrations
//! `poison` · connections to which something happened
//! `pooler` · PgBouncer, where it is installed
//! `public_tenant` · the row whose schema is the shared one
//! `ready` · schemas that are made ahead of their tenants
//! `rename_drop` · a tenant's schema is renamed or dropped, and what is not a tenant's is left alone
//! `round_trips` · how many messages the server gets, counted by the server
//! `scopes` · scopes lent for a closure
//! `session` · a session that counts for one tenant alone
//! `signals` · what listeners are told, and what becomes of their failures
//! `status` · how far each schema of a fleet is migrated
//! `storage` · files of each tenant: on disk, in memory, in a server that speaks S3
//! `stress` · many threads, many tenants, random faults
//! `templates` · templates of each tenant in front of those of all
//! `tenancy` · the tenancy and its builder: every knob, every contradiction, work for each tenant
//! `testing` · databases and tenants for tests
//! `transactions` · what Diesel promises of transactions
//! `workload` · 12 migrations and 20 tables, for one tenant and for 300

mod adopt_diesel;
mod affinity;
mod at_once;
mod auth;
mod bad_input;
mod by_hand;
mod clone;
mod concurrent;
mod crash;
mod declared;
mod deferred;
mod diesel_face;
mod directory;
mod doctor;
mod domains;
mod dump;
mod fall_through;
mod first_statement;
mod fleet;
mod generation;
mod home;
mod isolation;
mod jobs;
mod jobs_provision;
mod jobs_schedule;
mod keys;
mod lifecycle;
mod meanwhile;
mod migrate_failures;
mod migrate_kinds;
mod migrate_targets;
mod migrate_where;
mod models;
mod moved_path;
mod names;
mod plans;
mod poison;
mod pooler;
mod public_tenant;
mod ready;
mod rename_drop;
mod round_trips;
mod scopes;
mod session;
mod signals;
mod status;
mod storage;
mod stress;
mod support;
mod templates;
mod tenancy;
mod testing;
mod transactions;
mod workload;
