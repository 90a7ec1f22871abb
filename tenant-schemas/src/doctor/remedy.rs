//! The SQL that gives a tenant what the others have.

use crate::sql::doctor::advice;
use crate::sql::identifier;

use super::shape::{Definition, Kind, Object, Shape};

/// Makes a thing as `reference` has it; `None` if that can't be told in SQL.
///
/// Names in definitions are found on the path of the tenant.
pub(super) fn make(schema: &str, object: &Object, reference: &Shape) -> Option<String> {
    let definition = reference.objects.get(object)?;
    let table = advice::table(schema, &object.relation);
    let statements = match object.kind {
        Kind::Enum => vec![advice::create_enum(&table, &definition.text)],
        Kind::View | Kind::MaterializedView => {
            vec![advice::create_view(
                object.kind.word(),
                &table,
                &definition.text,
            )]
        }
        Kind::Table => make_table(schema, object, definition, reference)?,
        _ => make_part(schema, &table, object, definition),
    };
    Some(statements.join("; "))
}

fn make_table(
    schema: &str,
    object: &Object,
    definition: &Definition,
    reference: &Shape,
) -> Option<Vec<String>> {
    if !definition.text.is_empty() {
        // Partitioned or foreign: what it needs is not all in its definition.
        return None;
    }
    let table = advice::table(schema, &object.relation);
    let columns = reference.in_order(&object.relation, Kind::Column);
    let lines: Vec<String> = columns
        .iter()
        .map(|(column, definition)| format!("{} {}", identifier(&column.name), definition.whole()))
        .collect();
    let mut before = Vec::new();
    let mut after = Vec::new();
    for (column, definition) in columns {
        if let Some(sequence) = serial(&definition.fallback) {
            let sequence = advice::table(schema, sequence);
            before.push(advice::create_sequence(&sequence));
            after.push(advice::own_sequence(&sequence, &table, &column.name));
        }
    }
    before.push(advice::create_table(&table, &lines));
    before.extend(after);
    for kind in [Kind::Constraint, Kind::Index, Kind::Trigger] {
        for (part, definition) in reference.in_order(&object.relation, kind) {
            before.extend(make_part(schema, &table, part, definition));
        }
    }
    Some(before)
}

fn make_part(schema: &str, table: &str, part: &Object, definition: &Definition) -> Vec<String> {
    match part.kind {
        Kind::Column => {
            let sequence = serial(&definition.fallback).map(|name| advice::table(schema, name));
            let column = format!("{} {}", identifier(&part.name), definition.whole());
            let mut statements: Vec<String> = sequence
                .iter()
                .map(|name| advice::create_sequence(name))
                .collect();
            statements.push(advice::add_column(table, &column));
            statements.extend(
                sequence
                    .iter()
                    .map(|name| advice::own_sequence(name, table, &part.name)),
            );
            statements
        }
        Kind::Constraint => vec![advice::add_constraint(table, &part.name, &definition.text)],
        _ => vec![definition.text.clone()],
    }
}

/// The sequence of a serial column, if its name needs no quotes.
fn serial(fallback: &str) -> Option<&str> {
    let name = fallback
        .strip_prefix("DEFAULT nextval('")?
        .strip_suffix("'::regclass)")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(plain).then_some(name)
}

/// Makes a thing as `wanted`, in one statement if it is taken away first: it stays as it is if rows are
/// in the way. `None` if data could be lost, or it can't be told in SQL.
pub(super) fn change(
    schema: &str,
    object: &Object,
    own: &Definition,
    wanted: &Definition,
) -> Option<String> {
    let table = advice::table(schema, &object.relation);
    Some(match object.kind {
        Kind::Column if own.text == wanted.text => {
            change_column(&table, object, own, wanted)?.join("; ")
        }
        Kind::Constraint => advice::replace_constraint(&table, &object.name, &wanted.text),
        Kind::Index | Kind::Trigger => {
            advice::together(&[remove(schema, object), wanted.text.clone()])
        }
        Kind::View | Kind::MaterializedView => advice::together(&[
            remove(schema, object),
            advice::create_view(object.kind.word(), &table, &wanted.text),
        ]),
        _ => return None,
    })
}

fn change_column(
    table: &str,
    column: &Object,
    own: &Definition,
    wanted: &Definition,
) -> Option<Vec<String>> {
    let mut changes = Vec::new();
    if own.fallback != wanted.fallback {
        let is_default = |text: &str| text.is_empty() || text.starts_with("DEFAULT ");
        if !is_default(&own.fallback) || !is_default(&wanted.fallback) {
            return None;
        }
        changes.push(if wanted.fallback.is_empty() {
            "DROP DEFAULT".to_owned()
        } else {
            format!("SET {}", wanted.fallback)
        });
    }
    if own.required != wanted.required {
        let verb = if wanted.required { "SET" } else { "DROP" };
        changes.push(format!("{verb} NOT NULL"));
    }
    Some(
        changes
            .iter()
            .map(|change| advice::alter_column(table, &column.name, change))
            .collect(),
    )
}

/// Changes a column's type, at the risk of losing what does not fit.
pub(super) fn change_type(schema: &str, column: &Object, wanted: &Definition) -> String {
    let table = advice::table(schema, &column.relation);
    let change = advice::change_type(&column.name, &wanted.text);
    advice::alter_column(&table, &column.name, &change)
}

/// Removes a thing, and what is in it.
pub(super) fn remove(schema: &str, object: &Object) -> String {
    let table = advice::table(schema, &object.relation);
    match object.kind {
        Kind::Enum => advice::drop("type", &table),
        Kind::Table | Kind::View | Kind::MaterializedView => {
            advice::drop(object.kind.word(), &table)
        }
        Kind::Column => advice::drop_column(&table, &object.name),
        Kind::Constraint => advice::drop_constraint(&table, &object.name),
        Kind::Index => advice::drop("index", &advice::table(schema, &object.name)),
        Kind::Trigger => advice::drop_trigger(&object.name, &table),
    }
}
