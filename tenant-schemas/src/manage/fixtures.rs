//! `load` and `dump`: the rows of a tenant's own tables as JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use diesel::Connection as _;
use serde_json::Value;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error};
use crate::name::SchemaName;
use crate::sql::fixtures::{self as sql, OwnTable};

use super::command::TenantCommand;

/// Commands that are found below `tenant_command` and `all_tenants_command`.
pub(super) const NAMES: [&str; 2] = [Load::NAME, Dump::NAME];

/// What the guide calls them.
pub(super) const NAMES_OF_THE_GUIDE: [&str; 2] = ["loaddata", "dumpdata"];

/// `load FILE…`
#[derive(Default)]
pub(super) struct Load {
    /// Standard input, which can be read once, for however many tenants.
    input: OnceLock<Result<String, String>>,
}

/// Fixtures are of the form `{"table": [{"column": value, ..}, ..], ..}`, as `dump` writes them. `null` is
/// SQL's, in columns that hold JSON too.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Files with rows, as `dump` writes them; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl TenantCommand for Load {
    const NAME: &'static str = "load";
    const ABOUT: &'static str = "Loads rows out of JSON files into the tenant's own tables";
    type Args = LoadArgs;

    fn run(
        &self,
        args: &LoadArgs,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        let schema = scope(conn)?;
        let mut total = 0;
        conn.transaction(|conn| {
            conn.own(sql::defer_constraints)?;
            for file in &args.files {
                let text = self
                    .text(file)
                    .map_err(|error| format!("{} can't be read: {error}", file.display()))?;
                total += load(conn, &schema, &text).map_err(|error| {
                    format!("{}: {}", file.display(), crate::error::chain(&*error))
                })?;
            }
            Ok::<_, BoxError>(())
        })?;
        writeln!(
            out,
            "{schema}: {} loaded",
            super::table::count(total, "row")
        )?;
        Ok(())
    }
}

impl Load {
    /// What is in a file, or on standard input.
    fn text(&self, file: &Path) -> Result<Cow<'_, str>, String> {
        if file.as_os_str() != "-" {
            let text = std::fs::read_to_string(file);
            return text.map(Cow::Owned).map_err(|error| error.to_string());
        }
        let read = || {
            let text = std::io::read_to_string(std::io::stdin());
            text.map_err(|error| error.to_string())
        };
        let text = self.input.get_or_init(read).as_ref();
        text.map(|text| text.as_str().into()).map_err(Clone::clone)
    }
}

fn load(conn: &mut TenantConnection, schema: &SchemaName, text: &str) -> Result<usize, BoxError> {
    let fixture: Value = serde_json::from_str(text)?;
    let Value::Object(fixture) = fixture else {
        return Err("a fixture is an object of tables: {\"table\": [{\"column\": value}]}".into());
    };
    let tables = in_order(conn.own(|inner| sql::own_tables(inner, schema))?);
    if let Some(unknown) = fixture
        .keys()
        .find(|name| !tables.iter().any(|table| table.name == **name))
    {
        let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        return Err(format!(
            "schema {schema} has no table {unknown:?} of its own; it has {}",
            known.join(", ")
        )
        .into());
    }
    let mut total = 0;
    for table in &tables {
        let Some(rows) = fixture.get(&table.name) else {
            continue;
        };
        for keys in key_sets(table, rows)? {
            total += conn
                .own(|inner| sql::insert_json(inner, schema, table, &keys, text))
                .map_err(|error| {
                    Error::database(format!("loading into table {}", table.name), error)
                })?;
        }
        conn.own(|inner| sql::advance_sequences(inner, schema, table))
            .map_err(|error| {
                Error::database(
                    format!("advancing the sequences of table {}", table.name),
                    error,
                )
            })?;
    }
    Ok(total)
}

/// The sets of columns that rows have; what a row does not have gets its default.
fn key_sets(table: &OwnTable, rows: &Value) -> Result<BTreeSet<Vec<String>>, BoxError> {
    let mistake = || {
        format!(
            "table {:?} has no list of rows: [{{\"column\": value}}]",
            table.name
        )
    };
    let mut sets = BTreeSet::new();
    for row in rows.as_array().ok_or_else(mistake)? {
        let row = row.as_object().ok_or_else(mistake)?;
        let mut keys: Vec<String> = row.keys().cloned().collect();
        keys.sort_unstable();
        let known = |key: &String| table.columns.contains(key) || table.generated.contains(key);
        if let Some(unknown) = keys.iter().find(|key| !known(key)) {
            return Err(format!(
                "table {} has no column {unknown:?}; it has {}",
                table.name,
                table.columns.join(", ")
            )
            .into());
        }
        sets.insert(keys);
    }
    Ok(sets)
}

/// `dump [TABLE…]`
pub(super) struct Dump;

#[derive(Debug, clap::Args)]
pub(super) struct DumpArgs {
    /// Only these tables. Defaults to all of the tenant's own.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

impl TenantCommand for Dump {
    const NAME: &'static str = "dump";
    const ABOUT: &'static str = "Prints the rows of the tenant's own tables as JSON, for `load`";
    type Args = DumpArgs;

    fn run(
        &self,
        args: &DumpArgs,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
    ) -> Result<(), BoxError> {
        let schema = scope(conn)?;
        conn.build_transaction()
            .repeatable_read()
            .read_only()
            .run(|conn| {
                let tables = in_order(conn.own(|inner| sql::own_tables(inner, &schema))?);
                if let Some(unknown) = args
                    .tables
                    .iter()
                    .find(|name| !tables.iter().any(|table| table.name == **name))
                {
                    return Err(
                        format!("schema {schema} has no table {unknown:?} of its own").into(),
                    );
                }
                let mut first = true;
                write!(out, "{{")?;
                for table in tables
                    .iter()
                    .filter(|table| args.tables.is_empty() || args.tables.contains(&table.name))
                {
                    let rows = conn.own(|inner| sql::rows_as_json(inner, &schema, table))?;
                    let comma = if first { "" } else { "," };
                    first = false;
                    write!(out, "{comma}\n{}: [", Value::from(table.name.as_str()))?;
                    if !rows.is_empty() {
                        write!(out, "\n  {}\n", rows.join(",\n  "))?;
                    }
                    write!(out, "]")?;
                }
                writeln!(out, "\n}}")?;
                Ok::<_, BoxError>(())
            })
    }
}

fn scope(conn: &TenantConnection) -> Result<SchemaName, BoxError> {
    Ok(conn.schema_name().cloned().ok_or(Error::NoScope)?)
}

/// Tables behind those that they refer to; those that refer to each other in a circle come last.
fn in_order(tables: Vec<OwnTable>) -> Vec<OwnTable> {
    let mut waiting: BTreeMap<String, OwnTable> = tables
        .into_iter()
        .map(|table| (table.name.clone(), table))
        .collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    loop {
        let ready = waiting
            .values()
            .find(|table| {
                !table
                    .refers_to
                    .iter()
                    .any(|other| waiting.contains_key(other))
            })
            .map(|table| table.name.clone());
        match ready.and_then(|name| waiting.remove(&name)) {
            Some(table) => ordered.push(table),
            None => break,
        }
    }
    ordered.extend(waiting.into_values());
    ordered
}
