//! A tenant is saved, adopted and deleted: row, schema, migrations and ledger, all or nothing.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{
    App, AppScope, DeleteOptions, Error, Lifecycle as _, SaveOptions, Tenancy, TenantModel as _,
};

use crate::bad_input::chain;
use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms_of, sql_app};

/// What a tenant leaves behind: its row, its schema, its line in the table of states.
#[track_caller]
pub(crate) fn traces(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT 'row' AS value FROM clients WHERE schema_name = '{schema}' \
         UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname = '{schema}' \
         UNION ALL SELECT 'state' FROM __tenant_schemas WHERE schema_name = '{schema}'"
    ))
}

const ALL: [&str; 3] = ["row", "schema", "state"];

/// The hotels with a second migration.
pub(crate) fn hotels_and(second: (&str, &str, &str)) -> App {
    sql_app(
        "hotels",
        AppScope::Tenant,
        &[
            (
                "2024-02-01-000000_rooms",
                "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);",
                "DROP TABLE rooms;",
            ),
            second,
        ],
    )
}

#[test]
fn c01_saving_a_tenant_makes_it_ready() {
    let db = Db::new();
    let mut acme = client("acme");
    let mut conn = db.tenancy.public().expect("a connection");
    let saved = acme.save(&mut conn).expect("saved");
    assert!(saved.created && saved.provisioned, "{saved:?}");
    let applied: Vec<String> = saved.applied.iter().map(ToString::to_string).collect();
    assert_eq!(applied, ["hotels/2024-02-01-000000_rooms"]);
    assert!(acme.id > 0, "the value takes over the key: {acme:?}");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    assert_eq!(traces(&db, "acme"), ALL);
    drop(conn);
    let mut conn = db.tenancy.tenant(&acme).expect("a connection");
    insert_room(&mut conn, 1, "Blue");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(conn.tenant::<Client>(), Some(&acme));
    let report = db.tenancy.migrate().run().expect("a report");
    for (schema, migrated) in report.into_result().expect("no failure") {
        assert!(migrated.is_unchanged(), "{schema} was not ready");
    }
}

/// A tenancy whose listeners after the commit write down the schema of each tenant that is ready.
fn with_announcements() -> (Db, Arc<Mutex<Vec<String>>>) {
    let announced = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&announced);
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener(move |event| {
                if event.name() == "PostSchemaSync" {
                    heard
                        .lock()
                        .expect("no panic")
                        .push(event.schema().to_string());
                }
                Ok(())
            })
    });
    (db, announced)
}

#[test]
fn c02_a_save_in_the_callers_transaction_is_committed_with_it() {
    let (db, announced) = with_announcements();
    let mut conn = db.tenancy.public().expect("a connection");
    conn.transaction(|conn| {
        let saved = client("acme").save(conn)?;
        assert!(saved.provisioned);
        assert_eq!(traces(&db, "acme"), [""; 0], "seen before the commit");
        assert_eq!(announced.lock().expect("no panic").len(), 0);
        client("globex").save(conn)?;
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(traces(&db, "globex"), ALL);
    assert_eq!(*announced.lock().expect("no panic"), ["acme", "globex"]);
}

#[test]
fn c02_a_save_is_rolled_back_with_the_callers_transaction() {
    let (db, announced) = with_announcements();
    let mut conn = db.tenancy.public().expect("a connection");
    let mut acme = client("acme");
    let result = conn.transaction(|conn| {
        acme.save(conn)?;
        Err::<(), _>(Error::from(diesel::result::Error::RollbackTransaction))
    });
    assert!(result.is_err());
    assert_eq!(traces(&db, "acme"), [""; 0]);
    assert_eq!(announced.lock().expect("no panic").len(), 0);
    acme.save(&mut conn)
        .expect("the same value is saved afterwards");
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(*announced.lock().expect("no panic"), ["acme"]);
}

#[test]
fn c02_a_savepoint_that_is_rolled_back_takes_its_tenant_along_and_no_other() {
    let (db, announced) = with_announcements();
    let mut conn = db.tenancy.public().expect("a connection");
    conn.transaction(|conn| {
        client("acme").save(conn)?;
        let inner = conn.transaction(|conn| {
            client("globex").save(conn)?;
            Err::<(), _>(Error::from(diesel::result::Error::RollbackTransaction))
        });
        assert!(inner.is_err());
        let refused = client("acme").save(conn).expect_err("the schema exists");
        assert!(matches!(refused, Error::Duplicate { .. }), "{refused}");
        Ok::<_, Error>(())
    })
    .expect("a refused save does not break the caller's transaction");
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(traces(&db, "globex"), [""; 0]);
    assert_eq!(*announced.lock().expect("no panic"), ["acme"]);
}

#[test]
fn c04_saving_an_existing_tenant_updates_its_row_and_leaves_its_data_alone() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.public().expect("a connection");
    acme.name = "Acme, Inc.".to_owned();
    acme.domain_url = "acme.example.com".to_owned();
    let saved = acme.save(&mut conn).expect("saved");
    assert!(!saved.created && !saved.provisioned, "{saved:?}");
    let row = Client::by_domain(&mut conn, "acme.example.com").expect("read");
    assert_eq!(row, Some(acme.clone()));
    assert_eq!(
        Client::all(&mut conn).expect("read"),
        std::slice::from_ref(&acme)
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}

#[test]
fn a_schema_name_is_changed_by_rename_alone() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    acme.set_schema_name(name("globex"));
    let mut conn = db.tenancy.public().expect("a connection");
    let error = acme.save(&mut conn).expect_err("refused").to_string();
    assert_eq!(
        error,
        "the tenant's row has the schema name acme, and the value that was given has globex: \
         read it again; `rename` moves schema and row together"
    );
    let error = acme.delete(&mut conn).expect_err("refused");
    assert!(
        matches!(error, Error::SchemaNameChanged { .. }),
        "{error:?}"
    );
    assert_eq!(traces(&db, "acme"), ALL);
}

#[test]
fn c05_a_deleted_tenant_keeps_its_schema_unless_it_is_dropped() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mut conn = db.tenancy.public().expect("a connection");
    assert!(!acme.delete(&mut conn).expect("deleted").schema_dropped);
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = globex.delete_with(&mut conn, options).expect("deleted");
    assert!(deleted.schema_dropped);
    assert_eq!(traces(&db, "acme"), ["schema", "state"]);
    assert_eq!(traces(&db, "globex"), [""; 0]);
    let error = acme.delete(&mut conn).expect_err("it is gone").to_string();
    assert_eq!(error, "tenant acme has no row: save it first");
    // The schema that stayed is taken over by name, not by accident.
    let mut again = client("acme");
    let error = again.save(&mut conn).expect_err("the schema is there");
    assert!(matches!(error, Error::SchemaExists { .. }), "{error}");
    again.adopt(&mut conn).expect("adopted");
    assert_eq!(traces(&db, "acme"), ALL);
}

#[test]
fn c05_a_delete_is_rolled_back_with_the_callers_transaction() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.public().expect("a connection");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let result = conn.transaction(|conn| {
        assert!(acme.delete_with(conn, options)?.schema_dropped);
        Err::<(), _>(Error::from(diesel::result::Error::RollbackTransaction))
    });
    assert!(result.is_err());
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}

#[test]
fn c06_many_tenants_are_deleted_each_with_its_schema_or_none() {
    let db = Db::new();
    let [acme, globex, initech] = db.tenants(["acme", "globex", "initech"]);
    let options = DeleteOptions::new().auto_drop_schema(true);
    let mut conn = db.tenancy.public().expect("a connection");
    let unsaved = client("umbrella");
    let error = Client::delete_all([&acme, &unsaved], &mut conn, options).expect_err("not saved");
    assert!(error.to_string().contains("umbrella"), "{error}");
    assert_eq!(traces(&db, "acme"), ALL);
    let deleted = Client::delete_all([&acme, &globex], &mut conn, options).expect("deleted");
    assert!(deleted.iter().all(|deleted| deleted.schema_dropped));
    assert_eq!(traces(&db, "acme"), [""; 0]);
    assert_eq!(traces(&db, "globex"), [""; 0]);
    assert_eq!(traces(&db, "initech"), ALL);
    assert_eq!(Client::all(&mut conn).expect("read"), [initech]);
}

#[test]
fn c05_a_tenant_whose_own_tables_refer_to_its_row_is_deleted_with_its_schema() {
    let owns = "CREATE TABLE settings (client_id integer NOT NULL REFERENCES public.clients (id))";
    let db = Db::with(|builder| {
        let app = hotels_and(("2024-03-01-000000_settings", owns, ""));
        builder.app(customers()).app(app)
    });
    let [acme, globex] = db.tenants(["acme", "globex"]);
    for tenant in [&acme, &globex] {
        let (schema, id) = (&tenant.schema_name, tenant.id);
        db.raw()
            .batch_execute(&format!("INSERT INTO {schema}.settings VALUES ({id})"))
            .expect("inserted");
    }
    let mut conn = db.tenancy.public().expect("a connection");
    let kept = DeleteOptions::new().auto_drop_schema(false);
    let error = acme.delete_with(&mut conn, kept).expect_err("referred to");
    assert!(chain(&error).contains("settings"), "{error}");
    assert_eq!(traces(&db, "acme"), ALL);
    let dropped = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme.delete_with(&mut conn, dropped).expect("deleted");
    assert!(deleted.schema_dropped);
    assert_eq!(traces(&db, "acme"), [""; 0]);
    assert_eq!(traces(&db, "globex"), ALL);
}

/// Saves `acme` where it can't succeed, checks that nothing is left, and saves it where it can.
#[track_caller]
fn leaves_nothing(db: &Db, failing: &Tenancy<Client>, message: &str) {
    let mut acme = client("acme");
    let error = acme
        .save(&mut failing.public().expect("a connection"))
        .expect_err("the save fails");
    let text = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(text.contains(message), "{text:?} does not say {message:?}");
    assert_eq!(traces(db, "acme"), [""; 0]);
    assert_eq!(acme.id, 0, "the value is as it was");
    acme.save(&mut db.tenancy.public().expect("a connection"))
        .expect("the same value is saved where it can be");
    assert_eq!(traces(db, "acme"), ALL);
}

#[test]
fn c07_a_failure_in_the_first_migration_leaves_nothing() {
    let db = Db::new();
    let failing = db.again(|builder| {
        builder.app(customers()).app(sql_app(
            "hotels",
            AppScope::Tenant,
            &[(
                "1_rooms",
                "CREATE TABLE ok (id int);\n\nCREATE TABEL rooms (id int);",
                "",
            )],
        ))
    });
    leaves_nothing(
        &db,
        &failing,
        "migration hotels/1_rooms failed in schema acme at line 3",
    );
}

#[test]
fn c07_a_failure_in_the_second_migration_leaves_nothing() {
    let db = Db::new();
    let failing = db.again(|builder| {
        builder.app(customers()).app(hotels_and((
            "2024-03-01-000000_more",
            "INSERT INTO rooms VALUES (1)",
            "",
        )))
    });
    leaves_nothing(
        &db,
        &failing,
        "migration hotels/2024-03-01-000000_more failed in schema acme",
    );
}

#[test]
fn c07_a_constraint_that_fails_at_the_commit_leaves_nothing() {
    let db = Db::new();
    let failing = db.again(|builder| {
        builder.app(customers()).app(hotels_and((
            "2024-03-01-000000_more",
            "CREATE TABLE beds (room integer REFERENCES rooms DEFERRABLE INITIALLY DEFERRED);\
             INSERT INTO beds VALUES (77)",
            "",
        )))
    });
    leaves_nothing(&db, &failing, "saving tenant acme failed");
}

#[test]
fn c07_a_failing_or_panicking_listener_inside_leaves_nothing() {
    let db = Db::new();
    let failing = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(|event, _| match event.name() {
                "PostSchemaSync" => Err("no room".into()),
                _ => Ok(()),
            })
    });
    leaves_nothing(
        &db,
        &failing,
        "a listener of PostSchemaSync failed for schema acme",
    );
    let panicking = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(|event, conn| match event.name() {
                "PostSchemaSync" => conn.transaction(|_| panic!("no room")),
                _ => Ok(()),
            })
    });
    let mut globex = client("globex");
    let mut conn = panicking.public().expect("a connection");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| globex.save(&mut conn)));
    assert!(result.is_err(), "the panic is the caller's");
    drop(conn);
    assert_eq!(traces(&db, "globex"), [""; 0]);
    let mut conn = panicking.public().expect("a connection");
    assert!(
        !conn
            .transaction(|conn| Ok::<_, Error>(Client::all(conn)?.is_empty()))
            .expect("usable")
    );
}

#[test]
fn c12_a_tenant_is_saved_from_public_or_its_own_scope_and_no_other() {
    let db = Db::new();
    let [mut acme, globex] = db.tenants(["acme", "globex"]);
    let mut conn = db.tenancy.tenant(&globex).expect("globex");
    let refused = "can't be changed from the scope of globex: \
                   use a connection of the public schema, or of the tenant itself";
    let error = client("initech").save(&mut conn).expect_err("a new tenant");
    assert_eq!(error.to_string(), format!("tenant initech {refused}"));
    let mut to_adopt = client("initech");
    let options = DeleteOptions::new();
    for (what, result) in [
        ("save", acme.save(&mut conn).map(drop)),
        ("delete", acme.delete(&mut conn).map(drop)),
        (
            "rename",
            acme.rename(&mut conn, &name("elsewhere")).map(drop),
        ),
        ("provision", acme.provision(&mut conn).map(drop)),
        (
            "delete_all",
            Client::delete_all([&acme], &mut conn, options).map(drop),
        ),
    ] {
        let error = result.expect_err(what);
        assert_eq!(
            error.to_string(),
            format!("tenant acme {refused}"),
            "{what}"
        );
    }
    assert!(to_adopt.adopt(&mut conn).is_err());
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(traces(&db, "initech"), [""; 0]);
    drop(conn);
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    acme.name = "From its own scope".to_owned();
    acme.save(&mut conn).expect("its own scope");
    assert_eq!(conn.schema_name(), Some(&name("acme")), "the scope stays");
    acme.save(&mut db.tenancy.public().expect("public"))
        .expect("public");
}

#[test]
fn c13_saving_over_an_existing_schema_is_refused_and_the_schema_untouched() {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "CREATE SCHEMA acme; CREATE TABLE acme.rooms (id integer PRIMARY KEY, name text NOT NULL); \
             INSERT INTO acme.rooms VALUES (1, 'Old')",
        )
        .expect("a schema of someone else");
    let mut acme = client("acme");
    let mut conn = db.tenancy.public().expect("a connection");
    let error = acme.save(&mut conn).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "schema acme already exists and was left untouched: choose another name, \
         or take the schema over with `adopt`"
    );
    assert_eq!(traces(&db, "acme"), ["schema"]);
    assert_eq!(db.tables("acme"), ["rooms"]);
    assert_eq!(
        db.strings("SELECT name AS value FROM acme.rooms"),
        ["Old"],
        "the rows are as they were"
    );
}

#[test]
fn c13_adopting_is_explicit_and_needs_a_schema() {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "CREATE SCHEMA acme; CREATE TABLE acme.old (id integer); INSERT INTO acme.old VALUES (7)",
        )
        .expect("a schema of someone else");
    let mut conn = db.tenancy.public().expect("a connection");
    let mut acme = client("acme");
    let saved = acme.adopt(&mut conn).expect("adopted");
    assert!(saved.created && saved.provisioned, "{saved:?}");
    assert_eq!(saved.applied.len(), 1);
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "old", "rooms"]);
    assert_eq!(
        db.strings("SELECT id::text AS value FROM acme.old"),
        ["7"],
        "what was there stays"
    );
    let error = client("globex").adopt(&mut conn).expect_err("no schema");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
    assert_eq!(traces(&db, "globex"), [""; 0]);
}

#[test]
fn c13_a_schema_that_diesel_migrated_is_adopted_with_what_is_recorded_there() {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "CREATE SCHEMA acme; CREATE TABLE acme.rooms (id integer PRIMARY KEY, name text NOT NULL); \
             INSERT INTO acme.rooms VALUES (1, 'Old'); \
             CREATE TABLE acme.__diesel_schema_migrations (version varchar(50) PRIMARY KEY, \
             run_on timestamp NOT NULL DEFAULT now()); \
             INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('20240201000000')",
        )
        .expect("an existing Diesel project");
    let mut acme = client("acme");
    let saved = acme
        .adopt(&mut db.tenancy.public().expect("a connection"))
        .expect("adopted");
    assert!(saved.applied.is_empty(), "{saved:?}");
    assert_eq!(traces(&db, "acme"), ALL);
    assert_eq!(
        db.strings("SELECT version AS value FROM acme.__tenant_migrations"),
        ["20240201000000"]
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Old"]
    );
}

#[test]
fn a_tenant_that_was_saved_without_its_schema_can_adopt_one() {
    let db = Db::new();
    let mut conn = db.tenancy.public().expect("a connection");
    let mut acme = client("acme");
    acme.save_with(&mut conn, SaveOptions::new().auto_create_schema(false))
        .expect("saved");
    db.raw()
        .batch_execute("CREATE SCHEMA acme")
        .expect("a schema");
    let error = acme.provision(&mut conn).expect_err("the schema exists");
    assert!(error.to_string().contains("`adopt`"), "{error}");
    let saved = acme.adopt(&mut conn).expect("adopted");
    assert!(!saved.created && saved.provisioned, "{saved:?}");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn a_migration_that_needs_no_transaction_runs_after_the_commit() {
    let db = Db::with(|builder| {
        builder.app(customers()).app(hotels_and((
            "2024-03-01-000000_index!",
            "CREATE INDEX CONCURRENTLY rooms_name ON rooms (name)",
            "",
        )))
    });
    let mut conn = db.tenancy.public().expect("a connection");
    let saved = client("acme").save(&mut conn).expect("saved");
    assert_eq!(saved.applied.len(), 2, "{saved:?}");
    let index = "SELECT relnamespace::regnamespace::text AS value FROM pg_class \
                 WHERE relname = 'rooms_name' ORDER BY 1";
    assert_eq!(db.strings(index), ["acme"]);
    conn.transaction(|conn| {
        let saved = client("globex").save(conn)?;
        assert_eq!(saved.applied.len(), 1, "the rest waits: {saved:?}");
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(db.strings(index), ["acme", "globex"]);
    let rolled_back = conn.transaction(|conn| {
        client("initech").save(conn)?;
        Err::<(), _>(Error::from(diesel::result::Error::RollbackTransaction))
    });
    assert!(rolled_back.is_err());
    assert_eq!(db.strings(index), ["acme", "globex"]);
    assert_eq!(traces(&db, "initech"), [""; 0]);
}

#[test]
fn a_failure_behind_the_commit_leaves_a_tenant_that_migrate_completes() {
    let db = Db::new();
    let with = |text: &'static str| {
        db.again(move |builder| {
            builder
                .app(customers())
                .app(hotels_and(("2024-03-01-000000_index!", text, "")))
        })
    };
    let failing = with("CREATE INDEX CONCURRENTLY rooms_name ON rooms (nothing)");
    let mut acme = client("acme");
    let error = acme
        .save(&mut failing.public().expect("a connection"))
        .expect_err("the rest fails");
    let expected = "migration hotels/2024-03-01-000000_index failed in schema acme at line 1";
    assert_eq!(error.to_string(), expected);
    assert!(acme.id > 0, "the tenant exists");
    assert_eq!(traces(&db, "acme"), ALL);
    let good = with("CREATE INDEX CONCURRENTLY rooms_name ON rooms (name)");
    let done = good
        .migrate()
        .tenants()
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("resumed");
    assert_eq!(done.len(), 1);
    let applied: Vec<String> = done[0].1.applied.iter().map(ToString::to_string).collect();
    assert_eq!(applied, ["hotels/2024-03-01-000000_index"]);
}

/// Saves tenants of these names at the same time, each from a thread of its own.
fn save_at_once(db: &Db, schemas: &[&str]) -> Vec<Result<(), String>> {
    let start = Barrier::new(schemas.len());
    thread::scope(|scope| {
        let threads: Vec<_> = schemas
            .iter()
            .enumerate()
            .map(|(number, schema)| {
                let start = &start;
                scope.spawn(move || {
                    let mut tenant = client(schema);
                    tenant.domain_url = format!("{number}.my-domain.com");
                    let mut conn = db.tenancy.public().expect("public");
                    start.wait();
                    let saved = tenant.save(&mut conn);
                    saved
                        .map(drop)
                        .map_err(|error| format!("{error}: {error:?}"))
                })
            })
            .collect();
        let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
        results.map(|result| result.expect("no panic")).collect()
    })
}

#[test]
fn tenants_can_be_saved_at_the_same_time() {
    let db = Db::new();
    for saved in save_at_once(&db, &["a", "b", "c", "d"]) {
        saved.expect("saved");
    }
    let report = db.tenancy.migrate().verify(true).run().expect("a report");
    assert_eq!(report.into_result().expect("all are there").len(), 5);
}

#[test]
fn of_those_that_save_the_same_tenant_at_the_same_time_one_succeeds() {
    let db = Db::new();
    let results = save_at_once(&db, &["acme"; 4]);
    let failures: Vec<&String> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    assert_eq!(failures.len(), 3);
    for failure in failures {
        assert!(
            failure
                .starts_with("tenant acme can't be saved: Key (schema_name)=(acme) already exists"),
            "{failure}"
        );
    }
    assert_eq!(traces(&db, "acme"), ALL);
}

#[test]
fn tenants_whose_tables_refer_to_the_tenants_can_come_and_go_at_the_same_time() {
    let db = Db::with(|builder| {
        builder.app(customers()).app(hotels_and((
            "2024-03-01-000000_owners",
            "CREATE TABLE owners (client integer REFERENCES public.clients)",
            "",
        )))
    });
    for saved in save_at_once(&db, &["a", "b", "c", "d"]) {
        saved.expect("saved");
    }
    let tenants = db.tenancy.tenants().expect("read");
    let options = DeleteOptions::new().auto_drop_schema(true);
    thread::scope(|scope| {
        for tenant in &tenants {
            let db = &db;
            scope.spawn(move || {
                let mut conn = db.tenancy.public().expect("public");
                let deleted = tenant.delete_with(&mut conn, options);
                assert!(deleted.expect("deleted").schema_dropped);
            });
        }
    });
    assert_eq!(db.tenancy.tenants().expect("read"), []);
}

#[test]
fn c13_a_schema_that_a_deleted_tenant_left_is_refused_also_if_none_is_to_be_created() {
    let db = Db::new();
    let old = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&old).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.public().expect("public");
    let deleted = old.delete(&mut conn).expect("deleted");
    assert!(!deleted.schema_dropped);
    // The control: its rows are there to be read by whoever is called so.
    assert_eq!(db.strings("SELECT name AS value FROM acme.rooms"), ["Blue"]);
    let mut new = client("acme");
    let later = SaveOptions::new().auto_create_schema(false);
    let refused = new.save_with(&mut conn, later);
    assert!(
        matches!(refused, Err(Error::SchemaExists { .. })),
        "{refused:?}"
    );
    assert_eq!(Client::all(&mut conn).expect("read"), []);
    new.adopt(&mut conn).expect("asked for by name");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&new).expect("acme")),
        ["Blue"]
    );
}
