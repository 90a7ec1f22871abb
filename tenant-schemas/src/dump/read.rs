//! Restoring a dump.

use std::collections::HashMap;
use std::io::{BufRead, Read as _};
use std::ops::Range;

use diesel::pg::PgConnection;

use crate::catalog::{Session, Statement, queries, run};
use crate::error::{Error, Result};
use crate::name::SchemaName;
use crate::sql;

use super::{FORMAT, MARK, decode, raw};

/// How many bytes of statements go to the server as one message.
const BATCH: usize = 256 * 1024;

/// Makes a schema out of a dump, in the transaction that is open, and says what a person should know.
pub(super) fn restore(
    conn: &mut PgConnection,
    target: &SchemaName,
    input: &mut dyn BufRead,
) -> Result<Vec<String>> {
    let mut dump = Dump {
        input,
        line: 0,
        roles: HashMap::new(),
        waiting: Vec::new(),
        remarks: Vec::new(),
    };
    dump.header()?;
    let making = |error| Error::database(format!("making schema {target}"), error);
    let session = Session::begin(conn).map_err(making)?;
    sql::schemas::create_schema(conn, target).map_err(making)?;
    Session::enter(conn, target).map_err(making)?;
    dump.body(conn, target)?;
    session.end(conn).map_err(making)?;
    Ok(dump.remarks)
}

struct Dump<'a> {
    input: &'a mut dyn BufRead,
    line: usize,
    /// Whether roles exist, as far as it was asked.
    roles: HashMap<String, bool>,
    /// Statements that are to be sent.
    waiting: Vec<Statement>,
    remarks: Vec<String>,
}

impl Dump<'_> {
    fn header(&mut self) -> Result<()> {
        let expected = format!("{MARK}dump {FORMAT}\n");
        if self.exactly(expected.len()).ok() != Some(expected) {
            return Err(Error::Dump {
                reason: format!(
                    "it does not begin with `{MARK}dump {FORMAT}`: give a file that `dump_to` or `dump_tenant` wrote"
                ),
            });
        }
        Ok(())
    }

    fn body(&mut self, conn: &mut PgConnection, target: &SchemaName) -> Result<()> {
        let mut bytes = 0;
        while let Some(line) = self.marked()? {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "schema" => {}
                "do" => {
                    let statement = self.statement(rest)?;
                    if self.has_roles(conn, &statement)? {
                        bytes += statement.text.len();
                        self.waiting.push(statement);
                    }
                }
                "rows" => {
                    self.flush(conn, target)?;
                    let length = rest.parse().map_err(|_| self.broken("a length"))?;
                    self.rows(conn, length)?;
                }
                "end" => return self.flush(conn, target),
                _ => return Err(self.broken("a known word")),
            }
            if bytes > BATCH {
                self.flush(conn, target)?;
                bytes = 0;
            }
        }
        Err(Error::Dump {
            reason: format!(
                "it ends after line {} without `{MARK}end`: it was cut short, take it again from where it was written",
                self.line
            ),
        })
    }

    fn flush(&mut self, conn: &mut PgConnection, target: &SchemaName) -> Result<()> {
        run(conn, &std::mem::take(&mut self.waiting), target)
    }

    fn statement(&mut self, words: &str) -> Result<Statement> {
        let mut words = words.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (length, mentions, roles, name) = (word(), word(), word(), word());
        let length = length.parse().map_err(|_| self.broken("a length"))?;
        let text = self.exactly(length)?;
        let list = |word: &str| -> Vec<String> {
            if word == "-" {
                Vec::new()
            } else {
                word.split(',').map(str::to_owned).collect()
            }
        };
        let mentions: Option<Vec<Range<usize>>> = list(mentions)
            .iter()
            .map(|word| range(word, &text))
            .collect();
        let roles: Option<Vec<String>> = list(roles).iter().map(|word| decode(word)).collect();
        let (Some(mentions), Some(roles), Some(name)) = (mentions, roles, decode(name)) else {
            return Err(self.broken("a description that fits"));
        };
        if mentions.windows(2).any(|two| two[0].end > two[1].start) {
            return Err(self.broken("mentions in order"));
        }
        if self.exactly(2)? != ";\n" {
            return Err(self.broken("the end of a statement"));
        }
        Ok(Statement {
            text,
            name,
            mentions,
            roles,
        })
    }

    /// Whether all roles of a statement exist; says so if not.
    fn has_roles(&mut self, conn: &mut PgConnection, statement: &Statement) -> Result<bool> {
        let unknown: Vec<String> = statement
            .roles
            .iter()
            .filter(|role| !self.roles.contains_key(*role))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            let found = queries::roles(conn, &unknown)
                .map_err(|error| Error::database("looking for roles", error))?;
            self.roles.extend(unknown.into_iter().map(|role| {
                let exists = found.contains(&role);
                (role, exists)
            }));
        }
        let missing: Vec<&str> = statement
            .roles
            .iter()
            .filter(|role| self.roles.get(*role) != Some(&true))
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return Ok(true);
        }
        if statement.text.starts_with("REVOKE ") {
            // Who is not there has nothing that could be taken away.
            return Ok(false);
        }
        self.remarks.push(format!(
            "there is no role {}, so this was left out: {}",
            missing.join(", "),
            statement.name
        ));
        Ok(false)
    }

    fn rows(&mut self, conn: &mut PgConnection, length: usize) -> Result<()> {
        if self.exactly("COPY ".len())? != "COPY " {
            return Err(self.broken("COPY"));
        }
        let target = self.exactly(length)?;
        if self.exactly(" FROM stdin;\n".len())? != " FROM stdin;\n" {
            return Err(self.broken("the end of COPY"));
        }
        raw::copy_in(conn, &target, |line| {
            self.read_line(line)?;
            if line.last() != Some(&b'\n') {
                return Err(self.broken("more rows, or `\\.` behind them"));
            }
            Ok(line != b"\\.\n")
        })
        .map_err(|error| match error {
            Error::Database { source, .. } => {
                Error::database(format!("sending the rows of {target}"), source)
            }
            error => error,
        })?;
        Ok(())
    }

    /// The rest of the next line that is for us; `None` at the end.
    fn marked(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.read_line(&mut line)?;
            if line.is_empty() {
                return Ok(None);
            }
            if let Some(rest) = line.strip_prefix(MARK.as_bytes()) {
                return match std::str::from_utf8(rest) {
                    Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                    Err(_) => Err(self.broken("UTF-8")),
                };
            }
        }
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<()> {
        self.input.read_until(b'\n', line).map_err(reading)?;
        self.line += 1;
        Ok(())
    }

    /// The next bytes, so many of them.
    fn exactly(&mut self, length: usize) -> Result<String> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        (&mut *self.input)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(reading)?;
        if bytes.len() < length {
            return Err(self.broken("more of a statement"));
        }
        let text = String::from_utf8(bytes).map_err(|_| self.broken("UTF-8"))?;
        self.line += text.matches('\n').count();
        Ok(text)
    }

    fn broken(&self, expected: &str) -> Error {
        Error::Dump {
            reason: format!(
                "at line {} there should be {expected}: it was changed or cut short since it was written, \
                 take it again from there",
                self.line
            ),
        }
    }
}

/// The range that `17+6` stands for in a text, if it is one.
fn range(word: &str, text: &str) -> Option<Range<usize>> {
    let (start, length) = word.split_once('+')?;
    let start: usize = start.parse().ok()?;
    let range = start..start.checked_add(length.parse().ok()?)?;
    text.get(range.clone()).map(|_| range)
}

fn reading(source: std::io::Error) -> Error {
    Error::Io {
        doing: "reading the dump".to_owned(),
        source,
    }
}
