//! What PostgreSQL and Diesel remember of a statement does not outlive the schema that it was made in.

use std::io::Write as _;

use diesel::connection::SimpleConnection as _;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgConnection, PgValue};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use tenant_schemas::{Lifecycle as _, SaveOptions, SetCalls, TenantConnection};

use crate::isolation::{Hotels, MODES};
use crate::support::{
    Client, Db, client, customers, hotels, insert_room, name, plans, room, rooms, rooms_of, strings,
};

/// An enum type that each tenant has for itself.
#[derive(Debug, Clone, Copy, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "mood"))]
pub struct MoodType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = MoodType)]
pub(crate) enum Mood {
    Happy,
    Sad,
}

impl ToSql<MoodType, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let text: &[u8] = match self {
            Self::Happy => b"happy",
            Self::Sad => b"sad",
        };
        out.write_all(text)?;
        Ok(IsNull::No)
    }
}

impl FromSql<MoodType, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"happy" => Ok(Self::Happy),
            b"sad" => Ok(Self::Sad),
            other => Err(format!("no mood: {other:?}").into()),
        }
    }
}

diesel::table! {
    use diesel::sql_types::{Array, Integer};
    use super::MoodType;

    guests (id) {
        id -> Integer,
        mood -> MoodType,
        moods -> Array<MoodType>,
    }
}

pub(crate) const GUESTS: &str = "CREATE TYPE mood AS ENUM ('happy', 'sad'); \
     CREATE TABLE guests (id integer PRIMARY KEY, mood mood NOT NULL, moods mood[] NOT NULL)";

/// Uses the type as value, as parameter and in an array.
pub(crate) fn use_moods<C>(conn: &mut C, id: i32, mood: Mood) -> QueryResult<()>
where
    C: diesel::connection::LoadConnection<Backend = Pg>,
    Pg: diesel::sql_types::HasSqlType<MoodType>,
{
    let other = if mood == Mood::Happy {
        Mood::Sad
    } else {
        Mood::Happy
    };
    diesel::insert_into(guests::table)
        .values((
            guests::id.eq(id),
            guests::mood.eq(mood),
            guests::moods.eq(vec![mood, other]),
        ))
        .execute(conn)?;
    let found: Vec<(i32, Mood, Vec<Mood>)> = guests::table
        .filter(guests::mood.eq(mood))
        .filter(guests::moods.contains(vec![other]))
        .filter(guests::mood.eq_any([mood, mood]))
        .filter(guests::id.eq(id))
        .load(conn)?;
    assert_eq!(found, [(id, mood, vec![mood, other])]);
    Ok(())
}

/// The same statements, by a connection that knows nothing of tenancy.
fn plain(hotels: &Hotels, mut f: impl FnMut(&mut PgConnection) -> QueryResult<()>) -> DieselError {
    let mut conn = hotels.db.raw();
    conn.batch_execute("SET search_path TO acme, public")
        .expect("set");
    f(&mut conn).expect("the first tenant");
    conn.batch_execute("SET search_path TO globex, public")
        .expect("set");
    f(&mut conn).expect_err("the second tenant, control")
}

#[test]
fn c28_prepared_statements_across_tenants_whose_column_types_differ_give_right_rows() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        hotels
            .db
            .raw()
            .batch_execute(
                "ALTER TABLE globex.rooms ALTER COLUMN name TYPE varchar(40); \
                 ALTER TABLE globex.rooms ADD COLUMN floor integer",
            )
            .expect("altered");
        let mut id = 100;
        let error = plain(&hotels, |conn| {
            id += 1;
            diesel::insert_into(rooms::table)
                .values(room(id, "Plain"))
                .execute(conn)?;
            rooms::table.find(id).load::<(i32, String)>(conn).map(drop)
        });
        assert!(
            error.to_string().contains("cached plan must not change"),
            "{error}"
        );
        diesel::delete(rooms::table.filter(rooms::id.gt(100)))
            .execute(&mut hotels.acme())
            .expect("deleted");
        let find = |conn: &mut TenantConnection| {
            rooms::table
                .find(1)
                .get_result::<(i32, String)>(conn)
                .expect("found")
                .1
        };
        for _ in 0..3 {
            assert_eq!(find(&mut hotels.acme()), "Blue", "{mode:?}");
            assert_eq!(find(&mut hotels.globex()), "Red", "{mode:?}");
        }
        let mut conn = hotels.acme();
        conn.transaction(|conn| {
            for _ in 0..3 {
                assert_eq!(find(conn), "Blue", "{mode:?}");
                let found =
                    conn.with_schema(&name("globex"), |conn| Ok::<_, DieselError>(find(conn)))?;
                assert_eq!(found, "Red", "{mode:?}");
            }
            Ok::<_, DieselError>(())
        })
        .expect("committed");
    }
}

#[test]
fn c28_an_enum_type_of_each_tenants_own_works_as_value_parameter_and_array() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        hotels.acme().batch_execute(GUESTS).expect("acme's type");
        // Other oids, and another order of labels.
        hotels
            .globex()
            .batch_execute(&GUESTS.replace("'happy', 'sad'", "'sad', 'happy'"))
            .expect("globex' type");
        let error = plain(&hotels, |conn| use_moods(conn, 99, Mood::Sad));
        assert!(error.to_string().contains("mood"), "{error}");
        for id in 0..3 {
            use_moods(&mut hotels.acme(), id, Mood::Happy).expect("acme");
            use_moods(&mut hotels.globex(), id, Mood::Sad).expect("globex");
            let mut conn = hotels.acme();
            conn.transaction(|conn| {
                use_moods(conn, 10 + id, Mood::Sad)?;
                conn.with_schema(&name("globex"), |conn| {
                    use_moods(conn, 10 + id, Mood::Happy)
                })?;
                use_moods(conn, 20 + id, Mood::Happy)
            })
            .expect("in a transaction");
        }
        let moods: Vec<Mood> = guests::table
            .select(guests::mood)
            .filter(guests::id.lt(10))
            .load(&mut hotels.globex())
            .expect("loaded");
        assert_eq!(moods, [Mood::Sad; 3], "{mode:?}");
    }
}

/// A tenant whose table is in `public` only, until it is migrated.
fn unmigrated(set_calls: SetCalls) -> (Db, Client) {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(set_calls));
    let mut acme = client("acme");
    acme.save_with(
        &mut db.tenancy.public().expect("public"),
        SaveOptions::new().auto_create_schema(false),
    )
    .expect("saved");
    db.raw()
        .batch_execute(
            "CREATE SCHEMA acme; \
             CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
             INSERT INTO public.rooms VALUES (1, 'Everybody''s'); \
             CREATE FUNCTION public.names() RETURNS SETOF text LANGUAGE plpgsql AS \
             $$ BEGIN RETURN QUERY SELECT name FROM rooms; END $$",
        )
        .expect("public rooms");
    (db, acme)
}

#[track_caller]
fn migrate(db: &Db) {
    db.tenancy
        .migrate()
        .tenants()
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("migrated");
    db.raw()
        .batch_execute("INSERT INTO acme.rooms VALUES (1, 'Blue')")
        .expect("a room of its own");
}

#[test]
fn c28_a_plan_that_is_stuck_on_public_is_made_anew_after_a_migration() {
    let (db, _) = unmigrated(SetCalls::default());
    // The control: PostgreSQL itself goes on reading `public`.
    let mut plain = db.raw();
    plain
        .batch_execute("SET search_path TO acme, public")
        .expect("set");
    let read = |conn: &mut PgConnection| {
        rooms::table
            .select(rooms::name)
            .load::<String>(conn)
            .expect("read")
    };
    assert_eq!(read(&mut plain), ["Everybody's"]);
    db.raw()
        .batch_execute("CREATE TABLE acme.rooms (id integer PRIMARY KEY, name text NOT NULL)")
        .expect("created");
    assert_eq!(read(&mut plain), ["Everybody's"]);
    for mode in MODES {
        for checked_out in [false, true] {
            let (db, acme) = unmigrated(mode);
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            let names = "SELECT names() AS value";
            for _ in 0..2 {
                assert_eq!(rooms_of(&mut conn), ["Everybody's"], "{mode:?}");
                assert_eq!(strings(&mut conn, names), ["Everybody's"], "{mode:?}");
            }
            if checked_out {
                migrate(&db);
            } else {
                drop(conn);
                migrate(&db);
                conn = db.tenancy.tenant(&acme).expect("acme");
            }
            assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
            assert_eq!(strings(&mut conn, names), ["Blue"], "{mode:?}");
        }
    }
}

#[test]
fn c28_a_plan_that_is_stuck_on_public_is_made_anew_after_another_process_migrated() {
    for mode in MODES {
        for visits in [false, true] {
            let (db, acme) = unmigrated(mode);
            let other = db.again(|builder| builder.app(customers()).app(hotels()));
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            assert_eq!(rooms_of(&mut conn), ["Everybody's"], "{mode:?}");
            let migrated = other.migrate().tenants().run();
            migrated
                .and_then(tenant_schemas::Report::into_result)
                .expect("migrated");
            if visits {
                conn.set_public().expect("public");
                conn.set_tenant(&acme).expect("acme");
            }
            assert_eq!(rooms_of(&mut conn), [""; 0], "{mode:?}");
        }
    }
}

#[test]
fn c28_a_column_that_another_process_changed_costs_one_failure_at_most() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for id in 1..=3 {
            for tenant in [&hotels.acme, &hotels.globex] {
                let mut conn = hotels.db.tenancy.tenant(tenant).expect("a connection");
                insert_room(&mut conn, 200 + id, "Blue");
                rooms_of(&mut conn);
            }
        }
        let before = rooms_of(&mut hotels.acme());
        hotels
            .db
            .raw()
            .batch_execute("ALTER TABLE acme.rooms ALTER COLUMN name TYPE varchar(40)")
            .expect("altered");
        let read = |conn: &mut TenantConnection| {
            rooms::table
                .select(rooms::name)
                .order(rooms::id)
                .load::<String>(conn)
        };
        let first = read(&mut hotels.acme());
        if let Err(error) = first {
            let words = error.to_string();
            assert_eq!(words, "cached plan must not change result type", "{mode:?}");
        }
        assert_eq!(read(&mut hotels.acme()).as_ref(), Ok(&before), "{mode:?}");
    }
}

#[test]
fn c28_a_plan_inside_a_function_is_made_anew_also_after_a_visit_to_another_tenant() {
    let (db, acme) = unmigrated(SetCalls::default());
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let names = "SELECT names() AS value";
    assert_eq!(strings(&mut conn, names), ["Everybody's"]);
    migrate(&db);
    conn.set_public().expect("public");
    conn.set_tenant(&acme).expect("acme");
    assert_eq!(strings(&mut conn, names), ["Blue"]);
}

#[test]
fn c28_a_plan_that_is_stuck_on_public_is_made_anew_in_a_transaction_that_is_open() {
    let (db, acme) = unmigrated(SetCalls::default());
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(rooms_of(&mut conn), ["Everybody's"]);
    conn.transaction(|conn| {
        migrate(&db);
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    })
    .expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c28_a_column_that_a_migration_changed_is_read_by_connections_that_knew_it() {
    let db = Db::with(|builder| {
        builder.app(customers()).app(crate::support::sql_app(
            "hotels",
            tenant_schemas::AppScope::Tenant,
            &[
                (
                    "2024-02-01-000000_rooms",
                    "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);",
                    "DROP TABLE rooms;",
                ),
                (
                    "2024-03-01-000000_names",
                    "ALTER TABLE rooms ALTER COLUMN name TYPE varchar(40)",
                    "ALTER TABLE rooms ALTER COLUMN name TYPE text",
                ),
            ],
        ))
    });
    let acme = db.tenant("acme");
    db.tenancy
        .migrate()
        .app("hotels")
        .to("20240201000000")
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("reverted");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    db.tenancy
        .migrate()
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("migrated");
    assert_eq!(
        db.strings("SELECT data_type::text AS value FROM information_schema.columns WHERE table_schema = 'acme' AND table_name = 'rooms' AND column_name = 'name'"),
        ["character varying"],
        "control"
    );
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c28_a_statement_cache_that_is_switched_off_stays_off() {
    let hotels = Hotels::new();
    let prepared = "SELECT count(*)::text AS value FROM pg_prepared_statements";
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_ne!(strings(&mut conn, prepared), ["0"], "control");
    conn.set_prepared_statement_cache_size(diesel::connection::CacheSize::Disabled);
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(strings(&mut conn, prepared), ["0"]);
    conn.set_tenant(&hotels.globex).expect("globex");
    for _ in 0..2 {
        assert_eq!(rooms_of(&mut conn), ["Red"]);
        assert_eq!(strings(&mut conn, prepared), ["0"]);
    }
    conn.set_prepared_statement_cache_size(diesel::connection::CacheSize::Unbounded);
    conn.with_schema(&name("acme"), |conn| {
        assert_eq!(rooms_of(conn), ["Blue"]);
        assert_eq!(strings(conn, prepared), ["1"]);
        Ok::<_, DieselError>(())
    })
    .expect("lent");
    assert_eq!(rooms_of(&mut conn), ["Red"]);
}

#[test]
fn c28_statements_of_a_borrower_do_not_outlive_the_tenant() {
    let hotels = Hotels::new();
    hotels
        .db
        .raw()
        .batch_execute("ALTER TABLE globex.rooms ALTER COLUMN name TYPE varchar(40)")
        .expect("altered");
    // It takes Diesel's own connection, which knows nothing of tenants.
    let borrowed = |conn: &mut PgConnection| rooms::table.select(rooms::name).load::<String>(conn);
    plain(&hotels, |conn| borrowed(conn).map(drop));
    for _ in 0..2 {
        assert_eq!(borrowed(&mut hotels.acme()), Ok(vec!["Blue".to_owned()]));
        assert_eq!(borrowed(&mut hotels.globex()), Ok(vec!["Red".to_owned()]));
    }
}

#[test]
fn c28_statements_are_prepared_once_for_each_tenant() {
    let hotels = Hotels::new();
    let prepared = "SELECT count(*)::text AS value FROM pg_prepared_statements";
    let mut counts = Vec::new();
    for _ in 0..3 {
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        counts.extend(strings(&mut hotels.globex(), prepared));
    }
    assert_eq!(counts[1], counts[2]);
}

#[test]
fn c28_statements_are_prepared_once_for_the_same_tenant() {
    let hotels = Hotels::new();
    let prepared = "SELECT string_agg(name, ' ') AS value FROM pg_prepared_statements";
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    let before = strings(&mut conn, prepared);
    drop(conn);
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(strings(&mut conn, prepared), before);
}

#[test]
fn c28_types_that_another_process_made_anew_cost_one_failure_at_most() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        hotels.acme().batch_execute(GUESTS).expect("acme's type");
        use_moods(&mut hotels.acme(), 1, Mood::Happy).expect("the first type");
        hotels
            .db
            .raw()
            .batch_execute(&format!(
                "SET search_path TO acme; DROP TABLE guests; DROP TYPE mood; {GUESTS}"
            ))
            .expect("made anew");
        let mut conn = hotels.acme();
        use_moods(&mut conn, 2, Mood::Happy).expect_err("the first type is gone, control");
        use_moods(&mut conn, 2, Mood::Happy).expect("the second type");
        drop(conn);
        use_moods(&mut hotels.acme(), 3, Mood::Sad).expect("the second type");
    }
}

#[test]
fn c28_statements_of_many_tenants_do_not_pile_up_on_a_connection() {
    let hotels = Hotels::new();
    let mut raw = hotels.db.raw();
    for number in 0..300 {
        raw.batch_execute(&format!("CREATE SCHEMA many{number}"))
            .expect("created");
    }
    let prepared = "SELECT count(*)::text AS value FROM pg_prepared_statements";
    let mut conn = hotels.acme();
    let mut most = 0;
    for number in 0..300 {
        conn.with_schema(&name(&format!("many{number}")), |conn| {
            let free: Vec<String> = plans::table.select(plans::name).load(conn)?;
            assert_eq!(free, ["free", "team"]);
            let count: usize = strings(conn, prepared)[0].parse().expect("a number");
            most = most.max(count);
            Ok::<_, DieselError>(())
        })
        .expect("lent");
    }
    assert!((200..=260).contains(&most), "{most}");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c28_a_plan_that_is_stuck_on_an_extra_schema_or_a_function_is_made_anew_too() {
    let rooms = || {
        crate::support::sql_app(
            "hotels",
            tenant_schemas::AppScope::Tenant,
            &[(
                "2024-02-01-000000_rooms",
                "CREATE TABLE rooms (id integer, name text NOT NULL DEFAULT 'own'); \
                 INSERT INTO rooms VALUES (1);",
                "DROP TABLE rooms;",
            )],
        )
    };
    let star_app = || {
        crate::support::sql_app(
            "stars",
            tenant_schemas::AppScope::Tenant,
            &[(
                "2024-02-01-000000_stars",
                "CREATE FUNCTION stars() RETURNS text LANGUAGE sql AS $$ SELECT 'own' $$;",
                "DROP FUNCTION stars;",
            )],
        )
    };
    diesel::define_sql_function! {
        fn stars() -> diesel::sql_types::Text;
    }
    let shared = "CREATE SCHEMA acme; CREATE SCHEMA ext; \
         CREATE TABLE ext.rooms (id integer, name text NOT NULL); \
         INSERT INTO ext.rooms VALUES (1, 'shared'); \
         CREATE FUNCTION public.stars() RETURNS text LANGUAGE sql AS $$ SELECT 'shared' $$";
    for has_rooms in [true, false] {
        let build = |builder: tenant_schemas::TenancyBuilder<Client>| {
            builder
                .app(customers())
                .app(if has_rooms { rooms() } else { star_app() })
                .extra_search_path(["ext"])
        };
        let db = Db::with(build);
        let other = db.again(build);
        let mut acme = client("acme");
        let options = SaveOptions::new().auto_create_schema(false);
        acme.save_with(&mut db.tenancy.public().expect("public"), options)
            .expect("saved");
        db.raw().batch_execute(shared).expect("shared");
        let read = |conn: &mut TenantConnection| {
            let stars: String = diesel::select(stars())
                .get_result(conn)
                .expect("a function");
            [rooms_of(conn)[0].clone(), stars]
        };
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        assert_eq!(read(&mut conn), ["shared", "shared"]);
        other
            .migrate()
            .tenants()
            .run()
            .and_then(tenant_schemas::Report::into_result)
            .expect("migrated");
        let expected = if has_rooms {
            ["own", "shared"]
        } else {
            ["shared", "own"]
        };
        assert_eq!(read(&mut conn), expected);
    }
}

#[test]
fn c28_a_migration_that_shadows_a_table_waits_for_no_other() {
    let (db, _) = unmigrated(SetCalls::default());
    let other = db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .on_connect(|conn| conn.batch_execute("SET lock_timeout TO '2s'"))
    });
    let mut conn = db.tenancy.public().expect("public");
    conn.transaction(|conn| {
        client("globex").save(conn)?;
        client("initech").save(&mut *other.public()?)
    })
    .expect("neither waits");
}

#[test]
fn c28_a_database_that_lets_no_schema_be_dropped_is_migrated_all_the_same() {
    let (db, _) = unmigrated(SetCalls::default());
    let mut raw = db.raw();
    raw.batch_execute(
        "CREATE FUNCTION public.guard() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no schema is dropped here'; END $$; \
         CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('DROP SCHEMA') \
         EXECUTE FUNCTION public.guard()",
    )
    .expect("guarded");
    raw.batch_execute("DROP SCHEMA acme")
        .expect_err("guarded, control");
    migrate(&db);
    let leftovers = "SELECT nspname::text AS value FROM pg_namespace WHERE nspname ~ 'replan'";
    assert_eq!(db.strings(leftovers), [""; 0]);
}
