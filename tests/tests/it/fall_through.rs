//! Where PostgreSQL would pass by a schema in silence and go on to `public`, which has a table of the same name.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{Error, SetCalls, TenantConnection};

use crate::isolation::MODES;
use crate::support::{Client, Db, customers, hotels, insert_room, name, rooms, rooms_of};

pub(crate) fn with_a_trap(mode: SetCalls) -> Db {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(2)
            .set_calls(mode)
    });
    db.raw()
        .batch_execute(
            "CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
             INSERT INTO public.rooms VALUES (1, 'Trap')",
        )
        .expect("a trap");
    assert_eq!(
        rooms_of(&mut db.tenancy.public().expect("public")),
        ["Trap"]
    );
    db
}

pub(crate) fn read(conn: &mut TenantConnection) -> QueryResult<Vec<String>> {
    rooms::table.select(rooms::name).load(conn)
}

#[track_caller]
pub(crate) fn missing<R: std::fmt::Debug>(result: QueryResult<R>, schema: &str) {
    let error = result.expect_err("nothing is read").to_string();
    let expected = format!("schema {schema} does not exist");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn c05_a_schema_that_the_role_may_not_use_is_an_error_and_not_public() {
    for mode in MODES {
        let db = with_a_trap(mode);
        let [acme, globex] = db.tenants(["acme", "globex"]);
        insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
        insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 1, "Red");
        let role = format!("clerk_{}_{mode:?}", std::process::id()).to_lowercase();
        db.raw()
            .batch_execute(&format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; \
                 GRANT USAGE ON SCHEMA public, globex TO {role}; \
                 GRANT SELECT, INSERT ON rooms, globex.rooms, acme.rooms TO {role}"
            ))
            .expect("a role");
        let guest = db.again(|builder| {
            let role = role.clone();
            let builder = builder.app(customers()).app(hotels()).pool_size(1);
            builder.set_calls(mode).on_connect(move |conn| {
                conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
            })
        });
        let with = |tenant: &Client, f: &dyn Fn(&mut TenantConnection) -> QueryResult<()>| {
            f(&mut *guest.tenant(tenant)?)
        };
        for _ in 0..3 {
            let red = with(&globex, &|conn| {
                assert_eq!(read(conn)?, ["Red"]);
                Ok(())
            });
            red.expect("it may use this one");
            missing(with(&acme, &|conn| read(conn).map(drop)), "acme");
            let insert = with(&acme, &|conn| {
                let row = (rooms::id.eq(2), rooms::name.eq("Grey"));
                diesel::insert_into(rooms::table)
                    .values(row)
                    .execute(conn)?;
                Ok(())
            });
            missing(insert, "acme");
            let begin = with(&acme, &|conn| conn.transaction(|conn| read(conn).map(drop)));
            missing(begin, "acme");
            let nested = with(&globex, &|conn| {
                conn.transaction(|conn| {
                    conn.with_schema(&acme.schema_name, |conn| read(conn).map(drop))
                })
            });
            missing(nested, "acme");
        }
        drop(guest);
        assert_eq!(
            rooms_of(&mut db.tenancy.public().expect("public")),
            ["Trap"],
            "{mode:?}"
        );
        db.raw()
            .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .expect("dropped");
    }
}

#[test]
fn c05_a_schema_whose_making_was_undone_in_its_scope_is_an_error() {
    type Undo = fn(&mut TenantConnection) -> QueryResult<()>;
    let undone: [(&str, Undo); 3] = [
        ("ROLLBACK", |conn| conn.batch_execute("ROLLBACK")),
        ("ROLLBACK TO a", |conn| conn.batch_execute("ROLLBACK TO a")),
        ("a borrower's rollback", |conn| {
            use diesel::connection::{AnsiTransactionManager, TransactionManager as _};
            let inner: &mut diesel::pg::PgConnection = conn;
            AnsiTransactionManager::rollback_transaction(inner)
        }),
    ];
    for mode in MODES {
        for (what, undo) in undone {
            for levels in [1, 2] {
                let db = with_a_trap(mode);
                let mut conn = db.tenancy.public().expect("public");
                let made = name("made");
                let _: Result<(), DieselError> = conn.transaction(|conn| {
                    conn.batch_execute(
                        "SAVEPOINT a; CREATE SCHEMA made; CREATE TABLE made.rooms (LIKE rooms)",
                    )?;
                    conn.with_schema(&made, |conn| {
                        assert_eq!(read(conn)?, [""; 0], "it is there");
                        if levels == 1 {
                            undo(conn)?;
                        } else {
                            conn.with_public(undo)?;
                        }
                        missing(read(conn), "made");
                        Ok::<_, DieselError>(())
                    })
                    .unwrap_or_else(|error| panic!("{mode:?}, {what}, {levels}: {error}"));
                    Err(DieselError::RollbackTransaction)
                });
            }
        }
    }
}

#[test]
fn c05_a_schema_that_is_renamed_or_dropped_by_hand_is_looked_for_again_everywhere() {
    for mode in MODES {
        for change in [
            "ALTER SCHEMA acme RENAME TO old",
            "DROP SCHEMA acme CASCADE",
        ] {
            for inside in [false, true] {
                let db = with_a_trap(mode);
                let acme = db.tenant("acme");
                let mut conn = db.tenancy.tenant(&acme).expect("acme");
                let mut other = db.tenancy.tenant(&acme).expect("acme");
                insert_room(&mut conn, 1, "Blue");
                assert_eq!(rooms_of(&mut other), ["Blue"]);
                if inside {
                    conn.transaction(|conn| {
                        conn.batch_execute(change)?;
                        missing(read(conn), "acme");
                        Ok::<_, DieselError>(())
                    })
                    .expect("committed");
                } else {
                    conn.batch_execute(change).expect("changed");
                }
                missing(read(&mut conn), "acme");
                missing(read(&mut other), "acme");
                drop((conn, other));
                let next = db.tenancy.tenant(&acme);
                let next = next.and_then(|mut conn| read(&mut conn).map_err(Error::from));
                let error = next.expect_err("there is no such schema").to_string();
                assert!(
                    error.contains("schema acme does not exist"),
                    "{mode:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn c05_a_schema_that_is_dropped_by_the_last_statement_of_a_checkout_is_looked_for_again() {
    for mode in MODES {
        let db = with_a_trap(mode);
        let acme = db.tenant("acme");
        let mut other = db.tenancy.tenant(&acme).expect("acme");
        insert_room(&mut other, 1, "Blue");
        db.tenancy
            .public()
            .expect("public")
            .batch_execute("DROP SCHEMA acme CASCADE")
            .expect("dropped");
        missing(read(&mut other), "acme");
    }
}
