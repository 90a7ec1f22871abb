//! Cloning a tenant: everything is copied, and nothing of the copy is the original's.

use std::process::Command;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{
    CloneOptions, CloneTenant as _, DumpOptions, DumpTenant as _, Error, Lifecycle as _,
    SaveOptions,
};
use tenant_schemas_tests::skipped;

use crate::rename_drop::waiter;
use crate::support::{
    Client, Db, client, customers, hotels, insert_room, name, rooms_of, sql_app, strings,
};

/// A tenant whose schema has one of everything, and the role that its grants name.
pub(crate) struct Sink {
    pub(crate) db: Db,
    pub(crate) tenant: Client,
    role: String,
}

impl Sink {
    pub(crate) fn new(schema: &str) -> Self {
        let db = Db::with(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .schema_names(tenant_schemas::SchemaNamePolicy::Quoted)
        });
        let mut tenant = client(schema);
        tenant.domain_url = tenant.domain_url.to_lowercase();
        tenant
            .save(&mut db.tenancy.public().expect("public"))
            .expect("the tenant is saved");
        let role = format!("{}_role", db.database.name());
        let mut conn = db.raw();
        let mut sql = include_str!("kitchen_sink.sql")
            .replace("$SCHEMA", schema)
            .replace("$ROLE", &role);
        let version = strings(
            &mut conn,
            "SELECT current_setting('server_version_num') AS value",
        );
        if version[0].as_str() < "14" {
            // PostgreSQL 13 has no bodies in the SQL standard's way.
            sql = sql
                .replace("BEGIN ATOMIC SELECT", "AS $$ SELECT")
                .replace("; END;", "; $$;");
        }
        conn.batch_execute(&format!(
            "CREATE ROLE {role}; SET search_path TO \"{schema}\"; {sql}",
        ))
        .expect("one of everything is made");
        Self { db, tenant, role }
    }

    #[track_caller]
    pub(crate) fn clone(&self, schema: &str, options: CloneOptions) -> Client {
        let mut new = client(schema);
        let copied = self
            .tenant
            .clone_to(
                &mut self.db.tenancy.public().expect("public"),
                &mut new,
                options,
            )
            .expect("the tenant is cloned");
        assert_eq!(copied.warnings, [""; 0]);
        new
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self
            .db
            .raw()
            .batch_execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.role));
    }
}

/// What `pg_dump` says of a schema's structure, with its name replaced; `None` if there is no `pg_dump`.
pub(crate) fn pg_dump(url: &str, schema: &str) -> Option<String> {
    let program = private_postgres::shared()
        .ok()
        .map(|server| server.bin_dir().join("pg_dump"))
        .filter(|program| program.exists());
    let Some(program) = program else {
        skipped("a clone compared by pg_dump", "apt-get install postgresql");
        return None;
    };
    let output = Command::new(program)
        .args([
            "--schema-only",
            "--schema",
            &format!("\"{schema}\""),
            "--dbname",
            url,
        ])
        .output()
        .expect("pg_dump runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let text = text
        .replace(&format!("\"{schema}\""), "TENANT")
        .replace(schema, "TENANT");
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect();
    // What stands where depends on the schema's name and on numbers of objects.
    lines.sort_unstable();
    Some(lines.join("\n"))
}

/// Both texts without the lines that they share.
#[track_caller]
pub(crate) fn assert_same(left: &str, right: &str) {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let only = |these: &[&str], those: &[&str]| {
        let mut those = those.to_vec();
        these
            .iter()
            .filter(|line| {
                let at = those.iter().position(|other| other == *line);
                at.map(|at| those.swap_remove(at)).is_none()
            })
            .map(|line| (*line).to_owned())
            .collect::<Vec<String>>()
    };
    let (removed, added) = (only(&left, &right), only(&right, &left));
    assert!(
        removed.is_empty() && added.is_empty(),
        "only in the original: {removed:#?}\nonly in the copy: {added:#?}"
    );
    assert!(
        left.len() > 20,
        "there is hardly anything to compare: {left:?}"
    );
}

/// The rows of each table and the state of each sequence; how far one has written ahead is its own affair.
pub(crate) fn contents(url: &str, schema: &str) -> Vec<String> {
    let mut conn = PgConnection::establish(url).expect("a connection");
    let tables = strings(
        &mut conn,
        &format!(
            "SELECT quote_ident(c.relname) AS value FROM pg_class c WHERE relnamespace = '\"{schema}\"'::regnamespace \
             AND relkind IN ('r', 'S', 'm') AND (relkind <> 'm' OR relispopulated) ORDER BY 1"
        ),
    );
    tables
        .into_iter()
        .flat_map(|table| {
            let what = format!("ONLY \"{schema}\".{table}");
            strings(
                &mut conn,
                &format!(
                    "SELECT '{} ' || count(*) || ' ' || coalesce(string_agg((to_jsonb(t) - 'log_cnt')::text, ' ' ORDER BY to_jsonb(t)::text), '') AS value \
                     FROM (SELECT * FROM {what}) AS t",
                    table.replace('\'', "''")
                ),
            )
        })
        .collect()
}

#[test]
fn c64_a_clone_is_what_pg_dump_says_the_original_is() {
    let sink = Sink::new("acme");
    let functions =
        "SELECT count(*)::text AS value FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let before = sink.db.strings(functions);
    sink.clone("globex", CloneOptions::new());
    sink.clone("acme-2024", CloneOptions::new().data(true));
    assert_eq!(sink.db.strings(functions), before);
    let url = sink.db.database.url();
    for copy in ["globex", "acme-2024"] {
        if let (Some(original), Some(copy)) = (pg_dump(&url, "acme"), pg_dump(&url, copy)) {
            assert_same(&original, &copy);
        }
    }
}

#[test]
fn c63_rows_and_sequences_are_copied_if_asked_for() {
    let sink = Sink::new("acme");
    let url = sink.db.database.url();
    let original = contents(&url, "acme");
    assert!(
        original.iter().any(|line| line.contains("Ada")),
        "{original:?}"
    );
    sink.clone("globex", CloneOptions::new().data(true));
    assert_eq!(contents(&url, "globex"), original);
    assert_eq!(contents(&url, "acme"), original);
}

/// What a connection to a tenant sees, as text.
#[track_caller]
fn ask(db: &Db, tenant: &Client, sql: &str) -> Vec<String> {
    strings(&mut *db.tenancy.tenant(tenant).expect("the tenant"), sql)
}

#[track_caller]
fn run(db: &Db, tenant: &Client, sql: &str) {
    let mut conn = db.tenancy.tenant(tenant).expect("the tenant");
    conn.batch_execute(sql).expect(sql);
}

#[test]
fn c64_what_happens_in_the_clone_stays_in_the_clone() {
    let sink = Sink::new("acme");
    let url = sink.db.database.url();
    let original = (contents(&url, "acme"), pg_dump(&url, "acme"));
    let copy = sink.clone("acme-2024", CloneOptions::new().data(true));
    let db = &sink.db;
    // The default calls a function, which draws from a sequence; the trigger writes; the identity goes on.
    run(
        db,
        &copy,
        "INSERT INTO people (name, mail, boss_id) VALUES ('Di', 'di@x', 1); \
         INSERT INTO \"order\" (person, note) VALUES (4, 'first of the copy');",
    );
    let ask = |sql| ask(db, &copy, sql);
    assert_eq!(
        ask(
            "SELECT id || ' ' || code || ' ' || loud || ' ' || moods::text AS value FROM people WHERE name = 'Di'"
        ),
        ["4 K-140 DI {happy}"]
    );
    assert_eq!(
        ask("SELECT what || ' ' || id AS value FROM audit ORDER BY id DESC LIMIT 1"),
        ["INSERT Di 4"]
    );
    assert_eq!(
        ask("SELECT \"select\"::text AS value FROM \"order\" WHERE person = 4"),
        ["1010"]
    );
    assert_eq!(
        ask("SELECT name AS value FROM named_adults WHERE plan = 'free'"),
        ["Ada"]
    );
    assert_eq!(ask("SELECT fixed_path()::text AS value"), ["4"]);
    assert_eq!(ask("SELECT says_schema()::text AS value"), ["4"]);
    assert_eq!(
        ask("SELECT (orders_of(p)).note AS value FROM people p WHERE name = 'Di'"),
        ["first of the copy"]
    );
    run(
        db,
        &copy,
        "DELETE FROM named_adults WHERE name = 'Bob'; TRUNCATE events; ALTER TYPE mood ADD VALUE 'new'; \
         ALTER TABLE people ADD COLUMN more text; DROP VIEW grouped; ALTER SEQUENCE ticket RESTART; \
         REFRESH MATERIALIZED VIEW summary; CREATE OR REPLACE FUNCTION is_mail(text) RETURNS boolean \
         LANGUAGE sql IMMUTABLE AS 'SELECT true'",
    );
    assert_eq!(
        ask("SELECT count(*)::text AS value FROM people WHERE name = 'Bob'"),
        ["0"]
    );
    assert_eq!((contents(&url, "acme"), pg_dump(&url, "acme")), original);
    // And a tenant goes without the other.
    let mut public = db.tenancy.public().expect("public");
    let drop = tenant_schemas::DeleteOptions::new().auto_drop_schema(true);
    let deleted = sink.tenant.delete_with(&mut public, drop).expect("deleted");
    assert!(deleted.schema_dropped);
    assert_eq!(ask("SELECT says_schema()::text AS value"), ["3"]);
}

#[test]
fn c64_keys_of_the_clone_hold_in_the_clone_alone() {
    let sink = Sink::new("acme");
    let empty = sink.clone("globex", CloneOptions::new());
    let mut conn = sink.db.tenancy.tenant(&empty).expect("the clone");
    for (sql, constraint) in [
        (
            "INSERT INTO \"order\" (person) VALUES (1)",
            "order_person_fkey",
        ),
        (
            "INSERT INTO people (name, mail, plan_id) VALUES ('a', 'a@b', 99)",
            "people_plan_id_fkey",
        ),
        (
            "INSERT INTO people (name, mail) VALUES ('a', 'nothing')",
            "looks_like_mail",
        ),
        (
            "INSERT INTO people (name, mail) VALUES ('', 'a@b')",
            "named",
        ),
    ] {
        let error = conn.batch_execute(sql).expect_err(sql).to_string();
        assert!(error.contains(constraint), "{error}");
    }
    // Structure alone: sequences begin where they began.
    conn.batch_execute("INSERT INTO people (name, mail) VALUES ('Eve', 'eve@x')")
        .expect("inserted");
    drop(conn);
    assert_eq!(
        ask(
            &sink.db,
            &empty,
            "SELECT id || ' ' || code AS value FROM people"
        ),
        // The three refused people above have drawn numbers.
        ["4 K-130"]
    );
}

#[test]
fn c62_a_clone_is_a_tenant_with_the_same_migrations() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut public = db.tenancy.public().expect("public");
    let mut globex = client("globex");
    let copied = acme
        .clone_to(&mut public, &mut globex, CloneOptions::new().data(true))
        .expect("cloned");
    assert!(
        copied.saved.created && copied.saved.provisioned,
        "{copied:?}"
    );
    assert!(
        copied.saved.applied.is_empty() && copied.warnings.is_empty(),
        "{copied:?}"
    );
    assert_eq!(
        Client::by_schema(&mut public, "globex").expect("read"),
        Some(globex.clone())
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")),
        ["Blue"]
    );
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    // Neither the ledger nor the summary of all ledgers has anything to do.
    for verify in [false, true] {
        let pending = db
            .tenancy
            .migrate()
            .verify(verify)
            .check()
            .expect("checked");
        assert!(pending.is_empty(), "{pending:?}");
    }
    // Without rows there are none, and the path of the connection is what it was.
    let mut empty = client("initech");
    acme.clone_to(&mut public, &mut empty, CloneOptions::new())
        .expect("cloned");
    assert!(rooms_of(&mut db.tenancy.tenant(&empty).expect("initech")).is_empty());
    assert_eq!(
        strings(&mut *public, "SELECT name AS value FROM plans ORDER BY id"),
        ["free", "team"]
    );
}

#[test]
fn c65_a_clone_inside_a_transaction_goes_with_it() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let undone: Result<(), Error> = conn.transaction(|conn| {
        insert_room(conn, 2, "Green");
        let mut globex = client("globex");
        acme.clone_to(conn, &mut globex, CloneOptions::new().data(true))?;
        // The caller's transaction is on its own path again, under its own settings.
        assert_eq!(rooms_of(conn), ["Blue", "Green"]);
        assert_eq!(
            strings(conn, "SELECT current_setting('row_security') AS value"),
            ["on"]
        );
        let copy = conn.with_tenant(&globex, |conn| Ok::<_, Error>(rooms_of(conn)))?;
        assert_eq!(copy, ["Blue", "Green"]);
        Err(Error::NoScope)
    });
    assert!(matches!(undone, Err(Error::NoScope)), "{undone:?}");
    assert!(!db.schema_exists("globex"));
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    // A clone that fails leaves the transaction usable.
    conn.transaction(|conn| {
        let error = acme
            .clone_to(conn, &mut client("acme"), CloneOptions::new())
            .expect_err("it exists");
        assert!(matches!(error, Error::SchemaExists { .. }), "{error}");
        assert_eq!(rooms_of(conn), ["Blue"]);
        let mut globex = client("globex");
        acme.clone_to(conn, &mut globex, CloneOptions::new().data(true))
            .map(drop)
    })
    .expect("committed");
    assert_eq!(
        rooms_of(&mut db.tenancy.schema(&name("globex")).expect("globex")),
        ["Blue"]
    );
}

#[test]
fn c66_a_template_behind_the_newest_migration_is_noticed() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let newer = db.again(|builder| {
        builder.app(customers()).app(sql_app(
            "hotels",
            tenant_schemas::AppScope::Tenant,
            &[
                (
                    "2024-02-01-000000_rooms",
                    "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);",
                    "",
                ),
                (
                    "2024-03-01-000000_beds",
                    "CREATE TABLE beds (id integer);",
                    "",
                ),
            ],
        ))
    });
    let mut conn = newer.public().expect("public");
    let mut globex = client("globex");
    let error = acme
        .clone_to(&mut conn, &mut globex, CloneOptions::new())
        .expect_err("it is behind");
    assert_eq!(
        error.to_string(),
        "schema acme is behind by 1 migrations, the first is hotels/2024-03-01-000000_beds: \
         migrate it first, or have the copy migrated with `migrate(true)`"
    );
    assert!(!db.schema_exists("globex"));
    assert_eq!(Client::by_schema(&mut conn, "globex").expect("read"), None);
    let copied = acme
        .clone_to(&mut conn, &mut globex, CloneOptions::new().migrate(true))
        .expect("cloned");
    assert_eq!(copied.saved.applied.len(), 1, "{copied:?}");
    assert_eq!(
        db.tables("globex"),
        ["__tenant_migrations", "beds", "rooms"]
    );
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn c61_what_can_not_be_cloned_is_refused_and_left_alone() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    db.raw()
        .batch_execute("CREATE SCHEMA stranger")
        .expect("made");
    let mut conn = db.tenancy.public().expect("public");
    let mut clone = |from: &Client, to: &str| {
        from.clone_to(&mut conn, &mut client(to), CloneOptions::new())
            .expect_err("it must be refused")
            .to_string()
    };
    for to in ["acme", "globex", "stranger"] {
        assert!(
            clone(&acme, to).starts_with(&format!("schema {to} already exists")),
            "{to}"
        );
    }
    assert_eq!(
        clone(&client("public"), "initech"),
        "schema public can't be cloned: it is the shared schema"
    );
    assert_eq!(
        clone(&acme, "public"),
        "schema public can't be taken by a tenant: it is the shared schema"
    );
    assert!(clone(&acme, "no-hyphens").contains("contains '-'"));
    assert!(clone(&client("nowhere"), "initech").starts_with("schema nowhere does not exist"));
    let mut other = db.tenancy.tenant(&globex).expect("globex");
    let error = acme
        .clone_to(&mut other, &mut client("initech"), CloneOptions::new())
        .expect_err("another tenant's scope");
    assert!(matches!(error, Error::OtherScope { .. }), "{error}");
    assert_eq!(db.tables("stranger"), [""; 0]);
}

#[test]
fn what_can_not_be_copied_safely_is_said() {
    let db = Db::new();
    let acme = db.tenant("acme");
    run(
        &db,
        &acme,
        "CREATE FUNCTION dynamic() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DELETE FROM acme.rooms'; END $$; \
         CREATE FUNCTION aliased() RETURNS text LANGUAGE sql AS 'SELECT acme.name FROM rooms acme LIMIT 1'; \
         CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = integer, RIGHTARG = integer); \
         CREATE TYPE mood AS ENUM ('calm'); CREATE CAST (text AS mood) WITH INOUT AS IMPLICIT; \
         CREATE TYPE span AS RANGE (SUBTYPE = integer); CREATE PUBLICATION news FOR TABLE rooms",
    );
    let mut globex = client("globex");
    let copied = acme
        .clone_to(
            &mut db.tenancy.public().expect("public"),
            &mut globex,
            CloneOptions::new(),
        )
        .expect("cloned");
    let warnings = copied.warnings.join("\n");
    assert_eq!(copied.warnings.len(), 5, "{warnings}");
    for part in [
        "cast from text to mood is not copied",
        "publication of table rooms in publication news is not copied",
        "operator ===(integer,integer) is not copied",
        "function dynamic() says the name of schema acme",
        "function aliased() says acme.name",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
}

/// A table that says which tables, types and functions it is about.
#[test]
fn c64_values_that_stand_for_objects_stand_for_those_of_the_clone() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    run(
        &db,
        &acme,
        "CREATE TYPE mood AS ENUM ('calm'); \
         CREATE FUNCTION f(mood, text) RETURNS void LANGUAGE sql AS 'SELECT'; \
         CREATE TABLE watched (oid regclass, relname regtype, plain regproc, full_name regprocedure); \
         INSERT INTO watched VALUES ('rooms', 'mood', 'f', 'f(mood, text)'), ('pg_class', 'text', 'now', 'abs(integer)'), \
           (NULL, NULL, NULL, NULL), ('public.plans', 'mood[]', NULL, NULL), (4000000000, 0, 0, 0); \
         CREATE TABLE lists (id integer, tables regclass[], home regnamespace)",
    );
    let all = "SELECT concat_ws(' ', oid, relname, plain, full_name) AS value FROM watched";
    let original = ask(&db, &acme, all);
    assert_eq!(original[0], "rooms mood f f(mood,text)");
    let mut copy = client("copy");
    let options = CloneOptions::new().data(true);
    let mut conn = db.tenancy.public().expect("public");
    let copied = acme
        .clone_to(&mut conn, &mut copy, options)
        .expect("cloned");
    // Without their schema, names are those of the path.
    assert_eq!(ask(&db, &copy, all), original);
    assert_eq!(
        copied.warnings,
        [
            "column lists.tables, of type regclass[], is copied as it is, and may stand for something of schema acme",
            "column lists.home, of type regnamespace, is copied as it is, and may stand for something of schema acme",
        ]
    );
    let mut bare = client("bare");
    let copied = acme.clone_to(&mut conn, &mut bare, CloneOptions::new());
    assert_eq!(copied.expect("cloned").warnings, [""; 0]);
}

/// Text in which the name of the schema stands, wherever PostgreSQL keeps text.
pub(crate) const SAYING: &str = "\
    CREATE SEQUENCE numbers; CREATE TABLE log (id bigint, room integer); \
    CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
      EXECUTE format('INSERT INTO %I.log VALUES (1, $1)', TG_ARGV[0]) USING NEW.id; RETURN NEW; END $$; \
    CREATE TRIGGER noted AFTER INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION public.noted('acme'); \
    CREATE TABLE bills (number bigint DEFAULT nextval('acme.numbers'::text::regclass), kind text, \
      CONSTRAINT named CHECK (kind <> 'acme')); \
    CREATE VIEW shown AS SELECT 'acme.rooms'::text AS source; \
    CREATE POLICY own ON bills USING (kind = 'acme'); \
    CREATE FUNCTION counted(of text DEFAULT 'acme.rooms') RETURNS text LANGUAGE sql AS 'SELECT of'; \
    CREATE TABLE unsaid (name text DEFAULT 'acme inc', other text DEFAULT 'an acme is')";

/// What says so.
pub(crate) const SAID_BY: [&str; 6] = [
    "trigger noted",
    "default of bills.number",
    "constraint named",
    "view shown",
    "CREATE POLICY own ON bills",
    "function counted(text)",
];

#[test]
fn what_has_the_name_of_the_schema_in_a_string_is_said() {
    let db = Db::new();
    let acme = db.tenant("acme");
    run(&db, &acme, SAYING);
    let mut conn = db.tenancy.public().expect("public");
    let mut copy = client("copy");
    let copied = acme
        .clone_to(&mut conn, &mut copy, CloneOptions::new())
        .expect("cloned");
    run(&db, &copy, "INSERT INTO rooms VALUES (7, 'Blue')");
    // That is what is warned of.
    assert_eq!(
        ask(&db, &acme, "SELECT room::text AS value FROM log"),
        ["7"]
    );
    let dumped = acme.dump_to(&mut conn, &mut Vec::new(), DumpOptions::new());
    for warnings in [copied.warnings, dumped.expect("dumped")] {
        let warnings: Vec<String> = warnings
            .into_iter()
            .filter(|warning| {
                warning.contains(
                    " says the name of schema acme in a string, which was left as it is: look at its definition",
                )
            })
            .collect();
        assert_eq!(warnings.len(), SAID_BY.len(), "{warnings:#?}");
        for name in SAID_BY {
            assert!(
                warnings.iter().any(|warning| warning.starts_with(name)),
                "{name}: {warnings:#?}"
            );
        }
    }
}

#[test]
fn what_others_do_beside_a_clone_is_not_the_clone_s() {
    let db = Db::new();
    let acme = db.tenant("acme");
    run(&db, &acme, "CREATE TABLE notes (id integer)");
    let mut other = db.raw();
    other
        .batch_execute("BEGIN; LOCK TABLE acme.rooms")
        .expect("locked");
    let made = std::thread::scope(|scope| {
        let cloned = scope.spawn(|| {
            let mut conn = db.tenancy.public().expect("public");
            acme.clone_to(
                &mut conn,
                &mut client("copy"),
                CloneOptions::new().data(true),
            )
        });
        waiter(&db);
        let mut third = db.raw();
        let made = third.batch_execute(
            "CREATE INDEX ON acme.notes (id); CREATE TABLE acme.more (LIKE acme.notes); \
             CREATE VIEW public.all_notes AS SELECT * FROM acme.notes; \
             CREATE TEMPORARY VIEW my_notes AS SELECT * FROM acme.notes",
        );
        other.batch_execute("COMMIT").expect("committed");
        cloned.join().expect("no panic").expect("cloned");
        made
    });
    made.expect("made");
}

#[test]
fn c64_values_that_stand_for_what_is_made_late_or_never_are_not_the_originals_either() {
    let db = Db::new();
    let acme = db.tenant("acme");
    run(
        &db,
        &acme,
        "CREATE VIEW names AS SELECT name FROM rooms; CREATE INDEX by_name ON rooms (name); \
         CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM rooms; \
         CREATE TYPE mood AS ENUM ('calm'); \
         CREATE FUNCTION f(mood) RETURNS void LANGUAGE sql AS 'SELECT'; \
         CREATE FUNCTION f(integer) RETURNS void LANGUAGE sql AS 'SELECT'; \
         CREATE TABLE watched (id integer PRIMARY KEY, rel regclass, type regtype, fn regproc NOT NULL); \
         INSERT INTO watched VALUES (1, 'names', 'names', 'f(integer)'::regprocedure::oid), \
           (2, 'by_name', 'counted', 'f(mood)'::regprocedure::oid), (3, 'counted', NULL, 0), \
           (4, 'rooms_pkey', 'names[]', 'now')",
    );
    // Where functions have one name, a function is said by its arguments.
    let all =
        "SELECT concat_ws(' ', rel, type, fn::oid::regprocedure) AS value FROM watched ORDER BY id";
    let original = ask(&db, &acme, all);
    assert_eq!(original[0], "names names f(integer)");
    let mut conn = db.tenancy.public().expect("public");
    let options = CloneOptions::new().data(true);
    let mut copy = client("copy");
    let copied = acme.clone_to(&mut conn, &mut copy, options);
    assert_eq!(copied.expect("cloned").warnings, [""; 0]);
    assert_eq!(ask(&db, &copy, all), original);
    let theirs = "SELECT count(*)::text AS value FROM copy.watched JOIN pg_class ON pg_class.oid = rel \
         WHERE relnamespace <> 'copy'::regnamespace";
    assert_eq!(db.strings(theirs), ["0"]);

    run(
        &db,
        &acme,
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far; \
         CREATE FOREIGN TABLE abroad (id integer) SERVER far; \
         INSERT INTO watched VALUES (5, 'abroad', 'abroad', 'now')",
    );
    let mut lacking = client("lacking");
    let copied = acme.clone_to(&mut conn, &mut lacking, options);
    let warnings = copied.expect("cloned").warnings.join("\n");
    for column in ["rel", "type"] {
        let warning = format!(
            "column watched.{column} is 0, which stands for nothing, where what it stood for has no copy"
        );
        assert!(warnings.contains(&warning), "{warnings}");
    }
    assert!(!warnings.contains("watched.fn"), "{warnings}");
    assert_eq!(ask(&db, &lacking, all).last().expect("a row"), "- - now()");
}

#[test]
fn a_copy_that_would_need_the_original_is_not_made() {
    let db = Db::new();
    let acme = db.tenant("acme");
    // A table hides a built-in one, so its name stands with the schema in the view.
    run(
        &db,
        &acme,
        "CREATE TABLE acme.pg_class (id integer); CREATE VIEW hidden AS SELECT id FROM acme.pg_class;",
    );
    let result = acme.clone_to(
        &mut db.tenancy.public().expect("public"),
        &mut client("globex"),
        CloneOptions::new(),
    );
    let error = result.expect_err("it points back").to_string();
    assert!(
        error.contains("would depend on table acme.pg_class of the original"),
        "{error}"
    );
    assert!(!db.schema_exists("globex"));
}

#[test]
fn c64_what_is_shared_stays_shared() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.raw();
    conn.batch_execute(
        "CREATE EXTENSION citext; CREATE EXTENSION pg_trgm; CREATE TYPE public.shade AS ENUM ('dark'); \
         CREATE FUNCTION public.shared_code() RETURNS text LANGUAGE sql AS 'SELECT ''shared''::text'; \
         CREATE TEMP TABLE rooms (id integer); SET search_path TO acme, public; \
         CREATE TABLE guests (name citext UNIQUE, shade shade DEFAULT 'dark', code text DEFAULT shared_code(), \
             room integer REFERENCES acme.rooms, plan integer REFERENCES plans DEFAULT 1); \
         CREATE INDEX guests_name ON guests USING gin ((name::text) gin_trgm_ops); \
         CREATE VIEW similar_guests AS SELECT a.name, b.name AS other FROM guests a JOIN guests b ON a.name::text % b.name::text; \
         INSERT INTO acme.rooms VALUES (1, 'Blue'); INSERT INTO guests (name, room) VALUES ('Ada', 1)",
    )
    .expect("made");
    // A temporary table of the connection's own, which hides a table of the tenant's.
    let mut public = db.tenancy.public().expect("public");
    public
        .batch_execute("CREATE TEMP TABLE guests (nothing integer)")
        .expect("made");
    let mut globex = client("globex");
    acme.clone_to(&mut public, &mut globex, CloneOptions::new().data(true))
        .expect("cloned");
    assert_eq!(
        ask(
            &db,
            &globex,
            "SELECT name || ' ' || shade || ' ' || code || ' ' || pg_typeof(shade) AS value FROM guests WHERE name = 'ADA'"
        ),
        ["Ada dark shared shade"]
    );
    assert_eq!(
        ask(
            &db,
            &globex,
            "SELECT other::text AS value FROM similar_guests"
        ),
        ["Ada"]
    );
    let url = db.database.url();
    if let (Some(original), Some(copy)) = (pg_dump(&url, "acme"), pg_dump(&url, "globex")) {
        assert!(original.contains("public.shade") && original.contains("REFERENCES public.plans"));
        assert_same(&original, &copy);
    }
}

#[test]
fn listeners_hear_of_a_clone_once_and_can_stop_it() {
    use std::sync::{Arc, Mutex};
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(move |event, conn| {
                log.lock()
                    .expect("heard")
                    .push(format!("{} {}", event.name(), event.schema()));
                if event.schema().as_str() == "initech" {
                    assert_eq!(rooms_of(conn), ["Blue"]);
                    return Err("not this one".into());
                }
                Ok(())
            })
    });
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    heard.lock().expect("heard").clear();
    let mut conn = db.tenancy.public().expect("public");
    let data = CloneOptions::new().data(true);
    acme.clone_to(&mut conn, &mut client("globex"), data)
        .expect("cloned");
    let error = acme
        .clone_to(&mut conn, &mut client("initech"), data)
        .expect_err("stopped");
    assert!(matches!(error, Error::Listener { .. }), "{error}");
    assert_eq!(
        *heard.lock().expect("heard"),
        ["PostSchemaSync globex", "PostSchemaSync initech"]
    );
    assert!(!db.schema_exists("initech"));
}

#[test]
fn c62_a_row_that_gets_a_clone_for_its_schema_stays_meanwhile() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let mut copy = client("copy");
    let row_alone = SaveOptions::new().auto_create_schema(false);
    copy.save_with(&mut db.tenancy.public().expect("public"), row_alone)
        .expect("saved");
    let mut other = db.raw();
    other
        .batch_execute("BEGIN; LOCK TABLE acme.rooms")
        .expect("locked");
    let [updated, deleted] = std::thread::scope(|scope| {
        let cloned = scope.spawn(|| {
            let mut conn = db.tenancy.public().expect("public");
            acme.clone_to(&mut conn, &mut copy, CloneOptions::new().data(true))
        });
        waiter(&db);
        let mut third = db.raw();
        let done = [
            "SET lock_timeout TO '100ms'; UPDATE clients SET name = 'The Copy' WHERE schema_name = 'copy'",
            "DELETE FROM clients WHERE schema_name = 'copy'",
        ]
        .map(|statement| third.batch_execute(statement));
        other.batch_execute("COMMIT").expect("committed");
        cloned.join().expect("no panic").expect("cloned");
        done
    });
    updated.expect("who changes something else does not wait");
    assert!(deleted.is_err(), "it has to wait");
    assert_eq!(rooms_of(&mut db.at("copy")), ["Blue"]);
}

/// A writer adds pairs, a parent and a child, while clones are made: each clone has whole pairs.
#[test]
fn a_clone_shows_one_moment() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let db = Db::new();
    let acme = db.tenant("acme");
    run(
        &db,
        &acme,
        "CREATE TABLE parents (id integer PRIMARY KEY); CREATE TABLE aa_children (id integer REFERENCES parents)",
    );
    let mut writer = db.raw();
    let done = AtomicBool::new(false);
    let written = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (done, written) = (&done, &written);
        scope.spawn(move || {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                writer.batch_execute(&format!(
                    "INSERT INTO acme.parents VALUES ({number}); INSERT INTO acme.aa_children VALUES ({number})"
                ))
                .expect("written");
                written.store(number, Ordering::Relaxed);
            }
        });
        let mut conn = db.tenancy.public().expect("public");
        let mut clone = |number: usize| {
            let mut copy = client(&format!("copy_{number}"));
            let result = acme.clone_to(&mut conn, &mut copy, CloneOptions::new().data(true));
            result.map(|_| copy)
        };
        let copies: Vec<_> = (0..10).map(&mut clone).collect();
        done.store(true, Ordering::Relaxed);
        for copy in copies {
            let copy = copy.expect("cloned");
            let counts = ask(
                &db,
                &copy,
                "SELECT count(p) - count(c) || ' ' || count(*) AS value FROM parents p LEFT JOIN aa_children c USING (id)",
            );
            assert!(counts[0].starts_with("0 "), "{counts:?}");
        }
    });
    assert!(
        written.load(Ordering::Relaxed) > 10,
        "nothing was written meanwhile"
    );
}
