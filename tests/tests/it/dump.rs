//! A tenant as a file, and back under any name.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::{
    CloneOptions, CloneTenant as _, DumpOptions, DumpTenant as _, Error, Lifecycle as _,
    RestoreOptions,
};
use tenant_schemas_tests::skipped;

use crate::clone::{Sink, assert_same, contents, pg_dump};
use crate::rename_drop::waiter;
use crate::support::{
    Client, Db, client, customers, hotels, insert_room, rooms_of, sql_app, strings,
};

#[track_caller]
fn dump(db: &Db, tenant: &Client, options: DumpOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let remarks = tenant
        .dump_to(&mut db.tenancy.public().expect("public"), &mut out, options)
        .expect("dumped");
    assert_eq!(remarks, [""; 0]);
    out
}

fn restore(db: &Db, schema: &str, dump: &[u8]) -> Result<Vec<String>, Error> {
    let mut new = client(schema);
    let mut conn = db.tenancy.public().expect("public");
    let copied = new.restore_from(&mut conn, &mut &*dump, RestoreOptions::new())?;
    assert!(
        copied.saved.created && copied.saved.provisioned,
        "{copied:?}"
    );
    Ok(copied.warnings)
}

#[test]
fn a_dump_restores_under_another_name() {
    let sink = Sink::new("acme");
    let url = sink.db.database.url();
    let file = dump(&sink.db, &sink.tenant, DumpOptions::new());
    let warnings = restore(&sink.db, "acme-2024", &file).expect("restored");
    assert_eq!(warnings, [""; 0]);
    let original = contents(&url, "acme");
    assert!(
        original.iter().any(|line| line.contains("Ada")),
        "{original:?}"
    );
    assert_eq!(contents(&url, "acme-2024"), original);
    if let (Some(original), Some(copy)) = (pg_dump(&url, "acme"), pg_dump(&url, "acme-2024")) {
        assert_same(&original, &copy);
    }
}

#[test]
fn a_dump_restores_in_another_database_and_by_psql() {
    // A name that needs quotes wherever it stands.
    let sink = Sink::new("Acme-2024");
    let url = sink.db.database.url();
    let file = dump(&sink.db, &sink.tenant, DumpOptions::new());
    let original = contents(&url, "Acme-2024");
    let other = Db::new();
    restore(&other, "globex", &file).expect("restored");
    assert_eq!(contents(&other.database.url(), "globex"), original);
    if let (Some(original), Some(copy)) = (
        pg_dump(&url, "Acme-2024"),
        pg_dump(&other.database.url(), "globex"),
    ) {
        assert_same(&original, &copy);
    }
    let psql = private_postgres::shared()
        .expect("a server")
        .bin_dir()
        .join("psql");
    if !psql.exists() {
        skipped("a dump that psql reads", "apt-get install postgresql");
        return;
    }
    let third = Db::new();
    let mut child = Command::new(psql)
        .args([
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
        ])
        .arg(third.database.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql runs");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(&file)
        .expect("psql reads it");
    assert!(child.wait().expect("psql ends").success());
    assert_eq!(contents(&third.database.url(), "Acme-2024"), original);
}

#[test]
fn a_dump_of_the_structure_has_the_ledger_and_no_rows() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let file = dump(&db, &acme, DumpOptions::new().data(false));
    let text = String::from_utf8(file.clone()).expect("UTF-8");
    assert!(
        text.contains("2024-02-01-000000_rooms") && !text.contains("Blue"),
        "{text}"
    );
    let with_rows = dump(&db, &acme, DumpOptions::new());
    assert!(String::from_utf8_lossy(&with_rows).contains("1\tBlue\n"));
    restore(&db, "globex", &file).expect("restored");
    assert!(rooms_of(&mut db.tenancy.tenant(&client("globex")).expect("globex")).is_empty());
    assert!(
        db.tenancy
            .migrate()
            .verify(true)
            .check()
            .expect("checked")
            .is_empty()
    );
}

#[test]
fn a_dump_that_is_behind_is_noticed_or_migrated() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let file = dump(&db, &acme, DumpOptions::new());
    let newer = db.again(|builder| {
        builder.app(customers()).app(hotels()).app(sql_app(
            "spas",
            tenant_schemas::AppScope::Tenant,
            &[(
                "2024-03-01-000000_spas",
                "CREATE TABLE spas (id integer);",
                "",
            )],
        ))
    });
    let mut conn = newer.public().expect("public");
    let mut globex = client("globex");
    let error = globex
        .restore_from(&mut conn, &mut &*file, RestoreOptions::new())
        .expect_err("it is behind");
    assert!(matches!(error, Error::Behind { .. }), "{error}");
    assert!(!db.schema_exists("globex"));
    let copied = globex
        .restore_from(&mut conn, &mut &*file, RestoreOptions::new().migrate(true))
        .expect("restored");
    assert_eq!(copied.saved.applied.len(), 1);
    assert_eq!(
        db.tables("globex"),
        ["__tenant_migrations", "rooms", "spas"]
    );
    assert_eq!(
        rooms_of(&mut newer.tenant(&globex).expect("globex")),
        ["Blue"]
    );
}

#[test]
fn a_file_that_is_damaged_changes_nothing_and_says_where() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let file = dump(&db, &acme, DumpOptions::new());
    let text = String::from_utf8(file.clone()).expect("UTF-8");
    let refused = |file: &[u8], message: &str| {
        let error = restore(&db, "globex", file).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        assert!(!db.schema_exists("globex"));
        assert!(
            Client::by_schema(&mut db.tenancy.public().expect("public"), "globex")
                .expect("read")
                .is_none()
        );
    };
    refused(b"", "it does not begin with `--: dump 1`");
    refused(
        b"CREATE TABLE rooms ();",
        "it does not begin with `--: dump 1`",
    );
    // Cut at any place: between statements, in one, among rows, before the end.
    for cut in (20..file.len() - 20).step_by(file.len() / 40) {
        refused(&file[..cut], "cut short");
    }
    let changed = text.replace("CREATE TABLE rooms (id ", "CREATE TABLE rooms (i ");
    assert_ne!(changed, text);
    refused(
        changed.as_bytes(),
        "it was changed or cut short since it was written",
    );
    let rows = text.replace("1\tBlue", "one\tBlue");
    refused(
        rows.as_bytes(),
        "sending the rows of rooms (id, name) failed",
    );
    restore(&db, "globex", &file).expect("the file itself is good");
}

#[test]
fn roles_that_are_missing_are_left_out_and_said() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let role = format!("{} gone", db.database.name());
    let mut conn = db.raw();
    conn.batch_execute(&format!(
        "CREATE ROLE \"{role}\"; GRANT SELECT ON acme.rooms TO \"{role}\"; ALTER SCHEMA acme OWNER TO \"{role}\""
    ))
    .expect("granted");
    let file = dump(&db, &acme, DumpOptions::new());
    conn.batch_execute(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ))
    .expect("the role is gone");
    let warnings = restore(&db, "globex", &file).expect("restored");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings.iter().all(|warning| warning
            .starts_with(&format!("there is no role {role}, so this was left out: "))),
        "{warnings:?}"
    );
}

#[test]
fn c64_where_a_role_is_missing_nobody_else_may_do_more_or_less() {
    let db = Db::new();
    let acme = db.tenant("acme");
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    let [app, gone, other] =
        ["app", "gone", "other"].map(|role| format!("{}_{role}", db.database.name()));
    let mut conn = db.raw();
    conn.batch_execute(&format!(
        "CREATE ROLE {app}; CREATE ROLE {gone}; CREATE ROLE {other}; SET search_path TO acme; \
         CREATE FUNCTION secret() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT name FROM acme.rooms'; \
         REVOKE ALL ON FUNCTION secret() FROM PUBLIC; GRANT EXECUTE ON FUNCTION secret() TO {app}, {gone}; \
         CREATE TABLE notes (id integer, hidden boolean); INSERT INTO notes VALUES (1, false), (2, true); \
         GRANT SELECT ON notes TO {app}, {gone}, {other}; ALTER TABLE notes ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY open ON notes USING (true); \
         CREATE POLICY shut ON notes AS RESTRICTIVE TO {app}, {gone} USING (NOT hidden); \
         GRANT USAGE ON SCHEMA acme TO {app}, {other}"
    ))
    .expect("made");
    let seen = |schema: &str, role: &str| {
        let mut conn = db.raw();
        conn.batch_execute(&format!("SET ROLE {role}; SET search_path TO {schema}"))
            .expect("a role");
        let notes = strings(&mut conn, "SELECT count(*)::text AS value FROM notes").concat();
        let secret = "SELECT has_function_privilege('secret()', 'EXECUTE')::text AS value";
        (notes, strings(&mut conn, secret).concat() == "true")
    };
    assert_eq!(seen("acme", &app), ("1".to_owned(), true));
    assert_eq!(seen("acme", &other), ("2".to_owned(), false));
    let mut file = Vec::new();
    let mut public = db.tenancy.public().expect("public");
    acme.dump_to(&mut public, &mut file, DumpOptions::new())
        .expect("dumped");
    restore(&db, "twin", &file).expect("restored");
    assert_eq!(seen("twin", &app), seen("acme", &app));
    assert_eq!(seen("twin", &other), seen("acme", &other));

    conn.batch_execute(&format!("DROP OWNED BY {gone}; DROP ROLE {gone}"))
        .expect("it is gone");
    let warnings = restore(&db, "globex", &file).expect("restored");
    assert_eq!(
        warnings,
        [
            format!("ALTER POLICY shut ON notes TO {app}, {gone}"),
            format!("GRANT EXECUTE ON ROUTINE secret() TO {gone}"),
            format!("GRANT SELECT ON TABLE notes TO {gone}"),
        ]
        .map(|left| format!("there is no role {gone}, so this was left out: {left}"))
    );
    assert_eq!(seen("globex", &app), ("1".to_owned(), true));
    // What restricts, restricts everyone until it is altered.
    assert_eq!(seen("globex", &other), ("1".to_owned(), false));
    drop(public);
    conn.batch_execute(&format!(
        "DROP OWNED BY {app}, {other}; DROP ROLE {app}, {other}"
    ))
    .expect("they are gone");
}

/// Fails after so many bytes, as a full disk does.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(buffer.len())
            .ok_or_else(|| io::Error::other("the disk is full"))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dump_that_can_not_be_written_leaves_the_connection_well() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    conn.batch_execute(
        "INSERT INTO rooms SELECT n, 'room ' || n FROM generate_series(1, 20000) AS n",
    )
    .expect("inserted");
    let all = dump(&db, &acme, DumpOptions::new()).len();
    for room in [0, 1500, all / 2, all - 5] {
        let error = acme
            .dump_to(&mut conn, &mut Full(room), DumpOptions::new())
            .expect_err("the disk is full");
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(
            strings(&mut *conn, "SELECT count(*)::text AS value FROM rooms"),
            ["20000"]
        );
    }
    acme.dump_to(&mut conn, &mut Full(all), DumpOptions::new())
        .expect("dumped");
}

/// Replaces the rows of a table as soon as something is written, if it can.
struct Replacing {
    conn: PgConnection,
    replaced: Option<bool>,
    out: Vec<u8>,
}

impl Write for Replacing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.replaced.is_none() {
            let replace = "SET lock_timeout TO '100ms'; \
                           BEGIN; TRUNCATE acme.rooms; INSERT INTO acme.rooms VALUES (2, 'New'); COMMIT";
            self.replaced = Some(self.conn.batch_execute(replace).is_ok());
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dump_has_the_rows_of_a_table_that_is_emptied_meanwhile() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut conn, 1, "Blue");
    let mut out = Replacing {
        conn: db.raw(),
        replaced: None,
        out: Vec::new(),
    };
    acme.dump_to(&mut conn, &mut out, DumpOptions::new())
        .expect("dumped");
    assert_eq!(out.replaced, Some(false), "it has to wait");
    assert!(String::from_utf8_lossy(&out.out).contains("1\tBlue\n"));

    // And of one that was being emptied when the dump began.
    let mut other = db.raw();
    let replace = "BEGIN; TRUNCATE acme.rooms; INSERT INTO acme.rooms VALUES (3, 'Green'); CREATE TABLE acme.more AS SELECT 4 AS id";
    other.batch_execute(replace).expect("replaced");
    let file = thread::scope(|scope| {
        let dumped = scope.spawn(|| dump(&db, &acme, DumpOptions::new()));
        waiter(&db);
        other.batch_execute("COMMIT").expect("committed");
        dumped.join().expect("no panic")
    });
    let text = String::from_utf8(file).expect("UTF-8");
    assert!(
        text.contains("3\tGreen\n") && !text.contains("Blue"),
        "{text}"
    );
    assert!(text.contains("COPY more (id) FROM stdin;\n4\n"), "{text}");
}

#[test]
fn what_can_not_be_dumped_or_restored_is_refused() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let file = dump(&db, &acme, DumpOptions::new());
    let mut conn = db.tenancy.public().expect("public");
    let dump = |from: &Client, conn: &mut tenant_schemas::TenantConnection| {
        from.dump_to(conn, &mut io::sink(), DumpOptions::new())
            .expect_err("refused")
    };
    assert_eq!(
        dump(&client("public"), &mut conn).to_string(),
        "schema public can't be dumped: it is the shared schema"
    );
    assert!(matches!(
        dump(&client("nowhere"), &mut conn),
        Error::NoSuchSchema { .. }
    ));
    let mut other = db.tenancy.tenant(&globex).expect("globex");
    assert!(matches!(dump(&acme, &mut other), Error::OtherScope { .. }));
    conn.transaction(|conn| {
        assert!(matches!(dump(&acme, conn), Error::InsideTransaction { .. }));
        Ok::<_, Error>(())
    })
    .expect("the transaction is well");
    assert!(matches!(
        restore(&db, "globex", &file),
        Err(Error::SchemaExists { .. })
    ));
    assert!(matches!(
        restore(&db, "public", &file),
        Err(Error::Protected { .. })
    ));
    // In a transaction, and away with it.
    let undone = conn.transaction(|conn| {
        client("initech").restore_from(conn, &mut &*file, RestoreOptions::new())?;
        assert_eq!(
            strings(conn, "SELECT name AS value FROM plans ORDER BY 1"),
            ["free", "team"]
        );
        Err::<(), _>(Error::NoScope)
    });
    assert!(matches!(undone, Err(Error::NoScope)), "{undone:?}");
    assert!(!db.schema_exists("initech"));
}

#[test]
fn c65_what_no_copy_can_be_made_of_is_an_error_if_a_part_needs_it_and_left_out_if_none_does() {
    let db = Db::new();
    let acme = db.tenant("acme");
    db.raw()
        .batch_execute(
            "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere; \
             CREATE FOREIGN TABLE acme.far (id serial CHECK (id > 0)) SERVER elsewhere; \
             COMMENT ON FOREIGN TABLE acme.far IS 'far away'; COMMENT ON COLUMN acme.far.id IS 'a number'; \
             GRANT SELECT ON acme.far TO PUBLIC; \
             CREATE FUNCTION acme.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; \
             CREATE TRIGGER note BEFORE INSERT ON acme.far FOR EACH ROW EXECUTE FUNCTION acme.note(); \
             CREATE COLLATION acme.exact FROM \"C\"",
        )
        .expect("things of which no copy is made");
    let mut conn = db.tenancy.public().expect("public");
    let mut file = Vec::new();
    let dumped = acme
        .dump_to(&mut conn, &mut file, DumpOptions::new())
        .expect("dumped");
    assert_eq!(dumped.len(), 2, "{dumped:?}");
    let mut globex = client("globex");
    globex
        .restore_from(&mut conn, &mut &*file, RestoreOptions::new())
        .expect("restored");
    db.raw()
        .batch_execute(
            "CREATE TABLE acme.mails (mail text COLLATE acme.exact); \
             CREATE VIEW acme.near AS SELECT id FROM acme.far",
        )
        .expect("what needs them");
    let dump = acme
        .dump_to(&mut conn, &mut Vec::new(), DumpOptions::new())
        .map(drop);
    let copy = acme
        .clone_to(&mut conn, &mut client("initech"), CloneOptions::new())
        .map(drop);
    for result in [dump, copy] {
        let error = result.expect_err("refused").to_string();
        assert!(
            error.contains("table mails needs collation")
                && error.contains("view near needs foreign table"),
            "{error}"
        );
    }
}

#[test]
fn c64_a_dump_restores_values_that_stand_for_a_view_or_an_index() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    conn.batch_execute(
        "CREATE VIEW names AS SELECT name FROM rooms; \
         CREATE TABLE watched (rel regclass, kin regclass[]); \
         INSERT INTO watched VALUES ('names', '{rooms_pkey}')",
    )
    .expect("made");
    let mut file = Vec::new();
    acme.dump_to(&mut conn, &mut file, DumpOptions::new().data(true))
        .expect("dumped");
    drop(conn);
    restore(&db, "copy", &file).expect("restored");
    let copied = "SELECT count(*)::text AS value FROM copy.watched \
         WHERE rel = 'copy.names'::regclass AND kin = '{copy.rooms_pkey}'";
    assert_eq!(db.strings(copied), ["1"]);
}
