//! `all_tenants_command`: a command on the public schema and on every tenant.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::model::TenantModel;

use super::command::DynTenantCommand;
use super::context::Context;
use super::entry::Entry;
use super::fleet::{Walk, parse_jobs};
use super::outcome::Done;
use super::standalone;
use super::targets::Targets;
use super::tenant_command::{clap_below, job, run as run_on, switch};

pub(super) const NAME: &str = "all_tenants_command";

pub(super) fn clap<T: TenantModel>(
    entries: &[Entry<T>],
    commands: &[Box<dyn DynTenantCommand>],
) -> clap::Command {
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
        .subcommands(
            entries
                .iter()
                .map(|entry| standalone::clap_below(entry, true)),
        )
}

/// What was said to `all_tenants_command` itself.
pub(super) struct Options {
    pub(super) public: bool,
    pub(super) exclude: Vec<String>,
    /// Nothing, if it was not said.
    pub(super) jobs: Option<usize>,
    pub(super) fail_fast: bool,
}

pub(super) fn options(matches: &ArgMatches) -> Options {
    Options {
        public: !matches.get_flag("no-public"),
        exclude: matches
            .get_many("exclude")
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        jobs: (matches.value_source("jobs") == Some(ValueSource::CommandLine))
            .then(|| matches.get_one("jobs").copied())
            .flatten(),
        fail_fast: matches.get_flag("fail-fast"),
    }
}

pub(super) fn run<T: TenantModel>(
    matches: &ArgMatches,
    commands: &[Box<dyn DynTenantCommand>],
    context: &Context<T>,
) -> Done {
    let (job, matches) = job(matches, commands)?;
    let Options {
        public,
        exclude,
        jobs,
        fail_fast,
    } = options(matches);
    let targets = Targets {
        schema: Vec::new(),
        exclude,
    };
    let walk = Walk {
        jobs: jobs.unwrap_or(1),
        fail_fast,
    };
    let targets = targets.choose(context.tenancy()?, public)?;
    run_on(&*job, &targets, &walk, context)
}
