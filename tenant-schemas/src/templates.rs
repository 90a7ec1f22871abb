//! Templates of each tenant in front of those of all, for `minijinja`.
//!
//! [`Templates::tenant`] lends the `minijinja` environment of a tenant. A template
//! is looked for among the tenant's own first, then among the shared ones, and so
//! is every template that it includes, imports or extends:
//!
//! ```
//! use tenant_schemas::templates::Templates;
//! use tenant_schemas::templates::minijinja::context;
//! # use std::fs::{create_dir_all, write};
//!
//! # let directory = tempfile::tempdir()?;
//! # let templates = directory.path();
//! # create_dir_all(templates.join("shared"))?;
//! # create_dir_all(templates.join("tenants/acme"))?;
//! // templates/shared/page.html
//! # write(templates.join("shared/page.html"),
//! r#"{% include "greeting.html" %}, {{ guest }}!"#
//! # )?;
//! # ;
//! // templates/shared/greeting.html
//! # write(templates.join("shared/greeting.html"),
//! "Welcome"
//! # )?;
//! # ;
//! // templates/tenants/acme/greeting.html
//! # write(templates.join("tenants/acme/greeting.html"),
//! "Greetings from Acme"
//! # )?;
//! # ;
//!
//! let templates = Templates::new(templates.join("shared"), templates.join("tenants"))?;
//! let (acme, globex) = (templates.tenant(&"acme".parse()?), templates.tenant(&"globex".parse()?));
//! let page = acme.get_template("page.html")?.render(context!(guest => "<Ada>"))?;
//! assert_eq!(page, "Greetings from Acme, &lt;Ada&gt;!");
//! let page = globex.get_template("page.html")?.render(context!(guest => "<Ada>"))?;
//! assert_eq!(page, "Welcome, &lt;Ada&gt;!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Escaping goes by the template's name, as always with `minijinja`. A tenant's
//! template that is put in front of a shared one can still use that, as
//! `shared:` and its name: `{% extends "shared:page.html" %}`.
//!
//! # What keeps tenants apart
//!
//! The tenant's templates are in the directory that
//! [`SchemaName::directory_name`] names. Names with `..`, an empty part, a hidden
//! one or a backslash are not found. Files are opened relative to the tenant's
//! directory, or the shared one, and no symbolic link leads out of it: that is
//! an error. Hard links can't be told from files.
//!
//! Where tenants write templates themselves, they write programs that run in
//! yours: give the environment nothing they should not see, and limit what they
//! use with `minijinja`'s feature `fuel`.

use std::fmt;
use std::fs::canonicalize;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cap_fs_ext::DirExt as _;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};
use cap_std::time::SystemTime;
use minijinja::{Environment, Error, ErrorKind as TemplateErrorKind, TemplateSource};
use quick_cache::sync::Cache;

use crate::name::SchemaName;

/// The crate whose types are used here, in the version that is used.
pub use minijinja;

/// How many tenants' environments are kept, unless it is said.
const MAX_TENANTS: usize = 128;

/// `minijinja` keeps each version of a template that it loads, for as long as there
/// is the environment. So a new one is made after so many.
const MAX_LOADS: usize = 4096;

/// Names a shared template that the tenant may have one in front of.
const SHARED: &str = "shared:";

/// Why there are no templates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplatesError {
    /// A directory can't be read.
    #[error("the directory {} can't be used for templates: it has to be there and readable", .path.display())]
    #[non_exhaustive]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },

    /// Tenants' templates could be read as shared ones.
    #[error(
        "the tenants' templates in {} and the shared ones in {} are within one another: \
         put them side by side, or every tenant could read those of all",
        .tenants.display(), .shared.display()
    )]
    #[non_exhaustive]
    Nested {
        /// The directory of the shared templates.
        shared: PathBuf,
        /// The directory of the tenants' directories.
        tenants: PathBuf,
    },
}

/// The templates of all tenants, and those they share. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    places: Arc<Places>,
    configure: Arc<dyn Fn(&mut Environment<'static>) + Send + Sync>,
    max_tenants: usize,
    kept: Arc<Cache<SchemaName, Kept>>,
}

#[derive(Clone)]
struct Kept {
    environment: Arc<Environment<'static>>,
    loads: Arc<AtomicUsize>,
}

impl Templates {
    /// Templates in `shared`, and in a directory for each tenant in `tenants`.
    ///
    /// A tenant needs no directory. It may get one at any time, and templates in it:
    /// what changed is loaded again, unless that is switched off with
    /// `set_auto_reload` in [`configure`](Self::configure).
    ///
    /// # Errors
    ///
    /// [`TemplatesError::Directory`] if one of them is missing;
    /// [`TemplatesError::Nested`] if one is within the other.
    pub fn new(
        shared: impl AsRef<Path>,
        tenants: impl AsRef<Path>,
    ) -> Result<Self, TemplatesError> {
        let (shared, shared_path) = open_dir(shared.as_ref())?;
        let (tenants, tenants_path) = open_dir(tenants.as_ref())?;
        if shared_path.starts_with(&tenants_path) || tenants_path.starts_with(&shared_path) {
            return Err(TemplatesError::Nested {
                shared: shared_path,
                tenants: tenants_path,
            });
        }
        Ok(Self {
            places: Arc::new(Places { shared, tenants }),
            configure: Arc::new(|_| ()),
            max_tenants: MAX_TENANTS,
            kept: Arc::new(Cache::new(MAX_TENANTS)),
        })
    }

    /// Sets what is done to each environment when it is made. Defaults to nothing.
    ///
    /// This is the place for filters, functions and global values. A loader that is
    /// set here is replaced.
    ///
    /// ```
    /// # use tenant_schemas::templates::Templates;
    /// # let directory = tempfile::tempdir()?;
    /// # let (shared, tenants) = (directory.path().join("a"), directory.path().join("b"));
    /// # std::fs::create_dir(&shared)?;
    /// # std::fs::create_dir(&tenants)?;
    /// # std::fs::write(shared.join("page.html"), "{{ 3|stars }}")?;
    /// let templates = Templates::new(shared, tenants)?.configure(|environment| {
    ///     environment.add_filter("stars", |count: usize| "*".repeat(count));
    /// });
    /// let acme = templates.tenant(&"acme".parse()?);
    /// assert_eq!(acme.get_template("page.html")?.render(())?, "***");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn configure(
        self,
        configure: impl Fn(&mut Environment<'static>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            configure: Arc::new(configure),
            // What was made before was made otherwise.
            kept: Arc::new(Cache::new(self.max_tenants)),
            ..self
        }
    }

    /// Sets how many tenants' environments are kept at most. Defaults to 128.
    ///
    /// One is kept even if it is 0.
    #[must_use]
    pub fn max_tenants(self, max_tenants: usize) -> Self {
        let max_tenants = max_tenants.max(1);
        Self {
            max_tenants,
            kept: Arc::new(Cache::new(max_tenants)),
            ..self
        }
    }

    /// The environment of the tenant who has this schema.
    #[must_use]
    pub fn tenant(&self, schema: &SchemaName) -> Arc<Environment<'static>> {
        if let Some(kept) = self.kept.get(schema)
            && kept.loads.load(Ordering::Relaxed) < MAX_LOADS
        {
            return Arc::clone(&kept.environment);
        }
        let loads = Arc::new(AtomicUsize::new(0));
        let mut environment = Environment::new();
        (self.configure)(&mut environment);
        let (load, count) = (self.loader(schema), Arc::clone(&loads));
        environment.set_loader(move |name| {
            count.fetch_add(1, Ordering::Relaxed);
            load(name)
        });
        let environment = Arc::new(environment);
        let kept = Kept {
            environment: Arc::clone(&environment),
            loads,
        };
        self.kept.insert(schema.clone(), kept);
        environment
    }

    /// The loader of the tenant who has this schema, for an environment of one's own.
    ///
    /// Use each environment for one tenant: it keeps what it has loaded.
    ///
    /// ```
    /// # use tenant_schemas::templates::{Templates, minijinja::Environment};
    /// # let directory = tempfile::tempdir()?;
    /// # let (shared, tenants) = (directory.path().join("a"), directory.path().join("b"));
    /// # std::fs::create_dir(&shared)?;
    /// # std::fs::create_dir(&tenants)?;
    /// # std::fs::write(shared.join("page.html"), "Welcome")?;
    /// # let templates = Templates::new(shared, tenants)?;
    /// let mut environment = Environment::new();
    /// environment.set_loader(templates.loader(&"acme".parse()?));
    /// assert_eq!(environment.get_template("page.html")?.render(())?, "Welcome");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loader(
        &self,
        schema: &SchemaName,
    ) -> impl Fn(&str) -> Result<Option<TemplateSource>, Error> + Send + Sync + 'static {
        let places = Arc::clone(&self.places);
        let directory: Arc<str> = schema.directory_name().into();
        move |name| {
            let found = places.find(&directory, name);
            let Some(found) = found.map_err(|error| unreadable(name, error))? else {
                return Ok(None);
            };
            let text = found.read().map_err(|error| unreadable(name, error))?;
            let (places, directory) = (Arc::clone(&places), Arc::clone(&directory));
            let (name, stamp) = (name.to_owned(), found.stamp);
            // One that is put in front of it changes what is found, too.
            let current = move || match places.find(&directory, &name) {
                Ok(Some(found)) => found.stamp == stamp,
                _ => false,
            };
            Ok(Some(TemplateSource::new(text).with_uptodate_check(current)))
        }
    }

    /// Forgets the environment of the tenant who has this schema, if it is kept.
    ///
    /// Needed only with `set_auto_reload(false)`, after its templates changed or the
    /// tenant was deleted.
    pub fn forget(&self, schema: &SchemaName) {
        self.kept.remove(schema);
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

fn open_dir(path: &Path) -> Result<(Dir, PathBuf), TemplatesError> {
    let opened = canonicalize(path).and_then(|real| {
        let dir = Dir::open_ambient_dir(&real, ambient_authority())?;
        Ok((dir, real))
    });
    opened.map_err(|source| TemplatesError::Directory {
        path: path.to_owned(),
        source,
    })
}

fn unreadable(name: &str, error: io::Error) -> Error {
    let message = format!("template {name:?} can't be read");
    Error::new(TemplateErrorKind::InvalidOperation, message).with_source(error)
}

struct Places {
    shared: Dir,
    tenants: Dir,
}

/// A template, not read yet.
struct Found {
    dir: Dir,
    file: PathBuf,
    stamp: Stamp,
}

/// Differs if another file is found, or the file was changed.
#[derive(PartialEq)]
struct Stamp {
    shared: bool,
    modified: Option<SystemTime>,
    length: u64,
}

impl Places {
    /// The template that a name means to a tenant.
    fn find(&self, directory: &str, name: &str) -> io::Result<Option<Found>> {
        let shared_only = name.strip_prefix(SHARED);
        let name = shared_only.unwrap_or(name);
        if !is_template_name(name) {
            return Ok(None);
        }
        if shared_only.is_none()
            && let Some(dir) = self.tenant(directory)?
            && let Some(found) = Found::look(dir, name, false)?
        {
            return Ok(Some(found));
        }
        Found::look(self.shared.try_clone()?, name, true)
    }

    /// The directory of a tenant, if it has one. A link is an error, not none.
    fn tenant(&self, directory: &str) -> io::Result<Option<Dir>> {
        match self.tenants.open_dir_nofollow(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }
}

impl Found {
    fn look(dir: Dir, name: &str, shared: bool) -> io::Result<Option<Self>> {
        let metadata = there(dir.metadata(name))?;
        Ok(metadata.filter(Metadata::is_file).map(|metadata| Self {
            dir,
            file: name.into(),
            stamp: Stamp {
                shared,
                modified: metadata.modified().ok(),
                length: metadata.len(),
            },
        }))
    }

    fn read(&self) -> io::Result<String> {
        let mut text = String::new();
        self.dir.open(&self.file)?.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// `None` for what is not there.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether it can be the name of a template: one name for each file, and none for what is hidden.
fn is_template_name(name: &str) -> bool {
    name.split('/').all(|part| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(|c: char| c == '\\' || c == ':' || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::is_template_name;

    #[test]
    fn names_of_templates() {
        for name in [
            "page.html",
            "a/b/page.html",
            "größe.html",
            "a..html",
            "%2e%2e",
        ] {
            assert!(is_template_name(name), "{name}");
        }
        for name in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "../globex/page.html",
            "a/../b",
            "./a",
            ".hidden",
            "a/.git/config",
            "..\\globex\\page.html",
            "C:/page.html",
            "a\0b",
            "a\nb",
        ] {
            assert!(!is_template_name(name), "{name:?}");
        }
    }
}
