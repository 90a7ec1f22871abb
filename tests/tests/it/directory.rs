//! The directory: what is remembered costs no query, and what has changed is not remembered.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::resolve::{Directory, DirectoryBuilder};
use tenant_schemas::testing::TestDatabase;
use tenant_schemas::{Lifecycle as _, SaveOptions};

use crate::isolation::MODES;
use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms, rooms_of};

fn directory(db: &Db) -> Directory<Client> {
    let directory = Directory::builder(&db.tenancy).build();
    assert!(directory.is_listening());
    directory
}

#[track_caller]
fn found(directory: &Directory<Client>, domain: &str) -> Option<String> {
    let found = directory.by_domain(domain).expect("the database answers");
    found.map(|client| client.schema_name.to_string())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is compared with what was found"
)]
fn acme() -> Option<String> {
    Some("acme".to_owned())
}

/// Waits until it is so: what is announced arrives a moment after the commit.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < patience, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Cuts listeners off, and lets nobody connect to the database until it is lifted.
struct Ban {
    outside: PgConnection,
    _elsewhere: TestDatabase,
    database: String,
}

impl Ban {
    fn new(db: &Db) -> Self {
        let elsewhere = TestDatabase::new().expect("another database");
        Self {
            outside: PgConnection::establish(&elsewhere.url()).expect("a connection"),
            _elsewhere: elsewhere,
            database: db
                .strings("SELECT current_database()::text AS value")
                .remove(0),
        }
    }

    fn allow(&mut self, allowed: bool) {
        let database = &self.database;
        self.outside
            .batch_execute(&format!(
                "ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS {allowed}"
            ))
            .expect("altered");
    }

    fn impose(&mut self) {
        self.allow(false);
        let database = &self.database;
        self.outside
            .batch_execute(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = '{database}' AND application_name = 'tenant-schemas directory'"
            ))
            .expect("terminated");
    }

    fn lift(&mut self) {
        self.allow(true);
    }
}

/// A row, without the schema.
fn row(db: &Db, schema: &str) -> Client {
    let mut tenant = client(schema);
    let options = SaveOptions::new().auto_create_schema(false);
    tenant
        .save_with(&mut db.tenancy.public().expect("public"), options)
        .expect("saved");
    tenant
}

#[test]
fn c77_a_repeated_host_costs_no_query() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).pool_size(1));
    let tenant = row(&db, "acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    assert_eq!(directory.queries(), 1);
    // The only connection is taken: whoever asks the database now, waits.
    let taken = db.tenancy.public().expect("the connection");
    let again = directory.by_domain("acme.my-domain.com").expect("memory");
    assert_eq!(again.as_deref(), Some(&tenant));
    assert_eq!(found(&directory, "nobody.my-domain.com"), None);
    assert_eq!((directory.queries(), directory.hits()), (1, 2));
    drop(taken);
    // By another name of the same tenant, it is another question.
    assert!(directory.by_schema("acme").expect("found").is_some());
    assert_eq!(directory.queries(), 2);
}

#[test]
fn c77_what_this_process_changes_is_seen_at_once() {
    let db = Db::new();
    let directory = directory(&db);
    let mut conn = db.tenancy.public().expect("public");
    for _ in 0..20 {
        assert_eq!(found(&directory, "acme.my-domain.com"), None);
        let mut tenant = row(&db, "acme");
        assert_eq!(found(&directory, "acme.my-domain.com"), acme());

        tenant.on_trial = false;
        tenant.save(&mut conn).expect("saved");
        let seen = directory.by_domain("acme.my-domain.com").expect("found");
        assert!(seen.is_some_and(|seen| !seen.on_trial));

        tenant.domain_url = "acme.com".to_owned();
        tenant.save(&mut conn).expect("saved");
        assert_eq!(found(&directory, "acme.my-domain.com"), None);
        assert_eq!(found(&directory, "acme.com"), acme());

        tenant.delete(&mut conn).expect("deleted");
        assert_eq!(found(&directory, "acme.com"), None);
        assert!(directory.by_schema("acme").expect("answered").is_none());
    }
}

#[test]
fn c77_a_transaction_is_seen_when_it_is_committed_and_not_before() {
    let db = Db::new();
    let mut tenant = row(&db, "acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    let mut conn = db.tenancy.public().expect("public");
    conn.transaction(|conn| {
        tenant.domain_url = "acme.com".to_owned();
        tenant.save(conn)?;
        assert_eq!(found(&directory, "acme.my-domain.com"), acme());
        assert_eq!(found(&directory, "acme.com"), None);
        Ok::<_, tenant_schemas::Error>(())
    })
    .expect("committed");
    assert_eq!(found(&directory, "acme.my-domain.com"), None);
    assert_eq!(found(&directory, "acme.com"), acme());
}

#[test]
fn c77_a_renamed_tenant_is_found_under_its_new_name_at_once() {
    let db = Db::new();
    let mut tenant = db.tenant("acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    assert!(directory.by_schema("acme").expect("found").is_some());
    let mut conn = db.tenancy.public().expect("public");
    tenant.rename(&mut conn, &name("globex")).expect("renamed");
    assert_eq!(
        found(&directory, "acme.my-domain.com"),
        Some("globex".to_owned())
    );
    assert!(directory.by_schema("acme").expect("answered").is_none());
    assert!(directory.by_schema("globex").expect("found").is_some());
}

#[test]
fn c77_what_other_hands_change_is_seen_by_every_process() {
    let db = Db::new();
    row(&db, "acme");
    // Another process: another pool, another listener.
    let other = db.again(|builder| builder.app(customers()).app(hotels()));
    let directories = [directory(&db), Directory::builder(&other).build()];
    let both = |domain: &str, schema: Option<&str>| {
        for directory in &directories {
            eventually(&format!("{domain} leads to {schema:?}"), || {
                found(directory, domain).as_deref() == schema
            });
        }
    };
    both("acme.my-domain.com", Some("acme"));
    both("acme.com", None);

    let mut hands = db.raw();
    let mut sql = |sql: &str| hands.batch_execute(sql).expect(sql);
    sql("UPDATE clients SET domain_url = 'acme.com'");
    both("acme.com", Some("acme"));
    both("acme.my-domain.com", None);

    sql("UPDATE clients SET on_trial = false");
    for directory in &directories {
        eventually("the trial is over", || {
            let seen = directory.by_domain("acme.com").expect("found");
            seen.is_some_and(|seen| !seen.on_trial)
        });
    }

    sql("UPDATE clients SET schema_name = 'globex'");
    both("acme.com", Some("globex"));

    sql(
        "INSERT INTO clients (schema_name, domain_url, name, on_trial) \
         VALUES ('initech', 'initech.com', 'Initech', true)",
    );
    both("initech.com", Some("initech"));

    sql("DELETE FROM clients WHERE schema_name = 'globex'");
    both("acme.com", None);

    sql("TRUNCATE clients");
    both("initech.com", None);
}

#[test]
fn c77_one_question_is_asked_once_however_many_ask() {
    let db = Db::new();
    row(&db, "acme");
    let directory = directory(&db);
    let mut hands = db.raw();
    // Nobody gets an answer before all have asked.
    hands
        .batch_execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        .expect("locked");
    thread::scope(|scope| {
        let askers: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| found(&directory, "acme.my-domain.com")))
            .collect();
        eventually("someone asks", || directory.queries() == 1);
        thread::sleep(Duration::from_millis(100));
        hands.batch_execute("COMMIT").expect("unlocked");
        for asker in askers {
            assert_eq!(asker.join().expect("no panic"), acme());
        }
    });
    assert_eq!(directory.queries(), 1);
}

#[test]
fn c77_what_was_read_before_a_change_is_not_remembered_after_it() {
    let db = Db::new();
    let mut tenant = row(&db, "acme");
    let directory = directory(&db);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    directory.clear(); // so that someone is always asking
                    found(&directory, "a.com");
                    found(&directory, "b.com");
                }
            });
        }
        let mut conn = db.tenancy.public().expect("public");
        for turn in 0..300 {
            let (here, gone) = if turn % 2 == 0 {
                ("a.com", "b.com")
            } else {
                ("b.com", "a.com")
            };
            tenant.domain_url = here.to_owned();
            tenant.save(&mut conn).expect("saved");
            let seen = (found(&directory, here), found(&directory, gone));
            if seen != (acme(), None) {
                over.store(true, Ordering::Relaxed);
                panic!("turn {turn}: {here} and not {gone}, but {seen:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn c77_a_listener_that_is_cut_off_vouches_for_nothing() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(1)
            .min_idle(1)
    });
    row(&db, "acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    assert_eq!(directory.queries(), 1); // it is remembered
    let mut hands = db.raw();
    let mut ban = Ban::new(&db);

    ban.impose();
    eventually("it notices", || !directory.is_listening());
    // Nobody hears of this. The pool's only connection, older than the ban, is still there.
    hands
        .batch_execute("UPDATE clients SET domain_url = 'acme.com'")
        .expect("moved");
    assert_eq!(found(&directory, "acme.my-domain.com"), None);
    assert_eq!(found(&directory, "acme.com"), acme());
    let queries = directory.queries();
    assert_eq!(found(&directory, "acme.com"), acme());
    assert_eq!(directory.queries(), queries + 1); // nothing is remembered meanwhile

    ban.lift();
    eventually("it listens again", || directory.is_listening());
    assert_eq!(found(&directory, "acme.com"), acme());
    let queries = directory.queries();
    assert_eq!(found(&directory, "acme.com"), acme());
    assert_eq!(directory.queries(), queries);
    hands
        .batch_execute("UPDATE clients SET domain_url = 'acme.org'")
        .expect("moved");
    eventually("it hears again", || {
        found(&directory, "acme.org") == acme() && found(&directory, "acme.com").is_none()
    });
}

#[test]
fn c78_unknown_hosts_cost_no_query_and_no_memory() {
    let db = Db::new();
    row(&db, "acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    let (queries, len) = (directory.queries(), directory.len());
    for host in 0..20_000 {
        assert_eq!(found(&directory, &format!("{host}.my-domain.com")), None);
        let schema = directory
            .by_schema(&format!("acme{host}"))
            .expect("answered");
        assert!(schema.is_none());
    }
    assert_eq!((directory.queries(), directory.len()), (queries, len));
    // And the one that is known is so still.
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    assert_eq!(directory.queries(), queries);
}

#[test]
fn c78_a_domain_that_was_somebodys_is_asked_for_once() {
    let db = Db::new();
    let tenant = row(&db, "acme");
    let directory = directory(&db);
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    let mut conn = db.tenancy.public().expect("public");
    tenant.delete(&mut conn).expect("deleted");
    // Its end is announced too, and then nothing changes any more.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(found(&directory, "acme.my-domain.com"), None);
    let queries = directory.queries();
    for _ in 0..100 {
        assert_eq!(found(&directory, "acme.my-domain.com"), None);
    }
    assert_eq!(directory.queries(), queries);
}

#[test]
fn c78_no_more_tenants_are_remembered_than_the_capacity_says() {
    let db = Db::new();
    db.raw()
        .batch_execute(
            "INSERT INTO clients (schema_name, domain_url, name, on_trial) \
             SELECT 't' || n, 't' || n || '.com', 'T', true FROM generate_series(1, 500) n",
        )
        .expect("inserted");
    let directory = Directory::builder(&db.tenancy).capacity(20).build();
    for n in 1..=500 {
        assert_eq!(
            found(&directory, &format!("t{n}.com")),
            Some(format!("t{n}"))
        );
        assert!(directory.len() <= 32, "{} after {n}", directory.len());
    }
    assert_eq!(directory.queries(), 500);
}

#[test]
fn c70_www_and_brackets_are_optional() {
    let db = Db::new();
    for (schema, domain) in [
        ("plain", "acme.com"),
        ("www", "www.globex.com"),
        ("address", "::1"),
        ("brackets", "[::2]"),
    ] {
        let mut tenant = client(schema);
        tenant.domain_url = domain.to_owned();
        let options = SaveOptions::new().auto_create_schema(false);
        tenant
            .save_with(&mut db.tenancy.public().expect("public"), options)
            .expect("saved");
    }
    for listen in [true, false] {
        let directory = Directory::builder(&db.tenancy).listen(listen).build();
        for (host, schema) in [
            ("acme.com", Some("plain")),
            ("www.acme.com", Some("plain")),
            ("www.globex.com", Some("www")),
            ("globex.com", None),
            ("www.www.acme.com", None),
            ("::1", Some("address")),
            ("::2", Some("brackets")),
            ("::3", None),
        ] {
            for _ in 0..2 {
                assert_eq!(found(&directory, host).as_deref(), schema, "{host}");
            }
        }
    }
    // What leads to a tenant by another spelling is forgotten with it.
    let directory = directory(&db);
    assert_eq!(found(&directory, "www.acme.com").as_deref(), Some("plain"));
    db.raw()
        .batch_execute("UPDATE clients SET domain_url = 'acme.org' WHERE schema_name = 'plain'")
        .expect("moved");
    eventually("www.acme.com leads nowhere", || {
        found(&directory, "www.acme.com").is_none()
    });
}

#[test]
fn without_a_listener_the_time_to_live_is_the_limit() {
    let db = Db::new();
    row(&db, "acme");
    let long = |builder: DirectoryBuilder<Client>| builder.time_to_live(Duration::from_hours(1));
    let lasting = long(Directory::builder(&db.tenancy).listen(false)).build();
    let fleeting = Directory::builder(&db.tenancy)
        .listen(false)
        .time_to_live(Duration::from_millis(20))
        .build();
    for directory in [&lasting, &fleeting] {
        assert!(!directory.is_listening());
        assert_eq!(found(directory, "acme.my-domain.com"), acme());
        assert_eq!(found(directory, "nobody.com"), None);
        assert_eq!(found(directory, "nobody.com"), None);
    }
    assert_eq!(lasting.queries(), 2);
    db.raw()
        .batch_execute("UPDATE clients SET domain_url = 'acme.com'")
        .expect("moved");
    eventually("its time is over", || {
        found(&fleeting, "acme.my-domain.com").is_none() && found(&fleeting, "acme.com") == acme()
    });
    assert_eq!(found(&lasting, "acme.my-domain.com"), acme()); // as the documentation says
    lasting.clear();
    assert_eq!(found(&lasting, "acme.my-domain.com"), None);
}

#[test]
fn the_time_to_live_holds_with_a_listener_too() {
    let db = Db::new();
    row(&db, "acme");
    let directory = Directory::builder(&db.tenancy)
        .time_to_live(Duration::from_millis(20))
        .build();
    // A trigger that was switched off by hand: nobody is told.
    db.raw()
        .batch_execute(
            "ALTER TABLE clients DISABLE TRIGGER USER; UPDATE clients SET on_trial = false",
        )
        .expect("unheard of");
    eventually("its time is over", || {
        let seen = directory.by_domain("acme.my-domain.com").expect("found");
        seen.is_some_and(|seen| !seen.on_trial)
    });
}

#[test]
fn a_database_that_announces_nothing_is_asked_each_time_until_it_is_migrated() {
    let of_another_column = "DROP TRIGGER __tenant_schemas_rows ON clients; \
         CREATE TRIGGER __tenant_schemas_rows AFTER INSERT OR UPDATE OR DELETE ON clients \
         FOR EACH ROW EXECUTE FUNCTION __tenant_schemas_announce_2('schema', 'schema_name', 'domain', 'host')";
    for spoil in [
        "DROP FUNCTION __tenant_schemas_announce_2() CASCADE",
        "ALTER TABLE clients DISABLE TRIGGER __tenant_schemas_rows",
        "ALTER TABLE clients ENABLE REPLICA TRIGGER __tenant_schemas_rows",
        of_another_column,
    ] {
        let db = Db::new();
        row(&db, "acme");
        db.raw().batch_execute(spoil).expect(spoil);
        let directory = Directory::builder(&db.tenancy).build();
        assert!(!directory.is_listening(), "{spoil}");
        for queries in 1..=3 {
            assert_eq!(found(&directory, "acme.my-domain.com"), acme());
            assert_eq!(directory.queries(), queries);
        }
        let migrated = db.tenancy.migrate().shared().run();
        migrated
            .and_then(tenant_schemas::Report::into_result)
            .expect("migrated");
        eventually("it listens", || directory.is_listening());
    }
}

#[test]
fn c60_a_name_that_another_process_has_moved_takes_no_scope_and_nothing_that_is_left_along() {
    for mode in MODES {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).set_calls(mode);
            builder.pool_size(2)
        });
        let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
        for tenant in [&acme, &globex] {
            let mut conn = db.tenancy.tenant(tenant).expect("a connection");
            insert_room(&mut conn, 1, tenant.schema_name.as_str());
        }
        let directory = Directory::builder(&db.tenancy).build();
        assert!(directory.is_listening());
        let known = directory.by_schema("acme").expect("asked");
        assert_eq!(known.map(|tenant| tenant.id), Some(acme.id));
        let mut held = db.tenancy.tenant(&acme).expect("acme");
        assert_eq!(rooms_of(&mut held), ["acme"]);
        let mut left = db.tenancy.tenant(&acme).expect("acme");
        let leave = "CREATE TEMPORARY TABLE rooms AS SELECT 9 AS id, 'Leak'::text AS name";
        left.batch_execute(leave).expect("left");
        assert_eq!(rooms_of(&mut left), ["Leak"], "it is there to be read");
        drop(left);

        // As another process does it.
        let other = db.again(|builder| builder.app(customers()).app(hotels()));
        let mut public = other.public().expect("public");
        acme.rename(&mut public, &name("acme_inc"))
            .expect("renamed");
        globex.rename(&mut public, &name("acme")).expect("renamed");
        eventually("it is heard of", || {
            let heard = directory.by_schema("acme").expect("asked");
            heard.is_some_and(|tenant| tenant.id == globex.id)
        });
        thread::sleep(Duration::from_millis(50));
        let there = db.strings("SELECT name AS value FROM acme.rooms");
        assert_eq!(there, ["globex"], "that is there to be read");
        let read = rooms::table.select(rooms::name).load::<String>(&mut held);
        assert!(read.is_err(), "{mode:?}: {read:?}");
        // The other session is the one that has something of acme's.
        let mut conn = db.tenancy.tenant(&globex).expect("globex");
        assert_eq!(rooms_of(&mut conn), ["globex"], "{mode:?}");
    }
}

#[test]
fn c60_a_name_that_moved_while_the_listener_was_cut_off_takes_nothing_along_either() {
    for mode in MODES {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).set_calls(mode);
            builder.pool_size(4).min_idle(4)
        });
        let [mut acme, mut globex, initech] = db.tenants(["acme", "globex", "initech"]);
        for tenant in [&acme, &globex, &initech] {
            let mut conn = db.tenancy.tenant(tenant).expect("a connection");
            insert_room(&mut conn, 1, tenant.schema_name.as_str());
        }
        let other = db.again(|builder| builder.app(customers()).app(hotels()));
        let mut public = other.public().expect("public");
        let directory = directory(&db);
        let mut held = db.tenancy.tenant(&acme).expect("acme");
        assert_eq!(rooms_of(&mut held), ["acme"]);
        let mut stays = db.tenancy.tenant(&initech).expect("initech");
        let mut left = db.tenancy.tenant(&acme).expect("acme");
        let leave = "CREATE TEMPORARY TABLE rooms AS SELECT 9 AS id, 'Leak'::text AS name";
        left.batch_execute(leave).expect("left");
        assert_eq!(rooms_of(&mut left), ["Leak"], "it is there to be read");
        drop(left);

        // Another process does it, and nobody says so.
        let mut ban = Ban::new(&db);
        ban.impose();
        eventually("it notices", || !directory.is_listening());
        let renamed = acme.rename(&mut public, &name("acme_inc"));
        renamed.expect("renamed");
        globex.rename(&mut public, &name("acme")).expect("renamed");
        ban.lift();
        eventually("it listens again", || directory.is_listening());

        let there = db.strings("SELECT name AS value FROM acme.rooms");
        assert_eq!(there, ["globex"], "that is there to be read");
        let read = rooms::table.select(rooms::name).load::<String>(&mut held);
        assert!(read.is_err(), "{mode:?}: {read:?}");
        assert_eq!(rooms_of(&mut stays), ["initech"], "{mode:?}");
        // All of the sessions, so that of acme's too.
        let mut conns: Vec<_> = (0..2)
            .map(|_| db.tenancy.tenant(&globex).expect("globex"))
            .collect();
        for conn in &mut conns {
            assert_eq!(rooms_of(conn), ["globex"], "{mode:?}");
        }
    }
}

#[test]
fn c60_a_name_that_moved_unannounced_takes_no_scope_along_after_the_time_to_live() {
    let db = Db::new();
    let [acme, globex, initech] = db.tenants(["acme", "globex", "initech"]);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        1,
        "globex",
    );
    let _directory = Directory::builder(&db.tenancy)
        .time_to_live(Duration::from_millis(100))
        .build();
    let mut held = db.tenancy.tenant(&acme).expect("acme");
    let mut stays = db.tenancy.tenant(&initech).expect("initech");
    // As a restore writes.
    db.raw()
        .batch_execute(
            "SET session_replication_role TO replica; BEGIN; \
             ALTER SCHEMA acme RENAME TO gone; ALTER SCHEMA globex RENAME TO acme; \
             DELETE FROM clients WHERE schema_name = 'acme'; \
             UPDATE clients SET schema_name = 'acme' WHERE schema_name = 'globex'; COMMIT",
        )
        .expect("moved");
    let there = db.strings("SELECT name AS value FROM acme.rooms");
    assert_eq!(there, ["globex"], "that is there to be read");
    let patience = Instant::now() + Duration::from_secs(20);
    let names = rooms::table.select(rooms::name);
    while names.load::<String>(&mut held).is_ok() {
        assert!(Instant::now() < patience, "the scope goes on");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rooms_of(&mut stays), [""; 0]);
}

#[test]
fn what_this_process_renames_ends_no_scope_of_the_next_who_has_the_name() {
    let db = Db::new();
    let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
    let directory = Directory::builder(&db.tenancy).build();
    assert!(directory.is_listening());
    let mut public = db.tenancy.public().expect("public");
    let renamed = public.transaction(|conn| {
        acme.rename(conn, &name("acme_inc"))?;
        globex.rename(conn, &name("acme"))
    });
    renamed.expect("renamed");
    // Before it is heard of, which takes some milliseconds.
    let mut held = db.tenancy.tenant(&globex).expect("a connection");
    for _ in 0..20 {
        assert_eq!(rooms_of(&mut held), [""; 0]);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Who deletes or renames a tenant of ours by hand behind ours, in the same transaction, is not us.
#[test]
fn c60_what_others_do_in_a_transaction_of_ours_ends_scopes_too() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let directory = Directory::builder(&db.tenancy).build();
    assert!(directory.is_listening());
    let mut held = db.tenancy.tenant(&globex).expect("globex");
    insert_room(&mut held, 1, "Blue");
    assert_eq!(rooms_of(&mut held), ["Blue"], "it is there to be read");
    let mut public = db.tenancy.public().expect("public");
    let done = public.transaction(|conn| {
        acme.delete(conn)?;
        conn.batch_execute("DELETE FROM clients WHERE schema_name = 'globex'")?;
        Ok::<_, tenant_schemas::Error>(())
    });
    done.expect("deleted");
    let held = RefCell::new(held);
    eventually("the scope has ended", || {
        let read = rooms::table.select(rooms::name);
        read.load::<String>(&mut *held.borrow_mut()).is_err()
    });
}

#[test]
fn a_tenant_that_nobody_announces_is_found_after_the_time_to_live() {
    let db = Db::new();
    let directory = Directory::builder(&db.tenancy)
        .time_to_live(Duration::from_millis(100))
        .build();
    row(&db, "acme");
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    // As logical replication writes, or a restore.
    db.raw()
        .batch_execute(
            "SET session_replication_role TO replica; \
             INSERT INTO clients (schema_name, domain_url, name, on_trial) \
             VALUES ('initech', 'initech.com', 'Initech', true)",
        )
        .expect("inserted");
    assert_eq!(found(&directory, "initech.com"), None, "control");
    eventually("initech is found", || {
        found(&directory, "initech.com").as_deref() == Some("initech")
    });
    assert!(directory.is_listening());
}

#[test]
fn a_domain_that_is_too_long_for_an_announcement_can_be_written() {
    let db = Db::new();
    let mut raw = db.raw();
    let mut sql = |sql: &str| raw.batch_execute(sql).expect(sql);
    sql("ALTER TABLE clients ALTER domain_url TYPE text");
    let other = db.again(|builder| builder.app(customers()).app(hotels()));
    row(&db, "acme");
    let directory = Directory::builder(&other).build();
    assert_eq!(found(&directory, "acme.my-domain.com"), acme());
    sql("UPDATE clients SET domain_url = repeat('a', 7993)");
    eventually("the old domain is gone", || {
        found(&directory, "acme.my-domain.com").is_none()
    });
    sql("UPDATE clients SET domain_url = 'acme.com'");
    eventually("the new domain is found", || {
        found(&directory, "acme.com") == acme()
    });
}

#[test]
fn a_domain_with_a_zero_in_it_is_nobodys_and_the_database_is_not_asked() {
    let db = Db::new();
    row(&db, "acme");
    for listen in [true, false] {
        let directory = Directory::builder(&db.tenancy).listen(listen).build();
        assert_eq!(found(&directory, "acme.my-domain.com"), acme());
        for name in ["acme\0.my-domain.com", "\0"] {
            assert_eq!(found(&directory, name), None);
            assert!(directory.by_schema(name).expect("answered").is_none());
        }
    }
}

#[test]
fn a_directory_that_is_dropped_listens_no_more() {
    let db = Db::new();
    let listeners = || {
        db.strings(
            "SELECT pid::text AS value FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'tenant-schemas directory'",
        )
        .len()
    };
    let directory = Arc::new(directory(&db));
    let clone = directory.clone();
    drop(directory);
    assert_eq!(listeners(), 1);
    drop(clone);
    eventually("the connection is closed", || listeners() == 0);
}
