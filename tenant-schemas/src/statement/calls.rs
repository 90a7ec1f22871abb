//! Which functions a text calls, as far as one of them might leave something open.

use super::{is, is_any};

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
pub(super) fn calls_known(sql: &str) -> bool {
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
