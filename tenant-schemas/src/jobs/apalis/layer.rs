//! [`TenancyLayer`]: gives the tasks of a worker their tenancy, and their failures a verdict.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::{AbortError, BoxDynError};
use apalis_core::task::Task;
use apalis_core::task::status::Status;
use tower_layer::Layer;
use tower_service::Service;

use crate::jobs::JobError;
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use super::ReceivedEnvelope;

/// How long a task is held back at first, unless the layer says otherwise.
const PAUSE: Duration = Duration::from_secs(1);

/// A worker that shuts down waits for its tasks: none is held back for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Gives the tasks of a worker their tenancy, and kills those that no retry helps.
///
/// [`TenantDb`](super::TenantDb) and [`SharedDb`](super::SharedDb) need it.
#[must_use]
pub struct TenancyLayer<T: TenantModel> {
    tenancy: Tenancy<T>,
    pause: Duration,
}

impl<T: TenantModel> TenancyLayer<T> {
    /// A layer for workers on this tenancy.
    pub fn new(tenancy: Tenancy<T>) -> Self {
        Self {
            tenancy,
            pause: PAUSE,
        }
    }

    /// How long a task whose tenant is not ready is held back before it fails,
    /// and the storage may try it again. Defaults to one second.
    ///
    /// Twice as long after each attempt, up to 15 seconds: storages try again at
    /// once, and would have used up their attempts before a tenant is provisioned.
    /// It keeps the place of no other task if the worker's limit of concurrency comes
    /// behind this layer.
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

impl<T: TenantModel, S> Layer<S> for TenancyLayer<T> {
    type Service = TenancyService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        TenancyService {
            inner,
            tenancy: self.tenancy.clone(),
            pause: self.pause,
        }
    }
}

/// What [`TenancyLayer`] makes of a handler.
pub struct TenancyService<S, T: TenantModel> {
    inner: S,
    tenancy: Tenancy<T>,
    pause: Duration,
}

impl<S, T, A> Service<Task<A>> for TenancyService<S, T>
where
    T: TenantModel,
    A: ReceivedEnvelope,
    S: Service<Task<A>>,
    S::Response: Send + 'static,
    S::Error: Into<BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxDynError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxDynError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<A>) -> Self::Future {
        let status = task.raw_status().clone();
        let attempt = task.raw_attempt().clone();
        if let Err(refused) = task.args.tenant() {
            log::error!("a task was killed: {refused}");
            status.store(Status::Killed);
            return Box::pin(ready(Err(AbortError::new(refused).into())));
        }
        task.inject_data(self.tenancy.clone());
        let pause = self.pause;
        let called = self.inner.call(task);
        Box::pin(async move {
            let error: BoxDynError = match called.await {
                Ok(response) => return Ok(response),
                Err(error) => error.into(),
            };
            match job_error(&*error) {
                Some(job) if !job.can_retry() => {
                    log::error!("a task was killed: {error}");
                    // The worker has judged the handler's error by now.
                    status.store(Status::Killed);
                    Err(AbortError::new(error).into())
                }
                Some(job) if job.tenant_is_not_ready() => {
                    tokio::time::sleep(held_back(pause, attempt.current())).await;
                    Err(error)
                }
                _ => Err(error),
            }
        })
    }
}

/// The failure of ours in a handler's error, which may have wrapped it.
fn job_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a JobError> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref())
}

/// How long a task is held back after that many attempts.
fn held_back(pause: Duration, attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    pause
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST_PAUSE)
}

impl<T: TenantModel> Clone for TenancyLayer<T> {
    fn clone(&self) -> Self {
        Self {
            tenancy: self.tenancy.clone(),
            pause: self.pause,
        }
    }
}

impl<S: Clone, T: TenantModel> Clone for TenancyService<S, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            tenancy: self.tenancy.clone(),
            pause: self.pause,
        }
    }
}

impl<T: TenantModel> fmt::Debug for TenancyLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenancyLayer")
            .field("tenancy", &self.tenancy)
            .field("pause", &self.pause)
            .finish()
    }
}

impl<S: fmt::Debug, T: TenantModel> fmt::Debug for TenancyService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenancyService")
            .field("inner", &self.inner)
            .field("tenancy", &self.tenancy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_held_back_twice_as_long_after_each_attempt() {
        let seconds: Vec<u64> = (1..=6)
            .map(|attempts| held_back(PAUSE, attempts).as_secs())
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 15, 15]);
        assert_eq!(held_back(PAUSE, usize::MAX), LONGEST_PAUSE);
        assert_eq!(held_back(Duration::ZERO, 7), Duration::ZERO);
    }
}
