//! The name of a tenant's directory, wherever tenants have directories.

use std::fmt::Write as _;

use crate::name::SchemaName;

impl SchemaName {
    /// The name of the tenant's directory: on disk, in a store of objects, among templates.
    ///
    /// That is the schema's name as it is, but for what not all file systems
    /// tell apart: everything except `a-z`, `0-9`, `_` and `-` is written as `=`
    /// and two hexadecimal digits for each byte. So no two tenants share a
    /// directory where case is ignored or letters are normalized, and the name
    /// is never `..`, hidden, or longer than 189 bytes.
    ///
    /// ```
    /// use tenant_schemas::{SchemaName, SchemaNamePolicy};
    ///
    /// let quoted = |name| SchemaName::with_policy(name, SchemaNamePolicy::Quoted);
    /// assert_eq!(quoted("acme-2024")?.directory_name(), "acme-2024");
    /// assert_eq!(quoted("Acme")?.directory_name(), "=41cme");
    /// # Ok::<(), tenant_schemas::NameError>(())
    /// ```
    #[must_use]
    pub fn directory_name(&self) -> String {
        let mut directory = String::with_capacity(self.as_str().len());
        for byte in self.as_str().bytes() {
            if matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') {
                directory.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(directory, "={byte:02x}");
            }
        }
        directory
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::name::{SchemaName, SchemaNamePolicy};

    #[test]
    fn c112_no_two_schemas_share_a_directory_where_case_and_accents_are_ignored() {
        // The last two are one letter to a file system that normalizes.
        let names = [
            "acme", "Acme", "ACME", "=41cme", "größe", "grösse", "\u{c5}", "\u{212b}",
        ];
        let schemas: Vec<SchemaName> = names
            .iter()
            .filter_map(|name| SchemaName::with_policy(name, SchemaNamePolicy::Quoted).ok())
            .collect();
        assert_eq!(schemas.len(), 7, "`=` is in no name");
        let directories: HashSet<String> = schemas
            .iter()
            .map(|schema| schema.directory_name().to_ascii_uppercase())
            .collect();
        assert_eq!(directories.len(), schemas.len());
        assert!(directories.iter().all(|directory| directory.is_ascii()));
    }

    #[test]
    fn c112_a_directory_is_one_part_of_a_path() {
        for character in '\0'..=char::MAX {
            let name = character.to_string();
            if let Ok(schema) = SchemaName::with_policy(&name, SchemaNamePolicy::Quoted) {
                let directory = schema.directory_name();
                let plain = directory
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'='));
                assert!(plain && !directory.is_empty(), "{directory:?}");
            }
        }
    }
}
