//! Sending a task in the transaction of the work that it follows from.

use std::time::{Duration, SystemTime};

use apalis::prelude::*;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use serde::{Deserialize, Serialize};
use tenant_schemas::jobs::apalis::{PostgresQueue, TenancyLayer, TenantTask, provision_tenant};
use tenant_schemas::jobs::{
    InTenant, ProvisionTenant, Provisioning, Shared, SharedJob, TenantRef, provision_later,
};
use tenant_schemas::{Error, Lifecycle as _, SaveOptions, TenantConnection};

use crate::queue::{
    AddRoom, Task, add, add_room, pool, postgres, to, work_until, worker, worker_name,
};
use crate::support::{Client, Db, client, customers, hotels, rooms_of, strings};

/// Sends a room to the tenant of a connection's scope.
fn send(conn: &mut TenantConnection, name: &str) -> Result<bool, Error> {
    let job = AddRoom {
        name: name.to_owned(),
    };
    let envelope = InTenant::current::<Client>(conn, job)?;
    PostgresQueue::new("rooms").push(conn, &envelope)
}

fn queued(db: &Db) -> Vec<String> {
    db.strings("SELECT convert_from(job, 'UTF8')::json -> 'job' ->> 'name' AS value FROM apalis.jobs ORDER BY 1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c120_a_task_is_sent_with_the_transaction_of_its_tenant_or_not_at_all() {
    let db = Db::new();
    let pool = pool(&db).await;
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");

    let failed = conn.transaction(|conn| {
        add(conn, "Lost")?;
        send(conn, "Lost too")?;
        Err::<(), Error>(DieselError::RollbackTransaction.into())
    });
    assert!(failed.is_err());
    assert!(queued(&db).is_empty());
    assert!(rooms_of(&mut conn).is_empty());

    conn.transaction(|conn| {
        add(conn, "Blue")?;
        send(conn, "Green")?;
        assert!(queued(&db).is_empty(), "nobody sees it before the commit");
        let undone = conn.transaction(|conn| {
            send(conn, "Undone")?;
            Err::<(), Error>(DieselError::RollbackTransaction.into())
        });
        assert!(undone.is_err());
        // It leaves the scope alone.
        assert_eq!(conn.tenant(), Some(&acme));
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(queued(&db), ["Green"]);

    let (tenancy, tenant) = (db.tenancy.clone(), acme.clone());
    work_until!(
        worker!(postgres::<Task>(&pool), db.tenancy, add_room),
        move || { rooms_of(&mut tenancy.tenant(&tenant).expect("acme")).len() == 2 }
    );
    assert_eq!(rooms_of(&mut conn), ["Blue", "Green"]);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_says_when_how_often_and_how_urgently() {
    #[derive(Serialize, Deserialize)]
    struct Sweep;
    impl SharedJob for Sweep {}

    let db = Db::new();
    let pool = pool(&db).await;
    let mut conn = db.tenancy.public().expect("public");
    let year_3000 = SystemTime::UNIX_EPOCH + Duration::from_hours(9_028_800);
    PostgresQueue::new("sweeps")
        .run_at(year_3000)
        .run_after(Duration::from_mins(1))
        .priority(3)
        .max_attempts(5)
        .push(&mut conn, &Shared::new(Sweep))
        .expect("sent");
    let row = "SELECT job_type || ' ' || status || ' ' || attempts || ' ' || max_attempts || ' ' || priority \
               || ' ' || to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' ' || convert_from(job, 'UTF8') \
               AS value FROM apalis.jobs";
    assert_eq!(
        db.strings(row),
        [r#"sweeps Pending 0 5 3 3000-01-01 00:01:00 {"v":1,"shared":true,"job":null}"#]
    );
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_can_choose_the_same_idempotency_key() {
    let db = Db::new();
    let pool = pool(&db).await;
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let queue = PostgresQueue::new("rooms").idempotency_key("room 1");
    let mut conn = db.tenancy.public().expect("public");
    let new: Vec<bool> = [&acme, &globex, &acme]
        .into_iter()
        .map(|tenant| {
            let envelope = InTenant::new(tenant, "room 1").expect("an envelope");
            queue.push(&mut conn, &envelope).expect("sent")
        })
        .collect();
    assert_eq!(new, [true, true, false]);
    // Keys of tenants may be text, and look like others with a key behind.
    let pushed = [("a", "b/c"), ("a/b", "c")].map(|(id, key)| {
        let message = format!(r#"{{"v":1,"tenant_id":"{id}","tenant_schema":"acme","job":1}}"#);
        let envelope: InTenant<i32> = serde_json::from_str(&message).expect("an envelope");
        let queue = PostgresQueue::new("rooms").idempotency_key(key);
        queue.push(&mut conn, &envelope).expect("sent")
    });
    assert_eq!(pushed, [true, true]);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_held_back_keeps_the_place_of_no_other() {
    let db = Db::new();
    let pool = pool(&db).await;
    let mut bare = client("bare");
    let without = SaveOptions::new().auto_create_schema(false);
    let mut conn = db.tenancy.public().expect("public");
    bare.save_with(&mut conn, without).expect("saved");
    let acme = db.tenant("acme");
    let mut storage = postgres::<Task>(&pool);
    storage.push(to(&bare, "Held")).await.expect("sent");
    let layer = TenancyLayer::new(db.tenancy.clone()).pause(Duration::from_secs(5));
    let worker = WorkerBuilder::new(worker_name())
        .backend(
            storage
                .clone()
                .poll_with_interval(Duration::from_millis(20)),
        )
        .layer(layer)
        .concurrency(1)
        .build(add_room);
    let (tenancy, tenant, url) = (db.tenancy.clone(), acme.clone(), db.database.url());
    let mut raw = PgConnection::establish(&url).expect("a connection");
    let running = "SELECT count(*)::text AS value FROM apalis.jobs WHERE status = 'Running'";
    let (mut sent, mut hands) = (false, db.tenancy.public().expect("public"));
    work_until!(worker, move || {
        let at_work = strings(&mut raw, running);
        if !sent && at_work == ["1"] {
            let job = AddRoom {
                name: "Blue".to_owned(),
            };
            let envelope = InTenant::new(&tenant, job).expect("an envelope");
            PostgresQueue::new("rooms")
                .push(&mut hands, &envelope)
                .expect("sent");
            sent = true;
        }
        let done = !rooms_of(&mut tenancy.tenant(&tenant).expect("acme")).is_empty();
        assert!(
            !done || strings(&mut raw, running) != ["0"],
            "it is held still"
        );
        done
    });
    pool.close().await;
}

#[test]
fn a_queue_that_is_not_there_is_an_error_that_says_so() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let error = send(&mut conn, "Blue").expect_err("there is no apalis");
    let said = error.to_string();
    assert!(said.contains("PostgresStorage::setup"), "{said}");
    // A table of that name in the tenant's own schema is not taken for it.
    conn.batch_execute("CREATE TABLE jobs (id text)")
        .expect("a table");
    assert!(send(&mut conn, "Blue").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_signs_up_is_provisioned_by_a_worker() {
    let later = provision_later::<Client>(|conn, envelope| {
        PostgresQueue::new("rooms").push(conn, envelope)?;
        Ok(())
    });
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(hotels());
        builder.listener_in_transaction(later)
    });
    let pool = pool(&db).await;
    let sign_up = |conn: &mut TenantConnection, schema: &str| {
        let mut tenant = client(schema);
        let options = SaveOptions::new().auto_create_schema(false);
        tenant.save_with(conn, options).map(|_| tenant)
    };
    let mut conn = db.tenancy.public().expect("public");
    let undone = conn.transaction(|conn| {
        sign_up(conn, "undone")?;
        Err::<(), Error>(DieselError::RollbackTransaction.into())
    });
    assert!(undone.is_err());
    let sent = "SELECT count(*)::text AS value FROM apalis.jobs";
    assert_eq!(db.strings(sent), ["0"], "the job went with its tenant");

    let acme = sign_up(&mut conn, "acme").expect("saved");
    drop(conn);
    assert_eq!(db.strings(sent), ["1"]);
    let reference = TenantRef::of(&acme).expect("a reference");
    let state = db.tenancy.provisioning(&reference);
    assert_eq!(state.expect("a state"), Provisioning::Waiting);
    let tenancy = db.tenancy.clone();
    let queue = postgres::<TenantTask<ProvisionTenant>>(&pool);
    work_until!(
        worker!(queue, db.tenancy, provision_tenant::<Client>),
        move || tenancy.provisioning(&reference).expect("a state") == Provisioning::Ready
    );
    assert!(rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")).is_empty());
    pool.close().await;
}
