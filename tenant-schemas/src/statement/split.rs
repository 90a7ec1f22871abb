//! Where the statements of a text begin and end, and their first words.

use super::is;

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
pub(super) struct Statements<'a> {
    sql: &'a str,
    at: usize,
    /// How many words of each.
    pub(super) limit: usize,
    /// The text ended in the middle of a literal, a comment or a body.
    pub(super) open: bool,
}

/// As many words as it takes to tell `SET LOCAL SESSION AUTHORIZATION` from other settings.
const WORDS: usize = 4;

impl<'a> Statements<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
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

    /// Moves behind a word, or a number. A dollar may stand in an identifier, behind its first character.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let is_number = rest.first().is_some_and(u8::is_ascii_digit);
        let belongs = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || *byte == b'_'
                || *byte >= 0x80
                || *byte == b'$' && !is_number
        };
        let length = rest
            .iter()
            .position(|byte| !belongs(byte))
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
    use super::split;

    #[test]
    fn a_text_is_split_at_the_semicolons_between_statements() {
        let sql = "-- one\nCREATE INDEX a ON t (x);\n\nSELECT ';' ; -- done\n";
        let parts = split(sql);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[0].text, "-- one\nCREATE INDEX a ON t (x);");
        assert_eq!((parts[1].text, parts[1].start), ("SELECT ';' ;", 33));
    }

    #[test]
    fn dollars_in_an_identifier_quote_nothing() {
        let parts = split("INSERT INTO v$log$x VALUES (1); SET ROLE reporting");
        assert_eq!(parts.len(), 2, "{parts:?}");
        let parts = split("SELECT 1$log$;$log$; SELECT $a$;$a$, _$a$; SELECT 1");
        assert_eq!(parts.len(), 3, "{parts:?}");
    }
}
