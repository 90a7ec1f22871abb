//! Schemas that are made ahead of their tenants, and taken by those that are saved.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{
    App, AppScope, Check, CloneOptions, CloneTenant as _, DeleteOptions, Error, Event,
    Lifecycle as _, SaveOptions, SchemaNamePolicy,
};

use crate::support::{
    Client, Db, client, customers, hotels, insert_room, name, rooms, rooms_of, sql_app, strings,
};

/// The schemas that wait, the longest first.
fn waiting(db: &Db) -> Vec<String> {
    db.strings(
        "SELECT nspname::text AS value FROM pg_namespace \
         WHERE nspname LIKE '\\_\\_tenant\\_schemas\\_%' ORDER BY oid",
    )
}

fn oid(db: &Db, schema: &str) -> String {
    let sql = format!("SELECT oid::text AS value FROM pg_namespace WHERE nspname = '{schema}'");
    db.strings(&sql).pop().unwrap_or_default()
}

fn fill(db: &Db, count: usize) -> usize {
    db.tenancy.ready_schemas(count).fill().expect("filled").made
}

/// The schemas about which `doctor` has something to say.
fn schemas_in_question(db: &Db) -> Vec<String> {
    let diagnosis = db.tenancy.doctor().expect("a diagnosis");
    let findings = diagnosis.findings().iter();
    findings
        .filter(|finding| finding.schema.is_some() || finding.check == Check::StaleState)
        .map(ToString::to_string)
        .collect()
}

fn lodging(migrations: &[(&str, &str)]) -> App {
    let migrations: Vec<(&str, &str, &str)> = migrations
        .iter()
        .map(|(name, up)| (*name, *up, ""))
        .collect();
    sql_app("lodging", AppScope::Tenant, &migrations)
}

fn with(migrations: &[(&str, &str)]) -> Db {
    Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(lodging(migrations))
    })
}

#[test]
fn a_tenant_that_is_saved_takes_a_schema_that_was_made_ahead() {
    let db = Db::new();
    assert_eq!(fill(&db, 2), 2);
    let ready: Vec<String> = waiting(&db).iter().map(|schema| oid(&db, schema)).collect();
    assert_eq!(ready.len(), 2);

    let mut acme = client("acme");
    let saved = acme
        .save(&mut db.tenancy.public().expect("public"))
        .expect("saved");
    assert!(saved.created && saved.provisioned && saved.made_ahead);
    assert_eq!(
        saved.applied[0].to_string(),
        "hotels/2024-02-01-000000_rooms"
    );
    assert_eq!(
        oid(&db, "acme"),
        ready[0],
        "it is the one that waited longest"
    );
    assert_eq!(waiting(&db).len(), 1);

    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    let globex = db.tenant("globex");
    assert_eq!(oid(&db, "globex"), ready[1]);
    assert!(rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")).is_empty());

    // Nothing is left: the next runs its migrations, as ever.
    let mut initech = client("initech");
    let saved = initech.save(&mut db.tenancy.public().expect("public"));
    let saved = saved.expect("saved");
    assert!(saved.provisioned && !saved.made_ahead);
    assert!(!ready.contains(&oid(&db, "initech")));
    assert!(rooms_of(&mut db.tenancy.tenant(&initech).expect("initech")).is_empty());
}

#[test]
fn a_tenant_that_took_a_schema_is_like_any_other() {
    let db = Db::new();
    fill(&db, 1);
    let acme = db.tenant("acme");
    assert!(waiting(&db).is_empty());
    assert!(
        db.tenancy
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
    let states = db.strings("SELECT schema_name AS value FROM __tenant_schemas ORDER BY 1");
    assert_eq!(states, ["acme", "public"]);
    assert_eq!(schemas_in_question(&db), [""; 0]);
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme
        .delete_with(&mut db.tenancy.public().expect("public"), options)
        .expect("deleted");
    assert!(deleted.schema_dropped);
}

#[test]
fn a_schema_that_waits_is_there_again_if_saving_fails() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(|event, _| match event {
                Event::PostSchemaSync { .. } if event.schema().as_str() == "cursed" => {
                    Err("no".into())
                }
                _ => Ok(()),
            })
    });
    fill(&db, 1);
    let before = waiting(&db);
    let failed = client("cursed").save(&mut db.tenancy.public().expect("public"));
    assert!(matches!(failed, Err(Error::Listener { .. })), "{failed:?}");
    assert_eq!(waiting(&db), before);
    assert!(!db.schema_exists("cursed"));

    let outer = db.tenancy.public().expect("public").transaction(|conn| {
        client("undone").save(conn)?;
        Err::<(), _>(Error::NoScope)
    });
    assert!(outer.is_err());
    assert_eq!(waiting(&db), before);
    db.tenant("acme");
    assert!(waiting(&db).is_empty());
}

#[test]
fn two_tenants_that_are_saved_at_once_take_two_schemas() {
    let db = Db::new();
    fill(&db, 2);
    let mut one = db.tenancy.public().expect("public");
    let mut other = db.tenancy.public().expect("public");
    one.transaction(|conn| {
        client("acme").save(conn)?;
        // The first has not committed, and is not waited for.
        client("globex").save(&mut other)?;
        client("initech").save(&mut other).map(drop)
    })
    .expect("saved");
    assert!(waiting(&db).is_empty());
    for schema in ["acme", "globex", "initech"] {
        assert_eq!(db.tables(schema), ["__tenant_migrations", "rooms"]);
    }
}

#[test]
fn listeners_are_told_the_same_of_a_schema_that_was_made_ahead() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (inside, after) = (Arc::clone(&told), Arc::clone(&told));
    let tell = |told: &Mutex<Vec<String>>, place: &str, event: &Event<'_>| {
        let tenant = event.tenant::<Client>().map(|tenant| tenant.name.clone());
        let line = format!("{place} {} {} {tenant:?}", event.name(), event.schema());
        told.lock().expect("a lock").push(line);
    };
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(move |event, conn| {
                tell(&inside, "inside", event);
                if let Event::MigrationApplied { migration, .. } = event
                    && migration.app == "hotels"
                {
                    insert_room(conn, 1, "First");
                }
                if let Event::PostSchemaSync { .. } = event {
                    assert_eq!(rooms_of(conn), ["First"]);
                    insert_room(conn, 2, "Second");
                }
                Ok(())
            })
            .listener(move |event| {
                tell(&after, "after", event);
                Ok(())
            })
    });
    told.lock().expect("a lock").clear();
    let globex = db.tenant("globex");
    let without = std::mem::take(&mut *told.lock().expect("a lock"));
    assert_eq!(without.len(), 8, "{without:?}");

    fill(&db, 1);
    assert!(told.lock().expect("a lock").is_empty(), "it is no tenant's");
    let acme = db.tenant("acme");
    assert!(waiting(&db).is_empty());
    let with = told.lock().expect("a lock").join("\n");
    assert_eq!(with.replace("acme", "globex"), without.join("\n"));
    for tenant in [&acme, &globex] {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        assert_eq!(rooms_of(&mut conn), ["First", "Second"]);
    }
}

#[test]
fn a_schema_that_lacks_migrations_is_never_taken_and_is_made_anew() {
    let db = Db::new();
    fill(&db, 2);
    let old = waiting(&db);
    let more = [("1_beds", "CREATE TABLE beds (id integer)")];
    let newer = db.again(|builder| builder.app(customers()).app(hotels()).app(lodging(&more)));
    let mut acme = client("acme");
    acme.save(&mut newer.public().expect("public"))
        .expect("saved");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "beds", "rooms"]);
    assert_eq!(waiting(&db), old);

    let filled = newer.ready_schemas(1).fill().expect("filled");
    assert_eq!((filled.dropped, filled.made, filled.ready), (2, 1, 1));
    let new = waiting(&db);
    assert_eq!(new.len(), 1);

    // The old program, which still runs, leaves the new one's alone, and takes none of them.
    let filled = db.tenancy.ready_schemas(1).fill().expect("filled");
    assert_eq!((filled.dropped, filled.made), (0, 1));
    let globex = db.tenant("globex");
    assert_eq!(
        db.tables(globex.schema_name.as_str()),
        ["__tenant_migrations", "rooms"]
    );
    assert_eq!(waiting(&db), new);
    client("initech")
        .save(&mut newer.public().expect("public"))
        .expect("saved");
    assert_eq!(
        db.tables("initech"),
        ["__tenant_migrations", "beds", "rooms"]
    );
    assert!(waiting(&db).is_empty());
}

/// An extension is there once: that of the first schema, here one that waits, is the one of all.
#[test]
fn a_schema_that_others_depend_on_is_not_dropped() {
    let stays = "CREATE EXTENSION IF NOT EXISTS btree_gist; \
                 CREATE TABLE stays (room integer, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&))";
    let db = with(&[("1_stays", stays)]);
    fill(&db, 1);
    let [old] = &waiting(&db)[..] else {
        panic!("{:?}", waiting(&db))
    };
    let more = [
        ("1_stays", stays),
        ("2_beds", "CREATE TABLE beds (id integer)"),
    ];
    let newer = db.again(|builder| builder.app(customers()).app(hotels()).app(lodging(&more)));
    let mut acme = client("acme");
    acme.save(&mut newer.public().expect("public"))
        .expect("saved");
    let constraints = "SELECT conname::text AS value FROM pg_constraint WHERE contype = 'x' \
                       AND connamespace = 'acme'::regnamespace";
    assert_eq!(db.strings(constraints).len(), 1);
    let filled = newer.ready_schemas(1).fill().expect("filled");
    assert_eq!((filled.dropped, filled.made, filled.ready), (0, 1, 1));
    assert_eq!(newer.ready_schemas(1).clear().expect("cleared"), 1);
    assert_eq!(db.strings(constraints).len(), 1);
    assert_eq!(&waiting(&db)[..], std::slice::from_ref(old));
    // The way out that the warning says.
    db.run("ALTER EXTENSION btree_gist SET SCHEMA public");
    assert_eq!(newer.ready_schemas(1).clear().expect("cleared"), 1);
    assert_eq!(db.strings(constraints).len(), 1);
}

#[test]
fn a_migration_with_another_text_makes_another_schema() {
    let db = with(&[("1_beds", "CREATE TABLE beds (id integer)")]);
    fill(&db, 1);
    let other = [("1_beds", "CREATE TABLE beds (id bigint)")];
    let edited = db.again(|builder| builder.app(customers()).app(hotels()).app(lodging(&other)));
    client("acme")
        .save(&mut edited.public().expect("public"))
        .expect("saved");
    let columns = db.strings(
        "SELECT format_type(atttypid, NULL) AS value FROM pg_attribute WHERE attrelid = 'acme.beds'::regclass AND attnum = 1",
    );
    assert_eq!(columns, ["bigint"]);
    assert_eq!(waiting(&db).len(), 1);
}

#[test]
fn a_schema_whose_name_stands_as_text_in_it_is_not_made() {
    for (up, culprit) in [
        (
            "CREATE TABLE settings (line text); INSERT INTO settings VALUES ('in ' || current_schema() || '.rooms')",
            "rows of table settings",
        ),
        (
            "DO $$ BEGIN EXECUTE format('CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS \
             ''BEGIN RETURN (SELECT count(*) FROM %I.rooms); END''', current_schema()); END $$",
            "function f()",
        ),
        (
            "DO $$ BEGIN EXECUTE format('CREATE FUNCTION g() RETURNS bigint LANGUAGE sql SET search_path TO %I \
             AS ''SELECT count(*) FROM rooms''', current_schema()); END $$",
            "function g()",
        ),
        (
            "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE rooms IS %L', current_schema()); END $$",
            "COMMENT ON TABLE rooms",
        ),
        (
            "CREATE TABLE logs (origin text); DO $$ BEGIN EXECUTE format('ALTER TABLE logs ALTER origin SET DEFAULT %L', current_schema()); END $$",
            "default of logs.origin",
        ),
        (
            "CREATE TABLE shouts (line text); INSERT INTO shouts VALUES (upper(current_schema()))",
            "rows of table shouts",
        ),
        (
            "CREATE TABLE ends (line text); INSERT INTO ends VALUES (right(current_schema(), 16))",
            "rows of table ends",
        ),
        (
            "CREATE TABLE bytes (line bytea); INSERT INTO bytes VALUES (convert_to(current_schema(), 'UTF8'))",
            "rows of table bytes",
        ),
        (
            "DO $$ BEGIN EXECUTE format('CREATE SEQUENCE %I', 'a_name_that_is_cut_as_it_is_too_long_' || current_schema()); END $$",
            "sequence a_name_that_is_cut",
        ),
    ] {
        let db = with(&[("1_says", up)]);
        let refused = db.tenancy.ready_schemas(1).fill();
        let Err(Error::NamesItself { says, .. }) = &refused else {
            panic!("{refused:?}");
        };
        assert!(says[0].starts_with(culprit), "{says:?}");
        assert!(waiting(&db).is_empty());
        // The tenant is right all the same.
        db.tenant("acme");
    }
}

#[test]
fn what_postgresql_knows_by_number_follows_the_name() {
    let db = with(&[(
        "1_things",
        "CREATE SEQUENCE tickets; CREATE TYPE mood AS ENUM ('ok'); \
         CREATE TABLE beds (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         ticket bigint NOT NULL DEFAULT nextval('tickets'), mood mood DEFAULT 'ok', \
         plan_id integer REFERENCES public.plans); INSERT INTO beds (plan_id) VALUES (1); \
         CREATE VIEW free AS SELECT * FROM beds WHERE mood = 'ok'; \
         CREATE FUNCTION name_it() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN new.ticket := 100; RETURN new; END'; \
         CREATE TRIGGER t BEFORE INSERT ON beds FOR EACH ROW EXECUTE FUNCTION name_it()",
    )]);
    fill(&db, 1);
    let acme = db.tenant("acme");
    assert!(waiting(&db).is_empty());
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    conn.batch_execute("INSERT INTO beds (plan_id) VALUES (2)")
        .expect("inserted");
    let beds = strings(
        &mut *conn,
        "SELECT format('%s %s %s', id, ticket, mood) AS value FROM free ORDER BY id",
    );
    assert_eq!(beds, ["1 1 ok", "2 100 ok"]);
}

#[test]
fn migrations_that_run_in_no_transaction_have_run_when_the_schema_is_taken() {
    let db = with(&[
        ("1_beds", "CREATE TABLE beds (id integer)"),
        ("2_index!", "CREATE INDEX CONCURRENTLY beds_id ON beds (id)"),
        ("3_more", "CREATE TABLE more (id integer)"),
    ]);
    fill(&db, 1);
    assert_eq!(waiting(&db).len(), 1);
    let mut acme = client("acme");
    let saved = acme
        .save(&mut db.tenancy.public().expect("public"))
        .expect("saved");
    assert_eq!(saved.applied.len(), 4);
    assert!(waiting(&db).is_empty());
    assert_eq!(
        db.tables("acme"),
        ["__tenant_migrations", "beds", "more", "rooms"]
    );
    assert!(
        db.tenancy
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
}

#[test]
fn what_fails_while_it_is_made_leaves_nothing() {
    for migrations in [
        [
            ("1_beds", "CREATE TABLE beds (id integer)"),
            ("2_bad", "SELECT 1 / 0"),
        ],
        [
            ("1_beds", "CREATE TABLE beds (id integer)"),
            ("2_bad!", "SELECT 1 / 0"),
        ],
    ] {
        let db = with(&migrations);
        let failed = db.tenancy.ready_schemas(2).fill();
        assert!(matches!(failed, Err(Error::Migration { .. })), "{failed:?}");
        assert!(waiting(&db).is_empty());
        assert_eq!(
            db.strings("SELECT schema_name AS value FROM __tenant_schemas"),
            ["public"]
        );
    }
}

#[test]
fn what_a_killed_program_left_half_made_is_dropped_by_the_next() {
    let db = Db::new();
    db.raw()
        .batch_execute("CREATE SCHEMA __tenant_schemas_making_0; CREATE TABLE __tenant_schemas_making_0.t (id integer)")
        .expect("made");
    fill(&db, 1);
    let left = waiting(&db);
    assert_eq!(left.len(), 1);
    assert!(left[0].starts_with("__tenant_schemas_ready_"));
}

#[test]
fn a_schema_that_waits_is_no_tenant_and_nobody_s_to_take() {
    let db = Db::new();
    db.tenant("acme");
    fill(&db, 1);
    let ready = waiting(&db).remove(0);
    let schema = name(&ready);
    let conn = &mut db.tenancy.public().expect("public");
    let mut squatter = Client::new(schema.clone(), "x.my-domain.com").name("X");
    for refused in [
        squatter.save(conn).map(drop),
        squatter.adopt(conn).map(drop),
        squatter
            .save_with(conn, SaveOptions::new().auto_create_schema(false))
            .map(drop),
        db.tenancy.drop_schema_cascade(&schema),
        client("acme").rename(conn, &schema),
        client("acme")
            .clone_to(conn, &mut squatter, CloneOptions::new())
            .map(drop),
    ] {
        assert!(
            matches!(refused, Err(Error::Protected { .. })),
            "{refused:?}"
        );
    }
    let report = db.tenancy.migrate().run().expect("a report");
    assert!(
        report
            .into_result()
            .expect("migrated")
            .iter()
            .all(|(name, _)| *name != schema)
    );
    let status = db.tenancy.status().expect("a status");
    assert!(!format!("{status:?}").contains(&ready));
    assert_eq!(schemas_in_question(&db), [""; 0]);
    assert_eq!(db.tenancy.tenants().expect("tenants").len(), 1);
    assert_eq!(db.tenancy.ready_schemas(0).clear().expect("cleared"), 1);
    assert!(waiting(&db).is_empty());
}

/// Waits until so many schemas are whole.
fn become_ready(db: &Db, count: usize) {
    let ready = || {
        let waiting = waiting(db);
        waiting
            .iter()
            .filter(|name| name.contains("_ready_"))
            .count()
    };
    for _ in 0..1000 {
        if ready() == count {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", waiting(db));
}

#[test]
fn a_thread_keeps_schemas_ready_until_it_is_told_to_stop() {
    let db = Db::new();
    let keep = db
        .tenancy
        .ready_schemas(2)
        .every(Duration::from_millis(10))
        .keep();
    become_ready(&db, 2);
    // As another process would: nobody tells the thread.
    let gone = waiting(&db).remove(0);
    let dropped = db
        .raw()
        .batch_execute(&format!(r#"DROP SCHEMA "{gone}" CASCADE"#));
    dropped.expect("dropped");
    become_ready(&db, 2);
    drop(keep);
    db.tenant("globex");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(waiting(&db).len(), 1);
}

#[test]
fn what_a_tenant_of_the_same_process_takes_is_made_again_at_once() {
    let db = Db::new();
    let ready = db.tenancy.ready_schemas(2);
    let keep = ready.every(Duration::from_hours(1)).keep();
    become_ready(&db, 2);
    for tenant in ["acme", "globex", "initech"] {
        let saved = client(tenant).save(&mut db.tenancy.public().expect("public"));
        assert!(saved.expect("saved").made_ahead, "{tenant}");
        become_ready(&db, 2);
    }
    // It is told that it is to stop, an hour early.
    drop(keep);
}

#[test]
fn two_that_fill_at_once_make_as_many_as_were_asked_for() {
    let db = Db::new();
    let made: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| fill(&db, 2))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    assert_eq!((made, waiting(&db).len()), (2, 2));
}

#[test]
fn a_transaction_that_sees_the_past_takes_none() {
    let db = Db::new();
    fill(&db, 1);
    let mut conn = db.tenancy.public().expect("public");
    conn.build_transaction()
        .repeatable_read()
        .run(|conn| {
            // It sees the schema that waits, and goes on seeing it.
            assert_eq!(
                strings(conn, "SELECT schema_name AS value FROM __tenant_schemas").len(),
                2
            );
            db.tenant("acme");
            client("globex").save(conn).map(drop)
        })
        .expect("saved");
    assert_eq!(db.tables("globex"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn a_plan_that_found_a_shared_table_is_made_anew_when_a_schema_gets_the_name() {
    let db = with(&[("1_plans", "CREATE TABLE plans (id integer, name text)")]);
    fill(&db, 1);
    let mut other = db.raw();
    other
        .batch_execute("CREATE SCHEMA acme; SET search_path TO acme, public; PREPARE q AS SELECT name::text AS value FROM plans")
        .expect("prepared");
    assert_eq!(
        strings(&mut other, "EXECUTE q").len(),
        2,
        "it finds the shared ones"
    );
    other.batch_execute("DROP SCHEMA acme").expect("dropped");
    assert_eq!(strings(&mut other, "EXECUTE q").len(), 2);
    db.tenant("acme");
    assert!(waiting(&db).is_empty());
    assert!(strings(&mut other, "EXECUTE q").is_empty());
}

#[test]
fn a_schema_takes_a_name_of_any_kind_that_is_admitted() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .schema_names(SchemaNamePolicy::Quoted)
    });
    let longest = "L".repeat(63);
    let names = ["Mixed-Case", "2nd", &longest, "straße", "select"];
    fill(&db, names.len());
    for (number, schema) in names.iter().enumerate() {
        let mut tenant = client(schema);
        tenant.domain_url = format!("n{number}.my-domain.com");
        tenant
            .save(&mut db.tenancy.public().expect("public"))
            .expect(schema);
        assert_eq!(waiting(&db).len(), names.len() - number - 1);
        let mut conn = db.tenancy.tenant(&tenant).expect(schema);
        insert_room(&mut conn, 1, schema);
        assert_eq!(rooms_of(&mut conn), [*schema]);
    }
    let verified = db.tenancy.migrate().verify(true).check();
    assert!(verified.expect("checked").is_empty());
}

#[test]
fn a_tenant_that_comes_again_under_its_name_has_nothing_of_the_first() {
    let db = Db::new();
    fill(&db, 2);
    let acme = db.tenant("acme");
    let mut held = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut held, 1, "Old");
    assert_eq!(rooms_of(&mut held), ["Old"]);
    let options = DeleteOptions::new().auto_drop_schema(true);
    acme.delete_with(&mut db.tenancy.public().expect("public"), options)
        .expect("deleted");
    let again = db.tenant("acme");
    assert!(waiting(&db).is_empty());
    let mut conn = db.tenancy.tenant(&again).expect("acme");
    assert_eq!(rooms_of(&mut conn), [""; 0]);
    // Who was in the scope of the first is not in that of the second.
    assert!(rooms::table.count().get_result::<i64>(&mut held).is_err());
}

#[test]
fn schemas_are_cleared_while_tenants_take_them() {
    let db = Db::new();
    fill(&db, 4);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5 {
                db.tenancy.ready_schemas(0).clear().expect("cleared");
                fill(&db, 2);
            }
        });
        for thread in 0..2 {
            let db = &db;
            scope.spawn(move || {
                for number in 0..8 {
                    db.tenant(&format!("t{thread}_{number}"));
                }
            });
        }
    });
    for schema in db.tenancy.tenants().expect("tenants") {
        let tables = db.tables(schema.schema_name.as_str());
        assert_eq!(tables, ["__tenant_migrations", "rooms"]);
    }
    let verified = db.tenancy.migrate().verify(true).check();
    assert!(verified.expect("checked").is_empty());
}

#[test]
fn a_program_that_is_killed_while_it_takes_a_schema_leaves_it() {
    let db = Db::new();
    fill(&db, 1);
    let before = waiting(&db);
    let mut conn = db.tenancy.public().expect("public");
    let killed = conn.transaction(|conn| {
        client("acme").save(conn)?;
        let pid = strings(conn, "SELECT pg_backend_pid()::text AS value").remove(0);
        db.raw()
            .batch_execute(&format!("SELECT pg_terminate_backend({pid}, 5000)"))?;
        Ok::<(), Error>(())
    });
    assert!(killed.is_err());
    drop(conn);
    assert_eq!(waiting(&db), before);
    assert!(!db.schema_exists("acme"));
    db.tenant("acme");
    assert!(waiting(&db).is_empty());
}

#[test]
fn a_schema_that_someone_dropped_or_renamed_by_hand_is_nobody_s() {
    let db = Db::new();
    fill(&db, 2);
    let ready = waiting(&db);
    db.raw()
        .batch_execute(&format!(
            "DROP SCHEMA {} CASCADE; ALTER SCHEMA {} RENAME TO mine",
            ready[0], ready[1]
        ))
        .expect("changed");
    let before = oid(&db, "mine");
    db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    assert_eq!(oid(&db, "mine"), before);
    // One that was made anew under the name is not what was made ahead.
    fill(&db, 1);
    let ready = waiting(&db).remove(0);
    db.raw()
        .batch_execute(&format!(
            "DROP SCHEMA {ready} CASCADE; CREATE SCHEMA {ready}"
        ))
        .expect("changed");
    db.tenant("globex");
    assert_eq!(db.tables("globex"), ["__tenant_migrations", "rooms"]);
    assert_eq!(waiting(&db), [ready]);
}

#[test]
fn two_versions_that_keep_schemas_ready_leave_each_other_theirs() {
    let db = Db::new();
    let more = [("1_beds", "CREATE TABLE beds (id integer)")];
    let newer = db.again(|builder| builder.app(customers()).app(hotels()).app(lodging(&more)));
    let often = Duration::from_millis(10);
    let old = db.tenancy.ready_schemas(1).every(often).keep();
    become_ready(&db, 1);
    let first = waiting(&db);
    let new = newer.ready_schemas(1).every(often).keep();
    become_ready(&db, 2);
    thread::sleep(Duration::from_millis(200));
    let both = waiting(&db);
    assert!(both.contains(&first[0]) && both.len() == 2, "{both:?}");
    drop(old);
    // An hour later the older program is gone, as a rule.
    let past = "UPDATE __tenant_schemas SET updated_at = updated_at - interval '1 hour'";
    db.raw().batch_execute(past).expect("an hour");
    become_ready(&db, 1);
    drop(new);
    assert!(!waiting(&db).contains(&first[0]));
}

#[test]
fn a_thread_that_keeps_schemas_ready_waits_for_no_other_program() {
    let slow = [("1_slow!", "SELECT pg_advisory_xact_lock_shared(4711)")];
    let db = with(&slow);
    let mut raw = db.raw();
    raw.batch_execute("SELECT pg_advisory_lock(4711)")
        .expect("locked");
    let again = || {
        db.again(|builder| {
            let builder = builder.app(customers()).app(hotels()).app(lodging(&slow));
            let builder = builder.pool_size(1);
            builder.checkout_timeout(Duration::from_secs(2))
        })
    };
    let (one, other) = (again(), again());
    thread::scope(|scope| {
        let fill = scope.spawn(|| one.ready_schemas(1).fill());
        let waits = "SELECT 'yes' AS value FROM pg_locks WHERE objid = 4711 AND NOT granted";
        while db.strings(waits).is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        let ready = other.ready_schemas(1).every(Duration::from_millis(10));
        let keep = ready.keep();
        thread::sleep(Duration::from_millis(200));
        // The only connection is there for others.
        let free = other.public().map(drop);
        raw.batch_execute("SELECT pg_advisory_unlock(4711)")
            .expect("unlocked");
        free.expect("a connection");
        drop(keep);
        let filled = fill.join().expect("no panic").expect("filled");
        assert_eq!(filled.made, 1);
    });
}

#[test]
fn a_role_takes_what_it_has_made_whatever_it_is_called() {
    let db = Db::new();
    let role = format!("{}.Keeper", db.database.name());
    let grant = format!(
        r#"CREATE ROLE "{role}"; GRANT CREATE ON DATABASE "{name}" TO "{role}";
           GRANT ALL ON SCHEMA public TO "{role}"; GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}";
           GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{role}""#,
        name = db.database.name(),
    );
    db.raw().batch_execute(&grant).expect("a role");
    // Somebody else's, which it can neither take nor drop.
    assert_eq!(fill(&db, 1), 1);
    let others = waiting(&db);
    let become_it = format!(r#"SET ROLE "{role}""#);
    let tenancy = db.again(|builder| {
        let builder = builder.app(customers()).app(hotels());
        builder.on_connect(move |conn| conn.batch_execute(&become_it))
    });
    let filled = tenancy.ready_schemas(1).fill().expect("filled");
    assert_eq!((filled.ready, filled.made), (1, 1));
    let saved = client("acme").save(&mut tenancy.public().expect("public"));
    assert!(saved.expect("saved").made_ahead);
    assert_eq!(waiting(&db), others);
    drop(tenancy);
    let gone = format!(r#"DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}""#);
    db.raw().batch_execute(&gone).expect("gone");
}
