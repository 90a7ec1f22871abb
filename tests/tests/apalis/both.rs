//! What holds on either storage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use apalis::layers::retry::RetryPolicy;
use apalis::prelude::*;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use tenant_schemas::jobs::apalis::{SharedDb, SharedTask, TenancyLayer, TenantDb};
use tenant_schemas::jobs::{JobError, Shared, SharedJob};
use tenant_schemas::{DeleteOptions, Lifecycle as _, SaveOptions, SchemaName, Tenancy};

use crate::queue::{Task, add, add_room, pool, postgres, redis, to, work_until, worker};
use crate::redis::Redis;
use crate::support::{Client, Db, client, insert_room, name, plans, rooms_of};

/// Counts the plans, which all share.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CountPlans;

impl SharedJob for CountPlans {}

/// The rooms of a tenant.
fn rooms(tenancy: &Tenancy<Client>, tenant: &Client) -> Vec<String> {
    rooms_of(&mut tenancy.tenant(tenant).expect("a connection"))
}

/// How many rooms there are of a tenant, for someone who waits for one.
fn counted(
    tenancy: &Tenancy<Client>,
    tenant: &Client,
    count: usize,
) -> impl FnMut() -> bool + Send + 'static {
    let (tenancy, tenant) = (tenancy.clone(), tenant.clone());
    move || rooms(&tenancy, &tenant).len() >= count
}

/// The same tests for each storage: `$open` makes one for tasks of a kind, out of what `$start` made.
macro_rules! tests {
    ($($(#[$attribute:meta])* async fn $test:ident($queue:ident, $db:ident) $body:block)*) => {
        mod on_postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $test() {
                    let $db = Db::new();
                    let pool = pool(&$db).await;
                    macro_rules! $queue { ($args:ty) => { postgres::<$args>(&pool) } }
                    $body
                    pool.close().await;
                }
            )*
        }

        mod on_redis {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $test() {
                    let Some(server) = Redis::start() else { return };
                    let url = server.url();
                    let $db = Db::new();
                    macro_rules! $queue { ($args:ty) => { redis::<$args>(&url).await } }
                    $body
                }
            )*
        }
    };
}

tests! {
    async fn c120_a_task_runs_in_the_tenant_that_it_was_sent_to(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 7, "Theirs");
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &acme, 1));
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue"]);
        assert_eq!(rooms(&db.tenancy, &globex), ["Theirs"]);
    }

    async fn c120_a_task_that_is_retried_runs_in_its_tenant_again(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut storage = queue!(Task);
        // Fails once in each tenant, in a transaction that has written already.
        let failed: Arc<Mutex<Vec<SchemaName>>> = Arc::default();
        let seen = Arc::clone(&failed);
        let handler = move |task: Task, db: TenantDb<Client>| {
            let seen = Arc::clone(&seen);
            async move {
                let job = task.into_job()?;
                let tenant = db.tenant().schema_name.clone();
                db.run(move |conn| {
                    conn.transaction(|conn| {
                        add(conn, &job.name)?;
                        assert_eq!(conn.schema_name(), Some(&tenant));
                        let mut seen = seen.lock().expect("no panic");
                        if seen.contains(&tenant) {
                            return Ok(());
                        }
                        seen.push(tenant);
                        Err(diesel::result::Error::RollbackTransaction)
                    })
                })
                .await
            }
        };
        storage.push(to(&acme, "Blue")).await.expect("sent");
        storage.push(to(&globex, "Red")).await.expect("sent");
        let (mut one, mut other) = (counted(&db.tenancy, &acme, 1), counted(&db.tenancy, &globex, 1));
        work_until!(worker!(storage, db.tenancy, handler), move || one() && other());
        assert_eq!(failed.lock().expect("no panic").len(), 2);
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue"]);
        assert_eq!(rooms(&db.tenancy, &globex), ["Red"]);
    }

    async fn c120_a_task_that_is_scheduled_runs_in_its_tenant_when_it_is_due(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut storage = queue!(Task);
        let later = TaskBuilder::new(to(&acme, "Later")).run_in_seconds(2).build();
        storage.push_task(later).await.expect("sent");
        storage.push(to(&globex, "Now")).await.expect("sent");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &globex, 1));
        assert!(rooms(&db.tenancy, &acme).is_empty(), "it is not due yet");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &acme, 1));
        assert_eq!(rooms(&db.tenancy, &acme), ["Later"]);
        assert_eq!(rooms(&db.tenancy, &globex), ["Now"]);
    }

    async fn c120_a_task_without_a_tenant_is_killed_and_the_worker_goes_on(queue, db) {
        let acme = db.tenant("acme");
        let mut anything = queue!(serde_json::Value);
        for message in [
            serde_json::json!({"v": 1, "job": {"name": "Whose"}}),
            serde_json::json!({"v": 1, "tenant_id": null, "tenant_schema": null, "job": {"name": "Whose"}}),
            serde_json::json!({"v": 1, "tenant_id": "1", "tenant_schema": "public", "job": {"name": "Whose"}}),
            serde_json::json!({"v": 1, "shared": true, "job": {"name": "Whose"}}),
            serde_json::json!({"name": "Whose"}),
            serde_json::json!("Whose"),
        ] {
            anything.push(message).await.expect("sent");
        }
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        let called = Arc::new(AtomicUsize::new(0));
        let calls = Arc::clone(&called);
        let handler = move |task: Task, db: TenantDb<Client>| {
            calls.fetch_add(1, Ordering::Relaxed);
            add_room(task, db)
        };
        work_until!(worker!(storage, db.tenancy, handler), counted(&db.tenancy, &acme, 1));
        // Those that were killed are not tried again, by another worker either.
        storage.push(to(&acme, "Green")).await.expect("sent");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &acme, 2));
        assert_eq!(called.load(Ordering::Relaxed), 1);
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue", "Green"]);
    }

    async fn c120_a_task_of_a_tenant_that_is_gone_is_killed(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        let options = DeleteOptions::new().auto_drop_schema(true);
        acme.delete_with(&mut db.tenancy.public().expect("public"), options).expect("deleted");
        // Another tenant has the name now.
        let heir = db.tenant("acme");
        storage.push(to(&globex, "Red")).await.expect("sent");

        let errors: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&errors);
        let called = Arc::new(AtomicUsize::new(0));
        let calls = Arc::clone(&called);
        let handler = move |task: Task, db: TenantDb<Client>| {
            calls.fetch_add(1, Ordering::Relaxed);
            add_room(task, db)
        };
        let worker = WorkerBuilder::new(crate::queue::worker_name())
            .backend(storage.clone().poll_with_interval(Duration::from_millis(20)))
            // It is outside of the layer, so it sees what was killed.
            .layer(apalis::layers::retry::RetryLayer::new(RetryPolicy::retries(3)))
            .layer(TenancyLayer::new(db.tenancy.clone()))
            .on_event(move |_, event| {
                if let Event::Error(error) = event {
                    heard.lock().expect("no panic").push(error.to_string());
                }
            })
            .build(handler);
        let mut red = counted(&db.tenancy, &globex, 1);
        let seen = Arc::clone(&errors);
        work_until!(worker, move || red() && !seen.lock().expect("no panic").is_empty());
        storage.push(to(&globex, "Green")).await.expect("sent");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &globex, 2));
        assert_eq!(called.load(Ordering::Relaxed), 1, "the handler was called for globex alone");
        let errors = errors.lock().expect("no panic");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("is gone, and acme is another tenant's now"), "{errors:?}");
        assert!(rooms(&db.tenancy, &heir).is_empty());
    }

    async fn c120_a_task_follows_a_tenant_that_was_renamed(queue, db) {
        let mut acme = db.tenant("acme");
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        acme.rename(&mut db.tenancy.public().expect("public"), &name("acme_inc")).expect("renamed");
        work_until!(worker!(storage, db.tenancy, add_room), counted(&db.tenancy, &acme, 1));
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue"]);
    }

    async fn c120_a_task_waits_for_its_tenant_to_be_provisioned(queue, db) {
        let mut acme = client("acme");
        let later = SaveOptions::new().auto_create_schema(false);
        acme.save_with(&mut db.tenancy.public().expect("public"), later).expect("saved");
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        let refused = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refused);
        let worker = WorkerBuilder::new(crate::queue::worker_name())
            .backend(storage.poll_with_interval(Duration::from_millis(20)))
            .layer(TenancyLayer::new(db.tenancy.clone()).pause(Duration::from_millis(50)))
            .on_event(move |_, event| {
                if let Event::Error(error) = event {
                    assert!(matches!(error.downcast_ref(), Some(JobError::NoSchema { .. })), "{error}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build(add_room);
        let (tenancy, tenant) = (db.tenancy.clone(), acme.clone());
        let mut provisioned = false;
        let waited = Arc::clone(&refused);
        work_until!(worker, move || {
            if waited.load(Ordering::Relaxed) == 0 {
                return false;
            }
            if !provisioned {
                tenant.provision(&mut tenancy.public().expect("public")).expect("provisioned");
                provisioned = true;
            }
            !rooms(&tenancy, &tenant).is_empty()
        });
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue"]);
    }

    async fn two_tenants_tasks_run_on_one_worker_at_once(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut storage = queue!(Task);
        for number in 0..20 {
            storage.push(to(&acme, &format!("acme {number}"))).await.expect("sent");
            storage.push(to(&globex, &format!("globex {number}"))).await.expect("sent");
        }
        let inside = Arc::new(Mutex::new(Vec::<SchemaName>::new()));
        let (met, meeting) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let (handler_inside, handler_met) = (Arc::clone(&inside), Arc::clone(&met));
        let handler = move |task: Task, db: TenantDb<Client>| {
            let (inside, met, meeting) = (
                Arc::clone(&handler_inside),
                Arc::clone(&handler_met),
                Arc::clone(&meeting),
            );
            async move {
                let job = task.into_job()?;
                let whose = db.tenant().schema_name.clone();
                db.run(move |conn| {
                    let first = {
                        let mut inside = inside.lock().expect("no panic");
                        let first = !inside.contains(&whose);
                        inside.push(whose.clone());
                        first
                    };
                    conn.transaction(|conn| {
                        if first {
                            // The first of each tenant wait for each other in the middle.
                            meeting.wait();
                            met.fetch_add(1, Ordering::Relaxed);
                        }
                        // Each tenant has rooms of the same numbers.
                        let number = job.name.split(' ').nth(1).expect("a number");
                        insert_room(conn, number.parse().expect("a number"), &job.name);
                        let seen = rooms_of(conn);
                        assert!(seen.iter().all(|room| room.starts_with(whose.as_str())), "{seen:?}");
                        QueryResult::Ok(())
                    })
                })
                .await
            }
        };
        let (mut one, mut other) = (counted(&db.tenancy, &acme, 20), counted(&db.tenancy, &globex, 20));
        work_until!(worker!(storage, db.tenancy, handler), move || one() && other());
        assert_eq!(met.load(Ordering::Relaxed), 2);
        for tenant in [&acme, &globex] {
            let rooms = rooms(&db.tenancy, tenant);
            assert_eq!(rooms.len(), 20);
            assert!(rooms.iter().all(|room| room.starts_with(tenant.schema_name.as_str())), "{rooms:?}");
        }
    }

    async fn a_job_that_panics_is_retried_on_a_clean_connection(queue, db) {
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        let panicked = Arc::new(AtomicUsize::new(0));
        let panics = Arc::clone(&panicked);
        let handler = move |task: Task, db: TenantDb<Client>| {
            let panics = Arc::clone(&panics);
            async move {
                let job = task.into_job()?;
                db.run(move |conn| {
                    conn.transaction(|conn| {
                        add(conn, &job.name)?;
                        assert!(panics.fetch_add(1, Ordering::Relaxed) > 0, "the roof is leaking");
                        QueryResult::Ok(())
                    })
                })
                .await
            }
        };
        work_until!(worker!(storage, db.tenancy, handler), counted(&db.tenancy, &acme, 1));
        assert_eq!(panicked.load(Ordering::Relaxed), 2);
        assert_eq!(rooms(&db.tenancy, &acme), ["Blue"]);
        assert!(rooms(&db.tenancy, &globex).is_empty());
    }

    async fn c120_a_task_that_is_declared_shared_runs_in_public(queue, db) {
        type Task = SharedTask<CountPlans>;
        let mut storage = queue!(Task);
        storage.push(Shared::new(CountPlans).into()).await.expect("sent");
        let counted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&counted);
        let handler = move |task: Task, db: SharedDb<Client>| {
            let count = Arc::clone(&count);
            async move {
                let CountPlans = task.into_job()?;
                let found = db
                    .run(|conn| {
                        assert_eq!(conn.schema_name(), Some(&SchemaName::public()));
                        plans::table.count().get_result::<i64>(conn)
                    })
                    .await?;
                count.store(usize::try_from(found).unwrap_or_default(), Ordering::Relaxed);
                Ok::<_, JobError>(())
            }
        };
        let seen = Arc::clone(&counted);
        work_until!(worker!(storage, db.tenancy, handler), move || seen.load(Ordering::Relaxed) > 0);
        assert_eq!(counted.load(Ordering::Relaxed), 2);
    }

    async fn a_worker_without_the_layer_says_what_it_lacks(queue, db) {
        let acme = db.tenant("acme");
        let mut storage = queue!(Task);
        storage.push(to(&acme, "Blue")).await.expect("sent");
        let heard: Arc<Mutex<Option<String>>> = Arc::default();
        let tell = Arc::clone(&heard);
        let worker = WorkerBuilder::new(crate::queue::worker_name())
            .backend(storage.poll_with_interval(Duration::from_millis(20)))
            .on_event(move |_, event| {
                if let Event::Error(error) = event {
                    *tell.lock().expect("no panic") = Some(error.to_string());
                }
            })
            .build(add_room);
        let seen = Arc::clone(&heard);
        work_until!(worker, move || seen.lock().expect("no panic").is_some());
        let heard = heard.lock().expect("no panic").clone().expect("an error");
        assert!(heard.contains(".layer(TenancyLayer::new(tenancy))"), "{heard}");
        assert!(rooms(&db.tenancy, &acme).is_empty());
    }
}
