//! `create_tenant` and `create_tenant_superuser`.

use rexpect::session::PtySession;

use crate::support::{Program, ends_with};

#[track_caller]
fn answer(terminal: &mut PtySession, question: &str, with: &str) {
    terminal
        .exp_string(question)
        .unwrap_or_else(|error| panic!("{question}: {error}"));
    terminal.send_line(with).expect("typed");
}

#[test]
fn c94_there_is_an_option_for_each_field_of_the_model() {
    let program = Program::with_tenants(&[]);
    let ran = program.ok_args(&[
        "create_tenant",
        "--domain_url=newtenant.net",
        "--schema_name=new_tenant",
        "--name=New Tenant",
        "--paid_until=2027-12-31",
        "--on_trial=false",
        "--rooms-at-most=-5",
        "--tenant-email=a@b.c",
    ]);
    assert!(
        ran.err.contains("Tenant new_tenant is ready"),
        "{}",
        ran.err
    );
    assert_eq!(
        program.strings("SELECT concat_ws('|', schema_name, domain_url, name, paid_until, on_trial, rooms_at_most, email) FROM clients"),
        ["new_tenant|newtenant.net|New Tenant|2027-12-31|f|-5|a@b.c"]
    );
    assert_eq!(
        program.tables("new_tenant"),
        ["__tenant_migrations", "auth_users", "bookings", "rooms"]
    );
    program.run("migrate_schemas --check").fails(0, &[]);
}

#[test]
fn c94_the_help_has_types_defaults_and_doc_comments() {
    let help = Program::fresh().ok("create_tenant --help").out;
    for words in [
        "--schema_name <NAME>",
        "The name on the invoice [required]",
        "--paid_until <YYYY-MM-DD>",
        "The last day that is paid for [optional]",
        "--on_trial [<true|false>]",
        "[default: true]",
        "--tenant-email <TEXT>",
        "--rooms_at_most <I32>",
        "-s, --superuser",
    ] {
        assert!(help.contains(words), "{words} is missing in {help}");
    }
}

#[test]
fn c94_words_keys_documents_numbers_and_times_are_given_as_text() {
    let program = Program::fresh().words("places").and_tenants(&[]);
    let create = |options: &[&str]| program.run_args(&[&["create_tenant"], options].concat());
    let ran = create(&[
        "--schema_name=a",
        "--plan=gold",
        "--partner=nobody",
        "--settings={",
        "--discount=half",
        "--opened_at=soon",
        "--listed=perhaps",
    ]);
    ran.fails(
        2,
        &[
            "--plan=gold is no PLAN: there are `free` and `team`",
            "--partner=nobody is no UUID: ",
            "--settings={ is no JSON: ",
            "--discount=half is no F64: ",
            "--opened_at=soon is no YYYY-MM-DDThh:mm:ssZ: ",
            "--listed=perhaps is no true|false: ",
        ],
    );
    create(&["--schema_name=a"]).fails(
        2,
        &[
            "--partner=<UUID> is missing",
            "--settings=<JSON> is missing",
            "--opened_at=<YYYY-MM-DDThh:mm:ssZ> is missing",
        ],
    );
    let ran = create(&[
        "--listed",
        "--schema_name=a",
        "--plan=team",
        "--partner=6f9619ff-8b86-d011-b42d-00c04fc964ff",
        r#"--settings={"beds": [1, null]}"#,
        "--discount=-0.125",
        "--opened_at=2027-01-02T03:04:05.5+01:00",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        program.strings(
            "SELECT concat_ws('|', plan, partner, settings, discount, opened_at AT TIME ZONE 'UTC', listed, tags) \
             FROM places"
        ),
        ["1|6f9619ff-8b86-d011-b42d-00c04fc964ff|{\"beds\": [1, null]}|-0.125|2027-01-02 02:04:05.5|t|{}"]
    );
    let help = program.ok("create_tenant --help").out;
    for words in [
        "--plan <PLAN>",
        "[default: free]",
        "--listed [<true|false>]",
    ] {
        assert!(help.contains(words), "{words} is missing in {help}");
    }
    assert!(!help.contains("--tags"), "no text can give it: {help}");
}

#[test]
fn c95_without_a_terminal_every_missing_and_every_wrong_field_is_listed() {
    let program = Program::with_tenants(&[]);
    let ran = program.run("create_tenant --paid_until tomorrow --rooms_at_most many -s");
    ran.fails(
        2,
        &[
            "--schema_name=<NAME> is missing",
            "--domain_url=<TEXT> is missing",
            "--name=<TEXT> is missing",
            "--paid_until=tomorrow is no YYYY-MM-DD",
            "--rooms_at_most=many is no I32",
            "--username=<NAME> is missing",
            "TENANT_SUPERUSER_PASSWORD",
        ],
    );
    assert!(
        !ran.err.contains("on_trial"),
        "what has a default is not missing: {}",
        ran.err
    );
    assert_eq!(program.strings("SELECT count(*) FROM clients"), ["0"]);
    // No text is no value, as at the prompt.
    program
        .run("create_tenant --schema_name=a --domain_url=a.com --name= --tenant-email=")
        .fails(2, &["--name: it has to have a value"]);
    assert_eq!(program.strings("SELECT count(*) FROM clients"), ["0"]);
    // No database is needed to say so.
    let mut command = program.command();
    command.env_remove("DATABASE_URL").args(["create_tenant"]);
    crate::support::finished(&mut command).fails(2, &["--schema_name=<NAME> is missing"]);
}

#[test]
fn c94_on_a_terminal_only_what_is_missing_is_asked_for_and_a_bad_answer_keeps_the_good_ones() {
    let program = Program::with_tenants(&["taken"]);
    let mut terminal = program.on_terminal("create_tenant --name=Acme --on_trial=false");
    answer(&mut terminal, "schema_name: ", "Not Good");
    terminal.exp_string("lower-case letters").expect("the rule");
    answer(&mut terminal, "schema_name: ", "public2");
    answer(&mut terminal, "domain_url: ", "taken.com");
    terminal
        .exp_string("taken.com is taken by tenant taken")
        .expect("the rule");
    answer(&mut terminal, "domain_url: ", "");
    terminal
        .exp_string("domain_url has to have a value")
        .expect("the rule");
    answer(&mut terminal, "domain_url: ", "acme.com");
    answer(
        &mut terminal,
        "paid_until (The last day that is paid for, optional): ",
        "soon",
    );
    terminal
        .exp_string("\"soon\" is no YYYY-MM-DD")
        .expect("the rule");
    answer(
        &mut terminal,
        "paid_until (The last day that is paid for, optional): ",
        "2027-01-31",
    );
    answer(&mut terminal, "rooms_at_most [10]: ", "");
    answer(&mut terminal, "email (Where invoices go, optional): ", "");
    let rest = ends_with(terminal, 0);
    assert!(rest.contains("Tenant public2 is ready"), "{rest}");
    assert_eq!(
        program.strings("SELECT concat_ws('|', schema_name, domain_url, name, paid_until, on_trial, rooms_at_most, email) FROM clients WHERE name = 'Acme'"),
        ["public2|acme.com|Acme|2027-01-31|f|10"]
    );
}

#[test]
fn c94_a_bad_value_on_the_command_line_is_asked_for_again() {
    let program = Program::with_tenants(&["taken"]);
    let mut terminal = program.on_terminal(
        "create_tenant --schema_name taken --domain_url b.com --name=B --on_trial perhaps --rooms_at_most 1 --paid_until 2027-01-01 --tenant-email x",
    );
    terminal
        .exp_string("taken is taken by tenant taken")
        .expect("the rule");
    answer(&mut terminal, "schema_name: ", "b");
    terminal
        .exp_string("write `true` or `false`")
        .expect("the rule");
    answer(&mut terminal, "on_trial [true]: ", "no");
    ends_with(terminal, 0);
    assert_eq!(
        program.strings("SELECT on_trial FROM clients WHERE schema_name = 'b'"),
        ["false"]
    );
}

#[test]
fn that_the_database_can_not_be_asked_ends_the_questions() {
    let hint = "migrate_schemas --shared";
    let program = Program::fresh();
    let said = ends_with(program.on_terminal("create_tenant"), 1);
    assert!(said.contains(hint) && !said.contains("name: "), "{said}");
    let mut command = program.command();
    command
        .arg("create_tenant")
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x")
        .stdin(std::process::Stdio::inherit());
    let terminal = rexpect::session::spawn_command(command, Some(30_000)).expect("a terminal");
    let said = ends_with(terminal, 1);
    assert!(
        said.contains("caused by: ") && !said.contains("name: "),
        "{said}"
    );

    let program = Program::with_tenants(&[]);
    let mut terminal = program.on_terminal("create_tenant");
    terminal.exp_string("schema_name: ").expect("a question");
    program.sql("ALTER TABLE clients RENAME TO gone");
    terminal.send_line("a").expect("typed");
    let said = ends_with(terminal, 1);
    assert!(said.contains(hint), "{said}");
}

#[test]
fn noinput_takes_the_defaults_on_a_terminal_too() {
    let program = Program::with_tenants(&[]);
    let terminal =
        program.on_terminal("create_tenant --schema_name a --domain_url a.com --name=A --noinput");
    ends_with(terminal, 0);
    let terminal = program.on_terminal("create_tenant --schema_name b --noinput");
    let said = ends_with(terminal, 2);
    assert!(said.contains("--name=<TEXT> is missing"), "{said}");
}

#[test]
fn c13_a_schema_that_exists_is_refused_unless_it_is_to_be_adopted() {
    let program = Program::with_tenants(&[]);
    program.sql("CREATE SCHEMA old; CREATE TABLE old.keepsake (id integer)");
    let args = "create_tenant --schema_name old --domain_url old.com --name Old";
    program
        .run(args)
        .fails(1, &["schema old already exists and was left untouched"]);
    assert_eq!(program.tables("old"), ["keepsake"]);
    assert_eq!(program.strings("SELECT count(*) FROM clients"), ["0"]);
    program.ok(&format!("{args} --adopt"));
    assert!(program.tables("old").contains(&"rooms".to_owned()));
    assert!(program.tables("old").contains(&"keepsake".to_owned()));
}

#[test]
fn c10_names_that_can_be_no_schema_are_refused_as_wrong_usage() {
    let program = Program::with_tenants(&[]);
    for (name, rule) in [
        ("Upper", "lower-case letters"),
        ("pg_own", "reserved by PostgreSQL"),
        ("a-b", "lower-case letters"),
        ("", "empty"),
    ] {
        program
            .run_args(&[
                "create_tenant",
                "--schema_name",
                name,
                "--domain_url=a.com",
                "--name=A",
            ])
            .fails(2, &[rule]);
    }
    program
        .run("create_tenant --schema_name public --domain_url a.com --name A")
        .fails(0, &[]);
}

#[test]
fn c96_the_superuser_comes_with_the_tenant_or_neither_does() {
    let program = Program::with_tenants(&[]);
    let args = [
        "create_tenant",
        "--schema_name=a",
        "--domain_url=a.com",
        "--name=A",
        "-s",
        "--username=admin",
        "--email=admin@a.com",
        "--password-stdin",
    ];
    program
        .run_with_input(&args, "short\n")
        .fails(2, &["password", "at least"]);
    assert!(!program.schema_exists("a"));
    let with = |option: &'static str| {
        let (name, _) = option.split_once('=').expect("a value");
        args.map(|arg| if arg.starts_with(name) { option } else { arg })
    };
    program
        .run_with_input(&with("--username=a b"), "correct horse\n")
        .fails(2, &["\"a b\" can't be used: it has the character ' '"]);
    program
        .run_with_input(&with("--email=nowhere"), "correct horse\n")
        .fails(1, &["nowhere"]);
    assert!(
        !program.schema_exists("a"),
        "the tenant went with its superuser"
    );
    let ran = program.run_with_input(&args, "correct horse\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        program.strings("SELECT concat_ws('|', username, email, is_superuser) FROM a.auth_users"),
        ["admin|admin@a.com|t"]
    );
    program
        .run("create_tenant --schema_name=b --domain_url=b.com --name=B --email=x@b.com")
        .fails(
            2,
            &["add `-s`; the tenant's own field `email` is `--tenant-email`"],
        );
}

#[test]
fn the_superuser_waits_for_migrations_that_can_not_run_in_a_transaction() {
    let args = [
        "create_tenant",
        "--schema_name=a",
        "--domain_url=a.com",
        "--name=A",
        "-s",
        "--username=admin",
        "--password-stdin",
    ];
    let create = |words: &str| {
        let program = Program::with_tenants(&[]).words(words);
        let ran = program.run_with_input(&args, "correct horse\n");
        (program, ran)
    };
    let (program, ran) = create("concurrently");
    // Three of hotels, and the one that makes the table of users, which comes behind the index.
    ran.fails(
        0,
        &["Tenant a is ready: schema a, 4 migrations, superuser admin."],
    );
    assert_eq!(
        program.strings("SELECT username FROM a.auth_users"),
        ["admin"]
    );
    let (program, ran) = create("concurrently wrong");
    ran.fails(
        1,
        &[
            "tenant a is there without its superuser: `create_tenant_superuser --schema=a`",
            "`migrate_schemas --schema=a` runs the rest",
        ],
    );
    assert_eq!(program.strings("SELECT name FROM clients"), ["A"]);
}

#[test]
fn c96_the_superuser_is_asked_for_on_a_terminal() {
    let program = Program::with_tenants(&[]);
    let mut terminal = program.on_terminal(
        "create_tenant -s --schema_name a --domain_url a.com --name=A --on_trial --rooms_at_most 1 --paid_until 2027-01-01 --tenant-email x --username a/b",
    );
    terminal
        .exp_string("--username: username \"a/b\" can't be used")
        .expect("the rule");
    answer(&mut terminal, "username: ", "a b");
    terminal
        .exp_string("it has the character ' '")
        .expect("the rule");
    answer(&mut terminal, "username: ", "admin");
    answer(&mut terminal, "email (optional): ", "");
    answer(&mut terminal, "password: ", "correct horse");
    answer(&mut terminal, "password (again): ", "correct horse");
    ends_with(terminal, 0);
    assert_eq!(
        program.strings("SELECT username FROM a.auth_users"),
        ["admin"]
    );
}

#[test]
fn c97_a_salted_hash_is_stored_in_that_tenant_only() {
    let program = Program::with_tenants(&["a", "b"]);
    for username in ["ada", "ben"] {
        let args = [
            "create_tenant_superuser",
            "--schema=a",
            "--username",
            username,
            "--password-stdin",
        ];
        let ran = program.run_with_input(&args, "correct horse\n");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let hashes = program.strings("SELECT password_hash FROM a.auth_users");
    assert_eq!(hashes.len(), 2);
    assert!(hashes[0].starts_with("$argon2id$"), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "the same password, another salt");
    assert_eq!(program.strings("SELECT count(*) FROM b.auth_users"), ["0"]);
    assert!(!program.tables("public").contains(&"auth_users".to_owned()));
    let args = [
        "create_tenant_superuser",
        "--schema=a",
        "--username=ADA",
        "--password-stdin",
    ];
    program
        .run_with_input(&args, "correct horse\n")
        .fails(2, &["ADA is taken in a"]);
}

#[test]
fn c97_the_password_comes_from_the_environment_too_and_never_from_an_option() {
    let program = Program::with_tenants(&["a"]);
    let mut command = program.command();
    command
        .args(["create_tenant_superuser", "--username=ada", "--schema=a"])
        .env("TENANT_SUPERUSER_PASSWORD", "correct horse");
    assert_eq!(crate::support::finished(&mut command).code, 0);
    assert_eq!(
        program.strings("SELECT username FROM a.auth_users"),
        ["ada"]
    );
    program.run("create_tenant_superuser --email x@y.z").fails(
        2,
        &[
            "--schema=<NAME> is missing",
            "--username=<NAME> is missing",
            "TENANT_SUPERUSER_PASSWORD",
        ],
    );
}

#[test]
fn c97_on_a_terminal_the_password_is_asked_for_twice_and_not_shown() {
    let program = Program::with_tenants(&["a"]);
    let mut terminal = program.on_terminal("create_tenant_superuser");
    answer(&mut terminal, "Schema (? lists them): ", "a");
    answer(&mut terminal, "username: ", "ada");
    answer(&mut terminal, "email (optional): ", "ada@a.com");
    answer(&mut terminal, "password: ", "short");
    terminal.exp_string("at least").expect("the rule");
    answer(&mut terminal, "password: ", "correct horse");
    answer(&mut terminal, "password (again): ", "wrong horse");
    terminal.exp_string("the two differ").expect("the rule");
    answer(&mut terminal, "password: ", "correct horse");
    answer(&mut terminal, "password (again): ", "correct horse");
    let rest = ends_with(terminal, 0);
    assert!(!rest.contains("horse"), "{rest}");
    assert_eq!(
        program.strings("SELECT username || '|' || email FROM a.auth_users"),
        ["ada|ada@a.com"]
    );
}

#[test]
fn noinput_of_create_tenant_superuser_asks_nothing_on_a_terminal() {
    let program = Program::with_tenants(&["a"]);
    // Without it there is a question.
    let mut terminal = program.on_terminal("create_tenant_superuser");
    answer(&mut terminal, "Schema (? lists them): ", "a");
    terminal.exp_string("username: ").expect("a question");
    terminal.send_control('c').expect("sent");
    let said = program.on_terminal("tenant_command create_tenant_superuser --username=x --noinput");
    let said = ends_with(said, 2);
    assert!(said.contains("which schema?"), "{said}");
    for option in ["--noinput", "--no-input"] {
        let said = ends_with(
            program.on_terminal(&format!("create_tenant_superuser {option}")),
            2,
        );
        for words in [
            "the superuser can't be created",
            "--schema=<NAME> is missing",
            "--username=<NAME> is missing",
            "the password is missing: set TENANT_SUPERUSER_PASSWORD",
        ] {
            assert!(said.contains(words), "{words:?} is missing in {said}");
        }
    }
    assert_eq!(program.strings("SELECT count(*) FROM a.auth_users"), ["0"]);
}

#[test]
fn superusers_go_to_a_table_of_ones_own_if_the_program_says_so() {
    let program = Program::fresh().words("staff").and_tenants(&["a"]);
    let args = [
        "create_tenant_superuser",
        "--schema=a",
        "--username=ada",
        "--password-stdin",
    ];
    assert_eq!(program.run_with_input(&args, "correct horse\n").code, 0);
    assert_eq!(
        program.strings("SELECT login || '|' || role FROM a.staff"),
        ["ada|owner"]
    );
}

#[test]
fn domains_of_a_table_of_their_own_are_created_too_the_first_as_the_primary_one() {
    let program = Program::fresh().words("domains").and_tenants(&[]);
    program.ok("create_tenant --schema_name a --domain A.com --domain www.a.com");
    assert_eq!(
        program.strings("SELECT domain || '|' || is_primary FROM domains ORDER BY id"),
        ["a.com|true", "www.a.com|false"]
    );
    program
        .run("create_tenant --schema_name b --domain a.com")
        .fails(1, &["domain a.com is tenant a's already"]);
    assert!(
        !program.schema_exists("b"),
        "the tenant went with its domain"
    );
    program
        .run("create_tenant --schema_name b --domain https://b.com")
        .fails(
            2,
            &["--domain: \"https://b.com\" is no domain: it has a scheme"],
        );
    let mut terminal = program.on_terminal("create_tenant --schema_name c");
    answer(&mut terminal, "primary domain (optional): ", "c.com");
    answer(&mut terminal, "another domain (optional): ", "");
    ends_with(terminal, 0);
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\nc\tc.com\n");
}

#[test]
fn c95_domains_that_can_be_none_are_listed_with_what_else_is_wrong() {
    let program = Program::with_tenants(&[]);
    let ran = program.run("create_tenant --domain_url https://a.com/x --rooms_at_most many");
    ran.fails(
        2,
        &[
            "--schema_name=<NAME> is missing",
            "--rooms_at_most=many is no I32",
            "--domain_url: \"https://a.com/x\" is no domain: it has a scheme",
        ],
    );
    program.ok("create_tenant --schema_name=a --domain_url=A.Com. --name=A");
    assert_eq!(program.ok("list_tenants").out, "a\ta.com\n");
    let program = Program::fresh().words("domains").and_tenants(&[]);
    let ran = program.run("create_tenant --domain b..com --domain a.com --domain c.com:80");
    ran.fails(
        2,
        &[
            "--schema_name=<NAME> is missing",
            "--domain: \"b..com\" is no domain: it has a dot too many",
            "--domain: \"c.com:80\" is no domain: it has a port",
        ],
    );
    assert!(!ran.err.contains("a.com"), "{}", ran.err);
}

#[test]
fn c94_domains_that_can_be_none_or_are_taken_are_asked_for_again() {
    let program = Program::with_tenants(&[]);
    let mut terminal = program.on_terminal(
        "create_tenant --schema_name b --domain_url b.com/x --name=B --on_trial no --rooms_at_most 1 --paid_until 2027-01-01 --tenant-email x",
    );
    terminal
        .exp_string("--domain_url: \"b.com/x\" is no domain: it has a path")
        .expect("the rule");
    answer(&mut terminal, "domain_url: ", "b.com:80");
    terminal.exp_string("it has a port").expect("the rule");
    answer(&mut terminal, "domain_url: ", "B.com");
    ends_with(terminal, 0);
    assert_eq!(program.ok("list_tenants").out, "b\tb.com\n");

    let program = Program::fresh().words("domains").and_tenants(&[]);
    program.ok("create_tenant --schema_name a --domain a.com");
    let mut terminal =
        program.on_terminal("create_tenant --schema_name b --domain a.com --domain www.b.com");
    terminal
        .exp_string("--domain: domain a.com is tenant a's already")
        .expect("the rule");
    answer(&mut terminal, "another domain (optional): ", "a b.com");
    terminal.exp_string("white space").expect("the rule");
    answer(&mut terminal, "another domain (optional): ", "B.com");
    answer(&mut terminal, "another domain (optional): ", "");
    ends_with(terminal, 0);
    assert_eq!(
        program.strings("SELECT domain FROM domains ORDER BY id"),
        ["a.com", "www.b.com", "b.com"]
    );
}
