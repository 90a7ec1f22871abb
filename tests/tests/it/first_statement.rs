//! The path on its way with a checkout's first statement: what it takes along, what it does not, and
//! what becomes of it if the statement fails.

use diesel::connection::SimpleConnection as _;
use diesel::pg::{PgConnection, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tenant_schemas::{AppScope, Error, Lifecycle as _, SetCalls, TenantConnection};

use crate::isolation::{Hotels, MODES};
use crate::plans::{GUESTS, Mood, guests, use_moods};
use crate::support::{
    Client, Db, Room, client, customers, hotels, insert_room, name, room, rooms, rooms_of, sql_app,
    strings,
};

/// Two tenants on one connection, each of which reads its rooms first, and has done so before.
fn warm() -> Hotels {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    for _ in 0..2 {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
    hotels
}

/// Whether the last statement of the only session took its path along.
fn carried(db: &Db) -> bool {
    let last = db.strings(
        "SELECT query AS value FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() ORDER BY query_start DESC LIMIT 1",
    );
    last[0].contains("/*$")
}

/// The error of a first statement whose tenant has no schema.
#[track_caller]
fn missing<R: std::fmt::Debug>(result: QueryResult<R>, schema: &str) {
    let error = result.expect_err("there is no such schema");
    let text = Error::from(error).to_string();
    assert!(text.contains(schema), "{text}");
}

#[test]
fn c20_a_statement_that_takes_its_path_along_reads_its_own_tenant() {
    let hotels = warm();
    for _ in 0..3 {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert!(carried(&hotels.db));
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        assert!(carried(&hotels.db));
        // Not the first of its checkout, it takes nothing along.
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        assert!(!carried(&hotels.db));
    }
}

#[test]
fn c20_a_change_that_takes_its_path_along_reaches_its_own_tenant() {
    let hotels = warm();
    for id in 2..6 {
        for tenant in [Hotels::acme, Hotels::globex] {
            insert_room(&mut tenant(&hotels), id, "Grey");
        }
        let gone = diesel::delete(rooms::table.find(id)).execute(&mut hotels.acme());
        assert_eq!(gone, Ok(1));
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red", "Grey"]);
        let gone = diesel::delete(rooms::table.find(id)).execute(&mut hotels.globex());
        assert_eq!(gone, Ok(1));
        assert!(id == 2 || carried(&hotels.db));
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
}

#[test]
fn c20_what_no_statement_can_take_along_is_sent_ahead_of_it() {
    let hotels = warm();
    let of = |conn: &mut TenantConnection| strings(conn, "SELECT name AS value FROM rooms");
    for _ in 0..2 {
        assert_eq!(of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        // A transaction.
        let names = hotels
            .acme()
            .transaction(|conn| Ok::<_, DieselError>(rooms_of(conn)));
        assert_eq!(names, Ok(vec!["Blue".to_owned()]));
        // Row by row.
        let mut conn = hotels.globex();
        let rows = rooms::table.load_iter::<Room, PgRowByRowLoadingMode>(&mut conn);
        let rows: Vec<Room> = rows.expect("rows").map(|row| row.expect("a row")).collect();
        assert_eq!(rows, [room(1, "Red")]);
        drop(conn);
        // A connection that is lent as Diesel's own.
        let lent = |conn: &mut PgConnection| rooms::table.select(rooms::name).load::<String>(conn);
        assert_eq!(lent(&mut hotels.acme()), Ok(vec!["Blue".to_owned()]));
        // Another tenant's, for a while.
        let mut conn = hotels.globex();
        let lent = conn.with_tenant(&hotels.acme, |conn| Ok::<_, Error>(rooms_of(conn)));
        assert_eq!(lent.expect("lent"), ["Blue"]);
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        drop(conn);
        // Another tenant's from now on.
        let mut conn = hotels.globex();
        conn.set_tenant(&hotels.acme).expect("turned");
        assert_eq!(rooms_of(&mut conn), ["Blue"]);
    }
}

#[test]
fn c21_a_checkout_of_the_public_schema_asks_at_once() {
    let hotels = warm();
    let path = "SELECT query AS value FROM pg_stat_activity WHERE datname = current_database() \
                AND pid <> pg_backend_pid() ORDER BY query_start DESC LIMIT 1";
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    let conn = hotels.db.tenancy.public().expect("public");
    let sent = hotels.db.strings(path);
    assert!(
        sent[0].contains(r#"'"public"'::pg_catalog.regnamespace"#),
        "{sent:?}"
    );
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert!(carried(&hotels.db));
}

#[test]
fn c21_a_checkout_that_never_queries_leaves_the_session_as_it_was() {
    let hotels = warm();
    drop(hotels.acme());
    drop(hotels.globex());
    drop(hotels.acme());
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
}

/// Rooms whose names stand in a table that they refer to; a name that is in use can't be deleted.
fn named(constraint: &str) -> (Db, [Client; 2]) {
    let app = sql_app(
        "hotels",
        AppScope::Tenant,
        &[(
            "2024-02-01-000000_rooms",
            &format!(
                "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL); \
                 CREATE TABLE names (name text PRIMARY KEY); \
                 ALTER TABLE rooms ADD FOREIGN KEY (name) REFERENCES names {constraint}"
            ),
            "",
        )],
    );
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(app).pool_size(1);
        builder.set_calls(SetCalls::FirstStatement)
    });
    let tenants = db.tenants(["acme", "globex"]);
    for (tenant, name) in tenants.iter().zip(["Blue", "Red"]) {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        conn.batch_execute("INSERT INTO names VALUES ('Blue'), ('Red')")
            .expect("inserted");
        insert_room(&mut conn, 1, name);
    }
    (db, tenants)
}

diesel::table! {
    names (name) {
        name -> Text,
    }
}

#[test]
fn c24_a_statement_that_fails_at_its_end_or_at_its_commit_takes_its_path_back() {
    for constraint in ["", "DEFERRABLE INITIALLY DEFERRED"] {
        let (db, tenants) = named(constraint);
        let tenant = |at: usize| db.tenancy.tenant(&tenants[at]).expect("a connection");
        let forget = |conn: &mut TenantConnection, name: &str| {
            diesel::delete(names::table.find(name)).execute(conn)
        };
        for _ in 0..2 {
            for at in [0, 1] {
                assert_eq!(forget(&mut tenant(at), "Nobody"), Ok(0));
            }
        }
        for round in 0..3 {
            let mut conn = tenant(0);
            let refused = forget(&mut conn, "Blue");
            assert!(
                matches!(
                    refused,
                    Err(DieselError::DatabaseError(
                        DatabaseErrorKind::ForeignKeyViolation,
                        _
                    ))
                ),
                "{refused:?}"
            );
            assert!(round > 0 || carried(&db), "{constraint}");
            // The failure reverted the path; the next statement of the checkout needs it again.
            assert_eq!(rooms_of(&mut conn), ["Blue"], "{constraint}");
            drop(conn);
            assert_eq!(rooms_of(&mut tenant(1)), ["Red"]);
            // The name that the other tenant uses can go here.
            assert_eq!(forget(&mut tenant(0), "Red"), Ok(usize::from(round == 0)));
            assert_eq!(rooms_of(&mut tenant(1)), ["Red"]);
        }
    }
}

#[test]
fn a_first_statement_finds_that_its_schema_is_gone_and_reads_no_other() {
    for shared in [true, false] {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).pool_size(1);
            builder
                .include_shared(shared)
                .set_calls(SetCalls::FirstStatement)
        });
        let [acme, globex] = db.tenants(["acme", "globex"]);
        db.raw()
            .batch_execute("CREATE TABLE rooms (id int PRIMARY KEY, name text); INSERT INTO rooms VALUES (1, 'Leak')")
            .expect("something to fall into");
        let checkout = |tenant: &Client| db.tenancy.tenant(tenant).expect("nobody is asked");
        insert_room(&mut checkout(&globex), 1, "Red");
        for tenant in [&acme, &globex, &acme, &globex] {
            rooms_of(&mut checkout(tenant));
            assert!(strings(&mut db.raw(), "SELECT name AS value FROM rooms") == ["Leak"]);
        }
        db.raw()
            .batch_execute("ALTER SCHEMA acme RENAME TO elsewhere")
            .expect("renamed");
        let mut conn = checkout(&acme);
        let names = |conn: &mut TenantConnection| {
            rooms::table
                .select(rooms::name)
                .order(rooms::id)
                .load::<String>(conn)
        };
        missing(names(&mut conn), "acme");
        assert!(carried(&db));
        // No other statement of the checkout gets anywhere either.
        missing(names(&mut conn), "acme");
        missing(conn.batch_execute("SELECT * FROM rooms"), "acme");
        missing(conn.transaction(|conn| names(conn)), "acme");
        assert_eq!(conn.schema_name(), Some(&name("acme")));
        drop(conn);
        // The session is another tenant's next.
        assert_eq!(rooms_of(&mut checkout(&globex)), ["Red"]);
        assert_eq!(rooms_of(&mut checkout(&globex)), ["Red"]);
        // And the tenant's, once the schema is there.
        db.raw()
            .batch_execute("ALTER SCHEMA elsewhere RENAME TO acme")
            .expect("renamed");
        assert!(rooms_of(&mut checkout(&acme)).is_empty());
    }
}

/// What a checkout of a tenant leaves in its session is gone for the next, whose first
/// statement takes its path along or, if that is not enough, is sent after it.
#[track_caller]
fn leaves_nothing(leave: &str, trace: &str, carries: bool) {
    let hotels = warm();
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    conn.batch_execute("CREATE SEQUENCE IF NOT EXISTS numbers")
        .expect("a sequence");
    drop(conn);
    // The sequence came about by a statement that might have left anything.
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    diesel::sql_query(leave).execute(&mut conn).expect(leave);
    let pid = strings(&mut conn, "SELECT pg_backend_pid()::text AS value");
    let there = |conn: &mut PgConnection| strings(conn, &trace.replace("PID", &pid[0])) != ["0"];
    assert!(there(&mut conn), "{leave}: nothing was left");
    drop(conn);
    let mut conn = hotels.globex();
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    assert_eq!(carried(&hotels.db), carries, "{leave}");
    assert!(!there(&mut conn), "{leave}: it is still there");
}

#[test]
fn c25_nothing_is_left_of_the_last_tenant_when_the_first_statement_is_sent() {
    leaves_nothing(
        "CREATE TEMPORARY TABLE notes AS SELECT 1",
        "SELECT count(*)::text AS value FROM pg_class WHERE relname = 'notes'",
        false,
    );
    leaves_nothing(
        "DECLARE secrets CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*)::text AS value FROM pg_cursors WHERE name = 'secrets'",
        false,
    );
    leaves_nothing(
        "LISTEN secrets",
        "SELECT count(*)::text AS value FROM pg_listening_channels()",
        false,
    );
    leaves_nothing(
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*)::text AS value FROM pg_locks WHERE locktype = 'advisory' AND pid = PID",
        false,
    );
    leaves_nothing(
        "SET statement_timeout TO 12345",
        "SELECT count(*)::text AS value FROM pg_settings WHERE name = 'statement_timeout' AND setting = '12345'",
        false,
    );
}

#[test]
fn c25_what_a_tenant_left_itself_is_there_still() {
    let hotels = warm();
    for _ in 0..2 {
        let mut conn = hotels.acme();
        conn.batch_execute("CREATE TEMPORARY TABLE notes AS SELECT 'mine' AS value")
            .expect("made");
        drop(conn);
        for _ in 0..2 {
            let mut conn = hotels.acme();
            assert_eq!(rooms_of(&mut conn), ["Blue"]);
            assert!(carried(&hotels.db));
            assert_eq!(strings(&mut conn, "SELECT value FROM notes"), ["mine"]);
        }
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        assert!(conn.batch_execute("SELECT value FROM notes").is_err());
    }
}

/// Names of rooms, looked up by a function that leaves something behind whose name no text shows.
fn with_trap(body: &str) -> Hotels {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    for tenant in [&hotels.acme, &hotels.globex] {
        let mut conn = hotels.db.tenancy.tenant(tenant).expect("a connection");
        conn.batch_execute(&format!(
            "CREATE SEQUENCE numbers; ALTER TABLE rooms RENAME TO all_rooms; \
             CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN true; END $$; \
             CREATE VIEW rooms AS SELECT id, name FROM all_rooms WHERE trap()"
        ))
        .expect("a trap");
    }
    for _ in 0..3 {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
    hotels
}

/// Whether a session has something that was left.
type Left<'a> = &'a dyn Fn(&mut TenantConnection) -> bool;

#[test]
fn c25_a_statement_that_takes_its_path_along_removes_what_a_function_left() {
    let counts = |conn: &mut TenantConnection, sql: &str| strings(conn, sql) != ["0"];
    let temporary = |conn: &mut TenantConnection| {
        counts(
            conn,
            "SELECT count(*)::text AS value FROM pg_class WHERE relname = 'secret'",
        )
    };
    let channel = |conn: &mut TenantConnection| {
        counts(
            conn,
            "SELECT count(*)::text AS value FROM pg_listening_channels()",
        )
    };
    let lock = |conn: &mut TenantConnection| {
        counts(
            conn,
            "SELECT count(*)::text AS value FROM pg_locks \
             WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        )
    };
    let number = |conn: &mut TenantConnection| {
        let value = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT lastval()");
        value.get_result::<i64>(conn).is_ok()
    };
    let traps: [(&str, Left<'_>); 4] = [
        (
            "CREATE TEMPORARY TABLE IF NOT EXISTS secret AS SELECT 1",
            &temporary,
        ),
        ("EXECUTE 'LISTEN secret'", &channel),
        ("PERFORM pg_advisory_lock(7)", &lock),
        ("PERFORM nextval('numbers')", &number),
    ];
    for (body, left) in traps {
        let hotels = with_trap(&format!("IF current_schema() = 'acme' THEN {body}; END IF"));
        let mut conn = hotels.acme();
        assert_eq!(rooms_of(&mut conn), ["Blue"]);
        assert!(left(&mut conn), "{body}: nothing was left");
        drop(conn);
        // What was asked there was not plain, so the next checkout is sent as text.
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        assert!(carried(&hotels.db), "{body}");
        assert!(!left(&mut conn), "{body}: it is still there");
    }
}

#[test]
fn c25_a_message_for_the_last_tenant_is_not_heard_by_the_next() {
    let hotels = with_trap("IF current_schema() = 'acme' THEN EXECUTE 'LISTEN secret'; END IF");
    let heard = |conn: &mut TenantConnection| {
        let messages: Vec<String> = conn
            .notifications_iter()
            .map(|message| message.expect("a message").payload)
            .collect();
        messages
    };
    let tell = |payload: &str| {
        hotels
            .db
            .raw()
            .batch_execute(&format!("NOTIFY secret, '{payload}'"))
            .expect("told");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    tell("one");
    assert_eq!(heard(&mut conn), ["one"]);
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    tell("two");
    let mut conn = hotels.globex();
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    assert!(carried(&hotels.db));
    assert!(heard(&mut conn).is_empty());
    // What it listens to itself, it hears.
    conn.batch_execute("LISTEN secret").expect("listening");
    tell("three");
    assert_eq!(heard(&mut conn), ["three"]);
}

#[test]
fn c28_a_value_of_a_tenants_own_type_goes_with_the_path_of_its_tenant() {
    let app = sql_app(
        "guests",
        AppScope::Tenant,
        &[("2024-02-01-000000_guests", GUESTS, "")],
    );
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(app).pool_size(1);
        builder.set_calls(SetCalls::FirstStatement)
    });
    let tenants = db.tenants(["acme", "globex", "initech"]);
    for (id, tenant) in (0..).zip(&tenants) {
        use_moods(
            &mut db.tenancy.tenant(tenant).expect("a connection"),
            id,
            Mood::Happy,
        )
        .expect("a guest");
    }
    for _ in 0..4 {
        for (id, tenant) in (0..).zip(&tenants) {
            let happy = guests::table
                .filter(guests::mood.eq(Mood::Happy))
                .select(guests::id)
                .load::<i32>(&mut db.tenancy.tenant(tenant).expect("a connection"));
            assert_eq!(happy, Ok(vec![id]));
        }
    }
    assert!(carried(&db));
}

#[test]
fn c20_a_database_without_the_type_that_brings_paths_gets_them_as_text() {
    for without in [
        "DROP DOMAIN __tenant_schemas_path_1",
        "REVOKE EXECUTE ON FUNCTION __tenant_schemas_wash_1() FROM public",
    ] {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()));
        let [acme, globex] = db.tenants(["acme", "globex"]);
        for (tenant, name) in [(&acme, "Blue"), (&globex, "Red")] {
            insert_room(
                &mut db.tenancy.tenant(tenant).expect("a connection"),
                1,
                name,
            );
        }
        let role = format!("guest_{}", std::process::id());
        db.raw()
            .batch_execute(&format!(
                "{without}; DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
                 GRANT USAGE ON SCHEMA public, acme, globex TO {role}; \
                 GRANT SELECT ON acme.rooms, globex.rooms TO {role}"
            ))
            .expect(without);
        let guest = db.again(|builder| {
            let role = role.clone();
            builder
                .app(customers())
                .app(hotels())
                .pool_size(1)
                .set_calls(SetCalls::FirstStatement)
                .on_connect(move |conn| {
                    conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
                })
        });
        for _ in 0..4 {
            assert_eq!(rooms_of(&mut guest.tenant(&acme).expect("acme")), ["Blue"]);
            assert_eq!(
                rooms_of(&mut guest.tenant(&globex).expect("globex")),
                ["Red"]
            );
        }
        drop(guest);
        db.raw()
            .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .expect("dropped");
    }
}

#[test]
fn c20_the_type_that_brings_paths_is_made_by_the_next_migration_of_the_shared_schema() {
    let hotels = warm();
    let carries = || {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        carried(&hotels.db)
    };
    assert!(carries());
    hotels
        .db
        .raw()
        .batch_execute("DROP DOMAIN __tenant_schemas_path_1")
        .expect("dropped");
    // A statement that counts on it fails once. After that the path is sent.
    let names = rooms::table.select(rooms::name).order(rooms::id);
    let refused = names.load::<String>(&mut hotels.acme());
    assert!(refused.is_err(), "{refused:?}");
    for _ in 0..3 {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
    let shared = hotels.db.tenancy.migrate().shared().run();
    shared
        .and_then(tenant_schemas::Report::into_result)
        .expect("migrated");
    for _ in 0..3 {
        let _ = carries();
    }
    assert!(carries());
}

/// Rows that a function of acme's puts in the way of whoever reads rooms on the same session.
const DECOY: &str = "IF current_schema() = 'acme' THEN \
     CREATE TEMPORARY TABLE IF NOT EXISTS rooms AS SELECT 9 AS id, 'Leak'::text AS name; END IF";

/// The rooms, by a statement that takes the path along and by one that is planned anew.
fn twice(conn: &mut TenantConnection) -> Vec<String> {
    let mut names = rooms_of(conn);
    names.extend(strings(conn, "SELECT name AS value FROM rooms"));
    names
}

#[test]
fn c25_a_tenant_that_was_lent_the_session_finds_nothing_that_the_outer_one_left() {
    let hotels = with_trap(DECOY);
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    conn.with_tenant(&hotels.globex, |_| Ok::<_, Error>(()))
        .expect("lent");
    drop(conn);
    // The session has the path of globex, and the temporary tables of acme.
    assert_eq!(twice(&mut hotels.globex()), ["Red", "Red"]);
}

#[test]
fn c25_a_tenant_finds_nothing_of_another_that_it_lent_the_session_to() {
    for within in [false, true] {
        let hotels = with_trap(DECOY);
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        let lend = |conn: &mut TenantConnection| {
            conn.with_tenant(&hotels.acme, |conn| {
                assert_eq!(rooms_of(conn), ["Blue"]);
                Ok::<_, Error>(())
            })
        };
        if within {
            conn.transaction(|conn| lend(conn)).expect("lent");
        } else {
            lend(&mut conn).expect("lent");
        }
        assert_eq!(strings(&mut *conn, "SELECT '1' AS value"), ["1"]);
        drop(conn);
        assert_eq!(twice(&mut hotels.globex()), ["Red", "Red"], "{within}");
    }
}

#[test]
fn c25_a_tenant_chosen_inside_a_lent_scope_finds_nothing_of_the_outer_one() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.with_tenant(&hotels.acme, |conn| conn.set_tenant(&hotels.globex))
            .expect("turned");
        assert_eq!(conn.schema_name(), Some(&name("acme")));
        conn.batch_execute("CREATE TEMPORARY TABLE rooms AS SELECT 9 AS id, 'Leak'::text AS name")
            .expect("made");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c25_a_tenant_with_the_name_of_one_that_was_renamed_finds_nothing_of_it() {
    for mode in MODES {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).pool_size(2);
            builder.set_calls(mode)
        });
        let mut acme = db.tenant("acme");
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        insert_room(&mut conn, 1, "Blue");
        conn.batch_execute("CREATE TEMPORARY TABLE rooms AS SELECT 9 AS id, 'Leak'::text AS name")
            .expect("made");
        let mut other = db.tenancy.public().expect("public");
        drop(conn);
        acme.rename(&mut other, &name("apex")).expect("renamed");
        let mut new = client("acme");
        new.domain_url = "new.my-domain.com".to_owned();
        new.save(&mut other).expect("saved");
        let mut conn = db.tenancy.tenant(&new).expect("the new one");
        assert_eq!(rooms_of(&mut conn), [""; 0], "{mode:?}");
    }
}

#[test]
fn c25_what_a_tenant_left_itself_is_there_after_checkouts_that_carried_nothing() {
    let hotels = warm();
    let mut conn = hotels.acme();
    conn.batch_execute("CREATE TEMPORARY TABLE notes AS SELECT 'mine' AS value")
        .expect("made");
    drop(conn);
    for _ in 0..3 {
        let notes = strings(&mut *hotels.acme(), "SELECT value FROM notes");
        assert_eq!(notes, ["mine"]);
    }
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(strings(&mut *conn, "SELECT value FROM notes"), ["mine"]);
}

#[test]
fn c25_a_tenant_that_stays_hears_what_it_listens_to() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for _ in 0..2 {
            assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        }
        hotels
            .acme()
            .batch_execute("LISTEN news")
            .expect("listening");
        hotels.db.raw().batch_execute("NOTIFY news").expect("told");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut conn = hotels.acme();
        assert_eq!(rooms_of(&mut conn), ["Blue"]);
        assert_eq!(conn.notifications_iter().count(), 1, "{mode:?}");
    }
}

/// A type of each tenant's own, whose values are looked up among its rooms.
#[derive(Debug, Clone, Copy, diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "known_name"))]
pub struct KnownName;

#[derive(Debug, diesel::expression::AsExpression)]
#[diesel(sql_type = KnownName)]
struct Known(&'static str);

impl diesel::serialize::ToSql<KnownName, diesel::pg::Pg> for Known {
    fn to_sql<'b>(
        &'b self,
        out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
    ) -> diesel::serialize::Result {
        std::io::Write::write_all(out, self.0.as_bytes())?;
        Ok(diesel::serialize::IsNull::No)
    }
}

#[test]
fn c20_what_reads_the_other_values_of_a_statement_reads_them_on_its_path() {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    for tenant in [Hotels::acme, Hotels::globex] {
        tenant(&hotels)
            .batch_execute(
                "CREATE FUNCTION is_known(text) RETURNS boolean LANGUAGE plpgsql AS \
                 'BEGIN RETURN EXISTS (SELECT FROM rooms WHERE name = $1); END'; \
                 CREATE DOMAIN known_name AS text CHECK (is_known(VALUE))",
            )
            .expect("a type");
    }
    let knows = |conn: &mut TenantConnection, name| {
        diesel::select(Known(name).into_sql::<KnownName>().is_not_null()).get_result::<bool>(conn)
    };
    for _ in 0..3 {
        assert_eq!(knows(&mut hotels.acme(), "Blue"), Ok(true));
        assert_eq!(knows(&mut hotels.globex(), "Red"), Ok(true));
    }
    assert!(knows(&mut hotels.acme(), "Red").is_err());
}

#[test]
fn borrowing_the_connection_of_a_tenant_without_a_schema_is_no_reason_to_panic() {
    let hotels = warm();
    hotels
        .db
        .raw()
        .batch_execute("ALTER SCHEMA acme RENAME TO elsewhere")
        .expect("renamed");
    let lent = |conn: &mut PgConnection| rooms::table.select(rooms::name).load::<String>(conn);
    let mut conn = hotels.acme();
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lent(&mut conn)));
    assert!(matches!(read, Ok(Err(_))), "{read:?}");
    // What the borrower leaves is not the tenant's who was there before.
    let leave = |conn: &mut PgConnection| {
        conn.batch_execute("CREATE TEMPORARY TABLE notes AS SELECT 'secret' AS value")
            .expect("made");
    };
    leave(&mut conn);
    drop(conn);
    let notes = "SELECT count(*)::text AS value FROM pg_class WHERE relname = 'notes'";
    assert_eq!(hotels.db.strings(notes), ["1"]);
    let mut conn = hotels.globex();
    assert_eq!(strings(&mut *conn, notes), ["0"]);
}

#[test]
fn c20_a_job_that_is_the_first_thing_sent_is_sent_on_the_path_of_the_checkout() {
    let hotels = warm();
    hotels
        .db
        .raw()
        .batch_execute(
            "CREATE SCHEMA apalis; \
             CREATE TABLE apalis.jobs (id text, job_type text, job bytea, status text, attempts int, \
             max_attempts int, run_at timestamptz, priority int, idempotency_key text, \
             UNIQUE (job_type, idempotency_key)); \
             CREATE FUNCTION apalis.generate_ulid() RETURNS text LANGUAGE sql AS 'SELECT gen_random_uuid()::text'; \
             CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO rooms VALUES (7, 'Job'); RETURN NEW; END $$; \
             CREATE TRIGGER noted AFTER INSERT ON apalis.jobs FOR EACH ROW EXECUTE FUNCTION noted()",
        )
        .expect("a queue");
    let job = tenant_schemas::jobs::InTenant::new(&hotels.acme, 1).expect("a job");
    let mut conn = hotels.acme();
    tenant_schemas::jobs::apalis::PostgresQueue::new("queue")
        .push(&mut conn, &job)
        .expect("sent");
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue", "Job"]);
}

#[test]
fn c20_a_type_that_sets_no_path_brings_none() {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    hotels
        .db
        .raw()
        .batch_execute(
            "ALTER DOMAIN __tenant_schemas_path_1 DROP CONSTRAINT __tenant_schemas_path_is_there",
        )
        .expect("dropped");
    let other = hotels.db.again(|builder| {
        let builder = builder.app(customers()).app(crate::support::hotels());
        builder.pool_size(1).set_calls(SetCalls::FirstStatement)
    });
    for _ in 0..3 {
        assert_eq!(
            rooms_of(&mut other.tenant(&hotels.acme).expect("acme")),
            ["Blue"]
        );
        assert_eq!(
            rooms_of(&mut other.tenant(&hotels.globex).expect("globex")),
            ["Red"]
        );
    }
}

#[test]
fn a_schema_that_the_role_may_not_use_is_none() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()));
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let role = format!("visitor_{}", std::process::id());
    db.raw()
        .batch_execute(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
             GRANT USAGE ON SCHEMA public, globex TO {role}; GRANT SELECT ON plans TO {role}"
        ))
        .expect("a role");
    let guest = db.again(|builder| {
        let role = role.clone();
        let builder = builder.app(customers()).app(hotels()).pool_size(1);
        builder
            .set_calls(SetCalls::FirstStatement)
            .on_connect(move |conn| {
                conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
            })
    });
    let count = |tenant: &Client| -> QueryResult<i64> {
        crate::support::plans::table
            .count()
            .get_result(&mut guest.tenant(tenant).expect("a connection"))
    };
    for _ in 0..3 {
        assert_eq!(count(&globex), Ok(2));
    }
    missing(count(&acme), "acme");
    assert_eq!(count(&globex), Ok(2));
    drop(guest);
    db.raw()
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .expect("dropped");
}
