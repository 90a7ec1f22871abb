//! Tenants that get their schema from a job, and a page that shows how far it is.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::jobs::{
    InTenant, JobError, ProvisionTenant, Provisioning, TenantRef, provision_later,
};
use tenant_schemas::{
    App, AppScope, DeleteOptions, Error, Lifecycle as _, SaveOptions, Tenancy, TenancyBuilder,
};

use crate::support::{
    Client, Db, client, customers, hotels, insert_room, name, rooms_of, sql_app, strings,
};

type Envelope = InTenant<ProvisionTenant>;

/// Three migrations; the second waits for as long as another session holds the lock 43.
fn slow() -> App {
    sql_app(
        "slow",
        AppScope::Tenant,
        &[
            ("2025-01-01-000000_one", "CREATE TABLE one (id integer)", ""),
            (
                "2025-01-02-000000_two",
                "SELECT pg_advisory_xact_lock(43); CREATE TABLE two (id integer)",
                "",
            ),
            (
                "2025-01-03-000000_three",
                "CREATE TABLE three (id integer)",
                "",
            ),
        ],
    )
}

fn apps(builder: TenancyBuilder<Client>) -> TenancyBuilder<Client> {
    builder.app(customers()).app(hotels()).app(slow())
}

/// A database whose tenants are provisioned by jobs, and the jobs that are sent.
fn signing_up(
    apps: impl FnOnce(TenancyBuilder<Client>) -> TenancyBuilder<Client>,
) -> (Db, Arc<Mutex<Vec<Envelope>>>) {
    let sent: Arc<Mutex<Vec<Envelope>>> = Arc::default();
    let queue = Arc::clone(&sent);
    let db = Db::with(|builder| {
        apps(builder).listener_in_transaction(provision_later::<Client>(move |_, envelope| {
            queue.lock().expect("no panic").push(envelope.clone());
            Ok(())
        }))
    });
    (db, sent)
}

/// Saves a tenant without its schema.
fn sign_up(tenancy: &Tenancy<Client>, schema: &str) -> Result<Client, Error> {
    let mut tenant = client(schema);
    let later = SaveOptions::new().auto_create_schema(false);
    tenant.save_with(&mut *tenancy.public()?, later)?;
    Ok(tenant)
}

#[track_caller]
fn state(tenancy: &Tenancy<Client>, tenant: &Client) -> Provisioning {
    let reference = TenantRef::of(tenant).expect("a reference");
    tenancy.provisioning(&reference).expect("a state")
}

fn envelope(tenant: &Client) -> Envelope {
    InTenant::new(tenant, ProvisionTenant::new()).expect("an envelope")
}

#[test]
fn a_tenant_that_signs_up_is_provisioned_by_a_job_and_another_process_sees_how_far_it_is() {
    let (db, sent) = signing_up(apps);
    let page = db.again(apps);
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    let envelope = sent.lock().expect("no panic")[0].clone();
    let message = serde_json::to_string(&envelope).expect("text");
    assert_eq!(
        message,
        format!(
            r#"{{"v":1,"tenant_id":"{}","tenant_schema":"acme","job":{{}}}}"#,
            acme.id
        )
    );
    assert_eq!(state(&page, &acme), Provisioning::Waiting);

    let mut gate = db.raw();
    gate.batch_execute("SELECT pg_advisory_lock(43)")
        .expect("the lock");
    let tenancy = db.tenancy.clone();
    let worker = thread::spawn(move || tenancy.provision_job(&envelope));
    // Of four migrations, two have run in a transaction that nobody can look into.
    wait_for(&page, &acme, |state| {
        matches!(state, Provisioning::Running { done: 2, of: 4, .. })
    });
    assert!(!db.schema_exists("acme"));
    // A page of another tenant shows nothing of it.
    let globex = sign_up(&db.tenancy, "globex").expect("saved");
    assert_eq!(state(&page, &globex), Provisioning::Waiting);

    gate.batch_execute("SELECT pg_advisory_unlock(43)")
        .expect("the lock");
    worker.join().expect("no panic").expect("provisioned");
    assert_eq!(state(&page, &acme), Provisioning::Ready);
    assert!(rooms_of(&mut page.tenant(&acme).expect("acme")).is_empty());
    // The session has its own name back.
    let named = "SELECT count(*)::text AS value FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name LIKE 'tenant-schemas %'";
    assert_eq!(db.strings(named), ["0"]);
}

/// Asks again and again until the state is one that is waited for.
#[track_caller]
fn wait_for(tenancy: &Tenancy<Client>, tenant: &Client, wanted: impl Fn(&Provisioning) -> bool) {
    let mut seen = Vec::new();
    for _ in 0..1500 {
        let now = state(tenancy, tenant);
        if wanted(&now) {
            return;
        }
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came to that, but to {seen:?}");
}

#[test]
fn done_twice_it_is_done_once() {
    let (db, _) = signing_up(apps);
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    let results: Vec<Result<(), JobError>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| db.tenancy.provision_job(&envelope(&acme))))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    db.tenancy
        .provision_job(&envelope(&acme))
        .expect("nothing is left to do");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert_eq!(state(&db.tenancy, &acme), Provisioning::Ready);
}

#[test]
fn a_failure_is_shown_with_its_reason_and_a_retry_makes_up_for_it() {
    let broken = |builder: TenancyBuilder<Client>| {
        builder.app(customers()).app(hotels()).app(sql_app(
            "bills",
            AppScope::Tenant,
            &[(
                "2025-01-01-000000_bills",
                "INSERT INTO public.bills DEFAULT VALUES",
                "",
            )],
        ))
    };
    let (db, _) = signing_up(broken);
    let page = db.again(broken);
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    for tries in 1..=2 {
        let error = db
            .tenancy
            .provision_job(&envelope(&acme))
            .expect_err("it fails");
        assert!(
            matches!(error, JobError::Failed { .. }) && error.can_retry(),
            "{error}"
        );
        let Provisioning::Failed {
            reason, failures, ..
        } = state(&page, &acme)
        else {
            panic!("it failed");
        };
        assert!(
            reason.contains("bills") && reason.contains("does not exist"),
            "{reason}"
        );
        assert_eq!(failures, tries);
    }
    assert!(!db.schema_exists("acme"), "nothing is left behind");
    db.raw()
        .batch_execute("CREATE TABLE bills (id serial)")
        .expect("repaired");
    db.tenancy
        .provision_job(&envelope(&acme))
        .expect("provisioned");
    assert_eq!(state(&page, &acme), Provisioning::Ready);
}

#[test]
fn what_was_noted_of_a_tenant_is_not_said_of_the_next_who_has_its_key() {
    let (db, _) = signing_up(|builder| builder.app(customers()).app(hotels()));
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    db.raw()
        .batch_execute("CREATE SCHEMA acme")
        .expect("made by hand");
    db.tenancy
        .provision_job(&envelope(&acme))
        .expect_err("another's");
    assert!(matches!(
        state(&db.tenancy, &acme),
        Provisioning::Failed { .. }
    ));
    let row_alone = DeleteOptions::new().auto_drop_schema(false);
    let mut conn = db.tenancy.public().expect("public");
    acme.delete_with(&mut conn, row_alone).expect("deleted");
    conn.batch_execute("ALTER SEQUENCE clients_id_seq RESTART")
        .expect("restarted");
    let globex = sign_up(&db.tenancy, "globex").expect("saved");
    assert_eq!(globex.id, acme.id);
    assert_eq!(state(&db.tenancy, &globex), Provisioning::Waiting);
}

#[test]
fn what_cant_run_in_a_transaction_is_resumed() {
    let index = |builder: TenancyBuilder<Client>| {
        builder.app(customers()).app(hotels()).app(sql_app(
            "index",
            AppScope::Tenant,
            &[
                (
                    "2025-01-01-000000_table",
                    "CREATE TABLE t AS SELECT * FROM public.ids",
                    "",
                ),
                (
                    "2025-01-02-000000_index!",
                    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)",
                    "",
                ),
                (
                    "2025-01-03-000000_last",
                    "CREATE TABLE last (id integer)",
                    "",
                ),
            ],
        ))
    };
    let (told, hear) = mpsc::channel();
    let db = Db::with(|builder| {
        index(builder).listener(move |event| {
            if let tenant_schemas::Event::PostSchemaSync { .. } = event {
                told.send(event.schema().to_string())?;
            }
            Ok(())
        })
    });
    db.raw()
        .batch_execute("CREATE TABLE ids AS VALUES (1), (1); ALTER TABLE ids RENAME column1 TO id")
        .expect("two of a kind");
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    let error = db
        .tenancy
        .provision_job(&envelope(&acme))
        .expect_err("two of a kind");
    assert!(error.can_retry(), "{error}");
    assert!(db.schema_exists("acme"));
    assert!(matches!(
        state(&db.tenancy, &acme),
        Provisioning::Failed { .. }
    ));
    assert_eq!(hear.try_iter().count(), 0, "the tenant is not ready");
    db.raw()
        .batch_execute("DELETE FROM acme.t; DROP INDEX acme.i")
        .expect("repaired");
    db.tenancy.provision_job(&envelope(&acme)).expect("resumed");
    assert_eq!(state(&db.tenancy, &acme), Provisioning::Ready);
    assert_eq!(hear.try_iter().collect::<Vec<_>>(), ["acme"]);
}

#[test]
fn a_schema_that_was_not_made_for_the_tenant_is_never_taken_over() {
    let (db, sent) = signing_up(|builder| builder.app(customers()).app(hotels()));
    // A tenant that is gone, whose schema is still there, with a room to be leaked.
    let old = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&old).expect("acme"), 1, "Secret");
    old.delete(&mut db.tenancy.public().expect("public"))
        .expect("deleted");

    // The one that signs up is refused at once.
    let refused = sign_up(&db.tenancy, "acme").expect_err("refused");
    let words = refused.to_string();
    assert!(words.contains("schema acme already exists"), "{words}");
    assert!(sent.lock().expect("no panic").is_empty());
    let saved = "SELECT schema_name::text AS value FROM clients";
    assert!(db.strings(saved).is_empty(), "nothing was saved");

    // One whose row was written by hand fails for good.
    let other = db.again(|builder| builder.app(customers()).app(hotels()));
    db.raw()
        .batch_execute(
            "INSERT INTO clients (schema_name, domain_url, name, on_trial) \
             VALUES ('acme', 'acme.my-domain.com', 'Acme', true)",
        )
        .expect("by hand");
    let new = Client::by_schema(&mut other.public().expect("public"), "acme")
        .expect("read")
        .expect("there");
    // However often it is tried.
    for tries in 1..=2 {
        let error = other.provision_job(&envelope(&new)).expect_err("refused");
        assert!(!error.can_retry(), "{error}");
        let Provisioning::Failed {
            reason, failures, ..
        } = state(&other, &new)
        else {
            panic!("what is there is another's");
        };
        assert!(reason.contains("already exists"), "{reason}");
        assert_eq!(failures, tries);
    }
    assert_eq!(
        strings(&mut db.raw(), "SELECT name AS value FROM acme.rooms"),
        ["Secret"]
    );

    // An empty one made by hand meanwhile is not taken over either.
    let globex = sign_up(&db.tenancy, "globex").expect("saved");
    db.raw()
        .batch_execute("CREATE SCHEMA globex")
        .expect("by hand");
    let error = db
        .tenancy
        .provision_job(&envelope(&globex))
        .expect_err("refused");
    assert!(!error.can_retry(), "{error}");
    assert!(matches!(
        state(&db.tenancy, &globex),
        Provisioning::Failed { .. }
    ));
    assert!(db.tables("globex").is_empty());
}

#[test]
fn a_tenant_that_is_gone_or_renamed_before_its_job_comes() {
    let (db, sent) = signing_up(|builder| builder.app(customers()).app(hotels()));
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    let options = DeleteOptions::new();
    acme.delete_with(&mut db.tenancy.public().expect("public"), options)
        .expect("deleted");
    let gone = sent.lock().expect("no panic")[0].clone();
    let error = db.tenancy.provision_job(&gone).expect_err("gone");
    assert!(
        matches!(error, JobError::Gone { .. }) && !error.can_retry(),
        "{error}"
    );
    assert!(!db.schema_exists("acme"));

    let globex = sign_up(&db.tenancy, "globex").expect("saved");
    diesel::sql_query("UPDATE clients SET schema_name = 'initech'")
        .execute(&mut db.raw())
        .expect("renamed");
    db.tenancy
        .provision_job(&envelope(&globex))
        .expect("provisioned");
    assert!(db.schema_exists("initech") && !db.schema_exists("globex"));
    assert_eq!(name("initech").as_str(), "initech");
}

/// Holds the URL of the database, for the worker that is to be killed.
const URL: &str = "TENANT_SCHEMAS_PROVISION_URL";

/// Not a test of its own: the worker that is killed by the next one.
#[test]
fn the_worker_that_is_killed() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let tenancy = apps(Tenancy::<Client>::builder(url))
        .build()
        .expect("a tenancy");
    let tenants = tenancy.tenants().expect("the tenants");
    let _ = tenancy.provision_job(&envelope(&tenants[0]));
}

#[test]
fn a_worker_killed_in_the_middle_leaves_nothing_and_no_progress_that_is_none() {
    let (db, _) = signing_up(apps);
    let acme = sign_up(&db.tenancy, "acme").expect("saved");
    let mut gate = db.raw();
    gate.batch_execute("SELECT pg_advisory_lock(43)")
        .expect("the lock");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "jobs_provision::the_worker_that_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(URL, db.database.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for(&db.tenancy, &acme, |state| {
        matches!(state, Provisioning::Running { done: 2, .. })
    });
    child.kill().expect("killed");
    child.wait().expect("gone");
    gate.batch_execute("SELECT pg_advisory_unlock(43)")
        .expect("the lock");
    wait_for(&db.tenancy, &acme, |state| *state == Provisioning::Waiting);
    assert!(!db.schema_exists("acme"));
    db.tenancy
        .provision_job(&envelope(&acme))
        .expect("provisioned");
    assert_eq!(state(&db.tenancy, &acme), Provisioning::Ready);
}
