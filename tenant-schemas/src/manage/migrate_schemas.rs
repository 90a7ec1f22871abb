//! `migrate_schemas`: brings the public schema and the tenants up to date.

use clap::Parser;

use crate::migrate::Migrate;
use crate::model::TenantModel;

use super::context::Context;
use super::fleet::parse_jobs;
use super::outcome::{Done, Failure, heard};
use super::output::Output;
use super::report::{Line, Outcome, conclude, lines, write};
use super::show_migrations;
use super::targets::Targets;
use super::watch::watch;

/// Brings the public schema and the tenants up to date
///
/// Runs the migrations that are pending: those of the shared apps in the public schema, then those
/// of the tenant apps in every tenant, in the order of their schemas' names. Each migration is a
/// transaction of its own, together with its line in the schema's ledger. One tenant's failure stops
/// no other; a run that was interrupted is resumed by running again.
///
/// With APP only that app's migrations run, with VERSION it goes up or down to that migration, which
/// stays applied, and with `zero` all of them are reverted.
///
/// `sync_schemas` only makes what is not there yet, schemas and apps; it leaves the migrations that
/// are pending in an app to this command, unless it is given `--migrate`. Running
/// `create_missing_schemas` and `migrate_schemas` does the same as `sync_schemas --migrate`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  migrate_schemas                          everything that is pending, everywhere
  migrate_schemas --jobs 8                 eight tenants at once
  migrate_schemas --check                  exit code 3 if anything is pending
  migrate_schemas hotels zero --schema t1  revert all of hotels in t1
  migrate_schemas hotels 2024-01-02 --fake write it down as applied, run nothing")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Args {
    /// Only this app, by its label.
    app: Option<String>,
    /// Up or down to this migration: its version, its name, or the beginning of either; `zero` reverts all.
    #[arg(requires = "app")]
    version: Option<String>,

    /// Print which migrations each schema has, and run none.
    #[arg(long, group = "look")]
    list: bool,
    /// Print what would run, and run nothing.
    #[arg(long, group = "look")]
    plan: bool,
    /// Print what is pending, and end with code 3 if anything is.
    #[arg(long, group = "look")]
    check: bool,

    /// Only the public schema.
    #[arg(long)]
    shared: bool,
    /// Only the tenants.
    #[arg(long)]
    tenant: bool,
    #[command(flatten)]
    targets: Targets,

    /// Write the ledger as if the migrations had run, and run none.
    #[arg(long, conflicts_with_all = ["list", "check"])]
    fake: bool,
    /// Revert the app's last migration and apply it again.
    #[arg(long, requires = "app", conflicts_with = "version")]
    redo: bool,
    /// Take over what Diesel's own `diesel migration run` recorded in `__diesel_schema_migrations`.
    #[arg(long, conflicts_with_all = ["list", "check", "plan"])]
    adopt: bool,
    /// Run a schema's pending migrations in one transaction, not each in its own.
    #[arg(long, conflicts_with_all = ["list", "check", "plan"])]
    atomic: bool,
    /// Read the ledger of every schema, not just the table that sums them up: for schemas that other tools have changed.
    #[arg(long)]
    verify: bool,

    /// How the tenants are walked; `parallel` works on as many at once as `--jobs` says, or else as the machine has processors.
    #[arg(long, value_enum, conflicts_with = "look")]
    executor: Option<Walker>,
    /// How many tenants are worked on at once, no more than the pool has connections. Means `--executor parallel`.
    #[arg(long, value_name = "N", value_parser = parse_jobs, conflicts_with = "look")]
    jobs: Option<usize>,
    /// Start no further tenant once one has failed.
    #[arg(long, conflicts_with = "look")]
    fail_fast: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Walker {
    Sequential,
    Parallel,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let jobs = args.number_of_jobs()?;
    let tenancy = context.tenancy()?;
    let Some(migrate) = args.select(tenancy.migrate(), context)? else {
        return Err(Failure::usage(
            "no schema is left: `--shared`, `--tenant`, `--schema` and `--exclude` contradict each other",
        ));
    };
    let format = args.output.format;
    if args.list {
        return show_migrations::list(migrate, format);
    }
    if args.plan {
        return show_migrations::plan(migrate, format, context.ui);
    }
    if args.check {
        return show_migrations::check(migrate, format, context.ui);
    }
    let migrate = migrate
        .fake(args.fake)
        .atomic(args.atomic)
        .fail_fast(args.fail_fast);
    let migrate = if args.adopt { migrate.adopt() } else { migrate };
    let lines: Vec<Line> = lines(watch(migrate, jobs, context.ui)?).collect();
    heard(write(&lines, format, context.ui))?;
    Ok(conclude(&lines, Outcome::Migrated, context.ui))
}

impl Args {
    fn number_of_jobs(&self) -> Result<usize, Failure> {
        match (self.executor, self.jobs) {
            (Some(Walker::Sequential), Some(jobs)) if jobs > 1 => Err(Failure::usage(
                "`--executor sequential` works on one tenant at a time: leave out `--jobs`",
            )),
            (Some(Walker::Sequential), _) | (None, None) => Ok(1),
            (Some(Walker::Parallel) | None, Some(jobs)) => Ok(jobs),
            (Some(Walker::Parallel), None) => {
                Ok(std::thread::available_parallelism().map_or(2, usize::from))
            }
        }
    }

    /// Narrows a run down to what is asked for; nothing if no schema is left.
    fn select<'a, T: TenantModel>(
        &self,
        migrate: Migrate<'a, T>,
        context: &Context<T>,
    ) -> Result<Option<Migrate<'a, T>>, Failure> {
        let migrate = match (&self.app, self.version.as_deref(), self.redo) {
            (None, ..) => migrate,
            (Some(app), None, false) => migrate.app(app),
            (Some(app), _, true) => migrate.app(app).redo(),
            (Some(app), Some("zero"), false) => migrate.app(app).to_zero(),
            (Some(app), Some(version), false) => migrate.app(app).to(version),
        };
        let migrate = migrate.verify(self.verify);
        narrow(migrate, self.shared, self.tenant, &self.targets, context)
    }
}

/// Narrows a run down to the public schema, the tenants, or some of either; nothing if none is left.
pub(super) fn narrow<'a, T: TenantModel>(
    migrate: Migrate<'a, T>,
    shared: bool,
    tenant: bool,
    targets: &Targets,
    context: &Context<T>,
) -> Result<Option<Migrate<'a, T>>, Failure> {
    let mut migrate = match (shared, tenant) {
        (true, false) => migrate.shared(),
        (false, true) => migrate.tenants(),
        _ => migrate,
    };
    if targets.is_empty() {
        return Ok(Some(migrate));
    }
    let mut chosen = targets.choose(context.tenancy()?, shared || !tenant)?;
    chosen.retain(|target| match (shared, tenant) {
        (true, false) => target.shared,
        (false, true) => !target.shared,
        _ => true,
    });
    if chosen.is_empty() {
        return Ok(None);
    }
    for target in &chosen {
        migrate = migrate.schema(&target.schema);
    }
    Ok(Some(migrate))
}
