//! A schema that lacks what one transaction can do gets it as one message: what that may not get wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{App, AppScope, Error, Report, Tenancy};

use crate::support::{Client, Db, customers, hotels, insert_room, name, rooms_of, sql_app};

/// A column of `rooms`: a migration that fits into one message.
fn beds() -> App {
    sql_app(
        "beds",
        AppScope::Tenant,
        &[(
            "2024-08-01-000000_beds",
            "ALTER TABLE rooms ADD COLUMN beds integer NOT NULL DEFAULT 2;\n\
             CREATE INDEX rooms_beds ON rooms (beds)",
            "ALTER TABLE rooms DROP COLUMN beds",
        )],
    )
}

fn with(db: &Db, app: App) -> Tenancy<Client> {
    db.again(|builder| builder.app(customers()).app(hotels()).app(app))
}

fn with_beds(db: &Db, pool_size: u32) -> Tenancy<Client> {
    db.again(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .app(beds())
            .pool_size(pool_size)
    })
}

/// How many migrations each tenant got.
fn counts(report: Report<tenant_schemas::Migrated>) -> Vec<usize> {
    let done = report.into_result().expect("migrated");
    done.iter().map(|(_, done)| done.applied.len()).collect()
}

/// The ledger, and what the table of states says of it.
fn ledger_and_state(db: &Db, schema: &str) -> [Vec<String>; 2] {
    let line = "app || '/' || version || '/' || checksum";
    [
        db.strings(&format!(
            "SELECT {line} AS value FROM {schema}.__tenant_migrations ORDER BY 1"
        )),
        db.strings(&format!(
            "SELECT unnest(applied) AS value FROM __tenant_schemas \
             WHERE schema_name = '{schema}' ORDER BY 1"
        )),
    ]
}

fn columns(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT attname::text AS value FROM pg_attribute \
         WHERE attrelid = '{schema}.rooms'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    ))
}

#[test]
fn ledger_state_and_tables_agree_afterwards() {
    for atomic in [false, true] {
        let db = Db::new();
        db.tenants(["t1", "t2"]);
        let tenancy = with(&db, beds());
        let run = || tenancy.migrate().tenants().atomic(atomic).jobs(2).run();
        assert_eq!(counts(run().expect("a report")), [1, 1]);
        for schema in ["t1", "t2"] {
            assert_eq!(columns(&db, schema), ["id", "name", "beds"]);
            let [ledger, state] = ledger_and_state(&db, schema);
            assert_eq!(ledger.len(), 2);
            assert_eq!(ledger, state);
        }
        assert_eq!(counts(run().expect("a report")), [0, 0]);
        let verified = tenancy.migrate().tenants().verify(true);
        assert!(verified.check().expect("checked").is_empty());
        // The fingerprint is the one of the ledger: a program that knows more sees what there is.
        let stale = db.strings(
            "SELECT schema_name AS value FROM __tenant_schemas AS s \
             GROUP BY fingerprint, schema_name HAVING schema_name <> 'public' \
             AND fingerprint <> (SELECT min(fingerprint) FROM __tenant_schemas WHERE schema_name <> 'public')",
        );
        assert!(stale.is_empty(), "{stale:?}");
    }
}

/// Puts the ledger of `t1` back to a state before `rooms`, by other hands.
fn put_back(db: &Db, ledger: &str) {
    let drop =
        "DROP TABLE t1.rooms; CREATE TABLE t1.kept AS TABLE t1.__tenant_migrations WITH NO DATA";
    db.raw()
        .batch_execute(&format!("{drop}; {ledger}; DROP TABLE t1.kept"))
        .expect("changed");
}

#[test]
fn a_ledger_that_came_from_a_backup_is_read_again() {
    // What `pg_restore --clean --schema` does: the schema itself stays.
    let restored = "DROP TABLE t1.__tenant_migrations; \
         CREATE TABLE t1.__tenant_migrations (LIKE t1.kept INCLUDING ALL); \
         ALTER TABLE t1.__tenant_migrations ALTER COLUMN run_on SET DEFAULT now(), ADD PRIMARY KEY (app, version)";
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    put_back(&db, restored);
    // Nothing is pending, as far as the states say.
    let again = || db.again(|builder| builder.app(customers()).app(hotels()));
    assert_eq!(
        again()
            .migrate()
            .tenants()
            .check()
            .expect("checked")
            .schemas
            .len(),
        1
    );
    let report = again().migrate().tenants().run();
    assert_eq!(counts(report.expect("a report")), [1, 0]);
    put_back(&db, restored);
    let report = with(&db, beds()).migrate().tenants().run();
    assert_eq!(counts(report.expect("a report")), [2, 1]);
    assert_eq!(columns(&db, "t1"), ["id", "name", "beds"]);
    let [ledger, state] = ledger_and_state(&db, "t1");
    assert_eq!(ledger, state);
}

#[test]
fn a_ledger_that_was_changed_by_hand_is_read_again_by_a_run_that_verifies() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    put_back(&db, "DELETE FROM t1.__tenant_migrations");
    let report = with(&db, beds()).migrate().tenants().verify(true).run();
    assert_eq!(counts(report.expect("a report")), [2, 1]);
    assert_eq!(columns(&db, "t1"), ["id", "name", "beds"]);
    let [ledger, state] = ledger_and_state(&db, "t1");
    assert_eq!(ledger, state);
}

#[test]
fn states_that_do_not_say_which_ledger_they_are_of_are_written_anew() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    db.raw()
        .batch_execute("ALTER TABLE __tenant_schemas DROP COLUMN ledger_oid")
        .expect("as an earlier version made it");
    let tenancy = with(&db, beds());
    let run = || tenancy.migrate().tenants().jobs(2).run().expect("a report");
    assert_eq!(counts(run()), [1, 1]);
    assert_eq!(counts(run()), [0, 0]);
    let of = "SELECT schema_name AS value FROM __tenant_schemas \
         WHERE ledger_oid IS NOT NULL AND schema_name <> 'public' ORDER BY 1";
    assert_eq!(db.strings(of), ["t1", "t2"]);
}

#[test]
fn what_the_messages_have_in_common_is_prepared_again_after_it_was_deallocated() {
    let db = Db::new();
    let [t1, _, _] = db.tenants(["t1", "t2", "t3"]);
    let tenancy = with_beds(&db, 1);
    for (schema, by_hand) in [
        ("t1", "DEALLOCATE ALL"),
        ("t2", "DISCARD ALL"),
        ("t3", "SELECT"),
    ] {
        let only = tenancy.migrate().schema(&name(schema));
        assert_eq!(counts(only.run().expect("a report")).pop(), Some(1));
        assert_eq!(columns(&db, schema), ["id", "name", "beds"]);
        let mut conn = tenancy.tenant(&t1).expect("a connection");
        conn.batch_execute(by_hand).expect("run");
    }
}

#[test]
fn a_state_that_changed_since_the_fleet_was_read_is_asked_again() {
    let db = Db::new();
    let [t1, _] = db.tenants(["t1", "t2"]);
    let tenancy = with(&db, beds());
    // By the time that `t2` has its turn, the state of it says something else.
    let meanwhile = Meanwhile::new(
        &db,
        "DROP TABLE t2.rooms; DELETE FROM t2.__tenant_migrations; \
         UPDATE __tenant_schemas SET applied = '{}', fingerprint = 'another' WHERE schema_name = 't2'",
    );
    let report = tenancy.migrate().tenants().executor(meanwhile).run();
    assert_eq!(counts(report.expect("a report")), [1, 2]);
    assert_eq!(columns(&db, "t2"), ["id", "name", "beds"]);
    assert_eq!(
        rooms_of(&mut tenancy.tenant(&t1).expect("a connection")),
        [""; 0]
    );
}

#[test]
fn a_state_that_is_gone_since_the_fleet_was_read_is_asked_again() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    // The migration does not need what the schema lacks now: nothing else would tell.
    let app = sql_app(
        "beds",
        AppScope::Tenant,
        &[("1_beds", "CREATE TABLE beds (id integer)", "")],
    );
    let meanwhile = Meanwhile::new(
        &db,
        "DROP TABLE t2.rooms; DELETE FROM t2.__tenant_migrations; \
         DELETE FROM __tenant_schemas WHERE schema_name = 't2'",
    );
    let tenancy = with(&db, app);
    let report = tenancy.migrate().tenants().executor(meanwhile).run();
    assert_eq!(counts(report.expect("a report")), [1, 2]);
    let [ledger, state] = ledger_and_state(&db, "t2");
    assert_eq!((ledger.len(), ledger), (2, state));
}

/// Does something after the first job.
struct Meanwhile(std::sync::Mutex<diesel::PgConnection>, &'static str);

impl Meanwhile {
    fn new(db: &Db, sql: &'static str) -> Self {
        Self(std::sync::Mutex::new(db.raw()), sql)
    }
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl tenant_schemas::Executor for Meanwhile {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        job(0);
        self.0
            .lock()
            .expect("unpoisoned")
            .batch_execute(self.1)
            .expect("changed");
        (1..jobs).for_each(job);
    }
}

/// Has another program take the migration of the first job back when all are done.
struct TakenBack(Tenancy<Client>);

impl std::fmt::Debug for TakenBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TakenBack")
    }
}

impl tenant_schemas::Executor for TakenBack {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
        let first = name("t1");
        let back = self.0.migrate().schema(&first).app("beds").to_zero().run();
        let back = back.expect("a report").into_result().expect("reverted");
        assert_eq!(back[0].1.reverted.len(), 1, "it was there to be taken back");
    }
}

#[test]
fn what_was_taken_back_while_the_run_went_on_stays_so() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let other = TakenBack(with(&db, beds()));
    let tenancy = with(&db, beds());
    let report = tenancy.migrate().tenants().executor(other).run();
    assert_eq!(counts(report.expect("a report")), [1, 1]);
    assert_eq!(columns(&db, "t1"), ["id", "name"]);
    assert_eq!(columns(&db, "t2"), ["id", "name", "beds"]);
}

#[test]
fn what_another_run_did_since_the_fleet_was_read_is_not_done_again() {
    let db = Db::new();
    db.tenants(["t1"]);
    // The state says that it is pending; the ledger has it.
    let state =
        db.strings("SELECT fingerprint AS value FROM __tenant_schemas WHERE schema_name = 't1'");
    let applied = "UPDATE __tenant_schemas SET applied = applied[:1], fingerprint = ";
    assert_eq!(
        counts(
            with(&db, beds())
                .migrate()
                .tenants()
                .run()
                .expect("a report")
        ),
        [1]
    );
    db.raw()
        .batch_execute(&format!("{applied}'{}' WHERE schema_name = 't1'", state[0]))
        .expect("changed");
    assert_eq!(
        counts(
            with(&db, beds())
                .migrate()
                .tenants()
                .run()
                .expect("a report")
        ),
        [0]
    );
    let [ledger, state] = ledger_and_state(&db, "t1");
    assert_eq!((ledger.len(), ledger), (2, state));
}

#[test]
fn a_schema_whose_lock_is_held_is_waited_for() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let tenancy = with(&db, beds());
    let key = "('x' || encode(substr(sha256('tenant-schemas/t1'), 1, 8), 'hex'))::bit(64)::bigint";
    let mut other = db.raw();
    let locked = crate::support::strings(
        &mut other,
        &format!("SELECT pg_try_advisory_lock({key})::text AS value"),
    );
    assert_eq!(locked, ["true"]);
    thread::scope(|scope| {
        let run = scope.spawn(|| counts(tenancy.migrate().tenants().run().expect("a report")));
        let end = Instant::now() + Duration::from_secs(30);
        let asking = "SELECT count(*)::text AS value FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock($1)%' \
             AND query NOT LIKE '%pg_stat_activity%'";
        while db.strings(asking) == ["0"] {
            assert!(Instant::now() < end, "nobody asks for the lock");
            assert!(!run.is_finished(), "it went past the lock");
        }
        assert_eq!(columns(&db, "t1"), ["id", "name"]);
        other
            .batch_execute(&format!("SELECT pg_advisory_unlock({key})"))
            .expect("unlocked");
        assert_eq!(run.join().expect("no panic"), [1, 1]);
    });
    assert_eq!(columns(&db, "t1"), ["id", "name", "beds"]);
}

#[test]
fn a_temporary_table_of_an_earlier_tenant_is_not_migrated_in_the_place_of_the_real_one() {
    let db = Db::new();
    let [t1, _] = db.tenants(["t1", "t2"]);
    let tenancy = with_beds(&db, 2);
    // The run reads the tenants on the connection that was at the public schema before.
    let public = tenancy.public().expect("a connection");
    let mut conn = tenancy.tenant(&t1).expect("a connection");
    conn.batch_execute("CREATE TEMPORARY TABLE rooms (id integer)")
        .expect("made");
    assert_eq!(rooms_of_temp(&mut conn), 0); // control: it is there, in front of the real one
    drop(conn);
    drop(public);
    assert_eq!(
        counts(tenancy.migrate().tenants().run().expect("a report")),
        [1, 1]
    );
    for schema in ["t1", "t2"] {
        assert_eq!(columns(&db, schema), ["id", "name", "beds"]);
    }
}

fn rooms_of_temp(conn: &mut tenant_schemas::TenantConnection) -> usize {
    let found = crate::support::strings(conn, "SELECT count(*)::text AS value FROM pg_temp.rooms");
    found[0].parse().expect("a number")
}

#[test]
fn a_plan_that_found_a_shared_table_finds_the_one_that_another_process_made() {
    for up in [
        "CREATE TABLE lamps AS SELECT 'own' AS name",
        "ALTER TABLE rooms RENAME TO lamps; INSERT INTO lamps VALUES (1, 'own')",
    ] {
        let db = Db::new();
        let [t1, _] = db.tenants(["t1", "t2"]);
        db.raw()
            .batch_execute("CREATE TABLE public.lamps AS SELECT 'shared' AS name")
            .expect("shared");
        let mut conn = db.tenancy.tenant(&t1).expect("a connection");
        let lamps = |conn: &mut _| lamps::table.select(lamps::name).load::<String>(conn);
        assert_eq!(lamps(&mut conn), Ok(vec!["shared".to_owned()])); // control: a plan that found it
        let app = sql_app("lamps", AppScope::Tenant, &[("1_lamps", up, "")]);
        let report = with(&db, app).migrate().tenants().run();
        assert_eq!(counts(report.expect("a report")), [1, 1]);
        assert_eq!(lamps(&mut conn), Ok(vec!["own".to_owned()]), "{up}");
    }
}

diesel::table! {
    lamps (name) {
        name -> Text,
    }
}

#[test]
fn a_connection_that_migrated_serves_tenants_as_before() {
    let db = Db::new();
    let [t1, t2] = db.tenants(["t1", "t2"]);
    let tenancy = with_beds(&db, 1);
    insert_room(&mut tenancy.tenant(&t2).expect("a connection"), 1, "Blue");
    tenancy
        .migrate()
        .tenants()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let rooms = |tenant| rooms_of(&mut tenancy.tenant(tenant).expect("a connection"));
    assert_eq!(rooms(&t2), ["Blue"]); // control: it is there to be leaked
    assert!(rooms(&t1).is_empty());
    // What the run set for its own transactions went with them.
    let set = crate::support::strings(
        &mut *tenancy.public().expect("a connection"),
        "SELECT name AS value FROM pg_settings WHERE source = 'session' AND name <> 'search_path' \
         AND name NOT IN ('TimeZone', 'client_encoding')",
    );
    assert!(set.is_empty(), "{set:?}");
}

#[test]
fn c20_settings_that_a_function_changed_while_a_table_was_made_are_not_the_next_tenants() {
    let logged_in = "current_setting('app.tenant', true)";
    let db = Db::new();
    let [t1, t2] = db.tenants(["t1", "t2"]);
    db.run(&format!(
        "CREATE FUNCTION public.logins() RETURNS TABLE (before text) LANGUAGE plpgsql AS $$ BEGIN \
         before := {logged_in}; PERFORM set_config('app.tenant', current_schema(), false); \
         RETURN NEXT; END $$"
    ));
    let mut raw = db.raw();
    raw.batch_execute("SELECT public.logins()").expect("called");
    let shared = format!("SELECT {logged_in} AS value");
    assert_eq!(crate::support::strings(&mut raw, &shared), ["public"]); // control: it stays
    let up = "CREATE TABLE snap AS SELECT * FROM public.logins()";
    let app = sql_app("snap", AppScope::Tenant, &[("1_snap", up, "")]);
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(app).pool_size(1));
    let report = tenancy.migrate().tenants().run();
    assert_eq!(counts(report.expect("a report")), [1, 1]);
    for (tenant, schema) in [(&t2, "t2"), (&t1, "t1")] {
        let snap = format!("SELECT coalesce(before, '') AS value FROM {schema}.snap");
        assert_eq!(db.strings(&snap), [""], "{schema}");
        let mut conn = tenancy.tenant(tenant).expect("a connection");
        let now = format!("SELECT coalesce({logged_in}, '') AS value");
        assert_eq!(crate::support::strings(&mut *conn, &now), [""], "{schema}");
    }
}

#[test]
fn one_that_fails_is_rolled_back_names_its_line_and_leaves_the_connection_usable() {
    let db = Db::new();
    db.tenants(["t1", "t2", "t3"]);
    db.raw()
        .batch_execute("ALTER TABLE t2.rooms ADD COLUMN late integer")
        .expect("an obstacle");
    let app = sql_app(
        "late",
        AppScope::Tenant,
        &[(
            "1_late",
            "-- héllo\nALTER TABLE rooms ADD COLUMN early integer;\nALTER TABLE rooms ADD COLUMN late integer;",
            "",
        )],
    );
    let tenancy = db.again(|builder| builder.app(customers()).app(hotels()).app(app).pool_size(1));
    let report = tenancy.migrate().tenants().run().expect("a report");
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, &name("t2"));
    assert!(
        matches!(failed[0].1, Error::Migration { app, version, .. } if app == "late" && version == "1_late"),
        "{:?}",
        failed[0].1
    );
    assert_eq!(columns(&db, "t2"), ["id", "name", "late"]);
    assert_eq!(columns(&db, "t3"), ["id", "name", "early", "late"]);
    assert_eq!(ledger_and_state(&db, "t2")[0].len(), 1);
}

#[test]
fn a_mistake_in_the_text_names_its_line() {
    let db = Db::new();
    db.tenants(["t1"]);
    let app = sql_app(
        "typo",
        AppScope::Tenant,
        &[(
            "1_typo",
            "-- häßlich\nALTER TABLE rooms ADD COLUMN a integer;\nALTER TABLE room ADD COLUM b integer",
            "",
        )],
    );
    let report = with(&db, app).migrate().tenants().run().expect("a report");
    let (_, error) = report.failed().next().expect("failed");
    assert!(
        matches!(error, Error::Migration { line: Some(3), .. }),
        "{error:?}"
    );
}

#[test]
fn what_diesel_recorded_of_an_app_without_a_ledger_is_not_run_again() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    db.raw()
        .batch_execute(
            "ALTER TABLE t1.rooms ADD COLUMN beds integer; \
             CREATE TABLE t1.__diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp); \
             INSERT INTO t1.__diesel_schema_migrations VALUES ('20240801000000', now())",
        )
        .expect("as Diesel does");
    let report = with(&db, beds())
        .migrate()
        .tenants()
        .run()
        .expect("a report");
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed.len(), 1);
    assert!(
        matches!(failed[0], (schema, Error::NeedsAdoption { .. }) if schema.as_str() == "t1"),
        "{failed:?}"
    );
    let done = with(&db, beds()).migrate().tenants().adopt().run();
    assert_eq!(counts(done.expect("a report")), [0, 0]);
}

#[test]
fn a_schema_that_is_made_anew_while_the_run_is_on_its_way_is_an_error_or_migrated_whole() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    db.raw()
        .batch_execute("DROP SCHEMA t1 CASCADE")
        .expect("dropped");
    let report = with(&db, beds())
        .migrate()
        .tenants()
        .run()
        .expect("a report");
    let failed: Vec<_> = report.failed().collect();
    assert!(
        matches!(failed.as_slice(), [(_, Error::NoSuchSchema { .. })]),
        "{failed:?}"
    );
    assert_eq!(columns(&db, "t2"), ["id", "name", "beds"]);
}

#[test]
fn a_run_retires_connections_by_the_tables_that_they_opened() {
    let opened = |statements: usize| {
        let db = Db::new();
        let schemas: [String; 9] = std::array::from_fn(|number| format!("t{number}"));
        db.tenants(schemas.each_ref().map(String::as_str));
        let columns = |number| format!("ALTER TABLE rooms ADD COLUMN c{number} integer;");
        let up: String = (0..statements).map(columns).collect();
        let app = sql_app("columns", AppScope::Tenant, &[("1_columns", &up, "")]);
        let opened = Arc::new(AtomicUsize::new(0));
        let tenancy = db.again(|builder| {
            let opened = Arc::clone(&opened);
            builder
                .app(customers())
                .app(hotels())
                .app(app)
                .pool_size(2)
                .max_tenants_per_connection(3)
                .on_connect(move |_| {
                    opened.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
        });
        let run = tenancy.migrate().tenants().run().expect("a report");
        assert_eq!(counts(run), [1; 9]);
        // So many are opened, whoever closes one opens another in its place, in time.
        opened.load(Ordering::SeqCst)
    };
    // One statement and the ledger: a tenth of what a tenant counts.
    assert_eq!(opened(1), 2);
    assert!(opened(40) > 2);
}

#[test]
fn migrations_that_only_make_sense_together_fail_as_they_do_one_by_one() {
    for (first, second) in [
        (
            "COMMENT ON TABLE rooms IS 'one",
            "two'; ALTER TABLE rooms ADD COLUMN beds integer",
        ),
        (
            "ALTER TABLE rooms ADD COLUMN floor integer /* one",
            "two */; ALTER TABLE rooms ADD COLUMN beds integer",
        ),
        (
            "COMMENT ON TABLE rooms IS $a$one",
            "two$a$; ALTER TABLE rooms ADD COLUMN beds integer",
        ),
        ("ALTER TABLE rooms ADD COLUMN \"one", "two\" integer"),
    ] {
        // As one message, and step by step, which is what a listener takes.
        for listens in [false, true] {
            let db = Db::new();
            db.tenants(["t1"]);
            let app = sql_app(
                "halves",
                AppScope::Tenant,
                &[("1_first", first, ""), ("2_second", second, "")],
            );
            let tenancy = db.again(|builder| {
                let builder = builder.app(customers()).app(hotels()).app(app);
                if listens {
                    builder.listener(|_| Ok(()))
                } else {
                    builder
                }
            });
            let report = tenancy.migrate().tenants().atomic(true).run();
            let report = report.expect("a report");
            let failed: Vec<_> = report.failed().collect();
            assert!(
                matches!(failed.as_slice(), [(_, Error::Migration { version, .. })] if version == "1_first"),
                "{first}: {failed:?}"
            );
            assert_eq!(columns(&db, "t1"), ["id", "name"], "{first}");
            assert_eq!(ledger_and_state(&db, "t1")[0].len(), 1, "{first}");
        }
    }
}

#[test]
fn a_database_whose_transactions_are_serializable_is_migrated_by_several_jobs() {
    let db = Db::new();
    let schemas: [String; 40] = std::array::from_fn(|number| format!("t{number}"));
    db.tenants(schemas.each_ref().map(String::as_str));
    db.raw()
        .batch_execute(
            "DO $$ BEGIN EXECUTE pg_catalog.format('ALTER DATABASE %I \
             SET default_transaction_isolation TO serializable', current_database()); END $$",
        )
        .expect("set");
    let tenancy = with_beds(&db, 8);
    let run = tenancy.migrate().tenants().jobs(8).run().expect("a report");
    assert_eq!(counts(run), [1; 40]);
}

/// Lets `public.__tenant_schemas` write into whatever table `audit` it finds.
const AUDIT: &str = "CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN INSERT INTO audit VALUES (NEW.schema_name); RETURN NEW; END $$; \
    CREATE TRIGGER noted AFTER UPDATE ON public.__tenant_schemas \
    FOR EACH ROW EXECUTE FUNCTION public.noted()";

#[test]
fn a_trigger_on_the_table_of_states_runs_in_the_schema_that_is_migrated() {
    // It was there, or came while the session was at work already.
    for early in [true, false] {
        let db = Db::new();
        let [_, t2, _] = db.tenants(["t1", "t2", "t3"]);
        let audit = "CREATE TABLE t1.audit (who text); CREATE TABLE t2.audit (who text); \
             CREATE TABLE t3.audit (who text)";
        let mut raw = db.raw();
        raw.batch_execute(audit).expect("made");
        let tenancy = with_beds(&db, 2);
        let only = |schema: &str| tenancy.migrate().schema(&name(schema)).run();
        // The session that migrates was at `t2` before.
        let visit = || {
            let public = tenancy.public().expect("a connection");
            let conn = tenancy.tenant(&t2).expect("a connection");
            drop((conn, public));
        };
        visit();
        if early {
            raw.batch_execute(AUDIT).expect("made");
        } else {
            assert_eq!(counts(only("t3").expect("a report")), [1]);
            visit();
            raw.batch_execute(AUDIT).expect("made");
        }
        let report = only("t1").expect("a report");
        let audit = |schema| db.strings(&format!("SELECT who AS value FROM {schema}.audit"));
        assert_eq!(audit("t2"), [""; 0]);
        assert_eq!(counts(report), [1]);
        assert_eq!(audit("t1"), ["t1"]);
    }
}

#[test]
fn a_schema_that_a_role_may_not_use_is_as_its_state_says() {
    let db = Db::new();
    db.tenants(["t1", "t2"]);
    let role = format!("{}_watch", db.database.name());
    db.raw()
        .batch_execute(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public, t1 TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public, t1 TO {role}"
        ))
        .expect("a role");
    let as_role = format!("SET ROLE {role}");
    let watch = |app: Option<App>| {
        let as_role = as_role.clone();
        db.again(|builder| {
            let builder = builder.app(customers()).app(hotels());
            let builder = match app {
                Some(app) => builder.app(app),
                None => builder,
            };
            builder.on_connect(move |conn| conn.batch_execute(&as_role))
        })
    };
    let current = watch(None);
    let pending = current.migrate().tenants().check().expect("checked");
    assert!(pending.is_empty(), "{pending:?}");
    assert_eq!(current.status().expect("a status").tenants.len(), 2);
    assert_eq!(
        counts(current.migrate().tenants().run().expect("run")),
        [0, 0]
    );
    let behind = watch(Some(beds()));
    let pending = behind.migrate().tenants().check().expect("checked");
    assert_eq!(pending.schemas.len(), 2);
    // To change it is another matter.
    let report = behind.migrate().tenants().run().expect("a report");
    assert_eq!(report.failed().count(), 2);
    drop((current, behind));
    db.raw()
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .expect("the role is gone");
}
