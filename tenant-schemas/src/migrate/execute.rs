//! [`Executor`]: how a fleet is walked.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Walks a fleet.
///
/// An executor decides in which order and on which threads the jobs of a run
/// are done. What a job does, and what becomes of its failure, is not its concern.
///
/// One tenant first, then the others, four at once:
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// use tenant_schemas::{Executor, Parallel};
///
/// #[derive(Debug)]
/// struct CanaryFirst;
///
/// impl Executor for CanaryFirst {
///     fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
///         if let Some(others) = jobs.checked_sub(1) {
///             job(0);
///             Parallel::new(4).execute(others, &|number| job(number + 1));
///         }
///     }
/// }
///
/// # let acme = client(tenancy, "acme")?;
/// # let globex = client(tenancy, "globex")?;
/// let report = tenancy.migrate().tenants().executor(CanaryFirst).run()?;
/// assert_eq!(report.into_result()?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Executor: fmt::Debug + Send + Sync {
    /// Calls `job` once for every number below `jobs`, and returns when all calls have returned.
    ///
    /// A job whose number was not called is reported as skipped. `job` never
    /// panics; it may block on the database. More calls at once than the pool
    /// has connections wait for one.
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

/// One job after the other, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequential;

impl Executor for Sequential {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
    }
}

/// Several jobs at once, each on a thread; they start in order.
#[derive(Debug, Clone, Copy)]
pub struct Parallel(NonZeroUsize);

impl Parallel {
    /// Runs up to `threads` jobs at once; 0 counts as 1.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN))
    }
}

impl Executor for Parallel {
    fn execute(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.0.get().min(jobs) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= jobs {
                            break;
                        }
                        job(number);
                    }
                });
            }
        });
    }
}
