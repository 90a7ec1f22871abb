//! Fetching a PostgreSQL that needs no installation, as a pinned package, with the `npm` client.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, thread};

use sha2::{Digest as _, Sha512};

use crate::command;

mod pins;

pub(crate) use pins::NEWEST;

/// The time a download may take. Others that want the same package wait as long.
const PATIENCE: Duration = Duration::from_mins(3);

/// The directory of the binaries of `major`, fetched now or earlier; or why there is none.
pub(crate) fn fetch(major: u32) -> Result<PathBuf, String> {
    let platform = platform();
    let is_pinned = |pin: &&(&str, &str, &str)| {
        pin.0 == platform && pin.1.split('.').next() == Some(&major.to_string())
    };
    let (_, version, sum) = pins::PINS
        .iter()
        .find(is_pinned)
        .ok_or_else(|| format!("none is known for PostgreSQL {major} on {platform}"))?;
    let cache = cache_dir()?;
    let home = cache.join(format!("{platform}-{version}"));
    let bin = home.join("native/bin");
    if bin.exists() {
        return Ok(bin);
    }
    let failed = |error: io::Error| format!("{}: {error}", cache.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&cache)
        .map_err(failed)?;
    if rustix::process::geteuid().is_root() {
        // Whatever root's umask is, another user runs the server.
        fs::set_permissions(&cache, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let lock = File::create(cache.join("lock")).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    while lock.try_lock().is_err() {
        if Instant::now() >= deadline {
            return Err(format!(
                "{} is still locked by another process",
                cache.display()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    if bin.exists() {
        return Ok(bin);
    }
    // Only the owner of the lock gets here, so whatever is there was left behind.
    let unfinished = cache.join("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir(&unfinished).map_err(failed)?;
    let fetched = download(
        &format!("@embedded-postgres/{platform}@{version}"),
        sum,
        &unfinished,
    )
    .and_then(|()| prepare(&unfinished.join("package")).map_err(failed))
    .and_then(|()| fs::rename(unfinished.join("package"), &home).map_err(failed));
    let _ = fs::remove_dir_all(&unfinished);
    fetched.map(|()| bin)
}

/// This machine in the words of Node.js.
fn platform() -> String {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        env::consts::OS
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}-{processor}")
}

/// Root's is outside its home, which is closed to the user that runs the server.
fn cache_dir() -> Result<PathBuf, String> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/cache/private-postgres".into());
    }
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("private-postgres"))
        .ok_or_else(|| "neither HOME nor XDG_CACHE_HOME says where to keep it".into())
}

/// Unpacks the package `name` to `into/package`, if it has the right `sum`.
fn download(name: &str, sum: &str, into: &Path) -> Result<(), String> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--ignore-scripts", "--loglevel=error", name])
        .current_dir(into);
    run(&mut npm)?;
    let error = |error: io::Error| format!("{name}: {error}");
    let mut packed = fs::read_dir(into)
        .map_err(error)?
        .flatten()
        .map(|entry| entry.path());
    let packed = packed
        .next()
        .ok_or_else(|| format!("npm pack {name} made no file"))?;
    let found = sha512(&packed).map_err(error)?;
    if found != sum {
        return Err(format!("{name} has the SHA-512 {found} instead of {sum}"));
    }
    let mut tar = Command::new("tar");
    tar.args(["-x", "-z", "--no-same-owner", "-f"])
        .arg(&packed)
        .arg("-C")
        .arg(into);
    run(&mut tar)
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command::output_within(command, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no {name} to fetch or unpack it"))
        }
        Err(error) => Err(format!("{name}: {error}")),
        Ok(output) if !output.status.success() => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            // The reason comes first; npm has a stack trace and advice behind it.
            let reason: Vec<&str> = complaint.trim().lines().take(5).collect();
            Err(format!("{name} failed: {}", reason.join("\n")))
        }
        Ok(_) => Ok(()),
    }
}

fn sha512(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(base64(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, i| {
            group << 8 | usize::from(*chunk.get(i).unwrap_or(&0))
        });
        for i in 0..4 {
            let digit = DIGITS[group >> (18 - 6 * i) & 63];
            text.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// Gives `package` what npm does not keep: links, run bits, and the right to read.
fn prepare(package: &Path) -> io::Result<()> {
    open_to_all(package)?;
    for program in fs::read_dir(package.join("native/bin"))? {
        fs::set_permissions(program?.path(), Permissions::from_mode(0o755))?;
    }
    let links = match fs::read_to_string(package.join("native/pg-symlinks.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        links => links?,
    };
    for (source, target) in parse_links(&links) {
        let refused = || io::Error::other(format!("the link from {target} to {source}"));
        let (source_path, target_path) = (Path::new(&source), Path::new(&target));
        let inside = |path: &Path| {
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        };
        // Every known link is to a file beside it.
        if !inside(target_path) || source_path.parent() != target_path.parent() {
            return Err(refused());
        }
        let name = source_path.file_name().ok_or_else(refused)?;
        match symlink(name, package.join(target_path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            made => made?,
        }
    }
    Ok(())
}

fn open_to_all(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// Reads `[{"source":"…","target":"…"},…]`, in which no string holds a quote.
fn parse_links(json: &str) -> Vec<(String, String)> {
    let value = |object: &str, key: &str| {
        let (_, rest) = object.split_once(&format!("\"{key}\""))?;
        rest.split('"').nth(1).map(str::to_owned)
    };
    json.split('}')
        .filter_map(|o| Some((value(o, "source")?, value(o, "target")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn links_are_read_in_any_order_of_keys() {
        let json = r#"[{"source":"a/b.1","target":"a/b"}, { "target": "c", "source": "d" }]"#;
        let pair = |source: &str, target: &str| (source.to_owned(), target.to_owned());
        assert_eq!(parse_links(json), [pair("a/b.1", "a/b"), pair("d", "c")]);
        assert_eq!(parse_links("[]"), []);
    }

    #[test]
    fn the_newest_major_is_pinned_for_every_platform() {
        for platform in ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] {
            let newest = format!("{NEWEST}.");
            assert!(
                pins::PINS
                    .iter()
                    .any(|pin| pin.0 == platform && pin.1.starts_with(&newest))
            );
        }
    }
}
