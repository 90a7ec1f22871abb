//! [`Producer`]: sends tasks to workers of either language.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::{Commands as _, Connection, ConnectionLike as _};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::jobs::{InTenant, Shared, SharedJob, TenantRef};

use super::broker::{Broker, list};
use super::message::{Labels, Message};
use super::{CeleryError, CeleryTask};

/// Celery's own default.
pub(super) const QUEUE: &str = "celery";

/// Sends tasks to Celery's workers, each with its tenant in the header `_schema_name`.
///
/// It keeps one connection, and makes another when that is gone.
#[derive(Debug)]
pub struct Producer {
    broker: Broker,
    queue: String,
    conn: Mutex<Kept>,
}

impl Producer {
    /// A producer for the Redis of this URL, which is not connected to yet.
    ///
    /// # Errors
    ///
    /// [`CeleryError::Url`] if it is no URL of Redis.
    pub fn new(url: &str) -> Result<Self, CeleryError> {
        Ok(Self {
            broker: Broker::new(url)?,
            queue: QUEUE.to_owned(),
            conn: Mutex::default(),
        })
    }

    /// Sends to this queue, unless a task says otherwise. Defaults to `celery`.
    #[must_use]
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            ..self
        }
    }

    /// Sends a tenant's task; returns its identifier, for Python's `AsyncResult`.
    ///
    /// It is sent at once: in a transaction, send it after the commit. If Redis refuses it, as one that is a
    /// replica now, it is sent once more, on a new connection. Where no answer comes, the error may mean
    /// that Redis has it all the same.
    ///
    /// # Errors
    ///
    /// [`CeleryError::Redis`], and [`CeleryError::NotKeywords`] if the task is no
    /// struct with named fields.
    pub fn send<J: CeleryTask + Serialize>(
        &self,
        envelope: &InTenant<J>,
    ) -> Result<String, CeleryError> {
        self.send_with(envelope, &SendOptions::new())
    }

    /// Sends a tenant's task, with a word on when and where.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    pub fn send_with<J: CeleryTask + Serialize>(
        &self,
        envelope: &InTenant<J>,
        options: &SendOptions,
    ) -> Result<String, CeleryError> {
        self.put(envelope.job(), Some(envelope.tenant()), options)
    }

    /// Sends a task that was declared to be nobody's: its schema is `public`.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    pub fn send_shared<J: CeleryTask + SharedJob + Serialize>(
        &self,
        envelope: &Shared<J>,
    ) -> Result<String, CeleryError> {
        self.send_shared_with(envelope, &SendOptions::new())
    }

    /// Sends a task that was declared to be nobody's, with a word on when and where.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    pub fn send_shared_with<J: CeleryTask + SharedJob + Serialize>(
        &self,
        envelope: &Shared<J>,
        options: &SendOptions,
    ) -> Result<String, CeleryError> {
        self.put(envelope.job(), None, options)
    }

    fn put<J: CeleryTask + Serialize>(
        &self,
        job: &J,
        tenant: Option<&TenantRef>,
        options: &SendOptions,
    ) -> Result<String, CeleryError> {
        let kwargs = keywords(job)?;
        let id = uuid::Uuid::new_v4().to_string();
        let queue = options.queue.as_deref().unwrap_or(&self.queue);
        let labels = options.labels();
        let message = Message::new(&id, J::NAME, &kwargs, tenant, queue, &labels).written();
        let key = list(queue, labels.priority);
        let mut kept = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was idle may be gone, which shows only when it is used.
        let alive = |mut conn: Connection| conn.check_connection().then_some(conn);
        let mut conn = match kept.0.take().and_then(alive) {
            Some(conn) => conn,
            None => self.broker.connect()?,
        };
        let mut pushed = conn.lpush::<_, _, u64>(&key, &message);
        // A task is sent on no other connection after one that did not answer: it may be there. What was
        // refused is not.
        if pushed.as_ref().is_err_and(|error| error.code().is_some()) {
            conn = self.broker.connect()?;
            pushed = conn.lpush(&key, &message);
        }
        pushed.map_err(|source| self.broker.failed("sending a task", source))?;
        kept.0 = Some(conn);
        Ok(id)
    }
}

/// A job as keyword arguments.
fn keywords<J: CeleryTask + Serialize>(job: &J) -> Result<Map<String, Value>, CeleryError> {
    let refused = |source| CeleryError::NotKeywords {
        task: J::NAME,
        source,
    };
    match serde_json::to_value(job) {
        Ok(Value::Object(kwargs)) => Ok(kwargs),
        // A unit struct has no arguments.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(refused(None)),
        Err(error) => Err(refused(Some(error))),
    }
}

/// When and where a task is sent.
///
/// ```
/// use std::time::Duration;
/// use tenant_schemas::jobs::celery::SendOptions;
///
/// let tomorrow = SendOptions::new().countdown(Duration::from_secs(86_400)).queue("slow");
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct SendOptions {
    eta: Option<DateTime<Utc>>,
    countdown: Option<Duration>,
    expires_in: Option<Duration>,
    priority: u8,
    queue: Option<String>,
}

impl SendOptions {
    /// At once, for good, to the producer's queue, with priority 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not before this time. Defaults to at once; the last of this and [`countdown`](Self::countdown) counts.
    pub fn eta(self, eta: DateTime<Utc>) -> Self {
        Self {
            eta: Some(eta),
            countdown: None,
            ..self
        }
    }

    /// Not before this long from when it is sent. Defaults to at once.
    pub fn countdown(self, countdown: Duration) -> Self {
        Self {
            eta: None,
            countdown: Some(countdown),
            ..self
        }
    }

    /// Not later than this long from when it is sent. Defaults to however late.
    pub fn expires_in(self, time: Duration) -> Self {
        Self {
            expires_in: Some(time),
            ..self
        }
    }

    /// From 0 to 9; on Redis, 0 is the most urgent. Defaults to 0.
    pub fn priority(self, priority: u8) -> Self {
        Self {
            priority: priority.min(9),
            ..self
        }
    }

    /// To this queue. Defaults to that of the producer.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self {
            queue: Some(queue.into()),
            ..self
        }
    }

    fn labels(&self) -> Labels {
        let from_now = |time: Option<Duration>| time.map(from_now);
        Labels {
            eta: self.eta.or_else(|| from_now(self.countdown)),
            expires: from_now(self.expires_in),
            priority: self.priority,
        }
    }
}

/// The time that is so far away, or the last that can be told.
pub(super) fn from_now(time: Duration) -> DateTime<Utc> {
    // Python's times end with the year 9999.
    let century = Duration::from_hours(100 * 366 * 24);
    Utc::now() + time.min(century)
}

/// A connection, if there is one.
#[derive(Default)]
struct Kept(Option<Connection>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "connected"
        } else {
            "not connected"
        })
    }
}
