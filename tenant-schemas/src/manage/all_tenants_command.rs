//! `all_tenants_command`: a command on the public schema and on every tenant.

use clap::{Arg, ArgMatches};

use crate::model::TenantModel;

use super::command::DynTenantCommand;
use super::context::Context;
use super::fleet::{Walk, parse_jobs};
use super::outcome::Done;
use super::targets::Targets;
use super::tenant_command::{clap_below, job, run as run_on, switch};

pub(super) const NAME: &str = "all_tenants_command";

pub(super) fn clap(commands: &[Box<dyn DynTenantCommand>]) -> clap::Command {
    clap::Command::new(NAME)
        .about("Runs a command on the public schema and on every tenant")
        .long_about(
            "Runs a command on the public schema, and then on every tenant in the order of their \
             schemas' names.\n\n\
             What follows COMMAND are the command's own arguments; the options of \
             `all_tenants_command` may stand before or behind it.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("COMMAND")
        .arg(switch("no-public", "Leave the public schema out"))
        .arg(
            Arg::new("exclude")
                .long("exclude")
                .value_name("NAME|GLOB")
                .action(clap::ArgAction::Append)
                .global(true)
                .help("Not this schema; `*` and `?` match. May be given repeatedly"),
        )
        .arg(
            Arg::new("jobs")
                .long("jobs")
                .value_name("N")
                .default_value("1")
                .value_parser(parse_jobs)
                .global(true)
                .help(
                    "How many tenants are worked on at once; no more than the pool has connections",
                ),
        )
        .arg(switch(
            "fail-fast",
            "Start no further tenant once one has failed",
        ))
        .subcommands(commands.iter().map(|command| clap_below(&**command)))
}

pub(super) fn run<T: TenantModel>(
    matches: &ArgMatches,
    commands: &[Box<dyn DynTenantCommand>],
    context: &Context<T>,
) -> Done {
    let (job, matches) = job(matches, commands)?;
    let targets = Targets {
        schema: Vec::new(),
        exclude: matches
            .get_many::<String>("exclude")
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
    };
    let walk = Walk {
        jobs: matches.get_one("jobs").copied().unwrap_or(1),
        fail_fast: matches.get_flag("fail-fast"),
    };
    let public = !matches.get_flag("no-public");
    let targets = targets.choose(context.tenancy()?, public)?;
    run_on(&*job, &targets, &walk, context)
}
