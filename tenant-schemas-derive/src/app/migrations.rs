//! Directories of migrations, looked at before they are embedded.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was found in a directory of migrations.
#[derive(Default)]
pub(crate) struct Directory {
    /// Why it can't be embedded, in the user's words.
    pub(crate) problems: Vec<String>,
    /// Files that say how a migration runs, which embedding reads but does not track.
    pub(crate) metadata: Vec<PathBuf>,
}

impl Directory {
    /// Reads `path`, which is relative to the directory of Cargo.toml.
    pub(crate) fn read(path: &str) -> Self {
        let root = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
        Self::below(Path::new(&root), path)
    }

    fn below(root: &Path, path: &str) -> Self {
        let mut found = Self::default();
        if let Err(error) = found.look(&root.join(path), Path::new(path)) {
            let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
            let place = format!("{path} beside the Cargo.toml of {package}");
            let is_missing = matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            );
            found.problems.push(if is_missing {
                format!("there is no directory {place}")
            } else {
                format!("can't read the directory {place}: {error}")
            });
        }
        found
    }

    /// Looks at the migrations in `path`, which the user knows as `shown`.
    fn look(&mut self, path: &Path, shown: &Path) -> io::Result<()> {
        let mut versions = BTreeMap::<String, String>::new();
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let migration = entry.path();
            if name.starts_with('.') || migration.is_file() {
                continue;
            }
            let shown = shown.join(&name);
            let shown = shown.display();
            if !migration.join("up.sql").is_file() {
                self.problems
                    .push(format!("the migration {shown} has no up.sql"));
            }
            match version(&name) {
                None => self.problems.push(format!(
                    "{shown} is no name for a migration: use `<timestamp>_<name>`, \
                     such as `2026-01-31-120000_create_rooms`"
                )),
                Some(version) => {
                    if let Some(other) = versions.insert(version, name) {
                        self.problems
                            .push(format!("{shown} has the same version as {other}"));
                    }
                }
            }
            let metadata = migration.join("metadata.toml");
            if metadata.is_file() {
                if !is_metadata(&fs::read_to_string(&metadata)?) {
                    self.problems.push(format!(
                        "{shown}/metadata.toml is not understood: write `run_in_transaction = false` \
                         or `true` there and nothing else, or remove it"
                    ));
                }
                self.metadata.push(metadata);
            }
        }
        Ok(())
    }
}

/// Whether `text` says how a migration runs. Diesel takes a file that is no TOML for `true`, and
/// one without the key for `false`.
fn is_metadata(text: &str) -> bool {
    let lines = text.lines().map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().collect::<String>()
    });
    let said: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    matches!(
        said.as_slice(),
        [one] if one == "run_in_transaction=true" || one == "run_in_transaction=false"
    )
}

/// The version in a migration's name, as Diesel reads it.
fn version(name: &str) -> Option<String> {
    let version = name.split('_').next()?.replace('-', "");
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_start_with_a_digit_and_lose_their_hyphens() {
        assert_eq!(
            version("2026-01-31-120000_create_rooms").as_deref(),
            Some("20260131120000")
        );
        assert_eq!(
            version("00000000000000_setup").as_deref(),
            Some("00000000000000")
        );
        assert_eq!(version("0001").as_deref(), Some("0001"));
        for name in ["", "_", "helpers", "create_rooms", "-_x"] {
            assert_eq!(version(name), None, "{name}");
        }
    }

    #[test]
    fn metadata_says_one_thing() {
        for text in [
            "run_in_transaction = false\n",
            "# An index.\n\nrun_in_transaction=true # why not",
        ] {
            assert!(is_metadata(text), "{text}");
        }
        for text in [
            "",
            "run_in_transaction: false",
            "run_in_transaction = False",
            "run_in_transactions = false",
            "run_in_transaction = false\nrun_in_transaction = true",
        ] {
            assert!(!is_metadata(text), "{text}");
        }
    }

    #[track_caller]
    fn problem(found: &Directory, expected: &str) {
        let said = found
            .problems
            .iter()
            .any(|problem| problem.contains(expected));
        assert!(said, "{:?} does not say {expected:?}", found.problems);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let found = Directory::below(Path::new("/"), "nowhere/migrations");
        assert_eq!(found.problems.len(), 1);
        problem(
            &found,
            "there is no directory nowhere/migrations beside the Cargo.toml of",
        );
    }

    #[test]
    fn every_broken_migration_is_named() {
        let directory = format!("broken-migrations-{}", std::process::id());
        let root = env::temp_dir().join(&directory);
        for name in ["1_empty", "2_good", "2-_again", "helpers", ".hidden"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        for file in [
            "2_good/up.sql",
            "2-_again/up.sql",
            "2-_again/metadata.toml",
            "README.md",
        ] {
            fs::write(root.join(file), "").expect("a file");
        }
        let metadata = "run_in_transaction = false\n";
        fs::write(root.join("2_good/metadata.toml"), metadata).expect("a file");
        let found = Directory::below(&env::temp_dir(), &directory);
        fs::remove_dir_all(&root).expect("the directory can go");
        problem(&found, "1_empty has no up.sql");
        problem(&found, "helpers has no up.sql");
        problem(&found, "helpers is no name for a migration");
        problem(&found, "2_good has the same version as 2-_again");
        problem(&found, "2-_again/metadata.toml is not understood");
        assert_eq!(found.problems.len(), 5);
        let metadata = ["2-_again", "2_good"].map(|name| root.join(name).join("metadata.toml"));
        assert_eq!(found.metadata, metadata);
    }
}
