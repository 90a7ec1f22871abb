//! What depends on what.

/// What one object stands for: the type of a table for the table, the index of a key for the key.
pub(in crate::catalog) const ALIASES: &str = "\
SELECT '@pg_type'::@regclass::@oid AS class, k.oid AS object, '@pg_class'::@regclass::@oid AS of_class, c.oid AS of_object \
FROM {relations} AS c JOIN @pg_type AS t ON t.oid = c.reltype, LATERAL (VALUES (t.oid), (t.typarray)) AS k(oid) \
WHERE c.relkind <> 'c' \
UNION ALL SELECT '@pg_type'::@regclass, t.typarray, '@pg_type'::@regclass, t.oid FROM {types} AS t \
UNION ALL SELECT '@pg_class'::@regclass, t.typrelid, '@pg_type'::@regclass, t.oid FROM {types} AS t WHERE t.typrelid <> 0 \
UNION ALL SELECT '@pg_type'::@regclass, (@to_jsonb(r) ->> 'rngmultitypid')::@oid, '@pg_type'::@regclass, t.oid \
    FROM {types} AS t JOIN @pg_range AS r ON r.rngtypid = t.oid WHERE @to_jsonb(r) ? 'rngmultitypid' \
UNION ALL SELECT w.tableoid, w.oid, '@pg_class'::@regclass, c.oid \
    FROM {relations} AS c JOIN @pg_rewrite AS w ON w.ev_class = c.oid WHERE w.rulename = '_RETURN' \
UNION ALL SELECT d.tableoid, d.oid, '@pg_class'::@regclass, c.oid \
    FROM {relations} AS c JOIN @pg_attrdef AS d ON d.adrelid = c.oid \
    JOIN @pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.adnum WHERE a.attgenerated <> '' \
UNION ALL SELECT '@pg_class'::@regclass, con.conindid, con.tableoid, con.oid \
    FROM {relations} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid WHERE con.contype IN ('p', 'u', 'x') \
UNION ALL SELECT '@pg_class'::@regclass, c.oid, '@pg_class'::@regclass, i.refobjid \
    FROM {relations} AS c JOIN @pg_depend AS i ON i.classid = '@pg_class'::@regclass AND i.objid = c.oid \
    WHERE c.relkind = 'S' AND i.refclassid = '@pg_class'::@regclass AND i.deptype = 'i' \
UNION ALL SELECT i.classid, i.objid, i.refclassid, t.oid \
    FROM {types} AS t JOIN @pg_depend AS i ON i.refclassid = '@pg_type'::@regclass AND i.refobjid = t.oid \
    WHERE i.classid = '@pg_proc'::@regclass AND i.deptype = 'i'";

/// What the objects `$1`, `$2` depend on.
pub(in crate::catalog) const EDGES: &str = "\
SELECT d.classid AS class, d.objid AS object, d.refclassid AS of_class, d.refobjid AS of_object \
FROM ROWS FROM (@unnest($1), @unnest($2)) AS n(class, object) \
JOIN @pg_depend AS d ON d.classid = n.class AND d.objid = n.object WHERE d.deptype IN ('n', 'a', 'i')";

/// What the attachments depend on: they are no objects of the catalog's.
pub(in crate::catalog) const ATTACH_EDGES: &str = "\
SELECT a.class::@oid AS class, h.inhrelid AS object, '@pg_class'::@regclass::@oid AS of_class, o.oid AS of_object \
FROM (SELECT 1 AS class, c.oid FROM {relations} AS c WHERE c.relispartition UNION ALL \
    SELECT 2, i.indexrelid FROM {relations} AS c JOIN @pg_index AS i ON i.indrelid = c.oid) AS a \
JOIN @pg_inherits AS h ON h.inhrelid = a.oid, LATERAL (VALUES (h.inhrelid), (h.inhparent)) AS o(oid)";

/// What depends on the objects of the schema and is in the one that is the path; what each depends on stands for roles.
pub(in crate::catalog) const DEPENDENTS: &str = "\
SELECT DISTINCT @pg_describe_object(d.classid, d.objid, d.objsubid) AS text, \
ARRAY[@pg_describe_object(d.refclassid, d.refobjid, 0)] AS roles \
FROM (SELECT m.classid, m.objid FROM @pg_depend AS m WHERE {within} UNION ALL \
    SELECT '@pg_type'::@regclass, k.oid FROM {relations} AS c JOIN @pg_type AS t ON t.oid = c.reltype, \
    LATERAL (VALUES (t.oid), (t.typarray)) AS k(oid) UNION ALL \
    SELECT '@pg_type'::@regclass, t.typarray FROM {types} AS t) AS o \
JOIN @pg_depend AS d ON d.refclassid = o.classid AND d.refobjid = o.objid \
WHERE {space} = @to_regnamespace(@quote_ident(@current_schema())) ORDER BY 1";
