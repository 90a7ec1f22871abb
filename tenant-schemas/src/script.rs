//! [`Script`]: a migration, read once in the life of the process.
//!
//! Diesel's migrations can only be run, not read. A recording connection takes
//! down the SQL that a migration sends, so that it can be hashed, checked, and
//! sent for many schemas in messages of our own making.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use diesel::connection::{BoxableConnection, SimpleConnection};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::result::QueryResult;
use sha2::{Digest as _, Sha256};

use crate::app::{App, Source};
use crate::error::{Error, Result, chain};
use crate::event::panic_message;
use crate::ledger::Applied;
use crate::statement::{self, Control};

type Migrations = Arc<dyn MigrationSource<Pg> + Send + Sync>;

/// Names a migration: versions are unique within an app, not among apps.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
/// let saved = acme.save(&mut *tenancy.public()?)?;
/// let id = &saved.applied[0];
/// assert_eq!((id.app.as_str(), id.version.as_str()), ("hotels", "20240102000000"));
/// assert_eq!(id.to_string(), "hotels/2024-01-02-000000_create_rooms");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MigrationId {
    /// The label of the app.
    pub app: String,
    /// The version, by which an app's migrations are ordered.
    pub version: String,
    /// The full name, as the directory is called.
    pub name: String,
}

impl MigrationId {
    /// Whether a ledger has the migration, with whatever text.
    pub(crate) fn is_in(&self, applied: &[Applied]) -> bool {
        let is_this = |own: &Applied| own.app == self.app && own.version == self.version;
        applied.iter().any(is_this)
    }
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

/// A migration, ready to be run in any schema.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something else of the text"
)]
pub(crate) struct Script {
    pub(crate) id: MigrationId,
    /// Changes when the text of the migration does.
    pub(crate) checksum: String,
    /// Whether the migration wants to run in a transaction.
    pub(crate) transactional: bool,
    pub(crate) up: Body,
    /// `None` if the migration can't be reverted.
    pub(crate) down: Option<Body>,
    /// The migration changes settings of the session, which last beyond it.
    pub(crate) changes_session: bool,
    /// Applied, it makes no table, function or type, and gives none another name.
    pub(crate) names_nothing: bool,
    /// Both texts end where a statement may end: others can stand behind them.
    pub(crate) is_whole: bool,
}

/// What a migration does, in one direction.
#[derive(Clone)]
pub(crate) enum Body {
    Sql(String),
    Rust(Migrations),
}

/// The checksum of a migration whose text can't be read: it is Rust.
const RUST_CHECKSUM: &str = "rust";

impl Script {
    /// Reads all migrations of an app, in the order of their versions.
    pub(crate) fn load(app: &App) -> Result<Vec<Self>> {
        let mut scripts = BTreeMap::new();
        for source in &app.sources {
            let (Source::Sql(migrations) | Source::Rust(migrations)) = source;
            let found = migrations
                .migrations()
                .map_err(|error| unusable(app, chain(&*error)))?;
            for migration in found {
                let script = match source {
                    Source::Sql(_) => Self::read(app, &*migration, migrations)?,
                    Source::Rust(_) => Self::rust(app, &*migration, migrations),
                };
                let version = script.id.version.clone();
                if let Some(twin) = scripts.insert(version.clone(), script) {
                    return Err(unusable(
                        app,
                        format!(
                            "version {version} stands twice, as {} and as {}: give one of them another version",
                            twin.id.name,
                            migration.name(),
                        ),
                    ));
                }
            }
        }
        Ok(scripts.into_values().collect())
    }

    fn read(app: &App, migration: &dyn Migration<Pg>, source: &Migrations) -> Result<Self> {
        let (up, ran) = record(|up| migration.run(up));
        if up.is_rust() {
            return Ok(Self::rust(app, migration, source));
        }
        ran.map_err(|reason| unusable(app, format!("{}: {reason}", migration.name())))?;
        let (down, reverted) = record(|down| migration.revert(down));
        let down = if down.is_rust() {
            Some(Body::Rust(Arc::clone(source)))
        } else {
            reverted.is_ok().then(|| Body::Sql(down.sql()))
        };
        let script = Self {
            checksum: checksum(&up.sql()),
            changes_session: statement::changes_session(&up.sql()),
            names_nothing: statement::names_nothing(&up.sql()),
            is_whole: statement::is_whole(&up.sql())
                && !matches!(&down, Some(Body::Sql(down)) if !statement::is_whole(down)),
            up: Body::Sql(up.sql()),
            down,
            ..Self::rust(app, migration, source)
        };
        script.refuse_copy(app)?;
        if script.transactional {
            script.refuse_transaction_control(app)?;
        }
        Ok(script)
    }

    fn rust(app: &App, migration: &dyn Migration<Pg>, source: &Migrations) -> Self {
        Self {
            id: MigrationId {
                app: app.label().to_owned(),
                version: migration.name().version().to_string(),
                name: migration.name().to_string(),
            },
            checksum: RUST_CHECKSUM.to_owned(),
            transactional: migration.metadata().run_in_transaction(),
            up: Body::Rust(Arc::clone(source)),
            down: Some(Body::Rust(Arc::clone(source))),
            changes_session: false,
            names_nothing: false,
            is_whole: true,
        }
    }

    /// Whether the migration itself has `ALTER TYPE .. ADD VALUE`.
    pub(crate) fn adds_enum_value(&self) -> bool {
        matches!(&self.up, Body::Sql(sql) if statement::adds_enum_value(sql))
    }

    fn refuse_transaction_control(&self, app: &App) -> Result<()> {
        for body in [Some(&self.up), self.down.as_ref()].into_iter().flatten() {
            if let Body::Sql(sql) = body
                && statement::transaction_control(sql) == Some(Control::Transaction)
            {
                return Err(unusable(
                    app,
                    format!(
                        "{} contains BEGIN, COMMIT or ROLLBACK, but migrations run in a transaction \
                         of the library's: remove it, or set `run_in_transaction = false` in its metadata.toml",
                        self.id.name
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The server would wait for rows that nobody sends, or libpq for someone who takes them, and the next
    /// message would end it: the migration would count as applied, without the rows or what is behind.
    fn refuse_copy(&self, app: &App) -> Result<()> {
        for body in [Some(&self.up), self.down.as_ref()].into_iter().flatten() {
            if let Body::Sql(sql) = body
                && let Some(end) = statement::copies_with_client(sql)
            {
                let why = if end == "FROM STDIN" {
                    "but a migration has no rows to send: use INSERT (`pg_dump --inserts` writes that), \
                     or a migration in Rust"
                } else {
                    "but nobody takes rows from a migration: leave it out"
                };
                let name = &self.id.name;
                return Err(unusable(
                    app,
                    format!("{name} contains COPY .. {end}, {why}"),
                ));
            }
        }
        Ok(())
    }

    /// Whether a ledger's checksum says that the text was another when it was applied.
    pub(crate) fn has_changed_since(&self, checksum: &str) -> bool {
        !checksum.is_empty() && checksum != self.checksum
    }
}

/// The migration of this version in a source, to be run as Rust code.
pub(crate) fn find(
    source: &Migrations,
    version: &str,
) -> std::result::Result<Box<dyn Migration<Pg>>, crate::BoxError> {
    source
        .migrations()?
        .into_iter()
        .find(|migration| migration.name().version().to_string() == version)
        .ok_or_else(|| format!("the source no longer has a migration of version {version}").into())
}

fn unusable(app: &App, reason: String) -> Error {
    Error::MigrationSource {
        app: app.label().to_owned(),
        reason,
    }
}

/// The same on every platform, whatever git does to line ends.
fn checksum(sql: &str) -> String {
    let hash = Sha256::digest(sql.replace("\r\n", "\n").as_bytes());
    hex(&hash[..16])
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes down what a migration sends, and how it ends.
///
/// One that is written in Rust may well panic when its connection is not the one it expects.
fn record(
    f: impl FnOnce(&mut Recorder) -> diesel::migration::Result<()>,
) -> (Recorder, std::result::Result<(), String>) {
    let mut recorder = Recorder::default();
    let ran = match catch_unwind(AssertUnwindSafe(|| f(&mut recorder))) {
        Ok(ran) => ran.map_err(|error| chain(&*error)),
        Err(panic) => Err(panic_message(&*panic)),
    };
    (recorder, ran)
}

/// Takes down the SQL that a migration sends, without running it.
#[derive(Default)]
struct Recorder {
    sent: Vec<String>,
    /// The migration asked what connection this is: it is more than SQL.
    examined: Cell<bool>,
}

impl Recorder {
    /// Files and embedded migrations send one batch; whatever does more has a mind of its own.
    fn is_rust(&self) -> bool {
        self.examined.get() || self.sent.len() > 1
    }

    fn sql(&self) -> String {
        self.sent.join("\n;\n")
    }
}

impl SimpleConnection for Recorder {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.sent.push(query.to_owned());
        Ok(())
    }
}

impl BoxableConnection<Pg> for Recorder {
    fn as_any(&self) -> &dyn Any {
        self.examined.set(true);
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self.examined.set(true);
        self
    }
}
