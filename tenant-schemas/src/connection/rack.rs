//! [`Rack`]: where sessions wait between two checkouts, and are chosen by the tenant that they served.
//!
//! r2d2 hands out whichever connection came back last, and can't be asked for
//! another. So what comes back leaves its session here and is an empty shell while it
//! is idle; at its next checkout it takes the session that fits the tenant best. r2d2
//! goes on counting, waiting and closing: for every empty shell a session is here.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use crate::name::SchemaName;
use crate::path::SearchPath;

use super::TenantConnection;
use super::belief::is_path;

/// How long a checkout waits for its tenant's own session, unless the builder says otherwise.
pub(crate) const AFFINITY_WAIT: Duration = Duration::from_micros(250);

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

/// The sessions of a pool.
#[derive(Debug, Default)]
pub(crate) struct Rack(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    /// Those that nobody uses now; the one that was used longest ago first.
    idle: VecDeque<Box<TenantConnection>>,
    seats: Vec<Seat>,
    last_number: u64,
    /// How long a session is out, about.
    usually_out: Duration,
}

/// A session's place, whether or not it is there now.
#[derive(Debug)]
struct Seat {
    number: u64,
    /// Who waits for the session.
    waiter: Option<Thread>,
    /// The session, for whom it was waited.
    handed: Option<Box<TenantConnection>>,
}

impl Rack {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// The seat at which a tenant is at home: another one only if sessions come or go, and then
    /// for few tenants.
    fn home(&self, schema: &SchemaName) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        schema.hash(&mut hasher);
        let tenant = hasher.finish();
        let numbers = self.seats.iter().map(|seat| seat.number);
        numbers.max_by_key(|number| scramble(tenant ^ scramble(*number)))
    }

    fn seat(&mut self, number: u64) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.number == number)
    }

    /// The idle session that suits `path` best, if one does.
    fn suiting(&self, path: &Arc<SearchPath>, home: Option<u64>) -> Option<usize> {
        // Nothing has to be sent or forgotten.
        self.idle
            .iter()
            .rposition(|session| is_path(&session.resident, path))
            // Statements are planned, the catalog cache is filled.
            .or_else(|| {
                self.idle
                    .iter()
                    .position(|session| Some(session.seat) == home)
            })
    }

    /// The session to give up when a shell goes: one that is too old, or the one that was used
    /// longest ago.
    fn give_up(&mut self) -> Option<Box<TenantConnection>> {
        let expired = self.idle.iter().position(|session| session.is_expired());
        self.idle.remove(expired.unwrap_or_default())
    }
}

/// Spreads numbers that are alike over all numbers.
fn scramble(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl TenantConnection {
    pub(super) fn is_shell(&self) -> bool {
        self.inner.0.is_none()
    }

    /// Takes a seat in the rack of its pool.
    pub(super) fn take_seat(&mut self) {
        let mut sessions = self.policy.rack.lock();
        sessions.last_number += 1;
        let number = sessions.last_number;
        sessions.seats.push(Seat {
            number,
            waiter: None,
            handed: None,
        });
        drop(sessions);
        self.seat = number;
    }

    /// Leaves the session in the rack, for whoever waits for it, or whoever comes next.
    pub(super) fn park(&mut self) {
        if self.is_shell() || self.owner.is_none() {
            return;
        }
        let session = self.leave_shell();
        let held = session.taken.elapsed();
        let mut sessions = self.policy.rack.lock();
        sessions.usually_out = (sessions.usually_out * 7 + held) / 8;
        let seat = sessions.seat(session.seat);
        let awaited = seat.and_then(|seat| Some((seat.waiter.take()?, &mut seat.handed)));
        if let Some((waiter, handed)) = awaited {
            *handed = Some(session);
            waiter.unpark();
        } else {
            sessions.idle.push_back(session);
        }
    }

    /// The session, in a box; an empty shell stays.
    fn leave_shell(&mut self) -> Box<Self> {
        let mut shell = Self::with(Session(None));
        shell.policy = Arc::clone(&self.policy);
        shell.owner.clone_from(&self.owner);
        Box::new(mem::replace(self, shell))
    }

    /// Takes a session into an empty shell.
    fn fill(&mut self, session: Box<Self>) {
        // The shell stands for no session any more.
        mem::replace(self, *session).owner = None;
        self.taken = Instant::now();
    }

    /// Takes the session that was used longest ago, if this is an empty shell.
    pub(super) fn unpark(&mut self) {
        if self.is_shell() {
            let taken = self.policy.rack.lock().idle.pop_front();
            if let Some(session) = taken {
                self.fill(session);
            }
        }
    }

    /// Changes the session for one that suits `path` better, if there is one: whose last checkout
    /// was there, or at which the tenant is at home; and waits for that one a little.
    pub(super) fn prefer(&mut self, path: &Arc<SearchPath>) {
        if self.owner.is_none() || is_path(&self.resident, path) {
            return;
        }
        let policy = Arc::clone(&self.policy);
        let mut sessions = policy.rack.lock();
        let home = sessions.home(path.schema());
        if let Some(better) = sessions
            .suiting(path, home)
            .and_then(|at| sessions.idle.remove(at))
        {
            let other = self.leave_shell();
            // It was taken from there, and did nothing.
            sessions.idle.push_front(other);
            self.fill(better);
            return;
        }
        let may_wait = sessions.usually_out * 2 <= policy.affinity_wait;
        let Some(seat) = home
            .filter(|home| *home != self.seat && may_wait)
            .and_then(|home| sessions.seat(home))
            .filter(|seat| seat.waiter.is_none())
        else {
            return;
        };
        seat.waiter = Some(thread::current());
        let number = seat.number;
        let other = self.leave_shell();
        sessions.idle.push_front(other);
        drop(sessions);
        self.wait_for(number, policy.affinity_wait);
        self.unpark();
    }

    /// Waits until the session of a seat is handed over, or for as long as `patience` lasts.
    fn wait_for(&mut self, number: u64, patience: Duration) {
        let policy = Arc::clone(&self.policy);
        let begun = Instant::now();
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            thread::park_timeout(left);
            let mut sessions = policy.rack.lock();
            let Some(seat) = sessions.seat(number) else {
                // It was closed.
                return;
            };
            if let Some(session) = seat.handed.take() {
                drop(sessions);
                return self.fill(session);
            }
            if begun.elapsed() >= patience {
                seat.waiter = None;
                return;
            }
        }
    }
}

impl Drop for TenantConnection {
    fn drop(&mut self) {
        if self.owner.is_none() {
            return;
        }
        if self.is_shell() {
            // With an empty shell that the pool closes goes a session that waits.
            let session = self.policy.rack.lock().give_up();
            drop(session);
            return;
        }
        let number = self.seat;
        let mut sessions = self.policy.rack.lock();
        sessions.seats.retain_mut(|seat| {
            if seat.number != number {
                return true;
            }
            if let Some(waiter) = &seat.waiter {
                waiter.unpark();
            }
            false
        });
    }
}
