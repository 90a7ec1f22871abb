//! Verifying: whether the ledgers say what the table of states says of them.

use crate::connection::TenantConnection;
use crate::ledger::{self, Applied, Known, Read};
use crate::name::SchemaName;
use crate::registry::Registry;

use super::job::Job;

/// Takes back what was believed of schemas whose own ledger says something else.
///
/// The ledgers are read many at a time, without their locks: one that is being
/// written differs from its state for a moment, and is asked again by its job.
pub(super) fn verified(
    conn: &mut TenantConnection,
    registry: &Registry,
    jobs: &[Job],
    known: Vec<Known>,
) -> Vec<Known> {
    let believed: Vec<&SchemaName> = jobs
        .iter()
        .zip(&known)
        .filter(|(_, known)| matches!(known, Known::Current | Known::Applied(_)))
        .map(|(job, _)| &job.schema)
        .collect();
    let read = conn.own(|inner| ledger::read_all(inner, &believed, registry.public()));
    conn.has_read_ledgers(believed.iter().copied());
    // Whose ledger can't be read is for its job to say.
    let mut read = read
        .inspect_err(|error| log::debug!("each schema is asked for its ledger: {error}"))
        .unwrap_or_default();
    jobs.iter()
        .zip(known)
        .map(|(job, known)| match read.remove(job.schema.as_str()) {
            Some(read) if agrees(registry, job, &known, &read) => known,
            _ if known == Known::Missing => known,
            _ => Known::Nothing,
        })
        .collect()
}

/// Whether a schema has what its state says.
fn agrees(registry: &Registry, job: &Job, known: &Known, read: &Read) -> bool {
    let current = in_order(&registry.all_applied(&job.kind));
    let read = in_order(&read.applied);
    match known {
        Known::Current => read == current,
        // A state that has another fingerprint than its own list is wrong.
        Known::Applied(applied) => read != current && read == in_order(applied),
        Known::Missing | Known::Nothing => false,
    }
}

fn in_order(applied: &[Applied]) -> Vec<Applied> {
    let mut applied = applied.to_vec();
    applied.sort_unstable();
    applied
}
