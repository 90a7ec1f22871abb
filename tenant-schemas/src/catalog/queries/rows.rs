//! What has rows or a name, and what has neither a copy.

/// The materialized views that hold rows.
pub(in crate::catalog) const POPULATED: &str = "\
SELECT c.oid AS object FROM {relations} AS c WHERE c.relkind = 'm' AND c.relispopulated";

/// The tables that hold rows, the columns that can be written, and how they are read from a row `source_row`, on the
/// path of the copy.
///
/// A value of a type of the schema's own is another type's in the copy: it goes as text. One that stands for an object of
/// the schema, by its number, is the object of the same name in the copy.
pub(in crate::catalog) const ROWS: &str = "\
SELECT @quote_ident(c.relname) AS name, \
coalesce((SELECT @string_agg(@quote_ident(a.attname), ', ' ORDER BY a.attnum) {stored}), '') AS columns, \
coalesce((SELECT @string_agg(coalesce(\
    (SELECT @replace(m.value, '#', 'source_row.' || @quote_ident(a.attname)) FROM (VALUES {moved}) AS m(type, value) \
     WHERE m.type = a.atttypid), \
    @quote_ident(a.attname) || CASE WHEN t.typnamespace = {schema} \
    THEN '::pg_catalog.text::' || @format_type(a.atttypid, a.atttypmod) ELSE '' END), ', ' ORDER BY a.attnum) {stored}), '') \
AS values \
FROM {relations} AS c WHERE c.relkind = 'r' ORDER BY c.oid";

/// The columns whose values may stand for the schema or its objects by their number, and that [`ROWS`] reads as they are.
pub(in crate::catalog) const NUMBERED: &str = "\
SELECT @format('column %I.%I, of type %s', c.relname, a.attname, @format_type(a.atttypid, a.atttypmod)) AS text, \
'{}'::@text[] AS roles FROM {relations} AS c, LATERAL (SELECT a.*, \
    CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typcategory = 'A' THEN t.typelem END AS made_of {stored}) AS a \
WHERE c.relkind = 'r' AND (a.atttypid = '@regnamespace'::@regtype OR a.made_of IN \
    (SELECT '@regnamespace'::@regtype UNION ALL SELECT m.type FROM (VALUES {moved}) AS m(type, value)))";

/// For each column whose values stand for objects by their number a question: whether some stand for what has no copy on
/// the path.
pub(in crate::catalog) const STANDING: &str = "\
SELECT @format('SELECT %L::@text AS text, ''{}''::@text[] AS roles WHERE EXISTS (\
    SELECT FROM ONLY %I.%I AS source_row WHERE %s = 0::@oid AND source_row.%I <> 0::@oid)', \
    @format('column %I.%I is 0, which stands for nothing, where what it stood for has no copy', c.relname, a.attname), \
    n.nspname, c.relname, @replace(m.value, '#', 'source_row.' || @quote_ident(a.attname)), a.attname) AS text, \
'{}'::@text[] AS roles FROM {relations} AS c JOIN @pg_namespace AS n ON n.oid = c.relnamespace, \
LATERAL (SELECT a.attname, a.attnum, a.atttypid {stored}) AS a JOIN (VALUES {moved}) AS m(type, value) ON m.type = a.atttypid \
WHERE c.relkind = 'r' ORDER BY c.oid, a.attnum";

/// All sequences, those of identity columns too.
pub(in crate::catalog) const COUNTERS: &str = "\
SELECT @quote_ident(c.relname) AS text, '{}'::@text[] AS roles FROM {copied} AS c WHERE c.relkind = 'S' ORDER BY c.oid";

/// The names of everything that can be named with the schema before it.
pub(in crate::catalog) const NAMES: &str = "\
SELECT c.relname::@text AS text, '{}'::@text[] AS roles FROM {relations} AS c \
UNION ALL SELECT t.typname::@text, '{}' FROM {types} AS t UNION ALL SELECT p.proname::@text, '{}' FROM {routines} AS p";

/// What is in the schema and can't be copied: objects of the catalog.
pub(in crate::catalog) const LEFT_OUT: &str = "\
SELECT m.classid AS class, m.objid AS object, @pg_describe_object(m.classid, m.objid, 0) AS name, '' AS text \
FROM @pg_depend AS m LEFT JOIN @pg_class AS c ON m.classid = '@pg_class'::@regclass AND c.oid = m.objid \
LEFT JOIN @pg_type AS t ON m.classid = '@pg_type'::@regclass AND t.oid = m.objid \
WHERE {within} AND m.classid NOT IN ('@pg_proc'::@regclass, '@pg_statistic_ext'::@regclass, \
    '@pg_default_acl'::@regclass) AND coalesce(c.relkind NOT IN ('r', 'p', 'v', 'm', 'S', 'c'), true) \
AND coalesce(t.typtype NOT IN ('e', 'd', 'c', 'r', 'm'), true)";

/// What belongs to extensions in the schema, which have no copy.
pub(in crate::catalog) const EXTENDED: &str = "\
SELECT d.classid AS class, d.objid AS object, 'extension ' || @quote_ident(e.extname) AS name, '' AS text \
FROM @pg_extension AS e JOIN @pg_depend AS d ON d.refclassid = '@pg_extension'::@regclass AND d.refobjid = e.oid \
WHERE e.extnamespace = {schema} AND d.deptype = 'e'";

/// What else has no copy; casts among it, but for those that come with a range type.
pub(in crate::catalog) const LOST: &str = "\
SELECT 'invalid index ' || @quote_ident(x.relname) AS text, '{}'::@text[] AS roles FROM {relations} AS c \
    JOIN @pg_index AS i ON i.indrelid = c.oid JOIN @pg_class AS x ON x.oid = i.indexrelid \
    WHERE NOT i.indisvalid AND x.relkind = 'i' \
UNION ALL SELECT 'partition ' || c.oid::@regclass, '{}' FROM {relations} AS p \
    JOIN @pg_inherits AS h ON h.inhparent = p.oid JOIN @pg_class AS c ON c.oid = h.inhrelid \
    WHERE p.relkind IN ('r', 'p') AND c.relnamespace <> {schema} \
UNION ALL SELECT @format('attachment of %I to %s', c.relname, h.inhparent::@regclass), '{}' FROM {relations} AS c \
    JOIN @pg_inherits AS h ON h.inhrelid = c.oid JOIN @pg_class AS p ON p.oid = h.inhparent \
    WHERE c.relispartition AND p.relnamespace <> {schema} \
UNION ALL SELECT DISTINCT @pg_describe_object(d.classid, d.objid, 0), '{}'::@text[] FROM (\
    SELECT '@pg_type'::@regclass AS class, t.oid FROM {types} AS t UNION ALL SELECT '@pg_proc'::@regclass, p.oid FROM {routines} AS p \
    UNION ALL SELECT x.class, x.oid FROM {relations} AS c, LATERAL (VALUES ('@pg_class'::@regclass, c.oid), \
        ('@pg_type', c.reltype)) AS x(class, oid)) AS o \
    JOIN @pg_depend AS d ON d.refclassid = o.class AND d.refobjid = o.oid \
    WHERE d.classid = '@pg_cast'::@regclass AND d.deptype = 'n' OR d.classid = '@pg_publication_rel'::@regclass";
