//! `delete_tenant`: a tenant's row, and its schema if that is wanted.

use clap::Parser;
use diesel::Connection as _;

use crate::model::TenantModel;
use crate::name::{SchemaName, SchemaNamePolicy};
use crate::provision::{DeleteOptions, Lifecycle as _};
use crate::sql::manage as sql;

use super::context::Context;
use super::fields::tenant_table;
use super::outcome::{Done, Exit, Failure};
use super::targets;
use super::ui;

/// Deletes a tenant: its row, its domains, and its schema if that is wanted
///
/// Whether the schema goes as well is what the model says (`auto_drop_schema`), unless `--drop-schema`
/// or `--keep-schema` does. On a terminal the tenant's schema has to be typed to confirm; elsewhere
/// `--noinput` has to be given. All or nothing: if anything fails, all stays.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// The tenant's schema.
    #[arg(value_name = "SCHEMA", required_unless_present = "schema")]
    name: Option<String>,
    /// The tenant's schema, as other commands take it.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    schema: Option<String>,
    /// Drop the schema with everything in it.
    #[arg(long, conflicts_with = "keep_schema")]
    drop_schema: bool,
    /// Leave the schema where it is.
    #[arg(long)]
    keep_schema: bool,
    /// Ask nothing.
    #[arg(long, alias = "no-input")]
    noinput: bool,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let name = args
        .name
        .as_deref()
        .or(args.schema.as_deref())
        .ok_or_else(|| Failure::usage("which tenant?"))?;
    let tenancy = context.tenancy()?;
    let registry = tenancy.registry();
    if let Ok(schema) = SchemaName::with_policy(name, SchemaNamePolicy::Quoted) {
        registry.refuse_protected(&schema, "deleted")?;
    }
    let tenant = targets::tenant(tenancy, name)?;
    let drops = match (args.drop_schema, args.keep_schema) {
        (true, _) => true,
        (_, true) => false,
        _ => T::AUTO_DROP_SCHEMA,
    };
    let what = if drops {
        format!("Tenant {name} will be deleted, with schema {name} and everything in it")
    } else {
        format!("Tenant {name} will be deleted; schema {name} stays")
    };
    context.ui.confirm(&what, name, args.noinput)?;
    let mut conn = tenancy.public()?;
    let tenants = tenant_table::<T>();
    let deleted = conn.transaction(|conn| {
        if let Some(domains) = T::domains() {
            let (public, schema) = (registry.public(), tenant.schema_name());
            conn.own(|inner| sql::delete_domains_of(inner, public, &tenants, &domains, schema))?;
        }
        let options = DeleteOptions::new().auto_drop_schema(drops);
        tenant.delete_with(conn, options)
    })?;
    for failure in &deleted.listener_failures {
        ui::warn(&failure.to_string());
    }
    context.ui.note(&match (deleted.schema_dropped, drops) {
        (true, _) => format!("Tenant {name} and its schema are gone."),
        (false, true) => format!("Tenant {name} is gone; it had no schema."),
        (false, false) => format!("Tenant {name} is gone; schema {name} is still there."),
    });
    Ok(Exit::Done)
}
