//! The parts of a schema, each as the statement that makes it.

pub(in crate::catalog) const TYPE: &str = "\
SELECT '@pg_type'::@regclass::@oid AS class, t.oid AS object, 'type ' || @quote_ident(t.typname) AS name, \
CASE t.typtype \
WHEN 'e' THEN @format('CREATE TYPE %I AS ENUM (%s)', t.typname, (\
    SELECT @string_agg(@quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) \
    FROM @pg_enum AS e WHERE e.enumtypid = t.oid)) \
WHEN 'd' THEN @format('CREATE DOMAIN %I AS %s', t.typname, @format_type(t.typbasetype, t.typtypmod)) \
    || CASE WHEN t.typcollation <> b.typcollation \
       THEN ' COLLATE ' || t.typcollation::@regcollation::@text ELSE '' END \
    || coalesce(' DEFAULT ' || @pg_get_expr(t.typdefaultbin, 0), '') \
    || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END \
WHEN 'c' THEN @format('CREATE TYPE %I AS (%s)', t.typname, (\
    SELECT @string_agg(@format('%I %s', a.attname, @format_type(a.atttypid, a.atttypmod)) \
        || CASE WHEN a.attcollation <> 0 AND a.attcollation <> u.typcollation \
           THEN ' COLLATE ' || a.attcollation::@regcollation::@text ELSE '' END, ', ' ORDER BY a.attnum) \
    FROM @pg_attribute AS a JOIN @pg_type AS u ON u.oid = a.atttypid \
    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)) \
ELSE (SELECT @format('CREATE TYPE %I AS RANGE (SUBTYPE = %s', t.typname, @format_type(r.rngsubtype, NULL)) \
    || CASE WHEN r.rngcollation <> 0 THEN ', COLLATION = ' || r.rngcollation::@regcollation::@text ELSE '' END \
    || CASE WHEN r.rngsubdiff <> 0 THEN ', SUBTYPE_DIFF = ' || r.rngsubdiff::@text ELSE '' END \
    || coalesce((SELECT @format(', MULTIRANGE_TYPE_NAME = %I', u.typname) FROM @pg_type AS u \
       WHERE u.oid = (@to_jsonb(r) ->> 'rngmultitypid')::@oid), '') || ')' \
    FROM @pg_range AS r WHERE r.rngtypid = t.oid) \
END AS text \
FROM {types} AS t LEFT JOIN @pg_type AS b ON b.oid = t.typbasetype";

pub(in crate::catalog) const DOMAIN_CHECK: &str = "\
SELECT con.tableoid AS class, con.oid AS object, 'constraint ' || @quote_ident(con.conname) AS name, \
@format('ALTER DOMAIN %I ADD CONSTRAINT %I %s', t.typname, con.conname, @pg_get_constraintdef(con.oid)) AS text \
FROM {types} AS t JOIN @pg_constraint AS con ON con.contypid = t.oid WHERE con.contype = 'c'";

pub(in crate::catalog) const SEQUENCES: &str = "\
SELECT '@pg_class'::@regclass::@oid AS class, c.oid AS object, 'sequence ' || @quote_ident(c.relname) AS name, \
@format('CREATE %sSEQUENCE %I AS %s %s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, \
    c.relname, @format_type(s.seqtypid, NULL), {sequence}) AS text \
FROM {copied} AS c JOIN @pg_sequence AS s ON s.seqrelid = c.oid WHERE NOT EXISTS {of_identity}";

/// Functions and procedures, whose bodies are looked through.
pub(in crate::catalog) const FUNCTION: &str = "\
SELECT '@pg_proc'::@regclass::@oid AS class, p.oid AS object, 'function ' || p.oid::@regprocedure AS name, \
@pg_get_functiondef(p.oid) AS text, p.prosrc AS body \
FROM {routines} AS p WHERE p.prokind <> 'a'";

pub(in crate::catalog) const AGGREGATE: &str = "\
SELECT '@pg_proc'::@regclass::@oid AS class, p.oid AS object, 'aggregate ' || p.oid::@regprocedure AS name, \
@format('CREATE AGGREGATE %I(%s) (SFUNC = %s, STYPE = %s', p.proname, \
    CASE WHEN p.pronargs = 0 THEN '*' ELSE @pg_get_function_arguments(p.oid) END, \
    {f:aggtransfn}, @format_type(g.aggtranstype, NULL)) \
|| CASE WHEN g.aggtransspace <> 0 THEN ', SSPACE = ' || g.aggtransspace ELSE '' END \
|| coalesce(', FINALFUNC = ' || {f:aggfinalfn} || CASE WHEN g.aggfinalextra THEN ', FINALFUNC_EXTRA' ELSE '' END \
   || CASE WHEN g.aggfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r' ELSE 'w' END THEN ', FINALFUNC_MODIFY = ' \
   || CASE g.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END ELSE '' END, '') \
|| coalesce(', COMBINEFUNC = ' || {f:aggcombinefn}, '') \
|| coalesce(', SERIALFUNC = ' || {f:aggserialfn}, '') || coalesce(', DESERIALFUNC = ' || {f:aggdeserialfn}, '') \
|| coalesce(', INITCOND = ' || @quote_literal(g.agginitval), '') \
|| coalesce(', MSFUNC = ' || {f:aggmtransfn} || ', MSTYPE = ' || @format_type(g.aggmtranstype, NULL), '') \
|| coalesce(', MINVFUNC = ' || {f:aggminvtransfn}, '') \
|| CASE WHEN g.aggmtransspace <> 0 THEN ', MSSPACE = ' || g.aggmtransspace ELSE '' END \
|| coalesce(', MFINALFUNC = ' || {f:aggmfinalfn} || CASE WHEN g.aggmfinalextra THEN ', MFINALFUNC_EXTRA' ELSE '' END, '') \
|| coalesce(', MINITCOND = ' || @quote_literal(g.aggminitval), '') \
|| CASE WHEN g.aggsortop <> 0 THEN (SELECT @format(', SORTOP = OPERATOR(%I.%s)', n.nspname, o.oprname) \
   FROM @pg_operator AS o JOIN @pg_namespace AS n ON n.oid = o.oprnamespace WHERE o.oid = g.aggsortop) ELSE '' END \
|| CASE WHEN g.aggkind = 'h' THEN ', HYPOTHETICAL' ELSE '' END \
|| CASE p.proparallel WHEN 's' THEN ', PARALLEL = SAFE' WHEN 'r' THEN ', PARALLEL = RESTRICTED' ELSE '' END \
|| ')' AS text \
FROM {routines} AS p JOIN @pg_aggregate AS g ON g.aggfnoid = p.oid";

pub(in crate::catalog) const TABLE: &str = "\
SELECT '@pg_class'::@regclass::@oid AS class, c.oid AS object, 'table ' || @quote_ident(c.relname) AS name, \
@format('CREATE %sTABLE %I (%s)', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, c.relname, (\
    SELECT @string_agg(@format('%I %s', a.attname, @format_type(a.atttypid, a.atttypmod)) \
        || CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation \
           THEN ' COLLATE ' || a.attcollation::@regcollation::@text ELSE '' END \
        || CASE WHEN a.attgenerated = '' THEN '' ELSE @format(' GENERATED ALWAYS AS (%s) %s', \
           @pg_get_expr(d.adbin, d.adrelid), CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END) END \
        || coalesce((SELECT @format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %I %s)', \
               CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, q.relname, {sequence}) \
           FROM @pg_depend AS i JOIN @pg_class AS q ON q.oid = i.objid JOIN @pg_sequence AS s ON s.seqrelid = q.oid \
           WHERE i.classid = '@pg_class'::@regclass AND i.refclassid = '@pg_class'::@regclass \
           AND i.refobjid = a.attrelid AND i.refobjsubid = a.attnum AND i.deptype = 'i'), '') \
        || CASE WHEN a.attnotnull THEN coalesce((\
           SELECT @format(' CONSTRAINT %I NOT NULL%s', n.conname, \
               CASE WHEN n.connoinherit THEN ' NO INHERIT' ELSE '' END) FROM @pg_constraint AS n \
           WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND n.conislocal AND a.attnum = ANY (n.conkey)), \
           ' NOT NULL') ELSE '' END, ', ' ORDER BY a.attnum) \
    FROM @pg_attribute AS a JOIN @pg_type AS t ON t.oid = a.atttypid \
    LEFT JOIN @pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attislocal OR c.relispartition))) \
|| CASE WHEN c.relispartition THEN '' ELSE coalesce((\
   SELECT @format(' INHERITS (%s)', @string_agg(h.inhparent::@regclass::@text, ', ' ORDER BY h.inhseqno)) \
   FROM @pg_inherits AS h WHERE h.inhrelid = c.oid HAVING count(*) > 0), '') END \
|| CASE c.relkind WHEN 'p' THEN ' PARTITION BY ' || @pg_get_partkeydef(c.oid) ELSE '' END \
|| CASE WHEN am.amname <> 'heap' THEN ' USING ' || @quote_ident(am.amname) ELSE '' END \
|| coalesce(' WITH (' || NULLIF(@concat_ws(', ', {options}, (\
   SELECT @string_agg(@format('toast.%s = %L', @split_part(o, '=', 1), @substr(o, @strpos(o, '=') + 1)), ', ') \
   FROM @pg_class AS k, @unnest(k.reloptions) AS o WHERE k.oid = c.reltoastrelid)), '') || ')', '') \
|| CASE WHEN c.reloftype <> 0 \
   THEN @format(E';\\nALTER TABLE %I OF %s', c.relname, @format_type(c.reloftype, NULL)) ELSE '' END \
|| coalesce((SELECT @string_agg(@format(E';\\nALTER TABLE ONLY %I ALTER COLUMN %I %s', c.relname, a.attname, x.change), '' \
       ORDER BY a.attnum, x.change) \
   FROM @pg_attribute AS a JOIN @pg_type AS t ON t.oid = a.atttypid, \
   LATERAL (VALUES \
       (CASE WHEN a.attstorage <> t.typstorage THEN 'SET STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' \
           WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END), \
       (CASE @to_jsonb(a) ->> 'attcompression' WHEN 'p' THEN 'SET COMPRESSION pglz' \
           WHEN 'l' THEN 'SET COMPRESSION lz4' END), \
       ('SET STATISTICS ' || NULLIF(@to_jsonb(a) ->> 'attstattarget', '-1')), \
       ('SET (' || @array_to_string(a.attoptions, ', ') || ')'), \
       (CASE WHEN a.attnotnull AND NOT a.attislocal AND NOT c.relispartition AND NOT EXISTS (\
           SELECT FROM @pg_constraint AS n WHERE n.conrelid = a.attrelid AND n.contype = 'n' \
           AND a.attnum = ANY (n.conkey)) THEN 'SET NOT NULL' END)\
   ) AS x(change) \
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND x.change IS NOT NULL), '') AS text \
FROM {copied} AS c LEFT JOIN @pg_am AS am ON am.oid = c.relam WHERE c.relkind IN ('r', 'p')";

/// Partitions are made as tables of their own and attached: their columns may stand in another order.
pub(in crate::catalog) const ATTACH: &str = "\
SELECT 1::@oid AS class, c.oid AS object, 'partition ' || @quote_ident(c.relname) AS name, \
@format('ALTER TABLE ONLY %s ATTACH PARTITION %I %s', h.inhparent::@regclass, c.relname, \
    @pg_get_expr(c.relpartbound, c.oid)) AS text \
FROM {copied} AS c JOIN @pg_inherits AS h ON h.inhrelid = c.oid \
JOIN @pg_class AS parent ON parent.oid = h.inhparent \
WHERE c.relispartition AND c.relkind IN ('r', 'p') AND parent.relnamespace = {schema}";

pub(in crate::catalog) const DEFAULT: &str = "\
SELECT d.tableoid AS class, d.oid AS object, \
@format('default of %I.%I', c.relname, a.attname) AS name, \
@format('ALTER TABLE %s%I ALTER COLUMN %I SET DEFAULT %s', CASE c.relkind WHEN 'v' THEN '' ELSE 'ONLY ' END, \
    c.relname, a.attname, @pg_get_expr(d.adbin, d.adrelid)) AS text \
FROM {copied} AS c JOIN @pg_attrdef AS d ON d.adrelid = c.oid \
JOIN @pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.adnum \
WHERE c.relkind IN ('r', 'p', 'v') AND a.attgenerated = ''";

/// Checks that a table has both by itself and from a parent: the parent's is merged into them.
pub(in crate::catalog) const MERGED_CHECK: &str = "\
SELECT con.tableoid AS class, con.oid AS object, 'constraint ' || @quote_ident(con.conname) AS name, \
@format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, con.conname, @pg_get_constraintdef(con.oid)) AS text \
FROM {copied} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid \
WHERE con.contype = 'c' AND con.conislocal AND con.coninhcount > 0";

pub(in crate::catalog) const CHECK: &str = "\
SELECT con.tableoid AS class, con.oid AS object, 'constraint ' || @quote_ident(con.conname) AS name, \
@format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, con.conname, @pg_get_constraintdef(con.oid)) AS text \
FROM {copied} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid \
WHERE con.contype = 'c' AND con.conislocal AND con.coninhcount = 0";

/// Primary keys, unique and exclusion constraints.
pub(in crate::catalog) const KEY: &str = "\
SELECT con.tableoid AS class, con.oid AS object, 'constraint ' || @quote_ident(con.conname) AS name, \
@format('ALTER TABLE ONLY %I ADD CONSTRAINT %I %s', c.relname, con.conname, @pg_get_constraintdef(con.oid)) AS text \
FROM {copied} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid WHERE con.contype IN ('p', 'u', 'x')";

pub(in crate::catalog) const INDEX: &str = "\
SELECT '@pg_class'::@regclass::@oid AS class, x.oid AS object, 'index ' || @quote_ident(x.relname) AS name, \
@pg_get_indexdef(x.oid) || coalesce((\
    SELECT @string_agg(@format(E';\\nALTER INDEX %I ALTER COLUMN %s SET STATISTICS %s', \
        x.relname, a.attnum, @to_jsonb(a) ->> 'attstattarget'), '') \
    FROM @pg_attribute AS a WHERE a.attrelid = x.oid AND NULLIF(@to_jsonb(a) ->> 'attstattarget', '-1') IS NOT NULL), '') \
AS text \
FROM {copied} AS c JOIN @pg_index AS i ON i.indrelid = c.oid JOIN @pg_class AS x ON x.oid = i.indexrelid \
WHERE c.relkind IN ('r', 'p', 'm') AND (i.indisvalid OR x.relkind = 'I') AND NOT EXISTS (\
    SELECT FROM @pg_constraint AS con WHERE con.conrelid = c.oid AND con.conindid = x.oid \
    AND con.contype IN ('p', 'u', 'x'))";

/// The index of a partition is made by itself, and then attached.
pub(in crate::catalog) const INDEX_ATTACH: &str = "\
SELECT 2::@oid AS class, x.oid AS object, 'index ' || @quote_ident(x.relname) AS name, \
@format('ALTER INDEX %s ATTACH PARTITION %I', h.inhparent::@regclass, x.relname) AS text \
FROM {copied} AS c JOIN @pg_index AS i ON i.indrelid = c.oid JOIN @pg_class AS x ON x.oid = i.indexrelid \
JOIN @pg_inherits AS h ON h.inhrelid = x.oid JOIN @pg_class AS parent ON parent.oid = h.inhparent \
WHERE x.relispartition AND parent.relnamespace = {schema}";

pub(in crate::catalog) const VIEW: &str = "\
SELECT '@pg_class'::@regclass::@oid AS class, c.oid AS object, 'view ' || @quote_ident(c.relname) AS name, \
@format(E'CREATE VIEW %I%s AS\\n%s', c.relname, coalesce(' WITH (' || {options} || ')', ''), \
    @rtrim(@pg_get_viewdef(c.oid), ';')) AS text \
FROM {copied} AS c WHERE c.relkind = 'v'";

pub(in crate::catalog) const MATERIALIZED: &str = "\
SELECT '@pg_class'::@regclass::@oid AS class, c.oid AS object, \
'materialized view ' || @quote_ident(c.relname) AS name, \
@format(E'CREATE MATERIALIZED VIEW %I%s%s AS\\n%s\\nWITH NO DATA', c.relname, \
    CASE WHEN am.amname <> 'heap' THEN ' USING ' || @quote_ident(am.amname) ELSE '' END, \
    coalesce(' WITH (' || {options} || ')', ''), @rtrim(@pg_get_viewdef(c.oid), ';')) AS text \
FROM {copied} AS c LEFT JOIN @pg_am AS am ON am.oid = c.relam WHERE c.relkind = 'm'";

pub(in crate::catalog) const FOREIGN_KEY: &str = "\
SELECT con.tableoid AS class, con.oid AS object, 'constraint ' || @quote_ident(con.conname) AS name, \
@format('ALTER TABLE %s%I ADD CONSTRAINT %I %s', CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, \
    c.relname, con.conname, @pg_get_constraintdef(con.oid)) AS text \
FROM {copied} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid \
WHERE con.contype = 'f' AND con.conparentid = 0";

pub(in crate::catalog) const STATISTICS: &str = "\
SELECT s.tableoid AS class, s.oid AS object, 'statistics ' || @quote_ident(s.stxname) AS name, \
@pg_get_statisticsobjdef(s.oid) \
|| coalesce(E';\\nALTER STATISTICS ' || @quote_ident(s.stxname) || ' SET STATISTICS ' \
    || NULLIF(@to_jsonb(s) ->> 'stxstattarget', '-1'), '') AS text \
FROM {copied} AS c JOIN @pg_statistic_ext AS s ON s.stxrelid = c.oid WHERE s.stxnamespace = {schema}";

pub(in crate::catalog) const RULE: &str = "\
SELECT w.tableoid AS class, w.oid AS object, 'rule ' || @quote_ident(w.rulename) AS name, \
@rtrim(@pg_get_ruledef(w.oid), ';') || CASE WHEN w.ev_enabled = 'O' THEN '' ELSE \
    @format(E';\\nALTER TABLE %I %s RULE %I', c.relname, CASE w.ev_enabled WHEN 'D' THEN 'DISABLE' \
    WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, w.rulename) END AS text \
FROM {copied} AS c JOIN @pg_rewrite AS w ON w.ev_class = c.oid WHERE w.rulename <> '_RETURN'";

pub(in crate::catalog) const TRIGGER: &str = "\
SELECT g.tableoid AS class, g.oid AS object, 'trigger ' || @quote_ident(g.tgname) AS name, \
@pg_get_triggerdef(g.oid) || CASE WHEN g.tgenabled = 'O' THEN '' ELSE \
    @format(E';\\nALTER TABLE %I %s TRIGGER %I', c.relname, CASE g.tgenabled WHEN 'D' THEN 'DISABLE' \
    WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, g.tgname) END AS text \
FROM {copied} AS c JOIN @pg_trigger AS g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal AND g.tgparentid = 0";
