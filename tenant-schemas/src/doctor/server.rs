//! Settings of the server that bite a fleet of this size.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::sql::doctor::advice;

use super::facts::Facts;
use super::{Check, Finding, Severity};

/// The settings that are looked at.
pub(super) const SETTINGS: &[&str] = &[
    "autovacuum",
    "idle_in_transaction_session_timeout",
    "lc_messages",
    "lock_timeout",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "reserved_connections",
    "server_version",
    "server_version_num",
    "shared_buffers",
    "statement_timeout",
    "superuser_reserved_connections",
    "track_counts",
];

/// Each timeout, what goes on for ever without it, and a value to begin with.
const TIMEOUTS: &[(&str, &str, &str)] = &[
    (
        "lock_timeout",
        "a migration that waits for a lock keeps every later query of the table waiting",
        "5s",
    ),
    (
        "statement_timeout",
        "a query that never ends keeps its connection",
        "60s",
    ),
    (
        "idle_in_transaction_session_timeout",
        "a program that forgets a transaction keeps its locks",
        "60s",
    ),
];

/// From here on tools that look at every relation take their time.
const MANY_RELATIONS: i64 = 100_000;
/// From here on the catalog is what the server is busy with.
const TOO_MANY_RELATIONS: i64 = 500_000;

/// The last supported majors of PostgreSQL: `(major, year, month, day)` of the last release.
const LAST_RELEASES: &[(u64, [u64; 3])] = &[
    (12, [2024, 11, 21]),
    (13, [2025, 11, 13]),
    (14, [2026, 11, 12]),
    (15, [2027, 11, 11]),
    (16, [2028, 11, 9]),
    (17, [2029, 11, 8]),
    (18, [2030, 11, 14]),
];

pub(super) fn check(facts: &Facts, pool_size: u32, findings: &mut Vec<Finding>) {
    let server = Server { facts };
    findings.extend(server.locks_of_drop());
    findings.extend(server.locks_of_dump());
    findings.extend(server.connections(u64::from(pool_size)));
    findings.extend(server.shared_buffers());
    findings.extend(server.autovacuum());
    findings.extend(server.relations());
    findings.extend(server.timeouts());
    findings.extend(server.end_of_life());
    findings.extend(server.language());
    findings.extend(bloat(facts));
    findings.extend(path_settings(facts));
}

struct Server<'a> {
    facts: &'a Facts,
}

impl Server<'_> {
    fn number(&self, setting: &str) -> u64 {
        self.facts
            .settings
            .get(setting)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    }

    /// How many sessions and prepared transactions share the lock slots.
    fn lockers(&self) -> u64 {
        self.number("max_connections") + self.number("max_prepared_transactions")
    }

    fn lock_slots(&self) -> u64 {
        self.number("max_locks_per_transaction") * self.lockers()
    }

    fn more_locks(&self, wanted: u64) -> String {
        let each = wanted.div_ceil(self.lockers().max(1)).next_power_of_two();
        let each = each.max(self.number("max_locks_per_transaction") + 1);
        format!(
            "`{}` and restart the server",
            advice::alter_system("max_locks_per_transaction", each)
        )
    }

    fn locks_of_drop(&self) -> Option<Finding> {
        let widest = self.facts.widest.as_ref()?;
        let locks = u64::try_from(widest.locks).unwrap_or(0);
        let slots = self.lock_slots();
        // The others need some, too.
        if locks * 2 <= slots {
            return None;
        }
        let severity = if locks > slots {
            Severity::Error
        } else {
            Severity::Warning
        };
        let schema = self.facts.schema(widest.schema)?;
        Some(
            Finding::new(Check::LockSlots, severity, "max_locks_per_transaction")
                .in_schema(&schema)
                .message(format!(
                    "dropping this widest schema takes {locks} locks, and all sessions share {slots} lock slots"
                ))
                .advice(format!(
                    "{}; until then drop with `tenancy.drop_schema_cascade(..)`, which takes few at a time",
                    self.more_locks(locks * 2)
                )),
        )
    }

    fn locks_of_dump(&self) -> Option<Finding> {
        let tables = u64::try_from(self.facts.size.tables).unwrap_or(0);
        let slots = self.lock_slots();
        (tables > slots).then(|| {
            Finding::new(
                Check::LockSlots,
                Severity::Warning,
                "max_locks_per_transaction",
            )
            .message(format!(
                "`pg_dump` of the database locks {tables} tables, and all sessions share {slots} lock slots"
            ))
            .advice(format!(
                "{}; until then dump schema by schema",
                self.more_locks(tables + tables / 4)
            ))
        })
    }

    fn connections(&self, pool_size: u64) -> Option<Finding> {
        let most = self.number("max_connections");
        let reserved =
            self.number("superuser_reserved_connections") + self.number("reserved_connections");
        let free = most.saturating_sub(reserved);
        (pool_size > free).then(|| {
            Finding::new(Check::Connections, Severity::Warning, "max_connections")
                .message(format!(
                    "the pool of each process opens up to {pool_size} connections, and the server has \
                     {free} for all of them (`max_connections` {most}, {reserved} of them reserved)"
                ))
                .advice(format!(
                    "make the pool smaller with `pool_size(..)`, or `{}` and restart the server",
                    advice::alter_system("max_connections", (pool_size + reserved) * 2)
                ))
        })
    }

    fn shared_buffers(&self) -> Option<Finding> {
        let buffers = self.number("shared_buffers");
        let catalog = u64::try_from(self.facts.size.catalog_bytes).unwrap_or(0);
        (catalog * 2 > buffers).then(|| {
            Finding::new(Check::SharedBuffers, Severity::Warning, "shared_buffers")
                .message(format!(
                    "the system catalog has {} and `shared_buffers` only {}: looking names up \
                     crowds the tenants' rows out",
                    megabytes(catalog),
                    megabytes(buffers)
                ))
                .advice(format!(
                    "`{}` or more and restart the server",
                    advice::alter_system("shared_buffers", format!("'{}'", megabytes(catalog * 4)))
                ))
        })
    }

    fn autovacuum(&self) -> Option<Finding> {
        let off = ["autovacuum", "track_counts"].into_iter().find(|setting| {
            self.facts
                .settings
                .get(*setting)
                .is_some_and(|value| value == "off")
        })?;
        Some(
            Finding::new(Check::Autovacuum, Severity::Warning, off)
                .message(format!(
                    "`{off}` is off: nothing removes dead rows, of which every new and every dropped \
                     tenant leaves thousands in the catalog"
                ))
                .advice(format!(
                    "`{}`, then `SELECT pg_reload_conf()`",
                    advice::alter_system(off, "on")
                )),
        )
    }

    fn relations(&self) -> Option<Finding> {
        let relations = self.facts.size.relations;
        if relations <= MANY_RELATIONS {
            return None;
        }
        let severity = if relations <= TOO_MANY_RELATIONS {
            Severity::Info
        } else {
            Severity::Warning
        };
        Some(
            Finding::new(Check::Relations, severity, &self.facts.size.database)
                .message(format!(
                    "there are {relations} tables, indexes and the like: `pg_dump`, `pg_upgrade` and \
                     autovacuum look at each, and every connection remembers what it has seen"
                ))
                .advice(
                    "keep `max_tenants_per_connection` low, dump schema by schema, \
                     and put new tenants into another database before long",
                ),
        )
    }

    fn timeouts(&self) -> impl Iterator<Item = Finding> {
        TIMEOUTS
            .iter()
            .filter(|(setting, ..)| self.number(setting) == 0)
            .map(|(setting, without, value)| {
                Finding::new(Check::Timeouts, Severity::Info, *setting)
                    .message(format!("`{setting}` is not set: {without}"))
                    .advice(format!(
                        "set it for the pool's connections with `on_connect(..)`, or for new sessions \
                         of the database with `{}`",
                        advice::set_for_database(&self.facts.size.database, setting, value)
                    ))
            })
    }

    fn language(&self) -> Option<Finding> {
        let locale = self.facts.settings.get("lc_messages")?;
        (!is_english(locale)).then(|| {
            Finding::new(Check::MessageLanguage, Severity::Warning, "lc_messages")
                .message(format!(
                    "the server's messages are those of `{locale}`: a deadlock, or a new value of an enum that \
                     is used too early, is told from other failures by the English words alone, so what \
                     would be done again fails"
                ))
                .advice(format!(
                    "have a superuser set it, for new sessions of the database: `{}`",
                    advice::set_for_database(&self.facts.size.database, "lc_messages", "C")
                ))
        })
    }

    fn end_of_life(&self) -> Option<Finding> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let major = self.number("server_version_num") / 10_000;
        let [year, month, day] = end_of(major, now.as_secs() / 86_400)?;
        let version = self.facts.settings.get("server_version")?;
        Some(
            Finding::new(
                Check::EndOfLife,
                Severity::Warning,
                format!("PostgreSQL {major}"),
            )
            .message(format!(
                "PostgreSQL {version} gets no more fixes: the last of {major} were of \
                     {year}-{month:02}-{day:02}"
            ))
            .advice(
                "upgrade to a supported major, see https://www.postgresql.org/support/versioning/",
            ),
        )
    }
}

/// Whether a locale's messages are in English. An empty one is that of the server's environment, which
/// nobody knows.
fn is_english(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    let language = locale.split(['_', '-', '.', '@']).next();
    matches!(language, Some("" | "c" | "posix" | "en" | "english"))
}

/// When a major got its last fixes, if that was before `today`, in days since 1970.
fn end_of(major: u64, today: u64) -> Option<[u64; 3]> {
    let (oldest, end) = LAST_RELEASES[0];
    if major != 0 && major < oldest {
        return Some(end);
    }
    let (_, end) = LAST_RELEASES.iter().find(|(known, _)| *known == major)?;
    (day_number(*end) < today).then_some(*end)
}

/// Days since 1970, by the civil calendar.
fn day_number([year, month, day]: [u64; 3]) -> u64 {
    // Years begin in March, so that the leap day is their last.
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

fn megabytes(bytes: u64) -> String {
    format!("{}MB", bytes.div_ceil(1 << 20))
}

fn bloat(facts: &Facts) -> impl Iterator<Item = Finding> {
    facts.bloat.iter().map(|row| {
        Finding::new(
            Check::CatalogBloat,
            Severity::Warning,
            format!("pg_catalog.{}", row.catalog),
        )
        .message(format!(
            "{} has {} dead rows and {} live ones: looking names up gets slow",
            row.catalog, row.dead, row.live
        ))
        .advice(
            "remove them; if they come back, look for a transaction that stays open for long, \
                 or let autovacuum work harder",
        )
        .sql(advice::vacuum(&row.catalog))
    })
}

fn path_settings(facts: &Facts) -> impl Iterator<Item = Finding> {
    facts.path_settings.iter().map(|row| {
        let whose = match (&row.role, &row.database) {
            (Some(role), Some(database)) => format!("role {role} in database {database}"),
            (Some(role), None) => format!("role {role}"),
            (None, Some(database)) => format!("database {database}"),
            (None, None) => "every role".to_owned(),
        };
        Finding::new(Check::SearchPathSetting, Severity::Info, &whose)
            .message(format!(
                "{whose} has `{}`: connections of this library set their own, others may find \
                 one tenant's tables where they expect another's",
                row.setting
            ))
            .advice("remove it, if nothing else needs it")
            .sql(advice::reset_path(
                row.role.as_deref(),
                row.database.as_deref(),
            ))
    })
}

#[cfg(test)]
mod tests {
    use super::{day_number, end_of, is_english};

    #[test]
    fn english_is_told_from_other_languages() {
        for locale in [
            "",
            "C",
            "C.UTF-8",
            "POSIX",
            "en_US.utf8",
            "English_United States.1252",
        ] {
            assert!(is_english(locale), "{locale}");
        }
        for locale in ["de_DE.UTF-8", "fr_CH", "German_Germany.1252", "cs_CZ", "eo"] {
            assert!(!is_english(locale), "{locale}");
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (date, day) in [
            ([1970, 1, 1], 0),
            ([2000, 2, 29], 11_016),
            ([2000, 3, 1], 11_017),
            ([2024, 11, 21], 20_048),
        ] {
            assert_eq!(day_number(date), day, "{date:?}");
        }
    }

    #[test]
    fn a_version_ends_the_day_after_its_last_fixes() {
        let last = day_number([2027, 11, 11]);
        assert_eq!(end_of(15, last), None);
        assert_eq!(end_of(15, last + 1), Some([2027, 11, 11]));
        assert_eq!(end_of(9, 0), Some([2024, 11, 21]));
        assert_eq!(end_of(99, last), None);
    }
}
