//! [`Board`]: how far each opening is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tenant_schemas::auth::AuthError;
use tenant_schemas::{Event, SchemaName};

use crate::error::with_causes;
use crate::progress::{Progress, State, Step, in_words};

/// How long the page of an opening can be looked at.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The last step, which is no migration.
const OWNER: &str = "hand the keys to the owner";

/// How far each opening is, by its ticket.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<HashMap<String, Entry>>);

/// How far an opening is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) schema: SchemaName,
    pub(super) progress: Progress,
    since: Instant,
}

impl Board {
    /// Notes what the tenancy says of a hotel that is being opened.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        let mut entries = self.lock();
        let working = |entry: &&mut Entry| {
            entry.schema == *event.schema() && entry.progress.state == State::Working
        };
        let Some(entry) = entries.values_mut().find(working) else {
            return; // a migration run of the console, or a hotel of the demonstration
        };
        let progress = &mut entry.progress;
        match event {
            Event::PreMigrate { pending, .. } => {
                let names = pending.iter().map(|id| in_words(&id.name));
                let names = names.chain([OWNER.to_owned()]);
                progress.steps = names.map(|name| Step { name, done: false }).collect();
                progress.total = progress.steps.len();
            }
            Event::MigrationApplied { .. } => step(progress),
            _ => {}
        }
    }

    pub(super) fn begin(&self, ticket: &str, schema: &SchemaName) {
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.since.elapsed() < KEPT);
        let progress = Progress {
            state: State::Working,
            ..Progress::default()
        };
        let entry = Entry {
            schema: schema.clone(),
            progress,
            since: Instant::now(),
        };
        entries.insert(ticket.to_owned(), entry);
    }

    pub(super) fn finish(&self, ticket: &str, result: Result<(), AuthError>) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(ticket) else {
            return;
        };
        match result {
            Ok(()) => {
                step(&mut entry.progress);
                entry.progress.state = State::Ready;
            }
            Err(error) => {
                log::error!("{} was not opened: {}", entry.schema, with_causes(&error));
                entry.progress.state = State::Failed;
                entry.progress.problems =
                    vec!["We could not open your hotel, and left nothing behind.".to_owned()];
            }
        }
    }

    pub(super) fn look(&self, ticket: &str) -> Option<Entry> {
        self.lock().get(ticket).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the next step as done.
fn step(progress: &mut Progress) {
    if let Some(step) = progress.steps.get_mut(progress.done) {
        step.done = true;
        progress.done += 1;
    }
}
