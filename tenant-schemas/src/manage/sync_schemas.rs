//! `sync_schemas`: makes what is not there yet.

use std::collections::HashSet;

use clap::Parser;

use crate::migrate::{ListedSchema, Migrate};
use crate::model::TenantModel;
use crate::name::SchemaName;

use super::context::Context;
use super::create_missing_schemas::create_missing;
use super::fleet::Walk;
use super::interrupt;
use super::migrate_schemas::narrow;
use super::outcome::{Done, Exit, Failure, heard};
use super::output::Output;
use super::report::{Line, Outcome, conclude, lines, write};
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
///
/// A tenant in which something fails is left as it is, and the others go on. If a shared app fails, no
/// tenant is touched.
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
    let mut sync = Sync {
        args,
        context,
        lines: Vec::new(),
    };
    let done = sync.both_halves();
    // Several runs, one document; what was done is told even if the rest could not be.
    if done.is_ok() || !sync.lines.is_empty() {
        heard(write(&sync.lines, args.output.format, context.ui))?;
    }
    done?;
    if sync.lines.is_empty() {
        return Ok(Exit::Done);
    }
    Ok(conclude(&sync.lines, Outcome::Migrated, context.ui))
}

/// Several runs, one after the other.
struct Sync<'a, T: TenantModel> {
    args: &'a Args,
    context: &'a Context<T>,
    /// What became of each schema so far.
    lines: Vec<Line>,
}

impl<'a, T: TenantModel> Sync<'a, T> {
    fn both_halves(&mut self) -> Result<(), Failure> {
        let Args { shared, tenant, .. } = *self.args;
        let both = shared == tenant;
        let mut any = false;
        if both || shared {
            any |= self.public()?;
        }
        if both || tenant {
            // The table of tenants is among what the first half makes.
            if self
                .lines
                .iter()
                .any(|line| line.outcome == Outcome::Failed)
            {
                self.leave_the_tenants();
                return Ok(());
            }
            any |= self.tenants()?;
        }
        if any {
            return Ok(());
        }
        Err(Failure::usage(
            "no schema is left: `--shared`, `--tenant`, `--schema` and `--exclude` contradict each other",
        ))
    }

    /// The public schema; whether it is wanted.
    fn public(&mut self) -> Result<bool, Failure> {
        let Some(listed) = self.list(true)? else {
            return Ok(false);
        };
        self.make("The public schema has every shared app.", true, &listed)?;
        Ok(true)
    }

    /// The tenants; whether any is wanted.
    fn tenants(&mut self) -> Result<bool, Failure> {
        let Some(mut listed) = self.list(false)? else {
            return Ok(false);
        };
        let missing: Vec<SchemaName> = listed
            .iter()
            .filter(|schema| !schema.exists)
            .map(|schema| schema.schema.clone())
            .collect();
        if !missing.is_empty() {
            self.lines
                .extend(create_missing(&missing, &self.args.walk, self.context)?);
            listed = self.list(false)?.unwrap_or_default();
            // Those that could not be created have failed already.
            listed.retain(|schema| schema.exists);
        }
        self.make("Every tenant has every tenant app.", false, &listed)?;
        Ok(true)
    }

    /// Everything that these schemas lack, or with `--migrate` all that is pending.
    fn make(
        &mut self,
        nothing: &str,
        shared: bool,
        listed: &[ListedSchema],
    ) -> Result<(), Failure> {
        if self.args.migrate {
            let all: Vec<&SchemaName> = listed.iter().map(|schema| &schema.schema).collect();
            if all.is_empty() {
                self.context.ui.note(nothing);
            }
            return self.step(self.migrate(shared)?, &all);
        }
        let lacking = Lacking::find(listed);
        lacking.point_out();
        if lacking.fresh.is_empty() && lacking.apps.is_empty() {
            self.context.ui.note(nothing);
        }
        self.step(self.migrate(shared)?, &lacking.fresh)?;
        for (app, schemas) in &lacking.apps {
            self.step(self.migrate(shared)?.app(*app), schemas)?;
        }
        Ok(())
    }

    /// One run over some schemas, but for those that a step before has failed in.
    fn step(
        &mut self,
        mut migrate: Migrate<'_, T>,
        schemas: &[&SchemaName],
    ) -> Result<(), Failure> {
        let over = |outcome| matches!(outcome, Outcome::Failed | Outcome::Left);
        let broken: HashSet<SchemaName> = self
            .lines
            .iter()
            .filter(|line| over(line.outcome))
            .map(|line| line.schema.clone())
            .collect();
        let rest: Vec<&SchemaName> = schemas
            .iter()
            .filter(|schema| !broken.contains(**schema))
            .copied()
            .collect();
        if interrupt::pressed() || (self.args.walk.fail_fast && !broken.is_empty()) {
            self.lines.extend(rest.into_iter().cloned().map(Line::left));
            return Ok(());
        }
        if rest.is_empty() {
            return Ok(());
        }
        for schema in rest {
            migrate = migrate.schema(schema);
        }
        let migrate = migrate.fail_fast(self.args.walk.fail_fast);
        let report = watch(migrate, self.args.walk.jobs, self.context.ui)?;
        self.lines.extend(lines(report));
        Ok(())
    }

    /// The shared apps failed: those of the tenants may need them.
    fn leave_the_tenants(&mut self) {
        // The table of tenants may be what could not be made.
        if let Ok(Some(listed)) = self.list(false) {
            let left = listed.into_iter().map(|schema| Line::left(schema.schema));
            self.lines.extend(left);
        }
    }

    fn migrate(&self, shared: bool) -> Result<Migrate<'a, T>, Failure> {
        let migrate = self.context.tenancy()?.migrate();
        Ok(if shared {
            migrate.shared()
        } else {
            migrate.tenants()
        })
    }

    /// What the public schema has, or each tenant; nothing if none of them is wanted.
    fn list(&self, shared: bool) -> Result<Option<Vec<ListedSchema>>, Failure> {
        let migrate = self.context.tenancy()?.migrate();
        match narrow(migrate, shared, !shared, &self.args.targets, self.context)? {
            Some(migrate) => Ok(Some(migrate.list()?)),
            None => Ok(None),
        }
    }
}

/// What schemas do not have.
#[derive(Default)]
struct Lacking<'a> {
    /// Schemas that have no app at all.
    fresh: Vec<&'a SchemaName>,
    /// Schemas that have some apps, by the app that they lack.
    apps: Vec<(&'a str, Vec<&'a SchemaName>)>,
    /// How many schemas have migrations pending in an app that they have.
    behind: usize,
}

impl<'a> Lacking<'a> {
    fn find(schemas: &'a [ListedSchema]) -> Self {
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
                lacking.fresh.push(&schema.schema);
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

    fn note(&mut self, app: &'a str, schema: &'a SchemaName) {
        match self.apps.iter_mut().find(|(known, _)| *known == app) {
            Some((_, schemas)) => schemas.push(schema),
            None => self.apps.push((app, vec![schema])),
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
