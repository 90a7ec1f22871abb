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
    /// The paths that the session had when somebody began or ended a transaction by hand, outside of ours:
    /// a rollback may bring each of them back.
    marks: Vec<Belief>,
}

impl Beliefs {
    /// Whether the server's path is known to be `path`.
    pub(super) fn hold(&self, path: &Arc<SearchPath>) -> bool {
        is_path(self.levels.last().unwrap_or(&self.session), path)
    }

    /// Whether the server's path is `path`, and stays it whatever is committed or rolled back.
    pub(super) fn hold_throughout(&self, path: &Arc<SearchPath>) -> bool {
        let known = [&self.session].into_iter();
        let mut known = known.chain(&self.levels).chain(&self.marks);
        known.all(|belief| is_path(belief, path))
    }

    /// Somebody made a savepoint by hand, released one, or went back to one.
    pub(super) fn pass_savepoint(&mut self) {
        let path = self.levels.last().unwrap_or(&self.session).clone();
        if !path.is_some_and(|path| self.hold_throughout(&path)) {
            self.forget();
        }
    }

    /// Somebody began or ended a transaction by hand.
    pub(super) fn mark(&mut self) {
        let path = self.session.clone();
        if self.levels.is_empty() && !self.marks.contains(&path) {
            self.marks.push(path);
        }
    }

    /// No transaction is open.
    pub(super) fn unmark(&mut self) {
        self.marks.clear();
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

    #[test]
    fn what_another_path_may_come_back_from_does_not_hold_throughout() {
        let (a, b) = (path("a"), path("b"));
        let mut beliefs = Beliefs::default();
        beliefs.sent(&a);
        assert!(beliefs.hold_throughout(&a));
        beliefs.begun();
        beliefs.pass_savepoint();
        assert!(beliefs.hold_throughout(&a));
        beliefs.sent(&b);
        assert!(beliefs.hold(&b) && !beliefs.hold_throughout(&b));
        beliefs.pass_savepoint();
        assert!(!beliefs.hold(&b));
        beliefs.rolled_back();
        beliefs.sent(&a);
        beliefs.mark();
        assert!(beliefs.hold_throughout(&a));
        beliefs.sent(&b);
        assert!(!beliefs.hold_throughout(&b));
        beliefs.unmark();
        assert!(beliefs.hold_throughout(&b));
    }
}
