//! `status` and `doctor`: what they print, and how they end.

use serde_json::Value;

use crate::support::Program;

#[test]
fn status_groups_the_tenants_by_what_they_lack() {
    let program = Program::with_tenants(&["a", "b", "c", "d"]).words("release2");
    program.ok("migrate_schemas --schema a");
    program.sql("DROP SCHEMA d CASCADE");
    let ran = program.ok("status");
    assert_eq!(
        ran.out,
        "\
public: 1 migration, 1 pending
  customers/2024-06-01-000000_create_plans
4 tenants: 1 up to date, 3 not

   1  hotels/2024-01-02-000000_create_rooms, which 1 tenant lacks
   2  hotels/2024-01-03-000000_create_bookings, which 1 tenant lacks
   3  hotels/2024-06-02-000000_rooms_have_floors, which 3 tenants lack
   4  auth/2024-01-01-000000_create_auth_users, which 1 tenant lacks

tenants   1   2   3   4
      2   ·   ·   x   ·  b, c
      1   ·   ·   ·   ·  a
      1   -   -   -   -  d
        · has it   x lacks it   - has no schema
"
    );
    assert!(
        ran.err.contains("migrate_schemas") && ran.err.contains("create_missing_schemas"),
        "{}",
        ran.err
    );
    program.ok("create_missing_schemas");
    program.ok("migrate_schemas");
    let ran = program.ok("status");
    assert_eq!(
        ran.out,
        "public: 2 migrations, up to date\n4 tenants: 4 up to date, 0 not\n"
    );
}

#[test]
fn status_has_every_schema_for_programs() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    program.ok("migrate_schemas --schema a");
    let tsv = program.ok("status --format tsv").out;
    let states: Vec<&str> = tsv
        .lines()
        .map(|line| line.rsplit_once('\t').expect("a line").0)
        .collect();
    assert_eq!(
        states,
        [
            "public\tbehind\t1\t1",
            "a\tcurrent\t4\t0",
            "b\tbehind\t3\t1"
        ]
    );
    let json: Value = serde_json::from_str(&program.ok("status --format json").out).expect("JSON");
    assert_eq!(
        json[2]["pending"][0]["name"],
        "2024-06-02-000000_rooms_have_floors"
    );
    assert!(
        json[1]["last_migrated"]
            .as_str()
            .expect("a time")
            .ends_with('Z')
    );
}

#[test]
fn doctor_names_what_is_wrong_and_ends_with_1() {
    let program = Program::with_tenants(&["a", "b", "c"]);
    let serious = "doctor --severity error --fail-on error";
    let ran = program.ok(serious);
    assert_eq!(ran.out, "", "control: nothing is wrong yet");
    program.sql("DROP SCHEMA b CASCADE; ALTER TABLE a.rooms DROP COLUMN price");
    let ran = program.run(serious);
    assert_eq!(ran.code, 1, "{ran:?}");
    for words in ["[missing_schema]", "in b", "-> "] {
        assert!(ran.out.contains(words), "{words} is missing in {}", ran.out);
    }
    let json: Value = serde_json::from_str(&program.run("doctor --format json").out).expect("JSON");
    let of = |check: &str| {
        let all = json.as_array().expect("findings");
        all.iter()
            .filter(|finding| finding["check"] == check)
            .count()
    };
    assert_eq!(of("missing_schema"), 1, "{json}");
    assert!(of("drift") >= 1, "{json}");
    assert!(
        program
            .run("doctor --format tsv")
            .out
            .contains("error\tmissing_schema\tb\t")
    );
}

#[test]
fn doctor_leaves_out_and_lives_with_what_it_is_told_to() {
    let program = Program::with_tenants(&["a"]);
    program.sql("DROP SCHEMA a CASCADE");
    program.run("doctor --fail-on error").fails(1, &[]);
    let ran = program.run("doctor --fail-on error --ignore missing_schema --format tsv");
    assert!(!ran.out.contains("missing_schema"), "{ran:?}");
    let all = program.run("doctor --format tsv").out.lines().count();
    let errors = program.run("doctor --severity error --format tsv").out;
    assert!(errors.lines().count() < all, "{errors}");
    assert!(
        errors.lines().all(|line| line.starts_with("error\t")),
        "{errors}"
    );
    // A fleet of one tenant on a test's server has remarks and warnings, and no error.
    let sound = Program::with_tenants(&["a"]);
    sound.run("doctor --fail-on info").fails(1, &[]);
    sound.run("doctor --fail-on error").fails(0, &[]);
    sound
        .run("doctor --ignore nonsense")
        .fails(2, &["missing_schema"]);
}

#[test]
fn schema_and_exclude_of_status_show_those_alone() {
    let program = Program::with_tenants(&["hotel_1", "hotel_2", "inn"]).words("release2");
    program.ok("migrate_schemas --schema hotel_1");
    let shown = |args: &str| {
        let tsv = program.ok(&format!("status --format tsv {args}")).out;
        let name = |line: &str| line.split('\t').next().map(str::to_owned);
        tsv.lines().filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(shown(""), ["public", "hotel_1", "hotel_2", "inn"]);
    assert_eq!(shown("--schema hotel_*"), ["hotel_1", "hotel_2"]);
    assert_eq!(shown("--schema public --schema inn"), ["public", "inn"]);
    assert_eq!(shown("--exclude hotel_?"), ["public", "inn"]);
    assert_eq!(shown("--schema hotel_* --exclude *_2"), ["hotel_1"]);
    assert_eq!(
        program.ok("status --schema hotel_1").out,
        "1 tenant: 1 up to date, 0 not\n"
    );
    let ran = program.ok("status --schema public");
    assert!(
        ran.out.contains("public") && !ran.out.contains("tenants:"),
        "{ran:?}"
    );
    program
        .run("status --schema motel")
        .fails(2, &["no tenant has the schema `motel`"]);
    assert_eq!(
        program
            .ok("tenant_command status --format tsv --schema inn")
            .out
            .lines()
            .count(),
        1
    );
}

#[test]
fn schema_and_exclude_of_doctor_tell_what_is_wrong_in_those_alone() {
    let program = Program::with_tenants(&["a", "b"]);
    program.sql("DROP SCHEMA b CASCADE; CREATE SCHEMA stray; CREATE TABLE stray.__tenant_migrations (LIKE a.__tenant_migrations)");
    let found = |args: &str| {
        let tsv = program.run(&format!("doctor --format tsv {args}")).out;
        let pair = |line: &str| {
            let mut parts = line.split('\t').skip(1);
            format!(
                "{} {}",
                parts.next().unwrap_or(""),
                parts.next().unwrap_or("")
            )
        };
        tsv.lines().map(pair).collect::<Vec<_>>()
    };
    let missing = "missing_schema b".to_owned();
    let all = found("");
    assert!(
        all.contains(&missing) && all.iter().any(|one| one.ends_with(" stray")),
        "{all:?}"
    );
    let of_b = found("--schema b");
    assert!(of_b.contains(&missing), "{of_b:?}");
    assert!(of_b.iter().all(|one| one.ends_with(" b")), "{of_b:?}");
    assert!(!found("--schema a").contains(&missing));
    assert!(!found("--exclude b").contains(&missing));
    program
        .run("doctor --schema a --fail-on error")
        .fails(0, &[]);
    program
        .run("doctor --schema b --fail-on error")
        .fails(1, &[]);
    program
        .run("tenant_command doctor --fail-on error --schema a")
        .fails(0, &[]);
}

/// So many tenants, whose schemas are not there.
fn without_schemas(tenants: usize) -> Program {
    let program = Program::with_tenants(&[]);
    program.sql(&format!(
        "INSERT INTO clients (schema_name, domain_url, name, on_trial, rooms_at_most) \
         SELECT 'tenant_' || to_char(i, 'FM00'), i || '.com', 'T', true, 1 FROM generate_series(1, {tenants}) AS i"
    ));
    program
}

#[test]
fn of_many_tenants_as_many_are_named_as_fit_in_a_line() {
    let program = without_schemas(30);
    let names = "tenant_01, tenant_02, tenant_03";
    let status = program.ok("status").out;
    let line = status
        .lines()
        .find(|line| line.contains("tenant_01"))
        .expect("a line");
    assert!(
        line.contains(names) && line.ends_with(" and 24 more"),
        "{status}"
    );
    assert!(
        status.lines().all(|line| line.chars().count() <= 100),
        "{status}"
    );
    let doctor = program.run("doctor --severity error").out;
    assert!(
        doctor.starts_with(
            "error in 30 schemas [missing_schema]\n  the tenant has no schema\n  tenant_01, "
        ),
        "{doctor}"
    );
    assert!(doctor.contains(" and 22 more\n"), "{doctor}");
    assert_eq!(doctor.matches("[missing_schema]").count(), 1, "{doctor}");
    // On a terminal it is the terminal's width that counts.
    let own = program.command();
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "stty rows 24 columns 60 && exec \"$0\" status"])
        .arg(own.get_program())
        .envs(
            own.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .env("NO_COLOR", "1");
    let mut terminal = rexpect::session::spawn_command(command, Some(30_000)).expect("a terminal");
    let shown = terminal.exp_eof().expect("the end");
    let line = shown
        .lines()
        .find(|line| line.contains("tenant_01"))
        .expect("a line");
    assert!(
        line.trim_end().chars().count() <= 60 && line.contains(" more"),
        "{shown}"
    );
}

#[test]
fn an_advice_that_names_one_of_many_schemas_says_so() {
    let program = Program::with_tenants(&["a", "b"]).words("release2");
    let doctor = program.run("doctor --schema *").out;
    let advice = "`migrate_schemas --schema=a`";
    let all = "that is for a; `--format json` has it for each";
    assert!(doctor.contains(advice) && doctor.contains(all), "{doctor}");
    program.ok("migrate_schemas --schema b");
    let doctor = program.run("doctor --schema *").out;
    assert!(
        doctor.contains(advice) && !doctor.contains("that is for"),
        "{doctor}"
    );
}

#[test]
fn a_run_over_many_tenants_is_told_in_one_row_and_to_programs_in_all() {
    let program = without_schemas(21);
    let ran = program.ok("create_missing_schemas --exclude tenant_01 --exclude tenant_02");
    assert_eq!(
        ran.out.lines().count(),
        20,
        "control: so few are named\n{}",
        ran.out
    );
    let forget = || {
        program.sql(
            "DO $$ DECLARE s text; BEGIN FOR s IN SELECT schema_name FROM clients LOOP \
             EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', s); END LOOP; END $$",
        );
    };
    forget();
    let ran = program.ok("create_missing_schemas");
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows.len(), 2, "{}", ran.out);
    assert!(
        rows[1].starts_with("21 schemas  created  +hotels/"),
        "{}",
        ran.out
    );
    forget();
    let tsv = program.ok("create_missing_schemas --format tsv").out;
    assert_eq!(tsv.lines().count(), 21, "{tsv}");
    forget();
    let all = program.ok("create_missing_schemas -v 2").out;
    assert_eq!(all.lines().count(), 22, "{all}");
}
