//! `sync_schemas`: makes what is not there yet.

use clap::Parser;

use crate::migrate::{ListedSchema, Migrate, Migrated};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::report::Report;

use super::context::Context;
use super::create_missing_schemas::create_missing;
use super::fleet::Walk;
use super::migrate_schemas::narrow;
use super::outcome::{Done, Exit, Failure};
use super::output::Output;
use super::report::{conclude, write};
use super::table::count;
use super::targets::Targets;
use super::ui;
use super::watch::watch;

/// Makes the schemas and the apps that are not there yet
///
/// First the public schema gets the shared apps that it lacks, then the schema of every tenant that
/// has none is created, and then every tenant gets the tenant apps that it lacks.
///
/// In Diesel there is one way to build tables, migrations, so building an app's tables is running all
/// of its migrations. An app of which a schema has some migrations is there already: what is pending
/// in it is left alone and pointed out, and run by `--migrate`, or by `migrate_schemas`. That is the
/// relation which `syncdb` and South's `migrate` had.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Only the public schema and the shared apps.
    #[arg(long)]
    shared: bool,
    /// Only the tenants and the tenant apps.
    #[arg(long)]
    tenant: bool,
    #[command(flatten)]
    targets: Targets,
    /// Also run what is pending in the apps that are there already.
    #[arg(long)]
    migrate: bool,
    #[command(flatten)]
    walk: Walk,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let mut reports = Vec::new();
    let done = sync(args, context, &mut reports);
    // Several runs, one document; what was done is told even if the rest could not be.
    if done.is_ok() || !reports.is_empty() {
        write(&reports, args.output.format, context.ui)?;
    }
    done
}

type Reports = Vec<Report<Migrated>>;

fn sync<T: TenantModel>(args: &Args, context: &Context<T>, reports: &mut Reports) -> Done {
    let mut worst = Exit::Done;
    let both = args.shared == args.tenant;
    let mut any = false;
    // The table of tenants is among what the first half makes.
    for shared in [true, false] {
        let wanted = both || args.shared == shared;
        if !wanted {
            continue;
        }
        let Some(exit) = half(args, shared, context, reports)? else {
            continue;
        };
        any = true;
        if exit != Exit::Done {
            worst = exit;
            break;
        }
    }
    if !any {
        return Err(Failure::usage(
            "no schema is left: `--shared`, `--tenant`, `--schema` and `--exclude` contradict each other",
        ));
    }
    Ok(worst)
}

/// The public schema, or the tenants; nothing if none of them is wanted.
fn half<T: TenantModel>(
    args: &Args,
    shared: bool,
    context: &Context<T>,
    reports: &mut Reports,
) -> Result<Option<Exit>, Failure> {
    let tenancy = context.tenancy()?;
    let look = || narrow(tenancy.migrate(), shared, !shared, &args.targets, context);
    let Some(migrate) = look()? else {
        return Ok(None);
    };
    if !shared {
        let missing = migrate.list()?.into_iter().filter(|schema| !schema.exists);
        let missing: Vec<SchemaName> = missing.map(|schema| schema.schema).collect();
        let exit = create_missing(&missing, &args.walk, context)?;
        if exit != Exit::Done {
            return Ok(Some(exit));
        }
    }
    let Some(migrate) = look()? else {
        return Ok(Some(Exit::Done));
    };
    let mut run = |migrate: Migrate<'_, T>| -> Done {
        let migrate = migrate.fail_fast(args.walk.fail_fast);
        let report = watch(migrate, args.walk.jobs, context.ui)?;
        let exit = conclude(&report, context.ui);
        reports.push(report);
        Ok(exit)
    };
    if args.migrate {
        return run(migrate).map(Some);
    }
    let lacking = Lacking::find(&migrate.list()?);
    lacking.point_out();
    if !lacking.fresh.is_empty() {
        let mut migrate = tenancy.migrate();
        for schema in &lacking.fresh {
            migrate = migrate.schema(schema);
        }
        let exit = run(migrate)?;
        if exit != Exit::Done {
            return Ok(Some(exit));
        }
    }
    for (app, schemas) in &lacking.apps {
        let mut migrate = tenancy.migrate().app(app);
        for schema in schemas {
            migrate = migrate.schema(schema);
        }
        let exit = run(migrate)?;
        if exit != Exit::Done {
            return Ok(Some(exit));
        }
    }
    if lacking.fresh.is_empty() && lacking.apps.is_empty() {
        context.ui.note(if shared {
            "The public schema has every shared app."
        } else {
            "Every tenant has every tenant app."
        });
    }
    Ok(Some(Exit::Done))
}

/// What schemas do not have.
#[derive(Default)]
struct Lacking {
    /// Schemas that have no app at all.
    fresh: Vec<SchemaName>,
    /// Schemas that have some apps, by the app that they lack.
    apps: Vec<(String, Vec<SchemaName>)>,
    /// How many schemas have migrations pending in an app that they have.
    behind: usize,
}

impl Lacking {
    fn find(schemas: &[ListedSchema]) -> Self {
        let mut lacking = Self::default();
        for schema in schemas {
            // Per app: how many migrations there are, and how many of them are applied.
            let mut apps: Vec<(&str, usize, usize)> = Vec::new();
            for listed in &schema.migrations {
                let known = apps.iter().position(|(app, ..)| *app == listed.id.app);
                let place = known.unwrap_or(apps.len());
                if known.is_none() {
                    apps.push((&listed.id.app, 0, 0));
                }
                apps[place].1 += 1;
                apps[place].2 += usize::from(listed.applied);
            }
            if !apps.is_empty() && apps.iter().all(|(_, _, applied)| *applied == 0) {
                lacking.fresh.push(schema.schema.clone());
                continue;
            }
            for (app, _, applied) in &apps {
                if *applied == 0 {
                    lacking.note(app, &schema.schema);
                }
            }
            let behind = apps
                .iter()
                .any(|(_, all, applied)| (1..*all).contains(applied));
            lacking.behind += usize::from(behind);
        }
        lacking
    }

    fn note(&mut self, app: &str, schema: &SchemaName) {
        match self.apps.iter_mut().find(|(known, _)| known == app) {
            Some((_, schemas)) => schemas.push(schema.clone()),
            None => self.apps.push((app.to_owned(), vec![schema.clone()])),
        }
    }

    fn point_out(&self) {
        if self.behind > 0 {
            ui::warn(&format!(
                "{} migrations pending in apps that are there: `sync_schemas --migrate` or \
                 `migrate_schemas` runs them",
                if self.behind == 1 {
                    format!("{} has", count(1, "schema"))
                } else {
                    format!("{} have", count(self.behind, "schema"))
                }
            ));
        }
    }
}
