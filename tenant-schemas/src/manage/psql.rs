//! `psql`: the client of PostgreSQL, turned to one schema.

use std::process::Command;

use clap::Parser;

use crate::model::TenantModel;

use super::context::Context;
use super::interrupt;
use super::outcome::{Done, Exit, Failure};
use super::targets;

/// Opens psql with a schema's search path
///
/// The connection is the program's own, unqualified names are the tenant's. What follows SCHEMA goes to
/// psql, whose exit code is that of this command.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  psql tenant1
  psql tenant1 -c 'SELECT count(*) FROM rooms'")]
pub(super) struct Args {
    /// A tenant's schema, or the public one, and arguments for psql.
    // One argument for both: with two, an option right behind the schema would be ours.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_names = ["SCHEMA", "ARGS"],
        num_args = 1..
    )]
    args: Vec<String>,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let tenancy = context.tenancy()?;
    let (schema, args) = args
        .args
        .split_first()
        .ok_or_else(|| Failure::usage("which schema?"))?;
    let target = targets::one(tenancy, schema)?;
    // A missing schema would be skipped in silence, and `public` be read.
    drop(tenancy.schema(&target.schema)?);
    let registry = tenancy.registry();
    let path = registry.policy.path(&target.schema).to_string();
    let address = Address::of(&registry.database_url);
    let mut options = address.options.clone().unwrap_or_default();
    if !options.is_empty() {
        options.push(' ');
    }
    options.push_str("-c search_path=");
    options.push_str(&escaped(&path));
    let mut command = Command::new("psql");
    command.args(["-d", &address.with_options(&options)]);
    command.args(args).env("PGOPTIONS", &options);
    if let Some(password) = &address.password {
        command.env("PGPASSWORD", password);
    }
    let _mode = interrupt::child();
    let status = command.status().map_err(|error| {
        Failure::Error(
            format!("psql can't be started ({error}): install PostgreSQL's client, and have it on the PATH")
                .into(),
        )
    })?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(Exit::Interrupted, Exit::Other))
}

/// A value as libpq's `options` take it: a backslash before what would end it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

/// A database URL without what must not be seen in the list of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// Everything but the password and the options.
    url: String,
    password: Option<String>,
    options: Option<String>,
}

impl Address {
    fn of(url: &str) -> Self {
        let whole = Self {
            url: url.to_owned(),
            password: None,
            options: None,
        };
        let Some((scheme, rest)) = url.split_once("://") else {
            return whole;
        };
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let end = before.find('/').unwrap_or(before.len());
        let (authority, path) = before.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(decoded(password))),
            None => (user, None),
        };
        let user = user.map_or_else(String::new, |user| format!("{user}@"));
        let mut parameters: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
        let mut options = None;
        parameters.retain(|part| match part.strip_prefix("options=") {
            Some(value) => {
                options = Some(decoded(value));
                false
            }
            None => true,
        });
        let query = if parameters.is_empty() {
            String::new()
        } else {
            format!("?{}", parameters.join("&"))
        };
        Self {
            url: format!("{scheme}://{user}{host}{path}{query}"),
            password,
            options,
        }
    }

    /// Options of the URL win over the environment's, so they have to be there.
    fn with_options(&self, options: &str) -> String {
        if self.url.contains("://") {
            return self.url.clone();
        }
        // Of two of a kind, libpq takes the last.
        let quoted = options.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{} options='{quoted}'", self.url)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = hex {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_leaves_the_url() {
        let address = Address::of("postgres://u:p%40ss@h:5/db?sslmode=require&options=-c%20a%3D1");
        assert_eq!(address.url, "postgres://u@h:5/db?sslmode=require");
        assert_eq!(address.password.as_deref(), Some("p@ss"));
        assert_eq!(address.options.as_deref(), Some("-c a=1"));
        let plain = Address::of("postgresql://postgres@%2Ftmp:5432/db");
        assert_eq!(plain.url, "postgresql://postgres@%2Ftmp:5432/db");
        assert_eq!(plain.password, None);
    }

    #[test]
    fn a_path_survives_the_options() {
        assert_eq!(escaped("\"a\", \"public\""), "\"a\",\\ \"public\"");
        let address = Address::of("host=h dbname=d");
        assert_eq!(
            address.with_options("-c search_path=\"a\",\\ \"b\""),
            "host=h dbname=d options='-c search_path=\"a\",\\\\ \"b\"'"
        );
    }
}
