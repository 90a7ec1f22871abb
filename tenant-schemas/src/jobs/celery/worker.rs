//! [`Worker`]: runs tasks that Python, or a [`Producer`](super::Producer), has sent.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::Utc;
use redis::{Connection, RedisResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::TenantConnection;
use crate::error::BoxError;
use crate::event::panic_message;
use crate::jobs::{JobError, SharedJob, Stop};
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use super::broker::{Broker, Keys, Taken};
use super::handler::{self, Handler};
use super::message::Message;
use super::outcome::{Outcome, Patience};
use super::producer::QUEUE;
use super::{CeleryError, CeleryTask, Delivery};

/// How long a thread waits when Redis fails it.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it tries to say that a task is finished, before it leaves it to be done again.
const TRIES: usize = 5;

/// How many workers a task may take with it.
const LOST: usize = 5;

/// Runs the tasks of one queue, each in its tenant, on threads of its own.
///
/// A message is given up only when its task is finished. If the worker is
/// killed before, another gets it: see [`visibility`](Self::visibility). A task
/// that was lost with its worker five times fails, as it may be what kills them.
#[must_use]
pub struct Worker<T: TenantModel> {
    tenancy: Tenancy<T>,
    broker: Broker,
    results: Option<Broker>,
    queue: String,
    handlers: HashMap<&'static str, Handler<T>>,
    twice: Option<&'static str>,
    concurrency: usize,
    visibility: Duration,
    poll_interval: Duration,
    result_expires: Duration,
    patience: Patience,
}

impl<T: TenantModel> Worker<T> {
    /// A worker on the queue `celery` of the Redis of this URL, where it leaves results too.
    ///
    /// # Errors
    ///
    /// [`CeleryError::Url`] if it is no URL of Redis.
    pub fn new(tenancy: Tenancy<T>, url: &str) -> Result<Self, CeleryError> {
        let broker = Broker::new(url)?;
        Ok(Self {
            tenancy,
            results: Some(broker.clone()),
            broker,
            queue: QUEUE.to_owned(),
            handlers: HashMap::new(),
            twice: None,
            concurrency: 1,
            visibility: Duration::from_mins(1),
            poll_interval: Duration::from_millis(200),
            result_expires: Duration::from_hours(24),
            patience: Patience::default(),
        })
    }

    /// Runs a tenant's task in the scope of its tenant. What it returns is the task's result.
    ///
    /// A message that names no tenant is refused, and so is one that names `public`.
    pub fn task<J, R, E>(
        self,
        work: impl Fn(&mut TenantConnection, &Delivery<J>) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        J: CeleryTask + DeserializeOwned,
        R: Serialize,
        E: Into<BoxError>,
    {
        self.handler(J::NAME, handler::in_tenant(work))
    }

    /// Runs a task that is nobody's in the public schema.
    ///
    /// A message that names a tenant is refused.
    pub fn shared_task<J, R, E>(
        self,
        work: impl Fn(&mut TenantConnection, &Delivery<J>) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        J: CeleryTask + SharedJob + DeserializeOwned,
        R: Serialize,
        E: Into<BoxError>,
    {
        self.handler(J::NAME, handler::shared(work))
    }

    /// Takes tasks of this queue. Defaults to `celery`.
    ///
    /// A task that the worker has no handler for fails, as it does in Python: give
    /// what moves to Rust a queue of its own.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            ..self
        }
    }

    /// How many tasks run at once, each on a thread and a connection of the tenancy's pool.
    /// Defaults to 1; 0 counts as 1.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            ..self
        }
    }

    /// After how long without a sign of life a worker's tasks go to another. Defaults to one minute.
    ///
    /// A task may take longer than this: the worker gives signs of life for it.
    pub fn visibility(self, visibility: Duration) -> Self {
        Self {
            visibility: visibility.max(Duration::from_secs(1)),
            ..self
        }
    }

    /// How often an empty queue is looked at. Defaults to 200 milliseconds.
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            ..self
        }
    }

    /// How often a task is tried again. Defaults to 3.
    ///
    /// Tasks that no retry helps are not: see [`JobError::can_retry`]. One that
    /// was not begun because the database is busy, or can't be reached, is put off
    /// for as long as that takes, which does not count.
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.patience.max_retries = max_retries;
        self
    }

    /// After how long a task is tried again at first. Defaults to ten seconds.
    ///
    /// Twice as long after each retry, up to a quarter of an hour. A handler that
    /// returns a [`Retry`](super::Retry) says it itself.
    pub fn countdown(mut self, countdown: Duration) -> Self {
        self.patience.countdown = countdown;
        self
    }

    /// Leaves results in the Redis of this URL, Celery's `result_backend`. Defaults to the broker's.
    ///
    /// # Errors
    ///
    /// [`CeleryError::Url`] if it is no URL of Redis.
    pub fn results(self, url: &str) -> Result<Self, CeleryError> {
        Ok(Self {
            results: Some(Broker::new(url)?),
            ..self
        })
    }

    /// Leaves no results.
    pub fn no_results(self) -> Self {
        Self {
            results: None,
            ..self
        }
    }

    /// How long results are kept, Celery's `result_expires`. Defaults to one day.
    pub fn result_expires(self, result_expires: Duration) -> Self {
        Self {
            result_expires: result_expires.max(Duration::from_secs(1)),
            ..self
        }
    }

    /// Works until it is told to stop; what is begun by then is finished.
    ///
    /// It blocks. When Redis fails it in the middle, it says so in the log and tries again.
    ///
    /// # Errors
    ///
    /// [`CeleryError::Redis`] if Redis can't be reached at the start,
    /// [`CeleryError::TwoHandlers`] if a task has two.
    pub fn run(&self, stop: &Stop) -> Result<(), CeleryError> {
        if let Some(task) = self.twice {
            return Err(CeleryError::TwoHandlers { task });
        }
        let keys = Keys::of(&self.queue);
        self.broker.connect()?;
        let in_work = Mutex::new(Vec::new());
        // Signs of life are given until the last task is finished, which is after the stop.
        let finished = Stop::new();
        thread::scope(|scope| {
            let life = scope.spawn(|| self.live(&keys, &in_work, &finished));
            let threads: Vec<_> = (0..self.concurrency)
                .map(|_| scope.spawn(|| self.work(&keys, &in_work, stop)))
                .collect();
            for thread in threads {
                let _ = thread.join();
            }
            finished.stop();
            let _ = life.join();
        });
        // The connection of the start may be gone by now.
        let given = Line::new(&self.broker).ask("giving back tasks", |conn| keys.hand_back(conn));
        if let Err(error) = given {
            log::error!("tasks that wait for their time stay with Rust workers: {error}");
        }
        Ok(())
    }

    /// Gives signs of life for what is in work.
    fn live(&self, keys: &Keys, in_work: &Mutex<Vec<String>>, finished: &Stop) {
        let mut line = Line::new(&self.broker);
        while !finished.wait(self.visibility / 4) {
            let tickets = locked(in_work).clone();
            if tickets.is_empty() {
                continue;
            }
            let kept = line.ask("keeping tasks", |conn| {
                keys.keep(conn, &tickets, self.visibility)
            });
            if let Err(error) = kept {
                log::error!("{} tasks may be done twice: {error}", tickets.len());
            }
        }
    }

    /// What one thread does.
    fn work(&self, keys: &Keys, in_work: &Mutex<Vec<String>>, stop: &Stop) {
        let mut line = Line::new(&self.broker);
        let mut results = self.results.as_ref().map(Line::new);
        while !stop.is_stopped() {
            let taken = match line.ask("taking a task", |conn| keys.take(conn, self.visibility)) {
                Ok(Some(taken)) => taken,
                Ok(None) => {
                    stop.wait(self.poll_interval);
                    continue;
                }
                Err(error) => {
                    log::error!("the worker pauses: {error}");
                    stop.wait(PAUSE);
                    continue;
                }
            };
            locked(in_work).push(taken.ticket.clone());
            self.handle(keys, &taken, &mut line, results.as_mut());
            locked(in_work).retain(|ticket| *ticket != taken.ticket);
        }
    }

    /// Does what a message says, and says what came of it.
    fn handle(
        &self,
        keys: &Keys,
        taken: &Taken,
        line: &mut Line<'_>,
        results: Option<&mut Line<'_>>,
    ) {
        let mut message = match Message::read(&taken.message) {
            Ok(message) => message,
            Err(reason) => {
                log::error!("a message was deleted: {reason}");
                self.finish(keys, taken, None, line);
                return;
            }
        };
        let now = Utc::now();
        let outcome = match (message.time("eta"), message.time("expires")) {
            _ if taken.lost() >= LOST => Outcome::Lost,
            (Err(reason), _) | (_, Err(reason)) => Outcome::refused(reason),
            (_, Ok(Some(expires))) if expires < now => Outcome::Expired,
            (Ok(Some(eta)), _) if eta > now => {
                let time = (eta - now).to_std().unwrap_or_default();
                return put_off(keys, taken, time, line);
            }
            _ => self.outcome(&mut message, &mut |message| {
                let noted = line.ask("noting whose a task is", |conn| {
                    keys.note(conn, taken, &message.written())
                });
                if let Err(error) = noted {
                    log::error!("a task that is lost now goes by the name of its schema: {error}");
                }
            }),
        };
        let (id, task) = message.names();
        outcome.log(id, task);
        if let Outcome::NotBegun(_, countdown) = outcome {
            return put_off(keys, taken, countdown, line);
        }
        if let Some(results) = results
            && !message.ignores_result()
        {
            let result = outcome.result(&message).to_string();
            let left = results.ask("leaving a result", |conn| {
                leave(conn, id, &result, self.result_expires)
            });
            if let Err(error) = left {
                log::error!("the result of task {id} ({task}) is lost: {error}");
            }
        }
        let again = outcome.again(&message).map(|again| again.written());
        self.finish(keys, taken, again.as_deref(), line);
    }

    fn outcome(&self, message: &mut Message, show: &mut dyn FnMut(&Message)) -> Outcome {
        let Some(handler) = self.handlers.get(message.names().1) else {
            return Outcome::NotRegistered;
        };
        // A thread that ended with a panic would be missing from then on.
        let result = catch_unwind(AssertUnwindSafe(|| handler(&self.tenancy, message, show)));
        let result = result.unwrap_or_else(|panic| {
            Err(JobError::Refused {
                reason: format!("reading it panicked: {}", panic_message(&*panic)),
            })
        });
        self.patience.judge(result, message.retries())
    }

    fn finish(&self, keys: &Keys, taken: &Taken, again: Option<&str>, line: &mut Line<'_>) {
        let mut asked = false;
        for _ in 0..TRIES {
            match line.ask("finishing a task", |conn| keys.finish(conn, taken, again)) {
                Ok(true) => return,
                // It was finished, and the answer did not arrive.
                Ok(false) if asked => return,
                Ok(false) => {
                    log::warn!(
                        "a task of queue {} took too long to give a sign of life, and is done twice",
                        self.queue
                    );
                    return;
                }
                Err(error) => {
                    log::error!("a task may be done twice: {error}");
                    asked = true;
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn handler(mut self, task: &'static str, handler: Handler<T>) -> Self {
        if self.handlers.insert(task, handler).is_some() {
            self.twice = Some(task);
        }
        self
    }
}

/// A connection to Redis, made anew after a failure.
struct Line<'a> {
    broker: &'a Broker,
    conn: Option<Connection>,
}

impl<'a> Line<'a> {
    fn new(broker: &'a Broker) -> Self {
        Self { broker, conn: None }
    }

    fn connect(&mut self) -> Result<&mut Connection, CeleryError> {
        match &mut self.conn {
            Some(conn) => Ok(conn),
            none => Ok(none.insert(self.broker.connect()?)),
        }
    }

    fn ask<R>(
        &mut self,
        action: &'static str,
        question: impl FnOnce(&mut Connection) -> RedisResult<R>,
    ) -> Result<R, CeleryError> {
        question(self.connect()?).map_err(|source| {
            self.conn = None;
            self.broker.failed(action, source)
        })
    }
}

/// Puts a task away for so long.
fn put_off(keys: &Keys, taken: &Taken, time: Duration, line: &mut Line<'_>) {
    let put_off = line.ask("putting a task off", |conn| keys.put_off(conn, taken, time));
    if let Err(error) = put_off {
        log::error!("a task that is not due comes again: {error}");
    }
}

/// Leaves a result where Python looks for it, and tells those who wait there.
fn leave(conn: &mut Connection, id: &str, result: &str, expires: Duration) -> RedisResult<()> {
    let key = format!("celery-task-meta-{id}");
    redis::pipe()
        .atomic()
        .set_ex(&key, result, expires.as_secs())
        .ignore()
        .publish(&key, result)
        .ignore()
        .query(conn)
}

fn locked<R>(mutex: &Mutex<R>) -> MutexGuard<'_, R> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: TenantModel> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("broker", &self.broker)
            .field("queue", &self.queue)
            .field("tasks", &self.handlers.keys())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
