//! [`Watch`]: notices SQL that may have changed the session behind our back.
//!
//! It sits on the inner connection as Diesel's instrumentation, so that it sees
//! every statement in whatever way it is sent: typed queries, batches, `COPY`,
//! a migration harness, or code that borrows the connection as a `PgConnection`.
//!
//! It reads text. A `SET` in the body of a function has no trace in the text of the statement that calls it: of
//! a function that is not known it is supposed that it has one, but not that it is one of the path. What a trigger or
//! a view calls is not seen at all.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::scope::Policy;
use crate::statement::{Control, Effects};

/// What the watch noticed; the connection keeps one end, the instrumentation the other.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Some statement may have moved the search path.
    moved: AtomicBool,
    /// Some statement of the user's own may have made a savepoint, or gone back to one.
    savepoint: AtomicBool,
    /// Some statement of the user's own may have begun or ended a transaction, since the last look.
    controlled: AtomicBool,
    /// Some statement may have taken another role, for the transaction at least.
    role: AtomicBool,
    /// Some statement may have dropped prepared statements.
    unprepared: AtomicBool,
    /// Some statement may have prepared another.
    prepared: AtomicBool,
    /// Some statement may have changed settings or the role of the session.
    settings: AtomicBool,
    /// Some statement of the user's own may have dropped a schema, or given it another name.
    schemas: AtomicBool,
    /// A statement began and was not heard of since.
    running: AtomicBool,
    /// Some statement may have left a cursor open.
    left_open: AtomicBool,
    /// Some statement failed, and the connection with it perhaps.
    failed: AtomicBool,
    /// Some statement of the user's own may have begun or ended a transaction.
    raw_transaction: AtomicBool,
    /// The next statement is Diesel's transaction manager at work.
    announced: AtomicBool,
    /// The next statement was read before, and does nothing.
    harmless: AtomicBool,
    /// The next statements are the connection's own.
    own: AtomicBool,
    /// How many statements of the user's own have begun or ended a transaction.
    controls: AtomicU64,
    /// Something that others have to look at anew was changed in a transaction, which somebody may end by
    /// hand.
    unsettled: AtomicBool,
    /// Whose connections look again if a schema was moved.
    policy: OnceLock<Arc<Policy>>,
}

impl Notes {
    /// Whether the path may have moved since the last call.
    pub(super) fn take_moved(&self) -> bool {
        take(&self.moved)
    }

    /// Whether somebody's own savepoint was made, released or gone back to since the last call.
    pub(super) fn take_savepoint(&self) -> bool {
        take(&self.savepoint)
    }

    /// Whether somebody's own transaction may have begun or ended since the last call.
    pub(super) fn take_controlled(&self) -> bool {
        take(&self.controlled)
    }

    /// Whether the role may be another since the last call.
    pub(super) fn take_role(&self) -> bool {
        take(&self.role)
    }

    /// Whether prepared statements may be gone since the last call.
    pub(super) fn take_unprepared(&self) -> bool {
        take(&self.unprepared)
    }

    /// Whether statements may have been prepared by hand since the last call.
    pub(super) fn take_prepared(&self) -> bool {
        take(&self.prepared)
    }

    /// Whether schemas may be gone, or have other names, since the last call.
    pub(super) fn take_schemas(&self) -> bool {
        take(&self.schemas)
    }

    /// Whether a statement failed since the last call, or did not come to its end.
    pub(super) fn take_failed(&self) -> bool {
        take(&self.failed) | take(&self.running)
    }

    /// Whether settings of the session may be others than at its beginning.
    pub(super) fn settings(&self) -> bool {
        self.settings.load(Relaxed)
    }

    /// The settings of the session are those of its beginning.
    pub(super) fn settings_were_reset(&self) {
        self.settings.store(false, Relaxed);
    }

    /// Whether a cursor may be open.
    pub(super) fn left_open(&self) -> bool {
        self.left_open.load(Relaxed)
    }

    /// All cursors were closed.
    pub(super) fn were_closed(&self) {
        self.left_open.store(false, Relaxed);
    }

    /// How many statements of the user's own were seen to begin or end a transaction.
    pub(super) fn controls(&self) -> u64 {
        self.controls.load(Relaxed)
    }

    /// Whether a transaction may be open that Diesel does not know of.
    pub(super) fn raw_transaction(&self) -> bool {
        self.raw_transaction.load(Relaxed)
    }

    /// The connection is one of a pool.
    pub(super) fn join(&self, policy: Arc<Policy>) {
        let _ = self.policy.set(policy);
    }

    /// Others have to look again behind every transaction that ends by hand.
    pub(super) fn unsettle(&self) {
        self.unsettled.store(true, Relaxed);
    }

    /// Has all connections look again, as soon as a statement has moved a schema, or committed that: the
    /// next look at these notes may be long after.
    fn tell_of_schemas(&self) {
        let ended = self.unsettled.load(Relaxed) && self.controlled.load(Relaxed);
        if (ended || self.schemas.load(Relaxed))
            && let Some(policy) = self.policy.get()
        {
            policy.bump_generation();
        }
    }

    /// Nobody watched for a while: anything may have been sent.
    pub(super) fn distrust(&self) {
        self.moved.store(true, Relaxed);
        self.unprepared.store(true, Relaxed);
        self.settings.store(true, Relaxed);
        self.left_open.store(true, Relaxed);
        self.role.store(true, Relaxed);
        self.controlled.store(true, Relaxed);
        self.raw_transaction.store(true, Relaxed);
    }

    /// Marks the beginning (`true`) and the end of the connection's own
    /// statements, and returns the mark that was there.
    pub(super) fn set_own(&self, own: bool) -> bool {
        self.own.swap(own, Relaxed)
    }

    /// Whether the next statement was read before, and does nothing. Behind it, nothing is known again.
    pub(super) fn set_harmless(&self, harmless: bool) {
        self.harmless.store(harmless, Relaxed);
    }

    fn announce(&self) {
        self.announced.store(true, Relaxed);
        // Someone who borrowed the connection: a rollback of theirs may revert
        // a path that we set, at a depth that looks unchanged afterwards.
        if !self.own.load(Relaxed) {
            self.moved.store(true, Relaxed);
        }
    }

    fn read(&self, query: &dyn DebugQuery) {
        let announced = take(&self.announced);
        let harmless = take(&self.harmless);
        if harmless || self.own.load(Relaxed) {
            return;
        }
        let mut text = Text {
            notes: self,
            announced,
            started: false,
        };
        // An error means that the reader has seen enough, or that there is nothing to read.
        let _ = write!(text, "{query}");
        if !text.started {
            self.distrust();
        }
    }

    pub(super) fn note(&self, effects: Effects, announced: bool) {
        if effects.moves_path {
            self.moved.store(true, Relaxed);
        }
        if effects.drops_prepared {
            self.unprepared.store(true, Relaxed);
        }
        if effects.prepares {
            self.prepared.store(true, Relaxed);
        }
        // A function's body may have a `SET`, which no text shows.
        if effects.changes_settings || effects.calls {
            self.settings.store(true, Relaxed);
        }
        if effects.changes_role {
            self.role.store(true, Relaxed);
        }
        if effects.moves_schema {
            self.schemas.store(true, Relaxed);
        }
        if effects.leaves_open {
            self.left_open.store(true, Relaxed);
        }
        match effects.control {
            Some(Control::Transaction) if !announced => {
                self.controls.fetch_add(1, Relaxed);
                self.distrust();
            }
            Some(Control::Savepoint) if !announced => self.savepoint.store(true, Relaxed),
            _ => {}
        }
    }
}

/// Without a write as a rule: the flags are looked at before every statement.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Relaxed) && flag.swap(false, Relaxed)
}

/// The instrumentation that takes the notes and passes every event on to the user's own.
pub(super) struct Watch {
    notes: Arc<Notes>,
    user: Option<Box<dyn Instrumentation>>,
}

impl Watch {
    pub(super) fn new(notes: &Arc<Notes>, user: Option<Box<dyn Instrumentation>>) -> Self {
        Self {
            notes: Arc::clone(notes),
            user,
        }
    }

    /// Whether `instrumentation` is a watch that writes into `notes`.
    pub(super) fn is_kept(instrumentation: &dyn Instrumentation, notes: &Arc<Notes>) -> bool {
        instrumentation
            .downcast_ref::<Self>()
            .is_some_and(|watch| Arc::ptr_eq(&watch.notes, notes))
    }
}

/// The user's part of a watch, or the watch if they have none.
pub(super) fn user_of(instrumentation: &mut dyn Instrumentation) -> &mut dyn Instrumentation {
    let has_user = instrumentation
        .downcast_ref::<Watch>()
        .is_some_and(|watch| watch.user.is_some());
    if !has_user {
        return instrumentation;
    }
    instrumentation
        .downcast_mut::<Watch>()
        .and_then(|watch| watch.user.as_deref_mut())
        .expect("there is one, as was seen above")
}

impl Instrumentation for Watch {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match &event {
            InstrumentationEvent::StartQuery { query, .. } => {
                self.notes.running.store(true, Relaxed);
                self.notes.read(*query);
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                self.notes.running.store(false, Relaxed);
                self.notes.tell_of_schemas();
                if let Some(error) = error {
                    self.notes.failed.store(true, Relaxed);
                    if may_be_outdated(error) {
                        self.notes.unprepared.store(true, Relaxed);
                    }
                }
            }
            InstrumentationEvent::BeginTransaction { .. }
            | InstrumentationEvent::CommitTransaction { .. }
            | InstrumentationEvent::RollbackTransaction { .. } => self.notes.announce(),
            _ => {}
        }
        if let Some(user) = &mut self.user {
            user.on_connection_event(event);
        }
    }
}

/// Whether a statement may have failed because it was prepared before someone else changed a
/// column, or made a type anew. The next time, it is prepared anew.
///
/// The message would tell, but in the server's language, and Diesel does not pass
/// the code on. What Diesel knows the kind of is something else.
fn may_be_outdated(error: &DieselError) -> bool {
    matches!(
        error,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, _)
    )
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
        self.notes.note(Effects::of(part), self.announced);
        Ok(())
    }
}
