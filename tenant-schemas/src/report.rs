//! [`Report`]: work over many schemas, with an outcome for each.

use crate::error::{Error, Result, chain};
use crate::name::SchemaName;

/// What became of each schema of a run, in the order of the run.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// use tenant_schemas::Error;
///
/// let report = tenancy.for_each_tenant(|tenant, conn| match tenant.schema_name.as_str() {
///     "globex" => Err(Error::from(diesel::result::Error::NotFound)),
///     _ => Ok(rooms::table.count().get_result::<i64>(conn)?),
/// })?;
/// assert_eq!(report.succeeded().collect::<Vec<_>>(), [(&acme.schema_name, &0)]);
/// let failed: Vec<_> = report.failed().map(|(schema, _)| schema).collect();
/// assert_eq!(failed, [&globex.schema_name]);
///
/// // All or nothing:
/// let error = report.into_result().unwrap_err();
/// assert!(error.to_string().starts_with("1 of 2 schemas failed, the first is globex"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a report may hold failures: look at `failed()`, or turn it `into_result()`"]
pub struct Report<T> {
    outcomes: Vec<Outcome<T>>,
}

/// What became of one schema.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<T> {
    /// The schema.
    pub schema: SchemaName,
    /// What was done, or why not.
    pub result: Result<T>,
}

impl<T> Outcome<T> {
    pub(crate) fn new(schema: SchemaName, result: Result<T>) -> Self {
        Self { schema, result }
    }
}

impl<T> Report<T> {
    pub(crate) fn new(outcomes: Vec<Outcome<T>>) -> Self {
        Self { outcomes }
    }

    /// Every outcome, in the order of the run.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome<T>] {
        &self.outcomes
    }

    /// Every outcome, for those who keep them.
    #[cfg(feature = "manage")]
    pub(crate) fn into_outcomes(self) -> Vec<Outcome<T>> {
        self.outcomes
    }

    /// How many schemas the run had.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether the run had no schema.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The schemas that went well, and what was done.
    pub fn succeeded(&self) -> impl Iterator<Item = (&SchemaName, &T)> {
        self.outcomes.iter().filter_map(|outcome| {
            let value = outcome.result.as_ref().ok()?;
            Some((&outcome.schema, value))
        })
    }

    /// The schemas that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&SchemaName, &Error)> {
        self.outcomes.iter().filter_map(|outcome| {
            let error = outcome.result.as_ref().err()?;
            Some((&outcome.schema, error))
        })
    }

    /// What became of one schema.
    #[must_use]
    pub fn outcome(&self, schema: &SchemaName) -> Option<&Result<T>> {
        self.outcomes
            .iter()
            .find(|outcome| outcome.schema == *schema)
            .map(|outcome| &outcome.result)
    }

    /// What was done in each schema, for callers that want all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::SomeFailed`] if a schema failed, with their number and the first reason.
    pub fn into_result(self) -> Result<Vec<(SchemaName, T)>> {
        let total = self.outcomes.len();
        let failed = self.failed().count();
        if let Some((schema, error)) = self.failed().next() {
            return Err(Error::SomeFailed {
                failed,
                total,
                schema: schema.clone(),
                reason: chain(error),
            });
        }
        Ok(self
            .outcomes
            .into_iter()
            .filter_map(|outcome| Some((outcome.schema, outcome.result.ok()?)))
            .collect())
    }
}

impl<T> IntoIterator for Report<T> {
    type Item = Outcome<T>;
    type IntoIter = std::vec::IntoIter<Outcome<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.outcomes.into_iter()
    }
}
