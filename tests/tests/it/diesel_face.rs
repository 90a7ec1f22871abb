//! A tenant's connection is a Diesel connection in every way, and without a tenant it refuses every one.

use std::io::BufRead as _;
use std::sync::{Arc, Mutex};

use diesel::connection::{
    Connection, DefaultLoadingMode, InstrumentationEvent, LoadConnection, SimpleConnection as _,
};
use diesel::pg::{CopyFormat, Pg, PgConnection, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection as _;
use diesel::result::Error as DieselError;
use diesel_migrations::MigrationHarness as _;
use tenant_schemas::{Error, TenantConnection};

use crate::isolation::{Hotels, MODES};
use crate::support::{Db, Room, SqlMigrations, insert_room, name, room, rooms, rooms_of, strings};

#[test]
fn ordinary_statements_run_unchanged() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    let inserted: Room = diesel::insert_into(rooms::table)
        .values([room(2, "Grey"), room(3, "Pink")])
        .on_conflict(rooms::id)
        .do_nothing()
        .get_results(&mut conn)
        .expect("inserted")
        .remove(0);
    assert_eq!(inserted, room(2, "Grey"));
    let updated = diesel::update(rooms::table.find(3))
        .set(rooms::name.eq("Rose"))
        .execute(&mut conn)
        .expect("updated");
    assert_eq!(updated, 1);
    let saved: Room = room(2, "Silver").save_changes(&mut conn).expect("saved");
    assert_eq!(saved, room(2, "Silver"));
    let saved: Room = room(3, "Ruby")
        .save_changes::<Room>(&mut *conn)
        .expect("saved through the connection itself");
    assert_eq!(saved.name, "Ruby");
    let found: Vec<Room> = diesel::sql_query("SELECT id, name FROM rooms WHERE id = $1")
        .bind::<diesel::sql_types::Integer, _>(2)
        .load::<ByName>(&mut conn)
        .expect("loaded")
        .into_iter()
        .map(|row| room(row.id, &row.name))
        .collect();
    assert_eq!(found, [room(2, "Silver")]);
    let missing = rooms::table.find(99).first::<Room>(&mut conn).optional();
    assert_eq!(missing, Ok(None));
    assert_eq!(
        diesel::delete(rooms::table.find(2)).execute(&mut conn),
        Ok(1)
    );
    let lazily: Vec<Room> = rooms::table
        .order(rooms::id)
        .load_iter::<Room, DefaultLoadingMode>(&mut conn)
        .expect("loaded")
        .collect::<Result<_, _>>()
        .expect("read");
    let row_by_row: Vec<Room> = rooms::table
        .order(rooms::id)
        .load_iter::<Room, PgRowByRowLoadingMode>(&mut conn)
        .expect("loaded")
        .collect::<Result<_, _>>()
        .expect("read");
    assert_eq!(lazily, [room(1, "Blue"), room(3, "Ruby")]);
    assert_eq!(row_by_row, lazily);
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
}

#[derive(AsChangeset)]
#[diesel(table_name = rooms)]
struct Changes {
    name: Option<&'static str>,
}

#[test]
fn a_statement_that_can_not_be_written_is_refused_and_nothing_else() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let nothing = |conn: &mut TenantConnection| {
            let update = diesel::update(rooms::table).set(Changes { name: None });
            let refused = update.execute(conn);
            assert!(
                matches!(refused, Err(DieselError::QueryBuilderError(_))),
                "{mode:?}: {refused:?}"
            );
        };
        let mut conn = hotels.acme();
        nothing(&mut conn);
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        let inside = conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            nothing(conn);
            let renamed = Changes { name: Some("Pink") };
            diesel::update(rooms::table.find(2))
                .set(renamed)
                .execute(conn)
        });
        assert_eq!(inside, Ok(1), "{mode:?}");
        assert_eq!(rooms_of(&mut conn), ["Blue", "Pink"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

/// As `COPY` takes it: every column is there.
#[derive(Insertable)]
#[diesel(table_name = rooms, treat_none_as_default_value = false)]
struct Copied {
    id: i32,
    name: &'static str,
}

fn copied(id: i32, name: &'static str) -> Copied {
    Copied { id, name }
}

#[derive(QueryableByName)]
#[diesel(table_name = rooms)]
struct ByName {
    id: i32,
    name: String,
}

#[test]
fn copy_writes_into_the_tenant_and_reads_from_it() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    let rooms = [copied(2, "Grey"), copied(3, "Pink")];
    let count = diesel::copy_from(rooms::table)
        .from_insertable(&rooms[..])
        .execute(&mut conn);
    assert_eq!(count, Ok(2));
    let conn: &mut TenantConnection = &mut conn;
    let count = diesel::copy_from(rooms::table)
        .from_raw_data(rooms::table, |copy| {
            copy.write_all(b"4,Gold\n")
                .map_err(|error| DieselError::SerializationError(error.into()))
        })
        .with_format(CopyFormat::Csv)
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(rooms_of(conn), ["Blue", "Grey", "Pink", "Gold"]);
    let borrowed: &mut PgConnection = conn;
    let read: Vec<Room> = diesel::copy_to(rooms::table)
        .load(borrowed)
        .expect("copied")
        .collect::<Result<_, _>>()
        .expect("read");
    assert_eq!(read.len(), 4);
    let lines = conn
        .with_schema(&name("globex"), |conn| {
            let borrowed: &mut PgConnection = conn;
            let lines: Vec<String> = diesel::copy_to(rooms::table)
                .with_format(CopyFormat::Csv)
                .load_raw(borrowed)?
                .lines()
                .collect::<Result<_, _>>()
                .expect("read");
            Ok::<_, DieselError>(lines)
        })
        .expect("copied");
    assert_eq!(lines, ["1,Red"]);
    // Where the session is elsewhere, the copy goes to the tenant all the same.
    let count = diesel::copy_from(rooms::table)
        .from_insertable([copied(5, "Lime")])
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        hotels.db.strings("SELECT name AS value FROM globex.rooms"),
        ["Red"]
    );
}

#[test]
fn the_migration_harness_works_inside_the_tenant() {
    let hotels = Hotels::new();
    let migrations = || {
        SqlMigrations::new(&[(
            "2024-05-01-000000_bars",
            "CREATE TABLE bars (id integer PRIMARY KEY)",
            "DROP TABLE bars",
        )])
    };
    // Diesel's own table in `public` must not be taken for the tenant's.
    let mut public = hotels.db.raw();
    public
        .run_pending_migrations(migrations())
        .expect("in public");
    let mut conn = hotels.acme();
    let ran = conn
        .run_pending_migrations(migrations())
        .expect("in the tenant");
    assert_eq!(ran.len(), 1);
    assert_eq!(
        hotels.db.tables("acme"),
        [
            "__diesel_schema_migrations",
            "__tenant_migrations",
            "bars",
            "rooms"
        ]
    );
    assert_eq!(hotels.db.tables("globex"), ["__tenant_migrations", "rooms"]);
    assert!(!conn.has_pending_migration(migrations()).expect("asked"));
    conn.revert_last_migration(migrations()).expect("reverted");
    assert!(!hotels.db.tables("acme").contains(&"bars".to_owned()));
    assert!(hotels.db.tables("public").contains(&"bars".to_owned()));
}

fn by_postgres(conn: &mut PgConnection) -> Vec<String> {
    rooms::table.select(rooms::name).load(conn).expect("read")
}

fn by_tenant(conn: &mut TenantConnection) -> Vec<String> {
    rooms::table.select(rooms::name).load(conn).expect("read")
}

fn by_any<C>(conn: &mut C) -> Vec<String>
where
    C: Connection<Backend = Pg> + LoadConnection,
{
    conn.transaction(|conn| rooms::table.select(rooms::name).load(conn))
        .expect("read")
}

#[test]
fn a_connection_can_be_passed_to_whatever_takes_one() {
    let hotels = Hotels::new();
    let mut pooled = hotels.acme();
    assert_eq!(by_postgres(&mut pooled), ["Blue"]);
    assert_eq!(by_tenant(&mut pooled), ["Blue"]);
    assert_eq!(by_any(&mut pooled), ["Blue"]);
    let conn: &mut TenantConnection = &mut pooled;
    assert_eq!(by_postgres(conn), ["Blue"]);
    assert_eq!(by_any(conn), ["Blue"]);
    conn.with_schema(&name("globex"), |conn| {
        assert_eq!(by_postgres(conn), ["Red"]);
        assert_eq!(by_any(conn), ["Red"]);
        Ok::<_, DieselError>(())
    })
    .expect("lent");
    assert_eq!(by_postgres(conn), ["Blue"]);
    conn.transaction(|conn| {
        assert_eq!(by_postgres(conn), ["Blue"]);
        assert_eq!(by_any(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    })
    .expect("committed");
}

#[test]
fn an_instrumentation_of_the_users_sees_their_statements_until_the_connection_goes_back() {
    let hotels = Hotels::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut conn = hotels.acme();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => {
            let text = query.to_string();
            // Which number a tenant has on a connection is the connection's affair.
            let words = text
                .split_whitespace()
                .filter(|word| !word.starts_with("/*"));
            log.lock()
                .expect("not poisoned")
                .push(words.collect::<Vec<_>>().join(" "));
        }
        InstrumentationEvent::BeginTransaction { depth, .. } => {
            log.lock()
                .expect("not poisoned")
                .push(format!("depth {depth}"));
        }
        _ => {}
    });
    conn.transaction(|conn| {
        diesel::delete(rooms::table.find(7)).execute(conn)?;
        conn.batch_execute("SELECT 1")
    })
    .expect("committed");
    assert_eq!(
        *seen.lock().expect("not poisoned"),
        [
            "depth 1",
            "BEGIN",
            "DELETE FROM \"rooms\" WHERE (\"rooms\".\"id\" = $1) -- binds: [7]",
            "SELECT 1",
            "COMMIT"
        ]
    );
    // Whoever asks for it gets the user's own.
    conn.instrumentation()
        .on_connection_event(InstrumentationEvent::start_query(
            &diesel::connection::StrQueryHelper::new("mine"),
        ));
    assert_eq!(
        seen.lock()
            .expect("not poisoned")
            .last()
            .map(String::as_str),
        Some("mine")
    );
    drop(conn);
    let before = seen.lock().expect("not poisoned").len();
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert_eq!(seen.lock().expect("not poisoned").len(), before);
}

/// Each way to send a statement.
type Way = (
    &'static str,
    fn(&mut TenantConnection) -> Result<(), DieselError>,
);

const WAYS: [Way; 14] = [
    ("batch_execute", |conn| conn.batch_execute("SELECT 1")),
    ("execute", |conn| {
        diesel::delete(rooms::table).execute(conn).map(drop)
    }),
    ("load", |conn| rooms::table.load::<Room>(conn).map(drop)),
    ("load_iter", |conn| {
        rooms::table
            .load_iter::<Room, DefaultLoadingMode>(conn)
            .map(drop)
    }),
    ("load_iter row by row", |conn| {
        rooms::table
            .load_iter::<Room, PgRowByRowLoadingMode>(conn)
            .map(drop)
    }),
    ("sql_query", |conn| {
        diesel::sql_query("SELECT 1").execute(conn).map(drop)
    }),
    ("save_changes", |conn| {
        room(1, "x").save_changes::<Room>(conn).map(drop)
    }),
    ("transaction", |conn| conn.transaction(|_| Ok(()))),
    ("build_transaction", |conn| {
        conn.build_transaction().run(|_| Ok(()))
    }),
    ("begin_test_transaction", Connection::begin_test_transaction),
    ("copy_from", |conn| {
        diesel::copy_from(rooms::table)
            .from_insertable([copied(9, "x")])
            .execute(conn)
            .map(drop)
    }),
    ("migrations", |conn| {
        conn.run_pending_migrations(SqlMigrations::default())
            .map(drop)
            .map_err(|error| *error.downcast::<DieselError>().expect("Diesel's error"))
    }),
    ("through a generic function", |conn| {
        fn any<C: Connection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
            conn.batch_execute("SELECT 1")
        }
        any(conn)
    }),
    ("select", |conn| {
        diesel::select(diesel::dsl::now)
            .get_result::<std::time::SystemTime>(conn)
            .map(drop)
    }),
];

#[track_caller]
fn refuses_everything(conn: &mut TenantConnection) {
    assert_eq!(conn.schema_name(), None);
    for (how, send) in WAYS {
        let error = send(conn).expect_err(how);
        let DieselError::QueryBuilderError(inner) = &error else {
            panic!("{how}: {error:?}");
        };
        assert!(
            matches!(inner.downcast_ref::<Error>(), Some(Error::NoScope)),
            "{how}: {error}"
        );
        assert_eq!(
            error.to_string(),
            "this connection has no tenant: take it from `Tenancy::tenant`, `schema` or `public`, \
             or choose one with `set_tenant`, `set_schema` or `set_public`"
        );
    }
    // What is borrowed finds nothing that is not named with its schema.
    let borrowed: &mut PgConnection = conn;
    let error = rooms::table
        .load::<Room>(borrowed)
        .expect_err("there is no path");
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[test]
fn a_connection_without_a_scope_refuses_everything() {
    let hotels = Hotels::new();
    let pool = hotels.db.tenancy.pool();
    // Also after it came back from a tenant, and after a scope that was lent.
    drop(hotels.acme());
    let mut conn = pool.get().expect("a connection");
    refuses_everything(&mut conn);
    conn.with_schema(&name("acme"), |conn| {
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    })
    .expect("lent");
    refuses_everything(&mut conn);
    conn.set_tenant(&hotels.globex).expect("globex");
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    conn.is_broken();
    refuses_everything(&mut conn);
}

#[test]
fn a_connection_that_is_not_of_a_pool_works_too() {
    let db = Db::new();
    db.tenant("acme");
    let mut conn = TenantConnection::establish(&db.database.url()).expect("a connection");
    refuses_everything(&mut conn);
    conn.set_schema(&name("acme")).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(
        strings(&mut conn, "SELECT current_schema()::text AS value"),
        ["acme"]
    );
}
