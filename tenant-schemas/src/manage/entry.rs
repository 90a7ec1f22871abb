//! All commands in one table, and the way from arguments to one of them.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use clap::{ArgMatches, Args as _, CommandFactory, FromArgMatches};
use diesel::result::Error as DieselError;

use crate::error::Error;
use crate::model::TenantModel;

use super::app::{self, COMPLETIONS, MAN, VERBOSITY};
use super::command::{DynTenantCommand, PlainCommand};
use super::context::Context;
use super::outcome::{Done, Exit, Failure};
use super::output::Out;
use super::standalone::{self, CommandLine, Takes};
use super::ui::{self, Ui};
use super::{
    Manage, all_tenants_command, clone_tenant, create_missing_schemas, create_tenant,
    delete_tenant, doctor, domains, dump_tenant, exec, interrupt, list_tenants, migrate_schemas,
    psql, ready_schemas, rename_schema, status, superuser, sync_schemas, tenant_command,
};

type Run<T> = Box<dyn Fn(&ArgMatches, &Context<T>) -> Done>;

/// One command.
pub(super) struct Entry<T: TenantModel> {
    pub(super) name: &'static str,
    pub(super) clap: clap::Command,
    /// How it is told which schema it is about.
    pub(super) takes: Takes,
    /// Whether it comes with the library.
    pub(super) own: bool,
    run: Run<T>,
}

impl<T: TenantModel> Entry<T> {
    /// A command whose arguments are an `A`.
    pub(super) fn of<A>(name: &'static str, run: fn(&A, &Context<T>) -> Done) -> Self
    where
        A: CommandFactory + FromArgMatches + 'static,
    {
        Self::new(name, A::command(), move |matches, context| {
            run(&parse::<A>(matches)?, context)
        })
    }

    pub(super) fn new(
        name: &'static str,
        clap: clap::Command,
        run: impl Fn(&ArgMatches, &Context<T>) -> Done + 'static,
    ) -> Self {
        Self {
            name,
            takes: Takes::of(&clap),
            own: true,
            clap: clap.name(name),
            run: Box::new(run),
        }
    }

    /// A command whose first argument is the schema.
    fn schema_first(self) -> Self {
        Self {
            takes: Takes::First,
            ..self
        }
    }

    pub(super) fn run(&self, matches: &ArgMatches, context: &Context<T>) -> Done {
        (self.run)(matches, context)
    }

    pub(super) fn plain<C: PlainCommand<T>>(command: C) -> Self {
        let clap = C::Args::augment_args(clap::Command::new(C::NAME)).about(C::ABOUT);
        let entry = Self::new(C::NAME, clap, move |matches, context| {
            let args = parse::<C::Args>(matches)?;
            command.run(&args, context.tenancy()?, &mut Out)?;
            Out.flush()?;
            Ok(Exit::Done)
        });
        Self {
            own: false,
            ..entry
        }
    }
}

fn parse<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

/// The commands that come with the library, in the order of the help.
pub(super) fn own<T: TenantModel>() -> Vec<Entry<T>> {
    vec![
        Entry::of("sync_schemas", sync_schemas::run),
        Entry::of("migrate_schemas", migrate_schemas::run),
        create_tenant::entry(),
        Entry::of("create_tenant_superuser", superuser::run),
        Entry::of("list_tenants", list_tenants::run),
        Entry::of("delete_tenant", delete_tenant::run),
        clone_tenant::entry().schema_first(),
        Entry::of("dump_tenant", dump_tenant::dump),
        dump_tenant::restore_entry(),
        Entry::of("rename_schema", rename_schema::run).schema_first(),
        Entry::of("create_missing_schemas", create_missing_schemas::run),
        Entry::of("ready_schemas", ready_schemas::run),
        Entry::of("create_domain", domains::create),
        Entry::of("delete_domain", domains::delete),
        Entry::of("status", status::run),
        Entry::of("doctor", doctor::run),
        Entry::of("exec", exec::run),
        Entry::of("psql", psql::run).schema_first(),
    ]
}

/// The names of all commands.
pub(super) fn names<T: TenantModel>(
    plain: &[Entry<T>],
    tenant: &[Box<dyn DynTenantCommand>],
) -> Vec<String> {
    let mut names: Vec<String> = own::<T>()
        .iter()
        .chain(plain)
        .map(|entry| entry.name.to_owned())
        .collect();
    names.extend(tenant.iter().map(|command| command.name().to_owned()));
    names.extend(
        [
            tenant_command::NAME,
            all_tenants_command::NAME,
            COMPLETIONS,
            MAN,
            "help",
        ]
        .map(str::to_owned),
    );
    names
}

/// Options that every command has, so that no field of a tenant can have their names.
pub(super) const GLOBAL: [&str; 2] = [VERBOSITY, "help"];

/// Runs the command that `args` name.
pub(super) fn run<T: TenantModel>(manage: Manage<T>, args: &[OsString]) -> Exit {
    let program = args
        .first()
        .and_then(|path| Path::new(path).file_name()?.to_str())
        .unwrap_or("manage")
        .to_owned();
    let entries: Vec<Entry<T>> = own().into_iter().chain(manage.commands).collect();
    let mut clap = app::app(&program, manage.about, &entries, &manage.tenant_commands);
    let matches = match clap.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => return misread(&error),
    };
    interrupt::listen();
    let verbosity = matches.get_one::<u8>(VERBOSITY).copied().unwrap_or(1);
    let ui = Ui::new(verbosity);
    let mut context = Context::new(manage.source, ui, manage.superusers);
    let Some((name, matches)) = matches.subcommand() else {
        return Exit::Usage;
    };
    let done = match name {
        COMPLETIONS => app::completions(matches, &mut clap, &program),
        MAN => app::man(matches, &mut clap),
        tenant_command::NAME | all_tenants_command::NAME => {
            let mut line = CommandLine {
                program: &program,
                clap: &mut clap,
            };
            let tenant_commands = &manage.tenant_commands;
            let entry = entry_below(matches, &entries);
            match (name == tenant_command::NAME, entry) {
                (true, Some((entry, own))) => {
                    standalone::on_one(entry, own, &mut line, &mut context)
                }
                (true, None) => tenant_command::on_one(matches, tenant_commands, &context),
                (false, Some((entry, own))) => {
                    standalone::on_all(entry, own, &mut line, &mut context)
                }
                (false, None) => all_tenants_command::run(matches, tenant_commands, &context),
            }
        }
        name => match entries.iter().find(|entry| entry.name == name) {
            Some(entry) => entry.run(matches, &context),
            None => tenant_command::on_all(name, matches, &manage.tenant_commands, &context),
        },
    };
    conclude::<T>(done, ui)
}

/// The command below another that stands by itself, with what was said to it.
fn entry_below<'a, 'm, T: TenantModel>(
    matches: &'m ArgMatches,
    entries: &'a [Entry<T>],
) -> Option<(&'a Entry<T>, &'m ArgMatches)> {
    let (name, matches) = matches.subcommand()?;
    let entry = entries.iter().find(|entry| entry.name == name)?;
    Some((entry, matches))
}

/// Says what was wrong with the command line, or the help that it asked for.
fn misread(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

fn conclude<T: TenantModel>(done: Done, ui: Ui) -> Exit {
    match done {
        Err(Failure::CommandLine(error)) => misread(&error),
        Ok(exit) => exit,
        Err(Failure::NobodyReads) => Exit::Done,
        Err(Failure::Usage(message)) => {
            ui::usage(message.trim_start_matches("error: ").trim_end());
            Exit::Usage
        }
        Err(Failure::Error(error)) => {
            ui::error(&*error);
            if is_unmigrated::<T>(&*error) {
                ui.note(
                    "The table of tenants is not there yet: `migrate_schemas --shared` makes it.",
                );
            }
            Exit::Failed
        }
    }
}

/// Whether something failed because the shared schema was never migrated.
fn is_unmigrated<T: TenantModel>(error: &(dyn std::error::Error + 'static)) -> bool {
    let table = T::table();
    let is_missing = |message: &str| {
        message
            .strip_prefix("relation \"")
            .and_then(|rest| rest.strip_suffix("\" does not exist"))
            .is_some_and(|name| name.rsplit('.').next() == Some(table.name()))
    };
    match error.downcast_ref() {
        Some(Error::Database {
            source: DieselError::DatabaseError(_, information),
            ..
        }) => is_missing(information.message()),
        _ => false,
    }
}
