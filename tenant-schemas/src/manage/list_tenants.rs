//! `list_tenants`: who there is.

use std::collections::HashMap;

use clap::Parser;
use serde_json::json;

use crate::model::{FieldRole, TenantModel};
use crate::sql::manage as sql;

use super::context::Context;
use super::exec::{fields, object};
use super::fields::tenant_table;
use super::outcome::{Done, Exit};
use super::output::{self, Format};
use super::table::Table;
use super::targets::Targets;

/// Prints the tenants, in the order of their schemas' names
///
/// One line each: the schema, a tab, the domain; the primary one, of several. `--format table` shows
/// every field of the model, `--format json` every column and every domain. The public tenant is among
/// them, if it has a row.
#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    targets: Targets,
    /// How results are written.
    #[arg(long, value_enum, default_value = "tsv", value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let tenancy = context.tenancy()?;
    let public = tenancy.registry().public();
    let tenants = tenant_table::<T>();
    let wanted = args.targets.names(tenancy)?;
    let mut conn = tenancy.public()?;
    let rows = conn.own(|inner| sql::tenant_rows(inner, public, &tenants))?;
    let domains = match T::domains() {
        Some(table) => conn.own(|inner| sql::domains(inner, public, &tenants, &table))?,
        None => Vec::new(),
    };
    let mut by_schema: HashMap<&str, Vec<&str>> = HashMap::new();
    for row in &domains {
        by_schema
            .entry(&row.schema_name)
            .or_default()
            .push(&row.domain);
    }
    let domain_column = T::fields()
        .iter()
        .find(|field| field.role == FieldRole::DomainUrl)
        .map(|field| field.column);
    let mut headings = T::fields()
        .iter()
        .map(|field| field.column)
        .collect::<Vec<_>>();
    let short = args.format == Format::Tsv;
    if short {
        headings = vec![tenants.schema_name];
        headings.extend(domain_column);
    }
    if T::domains().is_some() {
        headings.push("domains");
    }
    let mut table = Table::new(headings.clone());
    let mut objects = Vec::new();
    for row in &rows {
        let value = |column: &str| {
            let place = row.names.iter().position(|name| name == column)?;
            row.texts[place].clone()
        };
        let schema = value(tenants.schema_name).unwrap_or_default();
        if wanted
            .as_ref()
            .is_some_and(|wanted| !wanted.contains(&schema))
        {
            continue;
        }
        let own = by_schema
            .get(schema.as_str())
            .map_or(&[][..], Vec::as_slice);
        table.row(headings.iter().map(|heading| match *heading {
            "domains" if T::domains().is_some() && short => {
                own.first().copied().unwrap_or_default().to_owned()
            }
            "domains" if T::domains().is_some() => own.join(", "),
            column => value(column).unwrap_or_default(),
        }));
        let domains = T::domains().map(|_| ("domains", json!(own).to_string()));
        objects.push(object(fields(row).chain(domains)));
    }
    if args.format == Format::Json {
        output::print_objects(&objects)?;
    } else {
        args.format.write(&table, || json!(null))?;
    }
    if rows.is_empty() {
        context
            .ui
            .note("There are no tenants yet: `create_tenant` makes one.");
    }
    Ok(Exit::Done)
}
