//! `clone_tenant`: a tenant like another.

use clap::{Arg, ArgAction, ArgMatches};
use diesel::Connection as _;

use crate::clone::{CloneOptions, CloneTenant as _};
use crate::error::BoxError;
use crate::model::{Field, TenantModel};

use super::context::Context;
use super::entry::Entry;
use super::form;
use super::options;
use super::outcome::{Done, Exit, Failure};
use super::table::count;
use super::targets;
use super::ui;

const NAME: &str = "clone_tenant";
const FROM: &str = "from";
const CLONE_FROM: &str = "clone-from";
const DATA: &str = "data";
const MIGRATE: &str = "migrate";

/// The command for the tenancy's model.
pub(super) fn entry<T: TenantModel>() -> Entry<T> {
    let clap = clap::Command::new(NAME)
        .about("Creates a tenant whose schema is a copy of another's")
        .long_about(
            "Creates a tenant whose schema is a copy of another's: tables, keys, sequences, indexes, views, \
             functions, triggers, types, policies, comments and grants, and with `--data` the rows. \
             All or nothing, and the source stays as it is.\n\n\
             The options under `Tenant` are the fields of the new tenant. Those that are not given are the \
             source's, but for the schema and the domain; so are fields that text can't give and that have no \
             option, such as a key of the tenant's: give the clone its own if it needs one.",
        )
        .arg(
            Arg::new(FROM)
                .value_name("FROM")
                .required_unless_present(CLONE_FROM)
                .help("The schema of the tenant that is copied"),
        )
        .arg(
            Arg::new(CLONE_FROM)
                .long("clone_from")
                .value_name("FROM")
                .conflicts_with(FROM)
                .help("The same as an option"),
        )
        .arg(
            Arg::new(DATA)
                .long(DATA)
                .action(ArgAction::SetTrue)
                .help("Copy the rows too; the sequences go on where they stand"),
        )
        .arg(
            Arg::new(MIGRATE)
                .long(MIGRATE)
                .action(ArgAction::SetTrue)
                .help("Run what is pending in the source in the copy; without it that is an error"),
        );
    Entry::new(NAME, options::arguments::<T>(clap, note), run)
}

/// What the help says behind a field.
fn note(field: &Field) -> String {
    if form::is_own(field) {
        options::note(field)
    } else {
        "[default: the source's]".to_owned()
    }
}

fn run<T: TenantModel>(matches: &ArgMatches, context: &Context<T>) -> Done {
    let from = matches
        .get_one::<String>(FROM)
        .or(matches.get_one(CLONE_FROM))
        .ok_or_else(|| Failure::usage("which tenant is copied?"))?;
    let tenancy = context.tenancy()?;
    let source = targets::tenant(tenancy, from)?;
    let (mut copy, domains) = form::tenant(matches, Some(&source), Vec::new(), context)?;
    let options = CloneOptions::new()
        .data(matches.get_flag(DATA))
        .migrate(matches.get_flag(MIGRATE));
    let copied = tenancy.public()?.transaction(|conn| {
        let copied = source.clone_to(conn, &mut copy, options)?;
        form::insert_domains(&copy, &domains, tenancy, conn)?;
        Ok::<_, BoxError>(copied)
    })?;
    for warning in &copied.warnings {
        ui::warn(warning);
    }
    for failure in &copied.saved.listener_failures {
        ui::warn(&failure.to_string());
    }
    targets::require_migrated(tenancy, copy.schema_name())?;
    let migrated = match copied.saved.applied.len() {
        0 => String::new(),
        applied => format!(", {}", count(applied, "migration")),
    };
    context.ui.note(&format!(
        "Tenant {} is ready: a copy of {from}{}{migrated}.",
        copy.schema_name(),
        if matches.get_flag(DATA) {
            " with its rows"
        } else {
            ", without rows"
        }
    ));
    Ok(Exit::Done)
}
