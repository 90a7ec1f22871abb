//! [`Effects`]: what running a text may do to a session.

use super::calls::calls_known;
use super::split::Statements;
use super::{Control, control, is, is_any};

/// The words of `SET`, `RESET` and `DISCARD` that are about the role.
const ROLE: [&str; 4] = ["role", "authorization", "session_authorization", "all"];

/// What running a text may do to a session, besides what it is meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an effect that there is or not"
)]
pub(crate) struct Effects {
    /// The search path may be another afterwards.
    pub(crate) moves_path: bool,
    /// Prepared statements may be gone afterwards.
    pub(crate) drops_prepared: bool,
    /// A statement may be prepared afterwards that was not.
    pub(crate) prepares: bool,
    /// Settings or the role of the session may be others afterwards.
    pub(crate) changes_settings: bool,
    /// A cursor may be left open afterwards that outlives its transaction.
    pub(crate) leaves_open: bool,
    /// A function is called that may do anything of that, but move the path: that is looked at elsewhere.
    pub(crate) calls: bool,
    /// A schema may be gone afterwards, or have another name.
    pub(crate) moves_schema: bool,
    /// The role may be another afterwards, for the transaction at least.
    pub(crate) changes_role: bool,
    /// The strongest transaction control among the statements.
    pub(crate) control: Option<Control>,
}

impl Effects {
    /// Reads `sql`. Literals and bodies count as well, since they may be run: `DO`, `EXECUTE`.
    pub(crate) fn of(sql: &str) -> Self {
        let mut effects = Self::by_any_word(sql.as_bytes());
        let mut rows = false;
        for words in Statements::new(sql).filter(|words| !words.is_empty()) {
            effects.leaves_open |= rows;
            rows = is_any(words[0], &["select", "insert", "update", "delete"]);
            effects.leaves_open |= !rows;
            effects.control = effects.control.max(control(&words));
            effects.changes_role |= is_any(words[0], &["set", "reset", "discard"])
                && (words[1..].iter().any(|word| is_any(word, &ROLE)) || quotes_role(sql));
            match *words.as_slice() {
                // What they run stands elsewhere: in a procedure, in an earlier statement.
                [first, ..] if is_any(first, &["do", "call", "fetch", "move"]) => {
                    effects.moves_path = true;
                    effects.changes_role |= is_any(first, &["do", "call"]);
                }
                [first, second, ..]
                    if is(first, "set")
                        && !is_any(second, &["local", "transaction", "constraints"]) =>
                {
                    effects.changes_settings = true;
                }
                [first, second, ..]
                    if is_any(first, &["drop", "alter"]) && is(second, "schema") =>
                {
                    effects.moves_schema = true;
                }
                _ => {}
            }
        }
        effects.changes_settings |= effects.moves_path;
        effects.calls = !calls_known(sql);
        effects.leaves_open |= effects.calls;
        effects
    }

    /// Whether the session is the same afterwards, but for what may be left open and what functions do.
    pub(crate) fn keep_session(self) -> bool {
        let closed = Self {
            leaves_open: false,
            calls: false,
            moves_schema: false,
            changes_role: false,
            ..self
        };
        closed == Self::default()
    }

    /// What running both may do.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            moves_path: self.moves_path || other.moves_path,
            drops_prepared: self.drops_prepared || other.drops_prepared,
            prepares: self.prepares || other.prepares,
            changes_settings: self.changes_settings || other.changes_settings,
            leaves_open: self.leaves_open || other.leaves_open,
            calls: self.calls || other.calls,
            moves_schema: self.moves_schema || other.moves_schema,
            changes_role: self.changes_role || other.changes_role,
            control: self.control.max(other.control),
        }
    }

    fn by_any_word(bytes: &[u8]) -> Self {
        let mut effects = Self::default();
        let mut set = false;
        for (at, byte) in bytes.iter().enumerate() {
            let rest = &bytes[at..];
            match byte | 0x20 {
                b's' if starts(rest, b"search_path") => effects.moves_path = true,
                b's' if starts(rest, b"set_config") => {
                    effects.moves_path = true;
                    let argument = rest["set_config".len()..].trim_ascii_start();
                    let argument = argument.strip_prefix(b"(").unwrap_or_default();
                    let argument = argument.trim_ascii_start();
                    // A name that is no literal may be any.
                    effects.changes_role |= !argument.starts_with(b"'")
                        || starts(argument, b"'role'")
                        || starts(argument, b"'session_authorization'");
                }
                b's' if starts(rest, b"set") => set = true,
                b's' if set && starts(rest, b"schema") && ends_word(rest, 6) => {
                    effects.moves_path = true;
                }
                // A view that can be updated.
                b'p' if starts(rest, b"pg_settings") => {
                    effects.moves_path = true;
                    effects.changes_role = true;
                }
                b'd' if starts(rest, b"discard") => {
                    effects.moves_path = true;
                    effects.drops_prepared = true;
                }
                b'd' if starts(rest, b"deallocate") => effects.drops_prepared = true,
                b'p' if starts(rest, b"prepare") && ends_word(rest, 7) => effects.prepares = true,
                b'd' | b'a' if moves_schema(rest) => effects.moves_schema = true,
                b'r' if starts(rest, b"reset") => effects.moves_path = true,
                b'e' if starts(rest, b"execute") && ends_word(rest, 7) => {
                    effects.moves_path = true;
                    effects.changes_role = true;
                }
                // An identifier that is spelled in escapes: U&"\0073earch_path".
                b'u' if rest.get(1) == Some(&b'&') => effects.moves_path = true,
                _ => {}
            }
        }
        effects
    }
}

fn starts(bytes: &[u8], word: &[u8]) -> bool {
    bytes.len() >= word.len() && bytes[..word.len()].eq_ignore_ascii_case(word)
}

/// Whether the text begins with `DROP SCHEMA`, `ALTER SCHEMA` or `DROP OWNED`.
fn moves_schema(text: &[u8]) -> bool {
    let pairs = [("drop", "schema"), ("alter", "schema"), ("drop", "owned")];
    pairs.iter().any(|(first, second)| {
        starts(text, first.as_bytes()) && {
            let rest = &text[first.len()..];
            let next = rest.trim_ascii_start();
            next.len() < rest.len()
                && starts(next, second.as_bytes())
                && ends_word(next, second.len())
        }
    })
}

/// Whether the role stands in quotes somewhere, as no word does.
fn quotes_role(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    sql.contains("\"role\"") || sql.contains("\"session_authorization\"")
}

fn ends_word(bytes: &[u8], length: usize) -> bool {
    bytes
        .get(length)
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

#[cfg(test)]
mod tests {
    use super::Effects;

    #[test]
    fn statements_that_may_move_the_path() {
        for sql in [
            "SET search_path TO x",
            "set Search_Path = x",
            "SELECT set_config($1, $2, false)",
            "RESET ALL",
            "DISCARD ALL",
            "SELECT 1; SET LOCAL search_path TO x; SELECT 2",
            "DO $$ BEGIN EXECUTE 'SET search_path TO x'; END $$",
            "SET SCHEMA 'x'",
            "SET LOCAL SCHEMA 'x'",
            "SET U&\"\\0073earch_path\" TO x",
            "UPDATE pg_settings SET setting = $1 WHERE name = $2",
            "EXECUTE q",
            "CREATE TABLE t AS EXECUTE q",
            "EXPLAIN ANALYZE EXECUTE q",
            "CALL p()",
            "SELECT 1; /* x */ call p()",
            "DO LANGUAGE plpgsql $$ BEGIN PERFORM f(); END $$",
            "FETCH ALL FROM c",
            "MOVE 1 FROM c",
        ] {
            assert!(Effects::of(sql).moves_path, "{sql}");
        }
    }

    #[test]
    fn statements_that_may_leave_a_cursor_open() {
        for sql in [
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "SELECT 1; SELECT 2",
            "SELECT open_report()",
            "SELECT open_report ()",
            "SELECT open_report/**/()",
            "SELECT open_report -- in\n ()",
            "SELECT \"open_report\"()",
            "SELECT \"open_report\" ()",
            "SELECT public.count(1)",
            "SELECT \"public\".count(1)",
            "SELECT a FROM report(1)",
            "INSERT INTO \"t\" (\"a\") SELECT \"open_report\" ()",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "DO $$ BEGIN END $$",
            "COPY rooms TO STDOUT",
            "CREATE TABLE rooms (id int)",
            "SELECT U&\"f\"(1)",
            "SELECT größe(1)",
        ] {
            assert!(Effects::of(sql).leaves_open, "{sql}");
        }
    }

    #[test]
    fn statements_that_call_who_knows_what() {
        for sql in [
            "SELECT app_login($1)",
            "INSERT INTO \"t\" (\"a\") SELECT \"open_report\" ()",
            "SELECT * FROM report(1)",
            "WITH a AS (SELECT login(1)) SELECT * FROM a",
        ] {
            assert!(Effects::of(sql).calls, "{sql}");
        }
        assert!(!Effects::of("SELECT count(*) FROM rooms WHERE (id = $1)").calls);
    }

    #[test]
    fn statements_that_move_a_schema() {
        for (sql, moves) in [
            ("ALTER SCHEMA acme RENAME TO old", true),
            ("SELECT 1; drop schema if exists acme cascade", true),
            (
                "DO $$ BEGIN EXECUTE 'DROP SCHEMA acme CASCADE'; END $$",
                true,
            ),
            ("DROP OWNED BY acme CASCADE", true),
            ("ALTER TABLE rooms OWNED BY x", false),
            ("CREATE SCHEMA acme", false),
            ("ALTER TABLE schema RENAME TO old", false),
        ] {
            assert_eq!(Effects::of(sql).moves_schema, moves, "{sql}");
        }
    }

    #[test]
    fn statements_that_take_another_role() {
        for (sql, changes) in [
            ("SET ROLE x", true),
            ("set local role x", true),
            ("SELECT 1; SET SESSION AUTHORIZATION x", true),
            ("RESET ROLE", true),
            ("DISCARD ALL", true),
            ("SET LOCAL SESSION AUTHORIZATION x", true),
            ("SET SESSION SESSION AUTHORIZATION x", true),
            ("SET LOCAL \"role\" TO x", true),
            ("SET session_authorization = x", true),
            ("SELECT set_config('role', $1, true)", true),
            ("SELECT set_config ( $1, $2, $3)", true),
            ("UPDATE pg_settings SET setting = $1 WHERE name = $2", true),
            ("EXECUTE q", true),
            ("FETCH ALL FROM c", false),
            ("DO $$ BEGIN SET ROLE x; END $$", true),
            ("UPDATE \"users\" SET \"role\" = $1", false),
            ("SET LOCAL statement_timeout = 1", false),
            ("SELECT set_config('app.user', $1, true)", false),
        ] {
            assert_eq!(Effects::of(sql).changes_role, changes, "{sql}");
        }
    }

    #[test]
    fn statements_that_leave_nothing_open() {
        for sql in [
            "SELECT \"rooms\".\"id\" FROM \"rooms\" WHERE ((\"rooms\".\"id\" = $1) AND (\"rooms\".\"n\" IN ($2, $3))) LIMIT $4",
            "SELECT COUNT(*) FROM \"rooms\" /*3*/",
            "/*$1*/SELECT COUNT(*) FROM \"rooms\" /*3*/",
            "SELECT EXISTS (SELECT \"rooms\".\"id\" FROM \"rooms\" WHERE (\"rooms\".\"id\" = ANY($1)))",
            "INSERT INTO \"rooms\" (\"id\", \"name\") VALUES ($1, DEFAULT), ($2, $3) ON CONFLICT (\"id\") DO UPDATE SET \"name\" = $4 RETURNING \"rooms\".\"id\"",
            "UPDATE \"rooms\" SET \"n\" = (\"rooms\".\"n\" + $1) WHERE (\"rooms\".\"id\" = $2);",
            "DELETE  FROM \"rooms\" WHERE (lower(\"rooms\".\"name\") = $1)",
        ] {
            assert!(!Effects::of(sql).leaves_open, "{sql}");
        }
    }

    #[test]
    fn statements_that_leave_the_path_alone() {
        for sql in [
            "SELECT \"rooms\".\"id\" FROM \"rooms\"",
            "UPDATE \"clients\" SET \"schema_name\" = $1",
            "INSERT INTO rooms VALUES (1)",
            "CREATE SCHEMA x",
            "INSERT INTO rooms VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            "SELECT executed_at, doer, fetched FROM calls",
            "SELECT * FROM rooms FETCH FIRST 1 ROW ONLY",
            "SET LOCAL statement_timeout = 1",
            "SET CONSTRAINTS ALL DEFERRED",
        ] {
            assert!(Effects::of(sql).keep_session(), "{sql}");
        }
    }

    #[test]
    fn statements_that_change_the_session() {
        for sql in [
            "SET statement_timeout = 1",
            "SELECT 1; SET ROLE x",
            "SET SESSION AUTHORIZATION x",
            "SELECT set_config($1, $2, false)",
            "RESET statement_timeout",
            "DISCARD ALL",
        ] {
            assert!(Effects::of(sql).changes_settings, "{sql}");
        }
        for sql in ["DEALLOCATE q", "SELECT 1; discard all"] {
            assert!(Effects::of(sql).drops_prepared, "{sql}");
        }
        for (sql, prepares) in [
            ("prepare q AS SELECT 1", true),
            ("DO $$ BEGIN EXECUTE 'PREPARE q AS SELECT 1'; END $$", true),
            ("SELECT prepared, prepare_at FROM meals", false),
        ] {
            assert_eq!(Effects::of(sql).prepares, prepares, "{sql}");
        }
    }
}
