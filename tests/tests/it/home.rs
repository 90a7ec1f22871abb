//! Statements that name their schema, from a session on which nothing of anybody's is found: whom they
//! read, when they are sent otherwise, and what follows them.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{Error, Lifecycle as _, SetCalls, TenantConnection};

use crate::isolation::Hotels;
use crate::plans::{GUESTS, Mood, guests};
use crate::support::{
    Client, Db, client, clients, customers, hotels, insert_room, name, rooms, rooms_of, strings,
};

diesel::allow_tables_to_appear_in_same_query!(clients, rooms);

/// More checkouts than it takes until a session stays where nobody's tables are.
const MANY: usize = 40;

/// Two tenants on one connection, which has served them so often that it stays at home.
fn quiet() -> Hotels {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    rest(&hotels);
    hotels
}

fn rest(hotels: &Hotels) {
    for _ in 0..MANY {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
    assert_eq!(last(&hotels.db), How::FromHome);
}

/// How a statement was sent.
#[derive(Debug, PartialEq, Eq)]
enum How {
    FromHome,
    WithItsPath,
    OnItsPath,
}

/// How the last statement of any session was sent.
fn last(db: &Db) -> How {
    let statements = db.strings(
        "SELECT query AS value FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() AND query LIKE '%rooms%' ORDER BY query_start DESC LIMIT 1",
    );
    match statements.first() {
        Some(last) if last.contains("\".\"rooms\" ") => How::FromHome,
        Some(last) if last.starts_with("/*$1*/") => How::WithItsPath,
        _ => How::OnItsPath,
    }
}

#[test]
fn c20_statements_that_are_alone_are_sent_from_home_at_last_and_read_their_own_tenant() {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    assert_eq!(last(&hotels.db), How::WithItsPath);
    rest(&hotels);
    for id in 2..5_i64 {
        // Others change what they read.
        let sql = format!("INSERT INTO acme.rooms VALUES ({id}, 'Grey')");
        hotels.db.raw().batch_execute(&sql).expect("inserted");
        assert_eq!(i64::try_from(rooms_of(&mut hotels.acme()).len()), Ok(id));
        assert_eq!(last(&hotels.db), How::FromHome);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        let one = rooms::table.find(1).select(rooms::name);
        assert_eq!(one.first::<String>(&mut hotels.acme()), Ok("Blue".into()));
        assert_eq!(last(&hotels.db), How::FromHome);
        assert_eq!(one.first::<String>(&mut hotels.globex()), Ok("Red".into()));
        let all = rooms::table.count();
        assert_eq!(all.get_result(&mut hotels.acme()), Ok(id));
        assert_eq!(last(&hotels.db), How::FromHome);
        assert_eq!(all.get_result(&mut hotels.globex()), Ok(1));
    }
}

#[test]
fn c20_a_tenant_whom_the_session_has_never_seen_is_read_from_home() {
    let pool = quiet();
    let other = pool.db.again(|builder| {
        let builder = builder.app(customers()).app(hotels());
        builder.pool_size(1)
    });
    let mut initech = client("initech");
    let mut conn = other.public().expect("public");
    initech.save(&mut conn).expect("saved");
    drop(conn);
    insert_room(&mut other.tenant(&initech).expect("initech"), 1, "White");
    rest(&pool);
    for _ in 0..10 {
        let mut conn = pool.db.tenancy.tenant(&initech).expect("initech");
        assert_eq!(rooms_of(&mut conn), ["White"]);
        drop(conn);
        assert_eq!(last(&pool.db), How::FromHome);
        assert_eq!(rooms_of(&mut pool.acme()), ["Blue"]);
    }
}

/// Something on the connection of the tenant who has this room.
type Follow<'a> = &'a dyn Fn(&mut TenantConnection, &str);

#[test]
fn c20_what_follows_a_statement_from_home_is_its_tenants() {
    let hotels = quiet();
    let path = |conn: &mut TenantConnection| {
        strings(conn, "SELECT current_setting('search_path') AS value").remove(0)
    };
    let names = |conn: &mut TenantConnection| strings(conn, "SELECT name AS value FROM rooms");
    let follow: [Follow<'_>; 6] = [
        &|conn, own| assert_eq!(rooms_of(conn), [own]),
        &|conn, own| assert_eq!(names(conn), [own]),
        &|conn, own| {
            let read = conn.transaction(|conn| Ok::<_, DieselError>(rooms_of(conn)));
            assert_eq!(read, Ok(vec![own.to_owned()]));
        },
        &|conn, own| {
            insert_room(conn, 2, "Grey");
            assert_eq!(names(conn), [own, "Grey"]);
            let gone = diesel::delete(rooms::table.find(2)).execute(conn);
            assert_eq!(gone, Ok(1));
        },
        &|conn, own| {
            let schema = if own == "Blue" { "acme" } else { "globex" };
            assert_eq!(path(conn), format!("\"{schema}\", \"public\""));
        },
        &|conn, own| {
            let other = if own == "Blue" { "globex" } else { "acme" };
            let lent = conn.with_schema(&name(other), |conn| Ok::<_, Error>(rooms_of(conn)));
            assert_ne!(lent.expect("lent"), [own]);
            assert_eq!(rooms_of(conn), [own]);
        },
    ];
    for follow in follow {
        for _ in 0..2 {
            let mut conn = hotels.acme();
            assert_eq!(rooms_of(&mut conn), ["Blue"]);
            follow(&mut conn, "Blue");
            drop(conn);
            let mut conn = hotels.globex();
            assert_eq!(rooms_of(&mut conn), ["Red"]);
            follow(&mut conn, "Red");
        }
        rest(&hotels);
    }
}

#[test]
fn c20_what_needs_its_path_has_it_at_home_too() {
    let hotels = quiet();
    let names = |conn: &mut TenantConnection| strings(conn, "SELECT name AS value FROM rooms");
    for _ in 0..3 {
        assert_eq!(names(&mut hotels.acme()), ["Blue"]);
        rest(&hotels);
        insert_room(&mut hotels.globex(), 2, "Grey");
        let gone = diesel::delete(rooms::table.find(2)).execute(&mut hotels.globex());
        assert_eq!(gone, Ok(1));
        rest(&hotels);
        // A shared table, on the way through the tenant's.
        let clients = client_names(&mut hotels.acme());
        assert_eq!(clients, ["acme", "globex"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        rest(&hotels);
        // One of each.
        let both = rooms::table
            .filter(diesel::dsl::exists(
                clients::table.filter(clients::schema_name.eq("acme")),
            ))
            .select(rooms::name);
        for _ in 0..3 {
            assert_eq!(
                both.load::<String>(&mut hotels.acme()),
                Ok(vec!["Blue".into()])
            );
            assert_eq!(
                both.load::<String>(&mut hotels.globex()),
                Ok(vec!["Red".into()])
            );
        }
        rest(&hotels);
    }
}

fn client_names(conn: &mut TenantConnection) -> Vec<String> {
    let names = clients::table.select(clients::schema_name);
    names
        .order(clients::schema_name)
        .load(conn)
        .expect("the clients are read")
}

/// What makes a table more than that, done by other hands: it is read on the tenant's path, and what it
/// leaves is removed.
#[test]
fn c20_a_table_that_becomes_more_than_one_is_read_on_its_path() {
    let blue = "ALTER TABLE rooms RENAME TO base; \
                CREATE FUNCTION seen(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
                LISTEN news; RETURN (SELECT name FROM base WHERE id = $1); END $$; \
                CREATE VIEW rooms AS SELECT id, seen(id) AS name FROM base";
    let guarded = "ALTER TABLE rooms ENABLE ROW LEVEL SECURITY; \
                   ALTER TABLE rooms FORCE ROW LEVEL SECURITY; \
                   CREATE POLICY own ON rooms USING (current_schema() = 'acme')";
    let children = "CREATE TABLE more () INHERITS (rooms)";
    let typed = "CREATE DOMAIN label AS text; ALTER TABLE rooms ALTER name TYPE label";
    for sql in [blue, guarded, children, typed] {
        let hotels = quiet();
        let change = format!("SET search_path TO acme; {sql}");
        hotels.db.raw().batch_execute(&change).expect("changed");
        for _ in 0..3 {
            assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"], "{sql}");
            assert_ne!(last(&hotels.db), How::FromHome, "{sql}");
            let mut conn = hotels.globex();
            let hears = "SELECT pg_listening_channels() AS value";
            assert!(strings(&mut conn, hears).is_empty(), "{sql}");
            assert_eq!(rooms_of(&mut conn), ["Red"], "{sql}");
        }
        // Which is no reason to read it otherwise than before, however often it comes.
        for _ in 0..2 * MANY {
            assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"], "{sql}");
            assert_ne!(last(&hotels.db), How::FromHome, "{sql}");
            assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{sql}");
        }
    }
}

/// What is vouched for was true when the planner began to wait for the table, and is not when it has it.
#[test]
fn c20_a_table_that_becomes_a_view_while_a_statement_waits_for_it_is_read_on_its_path() {
    let hotels = quiet();
    let mut other = hotels.db.raw();
    other
        .batch_execute(
            "BEGIN; SET LOCAL search_path TO acme; ALTER TABLE rooms RENAME TO base; \
             CREATE VIEW rooms AS SELECT id, name FROM base WHERE current_schema() = 'acme'",
        )
        .expect("changed");
    let names = std::thread::scope(|scope| {
        let reader = scope.spawn(|| rooms_of(&mut hotels.acme()));
        wait_for_a_lock(&hotels.db);
        other.batch_execute("COMMIT").expect("committed");
        reader.join().expect("no panic")
    });
    assert_eq!(names, ["Blue"]);
    assert_ne!(last(&hotels.db), How::FromHome);
    for _ in 0..MANY {
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    }
}

/// Waits until someone waits for a lock; says whose backend that is.
fn wait_for_a_lock(db: &Db) -> String {
    let waits = "SELECT pid::text AS value FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    loop {
        if let Some(pid) = db.strings(waits).pop() {
            return pid;
        }
        std::thread::yield_now();
    }
}

/// The planner looks into what an index calls, on whatever path there is.
#[test]
fn c20_a_table_whose_index_calls_a_function_is_read_on_its_path() {
    let hotels = quiet();
    let made = "CREATE FUNCTION plainly(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)'; \
                CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT plainly($1)'; \
                CREATE INDEX ON acme.rooms (folded(name)); CREATE INDEX ON globex.rooms (folded(name))";
    hotels.db.raw().batch_execute(made).expect("made");
    for _ in 0..MANY {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_ne!(last(&hotels.db), How::FromHome);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    }
}

mod computed {
    diesel::table! {
        rooms (id) {
            id -> Integer,
            to_json -> Text,
        }
    }
}

/// It is called like a column.
#[test]
fn c20_a_function_of_a_row_is_the_tenants_own() {
    let hotels = quiet();
    let made = "CREATE FUNCTION acme.to_json(acme.rooms) RETURNS text LANGUAGE sql AS $$ SELECT 'own' $$; \
                CREATE FUNCTION globex.to_json(globex.rooms) RETURNS text LANGUAGE sql AS $$ SELECT 'its' $$";
    hotels.db.raw().batch_execute(made).expect("made");
    for _ in 0..MANY {
        let of = computed::rooms::table.select(computed::rooms::to_json);
        assert_eq!(
            of.load::<String>(&mut hotels.acme()),
            Ok(vec!["own".into()])
        );
        assert_eq!(
            of.load::<String>(&mut hotels.globex()),
            Ok(vec!["its".into()])
        );
    }
}

/// What PostgreSQL plans each time would be vouched for each time.
#[test]
fn c28_a_statement_whose_plan_is_not_kept_is_sent_with_its_path_again() {
    let hotels = quiet();
    for tenant in [Hotels::acme, Hotels::globex] {
        let mut conn = tenant(&hotels);
        // Nearly all are of one name, and a plan for any name is none for the others.
        conn.batch_execute(
            "INSERT INTO rooms SELECT i, 'Grey' FROM generate_series(2, 20000) AS i; \
             CREATE INDEX ON rooms (name); ANALYZE rooms",
        )
        .expect("rooms");
    }
    let named = |name: &'static str| rooms::table.filter(rooms::name.eq(name)).count();
    let mut how = Vec::new();
    for _ in 0..5 * MANY {
        assert_eq!(named("Blue").get_result(&mut hotels.acme()), Ok(1));
        how.push(last(&hotels.db));
        assert_eq!(named("Red").get_result(&mut hotels.globex()), Ok(1));
    }
    assert!(how.contains(&How::FromHome));
    assert_ne!(how.last(), Some(&How::FromHome));
    // Which says nothing of others.
    for _ in 0..5 * MANY {
        let one = rooms::table.find(1).select(rooms::name);
        assert_eq!(one.first::<String>(&mut hotels.acme()), Ok("Blue".into()));
        assert_eq!(one.first::<String>(&mut hotels.globex()), Ok("Red".into()));
    }
    assert_eq!(last(&hotels.db), How::FromHome);
}

/// It would be found on the tenant's path, and has to be.
#[test]
fn c20_an_operator_of_ones_own_is_found() {
    let hotels = quiet();
    let nothing = rooms::table.filter(rooms::id.eq(-1)).select(rooms::name);
    for _ in 0..MANY {
        assert_eq!(nothing.load::<String>(&mut hotels.acme()), Ok(vec![]));
    }
    assert_eq!(last(&hotels.db), How::FromHome);
    let operator = "CREATE FUNCTION same(integer, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
                    CREATE OPERATOR = (LEFTARG = integer, RIGHTARG = text, FUNCTION = same)";
    hotels.db.raw().batch_execute(operator).expect("made");
    assert_eq!(nothing.load::<String>(&mut hotels.acme()), Ok(vec![]));
    assert_ne!(last(&hotels.db), How::FromHome);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
}

#[test]
fn c20_a_schema_that_others_drop_rename_or_lock_up_is_missed_at_home() {
    for sql in [
        "DROP SCHEMA acme CASCADE",
        "ALTER SCHEMA acme RENAME TO acme_old",
    ] {
        let hotels = quiet();
        hotels.db.raw().batch_execute(sql).expect("gone");
        for _ in 0..3 {
            let error = rooms::table
                .count()
                .get_result::<i64>(&mut hotels.acme())
                .expect_err("there is no such schema");
            let error = Error::from(error);
            assert!(
                matches!(error, Error::NoSuchSchema { .. }),
                "{sql}: {error}"
            );
            assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{sql}");
        }
    }
}

#[test]
fn c20_a_role_that_may_not_use_a_schema_any_more_is_refused_at_home() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    for (tenant, room) in [(&acme, "Blue"), (&globex, "Red")] {
        insert_room(&mut db.tenancy.tenant(tenant).expect("a tenant"), 1, room);
    }
    let role = format!("guest_{}", std::process::id());
    // A table of the same name in `public`, where PostgreSQL would go on looking.
    let made = format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
         CREATE TABLE rooms (LIKE acme.rooms); INSERT INTO rooms VALUES (1, 'Wrong'); \
         GRANT USAGE ON SCHEMA public, acme, globex TO {role}; \
         GRANT SELECT ON rooms, globex.rooms, acme.rooms TO {role}"
    );
    db.raw().batch_execute(&made).expect("a role");
    let guest = db.again(|builder| {
        let role = role.clone();
        let builder = builder.app(customers()).app(hotels()).pool_size(1);
        builder
            .set_calls(SetCalls::FirstStatement)
            .on_connect(move |conn| {
                conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
            })
    });
    let read = |tenant: &Client| -> QueryResult<Vec<String>> {
        let mut conn = guest.tenant(tenant)?;
        rooms::table.select(rooms::name).load(&mut conn)
    };
    for _ in 0..MANY {
        assert_eq!(read(&acme), Ok(vec!["Blue".into()]));
        assert_eq!(read(&globex), Ok(vec!["Red".into()]));
    }
    assert_eq!(last(&db), How::FromHome);
    let revoked = format!("REVOKE USAGE ON SCHEMA acme FROM {role}");
    db.raw().batch_execute(&revoked).expect("revoked");
    for _ in 0..3 {
        let error = Error::from(read(&acme).expect_err("it may not"));
        assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
        assert_eq!(read(&globex), Ok(vec!["Red".into()]));
    }
    let granted = format!("GRANT USAGE ON SCHEMA acme TO {role}");
    db.raw().batch_execute(&granted).expect("granted");
    assert_eq!(read(&acme), Ok(vec!["Blue".into()]));
    db.raw()
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .expect("dropped");
}

#[test]
fn c20_a_table_that_a_tenant_does_not_have_is_the_shared_one_at_home_too() {
    let hotels = quiet();
    let made = "CREATE TABLE rooms (id int, name text); INSERT INTO rooms VALUES (1, 'Shared')";
    hotels.db.raw().batch_execute(made).expect("made");
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    hotels
        .db
        .raw()
        .batch_execute("DROP TABLE acme.rooms")
        .expect("dropped");
    assert_eq!(rooms_of(&mut hotels.acme()), ["Shared"]);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
}

#[test]
fn c28_enums_of_each_tenant_are_its_own_at_home() {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    for (tenant, mood) in [
        (Hotels::acme as fn(&Hotels) -> _, "happy"),
        (Hotels::globex, "sad"),
    ] {
        let mut conn = tenant(&hotels);
        conn.batch_execute(GUESTS).expect("a type");
        conn.batch_execute("ALTER TABLE guests DROP moods")
            .expect("an enum alone");
        conn.batch_execute(&format!("INSERT INTO guests VALUES (1, '{mood}')"))
            .expect("a guest");
    }
    let moods = guests::table.select(guests::mood);
    let happy = guests::table.filter(guests::mood.eq(Mood::Happy)).count();
    for _ in 0..2 * MANY {
        assert_eq!(moods.load(&mut hotels.acme()), Ok(vec![Mood::Happy]));
        assert_eq!(moods.load(&mut hotels.globex()), Ok(vec![Mood::Sad]));
        assert_eq!(happy.get_result(&mut hotels.acme()), Ok(1));
        assert_eq!(happy.get_result(&mut hotels.globex()), Ok(0));
    }
    // Of one whom the session meets at home nobody has asked for the types yet.
    let initech = hotels.db.tenant("initech");
    hotels.db.run(&format!(
        "SET search_path TO initech; {GUESTS}; ALTER TABLE guests DROP moods; \
         INSERT INTO guests VALUES (1, 'happy')"
    ));
    for _ in 0..MANY {
        assert_eq!(happy.get_result(&mut hotels.acme()), Ok(1));
        assert_eq!(happy.get_result(&mut hotels.globex()), Ok(0));
    }
    for _ in 0..3 {
        let mut conn = hotels.db.tenancy.tenant(&initech).expect("initech");
        assert_eq!(happy.get_result(&mut conn), Ok(1));
        drop(conn);
        assert_eq!(happy.get_result(&mut hotels.globex()), Ok(0));
    }
}

/// A failure of the statement's own is its error, and it is sent once.
#[test]
fn c20_a_statement_that_fails_at_home_is_not_sent_again() {
    let hotels = quiet();
    let mut holder = hotels.db.raw();
    holder
        .batch_execute("BEGIN; LOCK TABLE acme.rooms")
        .expect("locked");
    let error = std::thread::scope(|scope| {
        let hotels = &hotels;
        let names = rooms::table.select(rooms::name).order(rooms::id);
        let reader = scope.spawn(move || names.load::<String>(&mut hotels.acme()));
        let pid = wait_for_a_lock(&hotels.db);
        hotels.db.run(&format!("SELECT pg_cancel_backend({pid})"));
        // If it were sent again it would wait for the lock.
        let mut waited = 0;
        while !reader.is_finished() && waited < 500 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            waited += 1;
        }
        holder.batch_execute("ROLLBACK").expect("rolled back");
        reader.join().expect("no panic")
    });
    let error = error.expect_err("it was cancelled").to_string();
    assert!(error.contains("cancel"), "{error}");
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
}

/// What a tenant left is gone before a session goes home, and nothing of it is there for whoever comes.
#[test]
fn c27_what_a_tenant_left_is_gone_before_a_session_goes_home() {
    let hotels = Hotels::with(SetCalls::FirstStatement);
    let mut conn = hotels.acme();
    conn.batch_execute("CREATE TEMPORARY TABLE notes (line text); LISTEN news")
        .expect("left");
    conn.batch_execute("SET application_name TO 'acme'")
        .expect("set");
    drop(conn);
    rest(&hotels);
    let mut conn = hotels.globex();
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    let left = "SELECT relname::text AS value FROM pg_class WHERE relpersistence = 't'";
    assert!(strings(&mut conn, left).is_empty());
    let hears = "SELECT pg_listening_channels() AS value";
    assert!(strings(&mut conn, hears).is_empty());
    let called = strings(
        &mut conn,
        "SELECT current_setting('application_name') AS value",
    );
    assert_ne!(called, ["acme"]);
}
