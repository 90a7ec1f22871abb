//! Finding PostgreSQL on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use crate::command::{self, User};
use crate::{Error, package};

pub(crate) const BIN: &str = "PRIVATE_POSTGRES_BIN";
pub(crate) const MAJOR: &str = "PRIVATE_POSTGRES_MAJOR";

/// Older ones are taken only if they are asked for.
const OLDEST: u32 = 13;

/// A directory with `postgres` and `initdb` that were seen to run.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) major: u32,
}

/// The binaries of `major`, or of `PRIVATE_POSTGRES_MAJOR`, or of the most fitting version.
pub(crate) fn find(major: Option<u32>, user: Option<User>) -> Result<Binaries, Error> {
    let major = match major {
        Some(major) => Some(major),
        None => asked_major()?,
    };
    if let Some(dir) = env::var_os(BIN).filter(|dir| !dir.is_empty()) {
        return named(Path::new(&dir), major, user);
    }
    let fits = |binaries: &Binaries| {
        major.map_or(binaries.major >= OLDEST, |major| major == binaries.major)
    };
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path).filter(|dir| dir.is_absolute());
    if let Some(found) = on_path.filter_map(|dir| probe(&dir, user).ok()).find(fits) {
        return Ok(found);
    }
    let installed = installed()
        .into_iter()
        .filter_map(|dir| probe(&dir, user).ok());
    if let Some(found) = installed.filter(fits).max_by_key(|found| found.major) {
        return Ok(found);
    }
    package::fetch(major.unwrap_or(package::NEWEST))
        .and_then(|dir| probe(&dir, user))
        .map_err(|package| Error::NotFound { major, package })
}

fn asked_major() -> Result<Option<u32>, Error> {
    let Some(value) = env::var_os(MAJOR).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    value
        .to_str()
        .and_then(|value| value.parse().ok())
        .map(Some)
        .ok_or_else(|| Error::Variable {
            name: MAJOR,
            problem: format!(
                "{}, which is not a major version such as 17",
                value.display()
            ),
        })
}

fn named(dir: &Path, major: Option<u32>, user: Option<User>) -> Result<Binaries, Error> {
    let refuse = |why: String| Error::Variable {
        name: BIN,
        problem: format!("{}, {why}", dir.display()),
    };
    if !dir.is_absolute() {
        return Err(refuse("which is not an absolute path".into()));
    }
    let found = probe(dir, user).map_err(|why| refuse(format!("but {why}")))?;
    match major {
        Some(major) if major != found.major => Err(refuse(format!(
            "which holds PostgreSQL {}, but {major} was asked for (in code or by {MAJOR})",
            found.major
        ))),
        _ => Ok(found),
    }
}

/// Runs `postgres --version` from `dir`, as the user that is going to run the server.
fn probe(dir: &Path, user: Option<User>) -> Result<Binaries, String> {
    let postgres = dir.join("postgres");
    // The directory behind a link holds the other programs too.
    let target = postgres
        .canonicalize()
        .map_err(|error| format!("{}: {error}", postgres.display()))?;
    let dir = match target.parent() {
        Some(real) if real.join("initdb").exists() && target.ends_with("postgres") => real,
        _ => dir,
    };
    let initdb = dir.join("initdb");
    if !initdb.exists() {
        return Err(format!("there is no {}", initdb.display()));
    }
    let mut version = command::postgres(dir.join("postgres"), user);
    let output = command::output_within(version.arg("--version"), Duration::from_secs(10))
        .map_err(|error| format!("{} does not run: {error}", postgres.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = major_in(&text).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!(
            "{} does not run: {}{}",
            postgres.display(),
            text.trim(),
            complaint.trim()
        )
    })?;
    Ok(Binaries {
        dir: dir.to_owned(),
        major,
    })
}

/// The 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`, the 19 of `postgres (PostgreSQL) 19beta1`.
fn major_in(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

/// Where distributions, Homebrew and Postgres.app put their binaries.
fn installed() -> Vec<PathBuf> {
    const PLACES: [(&str, &str, &str); 7] = [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/usr/libexec", "postgresql", ""),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ];
    let versions = PLACES.iter().flat_map(|(parent, prefix, bin)| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        entries
            .filter(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(prefix.as_bytes())
            })
            .map(move |entry| entry.path().join(bin))
    });
    versions.chain([PathBuf::from("/usr/bin")]).collect()
}

#[cfg(test)]
mod tests {
    use super::major_in;

    #[test]
    fn majors_are_read_from_releases_and_previews() {
        assert_eq!(
            major_in("postgres (PostgreSQL) 15.18 (Debian 15.18-1)\n"),
            Some(15)
        );
        assert_eq!(major_in("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major_in("postgres (PostgreSQL) 18"), Some(18));
        assert_eq!(major_in("postgres: command not found"), None);
        assert_eq!(major_in("postgres (PostgreSQL) devel"), None);
    }
}
