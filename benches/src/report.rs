//! What was found: a table, and JSON that says where and when.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use chrono::{SecondsFormat, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use crate::server::{Bench, SETTINGS};
use crate::{Result, plot};

/// A question, and what was measured to answer it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) question: String,
    /// The setting that is drawn from left to right.
    pub(crate) axis: String,
    /// The figures that are drawn over it.
    pub(crate) drawn: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One case in one setting.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) is_floor: bool,
    /// What is the same for the floor, such as `tenants`.
    pub(crate) setting: IndexMap<String, String>,
    /// Figures by their names, which end with their unit.
    pub(crate) figures: IndexMap<String, f64>,
}

/// What several cases have in common.
pub(crate) fn setting<const N: usize>(pairs: [(&str, String); N]) -> IndexMap<String, String> {
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    IndexMap::from(pairs)
}

/// A unit of time that suits a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
}

impl Unit {
    pub(crate) fn in_a_second(self) -> f64 {
        match self {
            Self::Nanoseconds => 1e9,
            Self::Microseconds => 1e6,
            Self::Milliseconds => 1e3,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
        })
    }
}

/// Where, when and how it was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    command: String,
    /// Which commit was measured, as far as Git can tell.
    #[serde(default)]
    commit: Option<String>,
    date: String,
    processor: String,
    cores: usize,
    /// How many processes wanted to run in the minute before.
    load: String,
    kernel: String,
    postgresql: String,
    settings: BTreeMap<String, String>,
    optimized: bool,
}

impl Run {
    pub(crate) fn describe(bench: &Bench) -> Result<Self> {
        let version = sql::<Text>("SELECT current_setting('server_version')");
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg")?;
        let arguments: Vec<String> = env::args().skip(1).collect();
        Ok(Self {
            command: format!(
                "cargo run --release -p tenant-schemas-benches -- {}",
                arguments.join(" ")
            ),
            commit: commit(),
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            postgresql: version.get_result(&mut bench.connect()?)?,
            settings: SETTINGS
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            optimized: !cfg!(debug_assertions),
        })
    }
}

/// The commit of the working directory, and whether something was changed since.
fn commit() -> Option<String> {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let commit = String::from_utf8(described.stdout).ok()?;
    Some(commit.trim().to_owned())
}

/// What is written to a file.
#[derive(Debug, Serialize, Deserialize)]
struct Document<R, G> {
    run: R,
    group: G,
}

/// Writes `GROUP.txt`, `GROUP.json` and `GROUP.svg` into a directory.
pub(crate) fn write(directory: &Path, run: &Run, group: &Group) -> Result<()> {
    fs::create_dir_all(directory)?;
    let file = |extension: &str| directory.join(&group.name).with_extension(extension);
    fs::write(file("txt"), text(run, group))?;
    let json = serde_json::to_string_pretty(&Document { run, group })?;
    fs::write(file("json"), json + "\n")?;
    plot::draw(&file("svg"), group)
}

/// Reads the group of a `GROUP.json`.
pub(crate) fn read(file: &Path) -> Result<Group> {
    let document: Document<Run, Group> = serde_json::from_slice(&fs::read(file)?)?;
    Ok(document.group)
}

/// A group as a table, below what it is and above where it comes from.
pub(crate) fn text(run: &Run, group: &Group) -> String {
    let mut text = format!("{}: {}\n\n", group.name, group.question);
    for line in aligned(&cells(&group.rows)) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let Run {
        command,
        commit,
        date,
        processor,
        cores,
        load,
        kernel,
        postgresql,
        ..
    } = run;
    let settings: Vec<String> = run
        .settings
        .iter()
        .map(|(name, value)| format!("{name} = '{value}'"))
        .collect();
    let commit = commit
        .as_deref()
        .map_or_else(String::new, |commit| format!(" at {commit}"));
    let _ = write!(
        text,
        "\n{command}{commit}\n{date}, {processor}, {cores} cores, load before {load}, Linux {kernel}\n\
         PostgreSQL {postgresql}, fsync on, {}\n",
        settings.join(", ")
    );
    if !run.optimized {
        text.push_str("not optimized: the times mean nothing\n");
    }
    text
}

/// The table's cells, the head in the first row.
fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    let settings: IndexSet<&String> = rows.iter().flat_map(|row| row.setting.keys()).collect();
    let figures: IndexSet<&String> = rows.iter().flat_map(|row| row.figures.keys()).collect();
    let head = settings.iter().chain(&figures).map(|name| (*name).clone());
    let mut table = vec![[String::from("case")].into_iter().chain(head).collect()];
    table.extend(rows.iter().map(|row| {
        let settings = settings.iter().map(|name| row.setting.get(*name).cloned());
        let figures = figures
            .iter()
            .map(|name| row.figures.get(*name).copied().map(short));
        let cells = settings
            .chain(figures)
            .map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
        [row.case.clone()].into_iter().chain(cells).collect()
    }));
    table
}

/// Three digits that count.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// The first column to the left, the others to the right.
fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        cells.fold(
            String::new(),
            |line, (column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{line}  {cell:>width$}"),
            },
        )
    };
    table.iter().map(line).collect()
}
