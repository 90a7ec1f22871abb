//! What is said of a schema's parts when all of them are there, each as a statement and the roles it needs.

/// The sequences that belong to columns, but for those of identity columns.
pub(in crate::catalog) const OWNED: &str = "\
SELECT @format('ALTER SEQUENCE %I OWNED BY %I.%I', c.relname, t.relname, a.attname) AS text, '{}'::@text[] AS roles \
FROM {copied} AS c JOIN @pg_depend AS i ON i.classid = '@pg_class'::@regclass AND i.objid = c.oid \
JOIN @pg_class AS t ON t.oid = i.refobjid JOIN @pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.refobjsubid \
WHERE c.relkind = 'S' AND i.refclassid = '@pg_class'::@regclass AND i.deptype = 'a' ORDER BY c.oid";

/// What a table is told about itself when everything else is there.
pub(in crate::catalog) const SETTINGS: &str = "\
SELECT @format('ALTER TABLE %s%I %s', CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, c.relname, x.change) AS text, \
'{}'::@text[] AS roles \
FROM {copied} AS c, LATERAL (VALUES \
    (CASE c.relreplident WHEN 'f' THEN 'REPLICA IDENTITY FULL' WHEN 'n' THEN 'REPLICA IDENTITY NOTHING' END), \
    ((SELECT @format('REPLICA IDENTITY USING INDEX %I', x.relname) FROM @pg_index AS i \
      JOIN @pg_class AS x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident)), \
    ((SELECT @format('CLUSTER ON %I', x.relname) FROM @pg_index AS i \
      JOIN @pg_class AS x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisclustered)), \
    (CASE WHEN c.relrowsecurity THEN 'ENABLE ROW LEVEL SECURITY' END), \
    (CASE WHEN c.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END)\
) AS x(change) WHERE c.relkind IN ('r', 'p', 'm') AND x.change IS NOT NULL ORDER BY c.oid";

/// A policy that restricts is first made for everyone: where one of its roles is missing, it restricts more, not less.
pub(in crate::catalog) const POLICY: &str = "\
SELECT x.text, x.roles FROM {copied} AS c JOIN @pg_policy AS p ON p.polrelid = c.oid, \
LATERAL (SELECT @string_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE @quote_ident(@pg_get_userbyid(r.oid)) END, ', ') AS list, \
    @array_agg(@pg_get_userbyid(r.oid)::@text) FILTER (WHERE r.oid <> 0) AS names FROM @unnest(p.polroles) AS r(oid)) AS r, \
LATERAL (SELECT 1 AS step, @format('CREATE POLICY %I ON %I AS %s FOR %s TO %s', p.polname, c.relname, \
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, \
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, \
        CASE WHEN p.polpermissive THEN r.list ELSE 'PUBLIC' END) \
    || coalesce(' USING (' || @pg_get_expr(p.polqual, p.polrelid) || ')', '') \
    || coalesce(' WITH CHECK (' || @pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') AS text, \
    CASE WHEN p.polpermissive THEN coalesce(r.names, '{}') ELSE '{}' END AS roles \
UNION ALL SELECT 2, @format('ALTER POLICY %I ON %I TO %s', p.polname, c.relname, r.list), r.names \
    WHERE NOT p.polpermissive AND r.names IS NOT NULL) AS x ORDER BY p.oid, x.step";

pub(in crate::catalog) const COMMENT: &str = "\
SELECT @format('COMMENT ON %s IS %L', o.what, d.description) AS text, '{}'::@text[] AS roles FROM (\
SELECT '@pg_class'::@regclass::@oid AS class, c.oid AS object, 0 AS part, CASE c.relkind WHEN 'v' THEN 'VIEW ' \
    WHEN 'm' THEN 'MATERIALIZED VIEW ' WHEN 'S' THEN 'SEQUENCE ' WHEN 'f' THEN 'FOREIGN TABLE ' ELSE 'TABLE ' END \
    || @quote_ident(c.relname) AS what FROM {copied} AS c \
UNION ALL SELECT '@pg_class'::@regclass, c.oid, a.attnum, \
    @format('COLUMN %I.%I', c.relname, a.attname) \
    FROM (SELECT oid, relname FROM {copied} AS r UNION ALL SELECT typrelid, typname FROM {types} AS r) AS c \
    JOIN @pg_attribute AS a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped \
UNION ALL SELECT '@pg_class'::@regclass, i.indexrelid, 0, 'INDEX ' || @quote_ident(x.relname) \
    FROM {copied} AS c JOIN @pg_index AS i ON i.indrelid = c.oid JOIN @pg_class AS x ON x.oid = i.indexrelid \
    WHERE i.indisvalid OR x.relkind = 'I' \
UNION ALL SELECT con.tableoid, con.oid, 0, @format('CONSTRAINT %I ON %I', con.conname, c.relname) \
    FROM {copied} AS c JOIN @pg_constraint AS con ON con.conrelid = c.oid \
UNION ALL SELECT g.tableoid, g.oid, 0, @format('TRIGGER %I ON %I', g.tgname, c.relname) \
    FROM {copied} AS c JOIN @pg_trigger AS g ON g.tgrelid = c.oid \
UNION ALL SELECT p.tableoid, p.oid, 0, @format('POLICY %I ON %I', p.polname, c.relname) \
    FROM {copied} AS c JOIN @pg_policy AS p ON p.polrelid = c.oid \
UNION ALL SELECT w.tableoid, w.oid, 0, @format('RULE %I ON %I', w.rulename, c.relname) \
    FROM {copied} AS c JOIN @pg_rewrite AS w ON w.ev_class = c.oid \
UNION ALL SELECT s.tableoid, s.oid, 0, 'STATISTICS ' || @quote_ident(s.stxname) \
    FROM {copied} AS c JOIN @pg_statistic_ext AS s ON s.stxrelid = c.oid \
UNION ALL SELECT '@pg_type'::@regclass, t.oid, 0, CASE t.typtype WHEN 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END \
    || @quote_ident(t.typname) FROM {types} AS t \
UNION ALL SELECT con.tableoid, con.oid, 0, @format('CONSTRAINT %I ON DOMAIN %I', con.conname, t.typname) \
    FROM {types} AS t JOIN @pg_constraint AS con ON con.contypid = t.oid \
UNION ALL SELECT '@pg_proc'::@regclass, p.oid, 0, 'ROUTINE ' || p.oid::@regprocedure FROM {routines} AS p \
UNION ALL SELECT '@pg_namespace'::@regclass, {schema}, 0, 'SCHEMA ' || @chr(1)\
) AS o JOIN @pg_description AS d ON d.classoid = o.class AND d.objoid = o.object AND d.objsubid = o.part \
ORDER BY o.class, o.object, o.part";

/// Whatever belongs to someone else than who reads. A sequence of a column follows its table.
pub(in crate::catalog) const OWNER: &str = "\
SELECT @format('ALTER %s OWNER TO %I', o.what, @pg_get_userbyid(o.owner)) AS text, \
ARRAY[@pg_get_userbyid(o.owner)::@text] AS roles FROM (\
SELECT 'SCHEMA ' || @chr(1) AS what, n.nspowner AS owner FROM @pg_namespace AS n WHERE n.oid = {schema} \
UNION ALL SELECT 'TYPE ' || @quote_ident(t.typname), t.typowner FROM {types} AS t \
UNION ALL SELECT 'ROUTINE ' || p.oid::@regprocedure, p.proowner FROM {routines} AS p \
UNION ALL SELECT CASE c.relkind WHEN 'v' THEN 'VIEW ' WHEN 'm' THEN 'MATERIALIZED VIEW ' WHEN 'S' THEN 'SEQUENCE ' \
    ELSE 'TABLE ' END || @quote_ident(c.relname), c.relowner FROM {copied} AS c \
    WHERE c.relkind IN ('r', 'p', 'v', 'm') OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM @pg_depend AS i \
    WHERE i.classid = '@pg_class'::@regclass AND i.objid = c.oid AND i.refclassid = '@pg_class'::@regclass \
    AND i.deptype IN ('a', 'i')) \
UNION ALL SELECT 'STATISTICS ' || @quote_ident(s.stxname), s.stxowner \
    FROM {copied} AS c JOIN @pg_statistic_ext AS s ON s.stxrelid = c.oid\
) AS o WHERE @pg_get_userbyid(o.owner) <> current_user";

/// Who may do what, each in a statement of its own: where a role is missing, nobody else gets more or less for that.
/// An object without a list of its own is asked about only
/// if the database has default privileges, which the copy would get instead.
pub(in crate::catalog) const GRANT: &str = "\
WITH preset AS (SELECT DISTINCT x.grantee FROM @pg_default_acl AS d, @aclexplode(d.defaclacl) AS x), \
things AS (\
SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || @quote_ident(c.relname) AS what, ''::@text AS part, \
    c.relowner AS owner, CASE WHEN c.relacl IS NULL AND EXISTS (SELECT FROM preset) \
    THEN @acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner) ELSE c.relacl END AS acl \
    FROM {copied} AS c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') \
UNION ALL SELECT 'TABLE ' || @quote_ident(c.relname), @format(' (%I)', a.attname), c.relowner, a.attacl \
    FROM {copied} AS c JOIN @pg_attribute AS a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped \
UNION ALL SELECT 'ROUTINE ' || p.oid::@regprocedure, '', p.proowner, CASE WHEN p.proacl IS NULL \
    AND EXISTS (SELECT FROM preset) THEN @acldefault('f', p.proowner) ELSE p.proacl END FROM {routines} AS p \
UNION ALL SELECT 'TYPE ' || @quote_ident(t.typname), '', t.typowner, CASE WHEN t.typacl IS NULL \
    AND EXISTS (SELECT FROM preset) THEN @acldefault('T', t.typowner) ELSE t.typacl END FROM {types} AS t \
UNION ALL SELECT 'SCHEMA ' || @chr(1), '', n.nspowner, CASE WHEN n.nspacl IS NULL \
    AND EXISTS (SELECT FROM preset) THEN @acldefault('n', n.nspowner) ELSE n.nspacl END \
    FROM @pg_namespace AS n WHERE n.oid = {schema}\
) SELECT s.text, ARRAY(SELECT @pg_get_userbyid(s.role)::@text WHERE s.role <> 0 AND @pg_get_userbyid(s.role) <> current_user) AS roles \
FROM things AS t, LATERAL (\
    SELECT 1 AS step, r.role, @format('REVOKE ALL ON %s FROM %s', t.what, {role:r.role}) AS text \
    FROM (SELECT 0 AS role UNION SELECT t.owner UNION SELECT p.grantee FROM preset AS p) AS r WHERE t.part = '' \
    UNION ALL SELECT 2, g.grantee, @format('GRANT %s ON %s TO %s%s', g.privileges, t.what, {role:g.grantee}, \
        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
    FROM (SELECT x.grantee, x.is_grantable, @string_agg(x.privilege_type || t.part, ', ') AS privileges \
        FROM @aclexplode(t.acl) AS x GROUP BY 1, 2) AS g) AS s \
WHERE t.acl IS NOT NULL ORDER BY t.what, t.part, s.step, s.role";

/// The privileges that new objects of the schema get.
pub(in crate::catalog) const DEFAULT_GRANT: &str = "\
SELECT @format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s GRANT %s ON %s TO %s%s', \
    {role:d.defaclrole}, @chr(1), g.privileges, CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' \
    WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END, {role:g.grantee}, \
    CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS text, \
ARRAY(SELECT @pg_get_userbyid(r.oid)::@text FROM (VALUES (d.defaclrole), (g.grantee)) AS r(oid) \
    WHERE r.oid <> 0 AND @pg_get_userbyid(r.oid) <> current_user) AS roles \
FROM @pg_default_acl AS d, LATERAL (\
    SELECT x.grantee, x.is_grantable, @string_agg(x.privilege_type, ', ') AS privileges \
    FROM @aclexplode(d.defaclacl) AS x GROUP BY 1, 2) AS g WHERE d.defaclnamespace = {schema}";
