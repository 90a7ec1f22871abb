//! Tasks that a Django project sends from a tenant, and a Rust worker runs there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tenant_schemas::jobs::celery::{Delivery, Retry};
use tenant_schemas::{Lifecycle as _, TenantConnection};

use crate::support::{insert_room, name};
use crate::world::{AddRoom, World, add, until, working};

#[test]
fn c120_a_task_of_pythons_runs_in_the_tenant_that_it_was_sent_from() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    insert_room(
        &mut world.db.tenancy.tenant(&globex).expect("globex"),
        1,
        "Theirs",
    );
    let talk = django.talk();
    let blue = talk.send(
        "acme",
        "rust.add_room",
        &json!({"name": "Blue"}),
        &json!({"priority": 7}),
    );
    let by_position = talk.ask(
        "send",
        &json!(["globex", "rust.add_room", ["Red"]]),
        &json!({}),
    );
    let red = by_position.as_str().expect("an identifier").to_owned();
    working(&world.hotel_worker(), || {
        assert_eq!(talk.result(&blue), json!({"schema": "acme", "rooms": 1}));
        assert_eq!(talk.result(&red), json!({"schema": "globex", "rooms": 2}));
    });
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert_eq!(world.rooms(&globex), ["Theirs", "Red"]);
}

#[test]
fn c120_a_task_of_pythons_is_retried_in_its_tenant() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    let tries: Arc<Mutex<Vec<(String, u32, String)>>> = Arc::default();
    let seen = Arc::clone(&tries);
    let worker = world.worker().task(
        move |conn: &mut TenantConnection, task: &Delivery<AddRoom>| {
            let schema = conn.schema_name().expect("a scope").to_string();
            let mut seen = seen.lock().expect("no panic");
            seen.push((schema, task.retries, task.id.clone()));
            if task.retries < 2 {
                return Err(Retry::after(Duration::from_millis(50), "not yet"));
            }
            add(conn, &task.job.name).map_err(|error| Retry::after(Duration::ZERO, error))
        },
    );
    let talk = django.talk();
    let blue = talk.send(
        "acme",
        "rust.add_room",
        &json!({"name": "Blue"}),
        &json!({}),
    );
    let red = talk.send(
        "globex",
        "rust.add_room",
        &json!({"name": "Red"}),
        &json!({}),
    );
    working(&worker, || {
        assert_eq!(talk.result(&blue), json!({"schema": "acme", "rooms": 1}));
        assert_eq!(talk.result(&red), json!({"schema": "globex", "rooms": 1}));
    });
    let mut tries = tries.lock().expect("no panic").clone();
    tries.sort();
    let expected: Vec<(String, u32, String)> = [("acme", &blue), ("globex", &red)]
        .into_iter()
        .flat_map(|(schema, id)| (0..3).map(move |retry| (schema.to_owned(), retry, id.clone())))
        .collect();
    assert_eq!(tries, expected);
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert_eq!(world.rooms(&globex), ["Red"]);
}

#[test]
fn c120_a_task_of_pythons_runs_when_it_is_due_and_not_when_it_has_expired() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    let talk = django.talk();
    let first = Instant::now();
    let countdown = json!({"countdown": 2});
    let later = talk.send(
        "acme",
        "rust.add_room",
        &json!({"name": "Later"}),
        &countdown,
    );
    let past = json!({"expires": "2020-01-01T00:00:00+00:00"});
    let expired = talk.send("acme", "rust.add_room", &json!({"name": "Expired"}), &past);
    let now = talk.send(
        "globex",
        "rust.add_room",
        &json!({"name": "Now"}),
        &json!({"expires": 600}),
    );
    working(&world.hotel_worker(), || {
        assert_eq!(talk.failure(&expired).0, "TaskRevokedError");
        assert_eq!(talk.result(&later), json!({"schema": "acme", "rooms": 1}));
        assert!(
            first.elapsed() >= Duration::from_secs(2),
            "it was not due yet"
        );
        assert_eq!(talk.result(&now), json!({"schema": "globex", "rooms": 1}));
    });
    assert_eq!(world.rooms(&acme), ["Later"]);
    assert_eq!(world.rooms(&globex), ["Now"]);
}

#[test]
fn c120_a_task_of_pythons_whose_tenant_is_gone_or_renamed_fails() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, mut globex] = world.db.tenants(["acme", "globex"]);
    let in_public = world.trap();
    let talk = django.talk();
    let blue = json!({"name": "Blue"});
    let gone = talk.send("acme", "rust.add_room", &blue, &json!({}));
    let renamed = talk.send("globex", "rust.add_room", &blue, &json!({}));
    let never = talk.send("initech", "rust.add_room", &blue, &json!({}));
    let mut conn = world.db.tenancy.public().expect("public");
    acme.delete(&mut conn).expect("deleted");
    globex
        .rename(&mut conn, &name("globex_inc"))
        .expect("renamed");
    drop(conn);
    working(&world.hotel_worker(), || {
        for (id, schema) in [(gone, "acme"), (renamed, "globex"), (never, "initech")] {
            let (error, message) = talk.failure(&id);
            assert_eq!(error, "NoSuchTenant");
            assert!(
                message.starts_with(&format!("no tenant has the schema {schema}")),
                "{message}"
            );
        }
        let there = talk.send("globex_inc", "rust.add_room", &blue, &json!({}));
        assert_eq!(
            talk.result(&there),
            json!({"schema": "globex_inc", "rooms": 1})
        );
    });
    assert!(in_public().is_empty());
}

#[test]
fn c120_a_task_without_a_tenant_is_refused_unless_it_is_declared_shared() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let acme = world.db.tenant("acme");
    let in_public = world.trap();
    let talk = django.talk();
    let blue = json!({"name": "Blue"});
    working(&world.hotel_worker(), || {
        let no_header = talk.send_without_tenant("rust.add_room", &blue);
        let (error, message) = talk.failure(&no_header);
        assert_eq!(error, "Refused");
        assert!(message.contains("it names no tenant"), "{message}");
        let public = talk.send("public", "rust.add_room", &blue, &json!({}));
        let (error, message) = talk.failure(&public);
        assert_eq!(error, "Refused");
        assert!(message.contains("`_schema_name` is public"), "{message}");

        let plans = json!({"schema": "public", "plans": 2});
        let shared = talk.send("public", "rust.count_plans", &json!({}), &json!({}));
        assert_eq!(talk.result(&shared), plans);
        let shared = talk.send_without_tenant("rust.count_plans", &json!({}));
        assert_eq!(talk.result(&shared), plans);
        let theirs = talk.send("acme", "rust.count_plans", &json!({}), &json!({}));
        let (error, message) = talk.failure(&theirs);
        assert_eq!(error, "Refused");
        assert!(message.contains("its tenant is acme"), "{message}");
    });
    assert!(in_public().is_empty());
    assert!(world.rooms(&acme).is_empty());
}

#[test]
fn a_task_that_the_worker_can_not_run_fails_and_says_why() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let acme = world.db.tenant("acme");
    let talk = django.talk();
    working(&world.hotel_worker(), || {
        let unknown = talk.send("acme", "rust.paint_room", &json!({}), &json!({}));
        assert_eq!(
            talk.failure(&unknown),
            ("NotRegistered".to_owned(), "'rust.paint_room'".to_owned())
        );
        let other = talk.send(
            "acme",
            "rust.add_room",
            &json!({"title": "Blue"}),
            &json!({}),
        );
        let (error, message) = talk.failure(&other);
        assert_eq!(error, "Refused");
        assert!(message.contains("missing field `name`"), "{message}");
        let ignored = json!({"ignore_result": true});
        talk.send("acme", "rust.add_room", &json!({"name": "Blue"}), &ignored);
        until(|| world.rooms(&acme).len() == 1);
    });
}
