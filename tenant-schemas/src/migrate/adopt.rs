//! Coming aboard: what Diesel's own harness has recorded in `__diesel_schema_migrations`.

use crate::error::{Error, Result};
use crate::ledger::Applied;
use crate::registry::Registry;
use crate::script::Script;

use super::job::Job;

/// A version that Diesel has recorded, and whose it may be: `(version, candidates)`.
type Claim<'a> = (String, Vec<&'a Script>);

/// What Diesel has recorded, for the apps of the job, that no ledger explains: an older program that runs
/// Diesel's own harness may have added to it after the first taking over.
pub(super) fn claims<'a>(
    registry: &'a Registry,
    job: &Job,
    versions: &[String],
    applied: &[Applied],
) -> Vec<Claim<'a>> {
    let apps: Vec<_> = registry
        .apps_of(&job.kind)
        .filter(|app| {
            let only = job.selection.app.as_ref();
            only.is_none_or(|only| only == app.app.label())
        })
        .collect();
    versions
        .iter()
        .filter(|version| !applied.iter().any(|own| own.version == **version))
        .map(|version| {
            let candidates = apps
                .iter()
                .flat_map(|app| &app.scripts)
                .filter(|script| script.id.version == *version)
                .collect();
            (version.clone(), candidates)
        })
        .filter(|(_, candidates): &Claim<'_>| !candidates.is_empty())
        .collect()
}

/// The one migration that each claim is about.
pub(super) fn settle<'a>(job: &Job, claims: Vec<Claim<'a>>) -> Result<Vec<&'a Script>> {
    claims
        .into_iter()
        .map(|(version, candidates)| match candidates.as_slice() {
            [one] => Ok(*one),
            several => Err(Error::AmbiguousVersion {
                schema: job.schema.clone(),
                version,
                apps: several.iter().map(|script| script.id.app.clone()).collect(),
            }),
        })
        .collect()
}
