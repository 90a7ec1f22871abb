//! `dump_tenant` and `restore_tenant`: a tenant as a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Parser};
use diesel::Connection as _;

use crate::dump::{DumpOptions, DumpTenant as _, RestoreOptions};
use crate::error::BoxError;
use crate::model::TenantModel;

use super::context::Context;
use super::entry::Entry;
use super::form;
use super::options;
use super::outcome::{Done, Exit, Failure};
use super::table::count;
use super::targets;
use super::ui;

/// Writes a tenant's schema as SQL
///
/// The file is for `restore_tenant`, which takes it into any schema, and for psql. The tenant's row is
/// not in it. Only that schema is read, however many there are, and it is as it was at one moment.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  dump_tenant tenant1 --output tenant1.sql
  dump_tenant tenant1 | gzip > tenant1.sql.gz")]
pub(super) struct Args {
    /// The tenant's schema.
    #[arg(value_name = "SCHEMA", required_unless_present = "schema")]
    name: Option<String>,
    /// The tenant's schema, as other commands take it.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    schema: Option<String>,
    /// Where to write. Defaults to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave the rows out.
    #[arg(long)]
    no_data: bool,
}

pub(super) fn dump<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let name = args
        .name
        .as_deref()
        .or(args.schema.as_deref())
        .ok_or_else(|| Failure::usage("which tenant?"))?;
    let tenancy = context.tenancy()?;
    let tenant = targets::tenant(tenancy, name)?;
    let options = DumpOptions::new().data(!args.no_data);
    let mut conn = tenancy.public()?;
    let file = args.output.as_deref();
    let warnings = match file.filter(|path| stream(path).is_none_or(|number| number != "1")) {
        None => {
            let mut out = Pipe::new(BufWriter::new(io::stdout().lock()));
            let result = tenant.dump_to(&mut conn, &mut out, options);
            if out.broken {
                return Err(Failure::Error(
                    "nobody reads the dump any more: it is not whole".into(),
                ));
            }
            result?
        }
        Some(path) => whole_file(path, |out| Ok(tenant.dump_to(&mut conn, out, options)?))?,
    };
    for warning in &warnings {
        ui::warn(warning);
    }
    if let Some(path) = &args.output {
        context
            .ui
            .note(&format!("Tenant {name} is in {}.", path.display()));
    }
    Ok(Exit::Done)
}

/// The number of the open stream of this process that a path leads to, as `/dev/stdout` does.
fn stream(path: &Path) -> Option<OsString> {
    let streams: Vec<PathBuf> = ["/proc/self/fd", "/dev/fd"]
        .into_iter()
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .collect();
    let mut path = path.to_owned();
    // As many links as systems follow.
    for _ in 0..40 {
        let directory = match path.parent()? {
            none if none.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        let directory = fs::canonicalize(directory).ok()?;
        if streams.contains(&directory) {
            return path.file_name().map(ToOwned::to_owned);
        }
        path = directory.join(fs::read_link(&path).ok()?);
    }
    None
}

/// Writes a file that is there in the end whole or not at all. What is no file, as a pipe, is written to,
/// and so is what is open already.
fn whole_file<R>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<R, BoxError>,
) -> Result<R, Failure> {
    let stream = stream(path);
    // Not the link is replaced, but what it leads to.
    let led_to = fs::canonicalize(path).ok().filter(|_| stream.is_none());
    let path = led_to.as_deref().unwrap_or(path);
    if stream.is_some() || fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let failed = |error: io::Error| format!("{} can't be written: {error}", path.display());
        let out: io::Result<Box<dyn Write>> = match stream {
            Some(number) if number == "2" => Ok(Box::new(io::stderr())),
            // It is opened anew, and what is there is to stay.
            Some(_) => File::options()
                .append(true)
                .open(path)
                .map(|out| Box::new(out) as Box<dyn Write>),
            None => File::create(path).map(|out| Box::new(out) as Box<dyn Write>),
        };
        let mut out = BufWriter::new(out.map_err(failed).map_err(BoxError::from)?);
        let result = write(&mut out)?;
        out.flush().map_err(failed).map_err(BoxError::from)?;
        return Ok(result);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let failed = |error: io::Error| {
        Failure::Error(format!("{} can't be written: {error}", part.display()).into())
    };
    let mut out = BufWriter::new(File::create(&part).map_err(failed)?);
    let result = write(&mut out).and_then(|value| {
        out.flush()?;
        // A crash must not leave a file of that name which is not whole.
        out.get_ref().sync_all()?;
        fs::rename(&part, path)?;
        Ok(value)
    });
    if result.is_err() {
        let _ = fs::remove_file(&part);
    }
    Ok(result?)
}

/// Remembers that nobody reads any more.
struct Pipe<W> {
    inner: W,
    broken: bool,
}

impl<W> Pipe<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            broken: false,
        }
    }

    fn note<R>(&mut self, result: io::Result<R>) -> io::Result<R> {
        if let Err(error) = &result {
            self.broken |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(text);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}

const NAME: &str = "restore_tenant";
const FILE: &str = "file";
const MIGRATE: &str = "migrate";

/// `restore_tenant` for the tenancy's model.
pub(super) fn restore_entry<T: TenantModel>() -> Entry<T> {
    let clap = clap::Command::new(NAME)
        .about("Creates a tenant whose schema comes out of a dump")
        .long_about(
            "Creates a tenant whose schema comes out of a file of `dump_tenant`, under any name. \
             All or nothing: if anything fails, nothing is left.\n\n\
             The options under `Tenant` are the fields of the tenant, as for `create_tenant`.",
        )
        .arg(
            Arg::new(FILE)
                .value_name("FILE")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("What `dump_tenant` wrote; `-` is standard input"),
        )
        .arg(
            Arg::new(MIGRATE)
                .long(MIGRATE)
                .action(ArgAction::SetTrue)
                .help("Run what is pending in the dump; without it that is an error"),
        );
    Entry::new(NAME, options::arguments::<T>(clap, options::note), restore)
}

fn restore<T: TenantModel>(matches: &ArgMatches, context: &Context<T>) -> Done {
    let path = matches
        .get_one::<PathBuf>(FILE)
        .ok_or_else(|| Failure::usage("which file?"))?;
    let file = path.display();
    let opened = match path.to_str() {
        Some("-") => None,
        _ => Some(
            File::open(path)
                .map_err(|error| Failure::Error(format!("{file} can't be read: {error}").into()))?,
        ),
    };
    let (mut tenant, domains) = form::tenant(matches, None, Vec::new(), context)?;
    // Not before the form is filled in: that reads the answers.
    let mut input: Box<dyn BufRead> = match opened {
        Some(opened) => Box::new(BufReader::new(opened)),
        None => Box::new(io::stdin().lock()),
    };
    let options = RestoreOptions::new().migrate(matches.get_flag(MIGRATE));
    let tenancy = context.tenancy()?;
    let copied = tenancy.public()?.transaction(|conn| {
        let copied = tenant.restore_from(conn, &mut input, options)?;
        form::insert_domains(&tenant, &domains, tenancy, conn)?;
        Ok::<_, BoxError>(copied)
    })?;
    for warning in &copied.warnings {
        ui::warn(warning);
    }
    for failure in &copied.saved.listener_failures {
        ui::warn(&failure.to_string());
    }
    targets::require_migrated(tenancy, tenant.schema_name())?;
    context.ui.note(&format!(
        "Tenant {} is ready: out of {file}, {}.",
        tenant.schema_name(),
        count(copied.saved.applied.len(), "new migration")
    ));
    Ok(Exit::Done)
}
