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

use crate::name::SchemaName;
use crate::path::SearchPath;

use super::TenantConnection;
use super::belief::is_path;
use super::scope::SetCalls;

/// After how many checkouts for each session that waits the credit of all is halved.
const AGE: usize = 16;

/// Of so many sessions one, and one more, is not spared.
const SPARED: usize = 4;

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

const GIVEN_BACK: &str =
    "a connection has a session from its scope on, until the pool is told that it comes back";

/// The sessions of a pool.
#[derive(Debug, Default)]
pub(crate) struct Rack(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    /// Those that nobody uses now; the one that was used longest ago first.
    idle: VecDeque<Box<TenantConnection>>,
    /// Checkouts since credit was halved.
    checkouts: usize,
}

impl Rack {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// Takes the session that suits `path` best.
    fn take(
        &mut self,
        path: &Arc<SearchPath>,
        most: usize,
        cheap: bool,
    ) -> Option<Box<TenantConnection>> {
        self.age();
        // Nothing has to be sent or forgotten.
        let resident = |at: &usize| is_path(&self.idle[*at].resident, path);
        if let Some(at) = (0..self.idle.len()).rev().find(resident) {
            let mut session = self.idle.remove(at)?;
            session.credit += 1;
            return Some(session);
        }
        let at = if cheap {
            self.last(path.schema(), most)?
        } else {
            self.replaceable(path.schema(), most)?
        };
        let mut session = self.idle.remove(at)?;
        session.credit = 0;
        Some(session)
    }

    /// The session that a tenant gets whose own is not there.
    ///
    /// One that has served it is several times as fast as one that has not: its statements are
    /// planned, its catalog is read. But most are left to the tenants that come back most often, and
    /// the others learn, as long as they may: that costs once.
    fn replaceable(&self, schema: &SchemaName, most: usize) -> Option<usize> {
        let mut credits: Vec<u64> = self.idle.iter().map(|session| session.credit).collect();
        credits.sort_unstable();
        let low = credits.get(credits.len() / SPARED).copied()?;
        let cost = |session: &TenantConnection| {
            let known = session.served.knows(schema);
            let spared = session.credit > low;
            let full = session.served.load() >= most;
            let learns = if known { 0 } else { session.served.load() + 1 };
            (
                spared && !known,
                full && !known,
                spared,
                learns,
                session.credit,
            )
        };
        (0..self.idle.len()).min_by_key(|at| cost(&self.idle[*at]))
    }

    /// The session that a tenant gets where it costs little to turn: the one that came back last, if it
    /// has served the tenant. What a processor has in its caches is of that one.
    fn last(&self, schema: &SchemaName, most: usize) -> Option<usize> {
        let cost = |session: &TenantConnection| {
            let known = session.served.knows(schema);
            let full = session.served.load() >= most;
            (full && !known, !known)
        };
        let back = (0..self.idle.len()).rev();
        back.min_by_key(|at| cost(&self.idle[*at]))
    }

    /// Forgets little by little who was asked for often.
    fn age(&mut self) {
        self.checkouts += 1;
        if self.checkouts > AGE * self.idle.len() {
            self.checkouts = 0;
            for session in &mut self.idle {
                session.credit /= 2;
            }
        }
    }

    /// The session to give up when a shell goes: one that is too old, or the one that was used
    /// longest ago.
    fn close_one(&mut self) -> Option<Box<TenantConnection>> {
        let expired = self.idle.iter().position(|session| session.is_expired());
        self.idle.remove(expired.unwrap_or_default())
    }
}

impl TenantConnection {
    pub(super) fn is_shell(&self) -> bool {
        self.inner.0.is_none()
    }

    /// Leaves the session in the rack, for whoever comes next.
    pub(super) fn park(&mut self) {
        if self.is_shell() || self.owner.is_none() {
            return;
        }
        let mut shell = Self::with(
            Session(None),
            Arc::clone(&self.policy),
            Arc::clone(&self.notes),
        );
        shell.owner.clone_from(&self.owner);
        let session = Box::new(mem::replace(self, shell));
        self.policy.rack.lock().idle.push_back(session);
    }

    /// Takes a session into an empty shell.
    fn fill(&mut self, session: Option<Box<Self>>) {
        if let Some(session) = session {
            // The shell stands for no session any more.
            mem::replace(self, *session).owner = None;
        }
    }

    /// Takes the session that was used longest ago, if this is an empty shell.
    pub(super) fn unpark(&mut self) {
        if self.is_shell() {
            let taken = self.policy.rack.lock().idle.pop_front();
            self.fill(taken);
        }
    }

    /// Takes the session that suits `path` best, if this is an empty shell.
    pub(super) fn unpark_for(&mut self, path: &Arc<SearchPath>) {
        if self.is_shell() {
            let most = self.policy.max_tenants;
            let cheap = self.policy.set_calls == SetCalls::FirstStatement;
            let taken = self.policy.rack.lock().take(path, most, cheap);
            self.fill(taken);
        }
    }
}

impl Drop for TenantConnection {
    fn drop(&mut self) {
        // With an empty shell that the pool closes goes a session that waits.
        if self.is_shell() && self.owner.is_some() {
            let session = self.policy.rack.lock().close_one();
            drop(session);
        }
    }
}
