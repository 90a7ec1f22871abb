//! A tenant's schema is renamed or dropped, and what is not a tenant's is left alone.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{
    AppScope, Check, CloneOptions, CloneTenant as _, DeleteOptions, DumpOptions, DumpTenant as _,
    Error, Lifecycle as _, SchemaName, SetCalls, Severity, Tenancy, TenantConnection,
};

use crate::bad_input::chain;
use crate::clone::{SAID_BY, SAYING};
use crate::isolation::MODES;
use crate::support::{
    Client, Db, client, customers, hotels, insert_room, name, rooms, rooms_of, sql_app,
};

/// The error of a query on the rooms.
#[track_caller]
fn refused(conn: &mut TenantConnection) -> String {
    let rooms: QueryResult<Vec<String>> = rooms::table.select(rooms::name).load(conn);
    rooms.expect_err("there are no rooms to read").to_string()
}

/// `public` has a table of rooms too: where a query that misses its schema would fall through to.
fn with_a_trap() -> Db {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
             INSERT INTO public.rooms VALUES (1, 'Trap')",
        )
        .expect("a trap");
    let trapped: Vec<String> = rooms::table
        .select(rooms::name)
        .load(&mut *db.tenancy.public().expect("public"))
        .expect("read");
    assert_eq!(trapped, ["Trap"], "the trap is set");
    db
}

#[test]
fn c60_renaming_moves_schema_and_row_together() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.public().expect("public");
    acme.rename(&mut conn, &name("globex")).expect("renamed");
    assert_eq!(acme.schema_name, name("globex"));
    assert_eq!(Client::by_schema(&mut conn, "acme").expect("read"), None);
    let row = Client::by_schema(&mut conn, "globex").expect("read");
    assert_eq!(row.as_ref(), Some(&acme));
    assert!(!db.schema_exists("acme"));
    let gone = db.tenancy.schema(&name("acme")).expect_err("gone");
    assert!(matches!(gone, Error::NoSuchSchema { .. }), "{gone}");
    let mut conn = db.tenancy.tenant(&acme).expect("globex");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    // The ledger and the table of states moved along: nothing is pending.
    assert_eq!(
        db.strings("SELECT schema_name AS value FROM __tenant_schemas ORDER BY 1"),
        ["globex", "public"]
    );
    let report = db.tenancy.migrate().verify(true).run().expect("a report");
    for (schema, migrated) in report.into_result().expect("no failure") {
        assert!(migrated.is_unchanged(), "{schema}");
    }
    let mut again = client("acme");
    again.domain_url = "acme.example.com".to_owned();
    let mut conn = db.tenancy.public().expect("public");
    again.save(&mut conn).expect("the old name is free");
}

#[test]
fn c60_a_connection_in_the_scope_of_the_tenant_follows_it() {
    let db = with_a_trap();
    let mut acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    acme.rename(&mut conn, &name("globex")).expect("renamed");
    assert_eq!(conn.schema_name(), Some(&name("globex")));
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c60_in_a_transaction_the_own_scope_is_refused_as_it_could_not_follow_a_rollback() {
    let db = with_a_trap();
    let mut acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let result = conn.transaction(|conn| acme.rename(conn, &name("globex")));
    let error = result.expect_err("refused").to_string();
    assert!(
        error.starts_with("the tenant can't be changed to globex inside a transaction"),
        "{error}"
    );
    let result: Result<(), Error> = conn.transaction(|conn| {
        conn.with_public(|conn| acme.rename(conn, &name("globex")))?;
        let error = refused(conn);
        assert!(error.contains("schema acme does not exist"), "{error}");
        Err(diesel::result::Error::RollbackTransaction.into())
    });
    assert!(result.is_err());
    assert_eq!(rooms_of(&mut conn), ["Blue"], "rolled back");
    assert!(!db.schema_exists("globex"));
}

#[test]
fn c60_another_connection_in_the_old_scope_gets_an_error_and_never_the_rows_of_public() {
    let db = with_a_trap();
    let [mut acme, globex] = db.tenants(["acme", "globex"]);
    let mut other = db.tenancy.tenant(&acme).expect("acme");
    let mut doomed = db.tenancy.tenant(&globex).expect("globex");
    assert_eq!(rooms_of(&mut other), [""; 0], "it is in use");
    assert_eq!(rooms_of(&mut doomed), [""; 0], "it is in use");
    let mut conn = db.tenancy.public().expect("public");
    acme.rename(&mut conn, &name("elsewhere")).expect("renamed");
    let error = refused(&mut other);
    assert!(
        error.starts_with("schema acme does not exist: save its tenant"),
        "{error}"
    );
    let begun = other.transaction(|conn| {
        assert_eq!(rooms_of(conn), [""; 0]);
        Ok::<_, Error>(())
    });
    let error = begun.expect_err("no transaction begins").to_string();
    assert!(error.starts_with("schema acme does not exist"), "{error}");
    let options = DeleteOptions::new().auto_drop_schema(true);
    globex.delete_with(&mut conn, options).expect("deleted");
    let begun = doomed.transaction(|_| Ok::<_, Error>(()));
    let error = begun.expect_err("no transaction begins").to_string();
    assert!(error.starts_with("schema globex does not exist"), "{error}");
    assert!(refused(&mut doomed).starts_with("schema globex does not exist"));
}

#[test]
fn c05_a_connection_in_the_scope_of_a_dropped_tenant_reads_nothing_of_public() {
    let db = with_a_trap();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    let options = DeleteOptions::new().auto_drop_schema(true);
    assert!(
        acme.delete_with(&mut conn, options)
            .expect("deleted from its own scope")
            .schema_dropped
    );
    let error = refused(&mut conn);
    assert!(error.starts_with("schema acme does not exist"), "{error}");
    conn.set_public().expect("the connection is of use");
    assert_eq!(rooms_of(&mut conn), ["Trap"]);
}

#[test]
fn c61_renaming_onto_a_name_that_is_not_free_is_refused() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .extra_search_path(["extensions"])
    });
    db.raw()
        .batch_execute("CREATE SCHEMA extensions; CREATE SCHEMA unrelated")
        .expect("schemas");
    let [mut acme, _globex] = db.tenants(["acme", "globex"]);
    let mut conn = db.tenancy.public().expect("public");
    let mut reserved = client("initech");
    reserved
        .save_with(
            &mut conn,
            tenant_schemas::SaveOptions::new().auto_create_schema(false),
        )
        .expect("a row without a schema");
    for (to, message) in [
        ("globex", "schema globex already exists"),
        ("unrelated", "schema unrelated already exists"),
        ("acme", "schema acme already exists"),
        (
            "public",
            "schema public can't be taken by a tenant: it is the shared schema",
        ),
        (
            "extensions",
            "schema extensions can't be taken by a tenant: it is an extra schema",
        ),
        (
            "initech",
            "tenant initech can't be saved: Key (schema_name)=(initech) already exists",
        ),
        ("Upper", "contains 'U' at byte 0"),
    ] {
        let error = acme.rename(&mut conn, &name(to)).expect_err(to).to_string();
        assert!(
            error.contains(message),
            "{error:?} does not say {message:?}"
        );
        assert_eq!(acme.schema_name, name("acme"));
    }
    assert!(
        "pg_x".parse::<SchemaName>().is_err(),
        "no value to rename to"
    );
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    let error = client("umbrella")
        .rename(&mut conn, &name("free"))
        .expect_err("not saved");
    assert_eq!(
        error.to_string(),
        "tenant umbrella has no row: save it first"
    );
    let error = reserved.rename(&mut conn, &name("free"));
    let error = error.expect_err("no schema").to_string();
    assert!(
        error.starts_with("schema initech does not exist"),
        "{error}"
    );
}

#[test]
fn a_schema_that_was_never_migrated_can_be_renamed() {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "CREATE SCHEMA acme; DROP TABLE __tenant_schemas; \
             INSERT INTO clients (schema_name, domain_url, name, on_trial) \
             VALUES ('acme', 'acme.my-domain.com', 'Acme', true)",
        )
        .expect("a tenant made by hand");
    let mut conn = db.tenancy.public().expect("public");
    let acme = Client::by_schema(&mut conn, "acme").expect("read");
    let mut acme = acme.expect("there");
    acme.rename(&mut conn, &name("globex")).expect("renamed");
    assert!(db.schema_exists("globex"));
}

#[test]
fn c67_the_public_schema_and_the_extra_ones_are_never_created_over_renamed_or_dropped() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .extra_search_path(["extensions"])
    });
    db.raw()
        .batch_execute("CREATE SCHEMA extensions; CREATE TABLE extensions.kept ()")
        .expect("a schema");
    let mut conn = db.tenancy.public().expect("public");
    let mut public = client("public");
    public.save(&mut conn).expect("the public tenant");
    for options in [
        DeleteOptions::new(),
        DeleteOptions::new().auto_drop_schema(true),
    ] {
        let deleted = public.delete_with(&mut conn, options).expect("the row");
        assert!(!deleted.schema_dropped);
        public.save(&mut conn).expect("saved again");
    }
    for (schema, what) in [
        ("public", "it is the shared schema"),
        ("extensions", "it is an extra schema of the search path"),
    ] {
        let error = db.tenancy.drop_schema_cascade(&name(schema));
        assert_eq!(
            error.expect_err("refused").to_string(),
            format!("schema {schema} can't be dropped: {what}")
        );
    }
    let error = public.rename(&mut conn, &name("elsewhere"));
    assert_eq!(
        error.expect_err("refused").to_string(),
        "schema public can't be renamed: it is the shared schema"
    );
    for save in [
        client("extensions").save(&mut conn),
        client("extensions").adopt(&mut conn),
    ] {
        let error = save.expect_err("refused").to_string();
        assert_eq!(
            error,
            "schema extensions can't be taken by a tenant: it is an extra schema of the search path"
        );
    }
    assert_eq!(db.tables("extensions"), ["kept"]);
    assert!(db.tables("public").contains(&"clients".to_owned()));
}

#[test]
fn c67_postgres_own_public_is_protected_where_another_schema_is_shared() {
    let db = Db::unmigrated(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .public_schema("shared")
    });
    db.raw()
        .batch_execute("CREATE SCHEMA shared; CREATE TABLE public.kept ()")
        .expect("a schema");
    let shared = db.tenancy.migrate().shared().run().expect("a report");
    shared.into_result().expect("migrated");
    let mut conn = db.tenancy.public().expect("shared");
    let error = client("public").save(&mut conn).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "schema public can't be taken by a tenant: it is PostgreSQL's `public` schema"
    );
    let error = db.tenancy.drop_schema_cascade(&name("public"));
    assert!(matches!(error, Err(Error::Protected { .. })), "{error:?}");
    assert_eq!(db.tables("public"), ["kept"]);
}

#[test]
fn c67_a_template_is_no_orphan_and_nothing_takes_renames_or_drops_it() {
    let db = Db::new();
    let [mut acme, _] = db.tenants(["acme", "template"]);
    // Made like a tenant's, and no tenant's: its row goes and its schema stays.
    db.raw()
        .batch_execute("DELETE FROM clients WHERE schema_name = 'template'")
        .expect("deleted");
    let orphans = |tenancy: &Tenancy<Client>| {
        let diagnosis = tenancy.doctor().expect("a diagnosis");
        let orphans = diagnosis
            .findings()
            .iter()
            .filter(|finding| finding.check == Check::OrphanSchema);
        orphans
            .map(|orphan| orphan.subject.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(orphans(&db.tenancy), ["template"], "control");
    let protected = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .template_schemas(["template"])
    });
    assert!(orphans(&protected).is_empty());
    let template = name("template");
    let mut conn = protected.public().expect("a connection");
    let mut taker = client("template");
    let copy = acme.clone_to(&mut conn, &mut client("template"), CloneOptions::new());
    for (what, result) in [
        ("taken", taker.save(&mut conn).map(drop)),
        ("adopted", taker.adopt(&mut conn).map(drop)),
        ("copied over", copy.map(drop)),
        ("renamed to", acme.rename(&mut conn, &template).map(drop)),
        (
            "dropped",
            protected.drop_schema_cascade(&template).map(drop),
        ),
    ] {
        let error = result.expect_err(what);
        assert!(
            matches!(error, Error::Protected { .. }),
            "{what}: {error:?}"
        );
        assert!(
            error.to_string().ends_with("it is a template schema"),
            "{error}"
        );
    }
    assert_eq!(db.tables("template"), ["__tenant_migrations", "rooms"]);
    assert_eq!(
        db.strings("SELECT schema_name AS value FROM clients"),
        ["acme"]
    );
    let both = Tenancy::<Client>::builder(db.database.url())
        .template_schemas(["public"])
        .build();
    let error = both.expect_err("a contradiction").to_string();
    assert!(
        error.contains("schema public is a template and on the search path"),
        "{error}"
    );
}

/// A tenancy on a server that has room for few locks, with tenants of more tables than that.
fn few_lock_slots() -> (Server, Tenancy<Client>) {
    let server = Server::builder()
        .setting("max_locks_per_transaction", "10")
        .setting("max_connections", "10")
        .start()
        .expect("a server");
    // PostgreSQL 17 and 18 have more room beyond what the settings promise.
    let tables = if server.major() < 17 { 60 } else { 180 };
    // A few in a migration of its own, so that a fleet migration needs few locks at a time.
    let wide: Vec<(String, String)> = (0..tables / 5)
        .map(|migration| {
            let tables = (0..5).map(|table| {
                let columns: Vec<String> = (0..9).map(|n| format!("c{n} text UNIQUE")).collect();
                format!(
                    "CREATE TABLE t{migration}_{table} ({});",
                    columns.join(", ")
                )
            });
            (format!("{migration:05}_tables"), tables.collect())
        })
        .collect();
    let wide: Vec<(&str, &str, &str)> = wide
        .iter()
        .map(|(name, up)| (name.as_str(), up.as_str(), ""))
        .collect();
    let tenancy = Tenancy::builder(server.url())
        .pool_size(2)
        .app(customers())
        .app(sql_app("wide", AppScope::Tenant, &wide))
        .build()
        .expect("a tenancy");
    let shared = tenancy.migrate().shared().run().expect("a report");
    shared.into_result().expect("migrated");
    (server, tenancy)
}

#[test]
fn a_schema_that_is_wider_than_the_lock_slots_is_dropped_in_batches() {
    let (server, tenancy) = few_lock_slots();
    let mut conn = tenancy.public().expect("public");
    let mut acme = client("acme");
    let error = acme.save(&mut conn).expect_err("too few lock slots");
    let text = error.to_string();
    assert!(text.contains("raise `max_locks_per_transaction`"), "{text}");
    assert_eq!(
        Client::all(&mut conn).expect("read"),
        [],
        "nothing is half made"
    );
    acme.save_with(
        &mut conn,
        tenant_schemas::SaveOptions::new().auto_create_schema(false),
    )
    .expect("the row alone");
    conn.batch_execute("CREATE SCHEMA acme").expect("a schema");
    drop(conn);
    let report = tenancy.migrate().tenants().run().expect("a report");
    report.into_result().expect("one migration at a time");
    let mut conn = tenancy.public().expect("public");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let error = acme.delete_with(&mut conn, options).expect_err("too wide");
    let text = error.to_string();
    assert!(
        text.starts_with("dropping schema acme failed (the server ran out of lock slots")
            && text.contains("`Tenancy::drop_schema_cascade`"),
        "{text}"
    );
    assert!(acme.row(&mut conn).expect("read").is_some(), "untouched");
    let columns = (0..9).map(|n| format!("c{n} integer"));
    let columns: Vec<String> = columns.collect();
    let indexes = (0..9).map(|n| format!("CREATE INDEX ON acme.parts (c{n})"));
    let table = format!(
        "CREATE TABLE acme.parts ({}) PARTITION BY LIST (c0)",
        columns.join(", ")
    );
    let parts = (0..if server.major() < 17 { 60 } else { 180 })
        .map(|n| format!("CREATE TABLE acme.part_{n} PARTITION OF acme.parts FOR VALUES IN ({n})"));
    for statement in [table].into_iter().chain(indexes).chain(parts) {
        conn.batch_execute(&statement).expect(&statement);
    }
    let error = conn.batch_execute("DROP TABLE acme.parts");
    assert!(error.is_err(), "too wide by itself");
    drop(conn);
    tenancy
        .drop_schema_cascade(&name("acme"))
        .expect("dropped in batches");
    let mut conn = tenancy.public().expect("public");
    let deleted = acme.delete_with(&mut conn, options).expect("deleted");
    assert!(!deleted.schema_dropped, "it was gone already");
}

#[test]
fn a_schema_with_all_kinds_of_things_is_dropped_and_what_is_beside_it_stays() {
    let db = Db::with(|builder| {
        builder.app(customers()).app(sql_app(
            "kinds",
            AppScope::Tenant,
            &[(
                "1_kinds",
                "CREATE TYPE mood AS ENUM ('sad', 'ok');
                 CREATE TABLE \"odd \"\" name\" (id serial PRIMARY KEY, mood mood, plan integer REFERENCES public.plans);
                 CREATE TABLE parts (id integer) PARTITION BY RANGE (id);
                 CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
                 CREATE SEQUENCE loose;
                 CREATE EXTENSION IF NOT EXISTS pg_buffercache;
                 CREATE VIEW v AS SELECT id FROM \"odd \"\" name\";
                 CREATE VIEW w AS SELECT id FROM v;
                 CREATE MATERIALIZED VIEW m AS SELECT id FROM w;
                 CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';",
                "",
            )],
        ))
    });
    let [acme, _globex] = db.tenants(["acme", "globex"]);
    db.tenancy
        .drop_schema_cascade(&acme.schema_name)
        .expect("dropped");
    assert!(!db.schema_exists("acme"));
    assert_eq!(db.tables("globex").len(), 3);
    assert!(db.tables("public").contains(&"plans".to_owned()));
    let error = db.tenancy.drop_schema_cascade(&acme.schema_name);
    assert!(
        matches!(error, Err(Error::NoSuchSchema { .. })),
        "{error:?}"
    );
    let row = acme.row(&mut db.tenancy.public().expect("public"));
    assert!(row.expect("read").is_some(), "the row stays");
}

#[test]
fn dropping_a_schema_is_announced_and_can_be_refused() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heard);
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(move |event, conn| {
                if event.name() != "PreDrop" {
                    return Ok(());
                }
                let tenant = event.tenant::<Client>().ok_or("no tenant")?;
                let rooms = rooms_of(conn);
                if rooms.is_empty() {
                    return Err("there is nothing to archive".into());
                }
                seen.lock().expect("no panic").push((tenant.id, rooms));
                Ok(())
            })
    });
    let acme = db.tenant("acme");
    let error = db.tenancy.drop_schema_cascade(&acme.schema_name);
    assert_eq!(
        error.expect_err("refused").to_string(),
        "a listener of PreDrop failed for schema acme: its transaction was rolled back"
    );
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    db.tenancy
        .drop_schema_cascade(&acme.schema_name)
        .expect("dropped");
    let heard = heard.lock().expect("no panic");
    assert_eq!(*heard, [(acme.id, vec!["Blue".to_owned()])]);
}

#[test]
fn c60_a_name_that_passes_to_another_tenant_takes_no_scope_along() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
        for tenant in [&acme, &globex] {
            let mut conn = db.tenancy.tenant(tenant).expect("a connection");
            insert_room(&mut conn, 1, tenant.schema_name.as_str());
        }
        let mut held = db.tenancy.tenant(&acme).expect("acme");
        let mut in_transaction = db.tenancy.tenant(&acme).expect("acme");
        assert_eq!(rooms_of(&mut held), ["acme"]);
        let refused = in_transaction.transaction(|conn| {
            let mut public = db.tenancy.public().expect("public");
            acme.rename(&mut public, &name("acme_old"))
                .expect("renamed");
            globex.rename(&mut public, &name("acme")).expect("renamed");
            rooms::table.select(rooms::name).load::<String>(conn)
        });
        assert!(refused.is_err(), "{mode:?}: {refused:?}");
        // The control: that is what is there to be read under the name.
        assert_eq!(
            db.strings("SELECT name AS value FROM acme.rooms"),
            ["globex"]
        );
        for _ in 0..2 {
            let read = rooms::table.select(rooms::name).load::<String>(&mut held);
            assert!(read.is_err(), "{mode:?}: {read:?}");
        }
        drop(held);
        assert_eq!(
            rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
            ["acme"]
        );
        assert_eq!(
            rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")),
            ["globex"]
        );

        // One that is dropped, and another that takes its name.
        let mut held = db.tenancy.tenant(&globex).expect("globex");
        let mut public = db.tenancy.public().expect("public");
        let with_schema = DeleteOptions::new().auto_drop_schema(true);
        globex
            .delete_with(&mut public, with_schema)
            .expect("deleted");
        let mut heir = client("acme");
        "heir.my-domain.com".clone_into(&mut heir.domain_url);
        heir.save(&mut public).expect("saved");
        insert_room(&mut db.tenancy.tenant(&heir).expect("heir"), 1, "heir");
        let read = rooms::table.select(rooms::name).load::<String>(&mut held);
        assert!(read.is_err(), "{mode:?}: {read:?}");
    }
}

#[test]
fn c05_a_tenant_that_is_deleted_takes_its_scopes_along_wherever_its_schema_is() {
    for mode in MODES {
        for dropped in [false, true] {
            let db = Db::with(|builder| {
                let builder = builder.app(customers()).app(hotels()).set_calls(mode);
                builder.pool_size(2)
            });
            let [acme, globex] = db.tenants(["acme", "globex"]);
            let mut public = db.tenancy.public().expect("public");
            if dropped {
                db.tenancy
                    .drop_schema_cascade(&acme.schema_name)
                    .expect("dropped");
                rooms_of(&mut db.tenancy.tenant(&globex).expect("globex"));
            }
            // The row is still there. Where the path goes with the first statement, so is the scope.
            let held = db.tenancy.tenant(&acme);
            assert_eq!(
                held.is_err(),
                dropped && mode != SetCalls::FirstStatement,
                "{mode:?}"
            );
            let Ok(mut held) = held else { continue };
            acme.delete(&mut public).expect("deleted");
            let mut heir = client("acme");
            if dropped {
                heir.save(&mut public).expect("saved");
            } else {
                heir.adopt(&mut public).expect("adopted");
            }
            db.run("INSERT INTO acme.rooms VALUES (1, 'Stolen')");
            let read = rooms::table.select(rooms::name).load::<String>(&mut held);
            assert!(read.is_err(), "{mode:?}: {read:?}");
            drop(held);
            let mut conn = db.tenancy.tenant(&heir).expect("the heir");
            assert_eq!(rooms_of(&mut conn), ["Stolen"]);
        }
    }
}

/// Acme has another name since, and globex has that of acme.
#[test]
fn c60_a_value_from_before_a_rename_is_nobodys() {
    let db = Db::new();
    let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
    for tenant in [&acme, &globex] {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        insert_room(&mut conn, 1, tenant.schema_name.as_str());
    }
    let mut stale = acme.clone();
    let mut public = db.tenancy.public().expect("public");
    let conn = &mut public;
    acme.rename(conn, &name("acme_inc")).expect("renamed");
    globex.rename(conn, &name("acme")).expect("renamed");
    // The control: that is what the value leads to.
    let there = db.strings("SELECT name AS value FROM acme.rooms");
    assert_eq!(there, ["globex"]);

    let mut copy = client("copy");
    let mut file = Vec::new();
    let with_data = CloneOptions::new().data(true);
    let with_schema = DeleteOptions::new().auto_drop_schema(true);
    let refused = [
        ("save", stale.save(conn).err()),
        ("adopt", stale.adopt(conn).err()),
        ("provision", stale.provision(conn).err()),
        ("rename", stale.rename(conn, &name("moved")).err()),
        ("clone", stale.clone_to(conn, &mut copy, with_data).err()),
        (
            "dump",
            stale.dump_to(conn, &mut file, DumpOptions::new()).err(),
        ),
        ("delete", stale.delete_with(conn, with_schema).err()),
    ];
    for (what, error) in refused {
        let error = error.unwrap_or_else(|| panic!("{what} is refused"));
        assert_eq!(
            error.to_string(),
            "the tenant's row has the schema name acme_inc, and the value that was given has acme: \
             read it again; `rename` moves schema and row together",
            "{what}"
        );
    }
    assert!(file.is_empty(), "nothing was dumped");
    assert!(!db.schema_exists("copy") && !db.schema_exists("moved"));
    for (tenant, room) in [(&acme, "acme"), (&globex, "globex")] {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        assert_eq!(rooms_of(&mut conn), [room]);
    }
}

#[test]
fn c60_a_tenant_that_is_renamed_while_it_is_saved_keeps_its_new_name() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    let mut stale = acme.clone();
    let mut other = db.raw();
    let rename =
        "BEGIN; UPDATE clients SET schema_name = 'acme_inc'; ALTER SCHEMA acme RENAME TO acme_inc";
    other.batch_execute(rename).expect("renamed");
    let error = thread::scope(|scope| {
        let save = scope.spawn(|| stale.save(&mut db.tenancy.public().expect("public")));
        let waiting = "SELECT 'yes' AS value FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock'";
        while db.strings(waiting).is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        other.batch_execute("COMMIT").expect("committed");
        save.join()
            .expect("no panic")
            .expect_err("it has another name")
    });
    assert!(
        matches!(error, Error::SchemaNameChanged { .. }),
        "{error:?}"
    );
    acme.schema_name = name("acme_inc");
    let row = Client::by_id(&mut db.tenancy.public().expect("public"), &acme.id);
    assert_eq!(row.expect("read"), Some(acme));
}

/// Waits until somebody waits for a lock; its process.
pub(crate) fn waiter(db: &Db) -> String {
    let waiting = "SELECT pid::text AS value FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..2_000 {
        if let Some(pid) = db.strings(waiting).pop() {
            return pid;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody waits");
}

#[test]
fn c67_nobody_works_in_what_is_left_of_a_schema_that_is_being_dropped() {
    let db = with_a_trap();
    let acme = db.tenant("acme");
    let globex = db.tenant("globex");
    db.run("CREATE TABLE acme.kept (id integer); CREATE VIEW acme.more AS SELECT 1");
    let mut held = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut held, 1, "Blue");
    // The first tables go before the last that is read by someone, until the scope ends, however.
    let read = "BEGIN; LOCK TABLE acme.rooms IN ACCESS SHARE MODE";
    let error = thread::scope(|scope| {
        let mut reader = db.raw();
        reader.batch_execute(read).expect("read");
        let dropped = scope.spawn(|| db.tenancy.drop_schema_cascade(&acme.schema_name));
        let pid = waiter(&db);
        let gone = db.tenancy.tenant(&acme).expect_err("no longer there");
        assert!(matches!(gone, Error::NoSuchSchema { .. }), "{gone}");
        assert!(
            refused(&mut held).contains("acme"),
            "{}",
            refused(&mut held)
        );
        db.strings(&format!(
            "SELECT pg_terminate_backend({pid})::text AS value"
        ));
        dropped
            .join()
            .expect("no panic")
            .expect_err("it was interrupted")
    });
    assert!(error.to_string().contains("acme"), "{error}");

    let diagnosis = db.tenancy.doctor().expect("a diagnosis");
    let mut rests = diagnosis
        .findings()
        .iter()
        .filter(|finding| finding.check == Check::OrphanSchema);
    let rest = rests.next().expect("what is left").subject.clone();
    assert!(rests.next().is_none());
    assert!(db.tables(&rest).contains(&"rooms".to_owned()));

    // Someone has the name again, and it is dropped again: both go, and nothing else.
    acme.provision(&mut db.tenancy.public().expect("public"))
        .expect("provisioned");
    db.tenancy
        .drop_schema_cascade(&acme.schema_name)
        .expect("dropped");
    assert!(!db.schema_exists("acme") && !db.schema_exists(&rest));
    assert!(db.schema_exists("globex") && db.tenancy.tenant(&globex).is_ok());
    let error = db.tenancy.drop_schema_cascade(&acme.schema_name);
    assert!(
        matches!(error, Err(Error::NoSuchSchema { .. })),
        "{error:?}"
    );
}

#[test]
fn c67_what_an_interrupted_drop_left_is_dropped_by_either_name() {
    for by_its_own in [true, false] {
        let db = Db::new();
        let acme = db.tenant("acme");
        let read = "BEGIN; LOCK TABLE acme.rooms IN ACCESS SHARE MODE";
        thread::scope(|scope| {
            let mut reader = db.raw();
            reader.batch_execute(read).expect("read");
            let dropped = scope.spawn(|| db.tenancy.drop_schema_cascade(&acme.schema_name));
            let pid = waiter(&db);
            db.strings(&format!(
                "SELECT pg_terminate_backend({pid})::text AS value"
            ));
            let error = dropped.join().expect("no panic");
            assert!(error.is_err(), "it was interrupted");
        });
        let left = "SELECT nspname::text AS value FROM pg_namespace \
                    WHERE starts_with(nspname, '__tenant_schemas_dropping_')";
        let [rest] = &db.strings(left)[..] else {
            panic!("{:?}", db.strings(left));
        };
        let schema = if by_its_own { "acme" } else { rest };
        db.tenancy
            .drop_schema_cascade(&name(schema))
            .expect("dropped");
        assert!(db.strings(left).is_empty());
        let missing = db.tenancy.doctor().expect("a diagnosis");
        let missing = missing.findings().iter();
        let missing = missing.filter(|finding| finding.severity > Severity::Info);
        let missing: Vec<Check> = missing.map(|finding| finding.check).collect();
        assert_eq!(missing, [Check::MissingSchema]);
    }
}

#[test]
fn c67_what_is_in_other_schemas_is_not_dropped_along() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    db.run(
        "CREATE VIEW public.all_rooms AS SELECT * FROM acme.rooms UNION ALL SELECT * FROM globex.rooms; \
         CREATE TABLE public.visits (room integer REFERENCES acme.rooms); \
         CREATE VIEW acme.own AS SELECT * FROM acme.rooms; CREATE TABLE acme.more (LIKE acme.rooms); \
         CREATE TYPE acme.mood AS ENUM ('calm'); CREATE TABLE public.poll (moods acme.mood[])",
    );
    let mut conn = db.tenancy.public().expect("public");
    conn.batch_execute("CREATE TEMP VIEW mine AS SELECT * FROM acme.rooms")
        .expect("a view that goes with the session");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme.delete_with(&mut conn, options).map(drop);
    let dropped = db.tenancy.drop_schema_cascade(&acme.schema_name);
    for result in [deleted, dropped] {
        let error = chain(&result.expect_err("refused"));
        assert!(
            ["all_rooms", "visits", "moods"]
                .iter()
                .all(|part| error.contains(part))
                && !["own", "mine"].iter().any(|part| error.contains(part)),
            "{error}"
        );
    }
    assert!(db.schema_exists("acme") && db.tenancy.tenant(&acme).is_ok());
    db.run("DROP VIEW public.all_rooms; DROP TABLE public.visits, public.poll");
    acme.delete_with(&mut conn, options).expect("deleted");
    db.tenancy
        .drop_schema_cascade(&globex.schema_name)
        .expect("dropped");
}

/// What is in no schema passes on what depends on it.
#[test]
fn c67_what_others_have_of_an_extension_in_a_schema_is_not_dropped_along() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    db.run(
        "CREATE EXTENSION postgres_fdw SCHEMA acme; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; \
         CREATE FOREIGN TABLE acme.own (id integer) SERVER far; \
         CREATE FOREIGN TABLE globex.guests (id integer) SERVER far; \
         ALTER TABLE acme.rooms ADD plan integer REFERENCES public.plans; \
         CREATE TYPE acme.mood AS ENUM ('calm'); CREATE CAST (text AS acme.mood) WITH INOUT",
    );
    let mut conn = db.tenancy.public().expect("public");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme.delete_with(&mut conn, options).map(drop);
    let dropped = db.tenancy.drop_schema_cascade(&acme.schema_name);
    for result in [deleted, dropped] {
        let error = result.expect_err("refused");
        let Error::Dependents { dependents, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(dependents, ["foreign table globex.guests"]);
    }
    // Without them, the server is its own.
    globex.delete_with(&mut conn, options).expect("deleted");
    acme.delete_with(&mut conn, options).expect("deleted");
}

#[test]
fn c60_functions_that_say_the_name_of_the_schema_say_the_new_one() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    conn.batch_execute(
        "CREATE FUNCTION bound() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT \
           AS $$ BEGIN RETURN (SELECT name FROM rooms); END $$; \
         CREATE FUNCTION spelled() RETURNS text LANGUAGE sql AS 'SELECT name FROM ACME.rooms'; \
         CREATE FUNCTION free() RETURNS text LANGUAGE sql AS 'SELECT name FROM rooms'; \
         GRANT EXECUTE ON FUNCTION spelled() TO PUBLIC; CREATE VIEW shown AS SELECT spelled() AS name",
    )
    .expect("functions");
    drop(conn);
    let mut public = db.tenancy.public().expect("public");
    acme.rename(&mut public, &name("acme_inc"))
        .expect("renamed");
    let mut heir = client("acme");
    heir.domain_url = "heir.example.com".to_owned();
    heir.save(&mut public).expect("the name is free");
    insert_room(
        &mut db.tenancy.tenant(&heir).expect("the heir"),
        1,
        "Stolen",
    );
    let found = db.strings(
        "SELECT acme_inc.bound() || ' ' || acme_inc.spelled() || ' ' || name AS value FROM acme_inc.shown",
    );
    assert_eq!(found, ["Blue Blue Blue"]);
}

/// Keeps what is logged.
struct Kept;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED
            .lock()
            .expect("the log")
            .push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn c60_what_has_the_old_name_in_a_string_is_logged() {
    log::set_logger(&Kept).expect("no other logs");
    log::set_max_level(log::LevelFilter::Warn);
    let db = Db::new();
    let mut acme = db.tenant("acme");
    db.tenancy
        .tenant(&acme)
        .expect("acme")
        .batch_execute(SAYING)
        .expect("made");
    acme.rename(
        &mut db.tenancy.public().expect("public"),
        &name("acme_said"),
    )
    .expect("renamed");
    let mut logged = LOGGED.lock().expect("the log").clone();
    logged.retain(|line| line.starts_with("schema acme is acme_said now, and "));
    assert_eq!(logged.len(), SAID_BY.len(), "{logged:#?}");
    for what in SAID_BY {
        let line = format!("schema acme is acme_said now, and {what}");
        assert!(
            logged.iter().any(|logged| logged.starts_with(&line)),
            "{what}: {logged:#?}"
        );
    }
}
