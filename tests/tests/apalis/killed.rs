//! A worker killed with `kill -9` in the middle of a tenant's job: the job is done once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apalis::prelude::*;
use diesel::prelude::*;
use tenant_schemas::Tenancy;
use tenant_schemas::jobs::JobError;
use tenant_schemas::jobs::apalis::TenantDb;

use crate::queue::{Task, add, add_room, pool, postgres, redis, to, work_until, worker};
use crate::redis::Redis;
use crate::support::{Client, Db, customers, hotels, insert_room, rooms_of};

/// Holds the URL of the database, for the worker that is to be killed.
const URL: &str = "TENANT_SCHEMAS_KILLED_URL";
/// Holds the URL of its Redis, if its queue is there.
const REDIS: &str = "TENANT_SCHEMAS_KILLED_REDIS";

/// Adds a room, and never gets as far as the commit.
async fn stuck(task: Task, db: TenantDb<Client>) -> Result<(), JobError> {
    let job = task.into_job()?;
    db.run(move |conn| {
        conn.transaction(|conn| {
            add(conn, &job.name)?;
            println!("in the middle");
            std::io::stdout().flush().expect("it is heard");
            std::thread::sleep(Duration::from_hours(1));
            QueryResult::Ok(())
        })
    })
    .await
}

/// Not a test of its own: the worker that is killed by the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_that_is_killed() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let tenancy = Tenancy::<Client>::builder(&url)
        .app(customers())
        .app(hotels())
        .pool_size(4)
        .build()
        .expect("a tenancy");
    if let Ok(url) = std::env::var(REDIS) {
        let worker = worker!(redis::<Task>(&url).await, tenancy, stuck);
        worker.run().await.expect("it is killed before that");
    } else {
        let pool = sqlx::PgPool::connect(&url).await.expect("sqlx connects");
        let worker = worker!(postgres::<Task>(&pool), tenancy, stuck);
        worker.run().await.expect("it is killed before that");
    }
}

/// Starts that worker, waits until it is in the middle, and kills it.
fn work_and_be_killed(db: &Db, redis: Option<&str>) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args([
            "killed::the_worker_that_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(URL, db.database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(url) = redis {
        command.env(REDIS, url);
    }
    let mut child = Killed(command.spawn().expect("the worker starts"));
    let stdout = child.0.stdout.take().expect("its output");
    let line = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("in the middle"));
    assert!(line.is_some(), "the worker did not get as far");
    // The room is there to be lost: in a transaction that is open.
    let open = "SELECT count(*)::text AS value FROM pg_stat_activity \
                WHERE datname = current_database() AND state = 'idle in transaction' \
                AND query LIKE 'INSERT INTO rooms%'";
    assert_eq!(db.strings(open), ["1"]);
    child.0.kill().expect("killed");
    child.0.wait().expect("gone");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_worker_that_was_killed_is_done_once_on_postgres() {
    let db = Db::new();
    let pool = pool(&db).await;
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        1,
        "Theirs",
    );
    let mut storage = postgres::<Task>(&pool);
    storage.push(to(&acme, "Blue")).await.expect("sent");
    tokio::task::block_in_place(|| work_and_be_killed(&db, None));
    finish(&db, &acme, &globex, storage, "Blue").await;
    let state = "SELECT status || ' ' || (attempts > 1)::text AS value FROM apalis.jobs";
    assert_eq!(db.strings(state), ["Done true"]);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_worker_that_was_killed_is_done_once_on_redis() {
    let Some(server) = Redis::start() else { return };
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        1,
        "Theirs",
    );
    let mut storage = redis::<Task>(&server.url()).await;
    storage.push(to(&acme, "Blue")).await.expect("sent");
    tokio::task::block_in_place(|| work_and_be_killed(&db, Some(&server.url())));
    finish(&db, &acme, &globex, storage, "Blue").await;
}

/// Another worker finishes what was begun.
async fn finish<B>(db: &Db, acme: &Client, globex: &Client, storage: B, name: &str)
where
    B: Clone,
    Finisher<B>: Finish,
{
    let rooms = |tenant: &Client| rooms_of(&mut db.tenancy.tenant(tenant).expect("a connection"));
    assert!(rooms(acme).is_empty(), "what it did is rolled back");
    Finisher(storage).finish(&db.tenancy, acme).await;
    assert_eq!(rooms(acme), [name]);
    assert_eq!(rooms(globex), ["Theirs"]);
}

/// A storage of either kind, at the end of a test.
struct Finisher<B>(B);

trait Finish {
    async fn finish(self, tenancy: &Tenancy<Client>, tenant: &Client);
}

macro_rules! finish {
    ($storage:ty) => {
        impl Finish for Finisher<$storage> {
            async fn finish(self, tenancy: &Tenancy<Client>, tenant: &Client) {
                let (other, tenant) = (tenancy.clone(), tenant.clone());
                work_until!(worker!(self.0, tenancy, add_room), move || {
                    !rooms_of(&mut other.tenant(&tenant).expect("a connection")).is_empty()
                });
            }
        }
    };
}
finish!(apalis_postgres::PostgresStorage<Task>);
finish!(apalis_redis::RedisStorage<Task>);
