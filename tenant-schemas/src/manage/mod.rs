//! The command line (feature `manage`): every command of the guide, in a binary of yours.
//!
//! ```no_run
//! # mod schema { diesel::table! { clients (id) { id -> Integer, schema_name -> Text, domain_url -> Text, } } }
//! # use schema::clients;
//! # use diesel::prelude::*;
//! # use tenant_schemas::{SchemaName, Tenancy, TenantModel};
//! # #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
//! # #[diesel(table_name = clients)]
//! # struct Client { id: i32, schema_name: SchemaName, domain_url: String }
//! use std::io::Write;
//!
//! use tenant_schemas::manage::{TenantCommand, clap};
//! use tenant_schemas::{BoxError, TenantConnection};
//!
//! struct Greet;
//!
//! #[derive(clap::Args)]
//! struct GreetArgs {
//!     /// Whom to greet.
//!     #[arg(long, default_value = "world")]
//!     name: String,
//! }
//!
//! impl TenantCommand for Greet {
//!     const NAME: &'static str = "greet";
//!     const ABOUT: &'static str = "Greets from each tenant";
//!     type Args = GreetArgs;
//!
//!     fn run(
//!         &self,
//!         args: &GreetArgs,
//!         conn: &mut TenantConnection,
//!         out: &mut dyn Write,
//!     ) -> Result<(), BoxError> {
//!         if let Some(schema) = conn.schema_name() {
//!             writeln!(out, "hello {}, from {schema}", args.name)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() {
//!     // A closure: `--help` and mistakes in the usage need no database.
//!     tenant_schemas::manage(|| Tenancy::<Client>::builder(std::env::var("DATABASE_URL")?).build().map_err(BoxError::from))
//!         .command(Greet)
//!         .run()
//! }
//! ```
//!
//! # The fields of a tenant
//!
//! The commands that make tenants have an option for each field of the model
//! that text can give: `--name`, `--paid_until`. A field whose name another
//! option has already gets one with `tenant-` in front: where there is a field
//! `email`, that is `--tenant-email`, as `--email` is the superuser's.
//!
//! # What the process says
//!
//! Results are on standard output, for people, or for programs with `--format
//! json|tsv`; everything else is on standard error. The exit code is 0 if all
//! was done, 1 if something failed, 2 if the usage was wrong, 3 if
//! `migrate_schemas --check` found migrations that are pending, and 130 if the
//! work was interrupted and some is left. Signals that the process was started to ignore, as by `nohup` or
//! `&` in a script, are left alone, and then the others end it at once, as they end any program.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where nobody reads: `output::print` and `ui::say` don't"
)]

mod address;
mod all_tenants_command;
mod app;
mod clash;
mod clone_tenant;
mod command;
mod context;
mod create_missing_schemas;
mod create_tenant;
mod delete_tenant;
mod doctor;
mod domains;
mod dump_tenant;
mod entry;
mod exec;
mod fields;
mod fixtures;
mod fleet;
mod form;
mod host;
mod interrupt;
mod list_tenants;
mod migrate_schemas;
mod options;
mod outcome;
mod output;
mod progress;
mod prompt;
mod psql;
mod ready_schemas;
mod rename_schema;
mod report;
mod show_migrations;
mod standalone;
mod status;
mod superuser;
mod sync_schemas;
mod table;
mod targets;
mod tenant_command;
mod ui;
mod watch;
mod width;

use std::ffi::OsString;
use std::fmt;
use std::process;

use crate::auth::{Auth, Superusers};
use crate::error::BoxError;
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use self::command::DynTenantCommand;
use self::entry::Entry;

pub use self::command::{PlainCommand, TenantCommand};
/// The crate that parses the command line, for the arguments of your own commands.
pub use clap;

/// Makes a command line for a tenancy, or for a closure that builds one.
///
/// The closure is called by the first command that needs the database, so that
/// `--help`, shell completions and mistakes in the usage need none.
pub fn manage<T: TenantModel>(tenancy: impl IntoTenancy<T>) -> Manage<T> {
    Manage {
        source: Box::new(move || tenancy.into_tenancy()),
        commands: Vec::new(),
        tenant_commands: vec![
            Box::new(fixtures::Load::default()) as Box<dyn DynTenantCommand>,
            Box::new(fixtures::Dump),
        ],
        superusers: Box::new(Auth),
        about: None,
    }
}

type Source<T> = Box<dyn FnOnce() -> Result<Tenancy<T>, BoxError>>;

/// What a command line can be made for: a tenancy, or a closure that builds one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tenancy and no closure that builds one",
    note = "give a `Tenancy<T>`, or a closure that returns `Result<Tenancy<T>, E>`"
)]
pub trait IntoTenancy<T: TenantModel>: 'static {
    /// Builds the tenancy, if that has not been done.
    ///
    /// # Errors
    ///
    /// Whatever the closure returns.
    fn into_tenancy(self) -> Result<Tenancy<T>, BoxError>;
}

impl<T: TenantModel> IntoTenancy<T> for Tenancy<T> {
    fn into_tenancy(self) -> Result<Tenancy<T>, BoxError> {
        Ok(self)
    }
}

impl<T, F, E> IntoTenancy<T> for F
where
    T: TenantModel,
    F: FnOnce() -> Result<Tenancy<T>, E> + 'static,
    E: Into<BoxError>,
{
    fn into_tenancy(self) -> Result<Tenancy<T>, BoxError> {
        self().map_err(Into::into)
    }
}

/// A command line. Made by [`manage`].
#[must_use = "nothing happens until `run` is called"]
pub struct Manage<T: TenantModel> {
    source: Source<T>,
    /// The user's own commands that run without a tenant.
    commands: Vec<Entry<T>>,
    tenant_commands: Vec<Box<dyn DynTenantCommand>>,
    superusers: Box<dyn Superusers>,
    about: Option<String>,
}

impl<T: TenantModel> Manage<T> {
    /// Adds a command that runs in the connection of a tenant.
    ///
    /// Under its own name it runs on every tenant, with `--schema`, `--exclude`,
    /// `--jobs` and `--fail-fast`; `tenant_command` runs it on one, and
    /// `all_tenants_command` on the public schema as well.
    ///
    /// # Panics
    ///
    /// If there is a command of that name, in either spelling, or one of its options
    /// is one that every tenant command has: `-v`, `--verbosity`, `-h`, `--help`, `-s`,
    /// `--schema`, `--exclude`, `--jobs`, `--fail-fast`, `--no-public`.
    pub fn command(mut self, command: impl TenantCommand) -> Self {
        let command: Box<dyn DynTenantCommand> = Box::new(command);
        clash::refuse_options_of_tenant_commands(&command.clap());
        self.check_name(command.name());
        self.tenant_commands.push(command);
        self
    }

    /// Adds a command that gets the tenancy, and runs once.
    ///
    /// # Panics
    ///
    /// If there is a command of that name, in either spelling, or one of its options
    /// is one that every command has: `-v`, `--verbosity`, `-h`, `--help`. With an option `--schema`, also if
    /// one is read by `tenant_command` or `all_tenants_command`: `-s` for something else, `--exclude`,
    /// `--no-public`, and, unless `--schema` can be given repeatedly, `--jobs` and `--fail-fast`.
    pub fn plain_command(mut self, command: impl PlainCommand<T>) -> Self {
        let entry = Entry::plain(command);
        clash::refuse_options(&entry.clap, entry.takes);
        self.check_name(entry.name);
        self.commands.push(entry);
        self
    }

    /// Says who stores superusers, for a program with users of its own. Defaults to [`Auth`].
    pub fn superusers(self, superusers: impl Superusers + 'static) -> Self {
        Self {
            superusers: Box::new(superusers),
            ..self
        }
    }

    /// Says what the program is, at the top of its help.
    pub fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }

    /// Runs the command that the arguments of the process name, and ends the process.
    pub fn run(self) -> ! {
        let code = self.run_from(std::env::args_os());
        process::exit(code.into())
    }

    /// Runs the command that `args` name, the program's name first, and returns the exit code.
    pub fn run_from<I, A>(self, args: I) -> u8
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString> + Clone,
    {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        entry::run(self, &args).code()
    }

    fn check_name(&self, name: &str) {
        clash::refuse_name(name, &entry::names(&self.commands, &self.tenant_commands));
    }
}

impl<T: TenantModel> fmt::Debug for Manage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manage")
            .field(
                "commands",
                &entry::names(&self.commands, &self.tenant_commands),
            )
            .finish_non_exhaustive()
    }
}
