//! Every dependency in `Cargo.lock` may be used under the licences that `deny.toml` allows.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tenant_schemas_tests::skipped;

/// The same list as in `deny.toml`.
const ALLOWED: [&str; 11] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "PostgreSQL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        // The crates of other platforms are not always there, and offline they can't be had.
        skipped("licences", "cargo fetch");
        return;
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 50, "the list is whole: {}", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| match package["license"].as_str() {
            Some(expression) => !is_allowed(expression),
            None => !has_mit_licence_file(package),
        })
        .map(|package| format!("{} ({})", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Whether a package that names no licence comes with the text of the MIT licence.
fn has_mit_licence_file(package: &Value) -> bool {
    let file = |key: &str| package[key].as_str().map(Path::new);
    let (Some(manifest), Some(licence)) = (file("manifest_path"), file("license_file")) else {
        return false;
    };
    let text = std::fs::read_to_string(manifest.with_file_name(licence)).unwrap_or_default();
    text.starts_with("MIT License\n")
        && text.contains("Permission is hereby granted, free of charge")
}

/// Whether the expression leaves a choice of allowed licences only.
///
/// `AND` binds closer than `OR`, unless there are parentheses around the `OR`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let one = |licence: &str| ALLOWED.contains(&licence.trim());
    if expression.contains('(') {
        expression.split(" AND ").all(|group| {
            let group = group.trim_matches(|c| c == '(' || c == ')');
            group.split(" OR ").any(one)
        })
    } else {
        expression
            .split(" OR ")
            .any(|group| group.split(" AND ").all(one))
    }
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    for expression in [
        "MIT",
        "MIT OR GPL-3.0",
        "Apache-2.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(is_allowed(expression), "{expression}");
    }
    for expression in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
    ] {
        assert!(!is_allowed(expression), "{expression}");
    }
}
