//! Tasks that Python's workers run, each in the tenant that a Rust program sent it from.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tenant_schemas::Lifecycle as _;
use tenant_schemas::jobs::celery::{CeleryTask, Producer, SendOptions};
use tenant_schemas::jobs::{InTenant, Shared, SharedJob};

use crate::support::{Client, insert_room, name};
use crate::world::{AddRoomInPython, World};

#[derive(Serialize)]
struct AddRoomAtSecondTry {
    name: &'static str,
}

impl CeleryTask for AddRoomAtSecondTry {
    const NAME: &str = "hotels.tasks.add_room_at_second_try";
}

#[derive(Serialize)]
struct CountPlansInPython;

impl CeleryTask for CountPlansInPython {
    const NAME: &str = "customers.tasks.count_plans";
}

impl SharedJob for CountPlansInPython {}

fn producer(world: &World) -> Producer {
    Producer::new(&world.redis.url())
        .expect("a URL")
        .queue("python")
}

fn to(tenant: &Client, name: &str) -> InTenant<AddRoomInPython> {
    let name = name.to_owned();
    InTenant::new(tenant, AddRoomInPython { name }).expect("an envelope")
}

#[test]
fn c120_python_runs_a_task_in_the_tenant_that_it_was_sent_to() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    insert_room(
        &mut world.db.tenancy.tenant(&globex).expect("globex"),
        1,
        "Theirs",
    );
    let _worker = django.worker();
    let talk = django.talk();
    let producer = producer(&world);
    let blue = producer.send(&to(&acme, "Blue")).expect("sent");
    let urgent = SendOptions::new().priority(3);
    let red = producer
        .send_with(&to(&globex, "Red"), &urgent)
        .expect("sent");
    assert_eq!(talk.result(&blue), json!({"schema": "acme", "rooms": 1}));
    assert_eq!(talk.result(&red), json!({"schema": "globex", "rooms": 2}));
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert_eq!(world.rooms(&globex), ["Theirs", "Red"]);
}

#[test]
fn c120_python_retries_a_task_in_its_tenant() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    let _worker = django.worker();
    let talk = django.talk();
    let producer = producer(&world);
    let sent = [(&acme, "Blue"), (&globex, "Red")].map(|(tenant, name)| {
        let job = AddRoomAtSecondTry { name };
        producer
            .send(&InTenant::new(tenant, job).expect("an envelope"))
            .expect("sent")
    });
    assert_eq!(talk.result(&sent[0]), json!({"schema": "acme", "rooms": 1}));
    assert_eq!(
        talk.result(&sent[1]),
        json!({"schema": "globex", "rooms": 1})
    );
    assert_eq!(world.rooms(&acme), ["Blue"]);
    assert_eq!(world.rooms(&globex), ["Red"]);
}

#[test]
fn c120_python_runs_a_task_when_it_is_due() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, globex] = world.db.tenants(["acme", "globex"]);
    let talk = django.talk();
    let producer = producer(&world);
    let _worker = django.worker();
    let countdown = Duration::from_secs(2);
    let first = Instant::now();
    let later = SendOptions::new().countdown(countdown);
    let later = producer
        .send_with(&to(&acme, "Later"), &later)
        .expect("sent");
    let now = producer.send(&to(&globex, "Now")).expect("sent");
    assert_eq!(talk.result(&later), json!({"schema": "acme", "rooms": 1}));
    assert!(first.elapsed() >= countdown, "it was not due yet");
    assert_eq!(talk.result(&now), json!({"schema": "globex", "rooms": 1}));
    assert_eq!(world.rooms(&acme), ["Later"]);
    assert_eq!(world.rooms(&globex), ["Now"]);
}

#[test]
fn c120_python_fails_a_task_whose_tenant_is_gone_or_renamed() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    let [acme, mut globex] = world.db.tenants(["acme", "globex"]);
    let in_public = world.trap();
    let producer = producer(&world);
    let gone = producer.send(&to(&acme, "Blue")).expect("sent");
    let renamed = producer.send(&to(&globex, "Red")).expect("sent");
    let mut conn = world.db.tenancy.public().expect("public");
    acme.delete(&mut conn).expect("deleted");
    globex
        .rename(&mut conn, &name("globex_inc"))
        .expect("renamed");
    let _worker = django.worker();
    let talk = django.talk();
    for (id, schema) in [(gone, "acme"), (renamed, "globex")] {
        let (error, message) = talk.failure(&id);
        assert_eq!(error, "LookupError");
        assert_eq!(message, format!("no tenant has the schema {schema}"));
    }
    // It works for the tenant that is still there, under the name that it has now.
    let red = producer.send(&to(&globex, "Red")).expect("sent");
    assert_eq!(
        talk.result(&red),
        json!({"schema": "globex_inc", "rooms": 1})
    );
    assert!(in_public().is_empty());
}

#[test]
fn c120_python_runs_a_shared_task_in_public() {
    let Some(world) = World::start() else { return };
    let Some(django) = world.django() else { return };
    world.db.tenant("acme");
    let _worker = django.worker();
    let counted = producer(&world)
        .send_shared(&Shared::new(CountPlansInPython))
        .expect("sent");
    assert_eq!(
        django.talk().result(&counted),
        json!({"schema": "public", "plans": 2})
    );
}
