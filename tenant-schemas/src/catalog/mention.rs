//! Where a statement says the schema's name, so that another can stand there.
//!
//! PostgreSQL writes names of the schema without it as long as the schema is
//! the path. What is left: the heads of some statements, the path that a
//! function sets, and whatever people wrote into function bodies.

use std::collections::HashSet;
use std::ops::Range;

use crate::name::SchemaName;
use crate::sql;
use crate::token::{Kind, Token, is_word, tokens};

/// Stands for the schema's name in the texts that our own queries make.
const PLACE: char = '\u{1}';

/// A statement that makes a part of a schema, whatever the schema is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// As it is for the schema that it was read from, without a semicolon at the end.
    pub(crate) text: String,
    /// What it makes, in words.
    pub(crate) name: String,
    /// Where in the text the schema's name stands, as an identifier or as a literal; in order.
    pub(crate) mentions: Vec<Range<usize>>,
    /// The roles that it needs to exist.
    pub(crate) roles: Vec<String>,
}

impl Statement {
    /// A statement in which nothing or only [`PLACE`] names the schema.
    pub(super) fn placed(name: String, text: &str, schema: &SchemaName) -> Self {
        let mut statement = Self {
            name,
            ..Self::default()
        };
        let mut parts = text.split(PLACE);
        statement.text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let start = statement.text.len();
            statement.text.push_str(&schema.quoted());
            statement.mentions.push(start..statement.text.len());
            statement.text.push_str(part);
        }
        statement
    }

    /// A statement whose head may name the schema once, as PostgreSQL writes it: `ON acme.rooms`.
    pub(super) fn headed(name: String, text: String, schema: &SchemaName) -> Self {
        let mentions = head_mention(&text, schema).into_iter().collect();
        Self {
            text,
            name,
            mentions,
            roles: Vec::new(),
        }
    }

    /// The statement for a schema of this name.
    pub(crate) fn within(&self, schema: &SchemaName) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for mention in &self.mentions {
            text.push_str(&self.text[from..mention.start]);
            text.push_str(&if self.text[mention.clone()].starts_with('\'') {
                sql::literal(schema.as_str())
            } else {
                schema.quoted()
            });
            from = mention.end;
        }
        text.push_str(&self.text[from..]);
        text
    }
}

/// The first name in a text that has the schema before it.
fn head_mention(text: &str, schema: &SchemaName) -> Option<Range<usize>> {
    let tokens = tokens(text);
    qualified(text, &tokens, schema)
        .next()
        .map(|(at, _)| tokens[at].range.clone())
}

/// A function, with what its body says looked through.
///
/// Returns what a person should look at besides.
pub(super) fn function(
    name: String,
    text: String,
    body: &str,
    schema: &SchemaName,
    names: &HashSet<String>,
) -> (Statement, Vec<String>) {
    let within = body_of(&text, body);
    let head = &text[..within.start];
    let tokens_of_head = tokens(head);
    let mut mentions: Vec<Range<usize>> = head_mention(head, schema).into_iter().collect();
    mentions.extend(path_mentions(head, &tokens_of_head, schema));
    let source = &text[within.clone()];
    let mut remarks = Vec::from_iter(
        in_a_string(&name, head, schema, &mentions)
            .or_else(|| in_a_string(&name, source, schema, &[])),
    );
    let tokens = tokens(source);
    let found: Vec<(usize, String)> = qualified(source, &tokens, schema).collect();
    let bare = tokens.iter().enumerate().any(|(at, token)| {
        token.is(source, schema)
            && !next_is(source, &tokens, at, ".")
            && !previous_is(source, &tokens, at, ".")
    });
    for (at, object) in found {
        if !bare && names.contains(&object) {
            let range = &tokens[at].range;
            mentions.push(within.start + range.start..within.start + range.end);
        } else {
            remarks.push(format!(
                "{name} says {schema}.{object}, which may be the schema or something else of that name, \
                 and was left as it is: look at its body"
            ));
        }
    }
    let statement = Statement {
        text,
        name,
        mentions,
        roles: Vec::new(),
    };
    (statement, remarks)
}

/// What a person should look at in a text that has the schema's name in a string, unless that is where `known` says.
pub(super) fn in_a_string(
    name: &str,
    text: &str,
    schema: &SchemaName,
    known: &[Range<usize>],
) -> Option<String> {
    let is_said = text.contains(schema.as_str())
        && tokens(text).iter().any(|token| {
            token.kind == Kind::Literal
                && !known.contains(&token.range)
                && says(&text[token.range.clone()], schema)
        });
    is_said.then(|| {
        format!(
            "{name} says the name of schema {schema} in a string, which was left as it is: look at its definition"
        )
    })
}

/// Where in a function's definition its body is; at the end if it has none that is text.
fn body_of(text: &str, body: &str) -> Range<usize> {
    let end = text.trim_end().len();
    let none = text.len()..text.len();
    let Some(inner) = text[..end].strip_suffix('$') else {
        return none;
    };
    let Some(tag) = inner.rfind('$') else {
        return none;
    };
    let Some(start) = tag.checked_sub(body.len()) else {
        return none;
    };
    if text.get(start..tag) == Some(body) && text[..start].ends_with(&text[tag..end]) {
        start..tag
    } else {
        none
    }
}

/// The schema among the literals behind `SET search_path TO`.
fn path_mentions<'a>(
    text: &'a str,
    tokens: &'a [Token],
    schema: &'a SchemaName,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let literal = sql::literal(schema.as_str());
    let begin = tokens
        .windows(3)
        .position(|words| {
            ["SET", "search_path", "TO"]
                .iter()
                .zip(words)
                .all(|(word, token)| {
                    token.kind == Kind::Word && &text[token.range.clone()] == *word
                })
        })
        .map_or(tokens.len(), |at| at + 3);
    tokens[begin..]
        .iter()
        .take_while(|token| token.kind == Kind::Literal || &text[token.range.clone()] == ",")
        .filter(move |token| text[token.range.clone()] == literal)
        .map(|token| token.range.clone())
}

/// Whether a literal has the schema's name followed by a dot, or nothing else in it.
fn says(literal: &str, schema: &SchemaName) -> bool {
    let name = schema.as_str();
    literal.match_indices(name).any(|(at, _)| {
        let before = literal[..at].chars().next_back();
        let after = literal[at + name.len()..]
            .trim_start_matches('"')
            .chars()
            .next();
        !before.is_some_and(is_word) && matches!(after, Some('.' | '\''))
    })
}

/// The positions of the schema's name where a dot and another name follow, and that name.
fn qualified<'a>(
    text: &'a str,
    tokens: &'a [Token],
    schema: &'a SchemaName,
) -> impl Iterator<Item = (usize, String)> + 'a {
    tokens.iter().enumerate().filter_map(move |(at, token)| {
        let object = tokens.get(at + 2)?;
        (token.is(text, schema)
            && next_is(text, tokens, at, ".")
            && !previous_is(text, tokens, at, "."))
        .then(|| object.name(text))?
        .map(|name| (at, name))
    })
}

fn next_is(text: &str, tokens: &[Token], at: usize, sign: &str) -> bool {
    tokens
        .get(at + 1)
        .is_some_and(|token| &text[token.range.clone()] == sign)
}

fn previous_is(text: &str, tokens: &[Token], at: usize, sign: &str) -> bool {
    at.checked_sub(1)
        .and_then(|before| tokens.get(before))
        .is_some_and(|token| &text[token.range.clone()] == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> SchemaName {
        "acme".parse().expect("valid")
    }

    fn other() -> SchemaName {
        "globex".parse().expect("valid")
    }

    #[track_caller]
    fn body(body: &str, expected: &str, remarks: usize) {
        let text = format!(
            "CREATE OR REPLACE FUNCTION acme.f()\n RETURNS void\n LANGUAGE plpgsql\nAS $function${body}$function$\n"
        );
        let names = ["rooms", "f"].map(str::to_owned).into();
        let (statement, found) = function("function f()".to_owned(), text, body, &acme(), &names);
        let text = statement.within(&other());
        assert!(
            text.starts_with("CREATE OR REPLACE FUNCTION \"globex\".f()"),
            "{text}"
        );
        assert!(
            text.contains(&format!("$function${expected}$function$")),
            "{text}"
        );
        assert_eq!(found.len(), remarks, "{found:?}");
    }

    #[test]
    fn a_body_that_names_the_schema_gets_the_new_name() {
        body("DELETE FROM acme.rooms", "DELETE FROM \"globex\".rooms", 0);
        body(
            "DELETE FROM \"acme\" . rooms",
            "DELETE FROM \"globex\" . rooms",
            0,
        );
        body("x acme.rooms.id%TYPE", "x \"globex\".rooms.id%TYPE", 0);
        body("PERFORM ACME.F()", "PERFORM \"globex\".F()", 0);
    }

    #[test]
    fn a_body_in_which_the_name_is_something_else_is_left_alone() {
        body("-- acme.rooms\nSELECT 1", "-- acme.rooms\nSELECT 1", 0);
        body(
            "SELECT acme.name FROM rooms acme",
            "SELECT acme.name FROM rooms acme",
            1,
        );
        body(
            "SELECT acme.rooms FROM rooms acme",
            "SELECT acme.rooms FROM rooms acme",
            1,
        );
        body("SELECT x.acme.rooms", "SELECT x.acme.rooms", 0);
        body(
            "EXECUTE 'DELETE FROM acme.rooms'",
            "EXECUTE 'DELETE FROM acme.rooms'",
            1,
        );
        body(
            "PERFORM set_config('search_path', 'acme', true)",
            "PERFORM set_config('search_path', 'acme', true)",
            1,
        );
        body("RAISE 'acmeplus.x'", "RAISE 'acmeplus.x'", 0);
    }

    #[test]
    fn the_path_that_a_function_sets_gets_the_new_name() {
        let text = "CREATE OR REPLACE FUNCTION acme.f(x text DEFAULT 'acme'::text)\n RETURNS void\n LANGUAGE sql\n \
            SET search_path TO 'acme', 'public'\nAS $function$ SELECT 'acme' $function$\n";
        let (statement, _) = function(
            String::new(),
            text.to_owned(),
            " SELECT 'acme' ",
            &acme(),
            &HashSet::new(),
        );
        assert_eq!(
            statement.within(&other()),
            "CREATE OR REPLACE FUNCTION \"globex\".f(x text DEFAULT 'acme'::text)\n RETURNS void\n LANGUAGE sql\n \
             SET search_path TO 'globex', 'public'\nAS $function$ SELECT 'acme' $function$\n"
        );
    }

    #[test]
    fn only_the_head_of_other_statements_is_changed() {
        let text = "CREATE TRIGGER \"on acme.t\" AFTER INSERT ON acme.acme FOR EACH ROW \
            WHEN ((new.name = 'acme.x'::text)) EXECUTE FUNCTION f()";
        let statement = Statement::headed(String::new(), text.to_owned(), &acme());
        assert_eq!(
            statement.within(&other()),
            text.replace("ON acme.acme", "ON \"globex\".acme")
        );
    }
}
