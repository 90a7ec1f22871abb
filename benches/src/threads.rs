//! Several threads that do the same.

use std::thread;

use crate::Result;

/// Calls `f` on each of so many threads with its number, and waits for all of them.
pub(crate) fn on_threads(count: usize, f: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let f = &f;
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || f(number)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}
