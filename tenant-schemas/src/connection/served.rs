//! [`Served`]: whom a session has served, and how much of the server's memory that took.

use std::collections::{HashMap, HashSet};

use crate::name::SchemaName;

/// How many tables are as much for a session to remember as a tenant that it served: 0.4 MB.
const TABLES: usize = 20;

/// Whom a session has served since it was opened.
#[derive(Default)]
pub(super) struct Served {
    tenants: HashSet<SchemaName>,
    /// How many tables were opened where it only migrated, and in all of these.
    migrated: HashMap<SchemaName, usize>,
    tables: usize,
    /// Whose ledger was read, besides.
    read: HashSet<SchemaName>,
}

impl Served {
    /// A tenant came, and may have used all that it has; says whether it never did before.
    pub(super) fn visit(&mut self, schema: &SchemaName) -> bool {
        !self.tenants.contains(schema) && self.tenants.insert(schema.clone())
    }

    /// A schema was migrated, for which about so many tables were opened.
    pub(super) fn migrate(&mut self, schema: &SchemaName, tables: usize) {
        if !self.knows(schema) {
            let opened = self.migrated.entry(schema.clone()).or_default();
            let more = tables.min(TABLES - *opened);
            *opened += more;
            self.tables += more;
        }
    }

    /// The ledger of a schema was read: a table.
    pub(super) fn read(&mut self, schema: &SchemaName) {
        if !self.read.contains(schema) {
            self.read.insert(schema.clone());
        }
    }

    /// Whether a tenant came before.
    pub(super) fn knows(&self, schema: &SchemaName) -> bool {
        self.tenants.contains(schema)
    }

    /// Whether anything was done in a schema before.
    pub(super) fn saw(&self, schema: &SchemaName) -> bool {
        self.knows(schema) || self.migrated.contains_key(schema)
    }

    /// How many tenants came.
    pub(super) fn count(&self) -> usize {
        self.tenants.len()
    }

    /// As how many tenants the session counts, if it is to be closed in time.
    pub(super) fn load(&self) -> usize {
        self.tenants.len() + (self.tables + self.read.len()) / TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_count_as_the_tables_that_they_are() {
        let name = |number: usize| -> SchemaName { format!("t{number}").parse().expect("valid") };
        let mut served = Served::default();
        for number in (0..40).chain(0..40) {
            served.read(&name(number));
        }
        assert_eq!((served.count(), served.load()), (0, 2));
        assert!(!served.saw(&name(0)));
    }

    #[test]
    fn migrating_counts_by_the_tables_and_never_more_than_a_visit() {
        let name = |number: usize| -> SchemaName { format!("t{number}").parse().expect("valid") };
        let mut served = Served::default();
        for number in 0..10 {
            served.migrate(&name(number), 1);
            served.migrate(&name(number), 1);
        }
        assert_eq!((served.count(), served.load()), (0, 1));
        served.migrate(&name(9), 1_000);
        assert_eq!(served.load(), 1);
        served.migrate(&name(8), 2);
        assert_eq!(served.load(), 2);
        served.migrate(&name(10), 1_000);
        assert_eq!(served.load(), 3);
        served.visit(&name(0));
        served.migrate(&name(0), 1_000);
        assert_eq!((served.count(), served.load()), (1, 4));
        assert!(served.knows(&name(0)) && !served.knows(&name(1)));
        assert!(served.saw(&name(1)) && !served.saw(&name(11)));
    }
}
