//! `clone_tenant`, `dump_tenant`, `restore_tenant`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use diesel::connection::SimpleConnection as _;

use crate::support::{Program, ends_with, finished};

/// Tenant `a` with a room and a booking.
fn with_rows() -> Program {
    let program = Program::with_tenants(&["a"]);
    program.sql(
        "UPDATE clients SET paid_until = '2027-01-31', on_trial = false, email = 'a@a.com'; \
         INSERT INTO a.rooms (name) VALUES ('Blue'), ('Red'); \
         INSERT INTO a.bookings (id, room_id, guest) VALUES (1, 2, 'Ada')",
    );
    program
}

#[test]
fn c62_clone_tenant_copies_the_structure_and_with_data_the_rows() {
    let program = with_rows();
    let ran = program.ok("clone_tenant a --schema_name b --domain_url b.com");
    assert!(
        ran.err
            .contains("Tenant b is ready: a copy of a, without rows"),
        "{}",
        ran.err
    );
    assert_eq!(program.tables("b"), program.tables("a"));
    assert_eq!(program.strings("SELECT count(*) FROM b.rooms"), ["0"]);
    program.ok("clone_tenant a --schema_name c --domain_url c.com --data");
    assert_eq!(
        program.strings("SELECT name FROM c.rooms ORDER BY id"),
        ["Blue", "Red"]
    );
    program.sql("INSERT INTO c.rooms (name) VALUES ('next')");
    assert_eq!(
        program.strings("SELECT id FROM c.rooms WHERE name = 'next'"),
        ["3"]
    );
    assert_eq!(program.strings("SELECT count(*) FROM a.rooms"), ["2"]);
    program.ok("migrate_schemas --check");
    assert_eq!(
        program.ok("list_tenants").out,
        "a\ta.com\nb\tb.com\nc\tc.com\n"
    );
}

#[test]
fn the_fields_of_a_clone_are_the_sources_unless_they_are_given() {
    let program = with_rows();
    program.ok_args(&[
        "clone_tenant",
        "--clone_from=a",
        "--schema_name=b",
        "--domain_url=b.com",
        "--name=Bee",
    ]);
    assert_eq!(
        program.strings("SELECT concat_ws('|', name, paid_until, on_trial, email) FROM clients WHERE schema_name = 'b'"),
        ["Bee|2027-01-31|f|a@a.com"]
    );
    let ran = program.run("clone_tenant a");
    ran.fails(
        2,
        &[
            "--schema_name=<NAME> is missing",
            "--domain_url=<TEXT> is missing",
        ],
    );
    assert!(!ran.err.contains("--name"), "{}", ran.err);
    let mut terminal = program.on_terminal("clone_tenant a");
    for (question, answer) in [("schema_name: ", "c"), ("domain_url: ", "c.com")] {
        terminal.exp_string(question).expect(question);
        terminal.send_line(answer).expect("typed");
    }
    ends_with(terminal, 0);
    program
        .run("clone_tenant a --schema_name b --domain_url x.com")
        .fails(1, &["b"]);
    program
        .run("clone_tenant nobody --schema_name d --domain_url d.com")
        .fails(2, &["no tenant has the schema `nobody`"]);
    program
        .run("clone_tenant public --schema_name d --domain_url d.com")
        .fails(2, &["public"]);
}

#[test]
fn a_clone_has_what_text_can_not_give_too_and_a_row_of_its_own() {
    let program = Program::fresh().words("places").and_tenants(&[]);
    program.ok_args(&[
        "create_tenant",
        "--schema_name=a",
        "--domain_url=a.com",
        "--plan=team",
        "--partner=6f9619ff-8b86-d011-b42d-00c04fc964ff",
        r#"--settings={"beds": 2}"#,
        "--discount=0.5",
        "--opened_at=2027-01-02T03:04:05Z",
        "--listed=true",
    ]);
    program.sql("UPDATE places SET tags = '{sea,sun}', created_at = '2020-01-01'");
    program.ok("clone_tenant a --schema_name=b --discount=0.25");
    program.ok("clone_tenant b --schema_name=c --domain_url=c.com --plan=free --listed=");
    let shared = "6f9619ff-8b86-d011-b42d-00c04fc964ff|{\"beds\": 2}";
    assert_eq!(
        program.strings(
            "SELECT concat_ws('|', id, schema_name, domain_url, plan, partner, settings, discount, \
             opened_at AT TIME ZONE 'UTC', listed, tags, created_at > '2021-01-01') FROM places ORDER BY id"
        ),
        [
            format!("1|a|a.com|1|{shared}|0.5|2027-01-02 03:04:05|t|{{sea,sun}}|f"),
            format!("2|b|1|{shared}|0.25|2027-01-02 03:04:05|t|{{sea,sun}}|t"),
            format!("3|c|c.com|0|{shared}|0.25|2027-01-02 03:04:05|{{sea,sun}}|t"),
        ]
    );
    let ran = program.run("clone_tenant a --discount half");
    ran.fails(
        2,
        &[
            "--schema_name=<NAME> is missing",
            "--discount=half is no F64",
        ],
    );
    assert!(!ran.err.contains("--partner"), "{}", ran.err);
    let help = program.ok("clone_tenant --help").out;
    assert!(help.contains("[default: the source's]"), "{help}");
}

#[test]
fn c66_a_clone_of_a_tenant_that_is_behind_is_migrated_only_if_asked_to() {
    let program = with_rows().words("release2");
    let args = "clone_tenant a --schema_name b --domain_url b.com";
    program
        .run(args)
        .fails(1, &["rooms_have_floors", "migrate"]);
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\n");
    assert!(!program.schema_exists("b"));
    program.ok(&format!("{args} --migrate"));
    program.ok("migrate_schemas --check --schema b");
    program
        .run("migrate_schemas --check --schema a")
        .fails(3, &[]);
}

#[test]
fn c62_c63_c64_a_clone_shares_nothing_with_its_source() {
    let program = with_rows();
    let of = |schema: &str| {
        program.strings(&format!(
            "SELECT concat_ws('|', r.id, r.name, r.price, b.id, b.guest, b.loud) \
             FROM {schema}.rooms r LEFT JOIN {schema}.bookings b ON b.room_id = r.id ORDER BY r.id"
        ))
    };
    let source = of("a");
    assert_eq!(source, ["1|Blue|100", "2|Red|100|1|Ada|ADA"]);
    program.ok("clone_tenant a --schema_name b --domain_url b.com --data");
    assert_eq!(of("b"), source);
    assert_eq!(of("a"), source);
    // The key holds, and on to the clone's own rooms.
    let try_to = |sql: &str| program.connect().batch_execute(sql);
    try_to("DELETE FROM b.rooms WHERE id = 2").expect_err("it is booked in the clone");
    program.sql("INSERT INTO a.rooms (name) VALUES ('Green')");
    try_to("INSERT INTO b.bookings (id, room_id) VALUES (2, 3)")
        .expect_err("only the source has a room 3");
    assert_eq!(
        program.strings(
            "SELECT conrelid::regclass || ' to ' || confrelid::regclass FROM pg_constraint \
             WHERE contype = 'f' AND conrelid = 'b.bookings'::regclass"
        ),
        ["b.bookings to b.rooms"]
    );
    program.sql("DELETE FROM b.bookings; DELETE FROM b.rooms");
    assert_eq!(
        of("a"),
        ["1|Blue|100", "2|Red|100|1|Ada|ADA", "3|Green|100"]
    );
    // The sequences go on where the source's stood, each by itself.
    program.sql("INSERT INTO b.rooms (name) VALUES ('next'), ('last')");
    assert_eq!(of("b"), ["3|next|100", "4|last|100"]);
    program.sql("INSERT INTO a.rooms (name) VALUES ('mine')");
    assert_eq!(of("a")[3], "4|mine|100");
}

#[test]
fn noinput_of_clone_and_restore_asks_nothing_on_a_terminal() {
    let program = with_rows();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.sql");
    let file = file.to_str().expect("a path");
    program.ok_args(&["dump_tenant", "a", "--output", file]);
    let restore = format!("restore_tenant {file}");
    let own = ["--schema_name=<NAME>", "--domain_url=<TEXT>"];
    let all = [
        "--schema_name=<NAME>",
        "--domain_url=<TEXT>",
        "--name=<TEXT>",
    ];
    for (command, missing) in [("clone_tenant a", &own[..]), (&restore, &all[..])] {
        // Without it there is a question.
        let mut terminal = program.on_terminal(command);
        terminal.exp_string("schema_name: ").expect("a question");
        terminal.send_control('c').expect("sent");
        let said = ends_with(program.on_terminal(&format!("{command} --noinput")), 2);
        for option in missing {
            let words = format!("{option} is missing");
            assert!(said.contains(&words), "{words:?} is not in {said}");
        }
        assert!(!said.contains("schema_name: "), "{said}");
    }
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\n");
}

#[test]
fn a_dump_that_is_typed_comes_behind_the_answers() {
    let program = with_rows();
    let mut terminal = program.on_terminal(
        "restore_tenant - --schema_name=b --name=B --on_trial=no --rooms_at_most=1 --paid_until=2027-01-01 --tenant-email=x",
    );
    terminal.exp_string("domain_url: ").expect("a question");
    terminal.send_line("b.com").expect("typed");
    terminal.send_line("no dump").expect("typed");
    terminal.send_control('d').expect("the end");
    ends_with(terminal, 1);
    assert!(!program.schema_exists("b"));
}

#[test]
fn a_dump_is_restored_under_another_name() {
    let program = with_rows();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.sql");
    let file = file.to_str().expect("a path");
    program.ok_args(&["dump_tenant", "a", "--output", file]);
    let on_stdout = program.ok("dump_tenant --schema=a").out;
    assert!(on_stdout.contains("Blue"), "{on_stdout}");
    let entries: Vec<_> = std::fs::read_dir(directory.path())
        .expect("listed")
        .collect();
    assert_eq!(entries.len(), 1, "nothing but the dump: {entries:?}");
    let restore = |file: &str, schema: &str| {
        let (name, domain) = (
            format!("--schema_name={schema}"),
            format!("--domain_url={schema}.com"),
        );
        program.run_args(&["restore_tenant", file, &name, &domain, "--name=Restored"])
    };
    assert_eq!(restore(file, "b").code, 0);
    assert_eq!(
        program.strings("SELECT name FROM b.rooms ORDER BY id"),
        ["Blue", "Red"]
    );
    restore(file, "b").fails(1, &["b"]);
    program.ok_args(&["dump_tenant", "a", "--no-data", "-o", file]);
    assert_eq!(restore(file, "c").code, 0);
    assert_eq!(program.strings("SELECT count(*) FROM c.rooms"), ["0"]);
    let args = [
        "restore_tenant",
        "-",
        "--schema_name=d",
        "--domain_url=d.com",
        "--name=D",
    ];
    let ran = program.run_with_input(&args, &on_stdout);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(program.strings("SELECT count(*) FROM d.rooms"), ["2"]);
    let half = &on_stdout[..on_stdout.len() / 2];
    let args = [
        "restore_tenant",
        "-",
        "--schema_name=e",
        "--domain_url=e.com",
        "--name=E",
    ];
    program.run_with_input(&args, half).fails(1, &["error: "]);
    assert!(!program.schema_exists("e"));
    restore("/nowhere.sql", "e").fails(1, &["/nowhere.sql can't be read"]);
    // Its name need not be text.
    let odd = std::ffi::OsStr::from_bytes(b"\xff.sql");
    let odd = directory.path().join(odd);
    std::fs::copy(file, &odd).expect("copied");
    let mut command = program.command();
    command.arg("restore_tenant").arg(&odd).args(&args[2..]);
    crate::support::finished(&mut command).fails(0, &["Tenant e is ready"]);
    program
        .run("dump_tenant nobody")
        .fails(2, &["no tenant has the schema `nobody`"]);
    program
        .run("dump_tenant a -o /nowhere/a.sql")
        .fails(1, &["can't be written"]);
}

#[test]
fn a_dump_goes_into_a_pipe_and_to_where_a_link_leads() {
    let program = with_rows();
    let directory = tempfile::tempdir().expect("a directory");
    let [pipe, link, file] = ["pipe", "link", "file"].map(|name| directory.path().join(name));
    let dump = |path: &Path| {
        program.ok_args(&["dump_tenant", "a", "-o", path.to_str().expect("a path")]);
        let there = std::fs::symlink_metadata(path).expect("it is there");
        assert!(!there.is_file(), "{} was replaced", path.display());
    };
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe)
    });
    dump(&pipe);
    let read = reader.join().expect("no panic").expect("read");
    assert!(read.contains("Blue"), "{read}");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    for before in [None, Some("what was there")] {
        if let Some(before) = before {
            std::fs::write(&file, before).expect("written");
        }
        dump(&link);
        let written = std::fs::read_to_string(&file).expect("read");
        assert!(written.contains("Blue"), "{written}");
    }
}

#[test]
fn dumps_into_a_stream_that_is_open_come_one_behind_the_other() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql(
        "INSERT INTO a.rooms (name) VALUES ('Blue'); INSERT INTO b.rooms (name) VALUES ('Green')",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink("/dev/stdout", &link).expect("a link");
    let link = link.to_str().expect("a path");
    for (path, stream) in [
        ("/dev/stdout", ">>"),
        (link, ">>"),
        ("/proc/self/fd/1", ">"),
        ("/dev/stderr", "2>"),
        ("/dev/fd/3", "3>>"),
        ("/dev/fd/3", "3>"),
    ] {
        std::fs::write(&file, "what was there\n").expect("written");
        let dump = |schema: &str| format!("\"$0\" dump_tenant {schema} -o {path}");
        let script = format!("{{ {} && {}; }} {stream} \"$1\"", dump("a"), dump("b"));
        let ran = finished(
            Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_manage-program")])
                .arg(&file)
                .env("DATABASE_URL", program.url()),
        );
        assert_eq!(ran.code, 0, "{path}: {ran:?}");
        let written = std::fs::read_to_string(&file).expect("read");
        let at = |text: &str| written.find(text);
        assert!(
            at("Blue").is_some() && at("Blue") < at("Green"),
            "{path}: {written}"
        );
        let kept = at("what was there").is_some();
        assert_eq!(kept, stream.ends_with(">>"), "{path}: {written}");
    }
}

#[test]
fn a_dump_that_is_behind_is_migrated_only_if_asked_to() {
    let program = with_rows();
    let dumped = program.ok("dump_tenant a").out;
    let program = program.words("release2");
    let args = [
        "restore_tenant",
        "-",
        "--schema_name=b",
        "--domain_url=b.com",
        "--name=B",
    ];
    program
        .run_with_input(&args, &dumped)
        .fails(1, &["rooms_have_floors"]);
    let ran = program.run_with_input(&[&args[..], &["--migrate"]].concat(), &dumped);
    assert_eq!(ran.code, 0, "{ran:?}");
    program.ok("migrate_schemas --check --schema b");
}
