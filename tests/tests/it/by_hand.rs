//! Transactions, savepoints, roles and schemas that a program's own SQL changes by hand.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Bool, Text};
use tenant_schemas::{Error, SetCalls, TenantConnection};

use crate::fall_through::{missing, read, with_a_trap};
use crate::isolation::{Hotels, MODES};
use crate::support::{insert_room, name, rooms_of, strings};

#[diesel::declare_sql_function]
extern "SQL" {
    fn set_config(setting: Text, value: Text, is_local: Bool) -> Text;
}

/// Leaves the session on the path of another tenant, from which the way back is taken with the next statement.
fn look_aside(conn: &mut TenantConnection) {
    conn.with_schema(&name("globex"), |conn| {
        assert_eq!(rooms_of(conn), ["Red"]);
        Ok::<_, Error>(())
    })
    .expect("lent");
}

#[track_caller]
fn refused(result: QueryResult<()>) {
    let error = result.expect_err("it would go on elsewhere").to_string();
    assert!(error.contains("may not go on behind a COMMIT"), "{error}");
}

#[test]
fn c24_a_text_that_ends_its_transaction_and_goes_on_stays_with_its_tenant() {
    for mode in MODES {
        for end in ["COMMIT AND CHAIN", "COMMIT", "ROLLBACK", "COMMIT; BEGIN"] {
            let hotels = Hotels::with(mode);
            let mut conn = hotels.acme();
            look_aside(&mut conn);
            let text = format!(
                "INSERT INTO rooms VALUES (2, 'Grey'); {end}; INSERT INTO rooms VALUES (3, 'Pink')"
            );
            // What Diesel says to it is Diesel's affair.
            let _ = TenantConnection::transaction(&mut conn, |conn| conn.batch_execute(&text));
            let _ = conn.batch_execute("COMMIT");
            drop(conn);
            let rooms = rooms_of(&mut hotels.acme());
            assert!(
                rooms.contains(&"Pink".to_owned()),
                "{mode:?}, {end}: {rooms:?}"
            );
            assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}, {end}");
        }
    }
}

#[test]
fn c24_a_text_may_not_go_on_where_the_path_of_another_scope_is_back() {
    let ends = [
        "COMMIT; INSERT INTO rooms VALUES (9, 'Astray')",
        "ROLLBACK; INSERT INTO rooms VALUES (9, 'Astray')",
        "ROLLBACK TO a; INSERT INTO rooms VALUES (9, 'Astray')",
    ];
    for mode in MODES {
        for end in ends {
            let hotels = Hotels::with(mode);
            // In a nested scope, of a transaction that another one began.
            let mut conn = hotels.acme();
            let _ = TenantConnection::transaction(&mut conn, |conn| {
                conn.batch_execute("SAVEPOINT a")?;
                conn.with_schema(&name("globex"), |conn| {
                    refused(conn.batch_execute(end));
                    Ok::<_, DieselError>(())
                })?;
                Err::<(), _>(DieselError::RollbackTransaction)
            });
            // In the outer scope, with a savepoint that a nested one made.
            let _ = TenantConnection::transaction(&mut conn, |conn| {
                conn.with_schema(&name("globex"), |conn| conn.batch_execute("SAVEPOINT a"))?;
                refused(conn.batch_execute(end));
                Err::<(), _>(DieselError::RollbackTransaction)
            });
            drop(conn);
            // In a nested scope, of a transaction that was begun by hand.
            if !end.contains("TO a") && !end.starts_with("COMMIT") {
                let mut conn = hotels.acme();
                conn.batch_execute("BEGIN").expect("begun");
                conn.with_schema(&name("globex"), |conn| {
                    refused(conn.batch_execute(end));
                    Ok::<_, DieselError>(())
                })
                .expect("lent");
            }
            assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"], "{mode:?}, {end}");
            assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}, {end}");
        }
    }
}

#[test]
fn transactions_and_savepoints_by_hand_are_one_s_own_affair_in_one_scope() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        for id in [2, 3] {
            let text = format!("BEGIN; INSERT INTO rooms VALUES ({id}, 'Grey'); COMMIT; SELECT 1");
            conn.batch_execute(&text).expect("committed");
        }
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey", "Grey"]);
        drop(conn);
        let mut conn = hotels.acme();
        conn.transaction(|conn| {
            conn.batch_execute("SAVEPOINT a; DELETE FROM rooms WHERE id = 1")?;
            conn.batch_execute("ROLLBACK TO a; DELETE FROM rooms WHERE id = 2")
        })
        .expect("committed");
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
        // One tenant after the other on a connection, each in a transaction of its own.
        let each = |conn: &mut TenantConnection| {
            conn.batch_execute("BEGIN; LOCK TABLE rooms; COMMIT; ANALYZE rooms")
        };
        for schema in ["globex", "acme", "globex"] {
            conn.with_schema(&name(schema), each).expect("analyzed");
        }
        drop(conn);
        let mut conn = hotels.acme();
        look_aside(&mut conn);
        conn.transaction(|conn| {
            conn.batch_execute("SAVEPOINT a; DELETE FROM rooms WHERE id = 1")?;
            conn.batch_execute("ROLLBACK TO a; DELETE FROM rooms WHERE id = 3")
        })
        .expect("committed");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn a_rollback_by_hand_is_sent_whatever_failed_before() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            conn.batch_execute("SAVEPOINT a")?;
            conn.batch_execute("SELECT nothing_of_this_name")
                .expect_err("there is no such column");
            conn.batch_execute("ROLLBACK TO a")?;
            assert_eq!(rooms_of(conn), ["Blue", "Grey"]);
            Ok::<_, DieselError>(())
        })
        .expect("committed");
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
        // As a statement of Diesel's, and by someone who has borrowed the connection.
        conn.transaction(|conn| {
            for end in ["ROLLBACK TO a", "ROLLBACK TO SAVEPOINT a"] {
                conn.batch_execute("SAVEPOINT a")?;
                conn.batch_execute("SELECT nothing_of_this_name")
                    .expect_err("there is no such column");
                if end.contains("SAVEPOINT") {
                    let inner: &mut diesel::pg::PgConnection = conn;
                    inner.batch_execute(end)?;
                } else {
                    diesel::sql_query(end).execute(conn)?;
                }
                assert_eq!(rooms_of(conn), ["Blue", "Grey"], "{mode:?}");
            }
            Ok::<_, DieselError>(())
        })
        .expect("committed");
        conn.batch_execute("BEGIN").expect("begun");
        conn.batch_execute("SELECT nothing_of_this_name")
            .expect_err("there is no such column");
        conn.batch_execute("ROLLBACK").expect("rolled back");
        assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"], "{mode:?}");
    }
}

#[test]
fn c05_a_schema_that_is_dropped_by_hand_is_missed_at_once_by_those_who_are_in_it() {
    for mode in MODES {
        for drop_it in [
            "DROP SCHEMA acme CASCADE",
            "DO $$ BEGIN EXECUTE 'DROP SCHEMA acme CASCADE'; END $$",
        ] {
            let db = with_a_trap(mode);
            let [acme, _] = db.tenants(["acme", "globex"]);
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            insert_room(&mut conn, 1, "Blue");
            assert_eq!(read(&mut conn).expect("read"), ["Blue"]);
            // Whoever drops it does nothing else, and keeps the connection.
            let mut public = db.tenancy.public().expect("public");
            public.batch_execute(drop_it).expect("dropped");
            missing(read(&mut conn), "acme");
            drop(public);
        }
        let db = with_a_trap(mode);
        let [acme, _] = db.tenants(["acme", "globex"]);
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        insert_room(&mut conn, 1, "Blue");
        assert_eq!(read(&mut conn).expect("read"), ["Blue"]);
        conn.batch_execute("CREATE PROCEDURE public.drop_it() LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DROP ' || 'SCHEMA acme CASCADE'; END $$; CALL public.drop_it()")
            .expect("dropped");
        missing(read(&mut conn), "acme");
    }
}

/// A way to take a role until the transaction ends.
type Take = fn(&mut TenantConnection, &str) -> QueryResult<()>;

#[test]
fn c05_a_role_that_may_not_use_the_schema_does_not_find_public_in_its_place() {
    for mode in MODES {
        let db = with_a_trap(mode);
        let [acme, _] = db.tenants(["acme", "globex"]);
        insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
        let role = format!("reporter_{}_{mode:?}", std::process::id()).to_lowercase();
        db.run(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
             GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON rooms, acme.rooms TO {role}"
        ));
        for taking in [
            format!("SET ROLE {role}"),
            format!("SET SESSION AUTHORIZATION {role}"),
            format!("SELECT set_config('role', '{role}', false)"),
        ] {
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            assert_eq!(read(&mut conn).expect("read"), ["Blue"]);
            conn.batch_execute(&taking).expect("taken");
            missing(read(&mut conn), "acme");
        }
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        let takes: [Take; 3] = [
            |conn, role| conn.batch_execute(&format!("SET LOCAL ROLE {role}")),
            |conn, role| conn.batch_execute(&format!("SET LOCAL SESSION AUTHORIZATION {role}")),
            |conn, role| {
                let taken = diesel::select(set_config("role", role, true));
                taken.get_result::<String>(conn).map(drop)
            },
        ];
        for take in takes {
            let inside: QueryResult<()> = conn.transaction(|conn| {
                assert_eq!(read(conn).expect("read"), ["Blue"]);
                take(conn, &role)?;
                missing(read(conn), "acme");
                Err(DieselError::RollbackTransaction)
            });
            assert_eq!(inside, Err(DieselError::RollbackTransaction));
        }
        assert_eq!(read(&mut conn).expect("read"), ["Blue"], "{mode:?}");
        drop(conn);
        db.run(&format!("GRANT USAGE ON SCHEMA acme TO {role}"));
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        conn.batch_execute(&format!("SET ROLE {role}"))
            .expect("taken");
        assert_eq!(read(&mut conn).expect("control: it may"), ["Blue"]);
        drop(conn);
        db.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}

#[test]
fn c24_with_a_path_for_every_statement_a_commit_has_it_too() {
    let hotels = Hotels::with(SetCalls::EveryStatement);
    for schema in ["acme", "globex"] {
        hotels
            .db
            .run(&format!("CREATE TABLE {schema}.log (line text)"));
    }
    let mut conn = hotels.acme();
    conn.batch_execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO log VALUES (NEW.name); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER note AFTER INSERT ON rooms DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION note(); \
         CREATE FUNCTION wander() RETURNS void LANGUAGE plpgsql \
         AS 'BEGIN SET search_path TO globex; END'",
    )
    .expect("a trigger");
    conn.transaction(|conn| {
        insert_room(conn, 2, "Grey");
        conn.batch_execute("SELECT wander()")
    })
    .expect("committed");
    let log = strings(&mut conn, "SELECT line AS value FROM log");
    assert_eq!(log, ["Grey"]);
    drop(conn);
    let log = strings(&mut hotels.globex(), "SELECT line AS value FROM log");
    assert_eq!(log, [""; 0]);
}

#[test]
fn c05_a_commit_by_hand_does_not_keep_it_from_others_that_a_schema_is_gone() {
    type End = fn(&mut TenantConnection) -> QueryResult<()>;
    let begins: [(&str, End); 2] = [
        ("Diesel's", |conn| {
            use diesel::connection::TransactionManager as _;
            tenant_schemas::TenantTransactionManager::begin_transaction(conn)
        }),
        ("by hand", |conn| conn.batch_execute("BEGIN")),
    ];
    for mode in MODES {
        for (what, begin) in begins {
            let db = with_a_trap(mode);
            let [acme, _] = db.tenants(["acme", "globex"]);
            let mut conn = db.tenancy.tenant(&acme).expect("acme");
            insert_room(&mut conn, 1, "Blue");
            let mut public = db.tenancy.public().expect("public");
            begin(&mut public).expect("begun");
            public
                .batch_execute("ALTER SCHEMA acme RENAME TO old")
                .expect("renamed");
            public.batch_execute("SELECT 1").expect("of use");
            // It is there still for everybody else, who takes note of it.
            assert_eq!(read(&mut conn).expect("read"), ["Blue"], "{mode:?}, {what}");
            public.batch_execute("COMMIT").expect("committed");
            missing(read(&mut conn), "acme");
            drop(public);
        }
    }
}
