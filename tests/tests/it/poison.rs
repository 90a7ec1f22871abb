//! Connections to which something happened: none hands a wrong path, or what a
//! tenant left in the session, to the next user of the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::pg::{PgConnection, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{Error, SetCalls, TenantConnection, TenantTransactionManager};

use crate::isolation::{Hotels, MODES};
use crate::support::{Db, Room, customers, hotels, insert_room, name, rooms, rooms_of, strings};

fn backend(conn: &mut TenantConnection) -> String {
    strings(conn, "SELECT pg_backend_pid()::text AS value").remove(0)
}

/// Ends the session of a backend, and waits until it is gone.
#[track_caller]
fn kill(db: &Db, backend: &str) {
    let gone = db.strings(&format!(
        "SELECT pg_terminate_backend({backend}, 10000)::text AS value"
    ));
    assert_eq!(gone, ["true"]);
}

/// Whether two checkouts in a row, for these tenants, get the same backend.
fn is_kept(hotels: &Hotels, between: impl FnOnce(&mut TenantConnection)) -> bool {
    let mut conn = hotels.acme();
    let before = backend(&mut conn);
    between(&mut conn);
    drop(conn);
    let mut conn = hotels.globex();
    assert_eq!(rooms_of(&mut conn), ["Red"]);
    let after = backend(&mut conn);
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
    before == after
}

#[test]
fn c26_a_row_iterator_keeps_its_tenant() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    for id in 2..100 {
        insert_room(&mut conn, id, "Blue");
    }
    let whole = rooms::table
        .load_iter::<Room, diesel::connection::DefaultLoadingMode>(&mut conn)
        .expect("loaded");
    // Loaded already: what happens to the connection meanwhile does not matter.
    assert!(
        whole
            .map(|room| room.expect("a room").name)
            .all(|name| name == "Blue")
    );
    let mut rows = 0;
    for room in rooms::table
        .load_iter::<Room, PgRowByRowLoadingMode>(&mut conn)
        .expect("loaded")
    {
        assert_eq!(room.expect("a room").name, "Blue");
        rows += 1;
    }
    assert_eq!(rows, 99);
    conn.with_schema(&name("globex"), |conn| {
        let row_by_row: Vec<Room> = rooms::table
            .load_iter::<Room, PgRowByRowLoadingMode>(conn)?
            .collect::<Result<_, _>>()?;
        assert_eq!(row_by_row.len(), 1);
        assert_eq!(row_by_row[0].name, "Red");
        Ok::<_, DieselError>(())
    })
    .expect("lent");
}

#[test]
fn c26_a_row_iterator_that_is_dropped_half_way_leaves_the_connection_to_the_next_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        for id in 2..5000 {
            if id % 500 == 0 {
                insert_room(&mut conn, id, "Blue");
            }
        }
        let mut rows = rooms::table
            .load_iter::<Room, PgRowByRowLoadingMode>(&mut conn)
            .expect("loaded");
        assert!(rows.next().is_some());
        drop(rows);
        assert!(rooms_of(&mut conn).iter().all(|name| name == "Blue"));
        let mut rows = rooms::table
            .load_iter::<Room, PgRowByRowLoadingMode>(&mut conn)
            .expect("loaded");
        assert!(rows.next().is_some());
        // Never dropped: its rows are still on their way when the next tenant comes.
        std::mem::forget(rows);
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c26_a_copy_that_is_dropped_half_way_leaves_the_connection_to_the_next_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        for id in 2..10 {
            insert_room(&mut conn, id, "Blue");
        }
        let borrowed: &mut PgConnection = &mut conn;
        let mut rows = diesel::copy_to(rooms::table)
            .load::<Room, _>(borrowed)
            .expect("copied");
        assert_eq!(rows.next().expect("a row").expect("a room").name, "Blue");
        drop(rows);
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c27_a_panic_in_a_closure_never_hands_a_wrong_path_on() {
    let hotels = Hotels::new();
    let kept = is_kept(&hotels, |conn| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.with_schema(&name("globex"), |conn| -> Result<(), Error> {
                assert_eq!(rooms_of(conn), ["Red"]);
                panic!("on purpose")
            })
        }));
        assert!(unwound.is_err());
    });
    assert!(kept, "nothing is wrong with the connection");
    let kept = is_kept(&hotels, |conn| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.transaction(|conn| -> Result<(), Error> {
                insert_room(conn, 2, "Grey");
                panic!("on purpose")
            })
        }));
        assert!(unwound.is_err());
    });
    assert!(!kept, "a transaction was left open");
    let kept = is_kept(&hotels, |conn| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.build_transaction().run(|conn| -> Result<(), Error> {
                insert_room(conn, 2, "Grey");
                panic!("on purpose")
            })
        }));
        assert!(unwound.is_err());
    });
    assert!(!kept, "a transaction was left open");
}

#[test]
fn c27_a_thread_that_panics_with_a_connection_in_hand_leaves_the_pool_healthy() {
    let hotels = Hotels::new();
    let panicked = thread::scope(|scope| {
        scope
            .spawn(|| {
                let mut conn = hotels.acme();
                TenantTransactionManager::begin_transaction(&mut *conn).expect("begun");
                insert_room(&mut conn, 2, "Grey");
                panic!("on purpose");
            })
            .join()
    });
    assert!(panicked.is_err());
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
}

#[test]
fn c27_a_backend_that_is_killed_while_idle_is_replaced_at_the_checkout() {
    for mode in [SetCalls::EveryCheckout, SetCalls::EveryStatement] {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        let killed = backend(&mut conn);
        drop(conn);
        kill(&hotels.db, &killed);
        let mut conn = hotels.acme();
        assert_eq!(rooms_of(&mut conn), ["Blue"]);
        assert_ne!(backend(&mut conn), killed);
    }
}

#[test]
fn c27_when_changed_closes_a_connection_that_died_while_idle_at_its_first_statement() {
    let hotels = Hotels::with(SetCalls::WhenChanged);
    let mut conn = hotels.acme();
    let killed = backend(&mut conn);
    drop(conn);
    kill(&hotels.db, &killed);
    let mut conn = hotels.acme();
    let failed = rooms::table.load::<Room>(&mut conn);
    assert!(failed.is_err(), "the documented limit");
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
}

#[test]
fn c27_all_backends_that_are_killed_while_idle_are_replaced_at_once() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut held: Vec<_> = (0..4)
        .map(|_| db.tenancy.tenant(&globex).expect("globex"))
        .collect();
    let backends: Vec<String> = held.iter_mut().map(|conn| backend(conn)).collect();
    drop(held);
    for backend in &backends {
        kill(&db, backend);
    }
    let mut held: Vec<_> = (0..4)
        .map(|_| db.tenancy.tenant(&acme).expect("replaced"))
        .collect();
    for conn in &mut held {
        assert_eq!(rooms_of(conn), ["Blue"]);
        assert!(!backends.contains(&backend(conn)));
    }
}

#[test]
fn c27_a_backend_that_is_killed_in_the_middle_of_a_scope_is_closed() {
    let hotels = Hotels::new();
    let kept = is_kept(&hotels, |conn| {
        let killed = backend(conn);
        let failed = conn.with_schema(&name("globex"), |conn| {
            kill(&hotels.db, &killed);
            rooms::table.load::<Room>(conn)
        });
        assert!(failed.is_err());
        // Nothing works any more, in any scope.
        assert!(rooms::table.load::<Room>(conn).is_err());
        let borrowed: &mut PgConnection = conn;
        assert!(rooms::table.load::<Room>(borrowed).is_err());
        let outcome: Result<(), Error> =
            conn.with_schema(&name("globex"), |_| panic!("the closure is not called"));
        outcome.expect_err("the connection is gone");
    });
    assert!(!kept);
}

#[test]
fn c27_a_backend_that_is_killed_in_a_transaction_is_closed_and_nothing_is_kept() {
    let hotels = Hotels::new();
    let kept = is_kept(&hotels, |conn| {
        let killed = backend(conn);
        let failed: Result<(), DieselError> = conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            kill(&hotels.db, &killed);
            conn.transaction(|conn| rooms::table.load::<Room>(conn).map(drop))
        });
        assert!(failed.is_err());
        assert!(conn.transaction(|_| Ok::<_, DieselError>(())).is_err());
    });
    assert!(!kept);
}

#[test]
fn c27_a_transaction_that_is_left_open_closes_the_connection() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for (how, leave_open) in [
            (
                "by hand",
                (|conn| conn.batch_execute("BEGIN").expect("begun")) as fn(&mut TenantConnection),
            ),
            ("in a batch", |conn| {
                conn.batch_execute("SELECT 1; START TRANSACTION; SELECT 2")
                    .expect("begun");
            }),
            ("by a typed statement", |conn| {
                diesel::sql_query("/* hello */ begin")
                    .execute(conn)
                    .map(drop)
                    .expect("begun");
            }),
            ("by the manager", |conn| {
                TenantTransactionManager::begin_transaction(conn).expect("begun");
            }),
            ("by a borrower", |conn| {
                AnsiTransactionManager::begin_transaction(&mut **conn).expect("begun");
            }),
            ("by a borrower, by hand", |conn| {
                let borrowed: &mut PgConnection = conn;
                borrowed.batch_execute("BEGIN").expect("begun");
            }),
            ("by a borrower without a witness", |conn| {
                let borrowed: &mut PgConnection = conn;
                borrowed.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
                borrowed.batch_execute("BEGIN").expect("begun");
            }),
        ] {
            let kept = is_kept(&hotels, |conn| {
                leave_open(conn);
                insert_room(conn, 2, "Grey");
                assert_eq!(rooms_of(conn), ["Blue", "Grey"], "{mode:?}: {how}");
            });
            assert!(!kept, "{mode:?}: {how}");
        }
    }
}

#[test]
fn c27_a_transaction_that_nobody_knows_of_shows_at_the_next_checkout() {
    let hotels = Hotels::new();
    let kept = is_kept(&hotels, |conn| {
        TenantTransactionManager::begin_transaction(conn).expect("begun");
        insert_room(conn, 2, "Grey");
        // Diesel's own bookkeeping says that there is none.
        *conn.transaction_state() = AnsiTransactionManager::default();
    });
    assert!(!kept);
}

#[test]
fn c27_a_connection_that_served_too_many_tenants_is_closed_afterwards() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(1)
            .max_tenants_per_connection(3)
    });
    let tenants = db.tenants(["a", "b", "c", "d"]);
    let visit = |index: usize| {
        let mut conn = db.tenancy.tenant(&tenants[index]).expect("a connection");
        (backend(&mut conn), conn.tenants_served())
    };
    // The setup used the connection, too: begin with a new one.
    let mut conn = db.tenancy.tenant(&tenants[0]).expect("a connection");
    let old = backend(&mut conn);
    drop(conn);
    kill(&db, &old);
    let (first, served) = visit(0);
    assert_eq!(served, 1);
    assert_eq!(visit(1), (first.clone(), 2));
    assert_eq!(visit(0), (first.clone(), 2));
    assert_eq!(visit(2), (first.clone(), 3));
    assert_eq!(visit(3), (first.clone(), 4));
    let (second, served) = visit(3);
    assert_ne!(second, first);
    assert_eq!(served, 1);
    // Tenants that are visited in a nested scope count as well.
    let mut conn = db.tenancy.tenant(&tenants[0]).expect("a connection");
    for tenant in &tenants {
        conn.with_tenant(tenant, |_| Ok::<_, Error>(()))
            .expect("lent");
    }
    assert_eq!(conn.tenants_served(), 4);
    drop(conn);
    assert_ne!(visit(0).0, second);
}

/// What a session can keep, and how the next user of the connection would see it.
const KEPT: [(&str, &str, &str); 9] = [
    (
        "a temporary table",
        "CREATE TEMPORARY TABLE secrets AS SELECT 'Blue' AS value",
        "SELECT relname::text AS value FROM pg_class WHERE relname = 'secrets'",
    ),
    (
        "a temporary table that hides the tenant's own",
        "CREATE TEMPORARY TABLE rooms AS SELECT 'Blue' AS name",
        "SELECT name AS value FROM rooms WHERE name = 'Blue'",
    ),
    (
        "a cursor",
        "DECLARE c CURSOR WITH HOLD FOR SELECT name AS value FROM rooms",
        "SELECT name AS value FROM pg_cursors WHERE name = 'c'",
    ),
    (
        "a prepared statement",
        "PREPARE q AS SELECT name AS value FROM rooms",
        "SELECT name AS value FROM pg_prepared_statements WHERE name = 'q'",
    ),
    (
        "a setting",
        "SET statement_timeout = '7s'",
        "SELECT 'x' AS value WHERE current_setting('statement_timeout') = '7s'",
    ),
    (
        "a setting of the user's own",
        "SELECT set_config('app.user', 'Blue', false)",
        "SELECT 'x' AS value WHERE current_setting('app.user', true) = 'Blue'",
    ),
    (
        "a role",
        "SET ROLE pg_read_all_data",
        "SELECT 'x' AS value WHERE current_user = 'pg_read_all_data'",
    ),
    (
        "a channel",
        "LISTEN news",
        "SELECT channel AS value FROM pg_listening_channels() AS channel",
    ),
    (
        "a lock",
        "SELECT pg_advisory_lock(7)",
        "SELECT 'x' AS value FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
];

#[test]
fn c27_what_a_session_keeps_does_not_reach_the_next_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for (what, keep, look) in KEPT {
            let kept = is_kept(&hotels, |conn| {
                conn.batch_execute(keep).expect(what);
                assert!(!strings(conn, look).is_empty(), "control: {what}");
            });
            assert!(kept, "{what} is no reason to close the connection");
            let mut conn = hotels.acme();
            conn.batch_execute(keep).expect(what);
            drop(conn);
            let mut conn = hotels.globex();
            assert!(strings(&mut conn, look).is_empty(), "{mode:?}: {what}");
        }
    }
}

#[test]
fn c27_what_a_session_keeps_does_not_reach_a_tenant_that_was_visited_meanwhile() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        for (what, keep, look) in KEPT {
            let mut conn = hotels.acme();
            conn.batch_execute(keep).expect(what);
            // The path is that of globex already when globex comes.
            conn.with_schema(&name("globex"), |conn| conn.batch_execute("SELECT 1"))
                .expect("lent");
            drop(conn);
            let mut conn = hotels.globex();
            assert!(strings(&mut conn, look).is_empty(), "{mode:?}: {what}");
            // And what is kept during a visit does not reach those who are at home.
            conn.with_schema(&name("acme"), |conn| conn.batch_execute(keep))
                .expect(what);
            drop(conn);
            let mut conn = hotels.globex();
            assert!(strings(&mut conn, look).is_empty(), "{mode:?}: {what}");
        }
    }
}

#[test]
fn c27_a_sequence_value_of_one_tenant_does_not_reach_the_next() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.batch_execute("CREATE SEQUENCE s START 4711; SELECT nextval('s')")
        .expect("a sequence");
    let last = "SELECT lastval()::text AS value";
    assert_eq!(strings(&mut conn, last), ["4711"], "control");
    drop(conn);
    let failed = hotels.globex().batch_execute(last);
    assert!(failed.is_err());
}

#[test]
fn c27_a_notification_for_one_tenant_does_not_reach_the_next() {
    let hotels = Hotels::new();
    for hears in [true, false] {
        let mut conn = hotels.acme();
        conn.batch_execute("LISTEN news; NOTIFY news, 'Blue'")
            .expect("notified");
        if !hears {
            drop(conn);
            conn = hotels.globex();
        }
        conn.batch_execute("SELECT 1").expect("a round trip");
        let heard = conn.notifications_iter().count();
        assert_eq!(heard, usize::from(hears), "the first time is the control");
    }
}

#[test]
fn c27_settings_of_the_program_are_there_again_for_the_next_tenant() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(1)
            .on_connect(|conn| {
                conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
                conn.batch_execute("SET statement_timeout = '11s'; SET search_path TO nowhere")
            })
    });
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let settings = "SELECT current_setting('statement_timeout') || ' ' || current_setting('timezone') AS value";
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let first = backend(&mut conn);
    assert_eq!(strings(&mut conn, settings), ["11s UTC"]);
    conn.batch_execute("SET statement_timeout = '7s'; SET timezone TO 'Asia/Tokyo'")
        .expect("set");
    assert_eq!(strings(&mut conn, settings), ["7s Asia/Tokyo"]);
    drop(conn);
    let mut conn = db.tenancy.tenant(&globex).expect("globex");
    assert_eq!(strings(&mut conn, settings), ["11s UTC"]);
    assert_eq!(backend(&mut conn), first);
    // The same for a tenant that is chosen on the connection in hand.
    conn.batch_execute("SET statement_timeout = '7s'")
        .expect("set");
    conn.set_tenant(&acme).expect("acme");
    assert_eq!(strings(&mut conn, settings), ["11s UTC"]);
}

#[test]
fn c27_a_test_transaction_in_a_pool_of_one_goes_on_over_checkouts() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.begin_test_transaction().expect("begun");
        insert_room(&mut conn, 2, "Grey");
        drop(conn);
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red"], "{mode:?}");
        insert_room(&mut conn, 2, "Pink");
        let failed: Result<(), DieselError> = conn.transaction(|conn| {
            insert_room(conn, 3, "Gone");
            Err(DieselError::RollbackTransaction)
        });
        assert!(failed.is_err());
        drop(conn);
        let mut conn = hotels.acme();
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
        // A savepoint that a panic left open is rolled back, the rest stays.
        TenantTransactionManager::begin_transaction(&mut *conn).expect("a savepoint");
        insert_room(&mut conn, 4, "Left");
        let refused = conn.set_tenant(&hotels.globex).expect_err("refused");
        assert!(matches!(refused, Error::InsideTransaction { .. }));
        drop(conn);
        let mut conn = hotels.globex();
        assert_eq!(rooms_of(&mut conn), ["Red", "Pink"], "{mode:?}");
        drop(conn);
        let mut conn = hotels.acme();
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
        TenantTransactionManager::rollback_transaction(&mut *conn).expect("rolled back");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c26_a_session_that_can_t_be_given_its_settings_back_is_replaced_and_nobody_notices() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    for mode in MODES {
        let failures = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&failures);
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).pool_size(1);
            builder.set_calls(mode).on_connect(move |_| {
                let one =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                one.map_or(Ok(()), |_| Err(DieselError::NotFound))
            })
        });
        let [acme, globex] = db.tenants(["acme", "globex"]);
        insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 1, "Red");
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        let before = backend(&mut conn);
        conn.batch_execute("SET statement_timeout TO '1min'")
            .expect("set");
        drop(conn);
        failures.store(1, Ordering::SeqCst);
        let mut conn = db.tenancy.tenant(&globex).expect("globex");
        assert_eq!(rooms_of(&mut conn), ["Red"], "{mode:?}");
        assert_eq!(
            failures.load(Ordering::SeqCst),
            0,
            "control: it failed once"
        );
        assert_ne!(backend(&mut conn), before, "{mode:?}");
    }
}

#[test]
fn c26_what_a_function_sets_is_gone_before_another_tenant_comes() {
    const USER: &str = "SELECT coalesce(nullif(current_setting('app.user_id', true), ''), 'nobody') \
                        || ' ' || current_user AS value";
    for mode in MODES {
        for customized in [false, true] {
            let role = format!("app_{}_{mode:?}_{customized}", std::process::id()).to_lowercase();
            let db = Db::with(|builder| {
                let builder = builder.app(customers()).app(hotels()).pool_size(1);
                let builder = builder.set_calls(mode);
                if customized {
                    builder.on_connect(|conn| conn.batch_execute("SET statement_timeout TO '1min'"))
                } else {
                    builder
                }
            });
            let [acme, globex] = db.tenants(["acme", "globex"]);
            db.raw()
                .batch_execute(&format!(
                    "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
                     CREATE FUNCTION login(id int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
                     PERFORM set_config('app.user_id', id::text, false); SET ROLE {role}; END $$; \
                     GRANT USAGE ON SCHEMA acme TO {role}"
                ))
                .expect("a function");
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            diesel::sql_query("SELECT login(42)")
                .execute(&mut conn)
                .expect("logged in");
            let found = strings(&mut conn, USER);
            assert_eq!(found, [format!("42 {role}")], "control");
            drop(conn);
            let mut conn = db.tenancy.tenant(&globex).expect("globex");
            let found = strings(&mut conn, USER);
            assert_eq!(found, ["nobody postgres"], "{mode:?}");
            if customized {
                let timeout = strings(
                    &mut conn,
                    "SELECT current_setting('statement_timeout') AS value",
                );
                assert_eq!(timeout, ["1min"]);
            }
            drop(conn);
            db.raw()
                .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
                .expect("dropped");
        }
    }
}
