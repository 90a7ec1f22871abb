//! A migration run under the eyes of the user: progress, and Ctrl-C.

use std::sync::Arc;

use crate::error::Result;
use crate::migrate::{Executor, Migrate, Migrated, Parallel, Sequential};
use crate::model::TenantModel;
use crate::report::Report;
use crate::script::MigrationId;

use super::interrupt;
use super::progress::Progress;
use super::ui::Ui;

/// Runs with progress, and stops between two tenants if interrupted.
pub(super) fn watch<T: TenantModel>(
    migrate: Migrate<'_, T>,
    jobs: usize,
    ui: Ui,
) -> Result<Report<Migrated>> {
    let _mode = interrupt::work();
    let progress = Arc::new(Progress::new(ui, 0));
    let most = migrate.most_jobs();
    let walker = Interruptible {
        jobs: jobs.min(most),
        progress: Arc::clone(&progress),
    };
    let shown = Arc::clone(&progress);
    let report = migrate
        .executor(walker)
        .observer(move |schema, result| match result {
            None => shown.start(schema.as_str()),
            Some(Ok(done)) => {
                shown.finish(schema.as_str(), &summary(done).into());
                for id in &done.changed {
                    shown.warn(&format!(
                        "{schema}: migration {id} was applied with another text than it has now"
                    ));
                }
                for failure in &done.listener_failures {
                    shown.warn(&failure.to_string());
                }
            }
            Some(Err(error)) => shown.fail(schema.as_str(), error),
        })
        .run();
    progress.end();
    report
}

/// Walks the fleet until it is interrupted.
#[derive(Debug)]
struct Interruptible {
    jobs: usize,
    progress: Arc<Progress>,
}

impl Executor for Interruptible {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        self.progress.grow(jobs);
        let job = |number| {
            if !interrupt::pressed() {
                job(number);
            }
        };
        if self.jobs == 1 {
            Sequential.execute(jobs, &job);
        } else {
            Parallel::new(self.jobs).execute(jobs, &job);
        }
    }
}

/// What was done in a schema, in a few words.
fn summary(done: &Migrated) -> Option<String> {
    let part = |verb: &str, ids: &[MigrationId]| match ids {
        [] => None,
        [one] => Some(format!("{verb} {one}")),
        many => Some(format!("{verb} {} migrations", many.len())),
    };
    let parts: Vec<String> = [
        part("reverted", &done.reverted),
        part("applied", &done.applied),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
