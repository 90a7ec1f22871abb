//! `--format`: results for people, or for programs.

use std::io::{self, Write as _};

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
