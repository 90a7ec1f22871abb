//! The storages, the workers, the handlers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_postgres::PostgresStorage;
use apalis_redis::RedisStorage;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tenant_schemas::TenantConnection;
use tenant_schemas::jobs::apalis::{TenantDb, TenantTask};
use tenant_schemas::jobs::{InTenant, JobError};

use crate::support::{Client, Db};

/// Adds a room to a hotel, numbered from 1 in each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AddRoom {
    pub(crate) name: String,
}

pub(crate) type Task = TenantTask<AddRoom>;

/// A message for a tenant.
pub(crate) fn to(tenant: &Client, name: &str) -> Task {
    let job = AddRoom {
        name: name.to_owned(),
    };
    InTenant::new(tenant, job).expect("an envelope").into()
}

pub(crate) fn add(conn: &mut TenantConnection, name: &str) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO rooms SELECT count(*) + 1, $1 FROM rooms")
        .bind::<diesel::sql_types::Text, _>(name)
        .execute(conn)
        .map(drop)
}

/// The handler of most tests.
pub(crate) async fn add_room(task: Task, db: TenantDb<Client>) -> Result<(), JobError> {
    let job = task.into_job()?;
    db.run(move |conn| add(conn, &job.name)).await
}

/// A name that no other worker has.
pub(crate) fn worker_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("worker-{}-{number}", std::process::id())
}

/// A worker that has the tenancy, and looks for tasks often.
macro_rules! worker {
    ($queue:expr, $tenancy:expr, $handler:expr) => {
        apalis::prelude::WorkerBuilder::new(crate::queue::worker_name())
            .backend(apalis::prelude::BackendExt::poll_with_interval(
                $queue.clone(),
                std::time::Duration::from_millis(20),
            ))
            .layer(
                tenant_schemas::jobs::apalis::TenancyLayer::new($tenancy.clone())
                    .pause(std::time::Duration::from_millis(50)),
            )
            .build($handler)
    };
}
pub(crate) use worker;

/// Lets a worker work until something is so.
macro_rules! work_until {
    ($worker:expr, $done:expr) => {
        $worker
            .run_until(crate::queue::until($done))
            .await
            .expect("the worker ends as it is told to")
    };
}
pub(crate) use work_until;

/// Waits until something is so; fails when it takes far too long.
pub(crate) async fn until(
    mut done: impl FnMut() -> bool + Send + 'static,
) -> Result<(), WorkerError> {
    let patience = Instant::now() + Duration::from_mins(1);
    while !tokio::task::block_in_place(&mut done) {
        assert!(Instant::now() < patience, "it never came to that");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A pool of sqlx's on the same database, in which the tables of apalis are.
pub(crate) async fn pool(db: &Db) -> PgPool {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(4)
        .connect(&db.database.url())
        .await
        .expect("sqlx connects");
    PostgresStorage::setup(&pool)
        .await
        .expect("the tables of apalis");
    pool
}

/// The queue `rooms` on PostgreSQL, for tasks of any kind.
pub(crate) fn postgres<A>(pool: &PgPool) -> PostgresStorage<A> {
    let config = apalis_postgres::Config::default()
        .queue("rooms")
        .heartbeat_interval(Duration::from_secs(1))
        .missed_heartbeats(2);
    PostgresStorage::new(pool).with_config(config)
}

/// The queue `rooms` on Redis, for tasks of any kind.
pub(crate) async fn redis<A>(url: &str) -> RedisStorage<A> {
    let connection = apalis_redis::connect(url).await.expect("Redis answers");
    let config = apalis_redis::Config::default()
        .queue("rooms")
        .heartbeat_interval(Duration::from_secs(1))
        .missed_heartbeats(2);
    RedisStorage::new(connection).with_config(config)
}
