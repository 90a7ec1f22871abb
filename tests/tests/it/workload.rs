//! A workload of a real size: 12 migrations, 20 tables, foreign keys to shared tables.

use std::time::Instant;

use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tenant_schemas::testing::TestDatabase;
use tenant_schemas::{
    App, AppScope, Lifecycle as _, SchemaName, Tenancy, TenantModel, shared_app, tenant_app,
};

use crate::support::strings;

#[shared_app(migrations = "migrations/workload/shared")]
struct Shared;

#[tenant_app(migrations = "migrations/workload/crm")]
struct Crm;

#[tenant_app(migrations = "migrations/workload/billing", after = ["crm"])]
struct Billing;

#[tenant_app(migrations = "migrations/workload/projects", after = ["crm"])]
struct Projects;

const CRM: EmbeddedMigrations = embed_migrations!("migrations/workload/crm");
const PENDING: EmbeddedMigrations = embed_migrations!("migrations/workload/pending/crm");

diesel::table! {
    tenants (id) {
        id -> BigInt,
        schema_name -> Text,
        name -> Text,
        domain_url -> Text,
    }
}

/// A tenant of the workload.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = tenants)]
struct Tenant {
    id: i64,
    schema_name: SchemaName,
    name: String,
    domain_url: String,
}

/// The apps in an order that only `after` puts right.
fn tenancy(database: &TestDatabase, crm: impl Into<App>) -> Tenancy<Tenant> {
    Tenancy::builder(database.url())
        .pool_size(4)
        .app(Shared)
        .app(Projects)
        .app(Billing)
        .app(crm)
        .build()
        .expect("a tenancy")
}

fn with_pending() -> App {
    App::new("crm", AppScope::Tenant)
        .migrations(CRM)
        .migrations(PENDING)
}

fn save(tenancy: &Tenancy<Tenant>, number: usize) -> Tenant {
    let schema: SchemaName = format!("tenant_{number}").parse().expect("a name");
    let domain = format!("tenant-{number}.test");
    let mut tenant = Tenant::new(schema, domain).name(format!("Tenant {number}"));
    tenant
        .save(&mut tenancy.public().expect("a connection"))
        .expect("saved");
    tenant
}

fn raw(database: &TestDatabase) -> PgConnection {
    PgConnection::establish(&database.url()).expect("a connection")
}

/// The number of `what` in all schemas of tenants.
fn count(database: &TestDatabase, what: &str) -> usize {
    let sql = format!("SELECT count(*)::text AS value FROM {what}");
    strings(&mut raw(database), &sql)[0]
        .parse()
        .expect("a number")
}

const TABLES: [&str; 20] = [
    "accounts",
    "activities",
    "addresses",
    "attachments",
    "companies",
    "contact_tags",
    "contacts",
    "credits",
    "invoice_lines",
    "invoices",
    "labels",
    "milestones",
    "notes",
    "payments",
    "projects",
    "subscriptions",
    "tags",
    "task_comments",
    "tasks",
    "time_entries",
];

#[test]
fn the_workload_is_provisioned_and_migrated() {
    let database = TestDatabase::new().expect("a database");
    let tenancy_before = tenancy(&database, Crm);
    tenancy_before
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let tenant = save(&tenancy_before, 1);
    let mut conn = raw(&database);
    let tables = strings(
        &mut conn,
        "SELECT tablename::text AS value FROM pg_tables WHERE schemaname = 'tenant_1' \
         AND tablename NOT LIKE '\\_\\_%' ORDER BY 1",
    );
    assert_eq!(tables, TABLES);
    // Every foreign key points into the tenant, or at the shared plans.
    let keys = strings(
        &mut conn,
        "SELECT confrelid::regclass::text AS value FROM pg_constraint \
         WHERE contype = 'f' AND connamespace = 'tenant_1'::regnamespace \
         AND confrelid::regclass::text NOT LIKE 'tenant_1.%' ORDER BY 1",
    );
    assert_eq!(keys, ["plans", "plans"]);
    let mut conn = tenancy_before.tenant(&tenant).expect("a connection");
    diesel::sql_query(
        "INSERT INTO companies (name, domain, plan_id, active) \
         SELECT 'Acme', 'acme.test', id, true FROM plans WHERE name = 'team'",
    )
    .execute(&mut conn)
    .expect("a company");
    drop(conn);

    let after = tenancy(&database, with_pending());
    let pending = after.migrate().check().expect("checked");
    let steps: Vec<String> = pending.schemas[0]
        .steps
        .iter()
        .map(|step| step.id.to_string())
        .collect();
    assert_eq!(steps, ["crm/2024-06-01-000001_contacts_last_seen"]);
    after
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    assert_eq!(
        count(&database, "tenant_1.contacts WHERE last_seen_at IS NULL"),
        0
    );
    assert_eq!(count(&database, "tenant_1.companies"), 1);

    // All the way down again, app by app.
    for app in ["projects", "billing", "crm"] {
        let zero = after
            .migrate()
            .tenants()
            .app(app)
            .to_zero()
            .run()
            .expect("a report");
        zero.into_result().expect("reverted");
    }
    let left = "SELECT tablename::text AS value FROM pg_tables WHERE schemaname = 'tenant_1'";
    assert_eq!(strings(&mut raw(&database), left), ["__tenant_migrations"]);
}

/// A stress test: about a minute on two slow cores.
#[test]
fn three_hundred_tenants_of_the_workload() {
    const TENANTS: usize = 300;
    let database = TestDatabase::new().expect("a database");
    let before = tenancy(&database, Crm);
    before
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let before = &before;
            scope.spawn(move || {
                for number in (worker..TENANTS).step_by(4) {
                    save(before, number);
                }
            });
        }
    });
    let provisioned = begun.elapsed();
    let own = "pg_tables WHERE schemaname LIKE 'tenant\\_%' AND tablename NOT LIKE '\\_\\_%'";
    assert_eq!(count(&database, own), TENANTS * TABLES.len());
    assert!(before.migrate().check().expect("checked").is_empty());

    let after = tenancy(&database, with_pending());
    let begun = Instant::now();
    let done = after
        .migrate()
        .jobs(4)
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let migrated = begun.elapsed();
    let applied: usize = done.iter().map(|(_, done)| done.applied.len()).sum();
    assert_eq!(applied, TENANTS);
    let columns = "pg_attribute WHERE attname = 'last_seen_at' AND NOT attisdropped \
         AND attrelid IN (SELECT oid FROM pg_class WHERE relname = 'contacts' AND relkind = 'r')";
    assert_eq!(count(&database, columns), TENANTS);

    let begun = Instant::now();
    assert!(after.migrate().check().expect("checked").is_empty());
    let checked = begun.elapsed();
    assert!(
        after
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
    eprintln!(
        "{TENANTS} tenants: provisioned in {provisioned:?}, migrated in {migrated:?}, checked in {checked:?}"
    );
}
