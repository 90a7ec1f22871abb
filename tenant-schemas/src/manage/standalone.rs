//! Commands that stand by themselves, run by `tenant_command` and `all_tenants_command`.
//!
//! Such a command reads its own arguments, once it is known which schema they are about: it is
//! given the schema in the way in which it takes one, and everything else as it was typed.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use crate::model::TenantModel;

use super::all_tenants_command::{Options, options};
use super::app::{self, VERBOSITY};
use super::context::Context;
use super::entry::Entry;
use super::fleet;
use super::interrupt;
use super::options::NOINPUT;
use super::outcome::{Done, Exit, Failure};
use super::tenant_command::{self, choose_one};
use super::ui::{self, Ui};

/// How a command is told which schema it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// It is about none, or about one that is not there yet.
    Nothing,
    /// By `--schema`.
    One,
    /// By `--schema`, repeatedly.
    Many,
    /// By its first argument.
    First,
}

impl Takes {
    /// How a command takes its schema, if it has an option for it.
    pub(super) fn of(clap: &clap::Command) -> Self {
        let is_schema = |arg: &&Arg| arg.get_long() == Some("schema");
        match clap.get_arguments().find(is_schema).map(Arg::get_action) {
            None => Self::Nothing,
            Some(ArgAction::Append) => Self::Many,
            Some(_) => Self::One,
        }
    }
}

/// Commands that would do the same to tenant after tenant, or something that is meant for one.
const FOR_ONE_TENANT: [&str; 5] = [
    "create_domain",
    "delete_tenant",
    "clone_tenant",
    "dump_tenant",
    "rename_schema",
];

const REST: &str = "rest";

/// A command below another. Those that can't run there are known, to be able to say why.
pub(super) fn clap_below<T: TenantModel>(entry: &Entry<T>, on_all: bool) -> clap::Command {
    let about = entry.clap.get_about().cloned().unwrap_or_default();
    let runs = entry.takes != Takes::Nothing && !(on_all && FOR_ONE_TENANT.contains(&entry.name));
    let clap = clap::Command::new(entry.name)
        .about(about)
        .long_about(format!(
            "The command `{0}`, with the schema filled in; `{0} --help` has its options.",
            entry.name
        ))
        .hide(!runs)
        .disable_help_flag(true)
        .arg(
            Arg::new(REST)
                .value_name("ARGS")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString))
                .help("The command's own arguments"),
        );
    if entry.name != "psql" {
        return clap;
    }
    // `-v` and `-s` are psql's own.
    let clap = clap.arg(app::verbosity().help("How much is said"));
    if on_all {
        clap
    } else {
        clap.arg(tenant_command::schema().help("The schema"))
    }
}

/// The command line, which is read again.
pub(super) struct CommandLine<'a> {
    pub(super) program: &'a str,
    pub(super) clap: &'a mut clap::Command,
}

impl CommandLine<'_> {
    /// The command's arguments, with these schemas.
    fn read<T: TenantModel>(
        &mut self,
        entry: &Entry<T>,
        schemas: &[String],
        rest: &Rest,
    ) -> Result<ArgMatches, Failure> {
        let mut args = vec![OsString::from(self.program)];
        // In front, as what follows the schema is psql's.
        args.extend(rest.verbosity.map(|n| format!("--{VERBOSITY}={n}").into()));
        args.push(entry.name.into());
        args.extend(schemas.iter().map(|schema| match entry.takes {
            Takes::First => schema.into(),
            _ => format!("--schema={schema}").into(),
        }));
        args.extend_from_slice(&rest.args);
        self.clap
            .try_get_matches_from_mut(args)
            .map_err(Failure::CommandLine)
    }
}

/// What was typed behind the command's name, with what is said to the command above it taken out.
struct Rest {
    args: Vec<OsString>,
    verbosity: Option<u8>,
}

impl Rest {
    fn of(matches: &ArgMatches) -> Self {
        let rest = matches.get_many::<OsString>(REST);
        let said = matches.value_source(VERBOSITY) == Some(ValueSource::CommandLine);
        Self {
            args: rest.into_iter().flatten().cloned().collect(),
            verbosity: said.then(|| matches.get_one(VERBOSITY).copied()).flatten(),
        }
    }

    /// Whether nothing is to be asked, where the command knows of that.
    fn noinput<T: TenantModel>(&self, entry: &Entry<T>) -> bool {
        let knows = |arg: &Arg| arg.get_long() == Some(NOINPUT);
        let says = |arg: &OsString| is_option(arg, NOINPUT) || is_option(arg, "no-input");
        entry.clap.get_arguments().any(knows) && self.args.iter().any(says)
    }

    /// Takes a switch out.
    fn switch(&mut self, long: &str) -> bool {
        let before = self.args.len();
        self.args.retain(|arg| !is_option(arg, long));
        self.args.len() < before
    }

    /// Takes an option out, with its values.
    fn values(&mut self, long: &str, short: Option<&str>) -> Result<Vec<String>, Failure> {
        let mut values = Vec::new();
        let mut kept = Vec::new();
        let mut args = std::mem::take(&mut self.args).into_iter();
        while let Some(arg) = args.next() {
            let text = arg.to_string_lossy();
            if is_option(&arg, long) || short.is_some_and(|short| text == short) {
                let value = args.next();
                let value = value.and_then(|value| value.into_string().ok());
                values.push(value.ok_or_else(|| {
                    Failure::usage(format!("`{text}` is to be followed by a value"))
                })?);
            } else if let Some((_, value)) = text
                .split_once('=')
                .filter(|(name, _)| is_option(OsStr::new(name), long))
            {
                values.push(value.to_owned());
            } else {
                kept.push(arg);
            }
        }
        self.args = kept;
        Ok(values)
    }
}

/// Whether an argument is this option, with hyphens or with underscores.
fn is_option(arg: &OsStr, long: &str) -> bool {
    arg.to_str()
        .and_then(|arg| arg.strip_prefix("--"))
        .is_some_and(|arg| arg.replace('_', "-") == long)
}

/// Runs a command on one schema, which is asked for if it is not given.
pub(super) fn on_one<T: TenantModel>(
    entry: &Entry<T>,
    matches: &ArgMatches,
    line: &mut CommandLine<'_>,
    context: &mut Context<T>,
) -> Done {
    refuse_without_schema(entry, line)?;
    let mut rest = Rest::of(matches);
    // psql has a `-s` of its own.
    let short = (entry.name != "psql").then_some("-s");
    let mut given = rest.values("schema", short)?;
    given.extend(matches.get_one::<String>("schema").cloned());
    if given.len() > 1 {
        return Err(Failure::usage(format!(
            "`{}` runs on one schema: say `--schema` once",
            tenant_command::NAME
        )));
    }
    let given = given.pop();
    // A mistake is told before anything is asked.
    let dummy = given.clone().unwrap_or_else(|| "public".to_owned());
    line.read(entry, &[dummy], &rest)?;
    context.ui.interactive &= !rest.noinput(entry);
    let target = choose_one(given.as_deref(), context)?;
    let read = line.read(entry, &[target.schema.to_string()], &rest)?;
    run(entry, &read, context)
}

/// Runs a command on the public schema and on every tenant: at once, if it can, or on one after the other.
pub(super) fn on_all<T: TenantModel>(
    entry: &Entry<T>,
    matches: &ArgMatches,
    line: &mut CommandLine<'_>,
    context: &mut Context<T>,
) -> Done {
    refuse_without_schema(entry, line)?;
    if FOR_ONE_TENANT.contains(&entry.name) {
        return Err(Failure::usage(format!(
            "`{}` is about one tenant: it runs by itself, or with `{}`",
            entry.name,
            tenant_command::NAME
        )));
    }
    let mut rest = Rest::of(matches);
    let mut said = options(matches);
    said.public &= !rest.switch("no-public");
    said.exclude.extend(rest.values("exclude", None)?);
    let Options {
        public,
        exclude,
        jobs,
        fail_fast,
    } = said;
    if entry.takes == Takes::Many {
        rest.args
            .extend(jobs.map(|jobs| format!("--jobs={jobs}").into()));
        rest.args.extend(fail_fast.then(|| "--fail-fast".into()));
    }
    line.read(entry, &["public".to_owned()], &rest)?;
    let targets = super::targets::Targets {
        schema: Vec::new(),
        exclude,
    };
    let targets = targets.choose(context.tenancy()?, public)?;
    let schemas: Vec<String> = targets
        .iter()
        .map(|target| target.schema.to_string())
        .collect();
    if schemas.is_empty() {
        context.ui.note("There is no schema to run it on.");
        return Ok(Exit::Done);
    }
    if entry.takes == Takes::Many {
        let read = line.read(entry, &schemas, &rest)?;
        return run(entry, &read, context);
    }
    let fail_fast = rest.switch("fail-fast") || fail_fast;
    if jobs.is_some_and(|jobs| jobs > 1) || !rest.values("jobs", None)?.is_empty() {
        return Err(Failure::usage(format!(
            "`{}` works on one schema at a time: leave out `--jobs`",
            entry.name
        )));
    }
    one_after_the_other(entry, &schemas, &rest, fail_fast, line, context)
}

fn one_after_the_other<T: TenantModel>(
    entry: &Entry<T>,
    schemas: &[String],
    rest: &Rest,
    fail_fast: bool,
    line: &mut CommandLine<'_>,
    context: &mut Context<T>,
) -> Done {
    let _mode = interrupt::work();
    let mut failed = 0;
    let mut begun = 0;
    for schema in schemas {
        if interrupt::pressed() || (fail_fast && failed > 0) {
            break;
        }
        begun += 1;
        if context.ui.wants(1) {
            fleet::heading(schema);
        }
        let read = line.read(entry, std::slice::from_ref(schema), rest);
        match read.and_then(|read| run(entry, &read, context)) {
            Ok(exit) if exit.code() == 0 => continue,
            Err(Failure::NobodyReads) => return Err(Failure::NobodyReads),
            Ok(_) => {}
            // The command line was read before: what is wrong is wrong in this schema.
            Err(Failure::Usage(message)) => refused(schema, &message),
            Err(Failure::CommandLine(error)) => refused(schema, &error.to_string()),
            Err(Failure::Error(error)) => ui::say(&ui::failure(Some(schema), &*error)),
        }
        failed += 1;
    }
    let left: Vec<&str> = schemas[begun..].iter().map(String::as_str).collect();
    Ok(fleet::conclude(schemas.len(), failed, &left))
}

fn refused(schema: &str, message: &str) {
    let message = message.trim_start_matches("error: ").trim_end();
    ui::usage(&format!("{schema}: {message}"));
}

fn run<T: TenantModel>(entry: &Entry<T>, read: &ArgMatches, context: &mut Context<T>) -> Done {
    let verbosity = read.get_one::<u8>(VERBOSITY).copied().unwrap_or(1);
    context.ui = Ui::new(verbosity);
    match read.subcommand() {
        Some((_, matches)) => entry.run(matches, context),
        None => Ok(Exit::Usage),
    }
}

/// Says why a command can't run on a schema.
fn refuse_without_schema<T: TenantModel>(
    entry: &Entry<T>,
    line: &CommandLine<'_>,
) -> Result<(), Failure> {
    if entry.takes != Takes::Nothing {
        return Ok(());
    }
    let why = if entry.own {
        "it is about no schema that is there"
    } else {
        "it is a `PlainCommand`, which is given no tenant's connection; a `TenantCommand` is, \
         and one with an option `--schema` is told the schema"
    };
    let (name, program) = (entry.name, line.program);
    Err(Failure::usage(format!(
        "`{name}` can't be run on a schema: {why}. By itself it runs as `{program} {name}`"
    )))
}
