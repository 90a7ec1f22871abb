//! The tenancy and its builder: every knob, every contradiction, work for each tenant.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{
    App, AppScope, BoxError, Error, Lifecycle as _, SaveOptions, SchemaNamePolicy, SetCalls,
    Tenancy, TenancyBuilder,
};

use crate::support::{
    Client, Db, client, customers, hotels, insert_room, plans, room, rooms, rooms_of, strings,
};

fn basic(builder: TenancyBuilder<Client>) -> TenancyBuilder<Client> {
    builder.app(customers()).app(hotels())
}

/// The search path that the server has.
#[track_caller]
fn server_path(conn: &mut tenant_schemas::TenantConnection) -> String {
    strings(conn, "SELECT current_setting('search_path') AS value").remove(0)
}

#[test]
fn pool_size_and_checkout_timeout_bound_the_pool() {
    let db = Db::with(|builder| {
        basic(builder)
            .pool_size(2)
            .checkout_timeout(Duration::from_millis(500))
    });
    let _one = db.tenancy.public().expect("the first");
    let _two = db.tenancy.public().expect("the second");
    let error = db.tenancy.public().expect_err("a third").to_string();
    assert!(
        error.starts_with("no connection could be had from the pool")
            && error.contains("raise `pool_size`"),
        "{error}"
    );
    assert_eq!(db.tenancy.pool().max_size(), 2);
    let timeout = db.tenancy.pool().connection_timeout();
    assert_eq!(timeout, Duration::from_millis(500));
    let larger = db.again(|builder| basic(builder).pool_size(3));
    let _all = [(); 3].map(|()| larger.public().expect("three are there"));
}

#[test]
fn min_idle_keeps_connections_ready_and_the_default_keeps_none() {
    let lazy = Db::unmigrated(basic);
    assert_eq!(lazy.tenancy.pool().state().connections, 0);
    let eager = Db::unmigrated(|builder| basic(builder).min_idle(2));
    assert_eq!(eager.tenancy.pool().state().connections, 2);
    assert_eq!(eager.tenancy.pool().min_idle(), Some(2));
}

#[test]
fn lifetimes_reach_the_pool() {
    let default = Db::unmigrated(basic);
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    assert_eq!(default.tenancy.pool().max_lifetime(), minutes(30));
    assert_eq!(default.tenancy.pool().idle_timeout(), minutes(10));
    let other = default.again(|builder| basic(builder).max_lifetime(minutes(1)).idle_timeout(None));
    assert_eq!(other.pool().max_lifetime(), minutes(1));
    assert_eq!(other.pool().idle_timeout(), None);
}

#[test]
fn on_connect_reaches_every_connection_and_fails_at_once() {
    let db = Db::with(|builder| {
        basic(builder).on_connect(|conn| {
            conn.batch_execute("SET work_mem = '7MB'; SET search_path = nowhere")
        })
    });
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let setting = strings(&mut *conn, "SELECT current_setting('work_mem') AS value");
    assert_eq!(setting, ["7MB"]);
    assert_eq!(server_path(&mut conn), "acme, public", "the path is ours");
    let failing = Tenancy::<Client>::builder(db.database.url())
        .on_connect(|conn| conn.batch_execute("SET no_such_setting = 1"))
        .build();
    let error = failing.expect_err("it can't work").to_string();
    assert_eq!(error, "what `on_connect` does failed");
}

#[test]
fn extra_schemas_are_on_every_path() {
    let db = Db::with(|builder| basic(builder).extra_search_path(["extensions", "Other"]));
    db.raw()
        .batch_execute(
            "CREATE SCHEMA extensions; CREATE FUNCTION extensions.answer() RETURNS text LANGUAGE sql AS $$SELECT '42'$$",
        )
        .expect("an extension");
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(strings(&mut *conn, "SELECT answer() AS value"), ["42"]);
    assert_eq!(
        server_path(&mut conn),
        "acme, public, extensions, \"Other\""
    );
    assert_eq!(
        server_path(&mut db.tenancy.public().expect("public")),
        "public, extensions, \"Other\""
    );
    let without = db.again(basic);
    let mut conn = without.tenant(&acme).expect("acme");
    assert_eq!(server_path(&mut conn), "acme, public");
}

#[test]
fn include_shared_decides_whether_public_is_behind_the_tenant() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let names = |conn: &mut tenant_schemas::TenantConnection| {
        plans::table
            .select(plans::name)
            .order(plans::id)
            .load::<String>(conn)
    };
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(names(&mut conn).expect("shared"), ["free", "team"]);
    let alone = db.again(|builder| basic(builder).include_shared(false));
    let mut conn = alone.tenant(&acme).expect("acme");
    assert_eq!(server_path(&mut conn), "acme");
    names(&mut conn).expect_err("no plans here");
    let qualified = strings(
        &mut *conn,
        "SELECT name AS value FROM public.plans WHERE id = 1",
    );
    assert_eq!(qualified, ["free"]);
    // Saving, looking up and migrating work all the same.
    let mut globex = client("globex");
    globex
        .save(&mut alone.public().expect("public"))
        .expect("saved");
    let found = Client::by_schema(&mut conn, "globex").expect("read");
    assert_eq!(found, Some(globex));
    assert_eq!(server_path(&mut conn), "acme", "the scope is back");
}

#[test]
fn public_schema_is_created_and_holds_what_is_shared() {
    let db = Db::with(|builder| basic(builder).public_schema("shared"));
    let acme = db.tenant("acme");
    assert!(db.tables("shared").contains(&"plans".to_owned()));
    assert_eq!(db.tables("public"), [""; 0]);
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(server_path(&mut conn), "acme, shared");
    insert_room(&mut conn, 1, "Blue");
    let joined: Vec<(String, String)> = rooms::table
        .inner_join(plans::table.on(plans::id.eq(rooms::id)))
        .select((rooms::name, plans::name))
        .load(&mut conn)
        .expect("a join of both");
    assert_eq!(joined, [("Blue".to_owned(), "free".to_owned())]);
}

#[test]
fn max_tenants_per_connection_closes_a_connection_that_has_served_enough() {
    let db = Db::with(|builder| basic(builder).pool_size(1).max_tenants_per_connection(2));
    let tenants = db.tenants(["a", "b", "c", "d"]);
    let backends = |tenancy: &Tenancy<Client>| {
        let mut backends: Vec<String> = tenants
            .iter()
            .map(|tenant| {
                let mut conn = tenancy.tenant(tenant).expect("a connection");
                strings(&mut *conn, "SELECT pg_backend_pid()::text AS value").remove(0)
            })
            .collect();
        backends.dedup();
        backends.len()
    };
    assert!(backends(&db.tenancy) > 1, "closed on the way");
    let patient = db.again(|builder| basic(builder).pool_size(1));
    assert_eq!(backends(&patient), 1);
}

#[test]
fn every_contradiction_is_reported_at_once() {
    let error = Tenancy::<Client>::builder("postgres://nowhere")
        .app(hotels().after(["billing"]))
        .app(hotels())
        .app(App::new("Bad Label", AppScope::Tenant))
        .app(App::new("x", AppScope::Shared).types(["hotel"]))
        .app(App::new("y", AppScope::Shared).after(["z"]))
        .app(App::new("z", AppScope::Shared).after(["y"]))
        .public_schema("pg_shared")
        .extra_search_path(["public", "a;b"])
        .schema_names(SchemaNamePolicy::Plain)
        .set_calls(SetCalls::EveryCheckout)
        .pool_size(0)
        .min_idle(3)
        .max_tenants_per_connection(0)
        .checkout_timeout(Duration::ZERO)
        .max_lifetime(Some(Duration::ZERO))
        .idle_timeout(Some(Duration::ZERO))
        .build()
        .expect_err("contradictions");
    let Error::Config { problems, .. } = &error else {
        panic!("{error}");
    };
    let expected = [
        "the public schema: schema name \"pg_shared\" is reserved",
        "the extra search path: schema name \"a;b\" contains ';'",
        "schema public is both the public schema and an extra one",
        "the pool has no connections: give `pool_size` at least 1",
        "`min_idle` is 3, more than the 0 connections of `pool_size`",
        "give `max_tenants_per_connection` at least 1",
        "`checkout_timeout` is zero",
        "`max_lifetime` is zero",
        "`idle_timeout` is zero",
        "two apps have the label hotels",
        "app label \"Bad Label\" is not of the form [a-z_][a-z0-9_]*",
        "app x is shared, so it can't be for tenants of some types: remove `types`",
        "app hotels comes after billing, which was not given to the builder",
        "come after each other in a circle: remove one `after`",
    ];
    for message in expected {
        assert!(
            problems.iter().any(|problem| problem.contains(message)),
            "{problems:#?} lack {message:?}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert!(
        error
            .to_string()
            .starts_with("the tenancy can't be built: ")
    );
}

#[test]
fn work_for_each_tenant_is_reported_tenant_by_tenant() {
    let db = Db::new();
    db.tenants(["d", "b", "a", "c", "public"]);
    let order: Vec<String> = db
        .tenancy
        .tenants()
        .expect("read")
        .iter()
        .map(|tenant| tenant.schema_name.to_string())
        .collect();
    assert_eq!(
        order,
        ["a", "b", "c", "d"],
        "sorted, without the public one"
    );
    let report = db
        .tenancy
        .for_each_tenant(|tenant, conn| {
            assert_eq!(conn.schema_name(), Some(&tenant.schema_name));
            insert_room(conn, 1, &tenant.name);
            match tenant.schema_name.as_str() {
                "b" => diesel::insert_into(rooms::table)
                    .values(room(1, "twice"))
                    .execute(conn),
                "c" => panic!("no luck"),
                _ => Ok(rooms_of(conn).len()),
            }
        })
        .expect("a report");
    let outcomes: Vec<String> = report
        .outcomes()
        .iter()
        .map(|outcome| match &outcome.result {
            Ok(rooms) => format!("{} {rooms}", outcome.schema),
            Err(error) => format!("{} {error}", outcome.schema),
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            "a 1",
            "b the query failed",
            "c the work for schema c panicked: no luck",
            "d 1"
        ]
    );
    assert_eq!(report.failed().count(), 2);
    let error = report.into_result().expect_err("some failed").to_string();
    assert!(
        error.starts_with("2 of 4 schemas failed, the first is b"),
        "{error}"
    );
}

#[test]
fn a_tenant_without_its_schema_is_an_outcome_of_its_own() {
    let db = Db::new();
    db.tenants(["a", "b", "c"]);
    db.raw()
        .batch_execute("DROP SCHEMA b CASCADE")
        .expect("dropped behind our back");
    let report = db
        .tenancy
        .for_each_tenant(|_, conn| Ok::<_, Error>(rooms_of(conn).len()))
        .expect("a report");
    let failed: Vec<String> = report
        .failed()
        .map(|(_, error)| error.to_string())
        .collect();
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].starts_with("schema b does not exist"),
        "{failed:?}"
    );
    assert_eq!(report.succeeded().count(), 2);
}

#[test]
fn c68_missing_schemas_are_created_and_only_those() {
    // A pool of one: nothing may hold a connection while it waits for another.
    let db = Db::with(|builder| {
        basic(builder)
            .pool_size(1)
            .checkout_timeout(Duration::from_millis(500))
    });
    let [acme, _public] = db.tenants(["acme", "public"]);
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut globex = client("globex");
    let options = SaveOptions::new().auto_create_schema(false);
    globex
        .save_with(&mut db.tenancy.public().expect("public"), options)
        .expect("saved");
    db.tenant("initech");
    db.raw()
        .batch_execute("DROP SCHEMA initech CASCADE; CREATE SCHEMA unrelated")
        .expect("dropped behind our back");
    let created = db.tenancy.create_missing_schemas().expect("a report");
    let created = created.into_result().expect("created");
    let names: Vec<&str> = created.iter().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(names, ["globex", "initech"]);
    assert!(
        created
            .iter()
            .all(|(_, saved)| saved.provisioned && saved.applied.len() == 1)
    );
    for schema in names {
        assert_eq!(db.tables(schema), ["__tenant_migrations", "rooms"]);
    }
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert_eq!(db.tables("unrelated"), [""; 0]);
    let again = db.tenancy.create_missing_schemas().expect("a report");
    assert!(again.is_empty(), "nothing is missing: {again:?}");
}

#[test]
fn c68_one_tenant_that_can_not_be_created_hides_no_other() {
    let db = Db::with(|builder| {
        basic(builder).listener_in_transaction(|event, _| -> Result<(), BoxError> {
            match (event.schema().as_str(), event.name()) {
                ("b", "PostSchemaSync") => Err("no".into()),
                ("c", "PostSchemaSync") => panic!("not at all"),
                _ => Ok(()),
            }
        })
    });
    let options = SaveOptions::new().auto_create_schema(false);
    for schema in ["a", "b", "c", "d"] {
        let mut conn = db.tenancy.public().expect("public");
        client(schema).save_with(&mut conn, options).expect("saved");
    }
    let report = db.tenancy.create_missing_schemas().expect("a report");
    assert_eq!(report.succeeded().count(), 2);
    let failed: Vec<&str> = report.failed().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(failed, ["b", "c"]);
    assert!(!db.schema_exists("b") && !db.schema_exists("c"));
    assert!(db.schema_exists("d"));
}

#[test]
fn a_connection_of_another_model_or_of_no_tenancy_is_refused() {
    let db = Db::new();
    let mut conn = db.tenancy.pool().get().expect("a connection");
    let error = client("acme").save(&mut conn).expect_err("no scope");
    assert!(matches!(error, Error::NoScope), "{error}");
    let mut bare = tenant_schemas::TenantConnection::establish(&db.database.url()).expect("bare");
    bare.set_public().expect("public");
    let error = client("acme").save(&mut bare).expect_err("no apps");
    assert_eq!(
        error.to_string(),
        "this connection knows no apps: take it from a `Tenancy` of the same tenant model"
    );
}
