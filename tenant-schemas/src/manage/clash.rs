//! What a command of the user's can't have, because it would be lost among what is there.

use clap::Arg;

use super::fixtures;
use super::standalone::Takes;

/// Options that every command has.
const EVERYWHERE: [&str; 2] = ["verbosity", "help"];

/// Options that a command has beside its own if it runs in a tenant's connection.
const OF_TENANT_COMMANDS: [&str; 5] = ["schema", "exclude", "jobs", "fail-fast", "no-public"];

/// Panics if a command has an option that it would share with those of every tenant command.
pub(super) fn refuse_options_of_tenant_commands(command: &clap::Command) {
    let taken = [&EVERYWHERE[..], &OF_TENANT_COMMANDS].concat();
    refuse(command, &taken, &['v', 'h', 's']);
}

/// Panics if a command has an option that every command has, or, if it takes a schema, one that
/// `tenant_command` and `all_tenants_command` would read in its place.
pub(super) fn refuse_options(command: &clap::Command, takes: Takes) {
    let read_above: &[&str] = match takes {
        Takes::Nothing => return refuse(command, &EVERYWHERE, &['v', 'h']),
        // It is given the other two as its own.
        Takes::Many => &["exclude", "no-public"],
        Takes::One | Takes::First => &["exclude", "no-public", "jobs", "fail-fast"],
    };
    let all = [&EVERYWHERE[..], read_above].concat();
    refuse(command, &all, &['v', 'h', 's']);
}

fn refuse(command: &clap::Command, long: &[&str], short: &[char]) {
    if let Some(option) = clash(command, long, short) {
        panic!(
            "command {} has an option `{option}` of its own, which commands have already: \
             give it another name",
            command.get_name()
        );
    }
}

/// The first option that is taken.
fn clash(command: &clap::Command, long: &[&str], short: &[char]) -> Option<String> {
    let clash = |arg: &Arg| {
        let mut own = arg.get_long_and_visible_aliases().unwrap_or_default();
        own.extend(arg.get_all_aliases().unwrap_or_default());
        // Options are told apart by their identifiers, too.
        own.push(arg.get_id().as_str());
        let own = own
            .into_iter()
            .map(hyphened)
            .find(|own| long.contains(&&**own));
        let mut letters = arg.get_short_and_visible_aliases().unwrap_or_default();
        letters.extend(arg.get_all_short_aliases().unwrap_or_default());
        if arg.get_long() == Some("schema") {
            letters.retain(|letter| *letter != 's');
        }
        let letter = letters.into_iter().find(|letter| short.contains(letter));
        own.map(|own| format!("--{own}"))
            .or(letter.map(|letter| format!("-{letter}")))
    };
    command.get_arguments().find_map(clash).or_else(|| {
        command
            .get_subcommands()
            .find_map(|below| self::clash(below, long, short))
    })
}

/// Panics if there is a command of this name, in either spelling.
pub(super) fn refuse_name(name: &str, known: &[String]) {
    let guide = fixtures::NAMES_OF_THE_GUIDE.map(str::to_owned);
    let same = |known: &&String| hyphened(known) == hyphened(name);
    if let Some(known) = known.iter().chain(&guide).find(same) {
        panic!("there is a command {known} already: give {name} another name");
    }
}

fn hyphened(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;

    fn of(arg: Arg) -> Option<String> {
        let command = clap::Command::new("own").arg(arg);
        clash(&command, &["fail-fast", "verbosity"], &['v'])
    }

    #[test]
    fn options_are_taken_by_whatever_name_they_have() {
        let taken = |option: &str| Some(option.to_owned());
        assert_eq!(of(Arg::new("own").long("own").short('o')), None);
        assert_eq!(of(Arg::new("own").long("verbosity")), taken("--verbosity"));
        assert_eq!(of(Arg::new("own").long("fail_fast")), taken("--fail-fast"));
        assert_eq!(
            of(Arg::new("own").long("x").alias("fail_fast")),
            taken("--fail-fast")
        );
        assert_eq!(of(Arg::new("fail_fast").long("x")), taken("--fail-fast"));
        assert_eq!(of(Arg::new("own").short('v')), taken("-v"));
        assert_eq!(of(Arg::new("own").short('x').short_alias('v')), taken("-v"));
        let below = clap::Command::new("below").arg(Arg::new("own").short('v'));
        let command = clap::Command::new("own").subcommand(below);
        assert_eq!(clash(&command, &[], &['v']), taken("-v"));
    }

    #[test]
    fn what_is_read_above_a_command_with_a_schema_is_taken() {
        let schema = Arg::new("schema").long("schema").short('s');
        let refused = |schema: Option<&Arg>, own: Arg| {
            let command = clap::Command::new("own").args(schema.cloned()).arg(own);
            let takes = Takes::of(&command);
            let refuse = AssertUnwindSafe(|| refuse_options(&command, takes));
            std::panic::catch_unwind(refuse).is_err()
        };
        for long in ["exclude", "no-public", "jobs", "fail-fast"] {
            let own = || Arg::new("own").long(long);
            assert!(refused(Some(&schema), own()), "{long}");
            assert!(!refused(None, own()), "{long}");
        }
        let many = schema.clone().action(clap::ArgAction::Append);
        assert!(refused(Some(&many), Arg::new("own").long("exclude")));
        assert!(!refused(Some(&many), Arg::new("own").long("jobs")));
        assert!(refused(Some(&schema), Arg::new("own").short('s')));
        assert!(!refused(Some(&schema), Arg::new("own").long("own")));
    }

    #[test]
    fn names_are_taken_in_either_spelling() {
        let known = ["create_tenant".to_owned()];
        refuse_name("create", &known);
        for name in ["create_tenant", "create-tenant", "loaddata"] {
            std::panic::catch_unwind(|| refuse_name(name, &known)).expect_err(name);
        }
    }
}
