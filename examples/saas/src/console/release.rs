//! [`Release`]: the hotels are migrated while the operator watches.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenant_schemas::{Error, Event, SchemaName, Tenancy};

use crate::error::{PageError, with_causes};
use crate::models::Hotel;
use crate::progress::{Progress, State, Step, in_words};

/// So many hotels are migrated at the same time.
const JOBS: usize = 2;

/// How far the run is that goes on, or the last one was.
#[derive(Debug, Default)]
pub(crate) struct Release(Mutex<Run>);

#[derive(Debug, Default)]
struct Run {
    progress: Progress,
    /// The hotels that lacked something when it began.
    schemas: HashSet<SchemaName>,
}

impl Release {
    /// Notes what the tenancy says of hotels while a run goes on.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        let Event::MigrationApplied { migration, .. } = event else {
            return;
        };
        let mut run = self.lock();
        // Hotels that are opened meanwhile are not part of it.
        if run.progress.state == State::Working && run.schemas.contains(event.schema()) {
            let name = format!("{}: {}", event.schema(), in_words(&migration.name));
            run.progress.steps.push(Step { name, done: true });
            run.progress.done += 1;
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Migrates all hotels on a thread of its own, unless that goes on already.
    pub(super) fn roll_out(self: &Arc<Self>, tenancy: &Tenancy<Hotel>) -> Result<(), PageError> {
        {
            let mut run = self.lock();
            if run.progress.state == State::Working {
                return Ok(());
            }
            *run = Run::default();
            run.progress.state = State::Working;
        }
        let (release, tenancy) = (Arc::clone(self), tenancy.clone());
        let started = std::thread::Builder::new()
            .name("release".to_owned())
            .spawn(move || {
                let result = release.run(&tenancy);
                release.finish(result);
            });
        started.map(drop).map_err(|error| {
            self.lock().progress.state = State::Failed;
            PageError::Failed(error.into())
        })
    }

    /// One hotel that fails neither stops nor hides the others.
    fn run(&self, tenancy: &Tenancy<Hotel>) -> tenant_schemas::Result<Vec<String>> {
        let status = tenancy.status()?;
        {
            let mut run = self.lock();
            let behind = || status.tenants.iter().filter(|tenant| tenant.exists);
            run.progress.total = behind().map(|tenant| tenant.pending.len()).sum();
            run.schemas = behind().map(|tenant| tenant.schema.clone()).collect();
        }
        let report = tenancy.migrate().tenants().jobs(JOBS).run()?;
        let failed = report.failed();
        // One without a schema is being opened, with everything that this release has.
        let failed = failed.filter(|(_, error)| !matches!(error, Error::NoSuchSchema { .. }));
        Ok(failed
            .map(|(schema, error)| format!("{schema}: {}", with_causes(error)))
            .collect())
    }

    fn finish(&self, result: tenant_schemas::Result<Vec<String>>) {
        let progress = &mut self.lock().progress;
        progress.problems = result.unwrap_or_else(|error| vec![with_causes(&error)]);
        progress.state = if progress.problems.is_empty() {
            // Another program may have done a part of it.
            progress.done = progress.total;
            State::Ready
        } else {
            State::Failed
        };
    }

    fn lock(&self) -> MutexGuard<'_, Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
