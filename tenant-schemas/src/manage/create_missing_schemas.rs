//! `create_missing_schemas`: the schema of every tenant that has none.

use clap::Parser;

use crate::error::Error;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;

use super::context::Context;
use super::fleet::{self, Walk};
use super::outcome::{Done, Exit, Failure, heard};
use super::output::Output;
use super::progress::Did;
use super::report::{Line, Outcome, conclude, write};
use super::table::count;
use super::targets::{Target, Targets};

/// Creates and migrates the schema of every tenant that has none
///
/// Tenants whose schema exists are not touched; what is pending in them is run by `migrate_schemas`.
#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    walk: Walk,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let tenancy = context.tenancy()?;
    let chosen = args.targets.choose(tenancy, false)?;
    let mut missing = tenancy.migrate().tenants().check()?.missing;
    missing.retain(|schema| chosen.iter().any(|target| target.schema == *schema));
    let lines = create_missing(&missing, &args.walk, context)?;
    heard(write(&lines, args.output.format, context.ui))?;
    if missing.is_empty() {
        context.ui.note("No schema is missing.");
        return Ok(Exit::Done);
    }
    Ok(conclude(&lines, Outcome::Created, context.ui))
}

/// Creates these tenants' schemas, and says what became of each.
pub(super) fn create_missing<T: TenantModel>(
    missing: &[SchemaName],
    walk: &Walk,
    context: &Context<T>,
) -> Result<Vec<Line>, Failure> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let tenancy = context.tenancy()?;
    let mut targets = super::targets::tenants(tenancy)?;
    targets.retain(|target| missing.contains(&target.schema));
    let walked = fleet::walk(context, &targets, walk, |target: &Target<T>, progress| {
        let Some(tenant) = &target.tenant else {
            return Ok((None, Did::Nothing));
        };
        match tenant.provision(&mut *tenancy.public()?) {
            Ok(saved) => {
                for failure in &saved.listener_failures {
                    progress.warn(&failure.to_string());
                }
                let applied = count(saved.applied.len(), "migration");
                Ok((Some(saved), Did::This(format!("created, {applied}"))))
            }
            // Someone else was faster.
            Err(Error::SchemaExists { .. }) => Ok((None, Did::Nothing)),
            Err(error) => Err(error.into()),
        }
    })?;
    let line = |(schema, result)| Line::created(schema, result);
    Ok(walked.outcomes.into_iter().map(line).collect())
}
