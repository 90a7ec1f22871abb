//! What becomes of a task, for those who ask in Python.

use std::time::Duration;

use serde_json::{Value, json};

use crate::jobs::JobError;

use super::Retry;
use super::message::Message;
use super::producer::from_now;

/// No retry is further away, unless a handler says so.
const LONGEST: Duration = Duration::from_mins(15);

/// How often and how soon tasks are tried again.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub(super) max_retries: u32,
    pub(super) countdown: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            max_retries: 3,
            countdown: Duration::from_secs(10),
        }
    }
}

/// What becomes of a task.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Value),
    Failed(JobError),
    Again(JobError, Duration),
    /// Nothing is wrong with the task: it stays as it is.
    NotBegun(JobError, Duration),
    NotRegistered,
    Expired,
    /// Too many workers did not live to see its end.
    Lost,
}

impl Patience {
    /// Whether a task that failed is tried again, after so many retries.
    pub(super) fn judge(&self, result: Result<Value, JobError>, retries: u32) -> Outcome {
        match result {
            Ok(value) => Outcome::Done(value),
            Err(error) if error.is_for_want_of_a_database() => {
                let countdown = self.countdown(&error, 0);
                Outcome::NotBegun(error, countdown)
            }
            Err(error) if error.can_retry() && retries < self.max_retries => {
                let countdown = self.countdown(&error, retries);
                Outcome::Again(error, countdown)
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn countdown(&self, error: &JobError, retries: u32) -> Duration {
        if let JobError::Failed { source, .. } = error
            && let Some(retry) = source.downcast_ref::<Retry>()
        {
            return retry.countdown;
        }
        let doubled = self.countdown.saturating_mul(2_u32.saturating_pow(retries));
        doubled.min(LONGEST.max(self.countdown))
    }
}

impl Outcome {
    pub(super) fn refused(reason: String) -> Self {
        Self::Failed(JobError::Refused { reason })
    }

    pub(super) fn log(&self, id: &str, task: &str) {
        match self {
            Self::Done(_) => log::debug!("task {id} ({task}) is done"),
            Self::Failed(error) => log::error!("task {id} ({task}) failed: {}", chain(error)),
            Self::Again(error, countdown) => log::warn!(
                "task {id} ({task}) is tried again in {countdown:?}: {}",
                chain(error)
            ),
            Self::NotBegun(error, countdown) => log::error!(
                "task {id} ({task}) is put off for {countdown:?}: {}",
                chain(error)
            ),
            Self::NotRegistered => log::error!(
                "task {id} ({task}) failed: this worker has no handler for it, route it to another queue"
            ),
            Self::Expired => log::warn!("task {id} ({task}) has expired"),
            Self::Lost => log::error!(
                "task {id} ({task}) failed: it was lost time and again, since its worker was killed, perhaps by it, \
                 or could not reach Redis"
            ),
        }
    }

    /// The message that takes the place of one that is tried again.
    pub(super) fn again(&self, message: &Message) -> Option<Message> {
        match self {
            Self::Again(_, countdown) => Some(message.again(from_now(*countdown))),
            _ => None,
        }
    }

    /// What is kept of it in the result backend.
    pub(super) fn result(&self, message: &Message) -> Value {
        match self {
            Self::Done(value) => message.outcome("SUCCESS", value),
            Self::Failed(error) => message.outcome("FAILURE", &exception(error)),
            Self::Again(error, _) | Self::NotBegun(error, _) => {
                message.outcome("RETRY", &exception(error))
            }
            Self::NotRegistered => {
                let task = message.names().1;
                message.outcome("FAILURE", &of_celery("NotRegistered", task))
            }
            Self::Expired => message.outcome("REVOKED", &of_celery("TaskRevokedError", "expired")),
            Self::Lost => message.outcome(
                "FAILURE",
                &json!({
                    "exc_type": "WorkerLostError",
                    "exc_message": ["its worker was killed, perhaps by it, or could not reach Redis"],
                    "exc_module": "billiard.exceptions",
                }),
            ),
        }
    }
}

/// An error as Python reads it: an exception of this name.
fn exception(error: &JobError) -> Value {
    json!({
        "exc_type": error.name(),
        "exc_message": [chain(error)],
        "exc_module": "tenant_schemas.jobs",
    })
}

fn of_celery(name: &str, message: &str) -> Value {
    json!({"exc_type": name, "exc_message": [message], "exc_module": "celery.exceptions"})
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::GiveUp;
    use crate::name::SchemaName;

    fn failed(source: impl Into<crate::error::BoxError>) -> Result<Value, JobError> {
        Err(JobError::Failed {
            schema: SchemaName::public(),
            source: source.into(),
        })
    }

    fn countdown(result: Result<Value, JobError>, retries: u32) -> Option<u64> {
        match Patience::default().judge(result, retries) {
            Outcome::Again(_, countdown) => Some(countdown.as_secs()),
            _ => None,
        }
    }

    #[test]
    fn a_task_is_tried_again_later_and_later() {
        let countdowns: Vec<_> = (0..4)
            .map(|retries| countdown(failed("no"), retries))
            .collect();
        assert_eq!(countdowns, [Some(10), Some(20), Some(40), None]);
        let patient = Patience {
            max_retries: u32::MAX,
            ..Patience::default()
        };
        let far = patient.judge(failed("no"), 4_000_000);
        assert!(matches!(far, Outcome::Again(_, LONGEST)), "{far:?}");
    }

    #[test]
    fn a_handler_says_when_or_that_it_is_no_use() {
        assert_eq!(
            countdown(failed(Retry::after(Duration::from_secs(77), "no")), 2),
            Some(77)
        );
        assert_eq!(
            countdown(failed(Retry::after(Duration::from_secs(77), "no")), 3),
            None
        );
        assert_eq!(countdown(failed(GiveUp::new("no")), 0), None);
    }
}
