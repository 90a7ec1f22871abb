//! A Django project that a Rust program joins, as `docs/from-django.md` says.

use serde_json::json;
use tenant_schemas::jobs::InTenant;
use tenant_schemas::jobs::celery::Producer;
use tenant_schemas::{AppScope, TenantModel as _};

use crate::redis::Redis;
use crate::support::{Client, Db, customers, hotels, insert_room, rooms_of, sql_app};
use crate::world::{AddRoomInPython, World, working};

/// What the Rust program adds to the hotels once it migrates them.
fn bookings() -> tenant_schemas::App {
    sql_app(
        "bookings",
        AppScope::Tenant,
        &[(
            "2026-01-01-000000_bookings",
            "CREATE TABLE bookings (id integer PRIMARY KEY, room integer NOT NULL REFERENCES rooms);",
            "DROP TABLE bookings;",
        )],
    )
}

#[test]
fn a_django_project_and_a_rust_program_share_tenants_and_their_tasks() {
    let Some(redis) = Redis::start() else { return };
    let db = Db::unmigrated(|builder| builder.app(customers()).app(hotels()));
    let world = World { db, redis };
    let Some(django) = world.django() else { return };

    // Django's, for years.
    django.manage(&["migrate_schemas", "--shared", "--verbosity", "0"]);
    let talk = django.talk();
    for schema in ["acme", "globex"] {
        talk.ask("save_client", &json!([schema]), &json!({}));
    }

    // Rust looks at it, and would fail: the tables are there.
    let tenancy = &world.db.tenancy;
    assert!(
        !tenancy
            .migrate()
            .shared()
            .check()
            .expect("looked")
            .is_empty()
    );
    assert!(
        tenancy
            .migrate()
            .shared()
            .run()
            .expect("run")
            .into_result()
            .is_err()
    );

    // Rust takes over what is there, and nothing runs.
    let taken = tenancy.migrate().fake(true).run().expect("run");
    taken.into_result().expect("every ledger is written");
    assert!(tenancy.migrate().check().expect("looked").is_empty());
    assert_eq!(
        world
            .db
            .strings("SELECT count(*)::text AS value FROM plans"),
        ["0"]
    );
    let tenants = tenancy.tenants().expect("the tenants");
    let schemas: Vec<&str> = tenants
        .iter()
        .map(|tenant| tenant.schema_name().as_str())
        .collect();
    assert_eq!(schemas, ["acme", "globex"]);

    // From now on it migrates.
    let ours = world
        .db
        .again(|builder| builder.app(customers()).app(hotels()).app(bookings()));
    ours.migrate()
        .run()
        .expect("run")
        .into_result()
        .expect("migrated");
    for schema in schemas {
        assert!(
            world.db.tables(schema).contains(&"bookings".to_owned()),
            "{schema}"
        );
    }
    let initech = world.db.tenant("initech");

    // Tasks go both ways, in tenants that either has made.
    let _worker = django.worker();
    let producer = Producer::new(&world.redis.url())
        .expect("a URL")
        .queue("python");
    let acme: &Client = &tenants[0];
    insert_room(&mut ours.tenant(acme).expect("acme"), 1, "Ours");
    for (tenant, rooms) in [(acme, 2), (&initech, 1)] {
        let schema = tenant.schema_name.as_str();
        let job = AddRoomInPython {
            name: "Blue".to_owned(),
        };
        let sent = producer
            .send(&InTenant::new(tenant, job).expect("an envelope"))
            .expect("sent");
        assert_eq!(
            talk.result(&sent),
            json!({"schema": schema, "rooms": rooms})
        );
        let sent = talk.send(schema, "rust.add_room", &json!({"name": "Red"}), &json!({}));
        working(&world.hotel_worker(), || {
            assert_eq!(
                talk.result(&sent),
                json!({"schema": schema, "rooms": rooms + 1})
            );
        });
    }
    assert_eq!(
        rooms_of(&mut ours.tenant(acme).expect("acme")),
        ["Ours", "Blue", "Red"]
    );
    assert!(world.rooms(&tenants[1]).is_empty());
}
