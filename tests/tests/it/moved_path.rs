//! SQL of the user's own that moves the search path, in every way that there is.

use diesel::connection::SimpleConnection as _;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::{Bool, Text};
use tenant_schemas::{SetCalls, TenantConnection};

use crate::isolation::{Hotels, MODES};
use crate::support::{Db, insert_room, name, rooms, rooms_of};

diesel::define_sql_function! {
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}

/// A statement whose type says, wrongly, that its text is always the same.
#[derive(QueryId)]
struct Spoken(&'static str);

impl QueryFragment<Pg> for Spoken {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(self.0);
        Ok(())
    }
}

impl<Conn> RunQueryDsl<Conn> for Spoken {}

type Wander = fn(&mut TenantConnection) -> QueryResult<()>;

/// Ways of the query builder's.
fn typed_moves() -> Vec<(&'static str, Wander)> {
    vec![
        ("a typed function", |conn| {
            let now: String =
                diesel::select(set_config("search_path", "globex", false)).get_result(conn)?;
            assert_eq!(now, "globex");
            Ok(())
        }),
        ("a typed function that is known already", |conn| {
            for _ in 0..2 {
                let wander = set_config("search_path", "globex", false);
                diesel::select(wander).get_result::<String>(conn)?;
                assert_eq!(rooms_of(conn), ["Blue"]);
            }
            diesel::select(set_config("search_path", "globex", false))
                .get_result::<String>(conn)
                .map(drop)
        }),
        ("a type of statements with more than one text", |conn| {
            Spoken("SELECT 1").execute(conn)?;
            Spoken("SELECT 1").execute(conn)?;
            Spoken("SET search_path TO globex").execute(conn).map(drop)
        }),
    ]
}

/// Each way to move the path that shows in the text of a statement.
fn moves() -> Vec<(&'static str, Wander)> {
    macro_rules! batch {
        ($($sql:literal),* $(,)?) => {
            vec![$(($sql, |conn: &mut TenantConnection| conn.batch_execute($sql)),)*]
        };
    }
    let mut moves: Vec<(&'static str, Wander)> = batch![
        "SET search_path TO globex",
        "SET SESSION search_path = globex",
        "set \"search_path\" to globex",
        "SET U&\"\\0073earch_path\" TO globex",
        "SET SCHEMA 'globex'",
        "SELECT set_config('search_path', 'globex', false)",
        "UPDATE pg_settings SET setting = 'globex' WHERE name = 'search_path'",
        "RESET search_path",
        "RESET ALL",
        "DISCARD ALL",
        "DISCARD TEMP",
        "DEALLOCATE ALL",
        "SELECT 1; SET search_path TO globex; SELECT 2",
        "-- harmless\n/* SELECT */ SELECT 1;\nSET\nsearch_path\nTO\nglobex;",
        "DO $$ BEGIN SET search_path TO globex; END $$",
        "DO $$ BEGIN EXECUTE 'SET sea' || 'rch_path TO globex'; END $$",
        "DO $$ BEGIN PERFORM public.wander(); END $$",
        "CALL public.stray()",
        "PREPARE q AS SELECT set_config('search_path', 'globex', false); EXECUTE q",
    ];
    moves.extend(typed_moves());
    moves.extend([
        (
            "sql_query",
            (|conn| {
                diesel::sql_query("SET search_path TO globex")
                    .execute(conn)
                    .map(drop)
            }) as Wander,
        ),
        ("sql_query with binds", |conn| {
            diesel::sql_query("SELECT set_config($1, $2, false)")
                .bind::<Text, _>("search_path")
                .bind::<Text, _>("globex")
                .execute(conn)
                .map(drop)
        }),
        ("the view of settings with binds", |conn| {
            diesel::sql_query("UPDATE pg_settings SET setting = $2 WHERE name = $1")
                .bind::<Text, _>("search_path")
                .bind::<Text, _>("globex")
                .execute(conn)
                .map(drop)
        }),
        ("a statement prepared before", |conn| {
            conn.batch_execute("PREPARE q AS SELECT set_config('search_path', 'globex', false)")?;
            assert_eq!(rooms_of(conn), ["Blue"]);
            conn.batch_execute("EXECUTE q")
        }),
        ("a borrowed connection", |conn| {
            let borrowed: &mut PgConnection = conn;
            borrowed.batch_execute("SET search_path TO globex")
        }),
        ("a borrowed connection, in a transaction", |conn| {
            let borrowed: &mut PgConnection = conn;
            borrowed.transaction(|borrowed| borrowed.batch_execute("SET search_path TO globex"))
        }),
        (
            "a borrowed connection with another instrumentation",
            |conn| {
                let borrowed: &mut PgConnection = conn;
                borrowed.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
                borrowed.batch_execute("SET search_path TO globex")
            },
        ),
        ("an instrumentation of the user's", |conn| {
            conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
            conn.batch_execute("SET search_path TO globex")
        }),
        ("a committed transaction", |conn| {
            conn.transaction(|conn| conn.batch_execute("SET search_path TO globex"))
        }),
        ("a transaction of the user's own", |conn| {
            conn.batch_execute("BEGIN; SET search_path TO globex; COMMIT")
        }),
        ("a cursor that is materialized at the commit", |conn| {
            conn.transaction(|conn| {
                conn.batch_execute(
                    "DECLARE c CURSOR WITH HOLD FOR \
                     SELECT set_config('search_path', 'globex', false)",
                )
            })
        }),
    ]);
    moves
}

/// A function and a procedure that move the path, where every tenant finds them.
fn wanderers(hotels: &Hotels) {
    hotels
        .db
        .raw()
        .batch_execute(
            "CREATE FUNCTION public.wander() RETURNS void LANGUAGE plpgsql AS \
             $$ BEGIN SET search_path TO globex; END $$; \
             CREATE PROCEDURE public.stray() LANGUAGE plpgsql AS \
             $$ BEGIN SET search_path TO globex; END $$",
        )
        .expect("the functions are made");
}

#[test]
fn c25_after_sql_that_moves_the_path_the_next_query_reads_the_right_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        wanderers(&hotels);
        for (how, wander) in moves() {
            let mut conn = hotels.acme();
            // Twice, so that the second time it is not the first of its kind.
            for _ in 0..2 {
                assert_eq!(rooms_of(&mut conn), ["Blue"]);
                wander(&mut conn).expect(how);
                assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}: {how}");
                let _ = conn.batch_execute("DEALLOCATE q; CLOSE c");
                let _ = conn.batch_execute("CLOSE ALL; DEALLOCATE ALL");
            }
            wander(&mut conn).expect(how);
            drop(conn);
            assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"], "{mode:?}: {how}");
            assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}: {how}");
        }
    }
}

#[test]
fn c25_the_control_shows_that_the_path_moves() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    let borrowed: &mut PgConnection = &mut conn;
    borrowed
        .batch_execute("SET search_path TO globex")
        .expect("set");
    let read: Vec<String> = rooms::table
        .select(rooms::name)
        .load(borrowed)
        .expect("read");
    assert_eq!(read, ["Red"]);
}

#[test]
fn c25_in_a_transaction_the_path_is_found_again_too() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    for sql in [
        "SET search_path TO globex",
        "SET LOCAL search_path TO globex",
        "SELECT set_config('search_path', 'globex', true)",
        "SET LOCAL SCHEMA 'globex'",
        "RESET search_path",
        "SAVEPOINT a; SET LOCAL search_path TO globex; RELEASE a",
        "DECLARE c CURSOR FOR SELECT set_config('search_path', 'globex', false)",
        "FETCH c",
    ] {
        conn.transaction(|conn| {
            if sql == "FETCH c" {
                conn.batch_execute(
                    "DECLARE c CURSOR FOR SELECT set_config('search_path', 'globex', false)",
                )?;
                assert_eq!(rooms_of(conn), ["Blue"], "{sql}");
            }
            conn.batch_execute(sql)?;
            assert_eq!(rooms_of(conn), ["Blue"], "{sql}");
            Ok::<_, DieselError>(())
        })
        .expect(sql);
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{sql}");
    }
}

#[test]
fn c25_a_function_whose_body_moves_the_path_does_not_reach_the_next_checkout() {
    let hotels = Hotels::new();
    wanderers(&hotels);
    let mut conn = hotels.acme();
    diesel::sql_query("SELECT public.wander()")
        .execute(&mut conn)
        .expect("called");
    // The documented limit, and the control: within the checkout it is not seen.
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
}

#[test]
fn c25_with_every_statement_a_function_whose_body_moves_the_path_does_not_reach_the_next_query() {
    let hotels = Hotels::with(SetCalls::EveryStatement);
    wanderers(&hotels);
    let mut conn = hotels.acme();
    let wander = |conn: &mut TenantConnection| {
        diesel::sql_query("SELECT public.wander()")
            .execute(conn)
            .expect("called")
    };
    wander(&mut conn);
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    conn.transaction(|conn| {
        wander(conn);
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    })
    .expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    conn.batch_execute("SELECT public.wander()")
        .expect("called");
    let borrowed: &mut PgConnection = &mut conn;
    let read: Vec<String> = rooms::table
        .select(rooms::name)
        .load(borrowed)
        .expect("read");
    assert_eq!(read, ["Blue"]);
}

#[test]
fn c25_two_connections_whose_insides_are_swapped_keep_their_tenants() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mut one = db.tenancy.tenant(&acme).expect("acme");
    let mut other = db.tenancy.tenant(&globex).expect("globex");
    insert_room(&mut one, 1, "Blue");
    insert_room(&mut other, 1, "Red");
    std::mem::swap::<PgConnection>(&mut one, &mut other);
    assert_eq!(rooms_of(&mut one), ["Blue"]);
    assert_eq!(rooms_of(&mut other), ["Red"]);
}

/// Panics when the next statement has been sent.
fn panic_next(conn: &mut TenantConnection) {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use diesel::connection::InstrumentationEvent;

    let armed = AtomicBool::new(true);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        let finished = matches!(event, InstrumentationEvent::FinishQuery { .. });
        assert!(!(finished && armed.swap(false, SeqCst)), "on purpose");
    });
}

#[test]
fn c25_an_instrumentation_that_panics_leaves_the_right_tenant() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        panic_next(&mut conn);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.with_schema(&name("globex"), |_| Ok::<_, DieselError>(()))
        }));
        assert!(unwound.is_err());
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        conn.batch_execute("SET search_path TO globex")
            .expect("set");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"], "{mode:?}");
        let mut conn = hotels.acme();
        panic_next(&mut conn);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.transaction(|_| Ok::<_, DieselError>(()))
        }));
        assert!(unwound.is_err());
        drop(conn);
        // What was begun there is not this checkout's transaction.
        insert_room(&mut hotels.acme(), 2, "Grey");
        assert_eq!(
            hotels
                .db
                .strings("SELECT name AS value FROM acme.rooms ORDER BY id"),
            ["Blue", "Grey"],
            "{mode:?}"
        );
    }
}

/// A pool of one connection to which `acme` has come back often, and `globex` has a room to be leaked.
fn at_home() -> Db {
    let db = Db::with(|builder| {
        builder
            .app(crate::support::customers())
            .app(crate::support::hotels())
            .pool_size(1)
            .set_calls(SetCalls::EveryCheckout)
    });
    for tenant in db.tenants(["acme", "globex"]) {
        for turn in 0..4 {
            let mut conn = db.tenancy.tenant(&tenant).expect("a tenant");
            if turn == 0 {
                insert_room(&mut conn, 1, tenant.schema_name.as_str());
            }
            assert_eq!(rooms_of(&mut conn), [tenant.schema_name.as_str()]);
        }
    }
    db
}

#[test]
fn a_tenant_that_stays_gets_its_path_whatever_a_function_did_to_it() {
    let db = at_home();
    let mut raw = db.raw();
    raw.batch_execute(
        "CREATE FUNCTION public.wander() RETURNS void LANGUAGE plpgsql \
         AS 'BEGIN SET search_path TO globex; END'; \
         CREATE FUNCTION public.forget() RETURNS void LANGUAGE plpgsql \
         AS 'BEGIN DEALLOCATE ALL; END'",
    )
    .expect("two functions");
    for function in ["wander", "forget", "wander", "wander", "forget", "forget"] {
        for _ in 0..2 {
            let mut conn = db.at("acme");
            assert_eq!(rooms_of(&mut conn), ["acme"], "after {function}");
        }
        let mut conn = db.at("acme");
        conn.batch_execute(&format!("SELECT {function}()"))
            .expect("called");
    }
    assert_eq!(rooms_of(&mut db.at("globex")), ["globex"]);
}

#[test]
fn a_tenant_that_stays_is_refused_once_its_schema_is_gone_and_back_when_it_is_there() {
    let db = at_home();
    let mut raw = db.raw();
    let acme = name("acme");
    for _ in 0..3 {
        for _ in 0..3 {
            assert_eq!(rooms_of(&mut db.at("acme")), ["acme"]);
        }
        raw.batch_execute("ALTER SCHEMA acme RENAME TO elsewhere")
            .expect("renamed");
        for _ in 0..2 {
            let refused = db.tenancy.schema(&acme).map(drop);
            assert!(
                matches!(refused, Err(tenant_schemas::Error::NoSuchSchema { .. })),
                "{refused:?}"
            );
        }
        raw.batch_execute("ALTER SCHEMA elsewhere RENAME TO acme")
            .expect("renamed back");
    }
}
