//! `COPY` of any table, by its name at run time.
//!
//! Diesel's `COPY` is typed: the statement is made by a function of the table's
//! type alone, which gets no value. The value it needs goes through a thread's
//! cell, set for the one call that sends the statement and cleared behind it.
//! The alternative, rows as `INSERT` statements, costs the server a parse of every
//! value, and a reader of the dump most of its use.

use std::cell::RefCell;
use std::io::{BufRead, Write};

use diesel::connection::SimpleConnection as _;
use diesel::pg::{CopyFormat, CopyTarget, Pg, PgConnection};
use diesel::prelude::ExecuteCopyFromDsl as _;
use diesel::query_builder::AstPass;
use diesel::result::QueryResult;
use diesel::sql_types::Integer;

use crate::catalog::queries;
use crate::error::{Error, Result};

diesel::table! {
    /// Stands for whatever table is named.
    named (id) {
        id -> Integer,
    }
}

thread_local! {
    static TARGET: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The table and the columns that [`with_target`] has named.
struct Target;

impl CopyTarget for Target {
    type Table = named::table;
    type SqlType = Integer;

    fn walk_target(mut pass: AstPass<'_, '_, Pg>) -> QueryResult<()> {
        TARGET.with_borrow(|target| pass.push_sql(target));
        Ok(())
    }
}

/// Runs `f`, in which [`Target`] is `target`.
fn with_target<R>(target: &str, f: impl FnOnce() -> R) -> R {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            TARGET.with_borrow_mut(String::clear);
        }
    }
    TARGET.with_borrow_mut(|cell| target.clone_into(cell));
    let _clear = Clear;
    f()
}

/// Writes the rows of a table, `name (columns)`, in PostgreSQL's text format.
///
pub(super) fn copy_out(conn: &mut PgConnection, target: &str, out: &mut dyn Write) -> Result<()> {
    let reading = |error| Error::database(format!("reading the rows of {target}"), error);
    let mut rows = with_target(target, || {
        diesel::copy_to(Target)
            .with_format(CopyFormat::Text)
            .load_raw(conn)
    })
    .map_err(reading)?;
    let mut written = Ok(());
    loop {
        let (length, result) = {
            let chunk = rows.fill_buf().map_err(|source| Error::Io {
                doing: format!("reading the rows of {target}"),
                source,
            })?;
            // The server sends on whether we can write or not, and has to be heard out.
            let result = if written.is_ok() {
                out.write_all(chunk)
            } else {
                Ok(())
            };
            (chunk.len(), result)
        };
        if length == 0 {
            break;
        }
        rows.consume(length);
        if written.is_ok() {
            written = result;
        }
    }
    drop(rows);
    // Diesel leaves the end of the `COPY` unread; this reads it. Had the server failed in
    // the middle, the rows would only look complete: the transaction has failed then, and this says so.
    conn.batch_execute(queries::NOTHING).map_err(reading)?;
    written.map_err(super::writing)
}

/// Sends rows to a table, `name (columns)`; `rows` gives a line at a time, and none at the end.
pub(super) fn copy_in(
    conn: &mut PgConnection,
    target: &str,
    rows: impl FnMut(&mut Vec<u8>) -> Result<bool>,
) -> Result<usize> {
    let rows = RefCell::new(rows);
    // The server answers a COPY that we give up with an error of its own, which says less.
    let ours = RefCell::new(None);
    let send = |out: &mut dyn Write| {
        let mut line = Vec::new();
        loop {
            match (rows.borrow_mut())(&mut line) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    let words = error.to_string();
                    ours.replace(Some(error));
                    return Err(Error::Dump { reason: words });
                }
            }
            out.write_all(&line).map_err(|source| Error::Io {
                doing: format!("sending the rows of {target}"),
                source,
            })?;
            line.clear();
        }
    };
    let outcome = with_target(target, || {
        diesel::copy_from(named::table)
            .from_raw_data(Target, send)
            .with_format(CopyFormat::Text)
            .execute(conn)
    });
    outcome.map_err(|error| ours.take().unwrap_or(error))
}
