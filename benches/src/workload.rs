//! The program that is measured: 12 migrations, 20 tables for each tenant, keys to shared tables.

use std::thread;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tenant_schemas::{
    App, AppScope, Lifecycle as _, SchemaName, Tenancy, TenancyBuilder, TenantModel, shared_app,
    tenant_app,
};

use crate::Result;
use crate::threads::on_threads;

#[shared_app(migrations = "../tests/migrations/workload/shared")]
pub(crate) struct Shared;

#[tenant_app(migrations = "../tests/migrations/workload/crm")]
pub(crate) struct Crm;

#[tenant_app(migrations = "../tests/migrations/workload/billing", after = ["crm"])]
pub(crate) struct Billing;

#[tenant_app(migrations = "../tests/migrations/workload/projects", after = ["crm"])]
pub(crate) struct Projects;

const CRM: EmbeddedMigrations = embed_migrations!("../tests/migrations/workload/crm");
const NEXT: EmbeddedMigrations = embed_migrations!("../tests/migrations/workload/pending/crm");

diesel::table! {
    public.tenants (id) {
        id -> BigInt,
        schema_name -> Text,
        name -> Text,
        domain_url -> Text,
    }
}

diesel::table! {
    contacts (id) {
        id -> BigInt,
        full_name -> Text,
    }
}

diesel::table! {
    notes (id) {
        id -> BigInt,
        contact_id -> BigInt,
        body -> Text,
        pinned -> Bool,
    }
}

#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = tenants)]
pub(crate) struct Tenant {
    id: i64,
    pub(crate) schema_name: SchemaName,
    name: String,
    pub(crate) domain_url: String,
}

/// The first contacts of every tenant have the ids from 1 to this.
pub(crate) const CONTACTS: i64 = 100;

/// The tables of a tenant.
pub(crate) const TABLES: [&str; 20] = [
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

const DDL: [&str; 12] = [
    include_str!("../../tests/migrations/workload/crm/2024-01-01-000001_create_companies/up.sql"),
    include_str!("../../tests/migrations/workload/crm/2024-01-02-000001_create_addresses/up.sql"),
    include_str!(
        "../../tests/migrations/workload/crm/2024-01-03-000001_create_contact_tags/up.sql"
    ),
    include_str!("../../tests/migrations/workload/crm/2024-01-04-000001_create_activities/up.sql"),
    include_str!(
        "../../tests/migrations/workload/billing/2024-02-01-000001_create_accounts/up.sql"
    ),
    include_str!(
        "../../tests/migrations/workload/billing/2024-02-02-000001_create_invoices/up.sql"
    ),
    include_str!(
        "../../tests/migrations/workload/billing/2024-02-03-000001_create_payments/up.sql"
    ),
    include_str!("../../tests/migrations/workload/billing/2024-02-04-000001_create_credits/up.sql"),
    include_str!(
        "../../tests/migrations/workload/projects/2024-03-01-000001_create_projects/up.sql"
    ),
    include_str!("../../tests/migrations/workload/projects/2024-03-02-000001_create_tasks/up.sql"),
    include_str!(
        "../../tests/migrations/workload/projects/2024-03-03-000001_create_task_comments/up.sql"
    ),
    include_str!(
        "../../tests/migrations/workload/projects/2024-03-04-000001_create_time_entries/up.sql"
    ),
];

/// A tenancy of all apps of the workload.
pub(crate) fn tenancy(url: &str) -> TenancyBuilder<Tenant> {
    Tenancy::builder(url)
        .app(Shared)
        .app(Crm)
        .app(Billing)
        .app(Projects)
}

/// The same program after its next release: one migration of `crm` more.
pub(crate) fn next_release(url: &str) -> TenancyBuilder<Tenant> {
    let crm = App::new("crm", AppScope::Tenant).migrations(CRM);
    Tenancy::builder(url)
        .app(Shared)
        .app(crm.migrations(NEXT))
        .app(Billing)
        .app(Projects)
}

/// The statements of all migrations of a tenant, as they are written.
pub(crate) fn ddl() -> String {
    DDL.concat()
}

/// A message that makes a tenant's schema with SQL alone, in one transaction.
pub(crate) fn by_hand(number: usize, text: &str) -> String {
    format!(
        "BEGIN; CREATE SCHEMA tenant_{number}; SET LOCAL search_path TO tenant_{number}; {text} COMMIT"
    )
}

/// A tenant that is not saved yet.
pub(crate) fn tenant(number: usize) -> Result<Tenant> {
    let schema: SchemaName = format!("tenant_{number}").parse()?;
    let domain = format!("tenant-{number}.test");
    Ok(Tenant::new(schema, domain).name(format!("Tenant {number}")))
}

/// The tenants of a database, in the order of their numbers.
pub(crate) fn tenants(url: &str) -> Result<Vec<Tenant>> {
    let mut tenants = tenancy(url).pool_size(1).build()?.tenants()?;
    tenants.sort_by_key(|tenant| (tenant.name.len(), tenant.name.clone()));
    Ok(tenants)
}

/// Adds tenants with rows to a database, until there are so many.
pub(crate) fn fill(url: &str, until: usize) -> Result<()> {
    let workers = thread::available_parallelism()?.get();
    // Commits need not reach the disk: it is all made anew if the server falls.
    let tenancy = tenancy(&format!("{url}?options=-csynchronous_commit%3Doff"))
        .pool_size(u32::try_from(workers)?)
        .build()?;
    tenancy.migrate().shared().run()?.into_result()?;
    let from = tenancy.tenants()?.len();
    on_threads(workers, |worker| {
        let mut mine = (from + worker..until).step_by(workers);
        mine.try_for_each(|number| settle(&tenancy, number))
    })
}

fn settle(tenancy: &Tenancy<Tenant>, number: usize) -> Result<()> {
    let mut tenant = tenant(number)?;
    tenant.save(&mut *tenancy.public()?)?;
    tenancy.tenant(&tenant)?.batch_execute(&format!(
        "INSERT INTO companies (name, domain, plan_id, active) VALUES ('Acme', 'acme.test', 1, true);
         INSERT INTO contacts (company_id, email, full_name, phone, bio)
         SELECT 1, n || '@acme.test', 'Contact ' || n, '555-' || n, '' FROM generate_series(1, {CONTACTS}) n;
         ANALYZE contacts"
    ))?;
    Ok(())
}
