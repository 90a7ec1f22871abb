//! Tables of one name in two schemas of a path.

use tenant_schemas::{AppScope, Check, Severity};

use super::{
    assert_finding, assert_healthy, assert_says, complaints, examine, heal, hotel_chain, of, only,
};
use crate::support::{Db, client, customers, insert_room, rooms_of, sql_app, strings};

const ROOMS: &str = "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);";

#[test]
fn a_tenant_that_reads_a_public_table_instead_of_its_own_is_found() {
    let db = hotel_chain();
    let [_, globex, _] = db.tenants(["acme", "globex", "hooli"]);
    db.run("CREATE TABLE public.suites (id serial PRIMARY KEY, name text); INSERT INTO public.suites VALUES (1, 'Leak')");
    db.run("DROP VIEW globex.long_stays; DROP TABLE globex.stays, globex.suites");
    // Control: it does read it.
    let mut conn = db.tenancy.tenant(&globex).expect("a connection");
    assert_eq!(
        strings(&mut *conn, "SELECT name AS value FROM suites"),
        ["Leak"]
    );
    drop(conn);

    let diagnosis = examine(&db.tenancy);
    let found = of(&diagnosis, Check::ShadowedTable);
    assert_finding(&found[0], Severity::Error, Some("globex"), "suites");
    assert_says(
        &found[0].message,
        &[
            "lacks table suites, which 2 others have and model Suite",
            "reads and writes public.suites instead, in silence",
        ],
    );
    assert_finding(&found[1], Severity::Warning, None, "public.suites");
    assert_says(&found[1].message, &["the suites of 2 tenants"]);
    assert_eq!(diagnosis.worst(), Some(Severity::Error));

    heal(&db.tenancy, &found[0]);
    let diagnosis = examine(&db.tenancy);
    assert_finding(
        &only(&diagnosis, Check::ShadowedTable),
        Severity::Warning,
        None,
        "public.suites",
    );
    // The other advice.
    assert_says(&found[1].advice, &["drop or rename public.suites"]);
    db.run("DROP TABLE public.suites");
    let left = of(&examine(&db.tenancy), Check::Drift);
    assert_eq!(
        left.iter()
            .map(|finding| (finding.subject.as_str(), finding.advice.as_str()))
            .collect::<Vec<_>>(),
        [
            ("long_stays", "make it as the others have it, after stays"),
            ("stays", "make it as the others have it"),
        ]
    );
    heal(&db.tenancy, &left[1]);
    heal(&db.tenancy, &left[0]);
    assert_healthy(&db.tenancy);
}

#[test]
fn a_pending_table_that_public_has_is_an_error_until_it_is_made() {
    let db = hotel_chain();
    let older = db.again(|builder| builder.app(customers()));
    let mut acme = client("acme");
    tenant_schemas::Lifecycle::save(&mut acme, &mut older.public().expect("a connection"))
        .expect("saved");
    db.run("CREATE TABLE public.suites (id integer)");
    let diagnosis = examine(&db.tenancy);
    let found = of(&diagnosis, Check::ShadowedTable);
    assert_finding(&found[0], Severity::Error, Some("acme"), "suites");
    assert_says(&found[0].advice, &["migrate_schemas --schema=acme"]);
    super::migrate(&db.tenancy);
    assert!(
        of(&examine(&db.tenancy), Check::ShadowedTable)
            .iter()
            .all(|finding| finding.severity == Severity::Warning)
    );
}

#[test]
fn a_table_behind_those_of_tenants_is_a_warning_unless_the_path_ends_before_it() {
    let apps = || {
        (
            customers(),
            sql_app(
                "hotels",
                AppScope::Tenant,
                &[("2024-02-01-000000_rooms", ROOMS, "DROP TABLE rooms;")],
            ),
        )
    };
    let db = Db::new();
    let [acme] = db.tenants(["acme"]);
    db.run("CREATE TABLE public.rooms (id integer, name text)");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Own");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Own"]
    );
    let finding = only(&examine(&db.tenancy), Check::ShadowedTable);
    assert_finding(&finding, Severity::Warning, None, "public.rooms");
    assert_says(
        &finding.message,
        &[
            "public.rooms stands behind the rooms of 1 tenant",
            "theirs that is read",
        ],
    );
    assert_says(&finding.advice, &["include_shared(false)"]);
    let alone = db.again(|builder| {
        let (customers, hotels) = apps();
        builder.app(customers).app(hotels).include_shared(false)
    });
    assert_healthy(&alone);
    // An extra schema is on the path whatever is said of the shared one.
    db.run("CREATE SCHEMA tools; CREATE TABLE tools.rooms (id integer)");
    let extra = db.again(|builder| {
        let (customers, hotels) = apps();
        builder
            .app(customers)
            .app(hotels)
            .include_shared(false)
            .extra_search_path(["tools"])
    });
    let finding = only(&examine(&extra), Check::ShadowedTable);
    assert_finding(&finding, Severity::Warning, None, "tools.rooms");
}

#[test]
fn a_table_of_an_app_that_is_in_both_is_meant() {
    let both = || {
        sql_app(
            "notes",
            AppScope::Both,
            &[("1_notes", "CREATE TABLE notes (id integer);", "")],
        )
    };
    let db = Db::with(|builder| builder.app(customers()).app(both()));
    db.tenants(["acme", "globex"]);
    assert_healthy(&db.tenancy);
    // Where a tenant lacks its own, it reads the shared one all the same.
    db.run("DROP TABLE acme.notes");
    let diagnosis = examine(&db.tenancy);
    let finding = only(&diagnosis, Check::ShadowedTable);
    assert_finding(&finding, Severity::Error, Some("acme"), "notes");
    heal(&db.tenancy, &finding);
    assert_healthy(&db.tenancy);
}

#[test]
fn a_tenant_model_whose_table_is_only_in_public_is_a_warning() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("CREATE TABLE public.elsewhere_only (id integer)");
    let diagnosis = examine(&db.tenancy);
    assert_eq!(complaints(&diagnosis).len(), 1);
    let finding = only(&diagnosis, Check::ShadowedTable);
    assert_finding(&finding, Severity::Warning, None, "elsewhere_only");
    assert_says(
        &finding.message,
        &["model Elsewhere (", "there is only public.elsewhere_only"],
    );
}
