//! Redis, as Celery uses it: lists of messages, and results under their keys.

use std::fmt;
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, RedisResult, Script};

use super::CeleryError;

/// The priorities that have a list of their own; the first is the most urgent.
const STEPS: [u8; 4] = [0, 3, 6, 9];

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is between a queue's name and a priority in the key of a list.
const SEPARATOR: &str = "\x06\x16";

/// A Redis, by its URL.
#[derive(Clone)]
pub(super) struct Broker {
    client: Client,
    address: String,
}

impl Broker {
    /// Reads a URL, also in the way in which Celery writes that of a socket.
    pub(super) fn new(url: &str) -> Result<Self, CeleryError> {
        let client = Client::open(translated(url)).map_err(|source| CeleryError::Url { source })?;
        let address = match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            other => other.to_string(),
        };
        Ok(Self { client, address })
    }

    /// A connection that fails, rather than waits, if Redis does not answer.
    pub(super) fn connect(&self) -> Result<Connection, CeleryError> {
        let connected = self.client.get_connection_with_timeout(PATIENCE);
        let with_patience = connected.and_then(|conn| {
            conn.set_read_timeout(Some(PATIENCE))?;
            conn.set_write_timeout(Some(PATIENCE))?;
            Ok(conn)
        });
        with_patience.map_err(|source| self.failed("connecting", source))
    }

    pub(super) fn failed(&self, action: &'static str, source: redis::RedisError) -> CeleryError {
        CeleryError::Redis {
            address: self.address.clone(),
            action,
            source,
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broker").field(&self.address).finish()
    }
}

/// Celery's URL of a socket, `redis+socket:///path?virtual_host=1`, is another here.
fn translated(url: &str) -> String {
    match url.strip_prefix("redis+socket://") {
        Some(rest) => format!("redis+unix://{}", rest.replace("virtual_host=", "db=")),
        None => url.to_owned(),
    }
}

/// The key of the list for messages of this priority.
pub(super) fn list(queue: &str, priority: u8) -> String {
    match STEPS.iter().rev().find(|step| **step <= priority) {
        None | Some(0) => queue.to_owned(),
        Some(step) => format!("{queue}{SEPARATOR}{step}"),
    }
}

/// The keys of a queue.
///
/// Celery's workers keep what they work on in keys of theirs, for an hour. Ours
/// are others: no worker of one language gives back what one of the other has.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    in_work: String,
    later: String,
    messages: String,
    lists: [String; 4],
}

/// A message that this worker has taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ticket: String,
    pub(super) message: Vec<u8>,
    list: usize,
}

impl Taken {
    /// How often the message was lost with its worker: JSON may have spaces in front.
    pub(super) fn lost(&self) -> usize {
        let spaces = self.message.iter().take_while(|byte| **byte == b' ');
        spaces.count()
    }
}

impl Keys {
    pub(super) fn of(queue: &str) -> Self {
        Self {
            in_work: format!("tenant_schemas.{queue}.in_work"),
            later: format!("tenant_schemas.{queue}.later"),
            messages: format!("tenant_schemas.{queue}.messages"),
            lists: STEPS.map(|step| list(queue, step)),
        }
    }

    /// Takes the next message: another worker gets it, unless it is kept or finished in time.
    pub(super) fn take(&self, conn: &mut Connection, time: Duration) -> RedisResult<Option<Taken>> {
        let ticket = uuid::Uuid::new_v4().to_string();
        let taken: Option<(usize, Vec<u8>)> = Script::new(include_str!("lua/take.lua"))
            .key(&self.in_work)
            .key(&self.later)
            .key(&self.messages)
            .key(&self.lists)
            .arg(&ticket)
            .arg(milliseconds(time))
            .invoke(conn)?;
        Ok(taken.map(|(list, message)| Taken {
            ticket,
            message,
            list: list.saturating_sub(1),
        }))
    }

    /// Keeps messages for longer.
    pub(super) fn keep(
        &self,
        conn: &mut Connection,
        tickets: &[String],
        time: Duration,
    ) -> RedisResult<()> {
        Script::new(include_str!("lua/keep.lua"))
            .key(&self.in_work)
            .arg(milliseconds(time))
            .arg(tickets)
            .invoke(conn)
    }

    /// Puts another message in the place of one that was taken, unless another worker has it.
    pub(super) fn note(
        &self,
        conn: &mut Connection,
        taken: &Taken,
        message: &str,
    ) -> RedisResult<()> {
        Script::new(include_str!("lua/note.lua"))
            .key(&self.messages)
            .arg(&taken.ticket)
            .arg(" ".repeat(taken.lost()) + message)
            .invoke(conn)
    }

    /// Is done with a message, and sends another in its place, if any; `false` if another worker has it.
    pub(super) fn finish(
        &self,
        conn: &mut Connection,
        taken: &Taken,
        again: Option<&str>,
    ) -> RedisResult<bool> {
        Script::new(include_str!("lua/finish.lua"))
            .key(&self.in_work)
            .key(&self.messages)
            .key(&self.lists[taken.list.min(STEPS.len() - 1)])
            .arg(&taken.ticket)
            .arg(again)
            .invoke(conn)
    }

    /// Puts a message away for so long.
    pub(super) fn put_off(
        &self,
        conn: &mut Connection,
        taken: &Taken,
        time: Duration,
    ) -> RedisResult<()> {
        Script::new(include_str!("lua/put_off.lua"))
            .key(&self.in_work)
            .key(&self.later)
            .arg(&taken.ticket)
            .arg(milliseconds(time).saturating_add(1))
            .invoke(conn)
    }

    /// Gives back what was put away.
    pub(super) fn hand_back(&self, conn: &mut Connection) -> RedisResult<()> {
        Script::new(include_str!("lua/hand_back.lua"))
            .key(&self.later)
            .key(&self.messages)
            .key(&self.lists)
            .invoke(conn)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_written_as_celery_does_or_as_redis_does() {
        let written = "redis+socket:///run/redis.sock?virtual_host=1";
        assert_eq!(translated(written), "redis+unix:///run/redis.sock?db=1");
        assert_eq!(translated("redis://h:1/2"), "redis://h:1/2");
    }

    #[test]
    fn each_third_priority_has_a_list() {
        let lists: Vec<String> = [0, 2, 3, 5, 6, 9, 200]
            .map(|priority| list("q", priority))
            .into();
        let expected = [
            "q",
            "q",
            "q\x06\x163",
            "q\x06\x163",
            "q\x06\x166",
            "q\x06\x169",
            "q\x06\x169",
        ];
        assert_eq!(lists, expected);
    }

    #[test]
    fn a_password_is_not_shown() {
        let broker = Broker::new("redis://:secret@localhost:1/0").expect("a URL");
        assert_eq!(format!("{broker:?}"), r#"Broker("localhost:1")"#);
        assert!(Broker::new("amqp://localhost").is_err());
    }
}
