//! From Rust to Rust: killed workers, several tenants at once, what is no task.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::Commands as _;
use diesel::prelude::*;
use tenant_schemas::jobs::Stop;
use tenant_schemas::jobs::celery::{CeleryError, Delivery, Producer, SendOptions, Worker};
use tenant_schemas::{DeleteOptions, Lifecycle as _, SaveOptions, Tenancy, TenantConnection};

use crate::redis::Redis;
use crate::support::{Client, client, customers, hotels, insert_room, name, rooms_of};
use crate::world::{AddRoom, Running, World, add, add_room, to, until, worker, working};

/// Holds the URL of the database, for the worker that is to be killed.
const URL: &str = "TENANT_SCHEMAS_KILLED_URL";
/// Holds the URL of its Redis.
const REDIS: &str = "TENANT_SCHEMAS_KILLED_REDIS";

/// Not a test of its own: the worker that is killed by the next one.
#[test]
fn the_worker_that_is_killed() {
    let (Ok(url), Ok(redis)) = (std::env::var(URL), std::env::var(REDIS)) else {
        return;
    };
    let tenancy = Tenancy::<Client>::builder(&url)
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    let stuck = |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
        conn.transaction(|conn| {
            add(conn, &task.job.name)?;
            println!("in the middle");
            std::io::stdout().flush().expect("it is heard");
            std::thread::sleep(Duration::from_hours(1));
            QueryResult::Ok(())
        })
    };
    let worker = worker(tenancy, &redis)
        .visibility(Duration::from_secs(2))
        .task(stuck);
    worker.run(&Stop::new()).expect("it is killed before that");
}

#[test]
fn a_task_of_a_worker_that_was_killed_is_done_once() {
    let Some(world) = World::start() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    insert_room(
        &mut world.db.tenancy.tenant(&globex).expect("globex"),
        1,
        "Theirs",
    );
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    let child = in_the_middle(&world);
    // The room is there to be lost: in a transaction that is open.
    let open = "SELECT count(*)::text AS value FROM pg_stat_activity \
                WHERE datname = current_database() AND state = 'idle in transaction' \
                AND query LIKE '%FROM \"rooms\"%'";
    assert_eq!(world.db.strings(open), ["1"]);
    drop(child);
    assert!(world.rooms(&acme).is_empty(), "what it did is rolled back");
    assert!(world.list("rust").is_empty(), "it is not in the queue");
    working(&world.hotel_worker(), || {
        until(|| !world.rooms(&acme).is_empty());
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert_eq!(world.rooms(&globex), ["Theirs"]);
    let mut raw = world.raw_redis();
    let messages: usize = raw.hlen("tenant_schemas.rust.messages").expect("a hash");
    let in_work: usize = raw.zcard("tenant_schemas.rust.in_work").expect("a set");
    assert_eq!((messages, in_work), (0, 0), "nobody will do it again");
}

/// A worker that is in the middle of its first task, and is killed with this value.
fn in_the_middle(world: &World) -> Running {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["rust::the_worker_that_is_killed", "--exact", "--nocapture"])
        .env(URL, world.db.database.url())
        .env(REDIS, world.redis.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = Running(child.expect("the worker starts"));
    let stdout = child.0.stdout.take().expect("its output");
    let line = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("in the middle"));
    assert!(line.is_some(), "the worker did not get as far");
    child
}

/// Not a test of its own: the worker that the task of the next one ends.
#[test]
fn the_worker_that_its_task_ends() {
    let (Ok(url), Ok(redis)) = (std::env::var(URL), std::env::var(REDIS)) else {
        return;
    };
    let tenancy = Tenancy::<Client>::builder(&url)
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    let worker = worker(tenancy, &redis)
        .visibility(Duration::from_secs(1))
        .task(|conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
            if task.job.name == "Poison" {
                std::process::exit(1);
            }
            add(conn, &task.job.name)
        });
    worker.run(&Stop::new()).expect("it is ended before that");
}

#[test]
fn a_task_that_ends_its_workers_goes_behind_the_others_and_is_given_up() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let mut raw = world.raw_redis();
    let id = world.producer().send(&to(&acme, "Poison")).expect("sent");
    let start = || {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["rust::the_worker_that_its_task_ends", "--exact"])
            .env(URL, world.db.database.url())
            .env(REDIS, world.redis.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(child.expect("the worker starts"))
    };
    start().0.wait().expect("it ends");
    let in_work = "tenant_schemas.rust.in_work";
    let tickets: Vec<String> = raw.zrange(in_work, 0, -1).expect("a set");
    // As after its visibility.
    raw.zadd::<_, _, _, ()>(in_work, &tickets[0], 0)
        .expect("set");
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    start().0.wait().expect("it ends");
    assert_eq!(world.rooms(&acme), ["Blue"], "that came first");

    let key = format!("celery-task-meta-{id}");
    let mut ended = 2;
    let mut worker = start();
    until(|| {
        if worker.0.try_wait().expect("a child").is_some() {
            ended += 1;
            worker = start();
        }
        let meta: Option<String> = raw.get(&key).expect("a result");
        meta.is_some_and(|meta| meta.contains("FAILURE") && meta.contains("WorkerLostError"))
    });
    assert_eq!(ended, 5);
    until(|| {
        let messages: usize = raw.hlen("tenant_schemas.rust.messages").expect("a hash");
        messages == 0
    });
    assert!(world.list("rust").is_empty());
}

#[test]
fn a_task_that_takes_longer_than_the_visibility_is_done_once() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let begun = Arc::new(AtomicUsize::new(0));
    let long = |begun: &Arc<AtomicUsize>| {
        let begun = Arc::clone(begun);
        move |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(3));
            add(conn, &task.job.name)
        }
    };
    let one_second = Duration::from_secs(1);
    let one = world.worker().visibility(one_second).task(long(&begun));
    let other = world.worker().visibility(one_second).task(long(&begun));
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    working(&one, || {
        working(&other, || {
            until(|| !world.rooms(&acme).is_empty());
        });
    });
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    assert_eq!(world.rooms(&acme), ["Blue"]);
}

#[test]
fn two_tenants_tasks_run_on_one_worker_at_once() {
    let Some(world) = World::start() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    let producer = world.producer();
    for number in 1..=20 {
        producer
            .send(&to(&acme, &format!("acme {number}")))
            .expect("sent");
        producer
            .send(&to(&globex, &format!("globex {number}")))
            .expect("sent");
    }
    let met = Arc::new((AtomicUsize::new(0), Barrier::new(2)));
    let meeting = Arc::clone(&met);
    let worker = world.worker().concurrency(2).task(
        move |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
            let whose = conn.schema_name().expect("a scope").to_string();
            conn.transaction(|conn| {
                // Each tenant has rooms of the same numbers.
                let number = task.job.name.split(' ').nth(1).expect("a number");
                insert_room(conn, number.parse().expect("a number"), &task.job.name);
                if number == "1" {
                    // The first of each tenant wait for each other in the middle.
                    meeting.1.wait();
                    meeting.0.fetch_add(1, Ordering::Relaxed);
                }
                let seen = rooms_of(conn);
                assert!(seen.iter().all(|room| room.starts_with(&whose)), "{seen:?}");
                QueryResult::Ok(())
            })
        },
    );
    working(&worker, || {
        until(|| world.rooms(&acme).len() == 20 && world.rooms(&globex).len() == 20);
    });
    assert_eq!(met.0.load(Ordering::Relaxed), 2);
    for tenant in [&acme, &globex] {
        let rooms = world.rooms(tenant);
        let schema = tenant.schema_name.as_str();
        assert!(
            rooms.iter().all(|room| room.starts_with(schema)),
            "{rooms:?}"
        );
    }
}

#[test]
fn c120_a_task_for_each_of_a_hundred_tenants_runs_in_its_own() {
    let Some(world) = World::start() else { return };
    let tenants: Vec<Client> = (0..100)
        .map(|number| world.db.tenant(&format!("t{number}")))
        .collect();
    let producer = world.producer();
    for tenant in &tenants {
        producer
            .send(&to(tenant, tenant.schema_name.as_str()))
            .expect("sent");
    }
    working(&world.hotel_worker().concurrency(3), || {
        until(|| world.rooms(&tenants[99]).len() == 1 && world.list("rust").is_empty());
    });
    for tenant in &tenants {
        assert_eq!(world.rooms(tenant), [tenant.schema_name.as_str()]);
    }
}

#[test]
fn c120_a_tenant_that_was_renamed_is_followed_and_one_that_is_gone_has_no_heir() {
    let Some(world) = World::start() else { return };
    let [acme, mut globex] = world.db.tenants(["acme", "globex"]);
    let producer = world.producer();
    producer.send(&to(&acme, "Blue")).expect("sent");
    producer.send(&to(&globex, "Red")).expect("sent");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let mut conn = world.db.tenancy.public().expect("public");
    acme.delete_with(&mut conn, options).expect("deleted");
    globex
        .rename(&mut conn, &name("globex_inc"))
        .expect("renamed");
    drop(conn);
    let heirs = ["acme", "globex"].map(|schema| {
        let mut heir = client(schema);
        heir.domain_url = format!("{schema}.their-domain.com");
        heir.save(&mut world.db.tenancy.public().expect("public"))
            .expect("saved");
        heir
    });
    working(&world.hotel_worker(), || {
        until(|| !world.rooms(&globex).is_empty());
    });
    assert_eq!(world.rooms(&globex), ["Red"]);
    for heir in &heirs {
        assert!(world.rooms(heir).is_empty());
    }
    assert!(world.list("rust").is_empty(), "nobody tries it again");
}

/// Sends a task as Python does, which says no more of its tenant than the name.
fn send_by_name(world: &World, tenant: &Client, room: &str) {
    world.producer().send(&to(tenant, room)).expect("sent");
    let mut raw = world.raw_redis();
    let message: String = raw.lpop("rust", None).expect("it is there");
    let mut message: serde_json::Value = serde_json::from_str(&message).expect("JSON");
    let headers = message["headers"].as_object_mut().expect("headers");
    headers.remove("_tenant_id").expect("the key");
    let _: u64 = raw.lpush("rust", message.to_string()).expect("sent again");
}

#[test]
fn c120_a_task_that_names_a_schema_alone_is_retried_in_the_same_tenant_when_it_was_renamed() {
    let Some(world) = World::start() else { return };
    let tenants = world.db.tenants(["acme", "globex"]);
    let [acme, heir] = tenants.clone();
    send_by_name(&world, &acme, "Blue");
    let tenants = std::sync::Mutex::new(tenants);
    let tenancy = world.db.tenancy.clone();
    let worker = world.worker().task(
        move |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
            if task.retries > 0 {
                return add(conn, &task.job.name).map_err(|error| error.to_string());
            }
            let mut tenants = tenants.lock().expect("no panic");
            let [acme, heir] = &mut *tenants;
            let mut public = tenancy.public().expect("public");
            acme.rename(&mut public, &name("acme_inc"))
                .and_then(|()| heir.rename(&mut public, &name("acme")))
                .expect("renamed");
            Err("not yet".to_owned())
        },
    );
    let rooms = |id: i32| {
        let tenants = world.db.tenancy.tenants().expect("the tenants");
        let tenant = tenants.iter().find(|tenant| tenant.id == id);
        world.rooms(tenant.expect("it is there"))
    };
    working(&worker, || {
        until(|| !rooms(acme.id).is_empty() || !rooms(heir.id).is_empty());
    });
    let heir_now = world
        .db
        .strings("SELECT id::text AS value FROM clients WHERE schema_name = 'acme'");
    assert_eq!(heir_now, [heir.id.to_string()], "it has the name");
    assert_eq!(
        (rooms(acme.id), rooms(heir.id)),
        (vec!["Blue".to_owned()], vec![])
    );
}

#[test]
fn c120_a_task_that_names_a_schema_alone_is_done_again_in_the_same_tenant_when_its_worker_was_killed()
 {
    let Some(world) = World::start() else { return };
    let [mut acme, mut heir] = world.db.tenants(["acme", "globex"]);
    send_by_name(&world, &acme, "Blue");
    drop(in_the_middle(&world));
    let mut public = world.db.tenancy.public().expect("public");
    acme.rename(&mut public, &name("acme_inc"))
        .and_then(|()| heir.rename(&mut public, &name("acme")))
        .expect("renamed");
    working(&world.hotel_worker(), || {
        until(|| !world.rooms(&acme).is_empty() || !world.rooms(&heir).is_empty());
    });
    assert_eq!(
        (world.rooms(&acme), world.rooms(&heir)),
        (vec!["Blue".to_owned()], vec![])
    );
}

#[test]
fn c120_a_task_waits_for_its_tenant_to_be_provisioned() {
    let Some(world) = World::start() else { return };
    let mut acme = client("acme");
    let later = SaveOptions::new().auto_create_schema(false);
    acme.save_with(&mut world.db.tenancy.public().expect("public"), later)
        .expect("saved");
    let in_public = world.trap();
    let id = world.producer().send(&to(&acme, "Blue")).expect("sent");
    let key = format!("celery-task-meta-{id}");
    working(&world.hotel_worker().max_retries(1000), || {
        until(|| {
            let meta: Option<String> = world.raw_redis().get(&key).expect("a result");
            meta.is_some_and(|meta| meta.contains("RETRY") && meta.contains("NoSchema"))
        });
        acme.provision(&mut world.db.tenancy.public().expect("public"))
            .expect("provisioned");
        until(|| !world.rooms(&acme).is_empty());
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert!(in_public().is_empty());
}

#[test]
fn a_job_that_panics_is_retried_on_a_clean_connection() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let panicked = |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
        conn.transaction(|conn| {
            add(conn, &task.job.name)?;
            assert!(task.retries > 0, "the roof is leaking");
            QueryResult::Ok(())
        })
    };
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    working(&world.worker().task(panicked), || {
        until(|| !world.rooms(&acme).is_empty());
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
}

#[test]
fn a_task_is_given_up_after_its_last_retry() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let hopeless = move |_: &mut TenantConnection, _: &Delivery<AddRoom>| {
        count.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>("hopeless")
    };
    let id = world.producer().send(&to(&acme, "Blue")).expect("sent");
    let key = format!("celery-task-meta-{id}");
    working(&world.worker().max_retries(2).task(hopeless), || {
        until(|| {
            let meta: Option<String> = world.raw_redis().get(&key).expect("a result");
            meta.is_some_and(|meta| meta.contains("FAILURE") && meta.contains("acme: hopeless"))
        });
    });
    assert_eq!(begun.load(Ordering::Relaxed), 3);
    assert!(world.list("rust").is_empty());
}

#[test]
fn a_task_that_is_not_begun_for_want_of_a_connection_is_not_given_up() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let tenancy = Tenancy::<Client>::builder(world.db.database.url())
        .app(customers())
        .app(hotels())
        .pool_size(1)
        .checkout_timeout(Duration::from_millis(50))
        .build()
        .expect("a tenancy");
    let all = tenancy.public().expect("its only connection");
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    let busy = worker(tenancy.clone(), &world.redis.url())
        .max_retries(0)
        .task(add_room);
    working(&busy, || {
        until(|| {
            let later: usize = world
                .raw_redis()
                .zcard("tenant_schemas.rust.later")
                .expect("a set");
            later == 1
        });
        drop(all);
        until(|| !world.rooms(&acme).is_empty());
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
}

#[test]
fn a_task_that_the_database_refuses_before_it_is_begun_is_given_up() {
    use diesel::connection::SimpleConnection as _;
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let mut raw = world.db.raw();
    raw.batch_execute("ALTER TABLE clients RENAME TO away")
        .expect("renamed");
    let id = world.producer().send(&to(&acme, "Blue")).expect("sent");
    let key = format!("celery-task-meta-{id}");
    working(&world.hotel_worker().max_retries(2), || {
        until(|| {
            let meta: Option<String> = world.raw_redis().get(&key).expect("a result");
            meta.is_some_and(|meta| meta.contains("FAILURE") && meta.contains("NotBegun"))
        });
    });
    assert!(world.list("rust").is_empty());
}

#[test]
fn what_is_no_task_is_deleted_and_the_worker_goes_on() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let in_public = world.trap();
    for garbage in [
        "",
        "garbage",
        "{}",
        r#"{"headers":{}}"#,
        r#"{"headers":{"id":"1","task":"rust.add_room"}}"#,
        r#"{"headers":{"id":"1","task":"rust.add_room","_schema_name":"acme","expires":"never"}}"#,
    ] {
        world
            .raw_redis()
            .lpush::<_, _, ()>("rust", garbage)
            .expect("pushed");
    }
    world.producer().send(&to(&acme, "Blue")).expect("sent");
    working(&world.hotel_worker(), || {
        until(|| !world.rooms(&acme).is_empty());
    });
    assert!(world.list("rust").is_empty());
    assert!(in_public().is_empty());
}

#[test]
fn a_task_that_is_not_due_is_given_back_by_a_worker_that_stops() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let later = SendOptions::new()
        .countdown(Duration::from_hours(1))
        .priority(6);
    world
        .producer()
        .send_with(&to(&acme, "Later"), &later)
        .expect("sent");
    let sent = world.list("rust\x06\x166");
    assert_eq!(sent.len(), 1);
    working(&world.hotel_worker(), || {
        until(|| world.list("rust\x06\x166").is_empty());
    });
    assert_eq!(world.list("rust\x06\x166"), sent, "as it was");
    assert!(world.rooms(&acme).is_empty());
}

#[test]
fn a_task_that_is_not_due_lets_others_go_first_where_the_clock_of_redis_is_ahead() {
    let Some(redis) = Redis::start_ahead() else {
        return;
    };
    let world = World::with(redis);
    let acme = world.db.tenant("acme");
    let mut raw = world.raw_redis();
    let (now, _): (u64, u64) = ::redis::cmd("TIME").query(&mut raw).expect("a time");
    let ours = SystemTime::now().duration_since(UNIX_EPOCH);
    assert!(now > ours.expect("a time").as_secs() + 3000, "it is ahead");
    // Redis is past that time already.
    let later = SendOptions::new().countdown(Duration::from_mins(1));
    let producer = world.producer();
    producer
        .send_with(&to(&acme, "Later"), &later)
        .expect("sent");
    producer.send(&to(&acme, "Blue")).expect("sent");
    working(&world.hotel_worker(), || {
        until(|| !world.rooms(&acme).is_empty());
        let waiting: usize = raw.zcard("tenant_schemas.rust.later").expect("a set");
        assert_eq!(waiting, 1);
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
}

#[test]
fn urgent_tasks_come_first() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let producer = world.producer();
    for (name, priority) in [("last", 9), ("third", 6), ("first", 0), ("second", 3)] {
        let options = SendOptions::new().priority(priority);
        producer
            .send_with(&to(&acme, name), &options)
            .expect("sent");
    }
    working(&world.hotel_worker(), || {
        until(|| world.rooms(&acme).len() == 4);
    });
    assert_eq!(world.rooms(&acme), ["first", "second", "third", "last"]);
}

#[test]
fn what_can_not_work_is_said_at_once() {
    let db = crate::support::Db::new();
    assert!(matches!(
        Producer::new("amqp://localhost"),
        Err(CeleryError::Url { .. })
    ));
    let nowhere = "redis+socket:///nowhere/redis.sock";
    let worker = || {
        Worker::new(db.tenancy.clone(), nowhere)
            .expect("a URL")
            .task(add_room)
    };
    let error = worker().run(&Stop::new()).expect_err("no Redis");
    assert_eq!(
        error.to_string(),
        "Redis at /nowhere/redis.sock: connecting failed"
    );
    let error = worker()
        .task(add_room)
        .run(&Stop::new())
        .expect_err("two handlers");
    assert!(
        matches!(
            error,
            CeleryError::TwoHandlers {
                task: "rust.add_room",
                ..
            }
        ),
        "{error}"
    );
    let acme = db.tenant("acme");
    let producer = Producer::new(nowhere).expect("a URL");
    assert!(matches!(
        producer.send(&to(&acme, "Blue")),
        Err(CeleryError::Redis { .. })
    ));
}

/// Stands in front of Redis. Once it is armed, it hangs up in the place of the answer to an `LPUSH`.
fn forgetful(world: &World, armed: &'static AtomicBool) -> (tempfile::TempDir, String) {
    let directory = tempfile::TempDir::with_prefix("forgetful").expect("a directory");
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let redis = world.redis.socket();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a client");
            let server = UnixStream::connect(&redis).expect("Redis");
            let clone = |stream: &UnixStream| stream.try_clone().expect("a handle");
            let (mut from, mut to) = (clone(&client), clone(&server));
            let forgets = Arc::new(AtomicBool::new(false));
            let forget = Arc::clone(&forgets);
            std::thread::spawn(move || {
                pass_on(&mut from, &mut to, |said| {
                    let pushes = said.windows(5).any(|word| word == b"LPUSH");
                    forget.store(pushes && armed.load(Ordering::SeqCst), Ordering::SeqCst);
                    true
                });
            });
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || {
                pass_on(&mut from, &mut to, |_| !forgets.load(Ordering::SeqCst));
            });
        }
    });
    (directory, format!("redis+unix://{}", socket.display()))
}

/// Passes on what is said, until `may` does not let it; then both hear nothing more.
fn pass_on(from: &mut UnixStream, to: &mut UnixStream, may: impl Fn(&[u8]) -> bool) {
    let mut said = [0; 16_384];
    while let Ok(length) = from.read(&mut said) {
        if length == 0 || !may(&said[..length]) || to.write_all(&said[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_task_that_redis_has_is_not_sent_again_because_the_answer_got_lost() {
    static ARMED: AtomicBool = AtomicBool::new(false);
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let (_directory, url) = forgetful(&world, &ARMED);
    let producer = Producer::new(&url).expect("a URL").queue("rust");
    producer.send(&to(&acme, "Blue")).expect("sent");
    ARMED.store(true, Ordering::SeqCst);
    let error = producer.send(&to(&acme, "Red"));
    assert!(matches!(error, Err(CeleryError::Redis { .. })), "{error:?}");
    assert_eq!(world.list("rust").len(), 2, "it is there, and once");
    ARMED.store(false, Ordering::SeqCst);
    producer.send(&to(&acme, "Green")).expect("sent");
    assert_eq!(world.list("rust").len(), 3);
}

#[test]
fn a_producer_finds_redis_again() {
    let Some(world) = World::start() else { return };
    let acme = world.db.tenant("acme");
    let producer = world.producer();
    producer.send(&to(&acme, "Blue")).expect("sent");
    let mut raw = world.raw_redis();
    let killed: usize = ::redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query(&mut raw)
        .expect("killed");
    assert_eq!(killed, 1);
    producer.send(&to(&acme, "Red")).expect("sent again");
    assert_eq!(world.list("rust").len(), 2);
    let headers: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&world.list("rust")[0]).expect("JSON");
    assert_eq!(headers["headers"]["_schema_name"], "acme");
}

#[test]
fn a_producer_follows_when_its_redis_has_become_a_replica() {
    let (Some(world), Some(next)) = (World::start(), Redis::start()) else {
        return;
    };
    let acme = world.db.tenant("acme");
    let directory = tempfile::TempDir::with_prefix("failover").expect("a directory");
    let address = directory.path().join("socket");
    std::os::unix::fs::symlink(world.redis.socket(), &address).expect("a link");
    let url = format!("redis+unix://{}", address.display());
    let producer = Producer::new(&url).expect("a URL").queue("rust");
    producer.send(&to(&acme, "Blue")).expect("sent");
    let mut raw = world.raw_redis();
    let () = ::redis::cmd("REPLICAOF")
        .arg(&["127.0.0.1", "1"])
        .query(&mut raw)
        .expect("a replica");
    let error = producer.send(&to(&acme, "Red")).expect_err("read only");
    assert!(matches!(error, CeleryError::Redis { .. }), "{error:?}");
    // Connected to the old one, again.
    let () = ::redis::cmd("REPLICAOF")
        .arg(&["NO", "ONE"])
        .query(&mut raw)
        .expect("none");
    producer.send(&to(&acme, "Green")).expect("sent");
    let () = ::redis::cmd("REPLICAOF")
        .arg(&["127.0.0.1", "1"])
        .query(&mut raw)
        .expect("a replica");
    std::fs::remove_file(&address).expect("no link");
    std::os::unix::fs::symlink(next.socket(), &address).expect("a link");
    producer
        .send(&to(&acme, "White"))
        .expect("sent to the next");
    let client = ::redis::Client::open(next.url()).expect("a URL");
    let mut raw = client.get_connection().expect("Redis answers");
    let there: usize = raw.llen("rust").expect("a list");
    assert_eq!((world.list("rust").len(), there), (2, 1));
}
