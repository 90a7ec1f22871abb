//! Keeping schemas ready, on a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ReadySchemas;
use crate::changes::Watcher;
use crate::error::{Error, chain};
use crate::model::TenantModel;
use crate::registry::Kind;
use crate::tenancy::outcome;

/// Keeps schemas ready on a thread of its own, until it is dropped. See [`ReadySchemas::keep`].
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct KeepReady {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the thread.
#[derive(Debug)]
struct Bell {
    /// The migrations of the schemas that are kept: who takes others does not wake it.
    fingerprint: String,
    stop: AtomicBool,
    /// Whether a schema was taken since the thread began to look.
    taken: Mutex<bool>,
    rung: Condvar,
}

impl KeepReady {
    pub(super) fn start<T: TenantModel>(ready: ReadySchemas<T>, every: Duration) -> Self {
        let kind = Kind::Tenant(ready.tenant_type.clone());
        let bell = Arc::new(Bell {
            fingerprint: ready.tenancy.registry().fingerprint(&kind),
            stop: AtomicBool::default(),
            taken: Mutex::default(),
            rung: Condvar::default(),
        });
        let watcher: Weak<Bell> = Arc::downgrade(&bell);
        ready.tenancy.registry().watchers.add(watcher);
        let ours = Arc::clone(&bell);
        let thread = thread::spawn(move || {
            loop {
                let public = ready.tenancy.registry().public().clone();
                let filled = outcome(public, || ready.fill_if_free(&ours.stop)).result;
                // What failed once would, as a rule, fail at each sign-up.
                let heed = filled.is_ok();
                match filled {
                    Ok(_) => {}
                    Err(error @ Error::NamesItself { .. }) => {
                        // It would be the same the next time.
                        log::error!("no schemas are made ahead: {}", chain(&error));
                        return;
                    }
                    Err(error) => {
                        log::error!(
                            "making schemas ahead failed, trying again: {}",
                            chain(&error)
                        );
                    }
                }
                ours.wait(every, heed);
                if ours.stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self {
            bell,
            thread: Some(thread),
        }
    }
}

impl Bell {
    /// Waits until a schema is taken, or has been since the last time, if it is to `heed` that; no longer
    /// than this, and not once it is to stop.
    fn wait(&self, most: Duration, heed: bool) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |taken: &mut bool| !(self.stop.load(Ordering::Relaxed) || heed && *taken);
        let (mut taken, _) = self
            .rung
            .wait_timeout_while(taken, most, idle)
            .unwrap_or_else(PoisonError::into_inner);
        *taken = false;
    }

    fn ring(&self, taken: bool) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) |= taken;
        self.rung.notify_all();
    }
}

impl Watcher for Bell {
    fn ready_taken(&self, fingerprint: &str) {
        if self.fingerprint == fingerprint {
            self.ring(true);
        }
    }
}

impl Drop for KeepReady {
    /// Waits for the schema that is being made, if one is.
    fn drop(&mut self) {
        self.bell.stop.store(true, Ordering::Relaxed);
        self.bell.ring(false);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that makes schemas ahead panicked");
        }
    }
}
