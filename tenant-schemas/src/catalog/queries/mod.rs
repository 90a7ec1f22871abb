//! What is asked of PostgreSQL's catalog: one statement for each kind of
//! object, however many objects and however many other schemas there are.
//!
//! Everything in a schema is found through its dependency on the schema, which
//! has an index; `pg_class` and its kin have none by schema. The texts are in a
//! shorthand that [`expand`] spells out: `@` is `pg_catalog.`, since a tenant
//! may have functions named like PostgreSQL's own, and braces name the pieces
//! below. The path is the source's schema while they run, so that PostgreSQL
//! writes names of that schema without it, and all others with theirs.
//!
//! U+0001 stands for the schema's name where a statement can't do without.

mod graph;
mod parts;
mod rows;
mod tail;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Oid, Text};

use crate::name::SchemaName;
use crate::sql::literal;
use crate::sql::schemas::SPACE;

pub(super) use self::graph::*;
pub(super) use self::parts::*;
pub(super) use self::rows::*;
pub(super) use self::tail::*;

/// The relations of the schema that no extension owns.
const RELATIONS: &str = "(SELECT r.* FROM @pg_depend AS m JOIN @pg_class AS r ON r.oid = m.objid \
     WHERE m.classid = '@pg_class'::@regclass AND {within})";

/// Those of them that have a copy: not foreign tables, nor the sequences of their columns.
const COPIED: &str = "(SELECT r.* FROM {relations} AS r WHERE r.relkind <> 'f' AND NOT EXISTS (\
     SELECT FROM @pg_depend AS o JOIN @pg_class AS f ON f.oid = o.refobjid WHERE o.classid = '@pg_class'::@regclass \
     AND o.objid = r.oid AND o.refclassid = '@pg_class'::@regclass AND o.deptype IN ('a', 'i') AND f.relkind = 'f'))";

/// The types that were made as such: not those of tables, not the arrays.
const TYPES: &str = "(SELECT r.* FROM @pg_depend AS m JOIN @pg_type AS r ON r.oid = m.objid \
     WHERE m.classid = '@pg_type'::@regclass AND {within} AND r.typtype IN ('e', 'd', 'c', 'r'))";

/// The functions, procedures and aggregates, but for those that come with a range type.
const ROUTINES: &str = "(SELECT r.* FROM @pg_depend AS m JOIN @pg_proc AS r ON r.oid = m.objid \
     WHERE m.classid = '@pg_proc'::@regclass AND {within} AND NOT EXISTS (SELECT FROM @pg_depend AS i \
     WHERE i.classid = m.classid AND i.objid = m.objid AND i.deptype = 'i'))";

/// Says of a row `m` of `pg_depend` that it ties an object to the schema.
const WITHIN: &str = "m.refclassid = '@pg_namespace'::@regclass AND m.refobjid = {schema} AND NOT EXISTS (\
     SELECT FROM @pg_depend AS e WHERE e.classid = m.classid AND e.objid = m.objid AND e.deptype = 'e')";

/// The storage parameters of a relation `c`.
const OPTIONS: &str = "(SELECT @string_agg(@format('%s = %L', @split_part(o, '=', 1), \
     @substr(o, @strpos(o, '=') + 1)), ', ') FROM @unnest(c.reloptions) AS o)";

/// The options of a sequence `s`, as a row of `pg_sequence`.
const SEQUENCE: &str = "@format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart, \
     s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)";

/// The sequences that belong to identity columns.
const OF_IDENTITY: &str = "(SELECT FROM @pg_depend AS i WHERE i.classid = '@pg_class'::@regclass \
     AND i.objid = c.oid AND i.refclassid = '@pg_class'::@regclass AND i.deptype = 'i')";

/// The name of a function that an aggregate `g` uses, for `{f:..}`; `NULL` if it uses none.
const SUPPORT: &str = "(SELECT CASE WHEN f.pronamespace = {schema} THEN @quote_ident(f.proname) \
     ELSE @format('%I.%I', n.nspname, f.proname) END FROM @pg_proc AS f \
     JOIN @pg_namespace AS n ON n.oid = f.pronamespace WHERE f.oid = g.";

/// A role `#` as it is named in a grant, for `{role:..}`.
const ROLE: &str = "CASE WHEN # = 0 THEN 'PUBLIC' WHEN @pg_get_userbyid(#) = current_user THEN 'CURRENT_USER' \
     ELSE @quote_ident(@pg_get_userbyid(#)) END";

/// The columns of a table `c` that are stored and not computed, for `{stored}`.
const STORED: &str = "FROM @pg_attribute AS a JOIN @pg_type AS t ON t.oid = a.atttypid \
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''";

/// The types that stand for an object by its number, and what stands for the same object in the copy, if `#` is one of the
/// schema's: 0, which is nothing, if the copy has none.
const MOVED: &str = "\
('@regclass'::@regtype, 'coalesce((SELECT coalesce((SELECT n.oid FROM @pg_class AS n \
    WHERE n.relname = o.relname AND n.relnamespace = {home}), 0::@oid)::@regclass \
    FROM @pg_class AS o WHERE o.oid = # AND o.relnamespace = {schema}), #)'), \
('@regtype', 'coalesce((SELECT coalesce((SELECT n.oid FROM @pg_type AS n \
    WHERE n.typname = o.typname AND n.typnamespace = {home}), 0::@oid)::@regtype \
    FROM @pg_type AS o WHERE o.oid = # AND o.typnamespace = {schema}), #)'), \
('@regproc', 'coalesce((SELECT coalesce((SELECT n.oid FROM @pg_proc AS n \
    WHERE n.proname = o.proname AND n.pronamespace = {home} AND {args:n} = {args:o}), 0::@oid)::@regproc \
    FROM @pg_proc AS o WHERE o.oid = # AND o.pronamespace = {schema}), #)'), \
('@regprocedure', 'coalesce((SELECT coalesce((SELECT n.oid FROM @pg_proc AS n \
    WHERE n.proname = o.proname AND n.pronamespace = {home} AND {args:n} = {args:o}), 0::@oid)::@regprocedure \
    FROM @pg_proc AS o WHERE o.oid = # AND o.pronamespace = {schema}), #)')";

/// The types of the arguments of a function `~`, those of its schema by name; for `{args:..}` in [`MOVED`].
const ARGUMENTS: &str = "ARRAY(SELECT CASE WHEN t.typnamespace = ~.pronamespace THEN ''.'' || t.typname::@text \
    ELSE t.oid::@text END FROM @unnest(~.proargtypes) WITH ORDINALITY AS p(type, place) \
    JOIN @pg_type AS t ON t.oid = p.type ORDER BY p.place)";

/// The number of the schema that is the path.
const HOME: &str = "@to_regnamespace(@quote_ident(@current_schema()))";

/// Spells a text out, for the schema of this number.
pub(super) fn expand(text: &str, schema: u32) -> String {
    let text = each(text, "{f:", |name| format!("{SUPPORT}{name})"));
    let text = each(&text, "{role:", |role| ROLE.replace('#', role));
    let moved = each(MOVED, "{args:", |name| ARGUMENTS.replace('~', name));
    [
        ("{copied}", COPIED),
        ("{relations}", RELATIONS),
        ("{types}", TYPES),
        ("{routines}", ROUTINES),
        ("{within}", WITHIN),
        ("{options}", OPTIONS),
        ("{sequence}", SEQUENCE),
        ("{of_identity}", OF_IDENTITY),
        ("{stored}", STORED),
        ("{moved}", &moved),
        ("{home}", HOME),
        ("{space}", SPACE),
        ("{schema}", &schema.to_string()),
        ("@", "pg_catalog."),
    ]
    .iter()
    .fold(text, |text, (short, long)| text.replace(short, long))
}

/// Replaces each `{begin:..}` by what `with` makes of its rest.
fn each(text: &str, begin: &str, with: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(begin);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once('}').unwrap_or((part, ""));
        whole.push_str(&with(inner));
        whole.push_str(rest);
    }
    whole
}

/// Fills a materialized view, whose name is quoted already.
pub(super) fn refresh(view: &str) -> String {
    format!("REFRESH MATERIALIZED VIEW {view}")
}

/// A statement that does nothing.
pub(crate) const NOTHING: &str = "SELECT";

/// The number of a schema, if there is one of this name.
pub(crate) fn number(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Option<u32>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Oid>)]
        oid: Option<u32>,
    }
    let row: Row =
        diesel::sql_query("SELECT pg_catalog.to_regnamespace($1)::pg_catalog.oid AS oid")
            .bind::<Text, _>(schema.quoted())
            .get_result(conn)?;
    Ok(row.oid)
}

/// The values of these settings.
pub(super) fn settings(conn: &mut PgConnection, names: &[&str]) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Array<Text>)]
        settings: Vec<String>,
    }
    let row: Row = diesel::sql_query(
        "SELECT ARRAY(SELECT pg_catalog.current_setting(s.name) \
         FROM pg_catalog.unnest($1) WITH ORDINALITY AS s(name, place) ORDER BY s.place) AS settings",
    )
    .bind::<Array<Text>, _>(names)
    .get_result(conn)?;
    Ok(row.settings)
}

/// Sets these settings until the transaction ends.
pub(super) fn set_locally<'a>(
    conn: &mut PgConnection,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> QueryResult<()> {
    let calls: Vec<String> = settings
        .into_iter()
        .map(|(name, value)| {
            format!(
                "pg_catalog.set_config({}, {}, true)",
                literal(name),
                literal(value)
            )
        })
        .collect();
    conn.batch_execute(&format!("SELECT {}", calls.join(", ")))
}

/// The path on which a schema's objects are named without it, and nobody's temporary tables hide them.
pub(crate) fn path(schema: &SchemaName) -> String {
    format!("{}, pg_temp", schema.quoted())
}

/// Copies the rows of tables into those of the same names on the path.
///
/// One statement sees one state of the database: no row of a table can refer
/// to one that was written after another table was read.
pub(crate) fn copy_rows<'a>(
    source: &SchemaName,
    tables: impl IntoIterator<Item = &'a super::Rows>,
) -> Option<String> {
    let inserts: Vec<String> = tables
        .into_iter()
        .enumerate()
        .map(|(number, table)| {
            let super::Rows {
                name,
                columns,
                values,
            } = table;
            let columns = if columns.is_empty() {
                String::new()
            } else {
                format!("({columns}) ")
            };
            format!(
                "t{number} AS (INSERT INTO {name} {columns}OVERRIDING SYSTEM VALUE \
                 SELECT {values} FROM ONLY {}.{name} AS source_row)",
                source.quoted()
            )
        })
        .collect();
    (!inserts.is_empty()).then(|| format!("WITH {} SELECT", inserts.join(", ")))
}

/// Keeps others from emptying, rewriting or changing tables until the transaction ends; reads nothing.
pub(crate) fn lock(schema: &SchemaName, tables: &[String]) -> Option<String> {
    let schema = schema.quoted();
    let names: Vec<String> = tables
        .iter()
        .map(|table| format!("ONLY {schema}.{table}"))
        .collect();
    (!names.is_empty()).then(|| format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")))
}

/// Where a sequence stands.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct Counter {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = BigInt)]
    last_value: i64,
    #[diesel(sql_type = Bool)]
    is_called: bool,
}

impl Counter {
    /// Puts the sequence of the same name on the path where this one stands.
    pub(crate) fn set(&self) -> String {
        format!(
            "SELECT pg_catalog.setval({}, {}, {})",
            literal(&self.name),
            self.last_value,
            self.is_called
        )
    }
}

/// Reads where sequences stand, all in one statement.
pub(crate) fn counters(
    conn: &mut PgConnection,
    schema: &SchemaName,
    sequences: &[String],
) -> QueryResult<Vec<Counter>> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let selects: Vec<String> = sequences
        .iter()
        .map(|name| {
            format!(
                "SELECT {}::pg_catalog.text AS name, last_value, is_called FROM {}.{name}",
                literal(name),
                schema.quoted()
            )
        })
        .collect();
    diesel::sql_query(selects.join(" UNION ALL ")).load(conn)
}

/// Which of these roles exist.
pub(crate) fn roles(conn: &mut PgConnection, names: &[String]) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::pg_catalog.name[])",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// The server's version and its time.
pub(crate) fn server(conn: &mut PgConnection) -> QueryResult<(String, String)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        version: String,
        #[diesel(sql_type = Text)]
        time: String,
    }
    let row: Row = diesel::sql_query(
        "SELECT pg_catalog.current_setting('server_version') AS version, \
         pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS time",
    )
    .get_result(conn)?;
    Ok((row.version, row.time))
}
