//! [`Token`]: SQL text in words, names, literals and signs.

use std::ops::Range;

use crate::name::SchemaName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Quoted,
    Literal,
    Sign,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

impl Token {
    /// The name that an identifier stands for.
    pub(crate) fn name(&self, text: &str) -> Option<String> {
        let text = &text[self.range.clone()];
        match self.kind {
            Kind::Word => Some(text.to_ascii_lowercase()),
            Kind::Quoted => Some(text.trim_matches('"').replace("\"\"", "\"")),
            Kind::Literal | Kind::Sign => None,
        }
    }

    pub(crate) fn is(&self, text: &str, schema: &SchemaName) -> bool {
        self.name(text).is_some_and(|name| *schema == *name)
    }
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

/// The tokens of SQL text, without white space and comments.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, block_comment(rest))
        } else if first == '"' {
            (Some(Kind::Quoted), quoted(rest, '"', false))
        } else if first == '\'' {
            let escapes = tokens.last().is_some_and(|last: &Token| {
                last.range.end == at && text[last.range.clone()].eq_ignore_ascii_case("e")
            });
            (Some(Kind::Literal), quoted(rest, '\'', escapes))
        } else if let Some(length) = dollar_quoted(rest) {
            (Some(Kind::Literal), length)
        } else if is_word(first) {
            // A dollar may stand in an identifier, behind its first character.
            let length = rest
                .find(|character| !is_word(character) && character != '$')
                .unwrap_or(rest.len());
            (Some(Kind::Word), length)
        } else {
            (Some(Kind::Sign), first.len_utf8())
        };
        if let Some(kind) = kind {
            tokens.push(Token {
                kind,
                range: at..at + length,
            });
        }
        at += length;
    }
    tokens
}

/// How long the block comment is with which a text begins; they nest.
fn block_comment(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// How long the literal or identifier is with which a text begins.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_none_or(|(_, next)| *next != quote) {
                return at + quote.len_utf8();
            }
            characters.next();
        }
    }
    text.len()
}

/// How long the dollar-quoted literal is with which a text begins, if it does.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text.strip_prefix('$')?.find('$')? + 1;
    let tag = &text[..=tag_end];
    let inner = &tag[1..tag_end];
    if !inner.chars().all(is_word) || inner.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let end = text[tag.len()..].find(tag);
    Some(end.map_or(text.len(), |end| end + 2 * tag.len()))
}
