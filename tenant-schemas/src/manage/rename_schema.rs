//! `rename_schema`: another name for a tenant's schema.

use clap::Parser;

use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;

use super::context::Context;
use super::outcome::{Done, Exit, Failure};
use super::targets;

/// Renames a tenant's schema, and the tenant's row with it
///
/// Both change in one transaction. A program that works for the tenant meanwhile goes on under the old name
/// until its next checkout, and may find the shared schema's tables instead: suspend the tenant first. One
/// with a directory, such as a web server, hears of it. The name that is free afterwards belongs to nobody.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// The schema as it is called now.
    #[arg(long = "rename_from", value_name = "FROM", conflicts_with = "from")]
    rename_from: Option<String>,
    /// The schema as it will be called.
    #[arg(long = "rename_to", value_name = "TO", conflicts_with = "to")]
    rename_to: Option<String>,
    /// The schema as it is called now.
    from: Option<String>,
    /// The schema as it will be called.
    to: Option<String>,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let (Some(from), Some(to)) = (
        args.rename_from.as_ref().or(args.from.as_ref()),
        args.rename_to.as_ref().or(args.to.as_ref()),
    ) else {
        return Err(Failure::usage("say both names: `rename_schema FROM TO`"));
    };
    let tenancy = context.tenancy()?;
    let to = SchemaName::with_policy(to, tenancy.registry().names)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let public = tenancy.registry().public().as_str();
    if from == public {
        // The row of the public tenant may not be there; the answer is the same.
        let name = SchemaName::with_policy(from, crate::SchemaNamePolicy::Quoted)
            .map_err(crate::Error::from)?;
        tenancy.registry().refuse_protected(&name, "renamed")?;
    }
    let mut tenant = targets::tenant(tenancy, from)?;
    tenant.rename(&mut *tenancy.public()?, &to)?;
    context
        .ui
        .note(&format!("Schema {from} is called {to} now."));
    Ok(Exit::Done)
}
