//! [`Rack`]: where sessions wait between two checkouts, and are chosen by the tenant that they served.
//!
//! r2d2 hands out whichever connection came back last, and can't be asked for
//! another. So what comes back leaves its session here and is an empty shell while it
//! is idle; at its next checkout it takes the session that fits the tenant best. r2d2
//! goes on counting, waiting and closing: for every empty shell a session is here.

use std::collections::VecDeque;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::pg::PgConnection;

use crate::path::SearchPath;

use super::TenantConnection;
use super::belief::is_path;

/// The session with the server; none in the shell of one that waits in the rack.
pub(super) struct Session(Option<PgConnection>);

impl Session {
    pub(super) fn new(conn: PgConnection) -> Self {
        Self(Some(conn))
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect(GIVEN_BACK)
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect(GIVEN_BACK)
    }
}

const GIVEN_BACK: &str = "a connection is not used after the pool was told that it comes back";

/// The idle sessions of a pool, the one that was used longest ago first.
#[derive(Default)]
pub(crate) struct Rack(Mutex<VecDeque<Box<TenantConnection>>>);

impl Rack {
    fn sessions(&self) -> MutexGuard<'_, VecDeque<Box<TenantConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session to give up when a shell goes: one that is too old, or the one that was used
    /// longest ago.
    fn give_up(&self) -> Option<Box<TenantConnection>> {
        let mut sessions = self.sessions();
        let expired = sessions.iter().position(|session| session.is_expired());
        sessions.remove(expired.unwrap_or_default())
    }
}

impl std::fmt::Debug for Rack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rack").field(&self.sessions().len()).finish()
    }
}

impl TenantConnection {
    pub(super) fn is_shell(&self) -> bool {
        self.inner.0.is_none()
    }

    /// Leaves the session in the rack, for whichever shell is handed out next.
    pub(super) fn park(&mut self) {
        if self.is_shell() || self.owner.is_none() {
            return;
        }
        let mut shell = Self::with(Session(None));
        shell.policy = Arc::clone(&self.policy);
        shell.owner.clone_from(&self.owner);
        let session = Box::new(mem::replace(self, shell));
        self.policy.rack.sessions().push_back(session);
    }

    /// Takes the session that was used longest ago, if this is an empty shell.
    pub(super) fn unpark(&mut self) {
        if self.is_shell() {
            let taken = self.policy.rack.sessions().pop_front();
            if let Some(session) = taken {
                // It stands for no session any more.
                mem::replace(self, *session).owner = None;
            }
        }
    }

    /// Changes the session for one that suits `path` better: whose last checkout was there, so
    /// that nothing has to be sent or forgotten, or else one that was there once, whose
    /// statements are planned and whose catalog cache is filled.
    pub(super) fn prefer(&mut self, path: &Arc<SearchPath>) {
        if is_path(&self.resident, path) {
            return;
        }
        let policy = Arc::clone(&self.policy);
        let mut sessions = policy.rack.sessions();
        let stays = sessions
            .iter()
            .rposition(|session| is_path(&session.resident, path));
        let suits = stays.or_else(|| {
            if self.served.contains(path.schema()) {
                return None;
            }
            sessions
                .iter()
                .position(|session| session.served.contains(path.schema()))
        });
        if let Some(mut better) = suits.and_then(|at| sessions.remove(at)) {
            mem::swap(self, &mut *better);
            // It was taken from there, and did nothing.
            sessions.push_front(better);
        }
    }
}

/// With an empty shell that the pool closes goes a session that waits.
impl Drop for TenantConnection {
    fn drop(&mut self) {
        if self.is_shell() && self.owner.is_some() {
            drop(self.policy.rack.give_up());
        }
    }
}
