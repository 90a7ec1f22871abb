//! One statement, read as far as foreign keys are concerned.

use std::ops::Range;

use crate::sql;
use crate::statement;
use crate::token::{Kind, Token, tokens};

/// A foreign key as a statement makes it.
#[derive(Debug)]
pub(super) struct Key {
    table: String,
    columns: Vec<String>,
    pub(super) name: Option<String>,
    /// Whether it can wait for its own part, and refers to a shared table.
    pub(super) can_wait: bool,
    /// Where it stands.
    pub(super) cut: Range<usize>,
    /// The statement that makes it, alone.
    pub(super) text: String,
}

impl Key {
    /// The name that PostgreSQL gives it if that is free.
    pub(super) fn default_name(&self) -> String {
        format!("{}_{}_fkey", self.table, self.columns.join("_"))
    }
}

/// One statement, as far as keys are concerned.
pub(super) struct Read<'a> {
    pub(super) text: &'a str,
    pub(super) keys: Vec<Key>,
    /// What it does is the same whether or not keys are there.
    pub(super) is_harmless: bool,
    /// The tables that it makes in the new schema.
    pub(super) makes: Vec<String>,
    /// The table into which it writes rows. It is harmless only if that is one of the new
    /// schema, and nothing that acts may be called, or fire.
    pub(super) writes: Option<String>,
    /// It makes a function or a rule that may do what is not harmless.
    pub(super) acts: bool,
}

/// What rows are written with that may ask for keys.
const CATALOG: [&str; 4] = [
    "constraint",
    "information_schema",
    "pg_trigger",
    "pg_depend",
];

/// What a body does that may ask for keys.
const ACTS: [&str; 8] = [
    "delete",
    "update",
    "truncate",
    "merge",
    "execute",
    "perform",
    "call",
    "constraint",
];

fn says_any(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

impl<'a> Read<'a> {
    /// Something that is not looked into, and may ask for anything.
    pub(super) fn as_it_is(text: &'a str) -> Self {
        Self {
            text,
            keys: Vec::new(),
            is_harmless: false,
            makes: statement::split(text)
                .iter()
                .filter_map(|statement| Self::of(statement.text, &|_| false).makes.pop())
                .collect(),
            writes: None,
            acts: acts(text, &tokens(text)),
        }
    }

    pub(super) fn of(text: &'a str, is_shared: &dyn Fn(&str) -> bool) -> Self {
        let tokens: Vec<Token> = tokens(text);
        let reader = Reader {
            text,
            tokens: &tokens,
            is_shared,
        };
        let keys = if reader.words(0, &["create", "table"]) {
            reader.created(2)
        } else if reader.words(0, &["create", "unlogged", "table"]) {
            reader.created(3)
        } else if reader.words(0, &["alter", "table"]) {
            reader.altered()
        } else {
            reader.is_harmless().then(Vec::new)
        };
        Self {
            text,
            is_harmless: keys.is_some(),
            keys: keys.unwrap_or_default(),
            makes: reader.makes().into_iter().collect(),
            writes: reader.writes(),
            acts: reader.is(0, "create")
                && (1..4).any(|at| reader.is_any(at, &["function", "procedure", "rule"]))
                && acts(text, &tokens),
        }
    }
}

/// Whether something in a text, a body perhaps, may do more than write rows when it is run later.
fn acts(text: &str, tokens: &[Token]) -> bool {
    tokens.iter().any(|token| {
        let word = &text[token.range.clone()];
        match token.kind {
            Kind::Literal => says_any(word, &ACTS),
            Kind::Word => word.eq_ignore_ascii_case("rule") || word.eq_ignore_ascii_case("atomic"),
            Kind::Quoted | Kind::Sign => false,
        }
    })
}

/// Kinds of objects whose making neither runs anything nor looks at keys.
const INERT: [&str; 8] = [
    "sequence",
    "type",
    "domain",
    "view",
    "function",
    "procedure",
    "trigger",
    "aggregate",
];

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    is_shared: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            token.kind == Kind::Word && self.text[token.range.clone()].eq_ignore_ascii_case(word)
        })
    }

    fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn words(&self, at: usize, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(number, word)| self.is(at + number, word))
    }

    fn sign(&self, at: usize, sign: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            token.kind == Kind::Sign && &self.text[token.range.clone()] == sign
        })
    }

    fn name(&self, at: usize) -> Option<String> {
        self.tokens.get(at)?.name(self.text)
    }

    fn slice(&self, tokens: Range<usize>) -> &str {
        let start = self.tokens[tokens.start].range.start;
        &self.text[start..self.tokens[tokens.end - 1].range.end]
    }

    /// The table that a statement makes, if it is named without a schema.
    fn makes(&self) -> Option<String> {
        let at = match () {
            () if self.words(0, &["create", "table"]) => 2,
            () if self.words(0, &["create", "unlogged", "table"]) => 3,
            () => return None,
        };
        let at = if self.is(at, "if") { at + 3 } else { at };
        self.name(at).filter(|_| !self.sign(at + 1, "."))
    }

    /// The table into which a statement writes rows, if it is named without a schema.
    fn writes(&self) -> Option<String> {
        let at = match () {
            () if self.words(0, &["insert", "into"]) => 2,
            () if self.is(0, "update") && !self.is(1, "only") => 1,
            () => return None,
        };
        self.name(at).filter(|_| !self.sign(at + 1, "."))
    }

    /// A statement, neither of a table nor of a key, that does not care for keys.
    fn is_harmless(&self) -> bool {
        let kind = if self.words(1, &["or", "replace"]) {
            3
        } else {
            1
        };
        match () {
            () if self.is(0, "create") => {
                self.is(1, "index")
                    || self.words(1, &["unique", "index"])
                    || self.is_any(kind, &INERT)
            }
            () if self.is(0, "comment") => !self.is(2, "constraint"),
            () if self.words(0, &["insert", "into"]) || self.is(0, "update") => {
                self.writes().is_some() && !says_any(self.text, &CATALOG)
            }
            () => {
                self.is_any(0, &["grant", "revoke"])
                    || self.words(0, &["alter", "sequence"])
                    || self.tokens.is_empty()
            }
        }
    }

    /// The ranges between commas, from `at` to the parenthesis that closes, or to the end.
    fn parts(&self, at: usize) -> (Vec<Range<usize>>, usize) {
        let mut parts = Vec::new();
        let (mut depth, mut from, mut now) = (0_usize, at, at);
        while now < self.tokens.len() {
            if self.sign(now, "(") || self.sign(now, "[") {
                depth += 1;
            } else if self.sign(now, ")") || self.sign(now, "]") {
                if depth == 0 {
                    break;
                }
                depth -= 1;
            } else if depth == 0 && (self.sign(now, ",") || self.sign(now, ";")) {
                parts.push(from..now);
                from = now + 1;
            }
            now += 1;
        }
        parts.push(from..now);
        parts.retain(|part| !part.is_empty());
        (parts, now)
    }

    /// Behind the parenthesis that closes the one at `at`; `at` itself if there is none.
    fn past_list(&self, at: usize) -> usize {
        if self.sign(at, "(") {
            self.parts(at + 1).1 + 1
        } else {
            at
        }
    }

    /// The keys of `CREATE TABLE`; `None` if it does more than make a table.
    fn created(&self, at: usize) -> Option<Vec<Key>> {
        let always = !self.is(at, "if");
        let at = if always { at } else { at + 3 };
        let table = at..at + 1;
        let parts_at = if self.sign(at + 1, ".") {
            at + 3
        } else {
            at + 1
        };
        if !self.sign(parts_at, "(") {
            return None;
        }
        let (parts, end) = self.parts(parts_at + 1);
        let tail_is_plain = (end..self.tokens.len())
            .all(|at| !self.is_any(at, &["partition", "as", "select", "execute", "values"]));
        if !tail_is_plain {
            return None;
        }
        let can_wait = always && parts_at == at + 1;
        let mut keys = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            if let Some(key) = self.table_key(&table, part.clone(), can_wait) {
                // With the comma before it, or the one behind it.
                let cut = if let Some(before) = number.checked_sub(1) {
                    let comma = self.tokens[parts[before].end].range.start;
                    comma..key.cut.end
                } else {
                    let comma = self.tokens.get(part.end)?.range.end;
                    key.cut.start..comma
                };
                keys.push(Key {
                    can_wait: key.can_wait && parts.len() > 1,
                    cut,
                    ..key
                });
            } else {
                keys.extend(self.column_keys(&table, part.clone(), can_wait));
            }
        }
        // Cuts at both sides of a comma would meet.
        if keys.windows(2).any(|two| two[0].cut.end > two[1].cut.start) {
            for key in &mut keys {
                key.can_wait = false;
            }
        }
        Some(keys)
    }

    /// The keys of `ALTER TABLE`; `None` if it does more than add, or set defaults.
    fn altered(&self) -> Option<Vec<Key>> {
        let mut at = 2;
        let always = !self.is(at, "if");
        if !always {
            at += 2;
        }
        if self.is(at, "only") {
            at += 1;
        }
        let table = at..at + 1;
        let qualified = self.sign(at + 1, ".");
        let (actions, end) = self.parts(if qualified { at + 3 } else { at + 1 });
        let can_wait = always && !qualified;
        if end != self.tokens.len() {
            return None;
        }
        let mut keys = Vec::new();
        for action in &actions {
            let from = action.start;
            if self.is(from, "alter") {
                let column = from + 1 + usize::from(self.is(from + 1, "column"));
                if !self.is_any(column + 1, &["set", "drop"])
                    || !self.is_any(column + 2, &["default", "not"])
                {
                    return None;
                }
                continue;
            }
            if !self.is(from, "add") {
                return None;
            }
            let part = from + 1..action.end;
            if let Some(key) = self.table_key(&table, part.clone(), can_wait) {
                keys.push(Key {
                    can_wait: key.can_wait && actions.len() == 1,
                    cut: 0..self.text.len(),
                    ..key
                });
                continue;
            }
            let column = part.start + usize::from(self.is(part.start, "column"));
            let always = !self.is(column, "if");
            keys.extend(self.column_keys(&table, column..part.end, can_wait && always));
        }
        Some(keys)
    }

    /// The key that a part of a table's definition is, if it is one.
    fn table_key(&self, table: &Range<usize>, part: Range<usize>, can_wait: bool) -> Option<Key> {
        let named = self.is(part.start, "constraint");
        let at = if named { part.start + 2 } else { part.start };
        if !self.words(at, &["foreign", "key"]) {
            return None;
        }
        let columns = self.parts(at + 3).0;
        let reference = self.past_list(at + 2);
        let (end, shared) = self.reference(reference, part.end);
        Some(Key {
            table: self.name(table.start).unwrap_or_default(),
            columns: columns
                .iter()
                .filter_map(|column| self.name(column.start))
                .collect(),
            name: named.then(|| self.name(part.start + 1)).flatten(),
            can_wait: can_wait
                && shared
                && end == part.end
                && columns.iter().all(|column| column.len() == 1),
            cut: self.tokens[part.start].range.start..self.tokens[part.end - 1].range.end,
            text: sql::tables::add_constraint(self.slice(table.clone()), self.slice(part)),
        })
    }

    /// The keys of one column.
    fn column_keys(&self, table: &Range<usize>, part: Range<usize>, can_wait: bool) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut at = part.start;
        while at < part.end {
            if !self.is(at, "references") {
                at = self.past_list(at).max(at + 1);
                continue;
            }
            let named = at > part.start + 2 && self.is(at - 2, "constraint");
            let from = if named { at - 2 } else { at };
            let (end, shared) = self.reference(at, part.end);
            let column = part.start..part.start + 1;
            keys.push(Key {
                table: self.name(table.start).unwrap_or_default(),
                columns: self.name(part.start).into_iter().collect(),
                name: named.then(|| self.name(at - 1)).flatten(),
                can_wait: can_wait && shared,
                cut: self.tokens[from].range.start..self.tokens[end - 1].range.end,
                text: sql::tables::add_foreign_key(
                    self.slice(table.clone()),
                    named.then(|| self.slice(at - 1..at)),
                    self.slice(column),
                    self.slice(at..end),
                ),
            });
            at = end;
        }
        keys
    }

    /// Where a reference ends that begins at `at`, and whether it is one to a shared table that can wait.
    fn reference(&self, at: usize, limit: usize) -> (usize, bool) {
        let qualified = self.sign(at + 2, ".");
        let mut shared = self.is(at, "references")
            && qualified
            && self
                .name(at + 1)
                .is_some_and(|schema| (self.is_shared)(&schema));
        let mut now = self.past_list(if qualified { at + 4 } else { at + 2 });
        loop {
            now = match () {
                () if self.is(now, "match") => now + 2,
                () if self.is(now, "on") && self.is_any(now + 2, &["no", "set"]) => {
                    self.past_list(now + 4)
                }
                () if self.is(now, "on") => now + 3,
                () if self.is(now, "deferrable") => now + 1,
                () if self.words(now, &["not", "deferrable"]) => now + 2,
                () if self.is(now, "initially") => now + 2,
                () if self.words(now, &["not", "valid"])
                    || self.words(now, &["not", "enforced"])
                    || self.is(now, "enforced") =>
                {
                    shared = false;
                    break;
                }
                () => break,
            };
        }
        if now > limit {
            return (limit, false);
        }
        (now, shared)
    }
}
