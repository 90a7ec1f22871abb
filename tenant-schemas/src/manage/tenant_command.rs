//! Commands that run in a tenant's connection: on one tenant, and on all by their own name.

use std::io::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Args as _, FromArgMatches as _};

use crate::error::BoxError;
use crate::model::TenantModel;

use super::command::{DynTenantCommand, Job};
use super::context::Context;
use super::entry::Entry;
use super::fixtures;
use super::fleet::{self, Walk};
use super::outcome::{Done, Exit, Failure};
use super::output::Out;
use super::progress::Did;
use super::prompt;
use super::standalone;
use super::targets::{self, Target, Targets};

pub(super) const NAME: &str = "tenant_command";

/// A command below another, under the guide's name too.
pub(super) fn clap_below(command: &dyn DynTenantCommand) -> clap::Command {
    let clap = command.clap();
    match fixtures::NAMES
        .iter()
        .position(|name| *name == command.name())
    {
        Some(place) => clap.visible_alias(fixtures::NAMES_OF_THE_GUIDE[place]),
        None => clap,
    }
}

/// `tenant_command`, with every command below it.
pub(super) fn clap_on_one<T: TenantModel>(
    entries: &[Entry<T>],
    commands: &[Box<dyn DynTenantCommand>],
) -> clap::Command {
    clap::Command::new(NAME)
        .about("Runs a command on one schema")
        .long_about(
            "Runs a command on one schema: a tenant's, or the public one.\n\n\
             Without `--schema` it asks for the schema, on a terminal. What follows COMMAND are the \
             command's own arguments; `--schema` may stand before or behind it. Commands of yours and \
             fixtures run in the schema's connection; those that choose schemas themselves are given this one.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("COMMAND")
        .arg(
            schema()
                .short('s')
                .global(true)
                .help("The schema; asked for if it is not given"),
        )
        .subcommands(commands.iter().map(|command| clap_below(&**command)))
        .subcommands(entries.iter().map(|entry| standalone::clap_below(entry, false)))
}

/// `--schema`, which says on which one.
pub(super) fn schema() -> Arg {
    Arg::new("schema").long("schema").value_name("NAME")
}

/// A command under its own name: it runs on all tenants.
pub(super) fn clap_on_all(command: &dyn DynTenantCommand) -> clap::Command {
    let own = command.clap();
    let about = own.get_about().map(ToString::to_string).unwrap_or_default();
    let hidden = fixtures::NAMES.contains(&command.name());
    let clap = Walk::augment_args(Targets::augment_args(own.hide(hidden)));
    clap.about(format!("{about} (on all tenants)"))
        .long_about(format!(
            "{about}.\n\nRuns on every tenant, or on those that `--schema` names."
        ))
}

/// Runs the command below `tenant_command` on one schema.
pub(super) fn on_one<T: TenantModel>(
    matches: &ArgMatches,
    commands: &[Box<dyn DynTenantCommand>],
    context: &Context<T>,
) -> Done {
    let (job, matches) = job(matches, commands)?;
    let schema = matches.get_one::<String>("schema");
    let target = choose_one(schema.map(String::as_str), context)?;
    let mut conn = connect(context.tenancy()?, &target)?;
    job(&mut conn, &mut Out)?;
    Out.flush()?;
    Ok(Exit::Done)
}

/// The schema that is named, or that is asked for.
pub(super) fn choose_one<T: TenantModel>(
    schema: Option<&str>,
    context: &Context<T>,
) -> Result<Target<T>, Failure> {
    if let Some(name) = schema {
        return targets::one(context.tenancy()?, name);
    }
    if !context.ui.interactive {
        return Err(Failure::usage(
            "which schema? say it with `--schema=NAME`; `list_tenants` prints them",
        ));
    }
    let tenancy = context.tenancy()?;
    prompt::ask("Schema (? lists them)", None, |answer| {
        if answer == "?" {
            let mut names = vec![tenancy.registry().public().to_string()];
            let tenants = targets::tenants(tenancy)?;
            names.extend(tenants.iter().map(|target| target.schema.to_string()));
            return Err(names.join("\n  ").into());
        }
        Ok(targets::one(tenancy, answer)?)
    })
}

/// Runs a command on all tenants, or on those that are named.
pub(super) fn on_all<T: TenantModel>(
    name: &str,
    matches: &ArgMatches,
    commands: &[Box<dyn DynTenantCommand>],
    context: &Context<T>,
) -> Done {
    let job = parse(name, matches, commands)?;
    let targets = Targets::from_arg_matches(matches).map_err(usage)?;
    let walk = Walk::from_arg_matches(matches).map_err(usage)?;
    let targets = targets.choose(context.tenancy()?, false)?;
    run(&*job, &targets, &walk, context)
}

/// The command below another, with its arguments.
pub(super) fn job<'a, 'm>(
    matches: &'m ArgMatches,
    commands: &'a [Box<dyn DynTenantCommand>],
) -> Result<(Box<Job<'a>>, &'m ArgMatches), Failure> {
    let (name, matches) = matches
        .subcommand()
        .ok_or_else(|| Failure::usage("which command?"))?;
    Ok((parse(name, matches, commands)?, matches))
}

fn parse<'a>(
    name: &str,
    matches: &ArgMatches,
    commands: &'a [Box<dyn DynTenantCommand>],
) -> Result<Box<Job<'a>>, Failure> {
    let command = commands
        .iter()
        .find(|command| command.name() == name)
        .ok_or_else(|| Failure::usage(format!("there is no command `{name}`")))?;
    command.parse(matches).map_err(usage)
}

/// Runs a command on some schemas; what it writes comes in one piece for each.
pub(super) fn run<T: TenantModel>(
    job: &Job<'_>,
    targets: &[Target<T>],
    walk: &Walk,
    context: &Context<T>,
) -> Done {
    if targets.is_empty() {
        context.ui.note("There is no tenant to run it on.");
    }
    let tenancy = context.tenancy()?;
    let many = targets.len() > 1;
    let walked = fleet::walk(context, targets, walk, |target, progress| {
        let mut conn = connect(tenancy, target)?;
        let mut out = Vec::new();
        let result = job(&mut conn, &mut out);
        let heading = (many && context_is_talkative(progress)).then(|| target.schema.as_str());
        fleet::write_aside(progress, heading, &out)?;
        result.map(|()| ((), Did::Quietly))
    })?;
    Ok(walked.conclude())
}

fn context_is_talkative(progress: &super::progress::Progress) -> bool {
    progress.ui().wants(1)
}

/// A connection to a target.
pub(super) fn connect<T: TenantModel>(
    tenancy: &crate::Tenancy<T>,
    target: &Target<T>,
) -> Result<crate::PooledConnection, BoxError> {
    Ok(match &target.tenant {
        Some(tenant) => tenancy.tenant_read_at(tenant, target.read)?,
        None => tenancy.schema(&target.schema)?,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(super) fn usage(error: clap::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// A switch that may stand before or behind the command.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .global(true)
        .help(help)
}
