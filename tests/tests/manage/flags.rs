//! Every flag has a test that shows that it changes the result: which one, and those of the rest.

use std::collections::{BTreeMap, BTreeSet};

use tenant_schemas_tests::skipped;

use crate::support::{Program, Ran};

/// The sources in which the tests are.
const SOURCES: [&str; 11] = [
    include_str!("copies.rs"),
    include_str!("create_tenant.rs"),
    include_str!("exec.rs"),
    include_str!("flags.rs"),
    include_str!("lifecycle.rs"),
    include_str!("migrate.rs"),
    include_str!("standalone.rs"),
    include_str!("state_of_the_fleet.rs"),
    include_str!("sync.rs"),
    include_str!("tenant_commands.rs"),
    include_str!("walks.rs"),
];

/// The flags of each command, and the test that shows that each changes the result.
const SHOWN: &str = "
sync_schemas
    --shared --schema        c90_sync_schemas_keeps_to_the_half_and_the_schema_that_are_named
    --tenant --migrate       c90_sync_schemas_makes_what_is_not_there_and_leaves_what_is
    --exclude                exclude_of_every_command_takes_patterns
    --jobs                   jobs_of_every_command_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              c41_fail_fast_of_sync_schemas_begins_no_further_app
    --format                 schemas_that_were_created_are_in_the_report
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
migrate_schemas
    --list                   c47_list_shows_what_each_schema_has_and_changes_nothing
    --plan                   c47_plan_shows_what_would_run_and_runs_nothing
    --check                  c47_check_ends_with_3_if_anything_is_pending_and_with_0_if_not
    --shared --tenant        c47_shared_and_tenant_each_leave_the_other_out
    --schema --exclude       c47_schema_and_exclude_take_names_and_patterns
    --fake                   c47_fake_writes_the_ledger_and_builds_nothing
    --redo                   c47_redo_reverts_the_last_migration_and_applies_it_again
    --adopt                  adopt_takes_over_what_diesel_recorded
    --atomic                 atomic_leaves_a_schema_between_no_two_versions
    --verify                 verify_brings_back_what_only_the_ledger_lacks
    --executor --jobs        c44_jobs_and_executor_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              c41_fail_fast_starts_no_further_tenant
    --format                 c40_every_failure_is_shown_with_its_cause_and_the_exit_code_is_1
    --verbosity              verbosity_and_no_terminal_decide_what_is_said
create_tenant
    --schema_name --domain_url --name --paid_until --on_trial --rooms_at_most --tenant-email
                             c94_there_is_an_option_for_each_field_of_the_model
    --domain                 domains_of_a_table_of_their_own_are_created_too_the_first_as_the_primary_one
    --noinput                noinput_takes_the_defaults_on_a_terminal_too
    --adopt                  c13_a_schema_that_exists_is_refused_unless_it_is_to_be_adopted
    --superuser --username --email --password-stdin
                             c96_the_superuser_comes_with_the_tenant_or_neither_does
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
create_tenant_superuser
    --schema --username --password-stdin
                             c97_a_salted_hash_is_stored_in_that_tenant_only
    --email                  the_superusers_address_is_stored_if_it_is_given
    --noinput                noinput_of_create_tenant_superuser_asks_nothing_on_a_terminal
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
list_tenants
    --schema --exclude       schema_and_exclude_of_list_tenants_show_those_alone
    --format                 c99_tenants_are_listed_one_per_line_separated_by_tabs
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
delete_tenant
    --schema --drop-schema   c98_elsewhere_delete_tenant_needs_noinput
    --keep-schema            delete_tenant_drops_or_keeps_the_schema_as_it_is_told
    --noinput                c98_elsewhere_delete_tenant_needs_noinput
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
clone_tenant
    --clone_from --schema_name --domain_url --name --paid_until --on_trial --rooms_at_most --tenant-email
                             fields_of_a_copy_are_those_that_are_given
    --domain                 domains_of_a_copy_are_those_that_are_given
    --data                   c62_clone_tenant_copies_the_structure_and_with_data_the_rows
    --migrate                c66_a_clone_of_a_tenant_that_is_behind_is_migrated_only_if_asked_to
    --noinput                noinput_of_clone_and_restore_asks_nothing_on_a_terminal
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
dump_tenant
    --schema --output --no-data
                             a_dump_is_restored_under_another_name
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
restore_tenant
    --schema_name --domain_url --name --paid_until --on_trial --rooms_at_most --tenant-email
                             fields_of_a_copy_are_those_that_are_given
    --domain                 domains_of_a_copy_are_those_that_are_given
    --migrate                a_dump_that_is_behind_is_migrated_only_if_asked_to
    --noinput                noinput_of_clone_and_restore_asks_nothing_on_a_terminal
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
rename_schema
    --rename_from --rename_to
                             c60_rename_schema_moves_schema_and_row
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
create_missing_schemas
    --schema                 c68_create_missing_schemas_creates_what_is_missing_and_only_that
    --exclude                exclude_of_every_command_takes_patterns
    --jobs                   jobs_of_every_command_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              fail_fast_of_every_command_starts_no_further_tenant
    --format                 schemas_that_were_created_are_in_the_report
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
ready_schemas
    --count --clear          schemas_are_made_ahead_taken_and_cleared_away
    --type                   schemas_are_made_ahead_for_tenants_of_a_type
    --verbosity              verbosity_decides_what_the_life_of_a_tenant_says
create_domain
    --schema --primary       domains_are_created_and_deleted
    --verbosity              verbosity_decides_what_is_said_of_domains
delete_domain
    --noinput                domains_are_created_and_deleted
    --verbosity              verbosity_decides_what_is_said_of_domains
status
    --schema --exclude       schema_and_exclude_of_status_show_those_alone
    --format                 status_has_every_schema_for_programs
    --verbosity              verbosity_decides_what_is_said_of_the_state_of_the_fleet
doctor
    --fail-on --severity --ignore
                             doctor_leaves_out_and_lives_with_what_it_is_told_to
    --schema --exclude       schema_and_exclude_of_doctor_tell_what_is_wrong_in_those_alone
    --format                 doctor_names_what_is_wrong_and_ends_with_1
    --verbosity              verbosity_decides_what_is_said_of_the_state_of_the_fleet
exec
    --all --schema --format  rows_of_many_tenants_come_in_one_table_with_the_schema_first
    --exclude                exclude_of_every_command_takes_patterns
    --no-transaction         what_can_not_run_in_a_transaction_runs_without_one
    --jobs                   jobs_of_every_command_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              what_fails_in_one_tenant_changes_nothing_there_and_stops_no_other
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
psql
    --verbosity              verbosity_goes_to_psql_only_behind_the_schema
tenant_command
    --schema                 c91_tenant_command_passes_arguments_through
    --verbosity              verbosity_reaches_a_command_below_another
all_tenants_command
    --no-public --exclude    c93_all_tenants_command_takes_the_public_schema_along_unless_told_not_to
    --jobs                   jobs_of_all_tenants_command_reach_the_public_schema_too
    --fail-fast              c93_all_tenants_command_takes_the_public_schema_along_unless_told_not_to
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
greet
    --guest --schema --exclude
                             c92_a_command_runs_on_all_tenants_by_its_own_name
    --fail-in                c92_one_tenants_failure_stops_the_others_only_if_asked_to
    --jobs                   c92_jobs_work_on_several_tenants_at_once
    --fail-fast              c92_one_tenants_failure_stops_the_others_only_if_asked_to
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
load
    --schema --exclude       fixtures_go_to_and_come_from_the_tenants_that_are_named
    --jobs                   jobs_of_fixtures_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              fail_fast_of_fixtures_starts_no_further_tenant
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
dump
    --schema --exclude       fixtures_go_to_and_come_from_the_tenants_that_are_named
    --jobs                   jobs_of_fixtures_say_how_many_tenants_are_worked_on_at_once
    --fail-fast              fail_fast_of_fixtures_starts_no_further_tenant
    --verbosity              verbosity_decides_what_work_on_many_tenants_says
";

#[test]
fn every_flag_has_a_test_that_shows_that_it_changes_the_result() {
    let clients = Program::fresh();
    let firms = Program::fresh().words("domains");
    let mut shown: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut command = "";
    let mut by_the_next = Vec::new();
    for line in SHOWN.lines().filter(|line| !line.is_empty()) {
        let words = line.split_whitespace();
        if !line.starts_with(' ') {
            command = line;
            continue;
        }
        let (flags, tests): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
        shown.entry(command).or_default().extend(&flags);
        by_the_next.extend(flags);
        for test in tests {
            let text = text_of(test).unwrap_or_else(|| panic!("{command}: there is no {test}"));
            for flag in by_the_next.drain(..) {
                assert!(gives(&text, flag), "{command}: {test} does not give {flag}");
            }
        }
    }
    assert_eq!(by_the_next, [""; 0], "{command}: which test shows them?");
    let said: BTreeMap<&str, BTreeSet<String>> = shown
        .keys()
        .map(|command| {
            let mut said = flags(&clients, command);
            // What only a model with a table of domains has.
            let of_firms = flags(&firms, command);
            said.extend(of_firms.into_iter().filter(|flag| flag == "--domain"));
            (*command, said)
        })
        .collect();
    let shown: BTreeMap<&str, BTreeSet<String>> = shown
        .into_iter()
        .map(|(command, flags)| (command, flags.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(said, shown);
    let commands = commands(&clients);
    let others = ["completions", "man", "help", "hold", "count", "visit"];
    for command in commands {
        assert!(
            shown.contains_key(&*command) || others.contains(&&*command),
            "the flags of {command} are to be listed"
        );
    }
}

/// The text of a test, and of the functions beside it that it calls.
fn text_of(test: &str) -> Option<String> {
    SOURCES.iter().find_map(|source| {
        let functions: Vec<(&str, &str)> = source
            .split("\nfn ")
            .skip(1)
            .filter_map(|text| text.split_once("\n}\n")?.0.split_once('('))
            .collect();
        let (_, own) = functions.iter().find(|(name, _)| *name == test)?;
        let called = |name: &str| name != test && own.contains(&format!("{name}("));
        let beside = functions.iter().filter(|(name, _)| called(name));
        Some(beside.fold((*own).to_owned(), |text, (_, body)| text + body))
    })
}

/// Whether a text gives a flag, in either spelling or by its letter.
fn gives(text: &str, flag: &str) -> bool {
    let letter = match flag {
        "--output" => "-o",
        "--superuser" => "-s",
        "--verbosity" => "-v",
        _ => flag,
    };
    let text = text.replace('_', "-");
    [flag.replace('_', "-").as_str(), letter]
        .iter()
        .any(|flag| {
            let goes_on = |c: char| c.is_alphanumeric() || c == '-';
            text.split(flag)
                .skip(1)
                .any(|rest| !rest.starts_with(goes_on))
        })
}

/// The long options that the help of a command lists.
fn flags(program: &Program, command: &str) -> BTreeSet<String> {
    let help = program.ok(&format!("{command} --help")).out;
    let lines = help.lines().map(str::trim_start);
    lines
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")))
        .filter(|flag| *flag != "--help")
        .map(str::to_owned)
        .collect()
}

fn commands(program: &Program) -> Vec<String> {
    let help = program.ok("--help").out;
    let (_, rest) = help.split_once("Commands:\n").expect("commands");
    let (commands, _) = rest.split_once("\n\n").expect("an end");
    let name = |line: &str| {
        let indented = line.starts_with("  ") && !line.starts_with("   ");
        indented.then(|| line.split_whitespace().next().map(str::to_owned))?
    };
    commands.lines().filter_map(name).collect()
}

/// Runs a command with each verbosity, `{n}` standing for it, and expects these words on standard
/// error: from 1 on, from 2 on, and at 3.
#[track_caller]
fn says(program: &Program, args: &str, words: [&str; 3]) {
    for n in 0..=3_u8 {
        let args = args.replace("{n}", &n.to_string());
        let ran = program.run_with_input(
            &format!("{args} --verbosity {n}")
                .split_whitespace()
                .collect::<Vec<_>>(),
            "correct horse\n",
        );
        expects(n, &args, &ran, words);
    }
}

#[track_caller]
fn expects(n: u8, args: &str, ran: &Ran, words: [&str; 3]) {
    assert_eq!(ran.code, 0, "{args}: {ran:?}");
    if n == 0 {
        assert_eq!(ran.err, "", "{args}");
    }
    for (level, word) in (1..).zip(words) {
        if !word.is_empty() {
            assert_eq!(
                ran.err.contains(word),
                n >= level,
                "{args}, {n}, {word}: {}",
                ran.err
            );
        }
    }
}

#[test]
fn verbosity_decides_what_the_life_of_a_tenant_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("a path");
    let program = Program::with_tenants(&[]);
    let says = |args: &str, word| says(&program, args, [word, "", ""]);
    says("list_tenants", "There are no tenants yet");
    says(
        "create_tenant --schema_name=t{n} --domain_url=t{n}.com --name=T",
        "is ready: schema t",
    );
    says(
        "create_tenant_superuser --username u{n} --schema t{n} --password-stdin",
        "Superuser u",
    );
    says("rename_schema t{n} r{n}", "is called r");
    says("ready_schemas --count 0", "0 schemas ready");
    says(
        "clone_tenant r{n} --schema_name=c{n} --domain_url=c{n}.com",
        "a copy of r",
    );
    says(
        &format!("dump_tenant r{{n}} -o {directory}/{{n}}.sql"),
        "is in",
    );
    says(
        &format!(
            "restore_tenant {directory}/{{n}}.sql --schema_name=s{{n}} --domain_url=s{{n}}.com --name=S"
        ),
        "is ready",
    );
    says("delete_tenant s{n} --noinput --drop-schema", "are gone");
}

#[test]
fn verbosity_decides_what_is_said_of_domains() {
    let program = Program::fresh().words("domains").and_tenants(&["a"]);
    says(
        &program,
        "create_domain a{n}.com --schema a",
        ["has the domain a", "", ""],
    );
    // That the primary one is gone is a warning, and always said.
    program.ok("create_domain a.com --schema a --primary");
    says(
        &program,
        "delete_domain a{n}.com --noinput",
        ["no longer has the domain", "", ""],
    );
}

#[test]
fn verbosity_decides_what_is_said_of_the_state_of_the_fleet() {
    let program = Program::with_tenants(&["a"]).words("release2");
    says(&program, "status", ["runs what is pending", "", ""]);
    says(&program, "doctor --fail-on error", ["0 errors", "", ""]);
    says(
        &program,
        "migrate_schemas --plan",
        ["would be migrated", "", ""],
    );
    program.ok("migrate_schemas");
    says(
        &program,
        "migrate_schemas --check",
        ["Nothing is pending", "", ""],
    );
}

#[test]
fn verbosity_decides_what_work_on_many_tenants_says() {
    let program = Program::with_tenants(&["a", "b"]);
    says(
        &program,
        "sync_schemas --migrate",
        [
            "had nothing to do",
            "public: nothing to do",
            "public: begins",
        ],
    );
    says(&program, "sync_schemas", ["has every", "", ""]);
    says(
        &program,
        "create_missing_schemas",
        ["No schema is missing", "", ""],
    );
    says(
        &program,
        "exec --all VALUES(1)",
        ["a: 1 row", "", "a: begins"],
    );
    let fixture = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&fixture, "{}").expect("written");
    let load = format!("load {}", fixture.path().display());
    for args in ["greet", "dump", &load] {
        says(&program, args, ["-- a", "a: done", "a: begins"]);
    }
    says(
        &program,
        "all_tenants_command greet",
        ["-- public", "public: done", "public: begins"],
    );
    for n in 0..=3_u8 {
        program.sql("DROP SCHEMA b CASCADE");
        let args = format!("create_missing_schemas -v {n}");
        expects(
            n,
            &args,
            &program.ok(&args),
            ["b: created, 3 migrations", "", "b: begins"],
        );
    }
}

#[test]
fn verbosity_goes_to_psql_only_behind_the_schema() {
    let psql = std::process::Command::new("psql").arg("--version").output();
    if psql.is_err() {
        skipped("`psql`", "apt-get install postgresql-client");
        return;
    }
    let program = Program::with_tenants(&["a"]);
    let set = ["-v", "own=3", "-Atc", "SELECT 1"];
    program
        .run_args(&["psql", "-v", "own=3", "a"])
        .fails(2, &["invalid value 'own=3' for '--verbosity <0-3>'"]);
    for start in [
        &["psql", "a"][..],
        &["tenant_command", "psql", "--schema", "a"],
        &["tenant_command", "--schema=a", "psql"],
        &["tenant_command", "-v", "2", "-s", "a", "psql"],
        &["all_tenants_command", "--no-public", "psql"],
    ] {
        assert_eq!(program.ok_args(&[start, &set[..]].concat()).out, "1\n");
    }
}

#[test]
fn exclude_of_every_command_takes_patterns() {
    let program = Program::with_tenants(&["hotel_1", "hotel_2", "inn"]);
    let first = |out: &str| {
        let name = |line: &str| line.split(['\t', ':']).next().unwrap_or("").to_owned();
        out.lines().map(name).collect::<Vec<_>>()
    };
    let ran = program.ok("exec --all --exclude hotel_* VALUES(1) --format tsv");
    assert_eq!(first(&ran.out), ["inn"]);
    assert_eq!(first(&program.ok("greet --exclude hotel_?").out), ["inn"]);
    let ran = program.ok("all_tenants_command greet --exclude hotel_*");
    assert_eq!(first(&ran.out), ["public", "inn"]);
    program
        .sql("DROP SCHEMA hotel_1 CASCADE; DROP SCHEMA hotel_2 CASCADE; DROP SCHEMA inn CASCADE");
    let ran = program.ok("create_missing_schemas --exclude hotel_* --format tsv");
    assert_eq!(first(&ran.out), ["inn"]);
    let ran = program.ok("sync_schemas --exclude *_2 --format tsv");
    assert_eq!(first(&ran.out), ["hotel_1"]);
    let ran = program.ok("sync_schemas --schema * --exclude inn --exclude *_1 --format tsv");
    assert_eq!(first(&ran.out), ["hotel_2"]);
}

#[test]
fn shared_and_tenant_together_are_both() {
    let program = Program::with_tenants(&["a"]).words("release2");
    let ran = program.ok("migrate_schemas --shared --tenant --format tsv");
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    let program = Program::with_tenants(&["a"]).words("release2");
    let ran = program.ok("sync_schemas --shared --tenant --migrate --format tsv");
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    let ran = program.ok("migrate_schemas --shared --tenant --schema a --list --format tsv");
    assert!(
        ran.out.lines().all(|line| line.starts_with("a\t")),
        "{}",
        ran.out
    );
}

#[test]
fn one_job_is_what_the_sequential_executor_has() {
    let program = Program::with_tenants(&["a"]).words("release2");
    program
        .run("migrate_schemas --executor sequential --jobs 2")
        .fails(2, &["works on one tenant at a time"]);
    program.run("migrate_schemas --check").fails(3, &[]);
    program.ok("migrate_schemas --executor sequential --jobs 1");
    program.run("migrate_schemas --check").fails(0, &[]);
}

#[test]
fn the_superusers_address_is_stored_if_it_is_given() {
    let program = Program::with_tenants(&["a"]);
    for (name, address) in [("ada", "--email=ada@a.com"), ("ben", "--noinput")] {
        let args = [
            "create_tenant_superuser",
            "--schema=a",
            "--username",
            name,
            address,
            "--password-stdin",
        ];
        let ran = program.run_with_input(&args, "correct horse\n");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(
        program.strings(
            "SELECT concat_ws('|', username, nullif(email, '')) FROM a.auth_users ORDER BY 1"
        ),
        ["ada|ada@a.com", "ben"]
    );
}

#[test]
fn fields_of_a_copy_are_those_that_are_given() {
    let program = Program::with_tenants(&["a"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.sql");
    let file = file.to_str().expect("a path");
    program.ok_args(&["dump_tenant", "a", "-o", file]);
    let row = |schema: &str| {
        program.strings(&format!(
            "SELECT concat_ws('|', domain_url, name, paid_until, on_trial, rooms_at_most, email) \
             FROM clients WHERE schema_name = '{schema}'"
        ))
    };
    assert_eq!(row("a"), ["a.com|a|t|10"]);
    for (schema, start) in [
        ("b", ["clone_tenant", "--clone_from=a"]),
        ("c", ["restore_tenant", file]),
    ] {
        let (name, domain) = (
            format!("--schema_name={schema}"),
            format!("--domain_url={schema}.com"),
        );
        let own = [
            &*name,
            &*domain,
            "--name=Own",
            "--paid_until=2027-01-31",
            "--on_trial=false",
            "--rooms_at_most=7",
            "--tenant-email=x@y.z",
        ];
        program.ok_args(&[&start[..], &own[..]].concat());
        assert_eq!(
            row(schema),
            [format!("{schema}.com|Own|2027-01-31|f|7|x@y.z")]
        );
        assert!(program.tables(schema).contains(&"rooms".to_owned()));
    }
}

#[test]
fn domains_of_a_copy_are_those_that_are_given() {
    let program = Program::fresh().words("domains").and_tenants(&["a"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.sql");
    let file = file.to_str().expect("a path");
    program.ok_args(&["dump_tenant", "a", "-o", file]);
    program.ok("clone_tenant a --schema_name b --domain b.com --domain www.b.com");
    program.ok_args(&["restore_tenant", file, "--schema_name=c", "--domain=c.com"]);
    program.ok("clone_tenant a --schema_name d");
    assert_eq!(
        program.ok("list_tenants").out,
        "a\t\nb\tb.com\nc\tc.com\nd\t\n"
    );
}
