//! `--format`: results for people, or for programs.

use std::io::{self, Write};

use serde_json::Value;

use super::outcome::Failure;
use super::table::Table;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, for people.
    Table,
    /// One JSON document.
    Json,
    /// One line each, with tabs in between and no heading.
    Tsv,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Output {
    /// How results are written.
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(super) format: Format,
}

impl Format {
    /// Writes rows; `json` is asked for the document.
    pub(super) fn write(self, table: &Table, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        match self {
            Self::Table => print(&table.aligned()),
            Self::Tsv => print(&table.tsv()),
            Self::Json => print(&format!("{:#}\n", json())),
        }
    }
}

/// Standard output for a command that runs on, whether or not anyone reads what it writes.
pub(super) struct Out;

impl Write for Out {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        or_unread(io::stdout().write(text), text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        or_unread(io::stdout().flush(), ())
    }
}

fn or_unread<R>(written: io::Result<R>, unread: R) -> io::Result<R> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(unread),
        written => written,
    }
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes JSON objects, which are text already, as one array with a line for each.
pub(super) fn print_objects(objects: &[String]) -> Result<(), Failure> {
    if objects.is_empty() {
        return print("[]\n");
    }
    print(&format!("[\n  {}\n]\n", objects.join(",\n  ")))
}
