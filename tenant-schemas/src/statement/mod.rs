//! Reading SQL text as far as isolation needs it: does it move the search path,
//! does it change the session, does it begin or end a transaction?
//!
//! The questions are answered on the safe side: a `true` too many costs a
//! round trip, a `false` too many would cost a wrong read.

mod calls;
mod effects;
mod plain;
mod split;

pub(crate) use self::effects::Effects;
pub(crate) use self::plain::{OPERATORS, PlainSelect};
use self::split::Statements;
pub(crate) use self::split::split;

/// How a statement takes part in a transaction, the weaker way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Control {
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
    Savepoint,
    /// `BEGIN`, `COMMIT`, `ROLLBACK` and their kin.
    Transaction,
}

/// The strongest transaction control among the statements of `sql`.
pub(crate) fn transaction_control(sql: &str) -> Option<Control> {
    Statements::new(sql)
        .filter_map(|words| control(&words))
        .max()
}

/// The words of one statement, outside literals and comments.
#[cfg(feature = "manage")]
pub(crate) fn words(statement: &str) -> Vec<&str> {
    let mut statements = Statements::new(statement);
    statements.limit = usize::MAX;
    statements.next().unwrap_or_default()
}

/// The transaction control of one statement, by its first words.
fn control(words: &[&str]) -> Option<Control> {
    match *words {
        [first, ..] if is_any(first, &["savepoint", "release"]) => Some(Control::Savepoint),
        [first, ref rest @ ..]
            if is(first, "rollback") && rest.iter().any(|word| is(word, "to")) =>
        {
            Some(Control::Savepoint)
        }
        [first, second, ..] if is(first, "prepare") && is(second, "transaction") => {
            Some(Control::Transaction)
        }
        [first, ..]
            if is_any(
                first,
                &["begin", "start", "commit", "end", "rollback", "abort"],
            ) =>
        {
            Some(Control::Transaction)
        }
        _ => None,
    }
}

/// Whether `sql` is nothing but a rollback, of a transaction or to a savepoint.
pub(crate) fn is_rollback(sql: &str) -> bool {
    let mut statements = Statements::new(sql).filter(|words| !words.is_empty());
    let first = statements.next();
    first.is_some_and(|words| is_any(words[0], &["rollback", "abort"]))
        && statements.next().is_none()
}

/// Whether something stands behind a statement of `sql` that ends a transaction or goes back to a
/// savepoint.
pub(crate) fn goes_on_behind_an_end(sql: &str) -> bool {
    let ends = |words: &Vec<&str>| {
        is_any(words[0], &["commit", "end", "rollback", "abort"])
            || control(words) == Some(Control::Transaction) && is(words[0], "prepare")
    };
    let mut statements = Statements::new(sql).filter(|words| !words.is_empty());
    statements.any(|words| ends(&words)) && statements.next().is_some()
}

/// Whether `sql` changes a setting of the session, other than until its transaction ends.
pub(crate) fn changes_session(sql: &str) -> bool {
    let sets = |words: Vec<&str>| match words.as_slice() {
        [first, ..] if is(first, "reset") || is(first, "discard") => true,
        [first, second, ..] if is(first, "set") => ["local", "transaction", "constraints"]
            .iter()
            .all(|word| !is(second, word)),
        _ => false,
    };
    Statements::new(sql).any(sets)
        || sql
            .as_bytes()
            .windows("set_config".len())
            .any(|window| window.eq_ignore_ascii_case(b"set_config"))
}

/// Whether no statement of `sql` gives a table, a function or a type a name: columns, indexes
/// and comments alone. What a function does that a statement calls is not looked at.
pub(crate) fn names_nothing(sql: &str) -> bool {
    let mut statements = Statements::new(sql);
    statements.limit = usize::MAX;
    statements.all(|words| match *words.as_slice() {
        [] => true,
        [first, second, ref rest @ ..] if is(first, "alter") && is(second, "table") => {
            // `serial` and `IDENTITY` make a sequence.
            let names = ["rename", "schema", "identity"];
            !rest
                .iter()
                .any(|word| is_any(word, &names) || word.to_ascii_lowercase().contains("serial"))
        }
        [first, second, ..] if is_any(first, &["create", "drop"]) && is(second, "index") => true,
        [first, second, third, ..] if is(first, "create") && is(second, "unique") => {
            is(third, "index")
        }
        [first, ..] => is(first, "comment"),
    })
}

/// Whether `sql` may have `ALTER TYPE .. ADD VALUE`: in a body too, but with a comment between the two
/// words only outside of one.
pub(crate) fn adds_enum_value(sql: &str) -> bool {
    let adds = |words: &[&str]| match *words {
        [add, value] => {
            let (add, value) = (add.to_ascii_lowercase(), value.to_ascii_lowercase());
            add.ends_with("add") && value.starts_with("value")
        }
        _ => false,
    };
    let mut statements = Statements::new(sql);
    statements.limit = usize::MAX;
    let words: Vec<&str> = sql.split_whitespace().collect();
    words.windows(2).any(adds) || statements.any(|words| words.windows(2).any(adds))
}

/// Whether `sql` ends where a statement may end: what is behind it in a message is no part of a
/// literal, a comment or a body that it began.
pub(crate) fn is_whole(sql: &str) -> bool {
    let mut statements = Statements::new(sql);
    statements.by_ref().for_each(drop);
    !statements.open
}

/// The end of a `COPY` in `sql` whose rows would come from the client, or go to it.
pub(crate) fn copies_with_client(sql: &str) -> Option<&'static str> {
    split(sql).into_iter().find_map(|statement| {
        let mut words = Statements::new(statement.text);
        words.limit = usize::MAX;
        let words = words.next().filter(|words| is(words[0], "copy"))?;
        words.windows(2).find_map(|two| match two {
            [from, stdin] if is(from, "from") && is(stdin, "stdin") => Some("FROM STDIN"),
            [to, stdout] if is(to, "to") && is(stdout, "stdout") => Some("TO STDOUT"),
            _ => None,
        })
    })
}

/// Whether a statement of `sql` calls a function that is not well known, now and not only when something
/// that it makes is used. Of one that makes or changes something, what has a parenthesis behind its name
/// is a table, a type or an index as a rule: it counts only beside a word that has an expression evaluated.
pub(crate) fn queries_call(sql: &str) -> bool {
    split(sql).into_iter().any(|statement| {
        let mut words = Statements::new(statement.text);
        words.limit = usize::MAX;
        let words = words.next().unwrap_or_default();
        let evaluate: &[&str] = match words.first() {
            None => return false,
            // Its query stands elsewhere.
            Some(first) if is(first, "refresh") => return true,
            Some(first) if is_any(first, &["comment", "drop", "grant", "revoke"]) => return false,
            Some(first) if is(first, "create") && is_index(&words) => {
                let columns = statement.text.split_once('(');
                return columns.is_some_and(|(_, columns)| !calls::calls_known(columns));
            }
            Some(first) if is(first, "create") => &["select", "values"],
            Some(first) if is(first, "alter") => &[
                "check",
                "default",
                "exclude",
                "expression",
                "generated",
                "using",
            ],
            Some(_) => return !calls::calls_known(statement.text),
        };
        words.iter().any(|word| is_any(word, evaluate)) && !calls::calls_known(statement.text)
    })
}

/// Whether a `CREATE` makes an index.
fn is_index(words: &[&str]) -> bool {
    let mut words = words.iter().skip(1);
    words
        .find(|word| !is(word, "unique"))
        .is_some_and(|word| is(word, "index"))
}

/// The settings that `sql` changes until its transaction ends, but for the search path: as `SHOW` names them.
pub(crate) fn local_settings(sql: &str) -> Vec<String> {
    let mut names: Vec<String> = split(sql)
        .into_iter()
        .filter_map(|statement| {
            let mut words = Statements::new(statement.text);
            words.limit = usize::MAX;
            let words = words.next()?;
            match *words.as_slice() {
                [set, local, ref rest @ ..] if is(set, "set") && is(local, "local") => {
                    // A comment in front may have the same word.
                    let at = local.as_ptr().addr() - statement.text.as_ptr().addr();
                    setting(rest, statement.text.get(at + local.len()..)?)
                }
                _ => None,
            }
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The setting that the words behind `SET LOCAL` change, which begin a text.
fn setting(words: &[&str], text: &str) -> Option<String> {
    let name = match *words {
        [first, second, ..] if is(first, "session") && is(second, "authorization") => {
            "session_authorization"
        }
        [first, second, ..] if is(first, "time") && is(second, "zone") => "timezone",
        [first, ..] if is(first, "names") => "client_encoding",
        [first, second, ..] if is(first, "xml") && is(second, "option") => "xmloption",
        [first, ..] if is_any(first, &["schema", "search_path", "transaction"]) => return None,
        // Two words, if the name has a dot.
        [_, ..] => {
            let text = text.trim_start().trim_start_matches('"');
            let end = text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.'));
            &text[..end.unwrap_or(text.len())]
        }
        [] => return None,
    };
    Some(name.to_ascii_lowercase())
}

fn is_any(word: &str, expected: &[&str]) -> bool {
    expected.iter().any(|expected| is(word, expected))
}

fn is(word: &str, expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_columns_indexes_and_comments_name_nothing() {
        for sql in [
            "",
            "ALTER TABLE rooms ADD COLUMN bed_count int NOT NULL DEFAULT 1",
            "alter table only rooms drop column a; -- RENAME\nCREATE INDEX ON rooms (a);",
            "CREATE UNIQUE INDEX i ON rooms (name); DROP INDEX i; COMMENT ON TABLE rooms IS 'RENAME'",
        ] {
            assert!(names_nothing(sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE rooms (id int)",
            "CREATE UNLOGGED TABLE rooms (id int)",
            "ALTER TABLE rooms RENAME TO clients",
            "ALTER TABLE rooms SET SCHEMA other",
            "ALTER TABLE rooms ADD COLUMN a bigserial",
            "ALTER TABLE rooms ADD COLUMN a int GENERATED ALWAYS AS IDENTITY",
            "ALTER INDEX a RENAME TO b",
            "CREATE INDEX ON rooms (a); CREATE VIEW clients AS SELECT 1",
            "SELECT make()",
            "INSERT INTO rooms VALUES (1)",
            "DO $$ BEGIN END $$",
            "DROP TABLE rooms",
        ] {
            assert!(!names_nothing(sql), "{sql}");
        }
    }

    #[test]
    fn settings_of_the_session_are_told_from_those_of_a_transaction() {
        for (sql, expected) in [
            ("SET statement_timeout = 0", true),
            (
                "-- a dump\nSELECT pg_catalog.set_config('search_path', '', false);",
                true,
            ),
            ("SELECT 1; RESET ALL", true),
            (
                "SET LOCAL work_mem = '1GB'; SET CONSTRAINTS ALL DEFERRED",
                false,
            ),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", false),
            (
                "UPDATE rooms SET name = ''; ALTER TABLE rooms ALTER name SET NOT NULL",
                false,
            ),
        ] {
            assert_eq!(changes_session(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_function_that_is_called_now_is_told_from_one_that_is_called_later() {
        for (sql, expected) in [
            ("SELECT login()", true),
            ("CREATE TABLE rooms (id int); SELECT login()", true),
            ("CREATE TABLE seen AS SELECT * FROM login_list()", true),
            (
                "CREATE MATERIALIZED VIEW seen AS (WITH a AS (SELECT f()) TABLE a)",
                true,
            ),
            ("CREATE TABLE p PARTITION OF q FOR VALUES IN (f())", true),
            ("REFRESH MATERIALIZED VIEW seen", true),
            (
                "ALTER TABLE rooms ADD COLUMN who text DEFAULT login()",
                true,
            ),
            (
                "ALTER TABLE rooms ALTER who TYPE int USING number_of(who)",
                true,
            ),
            ("ALTER TABLE rooms ADD CHECK (is_fine(who))", true),
            (
                "ALTER TABLE rooms ADD COLUMN k text GENERATED ALWAYS AS (f(name)) STORED",
                true,
            ),
            (
                "ALTER TABLE rooms ALTER k SET EXPRESSION AS (f(name))",
                true,
            ),
            ("CREATE INDEX ON rooms (f(name))", true),
            ("CREATE UNIQUE INDEX i ON rooms (a) WHERE f(a)", true),
            ("CREATE INDEX i ON rooms USING gin (a, (b || c))", false),
            (
                "ALTER TABLE rooms ADD COLUMN id int GENERATED ALWAYS AS IDENTITY",
                false,
            ),
            ("EXPLAIN ANALYZE SELECT login()", true),
            ("ALTER TABLE rooms ADD COLUMN beds int DEFAULT 2", false),
            ("ALTER TABLE rooms ADD COLUMN name varchar(20)", false),
            (
                "CREATE TABLE rooms (id int DEFAULT f(), CHECK (f(id)))",
                false,
            ),
            ("CREATE UNIQUE INDEX ON rooms (name)", false),
            (
                "CREATE SEQUENCE a; COMMENT ON FUNCTION f(int) IS 'a'",
                false,
            ),
            (
                "DROP FUNCTION f(int); GRANT EXECUTE ON FUNCTION g(int) TO a",
                false,
            ),
            ("INSERT INTO \"rooms\" (\"id\") VALUES (1)", false),
            ("", false),
        ] {
            assert_eq!(queries_call(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_value_that_is_added_to_an_enum_is_found_however_it_is_written() {
        for sql in [
            "ALTER TYPE kind ADD VALUE 'large'",
            "alter type kind add\n\tvalue'large'",
            "ALTER TYPE kind ADD /* the last */ VALUE 'large'",
            "ALTER TYPE kind ADD -- one more\nVALUE IF NOT EXISTS 'large'",
            "DO $$BEGIN ALTER TYPE kind ADD  VALUE 'large'; END$$",
        ] {
            assert!(adds_enum_value(sql), "{sql}");
        }
        for sql in ["ALTER TABLE rooms ADD COLUMN value text", "SELECT 1", ""] {
            assert!(!adds_enum_value(sql), "{sql}");
        }
    }

    #[test]
    fn settings_of_a_transaction_are_found_by_their_names() {
        for (sql, expected) in [
            ("SELECT 1; SET lock_timeout = 1", &[][..]),
            (
                "set local Lock_Timeout = '5s'; SELECT 1; SET LOCAL lock_timeout TO 0",
                &["lock_timeout"],
            ),
            (
                "SET LOCAL ROLE owner; SET LOCAL SESSION AUTHORIZATION x; SET LOCAL TIME ZONE 'UTC'",
                &["role", "session_authorization", "timezone"],
            ),
            (
                "SET LOCAL search_path TO x; SET LOCAL app.user_id = 1",
                &["app.user_id"],
            ),
            (
                "-- a LOCAL timeout\nSET LOCAL \"lock_timeout\" = 1",
                &["lock_timeout"],
            ),
        ] {
            assert_eq!(local_settings(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_text_that_ends_in_the_middle_is_not_whole() {
        for sql in [
            "",
            "SELECT 'it''s' -- 'one",
            "SELECT E'it\\'s'; /* /* 'one */ */",
            "SELECT $a$ ' $a$, \"one\"\"two\"",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        ] {
            assert!(is_whole(sql), "{sql}");
        }
        for sql in [
            "SELECT 'it''s",
            "SELECT E'it\\'",
            "SELECT 1 /* /* one */",
            "SELECT $a$ one $b$",
            "SELECT \"one",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;",
        ] {
            assert!(!is_whole(sql), "{sql}");
        }
    }

    #[test]
    fn a_copy_that_needs_the_client_is_found() {
        let (stdin, stdout) = (Some("FROM STDIN"), Some("TO STDOUT"));
        for (sql, expected) in [
            ("COPY rooms FROM stdin", stdin),
            (
                "SELECT 1;\n-- x\ncopy public.rooms (id, name) from STDIN WITH (FORMAT csv);",
                stdin,
            ),
            ("COPY rooms FROM '/tmp/rooms'", None),
            ("COPY (SELECT a FROM b) TO stdout", stdout),
            ("SELECT 1; copy rooms to STDOUT csv", stdout),
            ("COPY rooms TO '/tmp/rooms'", None),
            ("INSERT INTO notes VALUES ('COPY rooms FROM stdin')", None),
            ("SELECT copy FROM stdin", None),
            ("COPY", None),
            ("", None),
        ] {
            assert_eq!(copies_with_client(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_stands_behind_the_end_of_a_transaction_is_found() {
        for (sql, rollback, goes_on) in [
            ("ROLLBACK", true, false),
            ("/* x */ rollback to savepoint a; -- end", true, false),
            ("ABORT AND CHAIN;", true, false),
            ("COMMIT", false, false),
            ("INSERT INTO rooms VALUES (1); COMMIT;", false, false),
            (
                "COMMIT AND CHAIN; INSERT INTO rooms VALUES (1)",
                false,
                true,
            ),
            ("ROLLBACK TO a; SELECT 1", false, true),
            ("SELECT 1; END; SELECT 2", false, true),
            ("PREPARE TRANSACTION 'x'; SELECT 1", false, true),
            ("PREPARE q AS SELECT 1; SELECT 1", false, false),
            ("BEGIN; SELECT 1; COMMIT", false, false),
            ("SAVEPOINT a; SELECT 1; RELEASE a; SELECT 1", false, false),
            ("SELECT 'ROLLBACK; x'; SELECT 1", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_rollback(sql), rollback, "{sql}");
            assert_eq!(goes_on_behind_an_end(sql), goes_on, "{sql}");
        }
    }

    #[test]
    fn transaction_control_is_found_wherever_it_stands() {
        for (sql, expected) in [
            ("BEGIN", Some(Control::Transaction)),
            ("begin; select 1", Some(Control::Transaction)),
            ("SELECT 1; COMMIT", Some(Control::Transaction)),
            ("/* a /* b */ */ ROLLBACK", Some(Control::Transaction)),
            ("-- x\nSTART TRANSACTION", Some(Control::Transaction)),
            ("PREPARE TRANSACTION 'x'", Some(Control::Transaction)),
            ("SAVEPOINT a", Some(Control::Savepoint)),
            ("ROLLBACK TO a", Some(Control::Savepoint)),
            ("ROLLBACK WORK TO SAVEPOINT a", Some(Control::Savepoint)),
            ("RELEASE a; COMMIT", Some(Control::Transaction)),
            ("PREPARE q AS SELECT 1", None),
            ("SELECT 'x; COMMIT'", None),
            ("SELECT E'it\\'; COMMIT'", None),
            ("SELECT \"a; COMMIT\"", None),
            ("SELECT 1 -- ; COMMIT", None),
            ("DO $$ BEGIN NULL; END $$", None),
            (
                "CREATE FUNCTION f() RETURNS int AS $f$ BEGIN RETURN 1; END $f$ LANGUAGE plpgsql",
                None,
            ),
            ("SELECT $1, $2; SELECT 2", None),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
                None,
            ),
            (
                "CREATE PROCEDURE p() BEGIN ATOMIC SELECT 1; END; COMMIT",
                Some(Control::Transaction),
            ),
            ("", None),
        ] {
            assert_eq!(transaction_control(sql), expected, "{sql}");
        }
    }
}
