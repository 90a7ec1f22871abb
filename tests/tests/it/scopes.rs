//! Scopes lent for a closure: they nest, and the outer one is back whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use tenant_schemas::{Error, TenantConnection};

use crate::support::{Client, Db, customers, hotels, insert_room, name, rooms_of, strings};

/// Three tenants, each with a room of its own under the same key.
fn three() -> (Db, [Client; 3]) {
    let db = Db::new();
    let tenants = db.tenants(["acme", "globex", "initech"]);
    for (tenant, room) in tenants.iter().zip(["Blue", "Red", "Green"]) {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        insert_room(&mut conn, 1, room);
        assert_eq!(rooms_of(&mut conn), [room]);
    }
    (db, tenants)
}

fn path_of(conn: &mut TenantConnection) -> String {
    strings(conn, "SELECT current_setting('search_path') AS value").remove(0)
}

#[test]
fn c22_scopes_nest_and_the_outer_one_is_back_after_success() {
    let (db, [acme, globex, initech]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let inside = |conn: &mut TenantConnection| {
        conn.with_tenant(&globex, |conn| {
            assert_eq!(rooms_of(conn), ["Red"]);
            assert_eq!(conn.tenant::<Client>(), Some(&globex));
            conn.with_schema(&initech.schema_name, |conn| {
                assert_eq!(rooms_of(conn), ["Green"]);
                assert_eq!(conn.tenant::<Client>(), None);
                assert_eq!(conn.schema_name(), Some(&initech.schema_name));
                conn.with_public(|conn| {
                    assert_eq!(path_of(conn), "public");
                    Ok::<_, Error>(())
                })?;
                assert_eq!(rooms_of(conn), ["Green"]);
                Ok::<_, Error>(())
            })?;
            assert_eq!(rooms_of(conn), ["Red"]);
            Ok::<_, Error>(())
        })?;
        assert_eq!(rooms_of(conn), ["Blue"]);
        assert_eq!(conn.tenant::<Client>(), Some(&acme));
        Ok::<_, Error>(())
    };
    inside(&mut conn).expect("outside a transaction");
    conn.transaction(|conn| inside(conn))
        .expect("in a transaction");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c22_the_outer_scope_is_back_after_an_error() {
    let (db, [acme, globex, _]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let fail = |conn: &mut TenantConnection| {
        let failed: Result<(), DieselError> = conn.with_tenant(&globex, |conn| {
            assert_eq!(rooms_of(conn), ["Red"]);
            Err(DieselError::NotFound)
        });
        assert_eq!(failed, Err(DieselError::NotFound));
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, DieselError>(())
    };
    fail(&mut conn).expect("outside a transaction");
    conn.transaction(|conn| fail(conn))
        .expect("in a transaction");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c22_the_outer_scope_is_back_after_a_panic() {
    let (db, [acme, globex, _]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let panic = |conn: &mut TenantConnection| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            conn.with_tenant(&globex, |conn| -> Result<(), Error> {
                assert_eq!(rooms_of(conn), ["Red"]);
                panic!("on purpose")
            })
        }));
        assert!(unwound.is_err());
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, Error>(())
    };
    panic(&mut conn).expect("outside a transaction");
    conn.transaction(|conn| panic(conn))
        .expect("in a transaction");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c22_a_transaction_around_a_scope_writes_into_both_schemas_or_into_none() {
    let (db, [acme, globex, _]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let write = |conn: &mut TenantConnection| {
        insert_room(conn, 2, "Mine");
        conn.with_tenant(&globex, |conn| {
            insert_room(conn, 2, "Yours");
            Ok::<_, Error>(())
        })
    };
    let failed: Result<(), Error> = conn.transaction(|conn| {
        write(conn)?;
        Err(DieselError::RollbackTransaction.into())
    });
    assert!(failed.is_err());
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    conn.transaction(|conn| write(conn)).expect("committed");
    assert_eq!(rooms_of(&mut conn), ["Blue", "Mine"]);
    let mut conn = db.tenancy.tenant(&globex).expect("globex");
    assert_eq!(rooms_of(&mut conn), ["Red", "Yours"]);
}

#[test]
fn c22_a_tenant_chosen_inside_a_scope_ends_with_it() {
    let (db, [acme, globex, initech]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    conn.with_tenant(&globex, |conn| {
        conn.set_tenant(&initech)?;
        assert_eq!(rooms_of(conn), ["Green"]);
        Ok::<_, Error>(())
    })
    .expect("lent");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c22_a_missing_schema_is_an_error_and_the_closure_is_not_called() {
    let (db, [acme, ..]) = three();
    // Something to fall through to, if the path were set all the same.
    db.raw()
        .batch_execute("CREATE TABLE public.rooms (LIKE acme.rooms); INSERT INTO public.rooms VALUES (9, 'Public')")
        .expect("public rooms");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let missing = name("nowhere");
    let refused = |conn: &mut TenantConnection| {
        let outcome: Result<(), Error> =
            conn.with_schema(&missing, |_| panic!("the closure is not called"));
        let error = outcome.expect_err("there is no such schema");
        assert!(
            matches!(&error, Error::NoSuchSchema { schema, .. } if *schema == missing),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            "schema nowhere does not exist: save its tenant, or run `create_missing_schemas` \
             (the shared schema is created by `migrate`); if it is there, grant the role USAGE on it"
        );
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, Error>(())
    };
    refused(&mut conn).expect("outside a transaction");
    conn.transaction(|conn| {
        insert_room(conn, 2, "Grey");
        diesel::delete(crate::support::rooms::table.find(2)).execute(conn)?;
        refused(conn)
    })
    .expect("the transaction stays usable");
    conn.transaction(|conn| conn.transaction(|conn| refused(conn)))
        .expect("a savepoint stays usable");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
}

#[test]
fn c22_turning_to_a_missing_schema_leaves_a_connection_without_a_scope() {
    let (db, [acme, ..]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let error = conn.set_schema(&name("nowhere")).expect_err("missing");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
    assert_eq!(conn.schema_name(), None);
    assert!(conn.batch_execute("SELECT 1").is_err());
    conn.set_tenant(&acme).expect("acme again");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    let error = db.tenancy.schema(&name("nowhere")).expect_err("missing");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
}

#[test]
fn c22_the_tenant_is_not_changed_inside_a_transaction() {
    let (db, [acme, globex, _]) = three();
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    conn.transaction(|conn| {
        let error = conn.set_tenant(&globex).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "the tenant can't be changed to globex inside a transaction: \
             finish it first, or lend the connection with `with_schema` or `with_tenant`"
        );
        assert_eq!(rooms_of(conn), ["Blue"]);
        Ok::<_, Error>(())
    })
    .expect("committed");
    // Nor in one that Diesel knows nothing of.
    conn.batch_execute("BEGIN").expect("begun");
    let error = conn.set_tenant(&globex).expect_err("refused");
    assert!(matches!(error, Error::InsideTransaction { .. }), "{error}");
}

#[test]
fn c23_extra_schemas_and_a_shared_schema_that_is_left_out_survive_nesting() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .include_shared(false)
            .extra_search_path(["extensions"])
    });
    db.raw()
        .batch_execute("CREATE SCHEMA extensions; CREATE FUNCTION extensions.answer() RETURNS text LANGUAGE sql AS 'SELECT ''42'''")
        .expect("an extension");
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let check = |conn: &mut TenantConnection, schema: &str| {
        assert_eq!(path_of(conn), format!("{schema}, extensions"));
        assert_eq!(strings(conn, "SELECT answer() AS value"), ["42"]);
    };
    let nest = |conn: &mut TenantConnection| {
        check(conn, "acme");
        conn.with_tenant(&globex, |conn| {
            check(conn, "globex");
            conn.with_schema(&acme.schema_name, |conn| {
                check(conn, "acme");
                Ok::<_, Error>(())
            })?;
            check(conn, "globex");
            conn.with_public(|conn| {
                check(conn, "public");
                Ok::<_, Error>(())
            })?;
            check(conn, "globex");
            Ok::<_, Error>(())
        })?;
        check(conn, "acme");
        Ok::<_, Error>(())
    };
    nest(&mut conn).expect("outside a transaction");
    conn.transaction(|conn| nest(conn))
        .expect("in a transaction");
    // The control: the table is in `public`, and is not found from a tenant.
    let not_found = conn.batch_execute("SELECT * FROM plans");
    assert!(not_found.is_err());
    conn.batch_execute("SELECT * FROM public.plans")
        .expect("named with its schema");
}
