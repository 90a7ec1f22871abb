//! [`SearchPath`]: how PostgreSQL gets from an unqualified name to a schema.

use std::fmt;

use crate::name::SchemaName;

/// The schemas in which PostgreSQL looks for an unqualified name, in order.
///
/// The first is where a scope lives; then the shared schema, if it is included;
/// then schemas that hold extensions and the like.
///
/// ```
/// use tenant_schemas::{SchemaName, SearchPath};
///
/// let path = SearchPath::new("tenant1".parse()?).shared(SchemaName::public());
/// assert_eq!(path.to_string(), "\"tenant1\", \"public\"");
/// # Ok::<(), tenant_schemas::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SearchPath {
    schemas: Vec<SchemaName>,
}

impl SearchPath {
    /// A path of `schema` alone.
    #[must_use]
    pub fn new(schema: SchemaName) -> Self {
        Self {
            schemas: vec![schema],
        }
    }

    /// Adds the shared schema behind the ones that are there.
    #[must_use]
    pub fn shared(self, shared: SchemaName) -> Self {
        self.extra([shared])
    }

    /// Adds schemas behind the ones that are there; one that is there already is not added again.
    #[must_use]
    pub fn extra(mut self, schemas: impl IntoIterator<Item = SchemaName>) -> Self {
        for schema in schemas {
            if !self.schemas.contains(&schema) {
                self.schemas.push(schema);
            }
        }
        self
    }

    /// The schema in which the scope lives: new tables are created there.
    ///
    /// # Panics
    ///
    /// Never: a path has at least one schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.schemas[0]
    }

    /// All schemas, in order.
    #[must_use]
    pub fn schemas(&self) -> &[SchemaName] {
        &self.schemas
    }
}

/// The path as it is written behind `SET search_path TO`.
impl fmt::Display for SearchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, schema) in self.schemas.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            schema.write_quoted(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_stands_once() {
        let path = SearchPath::new(SchemaName::public())
            .shared(SchemaName::public())
            .extra(["ext".parse().expect("valid"), SchemaName::public()]);
        assert_eq!(path.to_string(), "\"public\", \"ext\"");
    }
}
