//! [`CeleryError`]: what goes wrong between this program and Redis.

/// Why a task was not sent, or a worker could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeleryError {
    /// Redis could not be reached, or refused something.
    #[error("Redis at {address}: {action} failed")]
    #[non_exhaustive]
    Redis {
        /// Which Redis, without its password.
        address: String,
        /// What was tried.
        action: &'static str,
        /// What Redis says.
        source: redis::RedisError,
    },

    /// The URL is not one of Redis.
    #[error("the URL of the broker is none of Redis: write `redis://host:6379/0`")]
    #[non_exhaustive]
    Url {
        /// What is wrong with it.
        source: redis::RedisError,
    },

    /// A task can't be written as keyword arguments.
    #[error(
        "task {task} can't be written as keyword arguments: make it a struct with named fields"
    )]
    #[non_exhaustive]
    NotKeywords {
        /// The task's name.
        task: &'static str,
        /// What `serde` says, if it is that.
        source: Option<serde_json::Error>,
    },

    /// A worker was given two handlers for one task.
    #[error("task {task} has two handlers in this worker: leave one")]
    #[non_exhaustive]
    TwoHandlers {
        /// The task's name.
        task: &'static str,
    },
}
