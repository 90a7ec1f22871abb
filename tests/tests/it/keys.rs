//! Foreign keys to shared tables: made last when a tenant is saved, and the same as if they were not.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{App, AppScope, DumpOptions, DumpTenant as _, Error, Lifecycle as _};

use crate::support::{Client, Db, client, customers, hotels, sql_app};

/// Writes down which locks on `plans` keep others from writing, at this point of a migration.
const LOOK: &str = "INSERT INTO seen SELECT count(*) FROM pg_locks \
     WHERE relation = 'public.plans'::regclass AND mode = 'ShareRowExclusiveLock' \
     AND pid = pg_backend_pid();";

const LODGES: &str = "CREATE TABLE seen (locks integer); \
     CREATE TABLE lodges (id integer PRIMARY KEY, plan_id integer NOT NULL REFERENCES public.plans (id));";

fn app(migrations: &[(&str, &str)]) -> App {
    let migrations: Vec<(&str, &str, &str)> = migrations
        .iter()
        .map(|(name, up)| (*name, *up, ""))
        .collect();
    sql_app("lodging", AppScope::Tenant, &migrations)
}

fn with(migrations: &[(&str, &str)]) -> Db {
    Db::with(|builder| builder.app(customers()).app(hotels()).app(app(migrations)))
}

fn keys(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT conrelid::regclass || ' ' || conname || ' ' || convalidated || ' ' || pg_get_constraintdef(oid) AS value \
         FROM pg_constraint WHERE contype = 'f' AND connamespace = '{schema}'::regnamespace ORDER BY 1"
    ))
}

fn seen(db: &Db) -> Vec<String> {
    db.strings("SELECT locks::text AS value FROM acme.seen")
}

#[test]
fn a_shared_table_is_not_locked_before_the_last_migration_is_through() {
    let db = with(&[("1_lodges", LODGES), ("2_look", LOOK)]);
    db.tenant("acme");
    assert_eq!(seen(&db), ["0"]);
    assert_eq!(
        keys(&db, "acme"),
        ["acme.lodges lodges_plan_id_fkey true FOREIGN KEY (plan_id) REFERENCES plans(id)"]
    );
    let orphan = db
        .raw()
        .batch_execute("INSERT INTO acme.lodges VALUES (1, 77)");
    assert!(orphan.is_err(), "the key is there to refuse it");
}

#[test]
fn a_migration_that_may_ask_for_the_key_finds_it() {
    let asks = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'lodges_plan_id_fkey') \
         THEN RAISE 'no key'; END IF; END $$;";
    let db = with(&[("1_lodges", LODGES), ("2_asks", asks), ("3_look", LOOK)]);
    db.tenant("acme");
    assert_eq!(seen(&db), ["1"]);
}

/// Saves a tenant whose last migration waits, and says whether a plan can be changed meanwhile.
fn plans_can_change_while(migrations: &[(&str, &str)]) -> bool {
    let waits = "INSERT INTO seen SELECT 1 FROM (SELECT pg_advisory_xact_lock(4711)) AS waited";
    let db = with(&[migrations, &[("9_waits", waits)]].concat());
    let mut raw = db.raw();
    raw.batch_execute("SELECT pg_advisory_lock(4711)")
        .expect("locked");
    let saving = thread::spawn({
        let tenancy = db.tenancy.clone();
        move || client("acme").save(&mut tenancy.public().expect("public"))
    });
    let waiting = "SELECT 'yes' AS value FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for _ in 0..1000 {
        if !db.strings(waiting).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(db.strings(waiting), ["yes"]);
    let changed = raw.batch_execute(
        "SET lock_timeout = '200ms'; UPDATE plans SET name = 'gratis' WHERE id = 1; \
         INSERT INTO plans VALUES (3, 'more')",
    );
    raw.batch_execute("SELECT pg_advisory_unlock(4711)")
        .expect("unlocked");
    saving.join().expect("no panic").expect("saved");
    assert_eq!(keys(&db, "acme").len(), 1);
    changed.is_ok()
}

#[test]
fn shared_tables_are_written_to_while_a_tenant_is_made() {
    assert!(plans_can_change_while(&[("1_lodges", LODGES)]));
    // The control: where the key stays in its place, nobody can.
    assert!(!plans_can_change_while(&[
        ("1_lodges", LODGES),
        ("2_asks", "DO $$ BEGIN NULL; END $$"),
    ]));
}

#[test]
fn keys_that_are_made_last_are_the_same_as_if_they_were_not() {
    let db = with(&[
        (
            "1_tables",
            "CREATE TABLE lodges (id integer PRIMARY KEY, -- the number\n\
             plan_id integer REFERENCES public.plans ON DELETE SET NULL, \
             other integer CONSTRAINT \"Other\" REFERENCES \"public\".\"plans\" (id) DEFERRABLE, \
             lodge_id integer REFERENCES lodges, name text NOT NULL);\n\
             CREATE TABLE lodges_plan (id integer REFERENCES public.plans, CHECK (id > 0), \
             FOREIGN KEY (id) REFERENCES lodges (id));",
        ),
        (
            "2_more",
            "INSERT INTO lodges VALUES (1, 1, 2, 1, 'one'); \
             ALTER TABLE lodges ADD COLUMN third integer NOT NULL DEFAULT 2 REFERENCES public.plans (id) MATCH FULL; \
             ALTER TABLE ONLY lodges_plan ADD CONSTRAINT late FOREIGN KEY (id) REFERENCES public.plans (id) ON UPDATE CASCADE;\n\
             CREATE VIEW v AS SELECT * FROM lodges",
        ),
    ]);
    let acme = db.tenant("acme");
    // A schema that is there already is migrated in the order of its migrations.
    db.raw()
        .batch_execute("CREATE SCHEMA globex")
        .expect("created");
    let mut globex = client("globex");
    globex
        .adopt(&mut db.tenancy.public().expect("public"))
        .expect("adopted");

    assert_eq!(keys(&db, "acme").len(), 7);
    let dump = |tenant: &Client| {
        let mut out = Vec::new();
        tenant
            .dump_to(
                &mut db.tenancy.public().expect("public"),
                &mut out,
                DumpOptions::new(),
            )
            .expect("dumped");
        let text = String::from_utf8(out)
            .expect("text")
            .replace(tenant.schema_name.as_str(), "it");
        text.lines()
            .filter(|line| !line.contains("\t20") && !line.contains("dumped by"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(dump(&acme), dump(&globex));
}

#[test]
fn rows_that_no_key_allows_are_refused_where_they_stand() {
    let db = with(&[
        ("1_lodges", LODGES),
        (
            "2_rows",
            "INSERT INTO seen VALUES (0);\nINSERT INTO lodges VALUES (1, 77);",
        ),
        ("3_more", "CREATE TABLE more (id integer)"),
    ]);
    let error = client("acme")
        .save(&mut db.tenancy.public().expect("public"))
        .expect_err("no plan 77");
    let Error::Migration { version, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(version, "2_rows");
    assert!(!db.schema_exists("acme"));
}

#[test]
fn rows_that_wait_for_a_check_of_their_own_do_not_keep_the_keys_from_being_made() {
    let db = with(&[
        (
            "1_lodges",
            "CREATE TABLE lodges (id integer PRIMARY KEY, plan_id integer REFERENCES public.plans, \
             next integer REFERENCES lodges DEFERRABLE INITIALLY DEFERRED)",
        ),
        ("2_rows", "INSERT INTO lodges VALUES (1, 1, 1)"),
    ]);
    db.tenant("acme");
    assert_eq!(keys(&db, "acme").len(), 2);
    let conn = &mut db.raw();
    let count = diesel::sql_query("DELETE FROM plans WHERE id = 1").execute(conn);
    assert!(count.is_err(), "the key is there to refuse it");
}

#[test]
fn a_shared_row_that_gets_another_key_takes_its_tenants_along() {
    let moves = "UPDATE plans SET id = id - 1";
    let app = app(&[
        (
            "1_lodges",
            "CREATE TABLE lodges (id integer PRIMARY KEY, plan_id integer REFERENCES public.plans ON UPDATE CASCADE); \
             INSERT INTO lodges VALUES (1, 1)",
        ),
        ("2_moves", moves),
    ]);
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(app.sees_shared(true))
    });
    assert_eq!(
        db.strings("SELECT id::text AS value FROM plans"),
        ["1", "2"]
    );
    db.tenant("acme");
    let lodges = "SELECT plan_id::text AS value FROM acme.lodges";
    assert_eq!(db.strings(lodges), ["0"]);
}
