//! Tasks of Celery. A test whose name begins with `c120_` is the behaviour of that number in the
//! conformance list. Those with Python need `redis-server`, `python3-venv` and, once, the network.
//!
//! `support` · what these tests share with those in `it`
//! `redis` · a Redis for a test
//! `world` · the tasks, the workers, and the Django project of `tests/celery/project`
//! `rust` · from Rust to Rust: killed workers, several tenants at once, what is no task
//! `to_python` · tasks that Python's workers run
//! `from_python` · tasks that a Django project sends
//! `page` · what `docs/from-django.md` shows
//! `takeover` · a Django project that a Rust program joins, as `docs/from-django.md` says

mod from_python;
mod page;
#[path = "../redis.rs"]
mod redis;
mod rust;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "these tests need less of it")]
mod support;
mod takeover;
mod to_python;
mod world;
