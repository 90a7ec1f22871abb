//! Transactions on a tenant's connection: what Diesel promises of them holds.

use std::sync::{Arc, Mutex};

use diesel::connection::{SimpleConnection as _, TransactionManager as _};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{Error, Event, Lifecycle as _, TenantConnection, TenantTransactionManager};

use crate::isolation::Hotels;
use crate::support::{Db, client, customers, hotels, insert_room, name, rooms, rooms_of, strings};

fn show(conn: &mut TenantConnection, setting: &str) -> String {
    strings(
        conn,
        &format!("SELECT current_setting('{setting}') AS value"),
    )
    .remove(0)
}

#[test]
fn a_nested_transaction_that_fails_leaves_the_outer_one() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.transaction(|conn| {
        insert_room(conn, 2, "Grey");
        let failed: Result<(), DieselError> = conn.transaction(|conn| {
            insert_room(conn, 3, "Gone");
            conn.transaction(|conn| {
                insert_room(conn, 4, "Gone too");
                Ok::<_, DieselError>(())
            })?;
            Err(DieselError::NotFound)
        });
        assert_eq!(failed, Err(DieselError::NotFound));
        Ok::<_, DieselError>(())
    })
    .expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"]);
    conn.test_transaction(|conn| {
        insert_room(conn, 5, "Gone");
        Ok::<_, DieselError>(())
    });
    assert_eq!(rooms_of(&mut conn), ["Blue", "Grey"]);
}

#[test]
fn the_error_of_a_transaction_is_the_closures_own() {
    #[derive(Debug, PartialEq)]
    enum Own {
        Mine,
        Diesel,
    }
    impl From<DieselError> for Own {
        fn from(_: DieselError) -> Self {
            Self::Diesel
        }
    }
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    let failed: Result<(), Own> = conn.transaction(|conn| {
        insert_room(conn, 2, "Grey");
        Err(Own::Mine)
    });
    assert_eq!(failed, Err(Own::Mine));
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn a_built_transaction_has_the_level_and_the_mode_that_were_asked_for() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    for expected in ["read committed", "repeatable read", "serializable"] {
        for carried in [false, true] {
            if carried {
                // The session is elsewhere: the path goes with BEGIN.
                conn.with_schema(&name("globex"), |_| Ok::<_, DieselError>(()))
                    .expect("lent");
            }
            let built = conn.build_transaction();
            let built = match expected {
                "serializable" => built.serializable().read_only().deferrable(),
                "repeatable read" => built.repeatable_read(),
                _ => built.read_committed(),
            };
            let level = built
                .run(|conn| {
                    assert_eq!(rooms_of(conn), ["Blue"]);
                    Ok::<_, DieselError>(show(conn, "transaction_isolation"))
                })
                .expect("committed");
            assert_eq!(level, expected);
        }
    }
    let written = conn.build_transaction().read_only().run(|conn| {
        assert_eq!(show(conn, "transaction_read_only"), "on");
        diesel::delete(rooms::table).execute(conn)
    });
    assert!(matches!(
        written,
        Err(DieselError::DatabaseError(
            diesel::result::DatabaseErrorKind::ReadOnlyTransaction,
            _
        ))
    ));
    conn.batch_execute(
        "SET default_transaction_read_only = on; SET default_transaction_deferrable = on",
    )
    .expect("set");
    conn.build_transaction()
        .read_write()
        .not_deferrable()
        .run(|conn| {
            assert_eq!(show(conn, "transaction_read_only"), "off");
            assert_eq!(show(conn, "transaction_deferrable"), "off");
            Ok::<_, DieselError>(())
        })
        .expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn a_built_transaction_commits_rolls_back_and_does_not_nest() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.build_transaction()
        .run(|conn| {
            insert_room(conn, 2, "Grey");
            conn.transaction(|conn| {
                insert_room(conn, 3, "Pink");
                Ok::<_, DieselError>(())
            })?;
            let nested = conn.build_transaction().run(|_| Ok::<_, DieselError>(()));
            assert_eq!(nested, Err(DieselError::AlreadyInTransaction));
            Ok::<_, DieselError>(())
        })
        .expect("committed");
    let failed: Result<(), DieselError> = conn.build_transaction().run(|conn| {
        insert_room(conn, 4, "Gone");
        Err(DieselError::NotFound)
    });
    assert_eq!(failed, Err(DieselError::NotFound));
    assert_eq!(rooms_of(&mut conn), ["Blue", "Grey", "Pink"]);
}

#[test]
fn the_transaction_manager_says_what_diesels_own_says() {
    let hotels = Hotels::new();
    let mut pooled = hotels.acme();
    let conn: &mut TenantConnection = &mut pooled;
    assert!(matches!(
        TenantTransactionManager::commit_transaction(conn),
        Err(DieselError::NotInTransaction)
    ));
    assert!(matches!(
        TenantTransactionManager::rollback_transaction(conn),
        Err(DieselError::NotInTransaction)
    ));
    let depth = |conn: &mut TenantConnection| {
        TenantTransactionManager::transaction_manager_status_mut(conn)
            .transaction_depth()
            .expect("a depth")
            .map(std::num::NonZero::get)
    };
    assert_eq!(depth(conn), None);
    TenantTransactionManager::begin_transaction(conn).expect("begun");
    TenantTransactionManager::begin_transaction(conn).expect("begun");
    assert_eq!(depth(conn), Some(2));
    TenantTransactionManager::rollback_transaction(conn).expect("rolled back");
    TenantTransactionManager::commit_transaction(conn).expect("committed");
    assert_eq!(depth(conn), None);
}

#[test]
fn two_transactions_that_can_not_be_serialized_leave_both_connections_usable() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut one = db.tenancy.tenant(&acme).expect("acme");
    let mut other = db.tenancy.tenant(&acme).expect("acme");
    let rename = |conn: &mut TenantConnection, name: &str| {
        diesel::update(rooms::table)
            .set(rooms::name.eq(name))
            .execute(conn)
    };
    let failed = one.build_transaction().serializable().run(|one| {
        assert_eq!(rooms_of(one), ["Blue"]);
        rename(&mut other, "Red")?;
        rename(one, "Green")
    });
    assert!(matches!(
        failed,
        Err(DieselError::DatabaseError(
            diesel::result::DatabaseErrorKind::SerializationFailure,
            _
        ))
    ));
    assert_eq!(rooms_of(&mut one), ["Red"]);
}

/// A tenancy that takes down the schemas whose tenants became ready.
fn told() -> (Db, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&told);
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener(move |event| {
                if let Event::PostSchemaSync { subject, .. } = event {
                    taken
                        .lock()
                        .expect("not poisoned")
                        .push(subject.schema().to_string());
                }
                Ok(())
            })
    });
    (db, told)
}

#[test]
fn nobody_is_told_of_a_commit_that_was_a_rollback() {
    let (db, told) = told();
    let mut conn = db.tenancy.public().expect("public");
    // The control: told after the commit, not before.
    conn.transaction(|conn| {
        client("acme").save(conn)?;
        assert!(told.lock().expect("not poisoned").is_empty());
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(*told.lock().expect("not poisoned"), ["acme"]);
    // A failure that Diesel does not notice, and that the closure swallows.
    let swallowed = conn.transaction(|conn| {
        client("globex").save(conn)?;
        diesel::copy_from(rooms::table)
            .from_raw_data(rooms::table, |copy| {
                std::io::Write::write_all(copy, b"no number\tat all\n")
                    .map_err(|error| DieselError::SerializationError(error.into()))
            })
            .execute(conn)
            .expect_err("refused");
        Ok::<_, Error>(())
    });
    drop(swallowed);
    assert!(!db.schema_exists("globex"), "control: it was a rollback");
    assert_eq!(*told.lock().expect("not poisoned"), ["acme"]);
    // Nor of a savepoint that was rolled back.
    conn.transaction(|conn| {
        let failed: Result<(), Error> = conn.transaction(|conn| {
            client("initech").save(conn)?;
            Err(DieselError::RollbackTransaction.into())
        });
        assert!(failed.is_err());
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(*told.lock().expect("not poisoned"), ["acme"]);
}

#[test]
fn a_connection_is_not_lent_to_a_borrower_in_a_failed_transaction_whose_path_is_not_known() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    let failed: Result<(), DieselError> = conn.transaction(|conn| {
        let _ = conn.with_schema(&name("globex"), |conn| {
            conn.batch_execute("SELECT * FROM there_is_no_such_table")
        });
        // A borrower could roll back to a savepoint, and would be in globex.
        let borrowed = catch_unwind(AssertUnwindSafe(|| {
            let _: &mut diesel::pg::PgConnection = conn;
        }));
        assert!(borrowed.is_err());
        Err(DieselError::RollbackTransaction)
    });
    assert!(failed.is_err());
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn a_rollback_that_fails_does_not_hide_why_there_was_one() {
    fn fail(conn: &mut TenantConnection) -> QueryResult<()> {
        conn.batch_execute("COMMIT")?;
        Err(DieselError::NotFound)
    }
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    // A pool's own connection is Diesel's, and does as Diesel does.
    let result = TenantConnection::transaction(&mut conn, fail);
    assert_eq!(result, Err(DieselError::NotFound));
    drop(conn);
    let mut conn = hotels.acme();
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    let result = conn.build_transaction().run(fail);
    assert_eq!(result, Err(DieselError::NotFound));
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
}
