//! Tables that are declared: which, by whom, and where they must exist.

use std::any::TypeId;
use std::fmt;

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder as _, QueryFragment};

use crate::app::AppScope;

/// A table as it is declared with `diesel::table!`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// Reads the name off a table of `diesel::table!`.
    ///
    /// # Panics
    ///
    /// If `table` is no table.
    pub fn of(table: &impl QueryFragment<Pg>) -> Self {
        let text = sql_text(table);
        let mut parts = identifiers(&text);
        let name = parts.pop().expect("a table has a name");
        Self {
            schema: parts.pop(),
            name,
        }
    }

    /// The schema that the declaration names, if it names one.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// A model that was classified with [`shared_app`](crate::shared_app) or
/// [`tenant_app`](crate::tenant_app): its table must exist in the schemas of `scope`.
///
/// ```
/// use diesel::prelude::*;
/// use tenant_schemas::{AppScope, DeclaredTable, tenant_app};
///
/// #[tenant_app]
/// #[derive(Queryable)]
/// #[diesel(table_name = rooms)]
/// struct Room {
///     id: i32,
///     name: String,
/// }
/// # diesel::table! { rooms (id) { id -> Integer, name -> Text, } }
///
/// let rooms = DeclaredTable::all().find(|table| table.model == "Room").unwrap();
/// assert_eq!((rooms.table().name(), rooms.scope), ("rooms", AppScope::Tenant));
/// assert_eq!(rooms.columns(), ["id", "name"]);
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeclaredTable {
    /// The model's name.
    pub model: &'static str,
    /// Where the table must exist.
    pub scope: AppScope,
    /// Where the model stands in the source, as `file:line`.
    pub location: &'static str,
    table: fn() -> TableName,
    columns: fn() -> Vec<String>,
    table_type: fn() -> TypeId,
}

impl DeclaredTable {
    /// Describes a declaration; the attributes call it.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        model: &'static str,
        scope: AppScope,
        location: &'static str,
        table: fn() -> TableName,
        columns: fn() -> Vec<String>,
        table_type: fn() -> TypeId,
    ) -> Self {
        Self {
            model,
            scope,
            location,
            table,
            columns,
            table_type,
        }
    }

    /// Every declaration of the program, in no particular order.
    pub fn all() -> impl Iterator<Item = &'static DeclaredTable> {
        inventory::iter::<DeclaredTable>.into_iter()
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> TableName {
        (self.table)()
    }

    /// The table's columns, in order.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        (self.columns)()
    }

    /// The Rust type of the table, equal for all models of one `table!`.
    pub(crate) fn table_type(&self) -> TypeId {
        (self.table_type)()
    }
}

impl fmt::Debug for DeclaredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeclaredTable")
            .field("model", &self.model)
            .field("scope", &self.scope)
            .field("location", &self.location)
            .field("table", &self.table())
            .finish_non_exhaustive()
    }
}

inventory::collect!(DeclaredTable);

/// The names of columns, read off `all_columns` of a table of `diesel::table!`.
#[doc(hidden)]
pub fn column_names(columns: &impl QueryFragment<Pg>) -> Vec<String> {
    split_list(&sql_text(columns))
        .into_iter()
        .filter_map(|column| identifiers(column).pop())
        .collect()
}

fn sql_text(fragment: &impl QueryFragment<Pg>) -> String {
    let mut text = PgQueryBuilder::new();
    match fragment.to_sql(&mut text, &Pg) {
        Ok(()) => text.finish(),
        Err(_) => String::new(),
    }
}

/// The quoted identifiers in `text`, unquoted.
fn identifiers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '"' {
            continue;
        }
        let mut name = String::new();
        while let Some(c) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.next_if_eq(&'"').is_some() {
                name.push('"');
            } else {
                break;
            }
        }
        found.push(name);
    }
    found
}

/// Splits `text` at commas outside double quotes.
fn split_list(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    diesel::table! {
        rooms (id) {
            id -> Integer,
            #[sql_name = "odd\"na,me"]
            odd -> Text,
        }
    }

    diesel::table! {
        public.clients (id) {
            id -> Integer,
        }
    }

    #[test]
    fn names_are_read_off_the_declaration() {
        assert_eq!(TableName::of(&rooms::table).to_string(), "rooms");
        let clients = TableName::of(&clients::table);
        assert_eq!(
            (clients.schema(), clients.name()),
            (Some("public"), "clients")
        );
        assert_eq!(column_names(&rooms::all_columns), ["id", "odd\"na,me"]);
    }
}
