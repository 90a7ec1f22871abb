//! Whose rows a query sees, after transactions and scopes that failed too.

use diesel::connection::{SimpleConnection as _, TransactionManager as _};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{PooledConnection, SetCalls, TenantTransactionManager};

use crate::support::{Client, Db, customers, hotels, insert_room, name, rooms, rooms_of};

/// Two tenants with the same key, and a control: each row is there to be leaked.
pub(crate) struct Hotels {
    pub(crate) db: Db,
    pub(crate) acme: Client,
    pub(crate) globex: Client,
}

impl Hotels {
    pub(crate) fn new() -> Self {
        Self::with(SetCalls::default())
    }

    /// One connection only, so that the next checkout gets the one that was used before.
    pub(crate) fn with(set_calls: SetCalls) -> Self {
        let db = Db::with(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .pool_size(1)
                .set_calls(set_calls)
        });
        let [acme, globex] = db.tenants(["acme", "globex"]);
        insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
        insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 1, "Red");
        let hotels = Self { db, acme, globex };
        assert_eq!(rooms_of(&mut hotels.acme()), ["Blue"]);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
        hotels
    }

    pub(crate) fn acme(&self) -> PooledConnection {
        self.db.tenancy.tenant(&self.acme).expect("acme")
    }

    pub(crate) fn globex(&self) -> PooledConnection {
        self.db.tenancy.tenant(&self.globex).expect("globex")
    }
}

pub(crate) const MODES: [SetCalls; 4] = [
    SetCalls::EveryCheckout,
    SetCalls::WhenChanged,
    SetCalls::EveryStatement,
    SetCalls::FirstStatement,
];

#[test]
fn c20_rows_of_one_tenant_are_invisible_to_another() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert!(rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")).is_empty());
    insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 1, "Red");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}

#[test]
fn c20_a_change_or_a_deletion_reaches_only_the_tenant_of_the_scope() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    diesel::update(rooms::table.find(1))
        .set(rooms::name.eq("Green"))
        .execute(&mut conn)
        .expect("updated");
    assert_eq!(rooms_of(&mut conn), ["Green"]);
    drop(conn);
    assert_eq!(rooms_of(&mut hotels.globex()), ["Red"]);
    diesel::delete(rooms::table)
        .execute(&mut hotels.globex())
        .expect("deleted");
    assert!(rooms_of(&mut hotels.globex()).is_empty());
    assert_eq!(rooms_of(&mut hotels.acme()), ["Green"]);
}

#[test]
fn c24_after_a_rollback_the_next_query_reads_the_right_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        // The path is moved inside, by a lent scope and by hand; both are reverted with the transaction.
        let failed: Result<(), DieselError> = conn.transaction(|conn| {
            conn.with_schema(&name("globex"), |conn| {
                assert_eq!(rooms_of(conn), ["Red"]);
                Ok::<_, DieselError>(())
            })?;
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            conn.batch_execute("SET search_path TO globex")?;
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            Err(DieselError::RollbackTransaction)
        });
        assert_eq!(failed, Err(DieselError::RollbackTransaction));
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c24_a_transaction_that_brought_the_path_takes_it_away_when_it_is_rolled_back() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        // Afterwards the session is in globex, the scope in acme: `BEGIN` has to carry the path.
        conn.with_schema(&name("globex"), |conn| {
            assert_eq!(rooms_of(conn), ["Red"]);
            Ok::<_, DieselError>(())
        })
        .expect("lent");
        let failed: Result<(), DieselError> = conn.transaction(|conn| {
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            Err(DieselError::RollbackTransaction)
        });
        assert_eq!(failed, Err(DieselError::RollbackTransaction));
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        let read: Result<_, DieselError> = conn.transaction(|conn| Ok(rooms_of(conn)));
        assert_eq!(read.expect("read"), ["Blue"], "{mode:?}");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
    }
}

#[test]
fn c24_after_a_rollback_to_a_savepoint_the_next_query_reads_the_right_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.transaction(|conn| {
            let failed: Result<(), DieselError> = conn.transaction(|conn| {
                conn.with_schema(&name("globex"), |conn| {
                    assert_eq!(rooms_of(conn), ["Red"]);
                    Ok::<_, DieselError>(())
                })?;
                Err(DieselError::RollbackTransaction)
            });
            assert_eq!(failed, Err(DieselError::RollbackTransaction));
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            // What the savepoint reverts to is globex, and the path of acme was set inside.
            conn.with_schema(&name("globex"), |conn| {
                assert_eq!(rooms_of(conn), ["Red"]);
                Ok::<_, DieselError>(())
            })?;
            let failed: Result<(), DieselError> = conn.transaction(|conn| {
                assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
                Err(DieselError::RollbackTransaction)
            });
            assert_eq!(failed, Err(DieselError::RollbackTransaction));
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            // The savepoint is in globex' scope, and what it reverts to is, too.
            conn.with_schema(&name("globex"), |conn| {
                assert_eq!(rooms_of(conn), ["Red"]);
                let failed: Result<(), DieselError> = conn.transaction(|conn| {
                    conn.with_schema(&name("acme"), |conn| {
                        assert_eq!(rooms_of(conn), ["Blue"]);
                        Err(DieselError::RollbackTransaction)
                    })
                });
                assert_eq!(failed, Err(DieselError::RollbackTransaction));
                assert_eq!(rooms_of(conn), ["Red"], "{mode:?}");
                Ok::<_, DieselError>(())
            })?;
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            Ok::<_, DieselError>(())
        })
        .expect("committed");
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
    }
}

#[test]
fn c24_a_released_savepoint_leaves_nothing_of_an_inner_scope() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.transaction(|conn| {
        conn.transaction(|conn| {
            conn.with_schema(&name("globex"), |conn| {
                assert_eq!(rooms_of(conn), ["Red"]);
                Ok::<_, DieselError>(())
            })
        })?;
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    })
    .expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c24_after_a_failed_statement_in_a_transaction_the_next_query_reads_the_right_tenant() {
    for mode in MODES {
        let hotels = Hotels::with(mode);
        let mut conn = hotels.acme();
        conn.transaction(|conn| {
            let failed: Result<(), DieselError> = conn.transaction(|conn| {
                conn.with_schema(&name("globex"), |conn| {
                    conn.batch_execute("SELECT * FROM there_is_no_such_table")
                })
            });
            assert!(
                matches!(failed, Err(DieselError::DatabaseError(..))),
                "{failed:?}"
            );
            assert_eq!(rooms_of(conn), ["Blue"], "{mode:?}");
            Ok::<_, DieselError>(())
        })
        .expect("the outer transaction is untouched");
        // Without a savepoint in between, and swallowed: the commit is a rollback.
        let swallowed = conn.transaction(|conn| {
            insert_room(conn, 2, "Grey");
            let _ = conn.with_schema(&name("globex"), |conn| {
                conn.batch_execute("SELECT * FROM there_is_no_such_table")
            });
            let aborted = rooms::table.select(rooms::name).load::<String>(conn);
            assert!(aborted.is_err(), "{aborted:?}");
            Ok::<_, DieselError>(())
        });
        drop(swallowed);
        assert_eq!(rooms_of(&mut conn), ["Blue"], "{mode:?}");
        drop(conn);
        assert_eq!(rooms_of(&mut hotels.globex()), ["Red"], "{mode:?}");
    }
}

#[test]
fn c24_a_commit_that_fails_leaves_the_right_tenant() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.batch_execute(
        "CREATE TABLE guests (id integer PRIMARY KEY, room integer \
         REFERENCES rooms DEFERRABLE INITIALLY DEFERRED)",
    )
    .expect("a table");
    let failed: Result<(), DieselError> = conn.transaction(|conn| {
        conn.batch_execute("INSERT INTO guests VALUES (1, 7)")?;
        conn.with_schema(&name("globex"), |conn| {
            assert_eq!(rooms_of(conn), ["Red"]);
            Ok::<_, DieselError>(())
        })
    });
    assert!(
        matches!(failed, Err(DieselError::DatabaseError(..))),
        "{failed:?}"
    );
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c24_a_transaction_that_is_ended_and_begun_again_by_a_borrower_does_not_fool_the_connection() {
    let hotels = Hotels::new();
    let mut conn = hotels.acme();
    conn.with_schema(&name("globex"), |conn| {
        assert_eq!(rooms_of(conn), ["Red"]);
        Ok::<_, DieselError>(())
    })
    .expect("lent");
    // The session is in globex; only the transaction is in acme.
    TenantTransactionManager::begin_transaction(&mut *conn).expect("begun");
    let borrowed: &mut PgConnection = &mut conn;
    diesel::connection::AnsiTransactionManager::rollback_transaction(borrowed).expect("ended");
    diesel::connection::AnsiTransactionManager::begin_transaction(borrowed).expect("begun again");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    TenantTransactionManager::commit_transaction(&mut *conn).expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}
