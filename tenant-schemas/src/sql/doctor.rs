//! The statements of [`Tenancy::doctor`](crate::Tenancy::doctor), which only read.
//!
//! They ask `pg_catalog` for the schemas at hand, by their oids: the views of
//! `information_schema` would look at every object of every schema.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Oid, SmallInt, Text};

use super::ledger::{FINGERPRINT, LINE};
use super::{DIESEL_LEDGER, LEDGER, STATE, identifier, literal, within};
use crate::name::SchemaName;

/// A schema of the database.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct SchemaRow {
    #[diesel(sql_type = Oid)]
    pub(crate) oid: u32,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// Whether it has a ledger of ours.
    #[diesel(sql_type = Bool)]
    pub(crate) ledger: bool,
}

/// Every schema that is not PostgreSQL's own.
pub(crate) fn schemas(conn: &mut PgConnection) -> QueryResult<Vec<SchemaRow>> {
    diesel::sql_query(format!(
        "SELECT n.oid, n.nspname::text AS name, c.oid IS NOT NULL AS ledger \
         FROM pg_catalog.pg_namespace AS n LEFT JOIN pg_catalog.pg_class AS c \
         ON c.relnamespace = n.oid AND c.relname = '{LEDGER}' AND c.relkind IN ('r', 'p') \
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         ORDER BY n.nspname COLLATE \"C\""
    ))
    .load(conn)
}

/// A line of the table of states.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct StateRow {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) fingerprint: String,
}

/// The table of states.
pub(crate) fn states(conn: &mut PgConnection, public: &SchemaName) -> QueryResult<Vec<StateRow>> {
    diesel::sql_query(format!(
        "SELECT schema_name, fingerprint FROM {} ORDER BY schema_name COLLATE \"C\"",
        within(public, STATE)
    ))
    .load(conn)
}

/// What a schema's ledger says, and what the table of states says at the same instant.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct WholeLedger {
    #[diesel(sql_type = Text)]
    pub(crate) schema_name: String,
    #[diesel(sql_type = Text)]
    pub(crate) fingerprint: String,
    /// `None` if the fingerprint is an expected one.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub(crate) applied: Option<Vec<String>>,
    /// The fingerprint in the table of states.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) state: Option<String>,
}

/// Reads the ledgers of these schemas, given by name, in one statement: no more than [`ledgers::AT_ONCE`](super::ledgers::AT_ONCE).
pub(crate) fn whole_ledgers(
    conn: &mut PgConnection,
    state: Option<&SchemaName>,
    schemas: &[&str],
    expected: &[String],
) -> QueryResult<Vec<WholeLedger>> {
    let ledgers: Vec<String> = schemas
        .iter()
        .map(|schema| {
            format!(
                "SELECT {} AS schema_name, {}::regnamespace::oid AS schema_oid, {FINGERPRINT} AS fingerprint, \
                 coalesce(pg_catalog.array_agg({LINE}), '{{}}') AS applied FROM {}.{LEDGER} AS l",
                literal(schema),
                literal(&identifier(schema)),
                identifier(schema),
            )
        })
        .collect();
    let state = state.map_or_else(
        || {
            "SELECT NULL::text AS schema_name, NULL::oid AS schema_oid, NULL::text AS fingerprint"
                .to_owned()
        },
        |public| {
            format!(
                "SELECT schema_name, schema_oid, fingerprint FROM {}",
                within(public, STATE)
            )
        },
    );
    diesel::sql_query(format!(
        "SELECT w.schema_name, w.fingerprint, s.fingerprint AS state, \
         CASE WHEN w.fingerprint = ANY($1) THEN NULL ELSE w.applied END AS applied \
         FROM ({}) AS w LEFT JOIN ({state}) AS s \
         ON s.schema_name = w.schema_name AND s.schema_oid = w.schema_oid",
        ledgers.join(" UNION ALL ")
    ))
    .bind::<Array<Text>, _>(expected)
    .load(conn)
}

/// Has every name outside `pg_catalog` printed with its schema, until the transaction ends.
pub(crate) fn print_qualified(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SET LOCAL search_path TO pg_catalog")
}

/// The objects of schemas, one row each, as common table expression `object`.
///
/// Definitions name what is in their own schema without it, so that two
/// tenants' can be compared: what `pattern` finds is its own schema's name, or
/// what must not be mistaken for it, which it captures to be put back. Strings
/// are left alone, but for those that name a relation. Partitions are left out,
/// which come and go with the data; so are indexes that belong to a constraint.
fn objects() -> String {
    format!(
        r#"WITH schema AS (
    SELECT n.oid, quote_ident(n.nspname) || '.' AS prefix,
        replace($$('(?:[^']|'')*'(?!::reg))|('(?!OWN)[^']*'::reg)|(')OWN([^']*'::reg)|(?<![\w$"])OWN$$, 'OWN',
            regexp_replace(quote_ident(n.nspname), '([^\w])', '\\\1', 'g') || '\.') AS pattern
    FROM pg_catalog.pg_namespace AS n WHERE n.oid = ANY($1)
), relation AS (
    SELECT c.oid, c.relnamespace AS schema, c.relname::text AS name, c.relkind AS kind
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
        AND c.relname NOT IN ('{LEDGER}', '{DIESEL_LEDGER}', '{STATE}')
), raw AS (
    SELECT r.schema,
        CASE r.kind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
        r.name AS relation, '' AS name,
        CASE r.kind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(r.oid) WHEN 'f' THEN 'foreign'
            WHEN 'r' THEN '' ELSE pg_get_viewdef(r.oid) END AS definition,
        false AS required, '' AS fallback, 0::int2 AS position
    FROM relation AS r
    UNION ALL
    SELECT r.schema, 'column', r.name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        CASE WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
            WHEN a.attidentity = 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY'
            WHEN a.attgenerated = 's' THEN 'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
            WHEN a.attgenerated = 'v' THEN 'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') VIRTUAL'
            WHEN d.oid IS NULL THEN '' ELSE 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
        a.attnum
    FROM relation AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT r.schema, 'constraint', r.name, k.conname,
        regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''), false, '',
        (CASE k.contype WHEN 'p' THEN 0 WHEN 'u' THEN 1 WHEN 'f' THEN 3 ELSE 2 END)::int2
    FROM relation AS r
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')
    UNION ALL
    SELECT r.schema, 'index', r.name, c.relname, pg_get_indexdef(i.indexrelid), false, '', 0::int2
    FROM relation AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k
        WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT r.schema, 'trigger', r.name, t.tgname, pg_get_triggerdef(t.oid), false, '', 0::int2
    FROM relation AS r
    JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
    UNION ALL
    SELECT t.typnamespace, 'enum', t.typname, '',
        (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
            FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid), false, '', 0::int2
    FROM pg_catalog.pg_type AS t WHERE t.typnamespace = ANY($1) AND t.typtype = 'e'
    OFFSET 0
), object AS (
    SELECT r.schema, r.kind, r.relation, r.name::text AS name, r.required, r.position,
        CASE WHEN strpos(r.definition, s.prefix) = 0 THEN r.definition
            ELSE regexp_replace(r.definition, s.pattern, '\1\2\3\4', 'g') END AS definition,
        CASE WHEN strpos(r.fallback, s.prefix) = 0 THEN r.fallback
            ELSE regexp_replace(r.fallback, s.pattern, '\1\2\3\4', 'g') END AS fallback
    FROM raw AS r JOIN schema AS s ON s.oid = r.schema
)
"#
    )
}

/// Sums up what a schema has: equal for schemas that have the same.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct ShapeRow {
    #[diesel(sql_type = Oid)]
    pub(crate) schema: u32,
    #[diesel(sql_type = Text)]
    pub(crate) hash: String,
}

/// Sums these schemas up on the server. One that has no objects is left out.
pub(crate) fn shapes(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<ShapeRow>> {
    // A sum needs no order, which would mean sorting every column of the fleet.
    diesel::sql_query(objects() + r"
SELECT o.schema, sum(hashtextextended(
    concat_ws(E'\x01', o.kind, o.relation, o.name, o.required, o.definition, o.fallback), 0))::text AS hash
FROM object AS o GROUP BY o.schema")
    .bind::<Array<Oid>, _>(schemas)
    .load(conn)
}

/// A table, a column, an index or the like.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct ObjectRow {
    #[diesel(sql_type = Oid)]
    pub(crate) schema: u32,
    #[diesel(sql_type = Text)]
    pub(crate) kind: String,
    #[diesel(sql_type = Text)]
    pub(crate) relation: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// Its definition; of a column, the type.
    #[diesel(sql_type = Text)]
    pub(crate) definition: String,
    /// A column that is `NOT NULL`.
    #[diesel(sql_type = Bool)]
    pub(crate) required: bool,
    /// A column's default, identity or generation.
    #[diesel(sql_type = Text)]
    pub(crate) fallback: String,
    /// Where it stands among the others of its table.
    #[diesel(sql_type = SmallInt)]
    pub(crate) position: i16,
}

/// Reads the objects of these schemas.
pub(crate) fn objects_of(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Vec<ObjectRow>> {
    diesel::sql_query(
        objects()
            + "SELECT o.schema, o.kind, o.relation, o.name, coalesce(o.definition, '') AS definition, \
               o.required, coalesce(o.fallback, '') AS fallback, o.position FROM object AS o",
    )
    .bind::<Array<Oid>, _>(schemas)
    .load(conn)
}

/// An index that PostgreSQL does not use, or a constraint that not all rows were checked for.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct UnfinishedRow {
    #[diesel(sql_type = Oid)]
    pub(crate) schema: u32,
    #[diesel(sql_type = Text)]
    pub(crate) relation: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_index: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_unique: bool,
}

/// Finds what was left unfinished in these schemas; an index that is being built is not.
pub(crate) fn unfinished(
    conn: &mut PgConnection,
    schemas: &[u32],
) -> QueryResult<Vec<UnfinishedRow>> {
    diesel::sql_query(
        "SELECT c.relnamespace AS schema, t.relname::text AS relation, c.relname::text AS name, \
         true AS is_index, i.indisunique AS is_unique \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid \
         WHERE c.relnamespace = ANY($1) AND c.relkind = 'i' AND NOT i.indisvalid \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.relid = i.indrelid) \
         UNION ALL \
         SELECT k.connamespace, t.relname::text, k.conname::text, false, false \
         FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid \
         WHERE k.connamespace = ANY($1) AND k.contype IN ('c', 'f') AND NOT k.convalidated \
         ORDER BY 1, 2, 3",
    )
    .bind::<Array<Oid>, _>(schemas)
    .load(conn)
}

/// A setting, as this connection has it; times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct SettingRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) value: String,
}

/// Reads settings; those that this version of PostgreSQL does not have are left out.
pub(crate) fn settings(conn: &mut PgConnection, names: &[&str]) -> QueryResult<Vec<SettingRow>> {
    diesel::sql_query(
        "SELECT name, CASE WHEN unit = '8kB' THEN (setting::bigint * 8192)::text ELSE setting END AS value \
         FROM pg_catalog.pg_settings WHERE name = ANY($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
}

/// How much there is in the database.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct SizeRow {
    #[diesel(sql_type = Text)]
    pub(crate) database: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) relations: i64,
    /// What `pg_dump` locks.
    #[diesel(sql_type = BigInt)]
    pub(crate) tables: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) catalog_bytes: i64,
}

/// Measures the database.
pub(crate) fn size(conn: &mut PgConnection) -> QueryResult<SizeRow> {
    diesel::sql_query(
        "SELECT current_database()::text AS database, count(*) AS relations, \
         count(*) FILTER (WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
             AND relnamespace <> 'pg_catalog'::regnamespace) AS tables, \
         coalesce(sum(pg_total_relation_size(oid)) FILTER (WHERE relkind = 'r' \
             AND relnamespace = 'pg_catalog'::regnamespace), 0)::bigint AS catalog_bytes \
         FROM pg_catalog.pg_class",
    )
    .get_result(conn)
}

/// The schema that needs the most locks to be dropped.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct WidestRow {
    #[diesel(sql_type = Oid)]
    pub(crate) schema: u32,
    /// How many locks dropping it takes at least.
    #[diesel(sql_type = BigInt)]
    pub(crate) locks: i64,
}

/// Finds the schema with the most relations, and counts what dropping it locks.
pub(crate) fn widest(conn: &mut PgConnection, schemas: &[u32]) -> QueryResult<Option<WidestRow>> {
    diesel::sql_query(
        "WITH widest AS (SELECT c.relnamespace AS schema, count(*) AS relations, \
             count(*) FILTER (WHERE c.reltoastrelid <> 0) AS toasts \
             FROM pg_catalog.pg_class AS c WHERE c.relnamespace = ANY($1) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1) \
         SELECT w.schema, 1 + w.relations + 2 * w.toasts \
             + (SELECT count(*) FROM pg_catalog.pg_type AS t WHERE t.typnamespace = w.schema) \
             + (SELECT count(*) FROM pg_catalog.pg_constraint AS k WHERE k.connamespace = w.schema) \
             + (SELECT count(*) FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.adrelid \
                 WHERE c.relnamespace = w.schema) AS locks \
         FROM widest AS w",
    )
    .bind::<Array<Oid>, _>(schemas)
    .get_result(conn)
    .optional()
}

/// A system catalog with more dead rows than live ones.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct BloatRow {
    #[diesel(sql_type = Text)]
    pub(crate) catalog: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) live: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) dead: i64,
}

/// Finds the system catalogs that have more dead rows than live ones, and more than `least`.
pub(crate) fn bloat(conn: &mut PgConnection, least: i64) -> QueryResult<Vec<BloatRow>> {
    diesel::sql_query(
        "SELECT relname::text AS catalog, n_live_tup AS live, n_dead_tup AS dead \
         FROM pg_catalog.pg_stat_sys_tables WHERE schemaname = 'pg_catalog' \
         AND n_dead_tup > n_live_tup AND n_dead_tup > $1 ORDER BY relname",
    )
    .bind::<BigInt, _>(least)
    .load(conn)
}

/// A search path that someone gave to the role or the database.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct PathSettingRow {
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) database: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) setting: String,
}

/// Finds the search paths that sessions like this one begin with.
pub(crate) fn path_settings(conn: &mut PgConnection) -> QueryResult<Vec<PathSettingRow>> {
    diesel::sql_query(
        "SELECT r.rolname::text AS role, d.datname::text AS database, c.setting \
         FROM pg_catalog.pg_db_role_setting AS s \
         CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting) \
         LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole \
         LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase \
         WHERE c.setting LIKE 'search\\_path=%' \
         AND (s.setrole = 0 OR r.rolname = session_user) \
         AND (s.setdatabase = 0 OR d.datname = current_database()) \
         ORDER BY 1, 2",
    )
    .load(conn)
}

/// Values that stand more than once in a column that has to be unique, a few of them.
pub(crate) fn duplicates(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    only: Option<&str>,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let column = identifier(column);
    let only = only.map_or_else(String::new, |only| format!(" AND {}", identifier(only)));
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT {column}::text AS value FROM {table} WHERE {column} IS NOT NULL{only} \
         GROUP BY {column} HAVING count(*) > 1 ORDER BY 1 LIMIT 3"
    ))
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// What an operator types to end a finding: SQL text that is shown, and never sent by us.
pub(crate) mod advice {
    use super::identifier;

    pub(crate) fn table(schema: &str, table: &str) -> String {
        format!("{}.{}", identifier(schema), identifier(table))
    }

    pub(crate) fn create_table(table: &str, columns: &[String]) -> String {
        format!("CREATE TABLE {table} ({})", columns.join(", "))
    }

    pub(crate) fn create_view(kind: &str, view: &str, query: &str) -> String {
        let kind = kind.to_uppercase();
        format!("CREATE {kind} {view} AS {}", query.trim_end_matches(';'))
    }

    pub(crate) fn create_enum(name: &str, labels: &str) -> String {
        format!("CREATE TYPE {name} AS ENUM ({labels})")
    }

    pub(crate) fn create_sequence(sequence: &str) -> String {
        format!("CREATE SEQUENCE IF NOT EXISTS {sequence}")
    }

    pub(crate) fn own_sequence(sequence: &str, table: &str, column: &str) -> String {
        format!(
            "ALTER SEQUENCE {sequence} OWNED BY {table}.{}",
            identifier(column)
        )
    }

    pub(crate) fn add_column(table: &str, column: &str) -> String {
        format!("ALTER TABLE {table} ADD COLUMN {column}")
    }

    pub(crate) fn alter_column(table: &str, column: &str, change: &str) -> String {
        format!(
            "ALTER TABLE {table} ALTER COLUMN {} {change}",
            identifier(column)
        )
    }

    pub(crate) fn change_type(column: &str, to: &str) -> String {
        format!("TYPE {to} USING {}::{to}", identifier(column))
    }

    pub(crate) fn add_constraint(table: &str, name: &str, definition: &str) -> String {
        format!(
            "ALTER TABLE {table} ADD CONSTRAINT {} {definition}",
            identifier(name)
        )
    }

    pub(crate) fn drop_constraint(table: &str, name: &str) -> String {
        format!("ALTER TABLE {table} DROP CONSTRAINT {}", identifier(name))
    }

    pub(crate) fn replace_constraint(table: &str, name: &str, definition: &str) -> String {
        let name = identifier(name);
        format!("ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {definition}")
    }

    /// Several statements as one, which is done or not, wherever it is typed.
    pub(crate) fn together(statements: &[String]) -> String {
        let statements = statements.join("; ");
        format!("DO $doctor$ BEGIN {statements}; END $doctor$")
    }

    pub(crate) fn validate(table: &str, name: &str) -> String {
        format!(
            "ALTER TABLE {table} VALIDATE CONSTRAINT {}",
            identifier(name)
        )
    }

    pub(crate) fn drop(kind: &str, name: &str) -> String {
        format!("DROP {} {name}", kind.to_uppercase())
    }

    pub(crate) fn drop_trigger(name: &str, table: &str) -> String {
        format!("DROP TRIGGER {} ON {table}", identifier(name))
    }

    pub(crate) fn drop_column(table: &str, name: &str) -> String {
        format!("ALTER TABLE {table} DROP COLUMN {}", identifier(name))
    }

    pub(crate) fn drop_index_concurrently(index: &str) -> String {
        format!("DROP INDEX CONCURRENTLY {index}")
    }

    pub(crate) fn reindex(index: &str) -> String {
        format!("REINDEX INDEX CONCURRENTLY {index}")
    }

    pub(crate) fn vacuum(catalog: &str) -> String {
        format!("VACUUM pg_catalog.{catalog}")
    }

    pub(crate) fn alter_system(setting: &str, value: impl std::fmt::Display) -> String {
        format!("ALTER SYSTEM SET {setting} = {value}")
    }

    pub(crate) fn set_for_database(database: &str, setting: &str, value: &str) -> String {
        format!(
            "ALTER DATABASE {} SET {setting} = '{value}'",
            identifier(database)
        )
    }

    pub(crate) fn reset_path(role: Option<&str>, database: Option<&str>) -> String {
        let subject = match (role, database) {
            (Some(role), Some(database)) => {
                format!(
                    "ROLE {} IN DATABASE {}",
                    identifier(role),
                    identifier(database)
                )
            }
            (Some(role), None) => format!("ROLE {}", identifier(role)),
            (None, Some(database)) => format!("DATABASE {}", identifier(database)),
            (None, None) => "ROLE ALL".to_owned(),
        };
        format!("ALTER {subject} RESET search_path")
    }

    /// Writes another checksum beside a migration that is applied.
    pub(crate) fn set_checksum(
        schema: &crate::SchemaName,
        (app, version): (&str, &str),
        checksum: &str,
    ) -> String {
        format!(
            "UPDATE {} SET checksum = {} WHERE app = {} AND version = {}",
            super::within(schema, super::LEDGER),
            super::literal(checksum),
            super::literal(app),
            super::literal(version),
        )
    }

    pub(crate) fn delete_state(public: &crate::SchemaName, schema: &str) -> String {
        format!(
            "DELETE FROM {} WHERE schema_name = {}",
            super::within(public, super::STATE),
            super::literal(schema)
        )
    }
}
