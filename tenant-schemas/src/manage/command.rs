//! [`TenantCommand`] and [`PlainCommand`]: what users add to the command line.

use std::io::Write;

use clap::{ArgMatches, Args, FromArgMatches as _};

use crate::connection::TenantConnection;
use crate::error::BoxError;
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

/// A command that runs in the connection of a tenant: on one, or on many, several at once if so asked.
pub trait TenantCommand: Send + Sync + 'static {
    /// The command's name on the command line.
    const NAME: &'static str;

    /// What the command does, in a line of the help.
    const ABOUT: &'static str;

    /// The command's own arguments.
    type Args: clap::Args + Send + Sync;

    /// Runs the command for one tenant.
    ///
    /// `conn` is turned to the tenant; [`TenantConnection::tenant`] is its row,
    /// and nothing if the command runs on the public schema. What is written to
    /// `out` is the result, and reaches standard output in one piece.
    ///
    /// # Errors
    ///
    /// Whatever went wrong. It is reported for this tenant, and the others go on.
    fn run(
        &self,
        args: &Self::Args,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
    ) -> Result<(), BoxError>;
}

/// A command that gets the tenancy, and runs once.
///
/// It is given no tenant's connection. If it has an option `--schema`,
/// `tenant_command` fills that in, and `all_tenants_command` runs it for each
/// schema; if not, they refuse it.
pub trait PlainCommand<T: TenantModel>: 'static {
    /// The command's name on the command line.
    const NAME: &'static str;

    /// What the command does, in a line of the help.
    const ABOUT: &'static str;

    /// The command's own arguments.
    type Args: clap::Args;

    /// Runs the command. What is written to `out` is the result, on standard output.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is printed with its causes, and the exit code is 1.
    fn run(
        &self,
        args: &Self::Args,
        tenancy: &Tenancy<T>,
        out: &mut dyn Write,
    ) -> Result<(), BoxError>;
}

/// A [`TenantCommand`] whose type of arguments is forgotten.
pub(super) trait DynTenantCommand: Send + Sync {
    fn name(&self) -> &'static str;

    /// The command with its own arguments alone.
    fn clap(&self) -> clap::Command;

    /// Reads the arguments, once for all tenants.
    fn parse<'a>(&'a self, matches: &ArgMatches) -> Result<Box<Job<'a>>, clap::Error>;
}

/// A command and its arguments, ready for a tenant.
pub(super) type Job<'a> =
    dyn Fn(&mut TenantConnection, &mut dyn Write) -> Result<(), BoxError> + Send + Sync + 'a;

impl<C: TenantCommand> DynTenantCommand for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn clap(&self) -> clap::Command {
        C::Args::augment_args(clap::Command::new(C::NAME).about(C::ABOUT)).about(C::ABOUT)
    }

    fn parse<'a>(&'a self, matches: &ArgMatches) -> Result<Box<Job<'a>>, clap::Error> {
        let args = C::Args::from_arg_matches(matches)?;
        Ok(Box::new(move |conn, out| self.run(&args, conn, out)))
    }
}
