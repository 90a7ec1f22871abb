//! The form of a tenant: an option for each field of the user's model, and prompts for the rest.

use std::collections::HashMap;

use clap::ArgMatches;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error};
use crate::model::{Field, FieldError, FieldRole, TenantModel};
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;
use crate::sql::manage as sql;
use crate::tenancy::Tenancy;

use super::context::Context;
use super::domains::{free, taken};
use super::fields::tenant_table;
use super::host::host;
use super::options::{DOMAIN, NOINPUT, fields, id, is_text, option, value_name};
use super::outcome::Failure;
use super::prompt::{self, Refused};
use super::ui;

/// The text of each field that has one, by the field's name.
type Texts = HashMap<&'static str, String>;

/// Whether somebody can be asked, and may be.
pub(super) fn asks<T: TenantModel>(matches: &ArgMatches, context: &Context<T>) -> bool {
    context.ui.interactive && !matches.get_flag(NOINPUT)
}

/// A tenant and its domains, out of the arguments and, if somebody can be asked, out of answers.
///
/// If it is to be like `source`, whatever is not given is the source's, but for what tells tenants
/// apart. `missing` is listed with the fields that are.
pub(super) fn tenant<T: TenantModel>(
    matches: &ArgMatches,
    source: Option<&T>,
    missing: Vec<String>,
    context: &Context<T>,
) -> Result<(T, Vec<String>), Failure> {
    let asks = asks(matches, context);
    let mut given: Texts = fields::<T>()
        .filter_map(|field| {
            let text = matches.get_one::<String>(&id(field))?;
            Some((field.name, as_stored(field, text)))
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
    let mut lines = Vec::new();
    if asks {
        // That there is no database, or no table of tenants, is said before anything is asked.
        T::by_schema(&mut *context.tenancy()?.public()?, "")?;
        let mistakes = mistakes::<T>(&given);
        ask_for_the_rest(&mut given, &mistakes, source, context)?;
        if T::domains().is_some() {
            domains = good_domains(domains, context)?;
        }
    }
    let tenant = build(&given, source).map_err(|errors| lines.extend(refused::<T>(&errors)));
    lines.extend(fields::<T>().filter_map(|field| {
        let mistake = no_value(field, given.get(field.name)?)?;
        Some(format!("--{}: {mistake}", option::<T>(field)))
    }));
    for domain in &mut domains {
        match host(domain) {
            Ok(host) => *domain = host,
            Err(mistake) => lines.push(format!("--{DOMAIN}: {mistake}")),
        }
    }
    lines.extend(missing);
    let Some(tenant) = tenant.ok().filter(|_| lines.is_empty()) else {
        return Err(Failure::Usage(format!(
            "the tenant can't be created:\n  {}",
            lines.join("\n  ")
        )));
    };
    let tenancy = context.tenancy()?;
    check_schema(tenant.schema_name().as_str(), tenancy).map_err(Failure::Usage)?;
    Ok((tenant, domains))
}

/// Gives a tenant its domains, the first as the primary one.
pub(super) fn insert_domains<T: TenantModel>(
    tenant: &T,
    domains: &[String],
    tenancy: &Tenancy<T>,
    conn: &mut TenantConnection,
) -> Result<(), BoxError> {
    let Some(table) = T::domains() else {
        return Ok(());
    };
    let public = tenancy.registry().public();
    let tenants = tenant_table::<T>();
    for (number, domain) in domains.iter().enumerate() {
        free::<T>(domain, conn)?;
        let row = (tenant.schema_name(), domain.as_str(), number == 0);
        conn.own(|inner| sql::insert_domain(inner, public, &tenants, &table, row))
            .map_err(|error| Error::database(format!("creating domain {domain}"), error))?;
    }
    Ok(())
}

/// Whether a field tells tenants apart, so that no two can have the same.
pub(super) fn is_own(field: &Field) -> bool {
    matches!(field.role, FieldRole::SchemaName | FieldRole::DomainUrl)
}

/// A tenant with these fields: a new one, or one that is like `source` otherwise.
fn build<T: TenantModel>(given: &Texts, source: Option<&T>) -> Result<T, Vec<FieldError>> {
    let Some(source) = source else {
        return from_text(given);
    };
    let mut tenant = source.clone();
    tenant.forget_id();
    let mut errors = Vec::new();
    for field in fields::<T>() {
        let text = match given.get(field.name) {
            Some(text) => text.clone(),
            None if !is_own(field) => continue,
            None if field.required() => {
                errors.push(FieldError::Missing {
                    field: field.name.to_owned(),
                    type_name: field.type_name.to_owned(),
                });
                continue;
            }
            None => field.default_text().unwrap_or_default(),
        };
        errors.extend(tenant.set_text(field.name, &text).err());
    }
    if errors.is_empty() {
        Ok(tenant)
    } else {
        Err(errors)
    }
}

fn from_text<T: TenantModel>(given: &Texts) -> Result<T, Vec<FieldError>> {
    T::from_text(&mut |field| given.get(field.name).cloned())
}

/// A value as it is stored, where that is not how people type it.
fn as_stored(field: &Field, text: &str) -> String {
    let host = (field.role == FieldRole::DomainUrl).then(|| host(text).ok());
    host.flatten().unwrap_or_else(|| text.to_owned())
}

/// Why a text that the field's type takes can't be its value.
fn no_value(field: &Field, text: &str) -> Option<String> {
    match field.role {
        FieldRole::DomainUrl if field.required() || !text.is_empty() => host(text).err(),
        FieldRole::Plain | FieldRole::TenantType if is_text(field) => {
            (field.required() && text.is_empty()).then(|| "it has to have a value".to_owned())
        }
        _ => None,
    }
}

/// What is wrong with what was given, by field; what is missing is no mistake yet.
fn mistakes<T: TenantModel>(given: &Texts) -> HashMap<String, String> {
    let errors = from_text::<T>(given).err().unwrap_or_default();
    let others = fields::<T>().filter_map(|field| {
        let mistake = no_value(field, given.get(field.name)?)?;
        Some((field.name.to_owned(), mistake))
    });
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
        .chain(others)
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
                option::<T>(field),
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
                option::<T>(field)
            ))
        }
        FieldError::Unknown { .. } => None,
    };
    let or_itself = |error: &FieldError| line(error).unwrap_or_else(|| error.to_string());
    errors.iter().map(or_itself).collect()
}

/// Asks for every field that was not given, and for those that were given wrong.
fn ask_for_the_rest<T: TenantModel>(
    given: &mut Texts,
    mistakes: &HashMap<String, String>,
    source: Option<&T>,
    context: &Context<T>,
) -> Result<(), Failure> {
    for field in fields::<T>() {
        if let Some(mistake) = mistakes.get(field.name) {
            ui::usage(&format!("--{}: {mistake}", option::<T>(field)));
        } else if let Some(text) = given.get(field.name) {
            match field.role {
                // What was given may still be taken.
                FieldRole::SchemaName | FieldRole::DomainUrl => {
                    match check(field, text, given, context) {
                        Ok(()) => continue,
                        Err(Refused::Answer(mistake)) => {
                            ui::usage(&format!("--{}: {mistake}", option::<T>(field)));
                        }
                        Err(Refused::Failure(failure)) => return Err(failure),
                    }
                }
                _ => continue,
            }
        } else if source.is_some() && !is_own(field) {
            continue;
        }
        given.remove(field.name);
        let of_source = source.is_some() && !is_own(field);
        let default = field.default_text().filter(|_| !of_source);
        let shown = match &default {
            Some(default) => Some(default.as_str()),
            None if field.optional || of_source => Some(""),
            None => None,
        };
        let question = match (field.help.trim(), field.optional && default.is_none()) {
            ("", false) => field.name.to_owned(),
            ("", true) => format!("{} (optional)", field.name),
            (help, false) => format!("{} ({})", field.name, first_line(help)),
            (help, true) => format!("{} ({}, optional)", field.name, first_line(help)),
        };
        let answer = prompt::ask(&question, shown, |answer| {
            if answer.is_empty() && of_source {
                return Ok(String::new());
            }
            if answer.is_empty() && field.required() {
                return Err(format!("{} has to have a value", field.name).into());
            }
            let answer = as_stored(field, answer);
            check(field, &answer, given, context)?;
            Ok(answer)
        })?;
        if !(of_source && answer.is_empty()) {
            given.insert(field.name, answer);
        }
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
    given: &Texts,
    context: &Context<T>,
) -> Result<(), Refused> {
    if field.role == FieldRole::SchemaName {
        check_schema(text, context.tenancy()?)?;
    }
    let mut with = given.clone();
    with.insert(field.name, text.to_owned());
    if let Some(mistake) = mistakes::<T>(&with).remove(field.name) {
        return Err(mistake.into());
    }
    if !matches!(field.role, FieldRole::SchemaName | FieldRole::DomainUrl) {
        return Ok(());
    }
    let mut conn = context.tenancy()?.public()?;
    let found = match field.role {
        FieldRole::SchemaName => T::by_schema(&mut conn, text)?,
        _ => T::by_domain(&mut conn, text)?,
    };
    match found {
        Some(tenant) => Err(format!("{text} is taken by tenant {}", tenant.schema_name()).into()),
        None => Ok(()),
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

/// The domains that were given, and answers for those that were not, or that are wrong or taken.
fn good_domains<T: TenantModel>(
    given: Vec<String>,
    context: &Context<T>,
) -> Result<Vec<String>, Failure> {
    let mut domains = Vec::new();
    let mut asks = given.is_empty();
    for domain in given {
        match good_domain(&domain, context) {
            Ok(domain) => domains.push(domain),
            Err(Refused::Answer(mistake)) => {
                ui::usage(&format!("--{DOMAIN}: {mistake}"));
                asks = true;
            }
            Err(Refused::Failure(failure)) => return Err(failure),
        }
    }
    while asks {
        let question = if domains.is_empty() {
            "primary domain (optional)"
        } else {
            "another domain (optional)"
        };
        let answer = prompt::ask(question, Some(""), |answer| {
            if answer.is_empty() {
                return Ok(None);
            }
            good_domain(answer, context).map(Some)
        })?;
        match answer {
            Some(domain) => domains.push(domain),
            None => asks = false,
        }
    }
    Ok(domains)
}

/// A domain that nobody has yet.
fn good_domain<T: TenantModel>(text: &str, context: &Context<T>) -> Result<String, Refused> {
    let domain = host(text)?;
    let mut conn = context.tenancy()?.public()?;
    match taken::<T>(&domain, &mut conn)? {
        Some(mistake) => Err(mistake.into()),
        None => Ok(domain),
    }
}
