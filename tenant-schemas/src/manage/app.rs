//! The whole command line as clap knows it, and what is made of that: completions, manual pages.

use clap::{Arg, ArgMatches, ValueEnum as _};

use crate::model::TenantModel;

use super::command::DynTenantCommand;
use super::entry::{Entry, own};
use super::outcome::{Done, Exit, Failure};
use super::{all_tenants_command, output, tenant_command};

pub(super) const COMPLETIONS: &str = "completions";
pub(super) const MAN: &str = "man";
pub(super) const VERBOSITY: &str = "verbosity";

pub(super) fn app<T: TenantModel>(
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
            verbosity()
                .short('v')
                .global(true)
                .default_value("1")
                .help("How much is said on standard error: 0 failures and warnings alone, 1 what was done, 2 also what needed nothing, 3 everything"),
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
        .subcommand(tenant_command::clap_on_one(entries, tenant_commands))
        .subcommand(all_tenants_command::clap(entries, tenant_commands));
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

/// `--verbosity`, which every command has.
pub(super) fn verbosity() -> Arg {
    Arg::new(VERBOSITY)
        .long(VERBOSITY)
        .value_name("0-3")
        .value_parser(clap::value_parser!(u8).range(0..=3))
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

pub(super) fn completions(matches: &ArgMatches, clap: &mut clap::Command, program: &str) -> Done {
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

pub(super) fn man(matches: &ArgMatches, clap: &mut clap::Command) -> Done {
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
