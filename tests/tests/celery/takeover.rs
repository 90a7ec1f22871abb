//! A Django project that a Rust program joins, as `docs/from-django.md` says.

use serde_json::json;
use tenant_schemas::jobs::{InTenant, JobError};
use tenant_schemas::{AppScope, Tenancy, TenantModel as _};

use crate::page;
use crate::redis::Redis;
use crate::support::{Client, Db, customers, hotels, insert_room, rooms_of, sql_app};
use crate::world::{World, working};

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

/// Whether a job for the last tenant is begun.
fn begins(tenancy: &Tenancy<Client>) -> Result<(), JobError> {
    let tenants = tenancy.tenants().expect("the tenants");
    let envelope = InTenant::new(tenants.last().expect("one"), ()).expect("an envelope");
    tenancy.run_job(&envelope, |_, ()| Ok::<_, JobError>(()))
}

#[test]
fn a_django_project_and_a_rust_program_share_tenants_and_their_tasks() {
    let Some(redis) = Redis::start() else { return };
    let db = Db::unmigrated(|builder| builder.app(customers()).app(hotels()));
    let world = World { db, redis };
    let Some(django) = world.django() else { return };
    let tenancy = &world.db.tenancy;
    let ran = || {
        tenancy
            .migrate()
            .run()
            .and_then(tenant_schemas::Report::into_result)
    };
    let is_current = || tenancy.migrate().check().expect("looked").is_empty();

    // Django's, for years.
    django.manage(&["migrate_schemas", "--shared", "--verbosity", "0"]);
    let talk = django.talk();
    for schema in ["acme", "globex"] {
        talk.ask("save_client", &json!([schema]), &json!({}));
    }
    ran().expect_err("the tables are there");

    // Rust takes over what is there, and nothing runs.
    page::take_over(tenancy).expect("every ledger is written");
    assert!(is_current());
    let plans = "SELECT count(*)::text AS value FROM plans";
    assert_eq!(world.db.strings(plans), ["0"]);

    // Django still makes a tenant, which is taken over as well.
    talk.ask("save_client", &json!(["hooli"]), &json!({}));
    let early = begins(tenancy).expect_err("nothing is noted of it");
    assert!(matches!(early, JobError::Behind { .. }), "{early}");
    page::take_over(tenancy).expect("every ledger is written");
    assert!(is_current());
    begins(tenancy).expect("it is ready");

    // From now on Rust migrates, and makes the tenants.
    let ours = world
        .db
        .again(|builder| builder.app(customers()).app(hotels()).app(bookings()));
    let report = ours.migrate().run().expect("run");
    report.into_result().expect("migrated");
    for schema in ["acme", "globex", "hooli"] {
        let tables = world.db.tables(schema);
        assert!(
            tables.contains(&"bookings".to_owned()),
            "{schema}: {tables:?}"
        );
    }
    world.db.tenant("initech");

    // Tasks go both ways, in tenants that either has made.
    let tenants = tenancy.tenants().expect("the tenants");
    insert_room(&mut ours.tenant(&tenants[0]).expect("acme"), 1, "Ours");
    let url = world.redis.url();
    let _worker = django.worker();
    for (number, rooms) in [(0, 2), (2, 1), (3, 1)] {
        let tenant = &tenants[number];
        let schema = tenant.schema_name().as_str();
        let sent = page::send(&url, tenant, "Blue").expect("sent");
        assert_eq!(
            talk.result(&sent),
            json!({"schema": schema, "rooms": rooms})
        );
        let sent = talk.ask("delay_in_rust", &json!([schema, "Red"]), &json!({}));
        let sent = sent.as_str().expect("an identifier");
        working(&page::worker(tenancy.clone(), &url).expect("a URL"), || {
            assert_eq!(talk.result(sent), json!(rooms + 1));
        });
    }
    let rooms = |number: usize| rooms_of(&mut ours.tenant(&tenants[number]).expect("a connection"));
    assert_eq!(rooms(0), ["Ours", "Blue", "Red"]);
    assert!(rooms(1).is_empty());
    assert_eq!(rooms(2), ["Blue", "Red"]);
    assert_eq!(rooms(3), ["Blue", "Red"]);
}
