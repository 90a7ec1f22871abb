//! `create_tenant`: one option for each field of the user's model.

use std::collections::HashMap;

use clap::{Arg, ArgAction, ArgMatches, Args as _, FromArgMatches as _};
use diesel::Connection as _;

use crate::auth::NewUser;
use crate::error::{BoxError, Error};
use crate::model::{Field, FieldError, FieldRole, TenantModel};
use crate::name::SchemaName;
use crate::provision::{Lifecycle as _, SaveOptions};
use crate::sql::manage as sql;
use crate::tenancy::Tenancy;

use super::context::Context;
use super::domains::free;
use super::entry::{Entry, GLOBAL};
use super::fields::tenant_table;
use super::host::host;
use super::outcome::{Done, Exit, Failure};
use super::prompt;
use super::superuser::Credentials;
use super::table::count;
use super::tenant_command::usage;
use super::ui;

const NAME: &str = "create_tenant";
const DOMAIN: &str = "domain";
const ADOPT: &str = "adopt";
const SUPERUSER: &str = "superuser";
const NOINPUT: &str = "noinput";

/// Options of the command itself; a field of that name gets another option.
const OWN: [&str; 5] = [DOMAIN, ADOPT, NOINPUT, "no-input", SUPERUSER];

/// The command for the tenancy's model.
pub(super) fn entry<T: TenantModel>() -> Entry<T> {
    Entry::new(NAME, clap::<T>(), run)
}

/// The fields that can be given, in the order of the struct.
fn fields<T: TenantModel>() -> impl Iterator<Item = &'static Field> {
    T::fields().iter().filter(|field| field.can_be_set())
}

/// The option of a field: its name, unless that is taken.
fn option(field: &Field) -> String {
    let name = field.name.trim_start_matches("r#");
    let plain = name.replace('_', "-");
    let taken = [&GLOBAL[..], &OWN, &Credentials::OPTIONS].concat();
    if taken.contains(&plain.as_str()) {
        format!("tenant-{name}")
    } else {
        name.to_owned()
    }
}

/// An identifier that no option of the command itself has.
fn id(field: &Field) -> String {
    format!("field {}", field.name)
}

fn clap<T: TenantModel>() -> clap::Command {
    let mut clap = clap::Command::new(NAME)
        .about("Creates a tenant: its row, its schema with every migration, and its domains")
        .long_about(
            "Creates a tenant: its row, its schema with every migration, and its domains. \
             All or nothing: if anything fails, nothing is left.\n\n\
             The options below TENANT are the fields of the model. On a terminal, those that are not \
             given are asked for, with their defaults; elsewhere those without a default have to be given.",
        );
    for field in fields::<T>() {
        clap = clap.arg(arg(field));
    }
    if T::domains().is_some() {
        clap = clap.arg(
            Arg::new(DOMAIN)
                .long(DOMAIN)
                .value_name("DOMAIN")
                .action(ArgAction::Append)
                .value_parser(host)
                .help_heading("Tenant")
                .help("A domain of the tenant; given repeatedly, the first is the primary one"),
        );
    }
    let clap = clap.arg(
        Arg::new(SUPERUSER)
            .short('s')
            .long(SUPERUSER)
            .action(ArgAction::SetTrue)
            .help_heading("Superuser")
            .help("Create a superuser of the tenant as well"),
    );
    let clap = Credentials::augment_args(clap.next_help_heading("Superuser"));
    clap.next_help_heading(None::<&str>)
        .arg(
            Arg::new(ADOPT)
                .long(ADOPT)
                .action(ArgAction::SetTrue)
                .help("Take over a schema that exists, and migrate it, instead of creating one"),
        )
        .arg(
            Arg::new(NOINPUT)
                .long(NOINPUT)
                .alias("no-input")
                .action(ArgAction::SetTrue)
                .help("Ask nothing, take the defaults"),
        )
}

fn arg(field: &'static Field) -> Arg {
    let mut help: String = field.help.trim().trim_end_matches('.').replace('\n', " ");
    let mut say = |text: &str| {
        if !help.is_empty() {
            help.push(' ');
        }
        help.push_str(text);
    };
    if field.required() {
        say("[required]");
    } else if let Some(default) = field.default_text() {
        say(&format!("[default: {default}]"));
    } else {
        say("[optional]");
    }
    let arg = Arg::new(id(field))
        .long(option(field))
        .value_name(value_name(field))
        .help_heading("Tenant")
        .help(help);
    if is_bool(field) {
        arg.num_args(0..=1).default_missing_value("true")
    } else {
        // A number can be negative, and a name begin with a hyphen.
        arg.allow_hyphen_values(true)
    }
}

fn is_bool(field: &Field) -> bool {
    field.type_name.replace(' ', "") == "bool"
}

/// The field's type, without what people do not need to know.
fn value_name(field: &Field) -> String {
    let plain = field.type_name.replace(' ', "");
    let inner = plain
        .strip_prefix("Option<")
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(&plain);
    let last = inner.rsplit("::").next().unwrap_or(inner);
    match last {
        "String" => "TEXT".to_owned(),
        "bool" => "true|false".to_owned(),
        "NaiveDate" => "YYYY-MM-DD".to_owned(),
        "SchemaName" => "NAME".to_owned(),
        other => other.to_uppercase(),
    }
}

fn run<T: TenantModel>(matches: &ArgMatches, context: &Context<T>) -> Done {
    let mut given: HashMap<&'static str, String> = fields::<T>()
        .filter_map(|field| {
            let text = matches.get_one::<String>(&id(field))?;
            Some((field.name, text.clone()))
        })
        .collect();
    let mut domains: Vec<String> = match T::domains() {
        Some(_) => matches
            .get_many(DOMAIN)
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        None => Vec::new(),
    };
    let asks = context.ui.interactive && !matches.get_flag(NOINPUT);
    let mistakes = mistakes::<T>(&given);
    let credentials = Credentials::from_arg_matches(matches).map_err(usage)?;
    let superuser = matches.get_flag(SUPERUSER);
    if credentials.any() && !superuser {
        return Err(Failure::usage(
            "`--username`, `--email` and `--password-stdin` are about a superuser: add `-s`",
        ));
    }
    if asks {
        ask_for_the_rest(&mut given, &mistakes, context)?;
        if T::domains().is_some() && domains.is_empty() {
            domains = ask_for_domains()?;
        }
    }
    let mut lines = Vec::new();
    let tenant = from_text::<T>(&given).map_err(|errors| lines = refused::<T>(&errors));
    if superuser && !asks {
        lines.extend(credentials.missing());
    }
    let Some(tenant) = tenant.ok().filter(|_| lines.is_empty()) else {
        return Err(Failure::Usage(format!(
            "the tenant can't be created:\n  {}",
            lines.join("\n  ")
        )));
    };
    let tenancy = context.tenancy()?;
    check_schema(tenant.schema_name().as_str(), tenancy).map_err(Failure::Usage)?;
    let user = if superuser {
        Some(credentials.user(asks, |_| Ok(()))?)
    } else {
        None
    };
    create(tenant, &domains, matches.get_flag(ADOPT), user, context)
}

fn from_text<T: TenantModel>(given: &HashMap<&str, String>) -> Result<T, Vec<FieldError>> {
    T::from_text(&mut |field| given.get(field.name).cloned())
}

/// What is wrong with what was given, by field; what is missing is no mistake yet.
fn mistakes<T: TenantModel>(given: &HashMap<&str, String>) -> HashMap<String, String> {
    let errors = from_text::<T>(given).err().unwrap_or_default();
    errors
        .into_iter()
        .filter_map(|error| match error {
            FieldError::Invalid {
                field,
                text,
                reason,
                ..
            } => {
                let known = fields::<T>().find(|known| known.name == field)?;
                let value_name = value_name(known);
                Some((field, format!("{text:?} is no {value_name}: {reason}")))
            }
            _ => None,
        })
        .collect()
}

/// Every field that is missing or wrong, by its option.
fn refused<T: TenantModel>(errors: &[FieldError]) -> Vec<String> {
    let field_of = |name: &str| fields::<T>().find(|field| field.name == name);
    let line = |error: &FieldError| match error {
        FieldError::Missing { field, .. } => {
            let field = field_of(field)?;
            Some(format!(
                "--{}=<{}> is missing",
                option(field),
                value_name(field)
            ))
        }
        FieldError::Invalid {
            field,
            text,
            reason,
            ..
        } => {
            let field = field_of(field)?;
            let value_name = value_name(field);
            Some(format!(
                "--{}={text} is no {value_name}: {reason}",
                option(field)
            ))
        }
        FieldError::Unknown { .. } => None,
    };
    let or_itself = |error: &FieldError| line(error).unwrap_or_else(|| error.to_string());
    errors.iter().map(or_itself).collect()
}

/// Asks for every field that was not given, and for those that were given wrong.
fn ask_for_the_rest<T: TenantModel>(
    given: &mut HashMap<&'static str, String>,
    mistakes: &HashMap<String, String>,
    context: &Context<T>,
) -> Result<(), Failure> {
    for field in fields::<T>() {
        if let Some(mistake) = mistakes.get(field.name) {
            ui::usage(&format!("--{}: {mistake}", option(field)));
        } else if let Some(text) = given.get(field.name) {
            match field.role {
                // What was given may still be taken.
                FieldRole::SchemaName | FieldRole::DomainUrl => {
                    match check(field, text, given, context) {
                        Ok(()) => continue,
                        Err(mistake) => {
                            ui::usage(&format!("--{}: {mistake}", option(field)));
                        }
                    }
                }
                _ => continue,
            }
        }
        given.remove(field.name);
        let default = field.default_text();
        let shown = match &default {
            Some(default) => Some(default.as_str()),
            None if field.optional => Some(""),
            None => None,
        };
        let question = match (field.help.trim(), field.optional && default.is_none()) {
            ("", false) => field.name.to_owned(),
            ("", true) => format!("{} (optional)", field.name),
            (help, false) => format!("{} ({})", field.name, first_line(help)),
            (help, true) => format!("{} ({}, optional)", field.name, first_line(help)),
        };
        let answer = prompt::ask(&question, shown, |answer| {
            if answer.is_empty() && field.required() {
                return Err(format!("{} has to have a value", field.name));
            }
            check(field, answer, given, context)?;
            Ok(answer.to_owned())
        })?;
        given.insert(field.name, answer);
    }
    Ok(())
}

fn first_line(help: &str) -> &str {
    help.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
}

/// Whether a text is a value of the field, and one that is not taken.
fn check<T: TenantModel>(
    field: &'static Field,
    text: &str,
    given: &HashMap<&'static str, String>,
    context: &Context<T>,
) -> Result<(), String> {
    if field.role == FieldRole::SchemaName {
        check_schema(text, context.tenancy().map_err(words)?)?;
    }
    let mut with = given.clone();
    with.insert(field.name, text.to_owned());
    if let Some(mistake) = mistakes::<T>(&with).remove(field.name) {
        return Err(mistake);
    }
    if !matches!(field.role, FieldRole::SchemaName | FieldRole::DomainUrl) {
        return Ok(());
    }
    let tenancy = context.tenancy().map_err(words)?;
    let mut conn = tenancy.public().map_err(|error| words(error.into()))?;
    let found = match field.role {
        FieldRole::SchemaName => T::by_schema(&mut conn, text),
        _ => T::by_domain(&mut conn, text),
    };
    match found.map_err(|error| words(error.into()))? {
        Some(tenant) => Err(format!(
            "{text} is taken by tenant {}",
            tenant.schema_name()
        )),
        None => Ok(()),
    }
}

/// A failure as an answer to a prompt.
fn words(failure: Failure) -> String {
    match failure {
        Failure::Error(error) => crate::error::chain(&*error),
        Failure::Usage(message) => message,
        Failure::NobodyReads => String::new(),
    }
}

/// The rules of the tenancy for a schema's name.
fn check_schema<T: TenantModel>(name: &str, tenancy: &Tenancy<T>) -> Result<(), String> {
    let registry = tenancy.registry();
    let schema =
        SchemaName::with_policy(name, registry.names).map_err(|error| error.to_string())?;
    if schema == *registry.public() {
        return Ok(());
    }
    registry
        .refuse_protected(&schema, "taken by a tenant")
        .map_err(|error| error.to_string())
}

fn ask_for_domains() -> Result<Vec<String>, Failure> {
    let mut domains = Vec::new();
    loop {
        let question = if domains.is_empty() {
            "primary domain (optional)"
        } else {
            "another domain (optional)"
        };
        let answer = prompt::ask(question, Some(""), |answer| {
            if answer.is_empty() {
                return Ok(None);
            }
            host(answer).map(Some)
        })?;
        match answer {
            Some(domain) => domains.push(domain),
            None => return Ok(domains),
        }
    }
}

/// Saves the tenant and its domains, all or nothing.
fn create<T: TenantModel>(
    mut tenant: T,
    domains: &[String],
    adopt: bool,
    user: Option<NewUser>,
    context: &Context<T>,
) -> Done {
    let tenancy = context.tenancy()?;
    let public = tenancy.registry().public();
    let schema = tenant.schema_name().clone();
    let options = if adopt {
        SaveOptions::new().adopt()
    } else {
        SaveOptions::new()
    };
    let name = user.as_ref().map(|user| user.username.clone());
    let mut conn = tenancy.public()?;
    let saved = conn.transaction(|conn| {
        let saved = tenant.save_with(conn, options)?;
        if let Some(table) = T::domains() {
            let tenants = tenant_table::<T>();
            for (number, domain) in domains.iter().enumerate() {
                let row = (&schema, domain.as_str(), number == 0);
                free::<T>(domain, conn)?;
                conn.own(|inner| sql::insert_domain(inner, public, &tenants, &table, row))
                    .map_err(|error| Error::database(format!("creating domain {domain}"), error))?;
            }
        }
        if let Some(user) = user {
            let superusers = &context.superusers;
            conn.with_tenant(&tenant, |conn| superusers.create_superuser(conn, user))?;
        }
        Ok::<_, BoxError>(saved)
    })?;
    for failure in &saved.listener_failures {
        ui::warn(&failure.to_string());
    }
    let name = name.map_or_else(String::new, |name| format!(", superuser {name}"));
    context.ui.note(&format!(
        "Tenant {schema} is ready: {}, {}{name}.",
        if saved.provisioned {
            format!("schema {schema}")
        } else {
            "no schema of its own yet".to_owned()
        },
        count(saved.applied.len(), "migration")
    ));
    Ok(Exit::Done)
}
