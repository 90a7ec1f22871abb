//! All commands in one table, and the way from arguments to one of them.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgMatches, Args as _, CommandFactory, FromArgMatches, ValueEnum as _};
use diesel::result::Error as DieselError;

use crate::error::Error;
use crate::model::TenantModel;

use super::command::{DynTenantCommand, PlainCommand};
use super::context::Context;
use super::outcome::{Done, Exit, Failure};
use super::ui::{self, Ui};
use super::{
    Manage, all_tenants_command, clone_tenant, create_missing_schemas, create_tenant,
    delete_tenant, doctor, domains, dump_tenant, exec, interrupt, list_tenants, migrate_schemas,
    output, psql, rename_schema, status, superuser, sync_schemas, tenant_command,
};

type Run<T> = Box<dyn Fn(&ArgMatches, &Context<T>) -> Done>;

/// One command.
pub(super) struct Entry<T: TenantModel> {
    pub(super) name: &'static str,
    clap: clap::Command,
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
            clap: clap.name(name),
            run: Box::new(run),
        }
    }

    pub(super) fn plain<C: PlainCommand<T>>(command: C) -> Self {
        let clap = C::Args::augment_args(clap::Command::new(C::NAME)).about(C::ABOUT);
        Self::new(C::NAME, clap, move |matches, context| {
            let args = parse::<C::Args>(matches)?;
            command.run(&args, context.tenancy()?, &mut std::io::stdout())?;
            Ok(Exit::Done)
        })
    }
}

fn parse<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

/// The commands that come with the library, in the order of the help.
fn own<T: TenantModel>() -> Vec<Entry<T>> {
    vec![
        Entry::of("sync_schemas", sync_schemas::run),
        Entry::of("migrate_schemas", migrate_schemas::run),
        create_tenant::entry(),
        Entry::of("create_tenant_superuser", superuser::run),
        Entry::of("list_tenants", list_tenants::run),
        Entry::of("delete_tenant", delete_tenant::run),
        clone_tenant::entry(),
        Entry::of("dump_tenant", dump_tenant::dump),
        dump_tenant::restore_entry(),
        Entry::of("rename_schema", rename_schema::run),
        Entry::of("create_missing_schemas", create_missing_schemas::run),
        Entry::of("create_domain", domains::create),
        Entry::of("delete_domain", domains::delete),
        Entry::of("status", status::run),
        Entry::of("doctor", doctor::run),
        Entry::of("exec", exec::run),
        Entry::of("psql", psql::run),
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

const COMPLETIONS: &str = "completions";
const MAN: &str = "man";
const VERBOSITY: &str = "verbosity";

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
    let mut clap = app(&program, manage.about, &entries, &manage.tenant_commands);
    let matches = match clap.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    interrupt::listen();
    let verbosity = matches.get_one::<u8>(VERBOSITY).copied().unwrap_or(1);
    let ui = Ui::new(verbosity);
    let context = Context::new(manage.source, ui, manage.superusers);
    let Some((name, matches)) = matches.subcommand() else {
        return Exit::Usage;
    };
    let done = match name {
        COMPLETIONS => completions(matches, &mut clap, &program),
        MAN => man(matches, &mut clap),
        tenant_command::NAME => tenant_command::on_one(matches, &manage.tenant_commands, &context),
        all_tenants_command::NAME => {
            all_tenants_command::run(matches, &manage.tenant_commands, &context)
        }
        name => match entries.iter().find(|entry| entry.name == name) {
            Some(entry) => (entry.run)(matches, &context),
            None => tenant_command::on_all(name, matches, &manage.tenant_commands, &context),
        },
    };
    conclude::<T>(done, ui)
}

fn conclude<T: TenantModel>(done: Done, ui: Ui) -> Exit {
    match done {
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

fn app<T: TenantModel>(
    program: &str,
    about: Option<String>,
    entries: &[Entry<T>],
    tenant_commands: &[Box<dyn DynTenantCommand>],
) -> clap::Command {
    let mut app = clap::Command::new(program.to_owned())
        .about(about.unwrap_or_else(|| "Manages the tenants and their schemas".to_owned()))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .arg(
            Arg::new(VERBOSITY)
                .long(VERBOSITY)
                .short('v')
                .global(true)
                .value_name("0-3")
                .value_parser(clap::value_parser!(u8).range(0..=3))
                .default_value("1")
                .help("How much is said on standard error: 0 failures alone, 1 what was done, 2 also what needed nothing, 3 everything"),
        )
        .after_help(
            "Results go to standard output, everything else to standard error.\n\
             Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 migrations are pending \
             (`migrate_schemas --check`), 130 interrupted with work left.",
        );
    let (own, users) = entries.split_at(own::<T>().len());
    for entry in own {
        app = app.subcommand(entry.clap.clone());
    }
    app = app
        .subcommand(tenant_command::clap_on_one(tenant_commands))
        .subcommand(all_tenants_command::clap(tenant_commands));
    for entry in users {
        app = app.subcommand(entry.clap.clone());
    }
    for command in tenant_commands {
        app = app.subcommand(tenant_command::clap_on_all(&**command));
    }
    app = app
        .subcommand(
            clap::Command::new(COMPLETIONS)
                .about("Prints a script with which a shell completes this program's arguments")
                .arg(
                    Arg::new("shell")
                        .value_name("SHELL")
                        .required(true)
                        .value_parser(clap::value_parser!(clap_complete::Shell))
                        .help("The shell"),
                ),
        )
        .subcommand(
            clap::Command::new(MAN)
                .about("Prints a manual page, of this program or of one of its commands")
                .arg(
                    Arg::new("command")
                        .value_name("COMMAND")
                        .help("The command; without it, the page of the whole program"),
                ),
        );
    both_spellings(app, 0)
}

/// Lets `-` and `_` stand for each other, in the names of commands and of options.
fn both_spellings(command: clap::Command, depth: usize) -> clap::Command {
    let other = |name: &str| {
        let other = if name.contains('_') {
            name.replace('_', "-")
        } else {
            name.replace('-', "_")
        };
        (other != name).then_some(other)
    };
    let command = command
        .mut_args(|arg| match arg.get_long().and_then(other) {
            Some(alias) => arg.alias(alias),
            None => arg,
        })
        .mut_subcommands(|command| both_spellings(command, depth + 1));
    match other(command.get_name()) {
        Some(alias) if depth > 0 => command.alias(alias),
        _ => command,
    }
}

fn completions(matches: &ArgMatches, clap: &mut clap::Command, program: &str) -> Done {
    let shell = matches
        .get_one::<clap_complete::Shell>("shell")
        .copied()
        .ok_or_else(|| {
            let known: Vec<String> = clap_complete::Shell::value_variants()
                .iter()
                .map(ToString::to_string)
                .collect();
            Failure::usage(format!("which shell? there are {}", known.join(", ")))
        })?;
    let mut script = Vec::new();
    clap_complete::generate(shell, clap, program, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

fn man(matches: &ArgMatches, clap: &mut clap::Command) -> Done {
    clap.build();
    let page = match matches.get_one::<String>("command") {
        None => clap.clone(),
        Some(name) => clap
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Failure::usage(format!("there is no command `{name}`")))?,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}
