//! [`Tenancy::doctor`]: what is wrong with a fleet, and what to do about it.
//!
//! `facts` reads everything, in a number of statements that does not depend on
//! the fleet; each other module looks at the facts and needs no connection.

mod declared;
mod drift;
mod facts;
mod remedy;
mod schemas;
mod server;
mod shape;
mod unfinished;

use std::collections::HashMap;
use std::fmt;

use crate::error::Result;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::tenancy::Tenancy;

use self::facts::Facts;

/// What a doctor's visit found.
#[derive(Debug, Clone, Default)]
#[must_use = "a diagnosis may hold findings"]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of thing that is wrong.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// The schema that has it; `None` if it is the whole fleet's, or the server's.
    pub schema: Option<SchemaName>,
    /// The table, index, setting or migration that it is about.
    pub subject: String,
    /// What is wrong, in words that do not name the schema: equal for schemas
    /// in which the same is wrong.
    pub message: String,
    /// The way out.
    pub advice: String,
    /// SQL that is the way out, if SQL can be and nothing is lost by it: to be
    /// run in the scope of `schema`, or of the public schema, outside a transaction.
    pub sql: Option<String>,
}

/// Findings that are the same in several schemas.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FindingGroup<'a> {
    /// The first of them, in the order of the schemas' names.
    pub first: &'a Finding,
    /// All of them.
    pub findings: Vec<&'a Finding>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Something will go wrong, or is not as it was meant.
    Warning,
    /// Something is wrong now.
    Error,
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kind of thing that a finding says is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// Every check, in the order in which findings are listed.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// A name for programs, which stays the same.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

checks! {
    /// The tenants can't be read.
    Tenants = "tenants",
    /// A tenant has no schema.
    MissingSchema = "missing_schema",
    /// A schema was made for a tenant, and there is no such tenant; or its dropping was interrupted.
    OrphanSchema = "orphan_schema",
    /// The table of states has a line for a schema that is gone.
    StaleState = "stale_state",
    /// The table of states says something else than a schema's own ledger.
    StateMismatch = "state_mismatch",
    /// A schema lacks migrations.
    PendingMigration = "pending_migration",
    /// A migration was applied with another text than it has now.
    ChangedMigration = "changed_migration",
    /// A schema has a migration that this program does not know.
    UnknownMigration = "unknown_migration",
    /// A tenant's table differs from those of the other tenants.
    Drift = "drift",
    /// A table that a model declares does not exist where it has to.
    MissingTable = "missing_table",
    /// A column that `table!` declares does not exist.
    MissingColumn = "missing_column",
    /// A column exists that `table!` does not declare.
    UndeclaredColumn = "undeclared_column",
    /// A model declares a table that does not exist anywhere.
    UnusedDeclaration = "unused_declaration",
    /// Two schemas of one search path have tables of the same name.
    ShadowedTable = "shadowed_table",
    /// The database does not keep tenants or domains apart.
    MissingUniqueIndex = "missing_unique_index",
    /// An index was left behind that PostgreSQL does not use.
    InvalidIndex = "invalid_index",
    /// A constraint was never checked for the rows that were there before it.
    UnvalidatedConstraint = "unvalidated_constraint",
    /// The server has too few lock slots for the fleet.
    LockSlots = "lock_slots",
    /// The pool may open more connections than the server accepts.
    Connections = "connections",
    /// The server's memory is small beside its catalog.
    SharedBuffers = "shared_buffers",
    /// The server does not clean up behind itself.
    Autovacuum = "autovacuum",
    /// There are very many relations.
    Relations = "relations",
    /// A system catalog is mostly dead rows.
    CatalogBloat = "catalog_bloat",
    /// Nothing ends a session that waits, or keeps others waiting.
    Timeouts = "timeouts",
    /// The role or the database has a search path of its own.
    SearchPathSetting = "search_path_setting",
    /// The server's messages are not in English, by which some failures are told from others.
    MessageLanguage = "message_language",
    /// This version of PostgreSQL gets no more fixes.
    EndOfLife = "end_of_life",
}

impl Diagnosis {
    fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.check);
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.subject, &a.schema).cmp(&(&b.subject, &b.schema)))
        });
        Self { findings }
    }

    /// Everything that was found: the worst first, then by check, subject and schema.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings, with those together that are the same in several schemas:
    /// a few lines, however many tenants there are.
    #[must_use]
    pub fn groups(&self) -> Vec<FindingGroup<'_>> {
        let mut groups: Vec<FindingGroup<'_>> = Vec::new();
        let mut known = HashMap::new();
        for finding in &self.findings {
            let is_schema = |schema: &SchemaName| schema.as_str() == finding.subject;
            // What is said of a schema itself is the same for all of them.
            let subject =
                (!finding.schema.as_ref().is_some_and(is_schema)).then_some(&finding.subject);
            let key = (finding.check, finding.severity, subject, &finding.message);
            let at = *known.entry(key).or_insert_with(|| {
                groups.push(FindingGroup {
                    first: finding,
                    findings: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].findings.push(finding);
        }
        groups
    }

    /// How bad the worst finding is; `None` if there is none.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Whether no finding is worse than [`Severity::Info`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.worst().is_none_or(|worst| worst == Severity::Info)
    }
}

impl Finding {
    fn new(check: Check, severity: Severity, subject: impl Into<String>) -> Self {
        Self {
            check,
            severity,
            schema: None,
            subject: subject.into(),
            message: String::new(),
            advice: String::new(),
            sql: None,
        }
    }

    fn in_schema(self, schema: &SchemaName) -> Self {
        Self {
            schema: Some(schema.clone()),
            ..self
        }
    }

    fn message(self, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..self
        }
    }

    fn advice(self, advice: impl Into<String>) -> Self {
        Self {
            advice: advice.into(),
            ..self
        }
    }

    /// SQL that ends the finding; `advice` has to lead up to it.
    fn sql(self, sql: impl Into<String>) -> Self {
        Self {
            sql: Some(sql.into()),
            ..self
        }
    }
}

impl<T: TenantModel> Tenancy<T> {
    /// Looks for what is wrong with the fleet, and says what to do about it. Changes nothing.
    ///
    /// It takes a constant number of statements, and one more for every 50
    /// schemas, whose ledgers it reads. All but those see the database at one instant,
    /// so that it can run while tenants come and go.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// use tenant_schemas::Check;
    ///
    /// tenancy.drop_schema_cascade(&acme.schema_name)?;
    ///
    /// let diagnosis = tenancy.doctor()?;
    /// for group in diagnosis.groups() {
    ///     println!("{}: {} ({} times)", group.first.message, group.first.advice, group.findings.len());
    /// }
    /// let missing = diagnosis.findings().iter().find(|finding| finding.check == Check::MissingSchema);
    /// assert_eq!(missing.unwrap().schema, Some(acme.schema_name));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pool`](crate::Error::Pool) if no connection can be had, or what
    /// the database says. What is wrong with the fleet is in the diagnosis.
    pub fn doctor(&self) -> Result<Diagnosis> {
        let facts = Facts::read(self)?;
        let registry = self.registry();
        let mut findings = Vec::new();
        schemas::check(&facts, registry, &mut findings);
        let mut lacking = drift::check(&facts, &mut findings);
        declared::check(&facts, registry, &mut lacking, &mut findings);
        findings.extend(lacking.into_findings());
        unfinished::check(&facts, registry, &mut findings);
        server::check(&facts, self.pool().max_size(), &mut findings);
        Ok(Diagnosis::new(findings))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] ", self.severity, self.check)?;
        if let Some(schema) = &self.schema {
            write!(f, "{schema}: ")?;
        }
        write!(f, "{}; {}", self.message, self.advice)?;
        match &self.sql {
            Some(sql) => write!(f, ": {sql}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
