//! [`CeleryTask`]: what a struct is called on the Python side; [`Delivery`]: one that arrived.

use std::fmt;
use std::time::Duration;

use crate::error::BoxError;
use crate::jobs::SharedJob;

/// A job that Celery knows as a task. Its fields are the keyword arguments.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tenant_schemas::jobs::celery::CeleryTask;
///
/// // @app.task(name="hotels.add_room")
/// // def add_room(name, stars=3): ...
/// #[derive(Serialize, Deserialize)]
/// struct AddRoom {
///     name: String,
///     #[serde(default = "three")]
///     stars: u8,
/// }
///
/// impl CeleryTask for AddRoom {
///     const NAME: &str = "hotels.add_room";
///     const PARAMETERS: &[&str] = &["name", "stars"];
/// }
/// # fn three() -> u8 { 3 }
/// ```
pub trait CeleryTask {
    /// The task's name, `module.function` unless Python says otherwise.
    const NAME: &'static str;

    /// The names of the parameters in the order of the Python function, for
    /// senders that pass them by position: `add_room.delay("Blue")`.
    /// Defaults to none, and then such a message is refused.
    const PARAMETERS: &'static [&'static str] = &[];
}

/// A task that arrived at a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery<J> {
    /// The task.
    pub job: J,
    /// Its identifier, which it keeps when it is retried or delivered again.
    pub id: String,
    /// How often it was retried.
    pub retries: u32,
}

impl<J> Delivery<J> {
    pub(super) fn new(job: J, id: String, retries: u32) -> Self {
        Self { job, id, retries }
    }
}

impl<J: SharedJob> SharedJob for Delivery<J> {}

/// A handler returns it to say when to try again.
///
/// It counts as a retry: see [`Worker::max_retries`](super::Worker::max_retries).
#[derive(Debug)]
pub struct Retry {
    pub(super) countdown: Duration,
    reason: BoxError,
}

impl Retry {
    /// Tries again after `countdown`, because of `reason`.
    pub fn after(countdown: Duration, reason: impl Into<BoxError>) -> Self {
        Self {
            countdown,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Retry {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}
