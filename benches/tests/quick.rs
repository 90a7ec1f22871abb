//! Every group runs, and what comes out is whole. Its times are nobody's business here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const GROUPS: [&str; 7] = [
    "fleet",
    "memory",
    "provision",
    "request",
    "resolver",
    "signups",
    "transaction",
];

fn benches(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenant-schemas-benches"));
    let output = command.args(arguments).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn read(directory: &Path, group: &str, extension: &str) -> String {
    let file = directory.join(group).with_extension(extension);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn each_group_has_a_table_json_and_a_plot_with_floors() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path in UTF-8");
    let said = benches(&["--quick", "--tenants", "2,3", "--out", out]);
    for group in GROUPS {
        let table = read(directory.path(), group, "txt");
        assert!(said.contains(&table), "{group}: what is written was said");
        let json: Value =
            serde_json::from_str(&read(directory.path(), group, "json")).expect("JSON");
        assert!(json["run"]["postgresql"].is_string(), "{group}");
        let svg = read(directory.path(), group, "svg");
        let rows = json["group"]["rows"].as_array().expect("rows");
        for row in rows {
            let case = row["case"].as_str().expect("a name");
            assert!(
                table.contains(case) && svg.contains(case),
                "{group}: {case}"
            );
            for (name, figure) in row["figures"].as_object().expect("figures") {
                assert!(figure.is_f64(), "{group}: {case}: {name}");
            }
            let floor = rows
                .iter()
                .find(|floor| floor["is_floor"] == true && floor["setting"] == row["setting"]);
            assert!(floor.is_some(), "{group}: {case} has a floor beside it");
        }
    }
    let names: BTreeSet<_> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    assert_eq!(names, BTreeSet::from(GROUPS.map(str::to_owned)));
    round_trips_are_counted(directory.path());
    nothing_is_allocated_to_find_a_tenant(directory.path());
    plots_are_drawn_anew(directory.path());
}

/// The figure of a case, wherever only one connection is asked for only one tenant.
fn alone(directory: &Path, group: &str, case: &str, figure: &str) -> Vec<f64> {
    let json: Value = serde_json::from_str(&read(directory, group, "json")).expect("JSON");
    let rows = json["group"]["rows"].as_array().expect("rows").iter();
    let alone = rows.filter(|row| {
        let setting =
            |name: &str, value: &str| row["setting"].get(name).is_none_or(|found| found == value);
        row["case"] == case && setting("connections", "1") && setting("traffic", "one tenant")
    });
    alone
        .map(|row| row["figures"][figure].as_f64().expect("a figure"))
        .collect()
}

fn round_trips_are_counted(directory: &Path) {
    let of = |group: &str, case: &str| alone(directory, group, case, "round trips");
    // In front of BEGIN, five statements and COMMIT; Diesel prepares an UPDATE anew each time.
    for (case, in_front) in [
        ("floor: no tenancy", 1.0), // the pool's ping
        ("SET at each checkout", 2.0),
        ("SET, and RESET at its end", 3.0),
        ("EveryCheckout", 1.0),
        ("WhenChanged", 0.0),
    ] {
        assert_eq!(of("request", case), [in_front + 1.0; 2], "{case}");
        assert_eq!(of("transaction", case), [in_front + 8.0; 2], "{case}");
    }
}

fn nothing_is_allocated_to_find_a_tenant(directory: &Path) {
    let allocations = alone(directory, "resolver", "directory", "allocations");
    assert_eq!(allocations, [0.0; 4]);
    // Control: what allocates is seen.
    let allocations = alone(directory, "resolver", "floor: SELECT", "allocations");
    assert!(
        allocations.iter().all(|count| *count >= 1.0),
        "{allocations:?}"
    );
}

fn plots_are_drawn_anew(directory: &Path) {
    for group in GROUPS {
        let svg = directory.join(group).with_extension("svg");
        let before = std::fs::read(&svg).expect("a plot");
        std::fs::remove_file(&svg).expect("removed");
        benches(&["plot", directory.to_str().expect("a path in UTF-8")]);
        assert_eq!(std::fs::read(&svg).expect("a plot"), before, "{group}");
    }
}
