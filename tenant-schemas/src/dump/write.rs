//! Writing a dump.

use std::io::Write;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;

use crate::catalog::{self, Rows, SETTINGS, Session, Statement, queries};
use crate::error::{Error, Result};
use crate::name::SchemaName;
use crate::sql;

use super::{FORMAT, MARK, encode, raw, writing};

/// Writes a schema in a transaction of its own, and says what a person should know.
pub(super) fn dump(
    conn: &mut PgConnection,
    schema: &SchemaName,
    out: &mut dyn Write,
    data: bool,
) -> Result<Vec<String>> {
    loop {
        let (_, tables) = tables(conn, schema, data)?;
        let dumped = conn
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(|conn| {
                // Before anything is read, which fixes what is seen: of a table that was emptied or rewritten
                // since, nothing would be.
                if let Some(lock) = queries::lock(schema, &tables) {
                    conn.batch_execute(&lock).map_err(|error| {
                        Error::database(format!("locking the tables of schema {schema}"), error)
                    })?;
                }
                dump_locked(conn, schema, out, data, &tables)
            })?;
        if let Some(remarks) = dumped {
            return Ok(remarks);
        }
    }
}

/// The number of a schema, and its tables of which the rows are dumped.
fn tables(conn: &mut PgConnection, schema: &SchemaName, data: bool) -> Result<(u32, Vec<String>)> {
    let reading = |error| Error::database(format!("reading the catalog of schema {schema}"), error);
    let oid = queries::number(conn, schema)
        .map_err(reading)?
        .ok_or_else(|| Error::NoSuchSchema {
            schema: schema.clone(),
        })?;
    let mut tables = catalog::tables(conn, oid).map_err(reading)?;
    tables.retain(|table| data || sql::ledger::is_ledger(table));
    Ok((oid, tables))
}

/// Writes a schema whose tables are locked, in the transaction that is open; `None`, with nothing written, if it has
/// got another table meanwhile.
fn dump_locked(
    conn: &mut PgConnection,
    schema: &SchemaName,
    out: &mut dyn Write,
    data: bool,
    locked: &[String],
) -> Result<Option<Vec<String>>> {
    let reading = |error| Error::database(format!("reading the catalog of schema {schema}"), error);
    let session = Session::begin(conn).map_err(reading)?;
    let (oid, tables) = tables(conn, schema, data)?;
    if tables.iter().any(|table| !locked.contains(table)) {
        return Ok(None);
    }
    Session::enter(conn, schema).map_err(reading)?;
    let structure = catalog::read(conn, schema, oid).map_err(reading)?;
    let structure = structure.possible(schema)?;
    let (version, time) = queries::server(conn).map_err(reading)?;
    header(out, schema, &version, &time).map_err(writing)?;
    statements(out, &structure.before).map_err(writing)?;
    for table in &structure.tables {
        if data || sql::ledger::is_ledger(&table.name) {
            rows(conn, out, schema, table)?;
        }
    }
    if data {
        // Behind the rows: a number that was drawn meanwhile is skipped, never used twice.
        let counters = queries::counters(conn, schema, &structure.sequences).map_err(reading)?;
        for counter in counters {
            let set = Statement {
                text: counter.set(),
                name: format!("value of sequence {}", counter.name),
                ..Statement::default()
            };
            statement(out, &set).map_err(writing)?;
        }
    }
    statements(out, &structure.after).map_err(writing)?;
    write!(out, "{MARK}end\nCOMMIT;\n").map_err(writing)?;
    out.flush().map_err(writing)?;
    // Also shows whether a COPY was cut short.
    session.end(conn).map_err(reading)?;
    Ok(Some(structure.remarks(data)))
}

fn header(
    out: &mut dyn Write,
    schema: &SchemaName,
    version: &str,
    time: &str,
) -> std::io::Result<()> {
    let quoted = schema.quoted();
    writeln!(
        out,
        "{MARK}dump {FORMAT}\n{MARK}schema {}\n\
         -- Schema {quoted}, dumped by tenant-schemas {} from PostgreSQL {version} at {time}.\n\
         -- psql restores it under its own name, in a database that has the shared schema;\n\
         -- `restore_from` restores it as a tenant, under any name. The comments say how: leave them.\n\n\
         BEGIN;\nSET LOCAL client_encoding TO 'UTF8';",
        encode(schema.as_str()),
        env!("CARGO_PKG_VERSION"),
    )?;
    for (name, value) in SETTINGS {
        writeln!(out, "SET LOCAL {name} TO {};", sql::literal(value))?;
    }
    write!(
        out,
        "CREATE SCHEMA {quoted};\nSET LOCAL search_path TO {};\n\n",
        queries::path(schema)
    )
}

fn statements(out: &mut dyn Write, statements: &[Statement]) -> std::io::Result<()> {
    statements.iter().try_for_each(|each| statement(out, each))
}

fn statement(out: &mut dyn Write, statement: &Statement) -> std::io::Result<()> {
    let list = |words: Vec<String>| {
        if words.is_empty() {
            "-".to_owned()
        } else {
            words.join(",")
        }
    };
    let mentions = statement
        .mentions
        .iter()
        .map(|range| format!("{}+{}", range.start, range.len()))
        .collect();
    let roles = statement.roles.iter().map(|role| encode(role)).collect();
    write!(
        out,
        "{MARK}do {} {} {} {}\n{};\n\n",
        statement.text.len(),
        list(mentions),
        list(roles),
        encode(&statement.name),
        statement.text,
    )
}

fn rows(
    conn: &mut PgConnection,
    out: &mut dyn Write,
    schema: &SchemaName,
    table: &Rows,
) -> Result<()> {
    let target = if table.columns.is_empty() {
        table.name.clone()
    } else {
        format!("{} ({})", table.name, table.columns)
    };
    write!(
        out,
        "{MARK}rows {}\nCOPY {target} FROM stdin;\n",
        target.len()
    )
    .map_err(writing)?;
    raw::copy_out(conn, &format!("{}.{target}", schema.quoted()), out)?;
    out.write_all(b"\\.\n\n").map_err(writing)
}
