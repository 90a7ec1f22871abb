//! `exec`: SQL on many tenants, with the rows in one table.

use clap::Parser;
use diesel::Connection as _;
use diesel::result::QueryResult;
use serde_json::{Value, json};

use crate::connection::TenantConnection;
use crate::error::BoxError;
use crate::model::TenantModel;
use crate::sql::manage::{self as sql, AnyRow};
use crate::statement;

use super::context::Context;
use super::fleet::{self, Walk};
use super::outcome::{Done, Failure, heard};
use super::output::{self, Format, Output};
use super::progress::Did;
use super::table::{Table, count};
use super::targets::Targets;
use super::tenant_command::connect;

/// Runs SQL on many tenants, and prints the rows with the schema as the first column
///
/// Of columns with the same name, the second is called `NAME_2`, and so on. Unqualified names are those of each tenant. All statements of a tenant are one transaction: what
/// fails in one tenant changes nothing there, and stops no other.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  exec --all 'SELECT count(*) FROM rooms'
  exec --schema 'hotel_*' --format json 'SELECT * FROM rooms WHERE id = 1'
  exec --all --no-transaction --jobs 4 'VACUUM ANALYZE rooms'")]
pub(super) struct Args {
    /// The statements, separated by semicolons; `-` reads them from standard input.
    #[arg(allow_hyphen_values = true)]
    sql: String,
    /// On every tenant.
    #[arg(long, conflicts_with = "schema")]
    all: bool,
    #[command(flatten)]
    targets: Targets,
    /// Each statement on its own, for those that can't run in a transaction.
    #[arg(long)]
    no_transaction: bool,
    #[command(flatten)]
    walk: Walk,
    #[command(flatten)]
    output: Output,
}

/// What the statements gave in one tenant.
#[derive(Default)]
struct Given {
    rows: Vec<AnyRow>,
    /// How many rows were changed by statements that gave none.
    changed: usize,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    if !args.all && args.targets.schema.is_empty() {
        return Err(Failure::usage(
            "on which tenants? say `--all`, or some with `--schema NAME|GLOB`",
        ));
    }
    let text = if args.sql == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        args.sql.clone()
    };
    let statements: Vec<&str> = statement::split(&text).iter().map(|one| one.text).collect();
    if statements.is_empty() {
        return Err(Failure::usage("there is no SQL to run"));
    }
    let tenancy = context.tenancy()?;
    let targets = args.targets.choose(tenancy, false)?;
    let walked = fleet::walk(context, &targets, &args.walk, |target, _| {
        let mut conn = connect(tenancy, target)?;
        let given = if args.no_transaction {
            all(&mut conn, &statements)?
        } else {
            conn.transaction(|conn| all(conn, &statements))?
        };
        let rows = count(given.rows.len(), "row");
        let done = match given.changed {
            0 => rows,
            changed => format!("{rows}, {changed} changed"),
        };
        Ok::<_, BoxError>((given, Did::This(done)))
    })?;
    let mut table = AnyTable::default();
    for (schema, result) in &walked.outcomes {
        if let Some(Ok(given)) = result {
            given
                .rows
                .iter()
                .for_each(|row| table.row(schema.as_str(), row));
        }
    }
    heard(table.write(args.output.format))?;
    Ok(walked.conclude())
}

fn all(conn: &mut TenantConnection, statements: &[&str]) -> QueryResult<Given> {
    let mut given = Given::default();
    for statement in statements {
        one(conn, statement, &mut given)?;
    }
    Ok(given)
}

fn one(conn: &mut TenantConnection, statement: &str, given: &mut Given) -> QueryResult<()> {
    match shape(statement) {
        Shape::Select => given.rows.extend(sql::selected(conn, statement)?),
        Shape::Rows => match sql::returned(conn, statement)? {
            Some(rows) => given.rows.extend(rows),
            None => given.changed += sql::execute(conn, statement)?,
        },
        Shape::Other => given.changed += sql::execute(conn, statement)?,
    }
    Ok(())
}

/// What can be expected of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    /// Rows, and it can stand within another statement.
    Select,
    /// Perhaps rows.
    Rows,
    Other,
}

fn shape(statement: &str) -> Shape {
    let words: Vec<String> = statement::words(statement)
        .iter()
        .map(|word| word.to_ascii_uppercase())
        .collect();
    match words.first().map(String::as_str) {
        Some("SELECT" | "VALUES" | "TABLE") => Shape::Select,
        Some("WITH" | "SHOW" | "EXPLAIN" | "FETCH") => Shape::Rows,
        Some(_) if words.iter().any(|word| word == "RETURNING") => Shape::Rows,
        _ => Shape::Other,
    }
}

/// Rows of any shape, the schema first.
#[derive(Default)]
struct AnyTable {
    headings: Vec<String>,
    rows: Vec<(String, AnyRow)>,
}

impl AnyTable {
    fn row(&mut self, schema: &str, row: &AnyRow) {
        let row = AnyRow {
            names: told_apart(&row.names),
            ..row.clone()
        };
        for name in &row.names {
            if !self.headings.contains(name) {
                self.headings.push(name.clone());
            }
        }
        self.rows.push((schema.to_owned(), row));
    }

    fn write(&self, format: Format) -> Result<(), Failure> {
        if format == Format::Json {
            let objects: Vec<String> = self
                .rows
                .iter()
                .map(|(schema, row)| {
                    let schema = ("schema", json!(schema).to_string());
                    object(std::iter::once(schema).chain(fields(row)))
                })
                .collect();
            return output::print_objects(&objects);
        }
        let mut table =
            Table::new(std::iter::once("schema").chain(self.headings.iter().map(String::as_str)));
        for (schema, row) in &self.rows {
            let cell = |heading: &String| {
                let place = row.names.iter().position(|name| name == heading)?;
                row.texts[place].clone()
            };
            let cells = self
                .headings
                .iter()
                .map(|heading| cell(heading).unwrap_or_default());
            table.row(std::iter::once(schema.clone()).chain(cells));
        }
        format.write(&table, || Value::Null)
    }
}

/// The names of columns, each another, and none that of the column with the schema.
fn told_apart(names: &[String]) -> Vec<String> {
    let mut apart = vec!["schema".to_owned()];
    for name in names {
        let mut numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut own = name.clone();
        while apart.contains(&own) {
            own = numbered.next().unwrap_or_default();
        }
        apart.push(own);
    }
    apart.split_off(1)
}

/// The columns of a row, for an object.
pub(super) fn fields(row: &AnyRow) -> impl Iterator<Item = (&str, String)> {
    let names = row.names.iter().map(String::as_str);
    names.zip(row.jsons.iter().cloned())
}

/// A JSON object of values that are JSON already.
///
/// They are not parsed, so that no number loses a digit.
pub(super) fn object<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_by_their_words() {
        for (statement, expected) in [
            ("select 1", Shape::Select),
            ("-- update\n (SELECT 1)", Shape::Select),
            ("/* n */ /* -- */ SELECT 1", Shape::Select),
            ("VALUES (1)", Shape::Select),
            ("WITH a AS (SELECT 1) SELECT * FROM a", Shape::Rows),
            ("EXPLAIN SELECT 1", Shape::Rows),
            ("insert into a values (1) returning id", Shape::Rows),
            ("INSERT INTO a VALUES (1)", Shape::Other),
            (
                "INSERT INTO a VALUES ('returning') -- returning\n /* returning */",
                Shape::Other,
            ),
            ("VACUUM", Shape::Other),
        ] {
            assert_eq!(shape(statement), expected, "{statement}");
        }
    }

    #[test]
    fn values_of_an_object_stay_text() {
        let fields = [("a\"b", "1.50".to_owned()), ("n", "[1]".to_owned())];
        assert_eq!(object(fields.into_iter()), r#"{"a\"b":1.50,"n":[1]}"#);
        assert_eq!(object([].into_iter()), "{}");
    }

    #[test]
    fn columns_of_the_same_name_are_told_apart() {
        let names = ["count", "schema", "count", "count", "count_2"].map(str::to_owned);
        assert_eq!(
            told_apart(&names),
            ["count", "schema_2", "count_2", "count_3", "count_2_2"]
        );
    }
}
