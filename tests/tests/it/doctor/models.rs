//! Declared Diesel tables that are not there.

use tenant_schemas::{AppScope, Check, Report, Severity};

use super::{
    assert_finding, assert_healthy, assert_says, complaints, examine, hotel_chain, of, only,
};
use crate::support::{Db, customers, hotels, name, sql_app};

#[test]
fn a_declared_column_that_no_tenant_has_is_found_in_each() {
    let db = hotel_chain();
    db.tenants(["acme", "globex"]);
    for schema in ["acme", "globex"] {
        db.run(&format!("ALTER TABLE {schema}.suites DROP COLUMN price"));
    }
    let diagnosis = examine(&db.tenancy);
    let found = of(&diagnosis, Check::MissingColumn);
    assert_finding(&found[0], Severity::Error, Some("acme"), "suites.price");
    assert_says(
        &found[0].message,
        &[
            "lacks column suites.price, which model Suite (",
            "doctor.rs:",
            "declares",
        ],
    );
    assert_says(
        &found[0].advice,
        &["add a migration that adds it", "`table!` of suites"],
    );
    assert_eq!(complaints(&diagnosis).len(), 2);
    let group = &diagnosis.groups()[0];
    assert_eq!(group.findings.len(), 2);
    let fixed = db.again(|builder| {
        let up = "ALTER TABLE suites ADD COLUMN price integer";
        builder
            .app(customers())
            .app(super::brochures())
            .app(super::suites())
            .app(sql_app("prices", AppScope::Tenant, &[("1_price", up, "")]))
    });
    // It may come with what is pending.
    assert!(of(&examine(&fixed), Check::MissingColumn).is_empty());
    super::migrate(&fixed);
    assert_healthy(&fixed);
}

#[test]
fn a_declared_table_that_was_dropped_is_found_and_made_again() {
    let db = hotel_chain();
    db.tenant("acme");
    db.run("DROP VIEW acme.long_stays; DROP TABLE acme.stays, acme.suites; DROP TYPE acme.kind");
    let finding = only(&examine(&db.tenancy), Check::MissingTable);
    assert_finding(&finding, Severity::Error, Some("acme"), "suites");
    assert_says(
        &finding.advice,
        &[
            "migrate_schemas suites zero --fake --schema=acme",
            "migrate_schemas --schema=acme",
        ],
    );
    let acme = name("acme");
    let run = || db.tenancy.migrate().schema(&acme);
    run()
        .app("suites")
        .to_zero()
        .fake(true)
        .run()
        .and_then(Report::into_result)
        .expect("down");
    run().run().and_then(Report::into_result).expect("up");
    assert_healthy(&db.tenancy);
}

#[test]
fn a_shared_table_that_was_dropped_is_found() {
    let db = hotel_chain();
    db.run("DROP TABLE brochures");
    let finding = only(&examine(&db.tenancy), Check::MissingTable);
    assert_finding(&finding, Severity::Error, Some("public"), "brochures");
    assert_says(
        &finding.advice,
        &["migrate_schemas brochures zero --fake --shared"],
    );
    let run = || db.tenancy.migrate().shared();
    run()
        .app("brochures")
        .to_zero()
        .fake(true)
        .run()
        .and_then(Report::into_result)
        .expect("down");
    run().run().and_then(Report::into_result).expect("up");
    assert_healthy(&db.tenancy);
    db.run(
        "ALTER TABLE brochures DROP COLUMN title; ALTER TABLE brochures ADD COLUMN subtitle text",
    );
    let diagnosis = examine(&db.tenancy);
    assert_finding(
        &only(&diagnosis, Check::MissingColumn),
        Severity::Error,
        Some("public"),
        "brochures.title",
    );
    let undeclared = only(&diagnosis, Check::UndeclaredColumn);
    assert_finding(&undeclared, Severity::Info, Some("public"), "brochures");
}

#[test]
fn models_of_other_tenancies_raise_no_alarm() {
    // Neither suites nor brochures are in this one's apps.
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    assert_healthy(&db.tenancy);
    let unused: Vec<String> = of(&examine(&db.tenancy), Check::UnusedDeclaration)
        .into_iter()
        .map(|finding| finding.subject)
        .collect();
    for table in ["suites", "brochures", "elsewhere_only"] {
        assert!(
            unused.contains(&table.to_owned()),
            "{unused:?} lacks {table}"
        );
    }
}

#[test]
fn a_table_of_legacy_tenants_is_expected_in_all() {
    // No migration speaks of it; the tenants brought it along.
    let db = Db::with(|builder| builder.app(customers()).app(hotels()));
    db.tenants(["acme", "globex"]);
    db.run("CREATE TABLE acme.suites (id integer, name text, price integer, kind text)");
    let finding = only(&examine(&db.tenancy), Check::Drift);
    assert_finding(&finding, Severity::Error, Some("globex"), "suites");
    super::heal_all(&db.tenancy);
}
