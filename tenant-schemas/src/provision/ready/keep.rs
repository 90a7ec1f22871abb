//! Keeping schemas ready, on a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ReadySchemas;
use crate::error::{Error, chain};
use crate::model::TenantModel;

/// Keeps schemas ready on a thread of its own, until it is dropped. See [`ReadySchemas::keep`].
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct KeepReady {
    stop: Arc<AtomicBool>,
    /// `None` once it is being dropped.
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KeepReady {
    pub(super) fn start<T: TenantModel>(ready: ReadySchemas<T>, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (wake, woken) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            loop {
                match ready.fill_until(&stopped) {
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
                if woken.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self {
            stop,
            wake: Some(wake),
            thread: Some(thread),
        }
    }
}

impl Drop for KeepReady {
    /// Waits for the schema that is being made, if one is.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that makes schemas ahead panicked");
        }
    }
}
