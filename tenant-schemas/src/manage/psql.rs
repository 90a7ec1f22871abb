//! `psql`: the client of PostgreSQL, turned to one schema.

use std::process::{Command, ExitStatus, Stdio};
use std::{env, io};

use clap::Parser;

use crate::model::TenantModel;

use super::address::Address;
use super::context::Context;
use super::interrupt;
use super::outcome::{Done, Exit, Failure};
use super::targets;

/// Opens psql with a schema's search path
///
/// It connects as the program does, with the options of the database URL, or else those of `PGOPTIONS`; what
/// the program's `on_connect` sets is not there. Unqualified names are the tenant's: if the path does not
/// arrive, psql is not started. The database is the program's, and another (`-d`) is refused. What follows
/// SCHEMA goes to psql, whose exit code is that of this command.
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
    if names_database(args) {
        return Err(Failure::usage(
            "psql would go to the database of its own `-d`, where nobody looks which schema it is in: \
             leave `-d` out, or set DATABASE_URL to what it names",
        ));
    }
    let target = targets::one(tenancy, schema)?;
    // A missing schema would be skipped in silence, and `public` be read.
    drop(tenancy.schema(&target.schema)?);
    let registry = tenancy.registry();
    let path = registry.policy.path(&target.schema).to_string();
    let address = Address::of(&registry.database_url);
    let inherited = address
        .options
        .clone()
        .or_else(|| env::var("PGOPTIONS").ok());
    let options = format!(
        "{} -c search_path={}",
        inherited.unwrap_or_default(),
        escaped(&path)
    );
    let psql = Psql {
        address: address.with_options(&options),
        options,
    };
    let _mode = interrupt::child();
    // Whoever has the options in between may not pass them on: in `public`, everything would look alike.
    let looked = psql
        .command()
        .args(["-XAtqw", "-c", "SHOW search_path"])
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(not_started)?;
    if !looked.status.success() {
        return Ok(exit(looked.status));
    }
    let found = String::from_utf8_lossy(&looked.stdout);
    let found = found.trim_end_matches(['\r', '\n']);
    if found != path {
        return Err(Failure::Error(
            format!(
                "psql would not be in schema {}: its search path would be {found}, and not {path}, which goes \
                 with the `options` of the connection. If its `service` has options of its own, write them \
                 into the database URL; if a pooler ignores options, connect to the server itself",
                target.schema
            )
            .into(),
        ));
    }
    let status = psql.command().args(args).status().map_err(not_started)?;
    Ok(exit(status))
}

/// Whether psql would connect elsewhere, by `-d` or `--dbname`, however they are written.
fn names_database(args: &[String]) -> bool {
    // Those with a value, which may look like an option.
    let short = "cdfFhLoPpRTUv";
    let long = "command dbname field-separator file host log-file output port pset record-separator set \
                table-attr username variable";
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if arg == "--" {
            return false;
        }
        let (is_database, value_follows) = if let Some(option) = arg.strip_prefix("--") {
            // It may be cut short.
            let name = option.split('=').next().unwrap_or_default();
            let takes_value = long.split(' ').any(|long| long.starts_with(name));
            ("dbname".starts_with(name), takes_value && name == option)
        } else if let Some(options) = arg.strip_prefix('-') {
            let first = options.find(|option| short.contains(option));
            let from_there = first.map_or("", |first| &options[first..]);
            (from_there.starts_with('d'), from_there.len() == 1)
        } else {
            (false, false)
        };
        if is_database {
            return true;
        }
        if value_follows {
            args.next();
        }
    }
    false
}

/// How psql is called.
struct Psql {
    address: Address,
    /// The options of the connection, the path among them.
    options: String,
}

impl Psql {
    fn command(&self) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-d", &self.address.url])
            .env("PGOPTIONS", &self.options);
        if let Some(password) = &self.address.password {
            command.env("PGPASSWORD", password);
        }
        command
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn not_started(error: io::Error) -> Failure {
    let message = format!(
        "psql can't be started ({error}): install PostgreSQL's client, and have it on the PATH"
    );
    Failure::Error(message.into())
}

fn exit(status: ExitStatus) -> Exit {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(Exit::Interrupted, Exit::Other)
}

/// A value as `options` take it: a backslash before what would end it.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for one in value.chars() {
        if one == '\\' || one.is_ascii_whitespace() {
            escaped.push('\\');
        }
        escaped.push(one);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_is_seen_and_what_looks_like_one_is_not() {
        let named = |args: &str| {
            let args: Vec<String> = args.split(' ').map(ToOwned::to_owned).collect();
            names_database(&args)
        };
        for args in [
            "-d x",
            "-dx",
            "-Atd x",
            "-d",
            "--dbname x",
            "--dbname=x",
            "--db=x",
            "-c 1 -d x",
            "--command=1 -d x",
            "x -d y",
            "-v a=1 -dx",
            "--no-psqlrc -d x",
            "-1d x",
        ] {
            assert!(named(args), "{args}");
        }
        for args in [
            "",
            "x",
            "-c -d",
            "-Atc -d",
            "-cd",
            "--command -d",
            "--comm -d",
            "-- -d",
            "-vd=1",
            "--set d=1",
            "-v d=1",
            "-AtF d",
            "--no-psqlrc",
        ] {
            assert!(!named(args), "{args}");
        }
    }

    #[test]
    fn a_path_survives_the_options() {
        assert_eq!(escaped("\"a\", \"public\""), "\"a\",\\ \"public\"");
    }
}
