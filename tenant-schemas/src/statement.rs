//! Reading SQL text as far as isolation needs it: does it move the search path,
//! does it change the session, does it begin or end a transaction?
//!
//! The questions are answered on the safe side: a `true` too many costs a
//! round trip, a `false` too many would cost a wrong read.

/// How a statement takes part in a transaction, the weaker way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Control {
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
    Savepoint,
    /// `BEGIN`, `COMMIT`, `ROLLBACK` and their kin.
    Transaction,
}

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
            match *words.as_slice() {
                // What they run stands elsewhere: in a procedure, in an earlier statement.
                [first, ..] if is_any(first, &["do", "call", "fetch", "move"]) => {
                    effects.moves_path = true;
                }
                [first, second, ..]
                    if is(first, "set")
                        && !is_any(second, &["local", "transaction", "constraints"]) =>
                {
                    effects.changes_settings = true;
                }
                _ => {}
            }
        }
        effects.changes_settings |= effects.moves_path;
        effects.leaves_open |= !calls_known(sql);
        effects
    }

    /// Whether the session is the same afterwards, but for what may be left open.
    pub(crate) fn keep_session(self) -> bool {
        let closed = Self {
            leaves_open: false,
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
            control: self.control.max(other.control),
        }
    }

    fn by_any_word(bytes: &[u8]) -> Self {
        let mut effects = Self::default();
        let mut set = false;
        for (at, byte) in bytes.iter().enumerate() {
            let rest = &bytes[at..];
            match byte | 0x20 {
                b's' if starts(rest, b"search_path") || starts(rest, b"set_config") => {
                    effects.moves_path = true;
                }
                b's' if starts(rest, b"set") => set = true,
                b's' if set && starts(rest, b"schema") && ends_word(rest, 6) => {
                    effects.moves_path = true;
                }
                // A view that can be updated.
                b'p' if starts(rest, b"pg_settings") => effects.moves_path = true,
                b'd' if starts(rest, b"discard") => {
                    effects.moves_path = true;
                    effects.drops_prepared = true;
                }
                b'd' if starts(rest, b"deallocate") => effects.drops_prepared = true,
                b'p' if starts(rest, b"prepare") && ends_word(rest, 7) => effects.prepares = true,
                b'r' if starts(rest, b"reset") => effects.moves_path = true,
                b'e' if starts(rest, b"execute") && ends_word(rest, 7) => {
                    effects.moves_path = true;
                }
                // An identifier that is spelled in escapes: U&"\0073earch_path".
                b'u' if rest.get(1) == Some(&b'&') => effects.moves_path = true,
                _ => {}
            }
        }
        effects
    }
}

/// Words that have an opening parenthesis behind them and call nothing, or what can leave nothing.
const HARMLESS: [&str; 46] = [
    "select",
    "from",
    "where",
    "and",
    "or",
    "not",
    "in",
    "any",
    "all",
    "some",
    "exists",
    "as",
    "on",
    "using",
    "values",
    "set",
    "join",
    "over",
    "filter",
    "by",
    "case",
    "when",
    "then",
    "else",
    "distinct",
    "union",
    "except",
    "intersect",
    "having",
    "conflict",
    "returning",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "lower",
    "upper",
    "length",
    "now",
    "cast",
    "array_agg",
];

/// Whether no function is called by name, but for some of PostgreSQL's own. Literals count too. What
/// views, triggers and defaults call is not looked at.
fn calls_known(sql: &str) -> bool {
    // A comment could stand between a name and its parenthesis; our own are the beginning and the end.
    let sql = sql.strip_prefix("/*$1*/").unwrap_or(sql);
    let (sql, behind) = sql.split_once("/*").unwrap_or((sql, ""));
    if behind.contains('(') || sql.contains("--") {
        return false;
    }
    let bytes = sql.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    bytes.iter().enumerate().all(|(at, byte)| {
        if *byte != b'(' {
            return true;
        }
        let before = sql[..at].trim_ascii_end();
        let spaced = before.len() < at;
        let start = before.as_bytes().iter().rposition(|byte| !is_word(byte));
        let start = start.map_or(0, |start| start + 1);
        let word = &before[start..];
        match before.as_bytes().last() {
            // The columns behind the name of a table: `INSERT INTO "rooms" (`.
            Some(b'"') => spaced && is_into(before),
            _ if word.is_empty() => true,
            _ => !before[..start].ends_with('.') && is_any(word, &HARMLESS),
        }
    })
}

/// Whether what ends in a name in quotes is the beginning of an `INSERT`.
fn is_into(before: &str) -> bool {
    let words: Vec<&str> = before.split_ascii_whitespace().collect();
    matches!(*words.as_slice(), [first, second, _] if is(first, "insert") && is(second, "into"))
}

/// The strongest transaction control among the statements of `sql`.
pub(crate) fn transaction_control(sql: &str) -> Option<Control> {
    Statements::new(sql)
        .filter_map(|words| control(&words))
        .max()
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

fn is_any(word: &str, expected: &[&str]) -> bool {
    expected.iter().any(|expected| is(word, expected))
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

/// Whether `sql` ends where a statement may end: what is behind it in a message is no part of a
/// literal, a comment or a body that it began.
pub(crate) fn is_whole(sql: &str) -> bool {
    let mut statements = Statements::new(sql);
    statements.by_ref().for_each(drop);
    !statements.open
}

/// Whether `sql` has a `COPY` whose rows would come from the client.
pub(crate) fn copies_from_client(sql: &str) -> bool {
    split(sql).into_iter().any(|statement| {
        let mut words = Statements::new(statement.text);
        words.limit = usize::MAX;
        words.next().is_some_and(|words| {
            is(words[0], "copy")
                && words
                    .windows(2)
                    .any(|two| is(two[0], "from") && is(two[1], "stdin"))
        })
    })
}

fn is(word: &str, expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected)
}

fn starts(bytes: &[u8], word: &[u8]) -> bool {
    bytes.len() >= word.len() && bytes[..word.len()].eq_ignore_ascii_case(word)
}

fn ends_word(bytes: &[u8], length: usize) -> bool {
    bytes
        .get(length)
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

/// One statement of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    /// Where it begins in the text, in characters.
    pub(crate) start: usize,
}

/// Splits a text into its statements, leaving out those that are empty or mere comment.
pub(crate) fn split(sql: &str) -> Vec<Statement<'_>> {
    let mut statements = Statements::new(sql);
    let mut found = Vec::new();
    loop {
        let from = statements.at;
        let Some(words) = statements.next() else {
            return found;
        };
        if !words.is_empty() {
            let whole = &sql[from..statements.at];
            let text = whole.trim_start();
            let skipped = from + (whole.len() - text.len());
            found.push(Statement {
                text,
                start: sql[..skipped].chars().count(),
            });
        }
    }
}

/// The first words of each statement in a text, outside literals and comments.
struct Statements<'a> {
    sql: &'a str,
    at: usize,
    /// How many words of each.
    limit: usize,
    /// The text ended in the middle of a literal, a comment or a body.
    open: bool,
}

/// As many words as it takes to tell `ROLLBACK WORK TO SAVEPOINT` from `ROLLBACK`.
const WORDS: usize = 3;

impl<'a> Statements<'a> {
    fn new(sql: &'a str) -> Self {
        Self {
            sql,
            at: 0,
            limit: WORDS,
            open: false,
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.sql.as_bytes()[self.at..]
    }

    /// Moves behind `end`, or to the end of the text if it is not there.
    fn skip_past(&mut self, end: &str) {
        let rest = self.rest();
        let found = rest
            .windows(end.len())
            .position(|window| window == end.as_bytes());
        self.open |= found.is_none();
        self.at += found.map_or(rest.len(), |at| at + end.len());
    }

    /// Moves to the end of the line.
    fn skip_line(&mut self) {
        let rest = self.rest();
        let found = rest.iter().position(|byte| *byte == b'\n');
        self.at += found.unwrap_or(rest.len());
    }

    /// Moves behind a block comment; they nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.rest().is_empty() {
            if self.rest().starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
        self.open = true;
    }

    /// Moves behind a literal or identifier in quotes; `escapes` is for `E'..'`.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while let Some(&byte) = self.rest().first() {
            if escapes && byte == b'\\' {
                self.at = (self.at + 2).min(self.sql.len());
            } else if byte == quote {
                self.at += 1;
                if self.rest().first() != Some(&quote) {
                    return;
                }
                self.at += 1;
            } else {
                self.at += 1;
            }
        }
        self.open = true;
    }

    /// Moves behind a dollar-quoted literal, or over the dollar if it starts none.
    fn skip_dollar(&mut self) {
        let rest = self.rest();
        let tag = rest[1..]
            .iter()
            .position(|byte| *byte == b'$')
            .filter(|end| {
                rest[1..=*end]
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
                    && !rest.get(1).is_some_and(u8::is_ascii_digit)
            });
        match tag {
            Some(end) => {
                let tag = &self.sql[self.at..self.at + end + 2];
                self.at += tag.len();
                self.skip_past(tag);
            }
            None => self.at += 1,
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80))
            .unwrap_or(rest.len());
        let word = &self.sql[self.at..self.at + length];
        self.at += length;
        word
    }
}

/// Follows `BEGIN ATOMIC .. END`, the body of a function in the SQL standard's
/// way, whose semicolons end no statement of the text.
#[derive(Default)]
struct Atomic {
    depth: usize,
    after_begin: bool,
}

impl Atomic {
    fn read(&mut self, word: &str) {
        if self.after_begin && is(word, "atomic") || self.is_open() && is(word, "case") {
            self.depth += 1;
        } else if self.is_open() && is(word, "end") {
            self.depth -= 1;
        }
        self.after_begin = is(word, "begin");
    }

    fn is_open(&self) -> bool {
        self.depth > 0
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Vec<&'a str>;

    fn next(&mut self) -> Option<Vec<&'a str>> {
        if self.at >= self.sql.len() {
            return None;
        }
        let mut words = Vec::with_capacity(WORDS);
        let mut atomic = Atomic::default();
        while let Some(&byte) = self.rest().first() {
            match byte {
                b';' if !atomic.is_open() => {
                    self.at += 1;
                    break;
                }
                b'-' if self.rest().starts_with(b"--") => self.skip_line(),
                b'/' if self.rest().starts_with(b"/*") => self.skip_block_comment(),
                b'\'' => self.skip_quoted(b'\'', false),
                b'"' => self.skip_quoted(b'"', false),
                b'$' => self.skip_dollar(),
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                    let word = self.word();
                    atomic.read(word);
                    if self.rest().first() == Some(&b'\'') {
                        self.skip_quoted(b'\'', is(word, "e"));
                    } else if words.len() < self.limit {
                        words.push(word);
                    }
                }
                _ => self.at += 1,
            }
        }
        self.open |= atomic.is_open();
        Some(words)
    }
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
    fn a_copy_whose_rows_come_from_the_client_is_found() {
        for (sql, expected) in [
            ("COPY rooms FROM stdin", true),
            (
                "SELECT 1;\n-- x\ncopy public.rooms (id, name) from STDIN WITH (FORMAT csv);",
                true,
            ),
            ("COPY rooms FROM '/tmp/rooms'", false),
            ("COPY (SELECT a FROM b) TO stdout", false),
            ("INSERT INTO notes VALUES ('COPY rooms FROM stdin')", false),
            ("SELECT copy FROM stdin", false),
            ("COPY", false),
            ("", false),
        ] {
            assert_eq!(copies_from_client(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_text_is_split_at_the_semicolons_between_statements() {
        let sql = "-- one\nCREATE INDEX a ON t (x);\n\nSELECT ';' ; -- done\n";
        let parts = split(sql);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[0].text, "-- one\nCREATE INDEX a ON t (x);");
        assert_eq!((parts[1].text, parts[1].start), ("SELECT ';' ;", 33));
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
