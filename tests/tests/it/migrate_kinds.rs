//! Migrations of every kind: outside a transaction, written in Rust, with values added to an enum.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::{
    AnsiTransactionManager, BoxableConnection, SimpleConnection as _, TransactionManager as _,
};
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use tenant_schemas::{App, AppScope, Error, Lifecycle as _, Tenancy};

use crate::bad_input::chain;
use crate::support::{Client, Db, Name, client, customers, hotels, name, sql_app, strings};

/// Indexes of the rooms, each built outside a transaction. Nothing is in the way of a second try.
fn indexes() -> App {
    sql_app(
        "indexes",
        AppScope::Tenant,
        &[
            (
                "2024-03-01-000000_before",
                "ALTER TABLE rooms ADD COLUMN size integer",
                "",
            ),
            (
                "2024-03-02-000000_indexes!",
                "DROP INDEX CONCURRENTLY IF EXISTS rooms_size;\n\
                 CREATE INDEX CONCURRENTLY rooms_size ON rooms (size); -- one; and\n\
                 DROP INDEX CONCURRENTLY IF EXISTS rooms_name;\n\
                 CREATE UNIQUE INDEX CONCURRENTLY rooms_name ON rooms (name)",
                "DROP INDEX CONCURRENTLY rooms_size; DROP INDEX CONCURRENTLY rooms_name",
            ),
            (
                "2024-03-03-000000_after",
                "ALTER TABLE rooms ADD COLUMN view text",
                "",
            ),
        ],
    )
}

/// The valid indexes of a schema.
fn valid(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT c.relname::text AS value FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_class t ON t.oid = i.indrelid \
         WHERE t.relname = 'rooms' AND t.relnamespace = '{schema}'::regnamespace \
         AND i.indisvalid ORDER BY 1"
    ))
}

#[test]
fn c48_an_index_is_built_concurrently_in_every_tenant() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(indexes()));
    for atomic in [false, true] {
        let report = tenancy.migrate().atomic(atomic).run().expect("a report");
        report.into_result().expect("migrated");
        for schema in ["t1", "t2"] {
            assert_eq!(
                valid(&db, schema),
                ["rooms_name", "rooms_pkey", "rooms_size"]
            );
        }
        assert!(tenancy.migrate().check().expect("checked").is_empty());
        let down = tenancy
            .migrate()
            .tenants()
            .app("indexes")
            .to("2024-03-01")
            .fake(false);
        // The last one can't be reverted, so only the ledger is.
        let error = down
            .run()
            .expect("a report")
            .into_result()
            .expect_err("irreversible");
        assert!(matches!(error, Error::SomeFailed { .. }), "{error}");
        db.raw()
            .batch_execute(
                "DROP INDEX t1.rooms_name, t1.rooms_size, t2.rooms_name, t2.rooms_size; \
                 ALTER TABLE t1.rooms DROP size, DROP view; ALTER TABLE t2.rooms DROP size, DROP view",
            )
            .expect("undone by hand");
        let forgotten = tenancy
            .migrate()
            .tenants()
            .app("indexes")
            .to_zero()
            .fake(true)
            .run();
        forgotten
            .expect("a report")
            .into_result()
            .expect("forgotten");
    }
}

#[test]
fn c48_a_new_tenant_gets_its_indexes_after_the_commit() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).app(indexes()));
    let mut acme = client("acme");
    let saved = acme
        .save(&mut db.tenancy.public().expect("a connection"))
        .expect("saved");
    let applied: Vec<&str> = saved.applied.iter().map(|id| id.version.as_str()).collect();
    assert_eq!(
        applied,
        [
            "20240201000000",
            "20240301000000",
            "20240302000000",
            "20240303000000"
        ]
    );
    assert_eq!(
        valid(&db, "acme"),
        ["rooms_name", "rooms_pkey", "rooms_size"]
    );
    // In a transaction of the caller's they wait for its commit.
    let mut conn = db.tenancy.public().expect("a connection");
    conn.transaction(|conn| {
        let saved = client("globex").save(conn)?;
        assert_eq!(saved.applied.len(), 2);
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert_eq!(
        valid(&db, "globex"),
        ["rooms_name", "rooms_pkey", "rooms_size"]
    );
    assert!(db.tenancy.migrate().check().expect("checked").is_empty());
}

#[test]
fn c48_one_that_fails_names_its_line_and_is_resumed_there() {
    let db = Db::new();
    let [t1, t2] = db.tenants(["t1", "t2"]);
    for (tenant, names) in [(&t1, ["Blue", "Blue"]), (&t2, ["Blue", "Red"])] {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        for (id, name) in (1..).zip(names) {
            crate::support::insert_room(&mut conn, id, name);
        }
    }
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(indexes()));
    let report = tenancy.migrate().run().expect("a report");
    let failed: Vec<(&str, String)> = report
        .failed()
        .map(|(schema, error)| (schema.as_str(), error.to_string()))
        .collect();
    assert_eq!(
        failed,
        [(
            "t1",
            "migration indexes/2024-03-02-000000_indexes failed in schema t1 at line 4".to_owned()
        )]
    );
    assert_eq!(valid(&db, "t1"), ["rooms_pkey", "rooms_size"]);
    let pending = tenancy.migrate().check().expect("checked");
    let steps: Vec<&str> = pending.schemas[0]
        .steps
        .iter()
        .map(|step| step.id.version.as_str())
        .collect();
    assert_eq!(steps, ["20240302000000", "20240303000000"]);
    db.raw()
        .batch_execute("UPDATE t1.rooms SET name = 'Green' WHERE id = 2")
        .expect("repaired");
    tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("resumed");
    assert_eq!(valid(&db, "t1"), ["rooms_name", "rooms_pkey", "rooms_size"]);
}

/// Renames the rooms after their schema: it has to run in each, on its connection.
#[derive(Clone)]
struct Renames {
    name: Name,
    transactional: bool,
}

impl Renames {
    fn source(transactional: bool) -> RustMigrations {
        RustMigrations(vec![Self {
            name: Name("2024-04-01-000000_renames".to_owned()),
            transactional,
        }])
    }
}

#[derive(Clone)]
struct RustMigrations(Vec<Renames>);

impl MigrationSource<Pg> for RustMigrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(self
            .0
            .iter()
            .map(|one| Box::new(one.clone()) as Box<dyn Migration<Pg>>)
            .collect())
    }
}

impl Migration<Pg> for Renames {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        // As such migrations are written: it has to be this connection, or there is no way on.
        let conn = conn
            .as_any_mut()
            .downcast_mut::<PgConnection>()
            .expect("a PgConnection");
        let schema = strings(conn, "SELECT current_schema()::text AS value").remove(0);
        assert!(schema != "panics", "not in {schema}");
        if schema == "fails" {
            return Err(format!("not in {schema}").into());
        }
        let renamed = diesel::update(crate::support::rooms::table)
            .set(crate::support::rooms::name.eq(schema))
            .execute(conn)?;
        assert!(renamed < 10);
        Ok(())
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        Ok(conn.batch_execute("UPDATE rooms SET name = 'reverted'")?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

impl MigrationMetadata for Renames {
    fn run_in_transaction(&self) -> bool {
        self.transactional
    }
}

fn room_names(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT name AS value FROM \"{schema}\".rooms ORDER BY id"
    ))
}

fn with_rooms(schemas: &[&str]) -> Db {
    let db = Db::new();
    for schema in schemas {
        let tenant = db.tenant(schema);
        let mut conn = db.tenancy.tenant(&tenant).expect("a connection");
        crate::support::insert_room(&mut conn, 1, "Blue");
    }
    db
}

fn aboard(db: &Db, app: App) -> Tenancy<Client> {
    let after = sql_app(
        "later",
        AppScope::Tenant,
        &[(
            "2024-05-01-000000_later",
            "CREATE TABLE later (id integer)",
            "DROP TABLE later",
        )],
    );
    db.again(|builder| builder.app(customers()).app(hotels()).app(app).app(after))
}

#[test]
fn c49_a_migration_in_rust_runs_in_every_tenant() {
    let renames = || App::new("renames", AppScope::Tenant);
    for (what, app) in [
        ("declared", renames().rust_migrations(Renames::source(true))),
        ("detected", renames().migrations(Renames::source(true))),
        (
            "declared, no transaction",
            renames().rust_migrations(Renames::source(false)),
        ),
        (
            "detected, no transaction",
            renames().migrations(Renames::source(false)),
        ),
    ] {
        for atomic in [false, true] {
            let db = with_rooms(&["t1", "t2"]);
            let tenancy = aboard(&db, app.clone());
            let run = tenancy.migrate().atomic(atomic).run().expect("a report");
            run.into_result().expect(what);
            for schema in ["t1", "t2"] {
                assert_eq!(room_names(&db, schema), [schema], "{what}");
                assert!(db.tables(schema).contains(&"later".to_owned()));
            }
            assert!(tenancy.migrate().check().expect("checked").is_empty());
            let down = tenancy
                .migrate()
                .schema(&name("t2"))
                .app("renames")
                .to_zero()
                .run();
            down.expect("a report").into_result().expect("reverted");
            assert_eq!(room_names(&db, "t1"), ["t1"]);
            assert_eq!(room_names(&db, "t2"), ["reverted"]);
            // And for a tenant that is made with it.
            let new = client("new").save(&mut tenancy.public().expect("a connection"));
            assert_eq!(new.expect("saved").applied.len(), 3, "{what}");
        }
    }
}

/// Names the rooms in SQL, and in Rust when it is reverted.
#[derive(Clone)]
struct RevertsInRust(Renames);

impl MigrationSource<Pg> for RevertsInRust {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(vec![Box::new(self.clone())])
    }
}

impl Migration<Pg> for RevertsInRust {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        Ok(conn.batch_execute("UPDATE rooms SET name = 'in SQL'")?)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        self.0.run(conn)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &self.0
    }

    fn name(&self) -> &dyn MigrationName {
        &self.0.name
    }
}

#[test]
fn c49_a_migration_can_be_sql_one_way_and_rust_the_other() {
    let db = with_rooms(&["t1", "t2"]);
    let source = RevertsInRust(Renames::source(true).0.remove(0));
    let tenancy = aboard(&db, App::new("mixed", AppScope::Tenant).migrations(source));
    let up = tenancy.migrate().run().expect("a report");
    up.into_result().expect("migrated");
    assert_eq!(room_names(&db, "t2"), ["in SQL"]);
    let down = tenancy
        .migrate()
        .tenants()
        .app("mixed")
        .to_zero()
        .run()
        .expect("a report");
    down.into_result().expect("reverted");
    assert_eq!(room_names(&db, "t1"), ["t1"]);
    assert_eq!(room_names(&db, "t2"), ["t2"]);
}

#[test]
fn c49_a_migration_in_rust_that_fails_or_panics_is_one_tenants_failure() {
    for transactional in [true, false] {
        let db = with_rooms(&["fails", "panics", "t1"]);
        let app =
            App::new("renames", AppScope::Tenant).rust_migrations(Renames::source(transactional));
        let tenancy = aboard(&db, app);
        let report = tenancy.migrate().run().expect("a report");
        let failed: Vec<String> = report
            .failed()
            .map(|(_, error)| error.to_string())
            .collect();
        assert_eq!(
            failed,
            [
                "migration renames/2024-04-01-000000_renames failed in schema fails",
                "the work for schema panics panicked: not in panics",
            ]
        );
        assert_eq!(room_names(&db, "fails"), ["Blue"]);
        assert_eq!(room_names(&db, "panics"), ["Blue"]);
        assert_eq!(room_names(&db, "t1"), ["t1"]);
        // No lock is left behind, and no connection in the middle of something.
        let locks = "SELECT count(*)::text AS value FROM pg_locks WHERE locktype = 'advisory' \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(db.strings(locks), ["0"]);
        let again = tenancy.migrate().run().expect("a report");
        assert_eq!(again.failed().count(), 2);
    }
}

type Run = fn(&mut PgConnection) -> QueryResult<()>;

/// A migration that is a function.
#[derive(Clone)]
struct Code {
    name: Name,
    transactional: bool,
    run: Run,
}

/// An app of one such migration.
fn code(transactional: bool, run: Run) -> App {
    App::new("code", AppScope::Tenant).rust_migrations(Code {
        name: Name("2024-05-01-000000_code".to_owned()),
        transactional,
        run,
    })
}

impl MigrationSource<Pg> for Code {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(vec![Box::new(self.clone())])
    }
}

impl Migration<Pg> for Code {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        let conn = conn.as_any_mut().downcast_mut().expect("a PgConnection");
        Ok((self.run)(conn)?)
    }

    fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        Ok(())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

impl MigrationMetadata for Code {
    fn run_in_transaction(&self) -> bool {
        self.transactional
    }
}

/// Begins a transaction, or ends the one that is there, as Diesel does or by hand.
const UNBALANCED: [(bool, Run); 5] = [
    (true, AnsiTransactionManager::begin_transaction),
    (false, AnsiTransactionManager::begin_transaction),
    (true, AnsiTransactionManager::commit_transaction),
    (true, AnsiTransactionManager::rollback_transaction),
    (true, |conn| conn.batch_execute("COMMIT")),
];

#[test]
fn c49_a_migration_in_rust_that_leaves_a_transaction_another_fails_and_is_not_recorded() {
    for (number, (transactional, run)) in UNBALANCED.into_iter().enumerate() {
        let db = with_rooms(&["t1"]);
        let tenancy = aboard(&db, code(transactional, run));
        // Twice: a failure that was recorded as a success would not come again.
        for _ in 0..2 {
            let report = tenancy.migrate().run().expect("a report");
            let failed: Vec<String> = report.failed().map(|(_, error)| chain(error)).collect();
            let [failed] = failed.as_slice() else {
                panic!("{number}: {failed:?}");
            };
            assert!(
                failed.starts_with("migration code/2024-05-01-000000_code failed in schema t1")
                    && failed.contains("use `conn.transaction(..)`"),
                "{number}: {failed}"
            );
        }
        let recorded = "SELECT app AS value FROM t1.__tenant_migrations WHERE app = 'code'";
        assert_eq!(db.strings(recorded), [""; 0], "{number}");
    }
}

#[test]
fn a_tenant_whose_migration_leaves_a_transaction_open_is_not_said_to_be_saved() {
    let db = with_rooms(&[]);
    let tenancy = aboard(&db, code(true, AnsiTransactionManager::begin_transaction));
    let mut conn = tenancy.public().expect("a connection");
    let error = client("acme").save(&mut conn).expect_err("unbalanced");
    assert!(matches!(error, Error::Migration { .. }), "{error}");
    // And nothing that comes after it goes down with it.
    conn.batch_execute("CREATE TABLE public.afterwards ()")
        .expect("created");
    drop(conn);
    assert!(db.tables("public").contains(&"afterwards".to_owned()));
    assert!(!db.schema_exists("acme"));
}

#[test]
fn a_panic_that_the_caller_catches_leaves_no_lock_in_the_pool() {
    let db = with_rooms(&[]);
    let tenancy = aboard(&db, code(false, |_| panic!("on purpose")));
    let mut conn = tenancy.public().expect("a connection");
    let saved = catch_unwind(AssertUnwindSafe(|| client("acme").save(&mut conn)));
    assert!(saved.is_err(), "the panic is the caller's");
    drop(conn);
    // It goes with its connection, and migrating resumes where it stopped.
    assert_eq!(tenancy.pool().state().idle_connections, 0);
    let report = aboard(&db, code(false, |_| Ok(()))).migrate().run();
    let done = report.expect("a report").into_result().expect("migrated");
    assert_eq!(done[1].1.applied.len(), 2, "{done:?}");
}

#[test]
fn a_panic_does_not_end_the_thread_that_keeps_schemas_ready() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let db = with_rooms(&[]);
    let once = code(true, |_| {
        assert!(PANICKED.swap(true, Ordering::Relaxed), "the first time");
        Ok(())
    });
    let tenancy = aboard(&db, once);
    let ready = tenancy.ready_schemas(1);
    let keep = ready.every(Duration::from_millis(10)).keep();
    let waiting = "SELECT nspname::text AS value FROM pg_namespace \
                   WHERE starts_with(nspname, '__tenant_schemas_ready_')";
    for _ in 0..1000 {
        if !db.strings(waiting).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    drop(keep);
    assert!(PANICKED.load(Ordering::Relaxed));
    assert_eq!(db.strings(waiting).len(), 1);
}

/// A value is added, and used by the next migration.
fn moods(label: &str) -> App {
    sql_app(
        label,
        AppScope::Tenant,
        &[
            (
                "2024-06-01-000000_moods",
                "CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE felt (how mood)",
                "",
            ),
            (
                "2024-06-02-000000_sad",
                "ALTER TYPE mood ADD VALUE 'sad'",
                "",
            ),
            (
                "2024-06-03-000000_felt",
                "INSERT INTO felt VALUES ('sad')",
                "",
            ),
            (
                "2024-06-04-000000_after",
                "CREATE TABLE after_all (id integer)",
                "",
            ),
        ],
    )
}

fn older_moods() -> App {
    sql_app(
        "moods",
        AppScope::Tenant,
        &[(
            "2024-06-01-000000_moods",
            "CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE felt (how mood)",
            "",
        )],
    )
}

fn felt(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!("SELECT how::text AS value FROM {schema}.felt"))
}

#[test]
fn a_value_added_to_an_enum_can_be_used_by_the_next_migration() {
    let db = Db::with(|builder| builder.app(customers()).app(older_moods()));
    db.tenant("acme");
    let tenancy = db.again(|builder| builder.app(customers()).app(moods("moods")));
    let report = tenancy.migrate().atomic(true).run().expect("a report");
    let (_, error) = report.failed().next().expect("not in one transaction");
    assert_eq!(
        error.to_string(),
        "migration moods/2024-06-03-000000_felt failed in schema acme at line 1 \
         (a value that `ALTER TYPE .. ADD VALUE` adds can be used once it is committed: \
         use it in a later migration, and migrate without `atomic`)"
    );
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "felt"]);
    tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("one transaction for each");
    assert_eq!(felt(&db, "acme"), ["sad"]);
}

#[test]
fn a_value_added_to_an_enum_can_be_used_while_a_tenant_is_made() {
    let db = Db::with(|builder| builder.app(customers()).app(moods("moods")));
    let saved = client("acme")
        .save(&mut db.tenancy.public().expect("a connection"))
        .expect("saved");
    assert_eq!(saved.applied.len(), 4);
    assert_eq!(felt(&db, "acme"), ["sad"]);
    assert!(db.tables("acme").contains(&"after_all".to_owned()));
    let mut conn = db.tenancy.public().expect("a connection");
    conn.transaction(|conn| client("globex").save(conn))
        .expect("saved");
    assert_eq!(felt(&db, "globex"), ["sad"]);
    assert!(db.tenancy.migrate().check().expect("checked").is_empty());
}

#[test]
fn a_value_added_and_used_in_one_migration_is_refused_and_leaves_nothing() {
    let both = sql_app(
        "moods",
        AppScope::Tenant,
        &[
            (
                "1_moods",
                "CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE felt (how mood)",
                "",
            ),
            (
                "2_sad",
                "ALTER TYPE mood ADD VALUE 'sad'; INSERT INTO felt VALUES ('sad')",
                "",
            ),
        ],
    );
    let db = Db::with(|builder| builder.app(customers()).app(both));
    // The newer servers allow it for a type of the same transaction.
    match client("acme").save(&mut db.tenancy.public().expect("a connection")) {
        Ok(_) => assert_eq!(felt(&db, "acme"), ["sad"]),
        Err(error) => {
            assert!(
                error.to_string().contains("use it in a later migration"),
                "{error}"
            );
            assert!(!db.schema_exists("acme"));
        }
    }
}

#[test]
fn c48_an_index_whose_making_was_interrupted_does_not_count_as_made() {
    let db = Db::new();
    let tenant = db.tenant("t1");
    let mut conn = db.tenancy.tenant(&tenant).expect("t1");
    conn.batch_execute("INSERT INTO rooms VALUES (1, 'Blue'), (2, 'Blue')")
        .expect("rows");
    // As a crash would leave it.
    conn.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY rooms_name ON rooms (name)")
        .expect_err("two of one name");
    drop(conn);
    let app = sql_app(
        "indexes",
        AppScope::Tenant,
        &[(
            "2024-03-01-000000_name!",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS rooms_name ON rooms (name)",
            "",
        )],
    );
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(app));
    let run = || {
        tenancy
            .migrate()
            .tenants()
            .run()
            .expect("a report")
            .into_result()
    };
    let error = chain(&run().expect_err("it is of no use"));
    let out = "DROP INDEX CONCURRENTLY \"t1\".\"rooms_name\"";
    assert!(
        error.contains("2024-03-01-000000_name") && error.contains(out),
        "{error}"
    );
    db.raw().batch_execute(out).expect("dropped");
    run().expect("made");
    assert_eq!(valid(&db, "t1"), ["rooms_name", "rooms_pkey"]);
}

#[test]
fn c46_what_a_migration_sets_for_its_transaction_is_not_the_next_ones() {
    let db = Db::with(|builder| builder.app(customers()));
    let role = format!("{}_owner", db.database.name());
    db.raw()
        .batch_execute(&format!("CREATE ROLE {role}"))
        .expect("a role");
    let seen = "current_user || ' ' || current_setting('lock_timeout') || ' ' \
                || coalesce(nullif(current_setting('app.login', true), ''), 'nobody')";
    let first = format!(
        "CREATE TABLE seen AS SELECT 1 AS id, 'x'::text AS line; \
         DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema()); END $$; \
         GRANT ALL ON seen TO {role}; SET LOCAL ROLE {role}; SET LOCAL lock_timeout = '7s'; \
         SET LOCAL app.login = 'x'; INSERT INTO seen SELECT 2, {seen}"
    );
    let second = format!("INSERT INTO seen SELECT 3, {seen}");
    let app = sql_app(
        "rights",
        AppScope::Tenant,
        &[("1_first", &first, ""), ("2_second", &second, "")],
    );
    let tenancy = db.again(|builder| builder.app(customers()).app(app));
    for atomic in [false, true] {
        let schema = if atomic { "b" } else { "a" };
        if atomic {
            let options = tenant_schemas::SaveOptions::new().auto_create_schema(false);
            let mut tenant = client(schema);
            let mut conn = tenancy.public().expect("public");
            tenant.save_with(&mut conn, options).expect("saved");
            conn.batch_execute("CREATE SCHEMA b")
                .expect("an empty schema");
            let run = tenancy.migrate().schema(&name(schema)).atomic(true).run();
            run.expect("a report").into_result().expect("migrated");
        } else {
            client(schema)
                .save(&mut tenancy.public().expect("public"))
                .expect("saved");
        }
        let lines = db.strings(&format!(
            "SELECT line AS value FROM {schema}.seen ORDER BY id"
        ));
        assert_eq!(
            lines[1..],
            [format!("{role} 7s x"), "postgres 0 nobody".to_owned()]
        );
    }
    db.raw()
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .expect("dropped");
}
