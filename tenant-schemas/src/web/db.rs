//! [`TenantDb`] and [`PublicDb`]: a connection for a closure, on a thread that may block.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::Connection as _;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::observe;
use crate::connection::{Scope, TenantConnection};
use crate::error::{Error, Result};
use crate::event::panic_message;
use crate::name::SchemaName;
use crate::pool::TenantPool;
use crate::tenancy::checkout;

/// How requests wait for a connection.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) pool: TenantPool,
    /// One permit for each connection, so that no thread blocks for one.
    pub(super) connections: Arc<Semaphore>,
    pub(super) wait: Duration,
}

/// The database as the tenant of a request sees it.
///
/// It is a value that stays with its tenant: a clone may go to a task, a thread or
/// a streaming body that outlives the request.
#[derive(Clone)]
pub struct TenantDb(Db);

/// What all tenants share, for a handler of any request.
#[derive(Clone)]
pub struct PublicDb(Db);

macro_rules! lends {
    ($name:ident, $whose:literal) => {
        impl $name {
            pub(super) fn new(waiting: Waiting, scope: Scope) -> Self {
                Self(Db { waiting, scope })
            }

            /// The schema.
            #[must_use]
            pub fn schema_name(&self) -> &SchemaName {
                self.0.scope.schema()
            }

            #[doc = concat!("Runs `f` with a connection of ", $whose, ", on a thread that may block.")]
            ///
            /// The connection goes back when `f` returns, fails or panics. If the caller
            /// goes away before `f` began, it does not begin; once begun, it ends.
            ///
            /// # Errors
            ///
            /// [`Error::Busy`] if no connection was free in time, [`Error::NoSuchSchema`],
            /// [`Error::Panicked`] if `f` panicked, or what `f` returns.
            pub async fn run<R, E>(
                &self,
                f: impl FnOnce(&mut TenantConnection) -> Result<R, E> + Send + 'static,
            ) -> Result<R, E>
            where
                R: Send + 'static,
                E: From<Error> + Send + 'static,
            {
                self.0.run(f).await
            }

            #[doc = concat!("As [`run`](Self::run), in a transaction.")]
            ///
            /// # Errors
            ///
            /// As [`run`](Self::run), with nothing changed.
            pub async fn transaction<R, E>(
                &self,
                f: impl FnOnce(&mut TenantConnection) -> Result<R, E> + Send + 'static,
            ) -> Result<R, E>
            where
                R: Send + 'static,
                E: From<Error> + From<diesel::result::Error> + Send + 'static,
            {
                self.0.run(|conn| conn.transaction(f)).await
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(self.schema_name())
                    .finish()
            }
        }
    };
}

lends!(TenantDb, "the tenant");
lends!(PublicDb, "the public schema");

#[derive(Clone)]
struct Db {
    waiting: Waiting,
    scope: Scope,
}

impl Db {
    async fn run<R, E>(
        &self,
        f: impl FnOnce(&mut TenantConnection) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let Waiting {
            pool,
            connections,
            wait,
        } = self.waiting.clone();
        let since = Instant::now();
        let Ok(Ok(permit)) = timeout(wait, connections.acquire_owned()).await else {
            let busy = Error::Busy { waited: wait };
            observe::waited(since.elapsed(), Some(&busy));
            return Err(busy.into());
        };
        let left = wait.saturating_sub(since.elapsed());
        let scope = self.scope.clone();
        let caller = Caller::default();
        let is_gone = Arc::clone(&caller.is_gone);
        let enter = observe::here(scope.schema());
        let work = spawn_blocking(move || {
            let _entered = enter();
            let schema = scope.schema().clone();
            let result = catch_unwind(AssertUnwindSafe(|| {
                // Nobody reads what is returned then.
                let is_read = || {
                    if is_gone.load(Ordering::Relaxed) {
                        Err(Error::Busy { waited: wait })
                    } else {
                        Ok(())
                    }
                };
                is_read()?;
                // Others may use the pool beside us.
                let taken = checkout(&pool, &scope, Some(left));
                observe::waited(since.elapsed(), taken.as_ref().err());
                let mut conn = taken?;
                is_read()?;
                f(&mut conn)
            }));
            drop(permit);
            result.unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                Err(Error::Panicked { schema, message }.into())
            })
        });
        let result = work.await;
        drop(caller);
        result.unwrap_or_else(|_| {
            let why = "the runtime shut down while a request used a connection";
            Err(Error::Pool(why.to_owned()).into())
        })
    }
}

/// Whoever waits for the result; gone when dropped.
#[derive(Default)]
struct Caller {
    is_gone: Arc<AtomicBool>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }
}
