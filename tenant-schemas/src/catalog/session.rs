//! The settings under which a schema is read and made, and the way back from them.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::{Error as DieselError, QueryResult};

use crate::error::{Error, Result};
use crate::name::SchemaName;

use super::{Statement, queries};

/// What PostgreSQL writes has to be read by it again as the same, and nothing may be filtered.
pub(crate) const SETTINGS: [(&str, &str); 9] = [
    ("check_function_bodies", "off"),
    ("client_min_messages", "warning"),
    ("DateStyle", "ISO"),
    ("default_tablespace", ""),
    ("extra_float_digits", "3"),
    ("IntervalStyle", "postgres"),
    // Fail, instead of leaving rows out.
    ("row_security", "off"),
    ("standard_conforming_strings", "on"),
    ("xmloption", "content"),
];

/// The caller's settings, for a while replaced by ours. A rollback brings them back as well.
pub(crate) struct Session {
    before: Vec<String>,
}

impl Session {
    /// Replaces the settings until [`end`](Self::end). A transaction has to be open.
    pub(crate) fn begin(conn: &mut PgConnection) -> QueryResult<Self> {
        let before = queries::settings(conn, &names())?;
        queries::set_locally(conn, SETTINGS)?;
        Ok(Self { before })
    }

    /// Makes a schema the path.
    pub(crate) fn enter(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
        let path = queries::path(schema);
        queries::set_locally(conn, [("search_path", path.as_str())])
    }

    /// Brings the caller's settings back.
    pub(crate) fn end(self, conn: &mut PgConnection) -> QueryResult<()> {
        let values = self.before.iter().map(String::as_str);
        queries::set_locally(conn, names().into_iter().zip(values))
    }
}

fn names() -> Vec<&'static str> {
    SETTINGS
        .iter()
        .map(|(name, _)| *name)
        .chain(["search_path"])
        .collect()
}

/// Runs statements for a schema, as one message.
pub(crate) fn run(
    conn: &mut PgConnection,
    statements: &[Statement],
    schema: &SchemaName,
) -> Result<()> {
    if statements.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = statements
        .iter()
        .map(|statement| statement.within(schema))
        .collect();
    conn.batch_execute(&texts.join(SEPARATOR)).map_err(|error| {
        let name = culprit(&error, &texts).map_or("the objects", |at| &statements[at].name);
        Error::database(format!("making {name} in schema {schema}"), error)
    })
}

const SEPARATOR: &str = ";\n";

/// Which of the texts the database stopped at, if it says so.
fn culprit(error: &DieselError, texts: &[String]) -> Option<usize> {
    let DieselError::DatabaseError(_, information) = error else {
        return None;
    };
    let mut position = usize::try_from(information.statement_position()?).ok()?;
    texts.iter().position(|text| {
        let length = text.chars().count() + SEPARATOR.len();
        let here = position <= length;
        position = position.saturating_sub(length);
        here
    })
}
