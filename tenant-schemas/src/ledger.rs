//! The ledger: which migrations a schema has, as the schema itself says.
//!
//! Each schema carries its own, so that the truth travels with a dump or a
//! rename. One table beside the shared ones sums them up, written in the same
//! transactions: it answers for a whole fleet in one statement.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::result::QueryResult;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::script::{Script, hex};
use crate::sql;

/// A migration that a schema has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Applied {
    pub(crate) app: String,
    pub(crate) version: String,
    /// Empty if the text was not known when it was recorded.
    pub(crate) checksum: String,
}

impl Applied {
    /// What the ledger says once a migration is applied.
    pub(crate) fn of(script: &Script) -> Self {
        Self {
            app: script.id.app.clone(),
            version: script.id.version.clone(),
            checksum: script.checksum.clone(),
        }
    }

    /// A migration in one line; `sql.rs` writes the same.
    pub(crate) fn line(&self) -> String {
        let Self {
            app,
            version,
            checksum,
        } = self;
        format!("{app}/{version}/{checksum}")
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, '/').map(str::to_owned);
        Some(Self {
            app: parts.next()?,
            version: parts.next()?,
            checksum: parts.next()?,
        })
    }
}

/// The fingerprint of a ledger, in whatever order its lines are; `sql.rs` computes the same.
pub(crate) fn fingerprint(applied: &[Applied]) -> String {
    let mut lines: Vec<String> = applied.iter().map(Applied::line).collect();
    lines.sort_unstable();
    hex(&Sha256::digest(lines.join("\n").as_bytes()))
}

/// What is known of a schema without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is no such schema.
    Missing,
    /// It has exactly what this program knows.
    Current,
    /// It has these migrations.
    Applied(Vec<Applied>),
    /// Nothing: it has to be asked.
    Nothing,
}

/// Reads a schema's own ledger; one that has none has nothing.
pub(crate) fn read(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
) -> QueryResult<(sql::ledger::Bookkeeping, Vec<Applied>)> {
    let bookkeeping = sql::ledger::bookkeeping(conn, schema, public)?;
    let applied = if bookkeeping.ledger {
        sql::ledger::ledger(conn, schema)?
            .into_iter()
            .map(|row| Applied {
                app: row.app,
                version: row.version,
                checksum: row.checksum,
            })
            .collect()
    } else {
        Vec::new()
    };
    Ok((bookkeeping, applied))
}

/// What a schema was found to have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    /// The table of Diesel's harness is there.
    pub(crate) diesel: bool,
    pub(crate) applied: Vec<Applied>,
}

/// Reads the ledgers of many schemas, in few statements; those that do not exist are left out.
pub(crate) fn read_all(
    conn: &mut PgConnection,
    schemas: &[&SchemaName],
    public: &SchemaName,
) -> QueryResult<HashMap<String, Read>> {
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let there = sql::ledgers::bookkeepings(conn, &names)?;
    let mut found: HashMap<String, Read> = HashMap::new();
    let mut with_ledger = HashSet::new();
    for row in there {
        if row.ledger {
            with_ledger.insert(row.schema_name.clone());
        }
        let read = Read {
            diesel: row.diesel,
            applied: Vec::new(),
        };
        found.insert(row.schema_name, read);
    }
    let with_ledger: Vec<&SchemaName> = schemas
        .iter()
        .filter(|schema| with_ledger.contains(schema.as_str()))
        .copied()
        .collect();
    for some in with_ledger.chunks(sql::ledgers::AT_ONCE) {
        match sql::ledgers::ledgers(conn, some) {
            Ok(rows) => {
                for row in rows {
                    if let Some(read) = found.get_mut(&row.schema_name) {
                        read.applied.push(Applied {
                            app: row.app,
                            version: row.version,
                            checksum: row.checksum,
                        });
                    }
                }
            }
            // One of them was dropped meanwhile, or can't be read.
            Err(error) => {
                log::debug!("asking {} schemas one by one: {error}", some.len());
                for schema in some {
                    let (there, applied) = read(conn, schema, public)?;
                    if there.schema {
                        let diesel = there.diesel;
                        found.insert(schema.to_string(), Read { diesel, applied });
                    } else {
                        found.remove(schema.as_str());
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Makes what is missing: the schema itself, its ledger with `adopted` in it, the table of states.
pub(crate) fn make(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
    there: sql::ledger::Bookkeeping,
    adopted: &[&Script],
) -> QueryResult<()> {
    let mut statements = Vec::new();
    if !there.schema {
        statements.push(sql::schemas::make_schema(schema));
    }
    if !there.state {
        // Not the lock of the public schema: a run may have that one now.
        let key = lock_key(public).wrapping_add(1);
        statements.push(sql::locks::take_lock(key));
        statements.push(sql::ledger::create_state(public));
    }
    if !there.ledger {
        statements.push(sql::ledger::create_ledger(schema));
    }
    statements.extend(
        adopted
            .iter()
            .map(|script| sql::ledger::record(schema, &script.id, &script.checksum)),
    );
    if statements.is_empty() {
        return Ok(());
    }
    sql::run_together(conn, &statements)
}

/// What is known of each schema of a fleet: one statement, however many they are.
pub(crate) fn fleet(
    conn: &mut PgConnection,
    registry: &Registry,
    schemas: &[(SchemaName, Kind)],
) -> Result<Vec<Known>> {
    let names: Vec<String> = schemas
        .iter()
        .map(|(schema, _)| schema.as_str().to_owned())
        .collect();
    let mut fingerprints: Vec<(Kind, String)> = Vec::new();
    for (_, kind) in schemas {
        if !fingerprints.iter().any(|(known, _)| known == kind) {
            fingerprints.push((kind.clone(), registry.fingerprint(kind)));
        }
    }
    let expected: Vec<String> = fingerprints
        .iter()
        .map(|(_, fingerprint)| fingerprint.clone())
        .collect();
    let failed = |error| Error::database("reading the state of the fleet", error);
    let rows = match sql::ledgers::fleet(conn, registry.public(), &names, &expected) {
        Ok(rows) => rows,
        Err(error) => {
            let public = registry.public();
            let bookkeeping = sql::ledger::bookkeeping(conn, public, public).map_err(failed)?;
            if bookkeeping.state {
                return Err(failed(error));
            }
            // Nothing was ever migrated here.
            let existing = sql::schemas::existing_schemas(conn, &names).map_err(failed)?;
            return Ok(names
                .iter()
                .map(|name| {
                    if existing.contains(name) {
                        Known::Nothing
                    } else {
                        Known::Missing
                    }
                })
                .collect());
        }
    };
    let mut rows: HashMap<String, sql::ledgers::FleetRow> = rows
        .into_iter()
        .map(|row| (row.schema_name.clone(), row))
        .collect();
    Ok(schemas
        .iter()
        .map(|(schema, kind)| {
            match rows.remove(schema.as_str()) {
                None => Known::Missing,
                Some(sql::ledgers::FleetRow {
                    fingerprint: None, ..
                }) => Known::Nothing,
                Some(sql::ledgers::FleetRow {
                    fingerprint: Some(fingerprint),
                    applied,
                    ..
                }) => {
                    let mut of = fingerprints
                        .iter()
                        .filter(|(_, expected)| *expected == fingerprint)
                        .map(|(kind, _)| kind);
                    match (of.clone().any(|expected| expected == kind), of.next()) {
                        (true, _) => Known::Current,
                        // What another kind of tenant would have.
                        (false, Some(other)) => Known::Applied(registry.all_applied(other)),
                        (false, None) => Known::Applied(
                            applied
                                .iter()
                                .flatten()
                                .filter_map(|line| Applied::parse(line))
                                .collect(),
                        ),
                    }
                }
            }
        })
        .collect())
}

/// Which line of the table of states was read: of which ledger, and when it last said something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ledger: String,
    written: String,
}

impl Known {
    /// Reads what [`sql::ledgers::known`] says of a schema that should have the fingerprint
    /// `expected`, and of which line it is said.
    pub(crate) fn read(value: Option<&str>, expected: &str) -> (Self, Option<Seen>) {
        let Some(value) = value else {
            return (Self::Missing, None);
        };
        let Some(at) = value.find(['=', '+']) else {
            // There is no state.
            return (Self::Nothing, None);
        };
        let seen = value[..at].split_once(' ').map(|(ledger, written)| Seen {
            ledger: ledger.to_owned(),
            written: written.to_owned(),
        });
        let (sign, said) = value[at..].split_at(1);
        let known = if sign == "+" {
            Self::Applied(said.split('\n').filter_map(Applied::parse).collect())
        } else if said == expected {
            Self::Current
        } else {
            // A fingerprint that another kind of tenant would have.
            Self::Nothing
        };
        (known, seen)
    }
}

/// Takes the lock of a schema, however long that takes, until the session ends or [`unlock`] gives it back.
///
/// It asks again and again instead of waiting in the server: a statement that
/// waits there has a snapshot, and `CREATE INDEX CONCURRENTLY` of the session
/// that has the lock would wait for that snapshot in turn. Nor does a
/// `statement_timeout` end the waiting.
pub(crate) fn lock(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    ask(conn, schema, None, sql::locks::try_lock).map(drop)
}

/// Takes the lock of a schema until the transaction ends.
///
/// A transaction that is repeatable read has a snapshot all the time: in the
/// end it waits in the server, which finds out who waits for whom.
pub(crate) fn lock_in_transaction(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    let asked = sql::locks::try_lock_in_transaction;
    if ask(conn, schema, Some(PATIENCE), asked)? {
        return Ok(());
    }
    sql::locks::lock_in_transaction(conn, lock_key(schema))
}

/// Takes the lock of a schema until the transaction ends, and says what there is then.
pub(crate) fn lock_and_look(
    conn: &mut PgConnection,
    schema: &SchemaName,
    public: &SchemaName,
) -> QueryResult<sql::ledger::Bookkeeping> {
    let key = lock_key(schema);
    if let Some(there) = sql::ledger::try_lock_and_look(conn, key, schema, public)? {
        return Ok(there);
    }
    lock_in_transaction(conn, schema)?;
    sql::ledger::bookkeeping(conn, schema, public)
}

/// Takes the locks of several schemas until the transaction ends, in one order whoever asks.
pub(crate) fn lock_all_in_transaction<'a>(
    conn: &mut PgConnection,
    schemas: impl IntoIterator<Item = &'a SchemaName>,
) -> QueryResult<()> {
    let schemas: BTreeSet<&SchemaName> = schemas.into_iter().collect();
    schemas
        .into_iter()
        .try_for_each(|schema| lock_in_transaction(conn, schema))
}

/// Asks until the answer is yes, or patience is at an end.
fn ask(
    conn: &mut PgConnection,
    schema: &SchemaName,
    patience: Option<Duration>,
    granted: fn(&mut PgConnection, i64) -> QueryResult<bool>,
) -> QueryResult<bool> {
    let key = lock_key(schema);
    let begun = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    let mut warned = begun;
    while !granted(conn, key)? {
        if patience.is_some_and(|patience| begun.elapsed() > patience) {
            return Ok(false);
        }
        if pause == SHORTEST_PAUSE {
            log::info!("schema {schema} is being worked on by another session: waiting for it");
        }
        if warned.elapsed() > WARNED {
            warned = Instant::now();
            let seconds = begun.elapsed().as_secs();
            let asked = sql::locks::holder(conn, key)
                .inspect_err(|error| log::warn!("who has a lock could not be asked: {error}"));
            let holder = asked.ok().flatten();
            log::warn!(
                "waiting for {seconds} s for the lock of schema {schema}, which {}",
                holder.unwrap_or_else(|| "another session has".to_owned())
            );
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(true)
}

/// Gives the lock of a schema back.
pub(crate) fn unlock(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<()> {
    sql::locks::unlock(conn, lock_key(schema))
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);
/// After how long, and how often then, it is said who has a lock.
const WARNED: Duration = Duration::from_secs(5);

/// The key of the advisory lock that belongs to a schema.
pub(crate) fn lock_key(schema: &SchemaName) -> i64 {
    key_of(schema.as_str())
}

/// The key of the advisory lock that belongs to whatever has this name.
pub(crate) fn key_of(name: &str) -> i64 {
    let hash = Sha256::digest(format!("tenant-schemas/{name}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(bytes)
}
