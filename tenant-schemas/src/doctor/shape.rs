//! [`Shape`]: the tables, columns, indexes and the like of a schema, without its name.

use std::collections::{BTreeMap, HashMap};

use crate::name::SchemaName;
use crate::sql;

/// What a schema has. Tenants that have the same share one.
#[derive(Debug, Default, Clone)]
pub(super) struct Shape {
    pub(super) objects: BTreeMap<Object, Definition>,
    /// Where things stand among others of their kind and table, which makes no difference.
    positions: HashMap<Object, i16>,
}

/// Names a thing in a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Object {
    /// The table, or the type.
    pub(super) relation: String,
    pub(super) kind: Kind,
    /// The column, index, constraint or trigger; empty for a table.
    pub(super) name: String,
}

/// What a thing is, in the order in which things are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Enum,
    Table,
    View,
    MaterializedView,
    Column,
    Constraint,
    Index,
    Trigger,
}

/// How a thing is defined, in words that fit every schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Definition {
    /// A column's type, a constraint's text, the statement that makes an index.
    pub(super) text: String,
    pub(super) required: bool,
    /// A column's default, identity or generation.
    pub(super) fallback: String,
}

impl Shape {
    pub(super) fn add(&mut self, row: sql::doctor::ObjectRow) {
        let Some(kind) = Kind::parse(&row.kind) else {
            return;
        };
        let object = Object {
            relation: row.relation,
            kind,
            name: row.name,
        };
        self.positions.insert(object.clone(), row.position);
        self.objects.insert(
            object,
            Definition {
                text: row.definition,
                required: row.required,
                fallback: row.fallback,
            },
        );
    }

    /// Whether there is a table, a view or the like of this name.
    pub(super) fn has_relation(&self, name: &str) -> bool {
        self.relation(name).is_some()
    }

    /// Whether the thing of this name is a view.
    pub(super) fn is_view(&self, name: &str) -> bool {
        self.relation(name)
            .is_some_and(|object| object.kind != Kind::Table)
    }

    fn relation(&self, name: &str) -> Option<&Object> {
        self.of(name)
            .map(|(object, _)| object)
            .find(|object| object.kind.is_relation())
    }

    /// The tables and views.
    pub(super) fn relations(&self) -> impl Iterator<Item = &str> {
        self.objects
            .keys()
            .filter(|object| object.kind.is_relation())
            .map(|object| object.relation.as_str())
    }

    /// The columns of a table.
    pub(super) fn columns(&self, relation: &str) -> impl Iterator<Item = &str> {
        self.of(relation)
            .filter(|(object, _)| object.kind == Kind::Column)
            .map(|(object, _)| object.name.as_str())
    }

    /// What of a kind belongs to a table, in the order in which it is made.
    pub(super) fn in_order(&self, relation: &str, kind: Kind) -> Vec<(&Object, &Definition)> {
        let mut found: Vec<_> = self
            .of(relation)
            .filter(|(object, _)| object.kind == kind)
            .collect();
        found.sort_by_key(|(object, _)| self.positions.get(object).copied().unwrap_or(0));
        found
    }

    /// A table and all that belongs to it.
    fn of(&self, relation: &str) -> impl Iterator<Item = (&Object, &Definition)> {
        let first = Object {
            relation: relation.to_owned(),
            kind: Kind::Enum,
            name: String::new(),
        };
        let relation = relation.to_owned();
        self.objects
            .range(first..)
            .take_while(move |(object, _)| object.relation == relation)
    }
}

impl Object {
    /// The thing with its kind, as in `column rooms.price`.
    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.kind.word(), self.subject())
    }

    /// The thing, as in `rooms.price`.
    pub(super) fn subject(&self) -> String {
        if self.name.is_empty() {
            self.relation.clone()
        } else {
            format!("{}.{}", self.relation, self.name)
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "enum" => Self::Enum,
            "table" => Self::Table,
            "view" => Self::View,
            "materialized view" => Self::MaterializedView,
            "column" => Self::Column,
            "constraint" => Self::Constraint,
            "index" => Self::Index,
            "trigger" => Self::Trigger,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Enum => "enum",
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Column => "column",
            Self::Constraint => "constraint",
            Self::Index => "index",
            Self::Trigger => "trigger",
        }
    }

    pub(super) fn is_relation(self) -> bool {
        matches!(self, Self::Table | Self::View | Self::MaterializedView)
    }
}

impl Definition {
    /// A column's definition as it stands in `CREATE TABLE`; anything else's text.
    pub(super) fn whole(&self) -> String {
        let mut whole = self.text.clone();
        if !self.fallback.is_empty() {
            whole.push(' ');
            whole.push_str(&self.fallback);
        }
        if self.required {
            whole.push_str(" NOT NULL");
        }
        whole
    }
    /// Whether this is `other`, from which too much was taken away with the name of `schema`:
    /// in tenant `rooms`, column `rooms.id` of a view reads like a table of its own.
    pub(super) fn is_like(&self, other: &Self, schema: &SchemaName) -> bool {
        self.required == other.required
            && self.text == without(&other.text, schema)
            && self.fallback == without(&other.fallback, schema)
    }
}

/// `text` without the schema's name in front of others.
fn without(text: &str, schema: &SchemaName) -> String {
    let mut left = text.to_owned();
    for prefix in [format!("{schema}."), format!("{}.", schema.quoted())] {
        let mut parts = left.split(prefix.as_str());
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            if kept.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '"')) {
                kept.push_str(&prefix);
            }
            kept.push_str(part);
        }
        left = kept;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_only_taken_away_where_it_is_a_whole_one() {
        let me: SchemaName = "me".parse().expect("a name");
        for (text, left) in [
            (
                "SELECT me.id, acme.id FROM me",
                "SELECT id, acme.id FROM me",
            ),
            ("me.a(me.b)", "a(b)"),
            ("\"me\".a", "a"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without(text, &me), left);
        }
    }
}
