//! A schema as the catalog knows it, as statements that make another like it.

mod mention;
mod order;
pub(crate) mod queries;
mod session;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Oid, Text};

use crate::error::{Error, Result};
use crate::name::SchemaName;

use self::order::{Key, Node};

pub(crate) use self::mention::Statement;
pub(crate) use self::session::{SETTINGS, Session, run};

/// Everything that makes a schema what it is, but for the rows.
#[derive(Debug, Default)]
pub(crate) struct Structure {
    /// What has to be there before rows are: types, functions, tables without keys.
    pub(crate) before: Vec<Statement>,
    pub(crate) tables: Vec<Rows>,
    /// The names of the sequences, quoted.
    pub(crate) sequences: Vec<String>,
    /// What comes behind the rows.
    pub(crate) after: Vec<Statement>,
    /// What a person should know of the copy.
    remarks: Vec<String>,
    /// What a person should know besides of the copy of the rows.
    of_rows: Vec<String>,
    /// Questions to the rows and their copy, one for each column that stands for objects.
    standing: Vec<String>,
    /// What can't be made again since it needs something that can't be copied, in words.
    pub(crate) impossible: Vec<String>,
}

impl Structure {
    /// What a person should know of the copy, with the rows or without.
    pub(crate) fn remarks(self, data: bool) -> Vec<String> {
        let mut remarks = self.remarks;
        if data {
            remarks.extend(self.of_rows);
        }
        remarks
    }

    /// What stands for nothing in the copied rows, since what it stood for has no copy. The copy has to be the path.
    pub(crate) fn lost(&self, conn: &mut PgConnection) -> QueryResult<Vec<String>> {
        if self.standing.is_empty() {
            return Ok(Vec::new());
        }
        let lost: Vec<Line> = diesel::sql_query(self.standing.join(" UNION ALL ")).load(conn)?;
        Ok(lost.into_iter().map(|line| line.text).collect())
    }

    /// An error if another schema can't be made like this one.
    pub(crate) fn possible(self, schema: &SchemaName) -> Result<Self> {
        if self.impossible.is_empty() {
            return Ok(self);
        }
        Err(Error::Uncopyable {
            schema: schema.clone(),
            needs: self.impossible,
        })
    }
}

/// A table whose rows can be copied.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct Rows {
    /// Quoted.
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// The columns that can be written.
    #[diesel(sql_type = Text)]
    pub(crate) columns: String,
    /// Their values, for a table in a schema that has types of its own.
    #[diesel(sql_type = Text)]
    pub(crate) values: String,
}

/// The kinds of parts, in the order in which they are made when nothing else is asked for.
const KINDS: [(&str, Form); 18] = [
    (queries::TYPE, Form::Plain),
    (queries::DOMAIN_CHECK, Form::Plain),
    (queries::SEQUENCES, Form::Plain),
    (queries::AGGREGATE, Form::Plain),
    (queries::TABLE, Form::Plain),
    (queries::ATTACH, Form::Plain),
    (queries::DEFAULT, Form::Plain),
    (queries::MERGED_CHECK, Form::Plain),
    (queries::CHECK, Form::Plain),
    (queries::KEY, Form::Plain),
    (queries::INDEX, Form::Headed),
    (queries::INDEX_ATTACH, Form::Plain),
    (queries::VIEW, Form::Plain),
    (queries::MATERIALIZED, Form::Plain),
    (queries::FOREIGN_KEY, Form::Plain),
    (queries::STATISTICS, Form::Headed),
    (queries::RULE, Form::Headed),
    (queries::TRIGGER, Form::Headed),
];
/// Functions are read by themselves, and stand among the aggregates.
const FUNCTION_RANK: usize = 3;
/// The kinds up to this one have to be there before rows are.
const LAST_EARLY_RANK: usize = 5;
/// The kinds from keys to materialized views: too, if rows have values that stand for them, by number or by name.
const NAMED_RANKS: RangeInclusive<usize> = 9..=13;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// PostgreSQL writes no name of the schema's into it.
    Plain,
    /// PostgreSQL writes the schema's name before the first name.
    Headed,
}

/// What stands behind everything else, in this order.
const TAIL: [&str; 7] = [
    queries::OWNED,
    queries::SETTINGS,
    queries::POLICY,
    queries::COMMENT,
    queries::OWNER,
    queries::GRANT,
    queries::DEFAULT_GRANT,
];

#[derive(QueryableByName)]
struct Part {
    #[diesel(sql_type = Oid)]
    class: u32,
    #[diesel(sql_type = Oid)]
    object: u32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Function {
    #[diesel(embed)]
    part: Part,
    #[diesel(sql_type = Text)]
    body: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    text: String,
    #[diesel(sql_type = Array<Text>)]
    roles: Vec<String>,
}

#[derive(QueryableByName)]
struct Object {
    #[diesel(sql_type = Oid)]
    object: u32,
}

#[derive(QueryableByName)]
struct Edge {
    #[diesel(sql_type = Oid)]
    class: u32,
    #[diesel(sql_type = Oid)]
    object: u32,
    #[diesel(sql_type = Oid)]
    of_class: u32,
    #[diesel(sql_type = Oid)]
    of_object: u32,
}

/// Reads a schema whose number is `oid`. It has to be the search path, alone but for `pg_temp`.
pub(crate) fn read(
    conn: &mut PgConnection,
    schema: &SchemaName,
    oid: u32,
) -> QueryResult<Structure> {
    let mut structure = Structure::default();
    let lines = |conn: &mut PgConnection, text| load::<Line>(conn, text, oid);
    let left_out: HashMap<Key, String> = load::<Part>(conn, queries::LEFT_OUT, oid)?
        .into_iter()
        .map(|part| ((part.class, part.object), part.name))
        .collect();
    let extended: HashMap<Key, String> = load::<Part>(conn, queries::EXTENDED, oid)?
        .into_iter()
        .map(|part| ((part.class, part.object), part.name))
        .collect();
    let lost = lines(conn, queries::LOST)?.into_iter();
    let lost = lost.map(|line| line.text).chain(left_out.values().cloned());
    structure.remarks = lost.map(|what| format!("{what} is not copied")).collect();
    structure.remarks.sort_unstable();
    let (nodes, statements) = parts(conn, schema, oid, &mut structure.remarks)?;
    let edges = edges(conn, oid, &nodes)?;
    for (from, to) in &edges {
        if let Some(needed) = left_out.get(to).or_else(|| extended.get(to))
            && let Some(part) = nodes.iter().position(|node| node.key == *from)
        {
            let name = &statements[part].name;
            structure.impossible.push(format!("{name} needs {needed}"));
        }
    }
    structure.standing = lines(conn, queries::STANDING)?
        .into_iter()
        .map(|line| line.text)
        .collect();
    structure.of_rows = lines(conn, queries::NUMBERED)?
        .into_iter()
        .map(|line| {
            let column = line.text;
            format!("{column}, is copied as it is, and may stand for something of schema {schema}")
        })
        .collect();
    let are_named = !structure.standing.is_empty() || !structure.of_rows.is_empty();
    let (order, early) = order::order(&nodes, &edges, |rank| {
        rank <= LAST_EARLY_RANK || are_named && NAMED_RANKS.contains(&rank)
    });
    let populated: HashSet<u32> = load::<Object>(conn, queries::POPULATED, oid)?
        .iter()
        .map(|view| view.object)
        .collect();
    let mut statements: Vec<Option<Statement>> = statements.into_iter().map(Some).collect();
    let mut refreshed = Vec::new();
    for (place, at) in order.into_iter().enumerate() {
        let Some(statement) = statements[at].take() else {
            continue;
        };
        if populated.contains(&nodes[at].key.1)
            && let Some(view) = statement.name.strip_prefix("materialized view ")
        {
            refreshed.push(Statement {
                text: queries::refresh(view),
                name: statement.name.clone(),
                ..Statement::default()
            });
        }
        if place < early {
            structure.before.push(statement);
        } else {
            structure.after.push(statement);
        }
    }
    structure.after.extend(refreshed);
    for query in TAIL {
        for line in lines(conn, query)? {
            let name = line.text.lines().next().unwrap_or_default().to_owned();
            if query == queries::POLICY {
                structure
                    .remarks
                    .extend(mention::in_a_string(&name, &line.text, schema, &[]));
            }
            structure.after.push(Statement {
                roles: line.roles,
                ..Statement::placed(name, &line.text, schema)
            });
        }
    }
    structure.tables = load(conn, queries::ROWS, oid)?;
    structure.sequences = lines(conn, queries::COUNTERS)?
        .into_iter()
        .map(|line| line.text)
        .collect();
    Ok(structure)
}

/// Every part, and its statement beside it.
fn parts(
    conn: &mut PgConnection,
    schema: &SchemaName,
    oid: u32,
    remarks: &mut Vec<String>,
) -> QueryResult<(Vec<Node>, Vec<Statement>)> {
    let mut nodes = Vec::new();
    let mut statements = Vec::new();
    for (rank, (query, form)) in KINDS.into_iter().enumerate() {
        for part in load::<Part>(conn, query, oid)? {
            nodes.push(Node {
                key: (part.class, part.object),
                rank,
            });
            remarks.extend(mention::in_a_string(&part.name, &part.text, schema, &[]));
            statements.push(match form {
                Form::Plain => Statement::placed(part.name, &part.text, schema),
                Form::Headed => Statement::headed(part.name, part.text, schema),
            });
        }
    }
    let functions: Vec<Function> = load(conn, queries::FUNCTION, oid)?;
    if functions.is_empty() {
        return Ok((nodes, statements));
    }
    let names = names(conn, oid)?;
    for Function { part, body } in functions {
        nodes.push(Node {
            key: (part.class, part.object),
            rank: FUNCTION_RANK,
        });
        let (statement, found) = mention::function(part.name, part.text, &body, schema, &names);
        statements.push(statement);
        remarks.extend(found);
    }
    Ok((nodes, statements))
}

/// The functions of a schema that say its name, as they are made for another one, and what a person should look
/// at, in them and in whatever else says it. The schema has to be the search path, alone but for `pg_temp`.
pub(crate) fn that_say(
    conn: &mut PgConnection,
    schema: &SchemaName,
    oid: u32,
) -> QueryResult<(Vec<Statement>, Vec<String>)> {
    let mut functions: Vec<Function> = load(conn, queries::FUNCTION, oid)?;
    // Each head says it once; without quotes, in any case.
    let name = schema.as_str().to_ascii_lowercase();
    functions.retain(|function| {
        let text = function.part.text.to_ascii_lowercase();
        text.matches(&name).count() > 1
    });
    let (mut statements, mut remarks) = (Vec::new(), Vec::new());
    for (query, _) in KINDS {
        for part in load::<Part>(conn, query, oid)? {
            remarks.extend(mention::in_a_string(&part.name, &part.text, schema, &[]));
        }
    }
    for line in load::<Line>(conn, queries::POLICY, oid)? {
        let name = line.text.lines().next().unwrap_or_default();
        remarks.extend(mention::in_a_string(name, &line.text, schema, &[]));
    }
    if functions.is_empty() {
        return Ok((statements, remarks));
    }
    let names = names(conn, oid)?;
    for Function { part, body } in functions {
        let (statement, found) = mention::function(part.name, part.text, &body, schema, &names);
        if statement.mentions.len() > 1 {
            statements.push(statement);
        }
        remarks.extend(found);
    }
    Ok((statements, remarks))
}

/// The tables of a schema that hold rows, quoted. It need not be the search path.
pub(crate) fn tables(conn: &mut PgConnection, oid: u32) -> QueryResult<Vec<String>> {
    let tables = load::<Rows>(conn, queries::ROWS, oid)?.into_iter();
    Ok(tables.map(|table| table.name).collect())
}

/// The names of what is in a schema.
fn names(conn: &mut PgConnection, oid: u32) -> QueryResult<HashSet<String>> {
    let lines = load::<Line>(conn, queries::NAMES, oid)?.into_iter();
    Ok(lines.map(|line| line.text).collect())
}

/// What each part depends on, in terms of parts.
fn edges(conn: &mut PgConnection, oid: u32, nodes: &[Node]) -> QueryResult<Vec<(Key, Key)>> {
    let aliases: HashMap<Key, Key> = load::<Edge>(conn, queries::ALIASES, oid)?
        .into_iter()
        .map(|edge| ((edge.class, edge.object), (edge.of_class, edge.of_object)))
        .collect();
    let (classes, objects): (Vec<u32>, Vec<u32>) = nodes
        .iter()
        .map(|node| node.key)
        .chain(aliases.keys().copied())
        .unzip();
    let mut edges: Vec<Edge> = diesel::sql_query(queries::expand(queries::EDGES, oid))
        .bind::<Array<Oid>, _>(&classes)
        .bind::<Array<Oid>, _>(&objects)
        .load(conn)?;
    edges.extend(load::<Edge>(conn, queries::ATTACH_EDGES, oid)?);
    let part = |mut key: Key| {
        // The array of a table's type stands for the type, which stands for the table.
        for _ in 0..4 {
            match aliases.get(&key) {
                Some(other) if *other != key => key = *other,
                _ => break,
            }
        }
        key
    };
    Ok(edges
        .into_iter()
        .map(|edge| {
            let from = (edge.class, edge.object);
            (part(from), part((edge.of_class, edge.of_object)))
        })
        .collect())
}

/// Something of the schema that is the search path which depends on something of another one, in words: what, and on what.
pub(crate) fn dependent(conn: &mut PgConnection, oid: u32) -> QueryResult<Option<[String; 2]>> {
    let mut found = load::<Line>(conn, queries::DEPENDENTS, oid)?.into_iter();
    Ok(found.find_map(|line| Some([line.text, line.roles.into_iter().next()?])))
}

fn load<T>(conn: &mut PgConnection, query: &str, oid: u32) -> QueryResult<Vec<T>>
where
    T: diesel::deserialize::QueryableByName<diesel::pg::Pg> + 'static,
{
    diesel::sql_query(queries::expand(query, oid)).load(conn)
}
