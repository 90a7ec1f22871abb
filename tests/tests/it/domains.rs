//! Domains: on the tenant's row, and in a table of their own.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::resolve::Directory;
use tenant_schemas::testing::TestDatabase;
use tenant_schemas::{
    App, AppScope, DomainModel, Domains as _, Error, Lifecycle as _, SaveOptions, SchemaName,
    Tenancy, TenantConnection, TenantModel,
};

use crate::support::{Client, Db, client, hotels, sql_app, strings};

diesel::table! {
    firms (id) {
        id -> BigInt,
        schema_name -> Text,
    }
}

diesel::table! {
    firm_domains (id) {
        id -> Integer,
        domain -> Text,
        firm_id -> BigInt,
        is_primary -> Bool,
    }
}

diesel::joinable!(firm_domains -> firms (firm_id));
diesel::allow_tables_to_appear_in_same_query!(firms, firm_domains);

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = firms)]
#[tenant(domains = FirmDomain)]
struct Firm {
    id: i64,
    schema_name: SchemaName,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, DomainModel)]
#[diesel(table_name = firm_domains)]
struct FirmDomain {
    id: i32,
    domain: String,
    #[domain(tenant_id)]
    firm_id: i64,
    is_primary: bool,
}

/// Neither unique index is in the migrations: the library sees to them.
fn directory() -> App {
    sql_app(
        "directory",
        AppScope::Shared,
        &[(
            "1_firms",
            "CREATE TABLE firms (id bigserial PRIMARY KEY, schema_name text NOT NULL); \
             CREATE TABLE firm_domains (id serial PRIMARY KEY, domain text NOT NULL, \
             firm_id bigint NOT NULL REFERENCES firms ON DELETE CASCADE, \
             is_primary boolean NOT NULL);",
            "",
        )],
    )
}

struct Firms {
    tenancy: Tenancy<Firm>,
    database: TestDatabase,
}

impl Firms {
    fn new() -> Self {
        let database = TestDatabase::new().expect("a database");
        let tenancy = Tenancy::builder(database.url())
            .app(directory())
            .app(hotels())
            .build()
            .expect("a tenancy");
        let shared = tenancy.migrate().shared().run().expect("a report");
        shared.into_result().expect("migrated");
        Self { tenancy, database }
    }

    fn firm(&self, schema: &str) -> Firm {
        let mut firm = Firm::new(schema.parse::<SchemaName>().expect(schema));
        firm.save(&mut self.tenancy.public().expect("public"))
            .expect("saved");
        firm
    }

    fn raw(&self, sql: &str) -> QueryResult<()> {
        PgConnection::establish(&self.database.url())
            .expect("a connection")
            .batch_execute(sql)
    }
}

/// The domains of a firm, the primary one with a star.
#[track_caller]
fn domains_of(conn: &mut TenantConnection, firm: &Firm) -> Vec<String> {
    let domains = FirmDomain::of(conn, &firm.id).expect("read");
    domains
        .iter()
        .map(|domain| {
            format!(
                "{}{}",
                domain.domain,
                if domain.is_primary { "*" } else { "" }
            )
        })
        .collect()
}

#[test]
fn a_tenant_has_several_domains_and_one_primary() {
    let firms = Firms::new();
    let [acme, globex] = ["acme", "globex"].map(|schema| firms.firm(schema));
    let mut conn = firms.tenancy.public().expect("public");
    for (domain, firm, primary) in [
        ("b.acme.com", &acme, false),
        ("a.acme.com", &acme, true),
        ("c.acme.com", &acme, true),
        ("globex.com", &globex, true),
    ] {
        let mut domain = FirmDomain::new(domain, firm.id);
        domain.set_primary(primary);
        domain.save(&mut conn).expect("saved");
        assert!(domain.id > 0, "the value takes over the key");
    }
    assert_eq!(
        domains_of(&mut conn, &acme),
        ["c.acme.com*", "a.acme.com", "b.acme.com"],
        "the last primary one is it"
    );
    let mut b = FirmDomain::by_domain(&mut conn, "b.acme.com")
        .expect("read")
        .expect("there");
    b.make_primary(&mut conn).expect("made primary");
    assert!(b.is_primary);
    assert_eq!(
        domains_of(&mut conn, &acme),
        ["b.acme.com*", "a.acme.com", "c.acme.com"]
    );
    assert_eq!(domains_of(&mut conn, &globex), ["globex.com*"]);
    for domain in ["a.acme.com", "b.acme.com", "B.Acme.COM"] {
        let firm = Firm::by_domain(&mut conn, domain).expect("read");
        assert_eq!(firm.as_ref(), Some(&acme), "{domain}");
    }
    let nobody = Firm::by_domain(&mut conn, "nobody.com").expect("read");
    assert_eq!(nobody, None);
    assert!(b.delete(&mut conn).expect("deleted"));
    assert!(!b.delete(&mut conn).expect("gone"), "it was there once");
    assert_eq!(domains_of(&mut conn, &acme), ["a.acme.com", "c.acme.com"]);
    // The methods work in any scope: the table is a shared one.
    let mut conn = firms.tenancy.tenant(&globex).expect("globex");
    assert_eq!(domains_of(&mut conn, &globex), ["globex.com*"]);
    assert_eq!(conn.schema_name(), Some(&globex.schema_name));
    acme.delete(&mut firms.tenancy.public().expect("public"))
        .expect("deleted, with its domains");
    assert_eq!(domains_of(&mut conn, &acme), [""; 0]);
}

#[test]
fn the_database_itself_refuses_a_second_primary_and_a_second_owner() {
    let firms = Firms::new();
    let acme = firms.firm("acme");
    let insert = |domain: &str, primary: bool| {
        firms.raw(&format!(
            "INSERT INTO firm_domains (domain, firm_id, is_primary) VALUES ('{domain}', {}, {primary})",
            acme.id
        ))
    };
    insert("a.acme.com", true).expect("the first");
    insert("b.acme.com", false).expect("a secondary one");
    insert("c.acme.com", false).expect("another secondary one");
    let error = insert("d.acme.com", true).expect_err("a second primary");
    assert!(error.to_string().contains("firm_id"), "{error}");
    let error = insert("a.acme.com", false).expect_err("a second owner");
    assert!(error.to_string().contains("domain"), "{error}");
    let error = firms
        .raw("INSERT INTO firms (schema_name) VALUES ('acme')")
        .expect_err("a second tenant of the schema");
    assert!(error.to_string().contains("schema_name"), "{error}");
}

#[test]
fn a_domain_that_a_tenant_has_is_refused_and_nothing_changes() {
    let firms = Firms::new();
    let [acme, globex] = ["acme", "globex"].map(|schema| firms.firm(schema));
    let mut conn = firms.tenancy.public().expect("public");
    for (domain, firm) in [("acme.com", &acme), ("globex.com", &globex)] {
        let mut domain = FirmDomain::new(domain, firm.id).primary();
        domain.save(&mut conn).expect("saved");
    }
    let mut taken = FirmDomain::new("acme.com", globex.id).primary();
    let error = taken.save(&mut conn).expect_err("taken");
    assert_eq!(
        error.to_string(),
        "domain acme.com can't be saved: Key (domain)=(acme.com) already exists: \
         choose another, or delete it where it is"
    );
    assert!(matches!(error, Error::DuplicateDomain { .. }));
    assert_eq!(
        domains_of(&mut conn, &globex),
        ["globex.com*"],
        "its primary domain was not demoted for nothing"
    );
    let error = FirmDomain::new("https://acme.com/", globex.id).save(&mut conn);
    assert!(matches!(error, Err(Error::Domain { .. })), "{error:?}");
    let error = FirmDomain::new("umbrella.com", 77).save(&mut conn);
    let error = error.expect_err("no such firm").to_string();
    assert_eq!(error, "saving domain umbrella.com failed");
}

#[test]
fn becoming_primary_at_the_same_time_ends_with_one() {
    let firms = Firms::new();
    let acme = firms.firm("acme");
    let threads = 6;
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (firms, acme, start) = (&firms, &acme, &start);
            scope.spawn(move || {
                let mut conn = firms.tenancy.public().expect("public");
                start.wait();
                // New ones and old ones, all of the same tenant.
                let mut own = FirmDomain::new(format!("{thread}.acme.com"), acme.id).primary();
                own.save(&mut conn).expect("saved as primary");
                for _ in 0..10 {
                    own.make_primary(&mut conn).expect("made primary");
                }
            });
        }
    });
    let mut conn = firms.tenancy.public().expect("public");
    let domains = FirmDomain::of(&mut conn, &acme.id).expect("read");
    assert_eq!(domains.len(), threads);
    assert_eq!(domains.iter().filter(|domain| domain.is_primary).count(), 1);
}

#[test]
fn a_domain_on_the_row_is_a_host_name_that_nobody_has() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    let mut conn = db.tenancy.public().expect("public");
    let mut globex = client("globex");
    for (domain, rule) in [
        ("", "it is empty"),
        ("http://globex.com", "it has a scheme"),
        ("globex.com:8000", "it has a port"),
        ("globex.com/app", "it has a path"),
        ("Globex.com", "it has upper case"),
    ] {
        domain.clone_into(&mut globex.domain_url);
        let error = globex.save(&mut conn).expect_err(domain).to_string();
        assert!(
            error.starts_with(&format!("{domain:?} is no domain: {rule}")),
            "{error}"
        );
        assert!(!db.schema_exists("globex"));
    }
    acme.domain_url.clone_into(&mut globex.domain_url);
    let error = globex.save(&mut conn).expect_err("taken").to_string();
    assert_eq!(
        error,
        "tenant globex can't be saved: Key (domain_url)=(acme.my-domain.com) already exists: \
         choose another value"
    );
    assert!(!db.schema_exists("globex"));
    acme.domain_url = "acme.com:80".to_owned();
    let error = acme.save(&mut conn).expect_err("a port");
    assert!(matches!(error, Error::Domain { .. }), "{error}");
    // A row that was made before it was asked for can still be changed otherwise.
    diesel::sql_query("UPDATE clients SET domain_url = 'Old.acme.com:80'")
        .execute(&mut conn)
        .expect("an old row");
    let mut acme = acme.row(&mut conn).expect("read").expect("there");
    acme.name = "Acme, Inc.".to_owned();
    acme.save(&mut conn).expect("saved");
    let names = strings(&mut *conn, "SELECT name AS value FROM clients");
    assert_eq!(names, ["Acme, Inc."]);
    assert_eq!(Client::all(&mut conn).expect("read"), [acme]);
}

#[test]
fn c77_a_tenant_that_is_saved_while_the_directory_reads_the_names_is_found_at_once() {
    let firms = Firms::new();
    let mut hands = PgConnection::establish(&firms.database.url()).expect("a connection");
    // The names of schemas are read before those of domains.
    hands
        .batch_execute("BEGIN; LOCK TABLE firm_domains IN ACCESS EXCLUSIVE MODE")
        .expect("locked");
    let directory = thread::scope(|scope| {
        let building = scope.spawn(|| Directory::builder(&firms.tenancy).build());
        let waits = "SELECT count(*)::text AS value FROM pg_locks \
                     WHERE relation = 'firm_domains'::regclass AND NOT granted";
        let patience = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while strings(&mut hands, waits) != ["1"] {
            assert!(std::time::Instant::now() < patience, "nobody waits");
            thread::sleep(Duration::from_millis(2));
        }
        let mut acme = Firm::new("acme".parse::<SchemaName>().expect("a name"));
        let later = SaveOptions::new().auto_create_schema(false);
        acme.save_with(&mut firms.tenancy.public().expect("public"), later)
            .expect("saved");
        hands.batch_execute("COMMIT").expect("unlocked");
        building.join().expect("no panic")
    });
    assert!(directory.is_listening());
    let found = directory.by_schema("acme").expect("asked");
    assert!(found.is_some());
    assert!(directory.by_schema("nobody").expect("asked").is_none());
    assert_eq!(directory.queries(), 1, "the names are known");
}
