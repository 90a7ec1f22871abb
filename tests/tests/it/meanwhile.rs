//! What happens on a connection between two statements of a scope vouches for nothing but itself.

use std::io::{self, Write};

use diesel::connection::{SimpleConnection as _, TransactionManager as _};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use tenant_schemas::{
    AppScope, DeleteOptions, DumpOptions, DumpTenant as _, Error, Lifecycle as _, SetCalls,
    Tenancy, TenantConnection, TenantTransactionManager,
};

use crate::isolation::MODES;
use crate::support::{
    Client, Db, customers, hotels, insert_room, name, rooms, rooms_of, sql_app, strings,
};

/// `public` has a table of rooms too: where a query that misses its schema would fall through to.
fn set_trap(db: &Db) {
    let trap = "CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
                INSERT INTO public.rooms VALUES (1, 'Trap')";
    db.raw().batch_execute(trap).expect("a trap");
}

type Meanwhile = fn(&mut TenantConnection);

/// What may be done on a connection that is held, and is not about the tenant of its scope.
const MEANWHILE: [(&str, Meanwhile); 4] = [
    ("a look for another tenant", |conn| {
        assert_eq!(Client::by_schema(conn, "nobody").expect("read"), None);
    }),
    ("a statement on the public schema", |conn| {
        conn.with_public(|conn| conn.batch_execute("SELECT 1"))
            .expect("lent");
    }),
    ("a transaction on the public schema", |conn| {
        conn.with_public(|conn| conn.transaction(|conn| conn.batch_execute("SELECT 1")))
            .expect("lent");
    }),
    ("a scope of the same name", |conn| {
        // It is the name that is asked for, whoever has it.
        let _ = conn.with_schema(&name("acme"), |conn| {
            rooms::table
                .select(rooms::name)
                .load::<String>(conn)
                .map_err(Error::from)
        });
    }),
];

#[test]
fn c60_a_scope_whose_name_is_another_tenants_has_ended_whatever_was_lent_meanwhile() {
    for mode in MODES {
        for (what, meanwhile) in MEANWHILE {
            let what = format!("{mode:?}, {what}");
            let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
            let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
            for tenant in [&acme, &globex] {
                let mut conn = db.tenancy.tenant(tenant).expect("a connection");
                insert_room(&mut conn, 1, tenant.schema_name.as_str());
            }
            let mut held = db.tenancy.tenant(&acme).expect("acme");
            assert_eq!(rooms_of(&mut held), ["acme"]);
            let mut public = db.tenancy.public().expect("public");
            acme.rename(&mut public, &name("acme_inc"))
                .expect("renamed");
            globex.rename(&mut public, &name("acme")).expect("renamed");
            // The control: that is what is there to be read under the name.
            let there = db.strings("SELECT name AS value FROM acme.rooms");
            assert_eq!(there, ["globex"]);

            meanwhile(&mut held);
            let read = rooms::table.select(rooms::name).load::<String>(&mut held);
            assert!(read.is_err(), "{what}: {read:?}");
            meanwhile(&mut held);
            let written = held
                .transaction(|conn| conn.batch_execute("INSERT INTO rooms VALUES (2, 'of acme')"));
            assert!(written.is_err(), "{what}");
            let there = db.strings("SELECT name AS value FROM acme.rooms");
            assert_eq!(there, ["globex"], "{what}");
        }
    }
}

#[test]
fn c05_a_scope_whose_schema_was_dropped_reads_nothing_of_public_whatever_was_lent_meanwhile() {
    for mode in MODES {
        for (what, meanwhile) in MEANWHILE {
            let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
            let acme = db.tenant("acme");
            set_trap(&db);
            let trapped = rooms_of(&mut db.tenancy.public().expect("public"));
            assert_eq!(trapped, ["Trap"], "the trap is set");
            let mut held = db.tenancy.tenant(&acme).expect("acme");
            assert_eq!(rooms_of(&mut held), [""; 0]);
            let with_schema = DeleteOptions::new().auto_drop_schema(true);
            acme.delete_with(&mut held, with_schema).expect("deleted");
            meanwhile(&mut held);
            let read = rooms::table.select(rooms::name).load::<String>(&mut held);
            assert!(read.is_err(), "{mode:?}, {what}: {read:?}");
        }
    }
}

/// A pool of one session.
fn one_session(mode: SetCalls) -> (Db, [Client; 2]) {
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(hotels()).set_calls(mode);
        builder.pool_size(1)
    });
    let tenants = db.tenants(["acme", "globex"]);
    (db, tenants)
}

/// What a tenant leaves in its session, and would read itself.
#[track_caller]
fn leave_things(conn: &mut TenantConnection) {
    let things = "CREATE TEMPORARY TABLE rooms AS SELECT 9 AS id, 'Leak'::text AS name; \
                  SET statement_timeout TO 77777";
    conn.batch_execute(things).expect("left");
    assert_eq!(rooms_of(conn), ["Leak"], "it is there to be read");
}

/// Lends the connection to a tenant who has nothing.
#[track_caller]
fn assert_clean(conn: &mut TenantConnection, tenant: &Client) {
    let found = conn.with_tenant(tenant, |conn| {
        let timeout = strings(conn, "SELECT current_setting('statement_timeout') AS value");
        Ok::<_, Error>((rooms_of(conn), timeout))
    });
    assert_eq!(
        found.expect("lent"),
        (Vec::new(), vec!["0".to_owned()]),
        "of what the last one left"
    );
}

#[test]
fn c20_a_connection_without_a_scope_has_nothing_of_the_last_tenant_when_it_is_lent() {
    for mode in MODES {
        let (db, [acme, globex]) = one_session(mode);
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.pool().get().expect("a connection");
        assert_clean(&mut conn, &globex);
        drop(conn);
        // Nor if it is lent to the last tenant first.
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.pool().get().expect("a connection");
        let lent = conn.with_tenant(&acme, |conn| conn.batch_execute("SELECT 1"));
        lent.expect("lent");
        assert_clean(&mut conn, &globex);
    }
}

#[test]
fn c20_a_connection_whose_scope_could_not_be_chosen_has_nothing_of_the_last_tenant() {
    for mode in MODES {
        let (db, [acme, globex]) = one_session(mode);
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        leave_things(&mut conn);
        conn.set_schema(&name("nobody")).expect_err("no schema");
        assert_clean(&mut conn, &globex);
    }
}

/// A migration that runs outside a transaction, and notes the locks of its session.
const LOCKS: &str = "CREATE TABLE locks AS SELECT count(*)::text AS held FROM pg_locks \
                     WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

#[test]
fn c45_a_schema_is_locked_while_it_is_migrated_step_by_step() {
    for mode in MODES {
        let db = Db::new();
        let acme = db.tenant("acme");
        let tenancy: Tenancy<Client> = db.again(|builder| {
            let locks = sql_app("locks", AppScope::Tenant, &[("1_locks!", LOCKS, "")]);
            let builder = builder.app(customers()).app(hotels()).app(locks);
            builder.set_calls(mode)
        });
        let report = tenancy.migrate().schema(&acme.schema_name).run();
        report.expect("a report").into_result().expect("migrated");
        let held = db.strings("SELECT held AS value FROM acme.locks");
        assert_eq!(held, ["1"], "{mode:?}");
    }
}

/// Asks from another session whether a lock is held while something is written.
struct Watching {
    conn: PgConnection,
    held: Option<bool>,
}

impl Write for Watching {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.is_none() {
            let held = "SELECT 'yes' AS value FROM pg_locks WHERE locktype = 'advisory' \
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            self.held = Some(!strings(&mut self.conn, held).is_empty());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_schema_is_locked_while_it_is_dumped() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let acme = db.tenant("acme");
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        let mut out = Watching {
            conn: db.raw(),
            held: None,
        };
        acme.dump_to(&mut conn, &mut out, DumpOptions::new())
            .expect("dumped");
        assert_eq!(out.held, Some(true), "{mode:?}");
    }
}

#[test]
fn what_is_noted_of_a_schema_is_noted_on_its_own_path() {
    for mode in MODES {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).set_calls(mode);
            builder.pool_size(2)
        });
        let [acme, globex] = db.tenants(["acme", "globex"]);
        db.raw()
            .batch_execute(
                "CREATE TABLE acme.audit (who text); CREATE TABLE globex.audit (who text); \
                 CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO audit VALUES (new.schema_name); RETURN new; END'; \
                 CREATE TRIGGER audit AFTER INSERT OR UPDATE ON __tenant_schemas \
                 FOR EACH ROW EXECUTE FUNCTION public.audit(); \
                 DELETE FROM __tenant_schemas WHERE schema_name = 'acme'",
            )
            .expect("made");
        // Every session was at globex last.
        let mut conns = [0, 1].map(|_| db.tenancy.tenant(&globex).expect("globex"));
        for conn in &mut conns {
            rooms_of(conn);
        }
        drop(conns);
        let report = db.tenancy.migrate().schema(&acme.schema_name).run();
        report.expect("a report").into_result().expect("no failure");
        let audit = |schema| db.strings(&format!("SELECT who AS value FROM {schema}.audit"));
        assert_eq!(audit("globex"), [""; 0], "{mode:?}");
        assert_eq!(audit("acme"), ["acme"], "{mode:?}");
    }
}

#[test]
fn a_schema_is_looked_for_in_a_transaction_that_has_deallocated_everything() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let [acme, globex] = db.tenants(["acme", "globex"]);
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        for before in ["SELECT 1", "DEALLOCATE ALL", "DISCARD PLANS"] {
            let rooms = conn.transaction(|conn| {
                conn.batch_execute(before)?;
                conn.with_tenant(&globex, |conn| Ok::<_, Error>(rooms_of(conn)))
            });
            assert_eq!(rooms.expect("read"), [""; 0], "{mode:?}, {before}");
        }
    }
}

#[test]
fn c20_what_a_renamed_tenant_left_is_not_found_by_who_has_its_name() {
    for mode in MODES {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels()).set_calls(mode);
            builder.pool_size(2)
        });
        let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
        let mut held = db.tenancy.tenant(&acme).expect("acme");
        leave_things(&mut held);
        let mut public = db.tenancy.public().expect("public");
        acme.rename(&mut public, &name("acme_inc"))
            .expect("renamed");
        globex.rename(&mut public, &name("acme")).expect("renamed");
        let _ = held.with_schema(&name("acme"), |conn| Ok::<_, Error>(rooms_of(conn)));
        drop(held);
        // Whichever session it gets: the other one is out.
        let mut conn = db.tenancy.tenant(&globex).expect("globex");
        assert_eq!(rooms_of(&mut conn), [""; 0], "{mode:?}");
    }
}

#[test]
fn c20_a_scope_that_could_not_be_chosen_inside_leaves_nothing_of_the_last_tenant() {
    for mode in MODES {
        let (db, [acme, globex]) = one_session(mode);
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.tenant(&globex).expect("globex");
        let inside = conn.with_tenant(&globex, |conn| conn.set_schema(&name("nobody")));
        assert!(inside.is_err(), "there is no such schema");
        assert_eq!(rooms_of(&mut conn), [""; 0], "{mode:?}");
    }
}

/// What someone finds who borrows Diesel's own connection.
fn found_by_a_borrower(conn: &mut PgConnection) -> (bool, Vec<String>) {
    let found = conn.batch_execute("SELECT * FROM rooms").is_ok();
    let timeout = "SELECT current_setting('statement_timeout') AS value";
    (found, strings(conn, timeout))
}

#[test]
fn c20_a_borrower_without_a_tenant_finds_nothing_of_the_last_one() {
    for mode in MODES {
        let (db, [acme, _]) = one_session(mode);
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.pool().get().expect("a connection");
        let found = found_by_a_borrower(&mut conn);
        assert_eq!(found, (false, vec!["0".to_owned()]), "{mode:?}, at once");
        drop(conn);
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.pool().get().expect("a connection");
        // Once more, where a tenant was chosen in vain.
        conn.set_schema(&name("nobody")).expect_err("no schema");
        let found = found_by_a_borrower(&mut conn);
        assert_eq!(found, (false, vec!["0".to_owned()]), "{mode:?}");
        // What the borrower leaves is there the next time: it is their own.
        let inner: &mut PgConnection = &mut conn;
        inner
            .batch_execute("CREATE TEMPORARY TABLE mine (id integer)")
            .expect("made");
        let inner: &mut PgConnection = &mut conn;
        inner.batch_execute("SELECT * FROM mine").expect("there");
    }
}

#[test]
fn c05_a_transaction_that_sees_the_past_finds_no_schema_that_is_gone() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let acme = db.tenant("acme");
        set_trap(&db);
        let mut conn = db.tenancy.public().expect("public");
        let read = conn.build_transaction().repeatable_read().run(|conn| {
            assert_eq!(rooms_of(conn), ["Trap"], "it sees this moment from now on");
            let mut other = db.tenancy.public().expect("public");
            let with_schema = DeleteOptions::new().auto_drop_schema(true);
            acme.delete_with(&mut other, with_schema).expect("deleted");
            conn.with_tenant(&acme, |conn| Ok::<_, Error>(rooms_of(conn)))
        });
        let error = read.expect_err("there is no schema");
        assert!(
            matches!(error, Error::NoSuchSchema { .. }),
            "{mode:?}: {error}"
        );
    }
}

#[test]
fn c24_a_schema_that_was_made_in_a_transaction_is_not_there_when_that_is_rolled_back() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        set_trap(&db);
        let mut conn = db.tenancy.public().expect("public");
        conn.begin_test_transaction().expect("begun");
        let mut acme = crate::support::client("acme");
        acme.save(&mut conn).expect("saved");
        conn.set_tenant(&acme).expect("chosen");
        assert_eq!(rooms_of(&mut conn), [""; 0]);
        TenantTransactionManager::rollback_transaction(&mut *conn).expect("rolled back");
        let read = rooms::table.select(rooms::name).load::<String>(&mut conn);
        assert!(read.is_err(), "{mode:?}: {read:?}");
    }
}

#[test]
fn c05_a_transaction_that_has_looked_before_finds_no_schema_that_is_gone() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let [acme, globex] = db.tenants(["acme", "globex"]);
        set_trap(&db);
        let mut conn = db.tenancy.public().expect("public");
        let read = conn.transaction(|conn| {
            conn.with_tenant(&acme, |conn| Ok::<_, Error>(rooms_of(conn)))?;
            conn.with_tenant(&globex, |_| Ok::<_, Error>(()))?;
            // As another program would: nobody here is told.
            let rename = "ALTER SCHEMA acme RENAME TO other";
            db.raw().batch_execute(rename).expect("renamed");
            conn.with_tenant(&acme, |conn| Ok::<_, Error>(rooms_of(conn)))
        });
        let error = read.expect_err("there is no schema");
        assert!(
            matches!(error, Error::NoSuchSchema { .. }),
            "{mode:?}: {error}"
        );
    }
}

#[test]
fn a_rename_whose_commit_is_refused_ends_no_scope() {
    for mode in MODES {
        let db = Db::with(|builder| builder.app(customers()).app(hotels()).set_calls(mode));
        let mut acme = db.tenant("acme");
        db.raw()
            .batch_execute(
                "CREATE TABLE public.seen (client integer REFERENCES clients DEFERRABLE INITIALLY DEFERRED)",
            )
            .expect("made");
        let mut held = db.tenancy.tenant(&acme).expect("acme");
        insert_room(&mut held, 1, "Blue");
        let mut conn = db.tenancy.public().expect("public");
        let refused = conn.transaction(|conn| {
            acme.rename(conn, &name("acme_inc"))?;
            conn.batch_execute("INSERT INTO public.seen VALUES (4711)")?;
            Ok::<_, Error>(())
        });
        assert!(refused.is_err(), "nobody is 4711");
        assert_eq!(rooms_of(&mut held), ["Blue"], "{mode:?}");
    }
}

#[test]
fn what_the_holder_of_a_connection_without_a_scope_has_outlasts_what_is_lent() {
    for mode in MODES {
        let (db, [acme, globex]) = one_session(mode);
        leave_things(&mut db.tenancy.tenant(&acme).expect("acme"));
        let mut conn = db.tenancy.pool().get().expect("a connection");
        let inner: &mut PgConnection = &mut conn;
        let own = "SELECT pg_advisory_lock(4712); CREATE TEMPORARY TABLE mine (id integer)";
        inner.batch_execute(own).expect("the holder's own");
        for tenant in [&acme, &globex, &acme] {
            conn.with_tenant(tenant, |conn| Ok::<_, Error>(rooms_of(conn)))
                .expect("lent");
        }
        let inner: &mut PgConnection = &mut conn;
        let held = "SELECT 'held' AS value FROM pg_locks WHERE locktype = 'advisory' \
                    AND pid = pg_backend_pid() AND to_regclass('pg_temp.mine') IS NOT NULL";
        assert_eq!(strings(inner, held), ["held"], "{mode:?}");
    }
}
