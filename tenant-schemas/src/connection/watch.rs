//! [`Watch`]: notices SQL that may have moved the search path behind our back.
//!
//! It sits on the inner connection as Diesel's instrumentation, so that it sees
//! every statement in whatever way it is sent: typed queries, batches, `COPY`,
//! a migration harness, or code that borrows the connection as a `PgConnection`.
//!
//! It reads text. A `SET` in the body of a function that a statement calls has
//! no trace in the statement's text and is not seen.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};

use crate::statement::{self, Control};

/// What the watch noticed; the connection keeps one end, the instrumentation the other.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Some statement may have moved the search path.
    moved: AtomicBool,
    /// Some statement of the user's own may have begun or ended a transaction.
    raw_transaction: AtomicBool,
    /// The next statement is Diesel's transaction manager at work.
    announced: AtomicBool,
    /// The next statements are the connection's own.
    own: AtomicBool,
}

impl Notes {
    /// Whether the path may have moved since the last call.
    pub(super) fn take_moved(&self) -> bool {
        self.moved.swap(false, Relaxed)
    }

    /// Whether a transaction may be open that Diesel does not know of.
    pub(super) fn raw_transaction(&self) -> bool {
        self.raw_transaction.load(Relaxed)
    }

    /// Nobody watched for a while: anything may have been sent.
    pub(super) fn distrust(&self) {
        self.moved.store(true, Relaxed);
        self.raw_transaction.store(true, Relaxed);
    }

    /// Marks the beginning (`true`) and the end (`false`) of the connection's own statements.
    pub(super) fn set_own(&self, own: bool) {
        self.own.store(own, Relaxed);
    }

    fn read(&self, query: &dyn DebugQuery) {
        let announced = self.announced.swap(false, Relaxed);
        if self.own.load(Relaxed) {
            return;
        }
        let mut text = Text {
            notes: self,
            announced,
            started: false,
        };
        // An error means that the reader has seen enough.
        let _ = write!(text, "{query}");
    }
}

/// The instrumentation that takes the notes and passes every event on to the user's own.
pub(super) struct Watch {
    notes: Arc<Notes>,
    user: Option<Box<dyn Instrumentation>>,
}

impl Watch {
    pub(super) fn new(notes: Arc<Notes>, user: Option<Box<dyn Instrumentation>>) -> Self {
        Self { notes, user }
    }
}

impl Instrumentation for Watch {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match &event {
            InstrumentationEvent::StartQuery { query, .. } => self.notes.read(*query),
            InstrumentationEvent::BeginTransaction { .. }
            | InstrumentationEvent::CommitTransaction { .. }
            | InstrumentationEvent::RollbackTransaction { .. } => {
                self.notes.announced.store(true, Relaxed);
            }
            _ => {}
        }
        if let Some(user) = &mut self.user {
            user.on_connection_event(event);
        }
    }
}

/// Reads the text of one query; Diesel writes the SQL first, then the values behind a comment.
struct Text<'a> {
    notes: &'a Notes,
    announced: bool,
    started: bool,
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.started && part.starts_with(" -- binds: ") {
            return Err(fmt::Error);
        }
        self.started = true;
        if statement::may_move_path(part) {
            self.notes.moved.store(true, Relaxed);
        }
        if !self.announced {
            match statement::transaction_control(part) {
                Some(Control::Savepoint) => self.notes.moved.store(true, Relaxed),
                Some(Control::Transaction) => self.notes.distrust(),
                None => {}
            }
        }
        Ok(())
    }
}
