//! Workers of apalis, on its storages for PostgreSQL and Redis. A test whose name begins with
//! `c120_` is the behaviour of that number in the conformance list.
//!
//! `support` · what these tests share with those in `it`
//! `queue` · the storages, the workers, the handlers
//! `redis` · a Redis for a test
//! `both` · what holds on either storage
//! `killed` · a worker killed with `kill -9` in the middle of a tenant's job
//! `postgres` · sending a task in the transaction of the work that it follows from

mod both;
mod killed;
mod postgres;
mod queue;
#[path = "../redis.rs"]
#[allow(dead_code, reason = "these tests need less of it")]
mod redis;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "these tests need less of it")]
mod support;
