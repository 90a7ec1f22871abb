//! [`PlainSelect`]: a `SELECT` that reads tables and nothing else, so that their schema can be written
//! into it.

/// The words of such a `SELECT`, besides `SELECT`, `WHERE` and `COUNT`; in order.
const WORDS: [&str; 28] = [
    "ALL", "AND", "ANY", "AS", "ASC", "BETWEEN", "BY", "DESC", "DISTINCT", "EXISTS", "FALSE",
    "FIRST", "FROM", "IN", "INNER", "IS", "JOIN", "LAST", "LEFT", "LIMIT", "NOT", "NULL", "NULLS",
    "ON", "OR", "ORDER", "OUTER", "TRUE",
];

/// The operators that it may have, under the names by which PostgreSQL finds them.
pub(crate) const OPERATORS: [&str; 6] = ["=", "<>", "<", ">", "<=", ">="];

/// Where a `SELECT` names the tables that it reads, each without its schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainSelect {
    tables: Vec<String>,
    /// Where their names begin in the text.
    at: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    Word(&'a str),
    Number,
    Operator(&'a str),
    Sign(u8),
}

impl PlainSelect {
    /// Reads a text that the query builder wrote: one `SELECT` whose tables are plain names, in
    /// which no function is called but `COUNT(*)`, and that locks nothing.
    ///
    /// `None` for whatever it does not know.
    pub(crate) fn read(sql: &str) -> Option<Self> {
        let mut tokens = Tokens { sql, at: 0 };
        let mut found = Self {
            tables: Vec::new(),
            at: Vec::new(),
        };
        if tokens.next()?? != (0, Token::Word("SELECT")) {
            return None;
        }
        let mut before = Token::Word("SELECT");
        // Whether a table's name is next; and for each parenthesis that is open, whether another table
        // may follow behind a comma.
        let mut expected = false;
        let mut ordered = false;
        let mut from = vec![false];
        while let Some(token) = tokens.next() {
            let (at, token) = token?;
            match token {
                Token::Name(name) if expected => {
                    if !found.tables.iter().any(|table| table == name) {
                        found.tables.push(name.to_owned());
                    }
                    found.at.push(at);
                    expected = false;
                    if tokens.peek() == Some(b'.') {
                        return None;
                    }
                }
                Token::Sign(b'(') if expected => from.push(true),
                _ if expected => return None,
                Token::Word("FROM" | "JOIN") => {
                    expected = true;
                    *from.last_mut()? = true;
                }
                // The first rows of many: PostgreSQL plans that anew each time, and would ask each time.
                Token::Word("LIMIT") if ordered => return None,
                Token::Word(word @ ("WHERE" | "ORDER" | "LIMIT")) => {
                    *from.last_mut()? = false;
                    ordered |= word == "ORDER";
                }
                Token::Word("SELECT") if before == Token::Sign(b'(') => {}
                Token::Word("COUNT") => {
                    let star = [tokens.next()??.1, tokens.next()??.1, tokens.next()??.1];
                    if star != [b'(', b'*', b')'].map(Token::Sign) {
                        return None;
                    }
                }
                Token::Word(word) if is_known(word) => {}
                Token::Operator(operator) if OPERATORS.contains(&found_as(operator)) => {}
                Token::Sign(b',') if !*from.last()? => {}
                // Behind a name, or a word that may be one, it would be a call.
                Token::Sign(b'(') if groups(before) => from.push(false),
                Token::Sign(b')') => drop(from.pop()?),
                Token::Name(_) | Token::Number | Token::Sign(b'.') => {}
                Token::Word(_) | Token::Operator(_) | Token::Sign(_) => return None,
            }
            before = token;
        }
        if from.len() != 1 {
            return None;
        }
        (!expected && !found.tables.is_empty()).then_some(found)
    }

    /// The tables that are read.
    pub(crate) fn tables(&self) -> &[String] {
        &self.tables
    }

    /// The text from which it was read, with a schema in front of each table.
    pub(crate) fn within(&self, sql: &str, schema: &str) -> String {
        let mut text = String::with_capacity(sql.len() + self.at.len() * (schema.len() + 1));
        let mut done = 0;
        for &at in &self.at {
            text.push_str(&sql[done..at]);
            text.push_str(schema);
            text.push('.');
            done = at;
        }
        text.push_str(&sql[done..]);
        text
    }
}

/// Whether a parenthesis behind this holds a part of an expression together, or a list or a subselect.
fn groups(before: Token<'_>) -> bool {
    match before {
        Token::Sign(b'(' | b',') | Token::Operator(_) => true,
        Token::Word(word) => [
            "ALL", "AND", "ANY", "BETWEEN", "EXISTS", "IN", "NOT", "ON", "OR", "SELECT", "WHERE",
        ]
        .contains(&word),
        _ => false,
    }
}

fn is_known(word: &str) -> bool {
    WORDS.binary_search(&word).is_ok()
}

/// Under which name PostgreSQL looks for an operator.
fn found_as(operator: &str) -> &str {
    if operator == "!=" { "<>" } else { operator }
}

/// The parts of a text, each with where it begins; `None` in the place of one that is not known.
struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.sql[self.at..].trim_start_matches(' ');
        self.at = self.sql.len() - rest.len();
        rest.bytes().next()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Option<(usize, Token<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.peek()?;
        let at = self.at;
        let rest = &self.sql[at..];
        let while_all = |is: fn(u8) -> bool| rest.bytes().take_while(|byte| is(*byte)).count();
        let (length, token) = match first {
            b'"' => {
                let Some(end) = rest[1..].find('"').map(|end| end + 2) else {
                    return Some(None);
                };
                // A quote within the name.
                if rest[end..].starts_with('"') {
                    return Some(None);
                }
                (end, Token::Name(&rest[1..end - 1]))
            }
            b'A'..=b'Z' => {
                let length = while_all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                (length, Token::Word(&rest[..length]))
            }
            b'$' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => (
                1 + rest[1..].bytes().take_while(u8::is_ascii_digit).count(),
                Token::Number,
            ),
            b'0'..=b'9' => (while_all(|byte| byte.is_ascii_digit()), Token::Number),
            b'=' | b'<' | b'>' | b'!' => {
                // As long as PostgreSQL reads it.
                let length = while_all(|byte| b"+-*/<>=~!@#%^&|`?".contains(&byte));
                (length, Token::Operator(&rest[..length]))
            }
            b'(' | b')' | b',' | b'.' | b'*' => (1, Token::Sign(first)),
            _ => return Some(None),
        };
        self.at += length;
        Some(Some((at, token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_written_in_front_of_each_table() {
        for (sql, tables, expected) in [
            (
                r#"SELECT "rooms"."name" FROM "rooms" WHERE ("rooms"."id" = $1) LIMIT $2"#,
                vec!["rooms"],
                r#"SELECT "rooms"."name" FROM "a"."rooms" WHERE ("rooms"."id" = $1) LIMIT $2"#,
            ),
            (
                r#"SELECT COUNT(*) FROM "rooms""#,
                vec!["rooms"],
                r#"SELECT COUNT(*) FROM "a"."rooms""#,
            ),
            (
                r#"SELECT "r"."id" FROM ("rooms" AS "r" INNER JOIN "beds" ON ("beds"."room" = "r"."id")) WHERE ("r"."id" = ANY($1)) ORDER BY "r"."id" DESC NULLS LAST"#,
                vec!["rooms", "beds"],
                r#"SELECT "r"."id" FROM ("a"."rooms" AS "r" INNER JOIN "a"."beds" ON ("beds"."room" = "r"."id")) WHERE ("r"."id" = ANY($1)) ORDER BY "r"."id" DESC NULLS LAST"#,
            ),
            (
                r#"SELECT EXISTS (SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."id" != $1))"#,
                vec!["rooms"],
                r#"SELECT EXISTS (SELECT "rooms"."id" FROM "a"."rooms" WHERE ("rooms"."id" != $1))"#,
            ),
            (
                r#"SELECT "b"."id" FROM "b" WHERE ("b"."id" IN (SELECT "c"."id" FROM "c") AND "b"."n" IN ($1, $2))"#,
                vec!["b", "c"],
                r#"SELECT "b"."id" FROM "a"."b" WHERE ("b"."id" IN (SELECT "c"."id" FROM "a"."c") AND "b"."n" IN ($1, $2))"#,
            ),
        ] {
            let read = PlainSelect::read(sql).expect(sql);
            assert_eq!(read.tables(), tables, "{sql}");
            assert_eq!(read.within(sql, "\"a\""), expected);
        }
    }

    #[test]
    fn whatever_is_not_known_is_left_alone() {
        for sql in [
            "",
            "SELECT",
            "SELECT $1",
            r#"SELECT "f"(1) FROM "rooms""#,
            r#"SELECT "f" ("rooms") FROM "rooms""#,
            r#"SELECT count(*) FROM "rooms""#,
            r#"SELECT COUNT("rooms"."id") FROM "rooms""#,
            r#"SELECT LOWER("rooms"."name") FROM "rooms""#,
            r#"SELECT LEFT("rooms"."name", $1) FROM "rooms""#,
            r#"SELECT "rooms"."name" FROM "rooms" WHERE ("rooms"."id" = $$)"#,
            r#"SELECT "rooms"."name" FROM "rooms" ORDER BY "rooms"."id" LIMIT $1"#,
            r#"SELECT "rooms".* FROM "rooms""#,
            r#"SELECT * FROM "rooms""#,
            r#"SELECT "rooms"."id" FROM "rooms" FOR UPDATE"#,
            r#"SELECT "rooms"."id" FROM "rooms" OFFSET $1"#,
            r#"SELECT "rooms"."id" FROM "rooms" GROUP BY "rooms"."id""#,
            r#"SELECT "rooms"."id" FROM "public"."rooms""#,
            r#"SELECT "rooms"."id" FROM "rooms" , "beds""#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."id" IS DISTINCT FROM "rooms"."n")"#,
            r#"SELECT "rooms"."id" FROM "rooms") WHERE ("rooms"."id" = $1"#,
            r#"SELECT "rooms"."id" FROM ("rooms"), "beds""#,
            r#"SELECT "rooms"."id" FROM "ro""oms""#,
            r#"SELECT "rooms"."id" FROM rooms"#,
            r#"SELECT "rooms"."id" FROM (SELECT "b"."id" FROM "b") AS "rooms""#,
            r#"SELECT "rooms"."id" FROM "rooms" UNION SELECT "b"."id" FROM "b""#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."name" LIKE $1)"#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."name" || $1 = $2)"#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."id" =- $1)"#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."name" = 'x')"#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."id" = CAST($1 AS "mine"))"#,
            r#"SELECT "rooms"."id" FROM "rooms" WHERE ("rooms"."name" = $1 COLLATE "mine")"#,
            r#"SELECT "rooms"."id" FROM "rooms" -- x"#,
            r#"SELECT "rooms"."id" FROM "rooms"; SELECT "b"."id" FROM "b""#,
            r#"WITH "x" AS (SELECT "b"."id" FROM "b") SELECT "x"."id" FROM "x""#,
            r#"DELETE FROM "rooms""#,
            "SELECT \"rooms\".\"id\" FROM \"rooms\" WHERE größe",
        ] {
            assert_eq!(PlainSelect::read(sql), None, "{sql}");
        }
    }
}
