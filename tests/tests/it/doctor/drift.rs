//! Tenants that are not like the others.

use diesel::RunQueryDsl as _;
use tenant_schemas::{AppScope, Check, Lifecycle as _, Severity};

use super::{
    assert_finding, assert_healthy, assert_says, complaints, examine, heal, heal_all, hotel_chain,
    of, only,
};
use crate::support::{Client, Db, name, sql_app};

fn four() -> Db {
    let db = hotel_chain();
    db.tenants(["acme", "globex", "hooli", "initech"]);
    assert_healthy(&db.tenancy);
    db
}

#[test]
fn a_column_that_the_others_have_is_found_and_added() {
    let db = four();
    db.run("ALTER TABLE hooli.suites DROP COLUMN price");
    let diagnosis = examine(&db.tenancy);
    assert_eq!(
        complaints(&diagnosis).len(),
        1,
        "{:#?}",
        diagnosis.findings()
    );
    let finding = only(&diagnosis, Check::Drift);
    assert_finding(&finding, Severity::Error, Some("hooli"), "suites.price");
    assert_says(
        &finding.message,
        &[
            "lacks column suites.price, which 3 others have and model Suite (",
            "declares",
        ],
    );
    assert_eq!(
        finding.sql.as_deref(),
        Some("ALTER TABLE \"hooli\".\"suites\" ADD COLUMN \"price\" integer DEFAULT 0")
    );
    heal(&db.tenancy, &finding);
    assert_healthy(&db.tenancy);
}

#[test]
fn every_kind_of_difference_is_found_and_ended() {
    let cases = [
        (
            "DROP INDEX hooli.suites_name",
            "suites.suites_name",
            "lacks index",
        ),
        (
            "ALTER TABLE hooli.suites ALTER name DROP NOT NULL",
            "suites.name",
            "column suites.name is `text`, and `text NOT NULL` in 3 others",
        ),
        (
            "ALTER TABLE hooli.suites ALTER price SET NOT NULL",
            "suites.price",
            "`integer DEFAULT 0 NOT NULL`",
        ),
        (
            "ALTER TABLE hooli.suites ALTER price DROP DEFAULT",
            "suites.price",
            "is `integer`, and `integer DEFAULT 0`",
        ),
        (
            "ALTER TABLE hooli.suites ALTER price SET DEFAULT 7",
            "suites.price",
            "DEFAULT 7",
        ),
        (
            "ALTER TABLE hooli.suites DROP CONSTRAINT suites_name_check",
            "suites.suites_name_check",
            "lacks constraint",
        ),
        (
            "ALTER TABLE hooli.stays DROP CONSTRAINT stays_plan_id_fkey",
            "stays.stays_plan_id_fkey",
            "lacks constraint",
        ),
        (
            "DROP VIEW hooli.long_stays",
            "long_stays",
            "lacks view long_stays, which 3 others have",
        ),
        (
            "CREATE OR REPLACE VIEW hooli.long_stays AS SELECT s.id, r.name FROM hooli.stays s JOIN hooli.suites r ON r.id = s.suite_id",
            "long_stays",
            "view long_stays is",
        ),
        (
            "DROP INDEX hooli.suites_name; CREATE INDEX suites_name ON hooli.suites (name)",
            "suites.suites_name",
            "index suites.suites_name is",
        ),
        // The key of a neighbour: rows of hooli could refer to globex's.
        (
            "ALTER TABLE hooli.stays DROP CONSTRAINT stays_suite_id_fkey; \
          ALTER TABLE hooli.stays ADD CONSTRAINT stays_suite_id_fkey FOREIGN KEY (suite_id) REFERENCES globex.suites",
            "stays.stays_suite_id_fkey",
            "REFERENCES globex.suites(id)",
        ),
    ];
    let db = four();
    for (broken, subject, message) in cases {
        db.run(broken);
        let diagnosis = examine(&db.tenancy);
        let finding = only(&diagnosis, Check::Drift);
        assert_eq!(
            (
                finding.subject.as_str(),
                finding
                    .schema
                    .as_ref()
                    .map(tenant_schemas::SchemaName::as_str)
            ),
            (subject, Some("hooli")),
            "{finding}"
        );
        assert_says(&finding.message, &[message]);
        heal(&db.tenancy, &finding);
        assert_eq!(complaints(&examine(&db.tenancy)), [""; 0], "after {broken}");
    }
}

#[test]
fn what_can_not_be_made_the_same_for_the_rows_in_it_stays_as_it_is() {
    let db = four();
    for schema in ["acme", "globex", "hooli", "initech"] {
        db.run(&format!(
            "CREATE UNIQUE INDEX suites_once ON {schema}.suites (name)"
        ));
    }
    for (broken, healed, reason, kept) in [
        (
            "DROP INDEX hooli.suites_once; CREATE INDEX suites_once ON hooli.suites (name); \
             INSERT INTO hooli.suites (name) VALUES ('Blue'), ('Blue')",
            "DELETE FROM hooli.suites",
            "could not create unique index",
            "SELECT relname::text AS value FROM pg_class WHERE oid = 'hooli.suites_once'::regclass",
        ),
        (
            "ALTER TABLE hooli.suites DROP CONSTRAINT suites_name_check, \
             ADD CONSTRAINT suites_name_check CHECK (name <> 'Red'); \
             INSERT INTO hooli.suites (name) VALUES ('')",
            "DELETE FROM hooli.suites",
            "is violated by some row",
            "SELECT conname::text AS value FROM pg_constraint \
             WHERE conrelid = 'hooli.suites'::regclass AND conname = 'suites_name_check'",
        ),
    ] {
        db.run(broken);
        let finding = only(&examine(&db.tenancy), Check::Drift);
        let sql = finding.sql.as_deref().expect("SQL");
        // Statement by statement, as `psql` would: there is one.
        let mut hooli = db.at("hooli");
        let refused = diesel::sql_query(sql).execute(&mut *hooli);
        let error = refused.expect_err("rows are in the way").to_string();
        assert_says(&error, &[reason]);
        assert_eq!(db.strings(kept).len(), 1, "{sql}");
        db.run(healed);
        heal(&db.tenancy, &finding);
        assert_eq!(complaints(&examine(&db.tenancy)), [""; 0], "{sql}");
    }
}

#[test]
fn a_table_that_the_others_have_is_made_with_all_that_belongs_to_it() {
    let db = four();
    db.run("DROP VIEW hooli.long_stays; DROP TABLE hooli.stays, hooli.suites");
    let diagnosis = examine(&db.tenancy);
    let mut lacks: Vec<String> = of(&diagnosis, Check::Drift)
        .iter()
        .map(|finding| finding.subject.clone())
        .collect();
    lacks.sort_unstable();
    assert_eq!(
        lacks,
        ["long_stays", "stays", "suites"],
        "and not what is in them"
    );
    // What refers comes behind what it refers to.
    for table in ["suites", "stays", "long_stays"] {
        let finding = of(&diagnosis, Check::Drift)
            .into_iter()
            .find(|finding| finding.subject == table)
            .expect("found");
        heal(&db.tenancy, &finding);
    }
    assert_healthy(&db.tenancy);
    // The sequence is the table's own.
    db.run("INSERT INTO hooli.suites (name) VALUES ('Attic')");
    assert_eq!(
        db.strings("SELECT id::text AS value FROM hooli.suites"),
        ["1"]
    );
    assert_eq!(
        db.strings("SELECT pg_get_serial_sequence('hooli.suites', 'id') AS value"),
        ["hooli.suites_id_seq"]
    );
}

#[test]
fn what_one_tenant_has_alone_is_found() {
    let db = four();
    db.run("ALTER TABLE hooli.suites ADD COLUMN secret text; CREATE TABLE hooli.extra (id integer PRIMARY KEY)");
    let diagnosis = examine(&db.tenancy);
    let found = of(&diagnosis, Check::Drift);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_finding(&found[0], Severity::Warning, Some("hooli"), "extra");
    assert_finding(&found[1], Severity::Warning, Some("hooli"), "suites.secret");
    assert_says(
        &found[1].message,
        &["has column suites.secret, which 3 others do not have"],
    );
    assert!(
        found.iter().all(|finding| finding.sql.is_none()),
        "data would be lost"
    );
    for finding in &found {
        let sql = finding.advice.split('`').nth(1).expect("a statement");
        db.run(sql);
    }
    assert_healthy(&db.tenancy);
}

#[test]
fn a_column_of_another_type_is_found_and_changed_by_hand() {
    let db = four();
    db.run("ALTER TABLE hooli.suites ALTER price TYPE bigint");
    let finding = only(&examine(&db.tenancy), Check::Drift);
    assert_finding(&finding, Severity::Warning, Some("hooli"), "suites.price");
    assert_says(
        &finding.message,
        &["is `bigint DEFAULT 0`, and `integer DEFAULT 0` in 3 others"],
    );
    assert!(finding.sql.is_none(), "not every bigint fits");
    db.run(finding.advice.split('`').nth(1).expect("a statement"));
    assert_healthy(&db.tenancy);
}

#[test]
fn an_enum_with_other_labels_is_found() {
    let db = four();
    db.run("ALTER TYPE hooli.kind ADD VALUE 'huge'");
    let finding = only(&examine(&db.tenancy), Check::Drift);
    assert_finding(&finding, Severity::Warning, Some("hooli"), "kind");
    assert_says(
        &finding.message,
        &["enum kind is `'small', 'large', 'huge'`"],
    );
}

#[test]
fn of_two_that_differ_the_one_that_has_it_is_right() {
    let db = hotel_chain();
    db.tenants(["acme", "globex"]);
    db.run("ALTER TABLE acme.suites DROP COLUMN price");
    let finding = only(&examine(&db.tenancy), Check::Drift);
    assert_finding(&finding, Severity::Error, Some("acme"), "suites.price");
    assert_says(&finding.message, &["which 1 other has"]);
}

#[test]
fn names_of_schemas_make_no_difference() {
    let db = Db::with(|builder| {
        builder
            .app(super::customers())
            .app(super::suites())
            .schema_names(tenant_schemas::SchemaNamePolicy::Quoted)
    });
    // A name that ends like another, one that is a column's, one that stands in a pattern, keywords.
    let save = |schemas: &[&str]| {
        for schema in schemas {
            // Not every name of a schema can be part of a domain.
            let domain = format!(
                "t{}.my-domain.com",
                db.strings("SELECT nextval('numbers')::text AS value")[0]
            );
            let mut tenant = Client::new(name(schema), domain).name("Any");
            let mut conn = db.tenancy.public().expect("a connection");
            tenant.save(&mut conn).expect("saved");
        }
    };
    db.run("CREATE SEQUENCE numbers");
    save(&[
        "me", "acme", "name", "suites", "My-Hotel", "3rooms", "select", "größe",
    ]);
    assert_healthy(&db.tenancy);
    // In its views, columns `s.id` and `r.name` read like tables of their own; in another's, `irs.id` does not.
    save(&["s", "r"]);
    for schema in ["acme", "s", "r"] {
        db.run(&format!(
            "CREATE VIEW \"{schema}\".bills AS SELECT irs.id, s.name FROM \"{schema}\".stays irs JOIN \"{schema}\".suites s ON s.id = irs.suite_id"
        ));
    }
    let found = complaints(&examine(&db.tenancy));
    assert_eq!(
        found.len(),
        3,
        "they have a view that most have not: {found:#?}"
    );
    for schema in [
        "me", "name", "suites", "My-Hotel", "3rooms", "select", "größe",
    ] {
        db.run(&format!(
            "CREATE VIEW \"{schema}\".bills AS SELECT irs.id, s.name FROM \"{schema}\".stays irs JOIN \"{schema}\".suites s ON s.id = irs.suite_id"
        ));
    }
    assert_healthy(&db.tenancy);
    db.run("ALTER TABLE \"My-Hotel\".suites DROP COLUMN price");
    heal_all(&db.tenancy);
}

#[test]
fn a_string_that_reads_like_a_schema_is_a_string() {
    let up = "CREATE SEQUENCE odd; CREATE TABLE logins (id integer DEFAULT nextval('odd') + length('acme.com it''s acme.com'), \
        name text DEFAULT 'acme.com' CHECK (name <> 'see acme.com'), site text DEFAULT 'me.example'); \
        CREATE VIEW long AS SELECT nextval('odd') AS n, 'acme.com' AS a, l.name FROM logins l WHERE l.name > 'to acme.com'";
    let db = Db::with(|builder| {
        builder.app(super::customers()).app(sql_app(
            "logins",
            AppScope::Tenant,
            &[("1_logins", up, "")],
        ))
    });
    db.tenants(["acme", "me", "other", "example"]);
    assert_healthy(&db.tenancy);
    // Control: the sequence of another tenant is another sequence.
    db.run("ALTER TABLE acme.logins ALTER id SET DEFAULT nextval('other.odd') + length('acme.com it''s acme.com')");
    let finding = only(&examine(&db.tenancy), Check::Drift);
    assert_finding(&finding, Severity::Warning, Some("acme"), "logins.id");
    heal(&db.tenancy, &finding);
    assert_healthy(&db.tenancy);
}

#[test]
fn a_key_to_a_table_of_its_own_is_not_one_to_the_shared_table_of_that_name() {
    let db = four();
    db.run(
        "CREATE TABLE hooli.plans (LIKE public.plans INCLUDING ALL); \
         ALTER TABLE hooli.stays DROP CONSTRAINT stays_plan_id_fkey; \
         ALTER TABLE hooli.stays ADD CONSTRAINT stays_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES hooli.plans",
    );
    let found = of(&examine(&db.tenancy), Check::Drift);
    let key = found
        .iter()
        .find(|finding| finding.subject == "stays.stays_plan_id_fkey")
        .expect("found");
    assert_says(
        &key.message,
        &[
            "REFERENCES plans(id)`, and `",
            "REFERENCES public.plans(id)` in 3 others",
        ],
    );
    heal(&db.tenancy, key);
    db.run("DROP TABLE hooli.plans");
    assert_healthy(&db.tenancy);
}

#[test]
fn tenants_with_other_migrations_are_not_compared() {
    let db = hotel_chain();
    db.tenants(["acme", "globex"]);
    let newer = db.again(|builder| {
        let up = "ALTER TABLE suites ADD COLUMN stars integer";
        builder
            .app(super::customers())
            .app(super::brochures())
            .app(super::suites())
            .app(sql_app("stars", AppScope::Tenant, &[("1_stars", up, "")]))
    });
    newer
        .migrate()
        .schema(&name("acme"))
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("migrated");
    let diagnosis = examine(&newer);
    assert!(
        of(&diagnosis, Check::Drift).is_empty(),
        "{:#?}",
        diagnosis.findings()
    );
    assert_eq!(
        only(&diagnosis, Check::PendingMigration).subject,
        "stars/1_stars"
    );
    // Nobody else declares the column.
    let undeclared = only(&diagnosis, Check::UndeclaredColumn);
    assert_finding(&undeclared, Severity::Info, None, "suites");
    assert_says(
        &undeclared.message,
        &["column stars of table suites is not declared"],
    );
}

#[test]
fn partitions_come_and_go() {
    let up = "CREATE TABLE logs (at date NOT NULL) PARTITION BY RANGE (at);";
    let db = Db::with(|builder| {
        builder.app(super::customers()).app(sql_app(
            "logs",
            AppScope::Tenant,
            &[("1_logs", up, "")],
        ))
    });
    db.tenants(["acme", "globex"]);
    db.run("CREATE TABLE acme.logs_2024 PARTITION OF acme.logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')");
    assert_healthy(&db.tenancy);
}
