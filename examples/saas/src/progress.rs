//! [`Progress`]: how far something is, for a page that polls it.

use serde::Serialize;

/// How far something is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Progress {
    /// Whether it goes on.
    pub(crate) state: State,
    /// How many steps there are.
    pub(crate) total: usize,
    /// How many are done.
    pub(crate) done: usize,
    /// What was done or will be, in order, as far as it is known.
    pub(crate) steps: Vec<Step>,
    /// What went wrong, in words for whoever watches.
    pub(crate) problems: Vec<String>,
}

/// Whether something goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It has not begun.
    #[default]
    Idle,
    /// It goes on.
    Working,
    /// It is done.
    Ready,
    /// It is over, and not all of it is done.
    Failed,
}

/// A step on the way.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// What it does.
    pub(crate) name: String,
    /// Whether it is done.
    pub(crate) done: bool,
}

/// `create rooms` out of `2024-04-02-000000_create_rooms`.
#[must_use]
pub(crate) fn in_words(migration: &str) -> String {
    let name = migration
        .split_once('_')
        .map_or(migration, |(_, name)| name);
    name.replace('_', " ")
}
