//! `ready_schemas`: schemas that are made ahead of their tenants.

use clap::Parser;

use crate::model::TenantModel;

use super::context::Context;
use super::outcome::{Done, Exit};
use super::table::count;

/// Makes schemas ahead, so that tenants which are created take one by renaming it
///
/// As many are made as are missing, and those that lack migrations are dropped. Run it behind a deployment
/// and from cron, or keep them ready in the program itself.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// How many are to be ready.
    #[arg(long, value_name = "N", default_value_t = 5)]
    count: usize,
    /// Make them for tenants of this type.
    #[arg(long = "type", value_name = "TYPE")]
    tenant_type: Option<String>,
    /// Drop all that are ready, of every type, and make none.
    #[arg(long, conflicts_with_all = ["count", "tenant_type"])]
    clear: bool,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let mut ready = context.tenancy()?.ready_schemas(args.count);
    if let Some(tenant_type) = &args.tenant_type {
        ready = ready.of_type(tenant_type);
    }
    if args.clear {
        let dropped = count(ready.clear()?, "schema");
        context.ui.note(&format!("{dropped} dropped."));
        return Ok(Exit::Done);
    }
    let filled = ready.fill()?;
    if filled.dropped > 0 {
        let dropped = count(filled.dropped, "schema");
        context
            .ui
            .note(&format!("{dropped} dropped that lacked migrations."));
    }
    context.ui.note(&format!(
        "{} ready, {} of them made now.",
        count(filled.ready, "schema"),
        filled.made
    ));
    Ok(Exit::Done)
}
