//! [`Beliefs`]: what we know of the search path that the server has now.
//!
//! A belief about the session is only ever stored outside transactions:
//! `ROLLBACK` reverts a `SET` that was made inside. Within a transaction the
//! path is set with `SET LOCAL`, and what we know of it is kept per savepoint:
//! `ROLLBACK TO` reverts to what was set when the savepoint was made, `RELEASE`
//! keeps what is set.

use std::sync::Arc;

use crate::path::SearchPath;

/// `None` means that the path is not known and has to be sent.
pub(super) type Belief = Option<Arc<SearchPath>>;

/// Whether a belief is that of `path`. Within a checkout it is the very same one as a rule.
pub(super) fn is_path(belief: &Belief, path: &Arc<SearchPath>) -> bool {
    belief
        .as_ref()
        .is_some_and(|belief| Arc::ptr_eq(belief, path) || belief == path)
}

#[derive(Debug, Default)]
pub(super) struct Beliefs {
    session: Belief,
    /// One per level of transaction: the transaction itself, then its savepoints.
    levels: Vec<Belief>,
}

impl Beliefs {
    /// Whether the server's path is known to be `path`.
    pub(super) fn hold(&self, path: &Arc<SearchPath>) -> bool {
        is_path(self.levels.last().unwrap_or(&self.session), path)
    }

    /// The path was sent: with `SET LOCAL` in a transaction, with `SET` outside.
    pub(super) fn sent(&mut self, path: &Arc<SearchPath>) {
        let belief = self.levels.last_mut().unwrap_or(&mut self.session);
        *belief = Some(Arc::clone(path));
    }

    /// The path may have moved, now and beyond the end of the transaction.
    pub(super) fn forget(&mut self) {
        self.session = None;
        self.levels.fill(None);
    }

    /// The path of this level is about to be another.
    pub(super) fn unknown(&mut self) {
        *self.levels.last_mut().unwrap_or(&mut self.session) = None;
    }

    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// A transaction or a savepoint began.
    pub(super) fn begun(&mut self) {
        let belief = self.levels.last().unwrap_or(&self.session).clone();
        self.levels.push(belief);
    }

    /// The innermost level was committed or released.
    pub(super) fn committed(&mut self) {
        let inner = self.levels.pop().flatten();
        // `SET LOCAL` survives `RELEASE`, and ends with the transaction.
        if let Some(outer) = self.levels.last_mut() {
            *outer = inner;
        }
    }

    /// The innermost level was rolled back.
    pub(super) fn rolled_back(&mut self) {
        self.levels.pop();
    }

    /// The depth turned out to be another than we thought: nothing is known.
    pub(super) fn resync(&mut self, depth: usize) {
        if depth != self.levels.len() {
            self.levels.resize(depth, None);
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(schema: &str) -> Arc<SearchPath> {
        Arc::new(SearchPath::new(schema.parse().expect("valid")))
    }

    #[test]
    fn a_rollback_to_a_savepoint_restores_what_was_known_before_it() {
        let (a, b) = (path("a"), path("b"));
        let mut beliefs = Beliefs::default();
        beliefs.sent(&a);
        beliefs.begun();
        beliefs.begun();
        beliefs.sent(&b);
        assert!(beliefs.hold(&b));
        beliefs.rolled_back();
        assert!(beliefs.hold(&a));
    }

    #[test]
    fn a_released_savepoint_keeps_what_it_set_and_a_commit_does_not() {
        let (a, b) = (path("a"), path("b"));
        let mut beliefs = Beliefs::default();
        beliefs.sent(&a);
        beliefs.begun();
        beliefs.begun();
        beliefs.sent(&b);
        beliefs.committed();
        assert!(beliefs.hold(&b));
        beliefs.committed();
        assert!(beliefs.hold(&a));
    }
}
