//! What is wrong with a fleet is found, and the advice helps.

mod drift;
mod models;
mod schemas;
mod server;
mod shadow;

use diesel::connection::SimpleConnection as _;
use tenant_schemas::{
    App, AppScope, Check, Diagnosis, Finding, Report, Severity, Tenancy, shared_app, tenant_app,
};

use crate::support::{Client, Db, customers, name, sql_app};

diesel::table! {
    /// Declared for tenants.
    suites (id) {
        id -> Integer,
        name -> Text,
        price -> Nullable<Integer>,
        kind -> Text,
    }
}

diesel::table! {
    /// Declared for all.
    public.brochures (id) {
        id -> Integer,
        title -> Text,
    }
}

diesel::table! {
    /// Declared for a tenancy that no test has.
    elsewhere_only (id) {
        id -> Integer,
    }
}

#[tenant_app]
#[derive(diesel::Queryable)]
#[diesel(table_name = suites)]
#[expect(dead_code, reason = "it is only declared")]
struct Suite {
    id: i32,
    name: String,
    price: Option<i32>,
    kind: String,
}

#[shared_app]
#[derive(diesel::Queryable)]
#[diesel(table_name = brochures)]
#[expect(dead_code, reason = "it is only declared")]
struct Brochure {
    id: i32,
    title: String,
}

#[tenant_app]
#[derive(diesel::Queryable)]
#[diesel(table_name = elsewhere_only)]
#[expect(dead_code, reason = "it is only declared")]
struct Elsewhere {
    id: i32,
}

const SUITES: &str = "CREATE TYPE kind AS ENUM ('small', 'large'); \
    CREATE TABLE suites (id serial PRIMARY KEY, name text NOT NULL CHECK (name <> ''), price integer DEFAULT 0, \
    kind kind NOT NULL DEFAULT 'small'); \
    CREATE INDEX suites_name ON suites (lower(name)) WHERE kind = 'small'; \
    CREATE TABLE stays (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
    suite_id integer NOT NULL REFERENCES suites, plan_id integer REFERENCES public.plans, \
    nights integer NOT NULL, doubled integer GENERATED ALWAYS AS (nights * 2) STORED); \
    CREATE VIEW long_stays AS SELECT s.id, r.name FROM stays s JOIN suites r ON r.id = s.suite_id WHERE nights > 9;";

/// A tenant app with what tenants have: serials, enums, keys, views.
fn suites() -> App {
    sql_app(
        "suites",
        AppScope::Tenant,
        &[(
            "2024-05-01-000000_suites",
            SUITES,
            "DROP VIEW long_stays; DROP TABLE stays, suites; DROP TYPE kind;",
        )],
    )
}

fn brochures() -> App {
    let up = "CREATE TABLE brochures (id integer PRIMARY KEY, title text NOT NULL);";
    sql_app(
        "brochures",
        AppScope::Shared,
        &[("2024-05-01-000000_brochures", up, "DROP TABLE brochures;")],
    )
}

/// A fleet with all of it.
fn hotel_chain() -> Db {
    Db::with(|builder| builder.app(customers()).app(brochures()).app(suites()))
}

fn migrate(tenancy: &Tenancy<Client>) {
    tenancy
        .migrate()
        .run()
        .and_then(Report::into_result)
        .expect("migrated");
}

#[track_caller]
fn examine(tenancy: &Tenancy<Client>) -> Diagnosis {
    tenancy.doctor().expect("a diagnosis")
}

/// What is worse than a remark.
fn complaints(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis
        .findings()
        .iter()
        .filter(|finding| finding.severity > Severity::Info)
        // The server's age is not the fleet's fault.
        .filter(|finding| finding.check != Check::EndOfLife)
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn assert_healthy(tenancy: &Tenancy<Client>) {
    assert_eq!(complaints(&examine(tenancy)), [""; 0]);
}

#[track_caller]
fn of(diagnosis: &Diagnosis, check: Check) -> Vec<Finding> {
    let findings = diagnosis.findings().iter();
    findings
        .filter(|finding| finding.check == check)
        .cloned()
        .collect()
}

/// The one finding of a check.
#[track_caller]
fn only(diagnosis: &Diagnosis, check: Check) -> Finding {
    let mut found = of(diagnosis, check);
    assert_eq!(found.len(), 1, "{check}: {:#?}", diagnosis.findings());
    found.remove(0)
}

#[track_caller]
fn assert_finding(finding: &Finding, severity: Severity, schema: Option<&str>, subject: &str) {
    let seen = (
        finding.severity,
        finding
            .schema
            .as_ref()
            .map(tenant_schemas::SchemaName::as_str),
        finding.subject.as_str(),
    );
    assert_eq!(seen, (severity, schema, subject), "{finding}");
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

/// Runs the SQL that a finding advises, where it says.
#[track_caller]
fn heal(tenancy: &Tenancy<Client>, finding: &Finding) {
    let sql = finding
        .sql
        .as_ref()
        .unwrap_or_else(|| panic!("{finding} has SQL"));
    let schema = finding.schema.clone().unwrap_or_else(|| name("public"));
    tenancy
        .schema(&schema)
        .expect("a connection")
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Runs the SQL of every finding that has some, until none is left.
#[track_caller]
fn heal_all(tenancy: &Tenancy<Client>) {
    for finding in examine(tenancy).findings() {
        if finding.sql.is_some() {
            heal(tenancy, finding);
        }
    }
    assert_healthy(tenancy);
}

#[test]
fn a_healthy_fleet_has_only_remarks() {
    let db = hotel_chain();
    assert_healthy(&db.tenancy);
    db.tenants(["acme", "globex", "a"]);
    let diagnosis = examine(&db.tenancy);
    assert_eq!(complaints(&diagnosis), [""; 0]);
    assert!(
        of(&diagnosis, Check::UndeclaredColumn).is_empty(),
        "{diagnosis:?}"
    );
    // Remarks: a model of another tenancy, and timeouts.
    let unused = of(&diagnosis, Check::UnusedDeclaration);
    let elsewhere = unused
        .iter()
        .find(|finding| finding.subject == "elsewhere_only")
        .expect("declared, and nowhere");
    assert_finding(elsewhere, Severity::Info, None, "elsewhere_only");
    assert_says(&elsewhere.message, &["model Elsewhere (", "in tenants"]);
    let timeouts: Vec<String> = of(&diagnosis, Check::Timeouts)
        .into_iter()
        .map(|finding| finding.subject)
        .collect();
    assert_eq!(
        timeouts,
        [
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout"
        ]
    );
}

#[test]
fn codes_of_checks_are_unique() {
    let codes: std::collections::BTreeSet<&str> =
        Check::ALL.iter().map(|check| check.code()).collect();
    assert_eq!(codes.len(), Check::ALL.len());
}
