//! A job and its tenant: what travels, where it runs, and when it does not.

use std::cell::RefCell;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use tenant_schemas::TenantConnection;
use tenant_schemas::jobs::{GiveUp, InTenant, JobError, Shared, SharedJob, TenantRef};
use tenant_schemas::testing::TestDatabase;
use tenant_schemas::{
    AppScope, DeleteOptions, Error, Lifecycle as _, SaveOptions, SchemaName, Tenancy, TenantModel,
};

use crate::support::{
    Client, Db, client, clients, customers, hotels, insert_room, name, rooms_of, sql_app, strings,
};

/// Adds a room to a hotel, with the same number in each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AddRoom {
    pub(crate) name: String,
}

/// Counts the plans, which all share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CountPlans;

impl SharedJob for CountPlans {}

fn add_room(name: &str) -> AddRoom {
    AddRoom {
        name: name.to_owned(),
    }
}

pub(crate) fn add(conn: &mut TenantConnection, job: &AddRoom) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO rooms SELECT count(*) + 1, $1 FROM rooms")
        .bind::<diesel::sql_types::Text, _>(&job.name)
        .execute(conn)
        .map(drop)
}

/// What a queue would do to an envelope.
fn through_a_queue<J: Serialize + for<'de> Deserialize<'de>>(
    envelope: &InTenant<J>,
) -> InTenant<J> {
    let sent = serde_json::to_vec(envelope).expect("it is written");
    serde_json::from_slice(&sent).expect("it is read")
}

#[track_caller]
fn refused<J: for<'de> Deserialize<'de>>(message: &str, expected: &str) {
    let error = match serde_json::from_str::<J>(message) {
        Ok(_) => panic!("{message} was read"),
        Err(error) => error.to_string(),
    };
    assert!(
        error.contains(expected),
        "{error:?} does not say {expected:?}"
    );
}

#[test]
fn c120_a_job_runs_in_the_tenant_that_it_was_sent_from() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        7,
        "Theirs",
    );

    let conn = db.tenancy.tenant(&acme).expect("acme");
    let envelope = InTenant::current::<Client>(&conn, add_room("Blue")).expect("an envelope");
    drop(conn);
    let envelope = through_a_queue(&envelope);
    db.tenancy
        .run_job(&envelope, |conn, job| {
            assert_eq!(conn.tenant::<Client>(), Some(&acme));
            add(conn, job)
        })
        .expect("it is done");

    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")),
        ["Theirs"]
    );
}

#[test]
fn a_message_is_flat_and_can_be_read_by_people() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let envelope = InTenant::new(&acme, add_room("Blue")).expect("an envelope");
    let sent = serde_json::to_string(&envelope).expect("text");
    let expected = format!(
        r#"{{"v":1,"tenant_id":"{}","tenant_schema":"acme","job":{{"name":"Blue"}}}}"#,
        acme.id
    );
    assert_eq!(sent, expected);
    assert_eq!(through_a_queue(&envelope), envelope);

    let reference = serde_json::to_string(envelope.tenant()).expect("text");
    assert_eq!(
        reference,
        format!(r#"{{"tenant_id":"{}","tenant_schema":"acme"}}"#, acme.id)
    );
    let read: TenantRef = serde_json::from_str(&reference).expect("it is read");
    assert_eq!(&read, envelope.tenant());
}

#[test]
fn c120_a_message_without_a_tenant_is_refused() {
    type Job = InTenant<AddRoom>;
    let job = r#""job":{"name":"Blue"}"#;
    let tenantless = "the message names no tenant";
    refused::<Job>(&format!(r#"{{"v":1,{job}}}"#), tenantless);
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":null,"tenant_schema":null,{job}}}"#),
        tenantless,
    );
    refused::<Job>(&format!(r#"{{"v":1,"tenant_id":"1",{job}}}"#), tenantless);
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_schema":"acme",{job}}}"#),
        tenantless,
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"","tenant_schema":"acme",{job}}}"#),
        "empty",
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"",{job}}}"#),
        "empty",
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"public",{job}}}"#),
        "no tenant's",
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"a\"b",{job}}}"#),
        "no",
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"pg_temp",{job}}}"#),
        "reserved",
    );
    refused::<Job>(&format!(r#"{{"v":1,"shared":true,{job}}}"#), "shared");
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"acme","shared":true,{job}}}"#),
        "shared",
    );
    refused::<Job>(
        &format!(r#"{{"v":2,"tenant_id":"1","tenant_schema":"acme",{job}}}"#),
        "the form 2",
    );
    refused::<Job>(
        &format!(r#"{{"tenant_id":"1","tenant_schema":"acme",{job}}}"#),
        "missing field `v`",
    );
    refused::<Job>(
        &format!(r#"{{"v":1,"tenant_id":"1","tenant_id":"2","tenant_schema":"acme",{job}}}"#),
        "duplicate",
    );
    // The control: with everything in its place it is read.
    let whole = format!(r#"{{"v":1,"tenant_id":"1","tenant_schema":"acme",{job}}}"#);
    assert!(serde_json::from_str::<Job>(&whole).is_ok());
}

#[test]
fn c120_a_tenants_message_is_not_read_as_a_shared_one() {
    type Job = Shared<CountPlans>;
    refused::<Job>(r#"{"v":1,"job":null}"#, "missing field `shared`");
    refused::<Job>(r#"{"v":1,"shared":false,"job":null}"#, "not shared");
    refused::<Job>(
        r#"{"v":1,"tenant_id":"1","tenant_schema":"acme","job":null}"#,
        "tenant_id",
    );
    refused::<Job>(
        r#"{"v":1,"shared":true,"tenant_id":"1","tenant_schema":"acme","job":null}"#,
        "tenant_id",
    );
    let sent = serde_json::to_string(&Shared::new(CountPlans)).expect("text");
    assert_eq!(sent, r#"{"v":1,"shared":true,"job":null}"#);
    assert!(serde_json::from_str::<Job>(&sent).is_ok());
}

#[test]
fn c120_a_shared_job_runs_in_public() {
    let db = Db::new();
    let plans = db
        .tenancy
        .run_shared_job(&Shared::new(CountPlans), |conn, CountPlans| {
            assert_eq!(conn.schema_name(), Some(&SchemaName::public()));
            crate::support::plans::table.count().get_result::<i64>(conn)
        })
        .expect("it is done");
    assert_eq!(plans, 2);
}

#[test]
fn c120_nothing_is_sent_from_a_scope_that_is_no_tenants() {
    let db = Db::new();
    let acme = db.tenant("acme");
    for conn in [db.tenancy.public(), db.tenancy.schema(&acme.schema_name)] {
        let conn = conn.expect("a connection");
        let refused = InTenant::current::<Client>(&conn, ()).expect_err("no tenant");
        assert!(
            matches!(refused, Error::NoTenant { scope: Some(_), .. }),
            "{refused}"
        );
    }
    let unsaved = InTenant::new(&client("later"), ()).expect_err("no key");
    assert!(matches!(unsaved, Error::NotSaved { .. }));
}

#[test]
fn c120_the_row_of_the_public_schema_is_no_tenant_for_a_job() {
    let db = Db::new();
    let mut site = client("public");
    site.save(&mut db.tenancy.public().expect("a connection"))
        .expect("it is saved");
    let conn = db.tenancy.tenant(&site).expect("the site");
    assert!(matches!(
        InTenant::current::<Client>(&conn, ()),
        Err(Error::NoTenant { .. })
    ));
    drop(conn);

    // Smuggled in under another name, by its key.
    let message = format!(
        r#"{{"v":1,"tenant_id":"{}","tenant_schema":"acme","job":null}}"#,
        site.id
    );
    let envelope: InTenant<()> = serde_json::from_str(&message).expect("it is read");
    let error = db
        .tenancy
        .run_job(&envelope, unreached)
        .expect_err("refused");
    assert!(
        matches!(error, JobError::SharedSchema { .. }) && !error.can_retry(),
        "{error}"
    );
}

fn unreached<J>(_: &mut TenantConnection, _: &J) -> Result<(), Error> {
    panic!("the job ran")
}

#[test]
fn c120_a_tenant_that_was_renamed_is_followed() {
    let db = Db::new();
    let [mut acme, mut globex] = db.tenants(["acme", "globex"]);
    let envelope = through_a_queue(&InTenant::new(&acme, add_room("Blue")).expect("an envelope"));
    let mut public = db.tenancy.public().expect("a connection");
    acme.rename(&mut public, &name("acme_inc"))
        .expect("renamed");
    // Another tenant has taken the name, with a room that must not be touched.
    globex.rename(&mut public, &name("acme")).expect("renamed");
    drop(public);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        7,
        "Theirs",
    );

    db.tenancy.run_job(&envelope, add).expect("it is done");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")),
        ["Theirs"]
    );
}

#[test]
fn c120_a_tenant_that_is_gone_fails_the_job_for_good() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let envelope = InTenant::new(&acme, add_room("Blue")).expect("an envelope");
    let options = DeleteOptions::new().auto_drop_schema(true);
    acme.delete_with(&mut db.tenancy.public().expect("a connection"), options)
        .expect("deleted");

    let error = db.tenancy.run_job(&envelope, unreached).expect_err("gone");
    assert!(matches!(error, JobError::Gone { taken: false, .. }) && !error.can_retry());
    assert_eq!(
        error.to_string(),
        format!("tenant acme ({}) is gone: drop the job", acme.id)
    );

    // Made again under the same name, it is another tenant.
    let again = db.tenant("acme");
    assert_ne!(again.id, acme.id);
    let error = db.tenancy.run_job(&envelope, unreached).expect_err("gone");
    assert!(matches!(error, JobError::Gone { taken: true, .. }) && !error.can_retry());
    assert!(
        error.to_string().contains("acme is another tenant's now"),
        "{error}"
    );
    assert!(rooms_of(&mut db.tenancy.tenant(&again).expect("again")).is_empty());
}

#[test]
fn c120_the_row_is_gone_though_the_schema_is_still_there() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let envelope = InTenant::new(&acme, ()).expect("an envelope");
    acme.delete(&mut db.tenancy.public().expect("a connection"))
        .expect("deleted");
    assert!(db.schema_exists("acme"));
    let error = db.tenancy.run_job(&envelope, unreached).expect_err("gone");
    assert!(matches!(error, JobError::Gone { .. }));
}

#[test]
fn c120_a_tenant_that_is_not_ready_can_be_tried_again() {
    let db = Db::new();
    let mut acme = client("acme");
    acme.save_with(
        &mut db.tenancy.public().expect("a connection"),
        SaveOptions::new().auto_create_schema(false),
    )
    .expect("saved");
    let envelope = through_a_queue(&InTenant::new(&acme, add_room("Blue")).expect("an envelope"));
    let error = db
        .tenancy
        .run_job(&envelope, unreached)
        .expect_err("no schema");
    assert!(
        matches!(error, JobError::NoSchema { .. }) && error.can_retry(),
        "{error}"
    );

    acme.provision(&mut db.tenancy.public().expect("a connection"))
        .expect("provisioned");
    db.tenancy
        .run_job(&envelope, add)
        .expect("the retry succeeds");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}

#[test]
fn c120_a_tenant_that_is_behind_can_be_tried_again() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let newer = db.again(|builder| {
        builder.app(customers()).app(hotels()).app(sql_app(
            "bills",
            AppScope::Tenant,
            &[(
                "2025-01-01-000000_bills",
                "CREATE TABLE bills (id integer)",
                "DROP TABLE bills",
            )],
        ))
    });
    let envelope = InTenant::new(&acme, add_room("Blue")).expect("an envelope");
    let error = newer.run_job(&envelope, unreached).expect_err("behind");
    let JobError::Behind { ref pending, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(pending[0].to_string(), "bills/2025-01-01-000000_bills");
    assert!(error.can_retry());

    newer
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    newer.run_job(&envelope, add).expect("the retry succeeds");
    // A program that knows less than the schema has is not in the way of a deployment.
    db.tenancy
        .run_job(&envelope, add)
        .expect("the old program goes on");
}

#[test]
fn readiness_is_seen_without_the_table_of_states() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let envelope = InTenant::new(&acme, add_room("Blue")).expect("an envelope");
    db.raw()
        .batch_execute("DELETE FROM __tenant_schemas")
        .expect("forgotten");
    db.tenancy.run_job(&envelope, add).expect("it is done");
    db.raw()
        .batch_execute("DROP TABLE __tenant_schemas")
        .expect("dropped");
    db.tenancy.run_job(&envelope, add).expect("it is done");
    db.raw()
        .batch_execute("DELETE FROM acme.__tenant_migrations")
        .expect("emptied");
    let error = db
        .tenancy
        .run_job(&envelope, unreached)
        .expect_err("behind");
    assert!(matches!(error, JobError::Behind { .. }), "{error}");
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let db = Db::new();
    db.tenant("acme");
    for id in ["six", "1.0", "99999999999", " 1", "1; DROP TABLE clients"] {
        let message = format!(r#"{{"v":1,"tenant_id":{id:?},"tenant_schema":"acme","job":null}}"#);
        let envelope: InTenant<()> = serde_json::from_str(&message).expect("it is read");
        let error = db
            .tenancy
            .run_job(&envelope, unreached)
            .expect_err("no key");
        assert!(
            matches!(error, JobError::BadReference { .. }) && !error.can_retry(),
            "{error}"
        );
    }
}

#[test]
fn c120_success_failure_panic_and_retry_leave_a_clean_connection() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).pool_size(1));
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let envelope = InTenant::new(&acme, add_room("Blue")).expect("an envelope");
    let leave = "CREATE TEMPORARY TABLE notes (line text); SET search_path TO acme; SET statement_timeout TO '1h'";
    let clean = |db: &Db| {
        let mut conn = db.tenancy.tenant(&globex).expect("globex");
        assert!(rooms_of(&mut conn).is_empty());
        assert!(conn.batch_execute("SELECT * FROM notes").is_err());
        let set = "SELECT current_setting('statement_timeout') AS value";
        assert_eq!(strings(&mut *conn, set), ["0"]);
        drop(conn);
        let mut conn = db.tenancy.public().expect("public");
        assert!(conn.batch_execute("SELECT * FROM rooms").is_err());
    };

    db.tenancy
        .run_job(&envelope, |conn, job| {
            add(conn, job)?;
            conn.batch_execute(leave)
        })
        .expect("success");
    clean(&db);

    let failed = db
        .tenancy
        .run_job(&envelope, |conn, job| {
            conn.batch_execute(leave)?;
            conn.batch_execute("BEGIN")?;
            add(conn, job)?;
            conn.batch_execute("SELECT nothing")
        })
        .expect_err("it fails");
    assert!(matches!(failed, JobError::Failed { .. }) && failed.can_retry());
    let source = std::error::Error::source(&failed)
        .expect("a cause")
        .to_string();
    assert!(source.contains("nothing"), "{source}");
    clean(&db);

    let panicked = db
        .tenancy
        .run_job(&envelope, |conn, job| {
            conn.transaction(|conn| {
                add(conn, job)?;
                assert!(job.name != "Blue", "the roof is leaking");
                QueryResult::Ok(())
            })
        })
        .expect_err("it panics");
    assert!(panicked.can_retry());
    assert_eq!(
        panicked.to_string(),
        "the job panicked in schema acme: the roof is leaking"
    );
    clean(&db);

    db.tenancy
        .run_job(&envelope, add)
        .expect("the retry succeeds");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(rooms_of(&mut conn), ["Blue", "Blue"]);
}

#[test]
fn a_job_can_say_that_no_retry_helps() {
    let db = Db::new();
    let envelope = InTenant::new(&db.tenant("acme"), ()).expect("an envelope");
    let error = db
        .tenancy
        .run_job(&envelope, |_, ()| {
            Err::<(), _>(GiveUp::new("the address is wrong"))
        })
        .expect_err("it gives up");
    assert!(!error.can_retry());
    let source = std::error::Error::source(&error).expect("a cause");
    assert_eq!(source.to_string(), "the address is wrong");
}

thread_local! {
    /// What happens while a row of [`Slow`] is read.
    static WHILE_READ: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A tenant model over the same table, of which a row takes a while to be read.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
struct Slow {
    id: i32,
    schema_name: SchemaName,
    domain_url: String,
    #[diesel(deserialize_as = Slowly)]
    name: String,
    #[tenant(default = true)]
    on_trial: bool,
}

struct Slowly(String);

impl Queryable<diesel::sql_types::Text, diesel::pg::Pg> for Slowly {
    type Row = String;

    fn build(name: String) -> diesel::deserialize::Result<Self> {
        if let Some(happens) = WHILE_READ.take() {
            happens();
        }
        Ok(Self(name))
    }
}

impl From<Slowly> for String {
    fn from(Slowly(name): Slowly) -> Self {
        name
    }
}

#[test]
fn c60_a_job_whose_tenants_name_goes_to_another_while_its_row_is_read_does_not_run_there() {
    let database = TestDatabase::new().expect("a database");
    let tenancy = Tenancy::<Slow>::builder(database.url())
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    let shared = tenancy.migrate().shared().run().expect("a report");
    shared.into_result().expect("migrated");
    let [mut acme, mut globex] = ["acme", "globex"].map(|schema| {
        let mut tenant = Slow::new(name(schema), format!("{schema}.my-domain.com"));
        tenant
            .save(&mut tenancy.public().expect("public"))
            .expect("saved");
        insert_room(
            &mut tenancy.tenant(&tenant).expect("a connection"),
            1,
            schema,
        );
        tenant
    });
    let envelope = InTenant::new(&acme, ()).expect("an envelope");
    let other = tenancy.clone();
    WHILE_READ.set(Some(Box::new(move || {
        let mut conn = other.public().expect("public");
        acme.rename(&mut conn, &name("acme_inc")).expect("renamed");
        globex.rename(&mut conn, &name("acme")).expect("renamed");
    })));
    let rooms = || tenancy.run_job(&envelope, |conn, ()| Ok::<_, Error>(rooms_of(conn)));
    let ran = rooms();
    let there = "SELECT name AS value FROM acme.rooms";
    let mut raw = PgConnection::establish(&database.url()).expect("a connection");
    assert_eq!(
        strings(&mut raw, there),
        ["globex"],
        "that is there to be read"
    );
    assert!(matches!(ran, Err(JobError::NoSchema { .. })), "{ran:?}");
    assert_eq!(rooms().expect("found anew"), ["acme"]);
}
