//! Schemas, tenants and ledgers that do not belong together.

use diesel::connection::SimpleConnection as _;
use tenant_schemas::{AppScope, Check, Lifecycle as _, Report, SaveOptions, Severity};

use super::{assert_finding, assert_healthy, assert_says, examine, heal, migrate, of, only};
use crate::support::{Db, client, customers, hotels, name, sql_app};

#[test]
fn a_database_without_tenants_table_is_told_to_migrate() {
    let db = Db::unmigrated(|builder| builder.app(customers()).app(hotels()));
    let diagnosis = examine(&db.tenancy);
    let finding = only(&diagnosis, Check::Tenants);
    assert_finding(&finding, Severity::Error, None, "clients");
    assert_says(&finding.message, &["no table \"public\".\"clients\""]);
    assert_says(&finding.advice, &["migrate_schemas --shared"]);
    let pending = only(&diagnosis, Check::PendingMigration);
    assert_finding(
        &pending,
        Severity::Warning,
        Some("public"),
        "customers/2024-01-01-000000_clients",
    );
    migrate(&db.tenancy);
    assert_healthy(&db.tenancy);
}

#[test]
fn tenants_that_cannot_be_read_are_a_finding() {
    let db = Db::new();
    db.run("ALTER TABLE clients DROP COLUMN on_trial");
    let finding = only(&examine(&db.tenancy), Check::Tenants);
    assert_says(&finding.message, &["can't be read", "on_trial"]);
}

#[test]
fn c39_a_tenant_without_schema_is_found_and_its_schema_made() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("DROP SCHEMA globex CASCADE");
    let diagnosis = examine(&db.tenancy);
    let finding = only(&diagnosis, Check::MissingSchema);
    assert_finding(&finding, Severity::Error, Some("globex"), "globex");
    assert_says(&finding.advice, &["create_missing_schemas"]);
    assert!(
        of(&diagnosis, Check::StaleState).is_empty(),
        "said once is enough"
    );
    db.tenancy
        .create_missing_schemas()
        .and_then(Report::into_result)
        .expect("made");
    assert_healthy(&db.tenancy);
}

#[test]
fn a_schema_without_tenant_is_found_and_dropped_or_adopted() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .extra_search_path(["tools"])
    });
    db.run(
        "CREATE SCHEMA tools; CREATE SCHEMA somebodys; CREATE TABLE somebodys.rooms (id integer);",
    );
    db.tenants(["acme", "globex", "kept"]);
    db.run("CREATE TABLE tools.__tenant_migrations (LIKE acme.__tenant_migrations)");
    db.run("DELETE FROM clients WHERE schema_name IN ('acme', 'globex')");
    let diagnosis = examine(&db.tenancy);
    let [acme, globex] = &of(&diagnosis, Check::OrphanSchema)[..] else {
        panic!("{:#?}", diagnosis.findings());
    };
    assert_finding(acme, Severity::Warning, Some("acme"), "acme");
    assert_finding(globex, Severity::Warning, Some("globex"), "globex");
    assert_says(
        &acme.advice,
        &["`adopt`", "tenancy.drop_schema_cascade(\"acme\")"],
    );
    db.tenancy
        .drop_schema_cascade(&name("acme"))
        .expect("dropped");
    assert!(!db.schema_exists("acme") && db.schema_exists("globex"));
    client("globex")
        .adopt(&mut db.tenancy.public().expect("a connection"))
        .expect("adopted");
    assert_healthy(&db.tenancy);
}

#[test]
fn a_schema_of_another_program_is_only_a_remark() {
    let db = Db::new();
    let other = db.again(|builder| {
        let bikes = sql_app(
            "bikes",
            AppScope::Tenant,
            &[("1_bikes", "CREATE TABLE bikes (id integer);", "")],
        );
        builder.app(customers()).app(bikes)
    });
    client("rider")
        .save(&mut other.public().expect("a connection"))
        .expect("saved");
    db.run("DELETE FROM clients");
    assert_healthy(&db.tenancy);
    let finding = only(&examine(&db.tenancy), Check::OrphanSchema);
    assert_finding(&finding, Severity::Info, Some("rider"), "rider");
    // To the program that has the app, it is an orphan.
    let finding = only(&examine(&other), Check::OrphanSchema);
    assert_eq!(finding.severity, Severity::Warning);
}

#[test]
fn a_state_whose_schema_is_gone_is_removed() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("DROP SCHEMA acme CASCADE; DELETE FROM clients WHERE schema_name = 'acme'");
    let finding = only(&examine(&db.tenancy), Check::StaleState);
    assert_finding(&finding, Severity::Warning, Some("acme"), "acme");
    // Its schema is gone, so it can only be run in public.
    db.run(finding.sql.as_ref().expect("SQL"));
    assert_healthy(&db.tenancy);
}

#[test]
fn a_state_that_disagrees_with_the_ledger_is_found_and_summed_up_again() {
    let db = Db::new();
    db.tenants(["acme", "globex", "initech"]);
    // As after a restore of an older dump of the schema: the state says that all is well.
    db.run("DELETE FROM acme.__tenant_migrations; DROP TABLE acme.rooms");
    db.run("DELETE FROM __tenant_schemas WHERE schema_name = 'globex'");
    let diagnosis = examine(&db.tenancy);
    let [acme, globex] = &of(&diagnosis, Check::StateMismatch)[..] else {
        panic!("{:#?}", diagnosis.findings());
    };
    assert_finding(acme, Severity::Error, Some("acme"), "acme");
    assert_finding(globex, Severity::Warning, Some("globex"), "globex");
    assert_says(&acme.advice, &["migrate_schemas --verify", "verify(true)"]);
    let pending = only(&diagnosis, Check::PendingMigration);
    assert_finding(
        &pending,
        Severity::Warning,
        Some("acme"),
        "hotels/2024-02-01-000000_rooms",
    );
    db.tenancy
        .migrate()
        .verify(true)
        .run()
        .and_then(Report::into_result)
        .expect("migrated");
    assert_healthy(&db.tenancy);
}

#[test]
fn a_schema_that_was_made_again_by_hand_is_not_taken_for_the_old_one() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("DROP SCHEMA acme CASCADE; CREATE SCHEMA acme");
    let diagnosis = examine(&db.tenancy);
    let pending = only(&diagnosis, Check::PendingMigration);
    assert_finding(
        &pending,
        Severity::Warning,
        Some("acme"),
        "hotels/2024-02-01-000000_rooms",
    );
    migrate(&db.tenancy);
    assert_healthy(&db.tenancy);
    // With its ledger, as a restore makes it, it only lacks its line.
    db.run(
        "DROP SCHEMA acme CASCADE; CREATE SCHEMA acme; \
         CREATE TABLE acme.rooms (LIKE globex.rooms INCLUDING ALL); \
         CREATE TABLE acme.__tenant_migrations (LIKE globex.__tenant_migrations INCLUDING ALL); \
         INSERT INTO acme.__tenant_migrations SELECT * FROM globex.__tenant_migrations",
    );
    let finding = only(&examine(&db.tenancy), Check::StateMismatch);
    assert_finding(&finding, Severity::Warning, Some("acme"), "acme");
    db.tenancy
        .migrate()
        .verify(true)
        .run()
        .and_then(Report::into_result)
        .expect("summed up");
    assert_healthy(&db.tenancy);
}

#[test]
fn pending_migrations_are_grouped_over_the_fleet() {
    let db = Db::new();
    db.tenants(["acme", "globex", "initech"]);
    let newer = db.again(|builder| {
        let prices = sql_app(
            "prices",
            AppScope::Tenant,
            &[("1_prices", "CREATE TABLE prices (id integer);", "")],
        );
        builder.app(customers()).app(hotels()).app(prices)
    });
    let diagnosis = examine(&newer);
    assert!(!diagnosis.is_healthy());
    let groups = diagnosis.groups();
    let group = groups
        .iter()
        .find(|group| group.first.check == Check::PendingMigration)
        .expect("a group");
    assert_eq!(group.findings.len(), 3);
    assert_finding(
        group.first,
        Severity::Warning,
        Some("acme"),
        "prices/1_prices",
    );
    assert_says(&group.first.advice, &["migrate_schemas --schema=acme"]);
    migrate(&newer);
    assert_healthy(&newer);
}

#[test]
fn c50_a_changed_migration_is_found_and_its_text_taken_over() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    let edited = db.again(|builder| {
        let up = "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL); -- edited";
        let next = "CREATE TABLE beds (id integer);";
        builder.app(customers()).app(sql_app(
            "hotels",
            AppScope::Tenant,
            &[
                ("2024-02-01-000000_rooms", up, "DROP TABLE rooms;"),
                ("2024-02-02-000000_beds", next, "DROP TABLE beds;"),
            ],
        ))
    });
    for (schema, left) in [("acme", 2), ("globex", 1)] {
        let diagnosis = examine(&edited);
        let changed = of(&diagnosis, Check::ChangedMigration);
        assert_eq!(changed.len(), left);
        let subject = "hotels/2024-02-01-000000_rooms";
        assert_finding(&changed[0], Severity::Warning, Some(schema), subject);
        let verify = format!("migrate_schemas --verify --schema={schema}");
        assert_says(&changed[0].advice, &["new migration", &verify]);
        let update = changed[0]
            .advice
            .split('`')
            .find(|text| text.starts_with("UPDATE"));
        db.run(update.expect("a statement"));
    }
    // What is pending was not taken for applied.
    assert_eq!(of(&examine(&edited), Check::PendingMigration).len(), 2);
    let verified = edited.migrate().verify(true).run().expect("a report");
    verified.into_result().expect("migrated");
    assert_healthy(&edited);
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "beds", "rooms"]);
}

#[test]
fn a_migration_that_the_program_does_not_know_is_found() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    let older = db.again(|builder| {
        builder
            .app(customers())
            .app(sql_app("hotels", AppScope::Tenant, &[]))
    });
    let diagnosis = examine(&older);
    let found = of(&diagnosis, Check::UnknownMigration);
    assert_eq!(found.len(), 2);
    assert_finding(
        &found[0],
        Severity::Warning,
        Some("acme"),
        "hotels/20240201000000",
    );
    assert_says(
        &found[0].advice,
        &["older than the schema", "deploy the newer one"],
    );
    // The newer program has nothing to say.
    assert_healthy(&db.tenancy);
}

#[test]
fn a_unique_index_that_is_gone_is_found_with_the_values_that_are_in_its_way() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("ALTER TABLE clients DROP CONSTRAINT clients_domain_url_key");
    let subject = "\"public\".\"clients\".domain_url";
    let finding = only(&examine(&db.tenancy), Check::MissingUniqueIndex);
    assert_finding(&finding, Severity::Error, Some("public"), subject);
    assert_says(
        &finding.advice,
        &["make it with `migrate_schemas --shared`"],
    );
    db.run("UPDATE clients SET domain_url = 'same.example.com'");
    let finding = only(&examine(&db.tenancy), Check::MissingUniqueIndex);
    assert_says(
        &finding.message,
        &["`same.example.com` stand there more than once"],
    );
    assert_says(&finding.advice, &["decide which rows keep these values"]);
    db.run("UPDATE clients SET domain_url = schema_name || '.example.com'");
    migrate(&db.tenancy);
    assert_healthy(&db.tenancy);
}

#[test]
fn an_index_that_could_not_be_built_is_found_and_built() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    db.run("INSERT INTO acme.rooms VALUES (1, 'twin'), (2, 'twin')");
    let failed = db
        .raw()
        .batch_execute("CREATE UNIQUE INDEX CONCURRENTLY rooms_name ON acme.rooms (name)");
    assert!(failed.is_err(), "there are twins");
    db.run("CREATE UNIQUE INDEX rooms_name ON globex.rooms (name)");
    let finding = only(&examine(&db.tenancy), Check::InvalidIndex);
    assert_finding(&finding, Severity::Error, Some("acme"), "rooms_name");
    assert_says(&finding.advice, &["no two rows have the same values"]);
    assert_eq!(
        finding.sql.as_deref(),
        Some("REINDEX INDEX CONCURRENTLY \"acme\".\"rooms_name\"")
    );
    // It fails again, and leaves its own behind.
    assert!(
        db.raw()
            .batch_execute(finding.sql.as_ref().expect("SQL"))
            .is_err()
    );
    let diagnosis = examine(&db.tenancy);
    let left = of(&diagnosis, Check::InvalidIndex)
        .into_iter()
        .find(|finding| finding.subject == "rooms_name_ccnew")
        .expect("a leftover");
    assert_says(&left.advice, &["remove what a failed REINDEX left"]);
    db.run("UPDATE acme.rooms SET name = name || id");
    heal(&db.tenancy, &left);
    heal(&db.tenancy, &finding);
    assert_healthy(&db.tenancy);
}

#[test]
fn c48_an_index_whose_migration_failed_is_removed_for_the_next_try() {
    let db = Db::with(|builder| {
        let index = (
            "2024-03-01-000000_index!",
            "CREATE UNIQUE INDEX CONCURRENTLY rooms_name ON rooms (name);",
            "",
        );
        let rooms = (
            "2024-02-01-000000_rooms",
            "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);",
            "",
        );
        builder
            .app(customers())
            .app(sql_app("hotels", AppScope::Tenant, &[rooms, index]))
    });
    let older = db.again(|builder| builder.app(customers()).app(hotels()));
    client("acme")
        .save_with(
            &mut older.public().expect("a connection"),
            SaveOptions::new(),
        )
        .expect("saved");
    db.run("INSERT INTO acme.rooms VALUES (1, 'twin'), (2, 'twin')");
    let run = || db.tenancy.migrate().run().and_then(Report::into_result);
    assert!(run().is_err(), "there are twins");
    let finding = only(&examine(&db.tenancy), Check::InvalidIndex);
    assert_says(&finding.advice, &["let its migration build it again"]);
    db.run("UPDATE acme.rooms SET name = name || id");
    assert!(run().is_err(), "the invalid index is in the way");
    heal(&db.tenancy, &finding);
    run().expect("migrated");
    assert_healthy(&db.tenancy);
}

#[test]
fn a_constraint_that_was_never_checked_is_a_remark() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    for schema in ["acme", "globex"] {
        db.run(&format!(
            "ALTER TABLE {schema}.rooms ADD CONSTRAINT named CHECK (name <> '') NOT VALID"
        ));
    }
    assert_healthy(&db.tenancy);
    let found = of(&examine(&db.tenancy), Check::UnvalidatedConstraint);
    assert_finding(&found[0], Severity::Info, Some("acme"), "rooms.named");
    heal(&db.tenancy, &found[0]);
    let left = only(&examine(&db.tenancy), Check::UnvalidatedConstraint);
    assert_finding(&left, Severity::Info, Some("globex"), "rooms.named");
    assert_healthy(&db.tenancy);
}
