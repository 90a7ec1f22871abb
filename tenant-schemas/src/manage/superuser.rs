//! `create_tenant_superuser`, and the part of `create_tenant` that makes one.

use std::env;

use clap::Parser;
use diesel::result::Error as DieselError;

use crate::auth::{AuthError, NewUser, Password, Superusers};
use crate::error::{BoxError, Error, chain};
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use super::context::Context;
use super::outcome::{Done, Exit, Failure};
use super::prompt::{self, Refused};
use super::tenant_command::{choose_one, connect};
use super::ui;

/// Where the password comes from if nobody can be asked.
const PASSWORD: &str = "TENANT_SUPERUSER_PASSWORD";

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Credentials {
    /// The superuser's name.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Where to reach them.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Read the password from the first line of standard input; otherwise it is `TENANT_SUPERUSER_PASSWORD` of the environment, or asked for.
    #[arg(long)]
    password_stdin: bool,
}

impl Credentials {
    /// The long names of the options.
    pub(super) const OPTIONS: [&str; 3] = ["username", "email", "password-stdin"];

    /// Whether anything was given.
    pub(super) fn any(&self) -> bool {
        self.username.is_some() || self.email.is_some() || self.password_stdin
    }

    /// What is missing, if nobody can be asked.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.username.is_none() {
            missing.push("--username=<NAME> is missing".to_owned());
        }
        if !self.password_stdin && password_of_environment().is_none() {
            missing.push(format!(
                "the password is missing: set {PASSWORD}, or give `--password-stdin`"
            ));
        }
        missing
    }

    /// The user, with everything that was not given asked for, if somebody can be asked.
    ///
    /// `taken` says whether there is a user of that name, and why it can be no name.
    pub(super) fn user<T: TenantModel>(
        &self,
        asks: bool,
        context: &Context<T>,
        mut taken: impl FnMut(&str) -> Result<(), Refused>,
    ) -> Result<NewUser, Failure> {
        let mut given = self.username.clone();
        if let Some(username) = &given {
            match taken(username) {
                Err(Refused::Answer(mistake)) if asks => {
                    ui::usage(&format!("--username: {mistake}"));
                    given = None;
                }
                checked => checked?,
            }
        }
        let username = match given {
            Some(username) => username,
            None if asks => prompt::ask("username", None, |answer| {
                if answer.is_empty() {
                    return Err("a superuser has a name".to_owned().into());
                }
                taken(answer).map(|()| answer.to_owned())
            })?,
            None => return Err(Failure::usage(self.missing().join("\n  "))),
        };
        let email = match &self.email {
            Some(email) => email.clone(),
            None if asks => {
                prompt::ask("email (optional)", Some(""), |answer| Ok(answer.to_owned()))?
            }
            None => String::new(),
        };
        let password = if self.password_stdin {
            context.first_line()?.to_owned()
        } else if let Some(password) = password_of_environment() {
            password
        } else if asks {
            prompt::ask_password(|password| check(password).map_err(|error| error.to_string()))?
        } else {
            return Err(Failure::usage(self.missing().join("\n  ")));
        };
        check(&password).map_err(|error| Failure::usage(error.to_string()))?;
        let user = NewUser::new(username, password);
        Ok(if email.is_empty() {
            user
        } else {
            user.email(email)
        })
    }
}

/// Refuses what can be no superuser's name, before there is a schema in which it could be taken.
///
/// The public schema is asked, which need not have users: whatever else is wrong there says nothing.
pub(super) fn can_be_a_name<T: TenantModel>(
    name: &str,
    superusers: &dyn Superusers,
    tenancy: &Tenancy<T>,
) -> Result<(), Refused> {
    match superusers.exists(&mut *tenancy.public()?, name) {
        Err(error) if matches!(error.downcast_ref(), Some(AuthError::Username { .. })) => {
            Err(error.to_string().into())
        }
        _ => Ok(()),
    }
}

/// Why a name can't be a superuser's. That the database can't be asked is no fault of the name.
fn no_name(error: BoxError) -> Refused {
    let of_the_database = error.is::<Error>()
        || error.is::<DieselError>()
        || matches!(error.downcast_ref(), Some(AuthError::Tenancy(_)));
    if of_the_database {
        Refused::Failure(error.into())
    } else {
        Refused::Answer(chain(&*error))
    }
}

fn check(password: &str) -> Result<(), AuthError> {
    Password::from(password).check()
}

fn password_of_environment() -> Option<String> {
    env::var(PASSWORD)
        .ok()
        .filter(|password| !password.is_empty())
}

/// Creates a superuser in one tenant
///
/// What is not given is asked for on a terminal, the password twice and without showing it. In scripts
/// the password comes from the environment (`TENANT_SUPERUSER_PASSWORD`) or from standard input
/// (`--password-stdin`); an option for it would be seen in the list of processes. Stored is a salted hash,
/// in that tenant only.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// The tenant's schema; asked for if it is not given.
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    /// Ask nothing.
    #[arg(long, alias = "no-input")]
    noinput: bool,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let asks = context.ui.interactive && !args.noinput;
    if !asks {
        let mut missing = args.credentials.missing();
        if args.schema.is_none() {
            missing.insert(0, "--schema=<NAME> is missing".to_owned());
        }
        if !missing.is_empty() {
            return Err(Failure::usage(format!(
                "the superuser can't be created:\n  {}",
                missing.join("\n  ")
            )));
        }
    }
    let target = choose_one(args.schema.as_deref(), context)?;
    let mut conn = connect(context.tenancy()?, &target)?;
    let superusers = &context.superusers;
    // That there is no table of users is said before anything is asked.
    superusers.exists(&mut conn, "admin")?;
    let user = args.credentials.user(asks, context, |name| {
        match superusers.exists(&mut conn, name) {
            Ok(false) => Ok(()),
            Ok(true) => {
                Err(format!("{name} is taken in {}: choose another name", target.schema).into())
            }
            Err(error) => Err(no_name(error)),
        }
    })?;
    let name = user.username.clone();
    superusers.create_superuser(&mut conn, user)?;
    context
        .ui
        .note(&format!("Superuser {name} of {} is there.", target.schema));
    Ok(Exit::Done)
}
