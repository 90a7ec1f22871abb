//! How many messages the server gets for something, counted by the server.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::QueryResult;
use private_postgres::Server;

use crate::Result;

/// The name of sessions that are not counted.
const APART: &str = "benches";

/// The same URL, for a session whose messages are not counted.
pub(crate) fn apart(url: &str) -> String {
    format!("{url}?application_name={APART}")
}

/// Reads what sessions send to the server, which logs it as long as there is a listener.
pub(crate) struct Listener<'a> {
    server: &'a Server,
    conn: PgConnection,
}

impl<'a> Listener<'a> {
    pub(crate) fn start(server: &'a Server, conn: PgConnection) -> Result<Self> {
        let mut listener = Self { server, conn };
        listener.log_from("0")?;
        // Sessions hear of it by a signal, a moment later.
        thread::sleep(Duration::from_millis(100));
        Ok(listener)
    }

    /// What others send while `f` runs.
    pub(crate) fn messages(&self, f: impl FnOnce() -> Result<()>) -> Result<Messages> {
        let before = self.server.log().len();
        f()?;
        Ok(Messages::of(&self.server.log()[before..]))
    }

    fn log_from(&mut self, milliseconds: &str) -> QueryResult<()> {
        let setting = format!("ALTER SYSTEM SET log_min_duration_statement = {milliseconds}");
        self.conn.batch_execute(&setting)?;
        self.conn.batch_execute("SELECT pg_reload_conf()")
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        // If it fails, the server is gone.
        let _ = self.log_from("-1");
    }
}

/// How many messages the server got, each of which is a round trip.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Messages {
    pub(crate) count: usize,
    /// How many of them turned a connection to another tenant than it was at before.
    pub(crate) switches: usize,
}

impl Messages {
    fn of(log: &str) -> Self {
        let mut messages = Self::default();
        let mut paths = HashMap::new();
        for line in log.lines() {
            let mut parts = line.splitn(3, '|');
            let (Some(session), Some(name), Some(text)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue; // a line that goes on with a statement
            };
            let Some((_, message)) = text.split_once(" ms  ") else {
                continue;
            };
            // A simple query, a preparation, an execution. Binding comes with the execution.
            let counts = ["statement: ", "parse ", "execute "];
            if name == APART || !counts.iter().any(|kind| message.starts_with(kind)) {
                continue;
            }
            messages.count += 1;
            if let Some((_, path)) = message.split_once("SET search_path TO ") {
                let path = path.split(';').next().unwrap_or(path);
                let before = paths.insert(session, path);
                messages.switches += usize::from(before.is_some_and(|before| before != path));
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    #[test]
    fn messages_are_counted_by_session_and_kind() {
        let log = "\
            1|[unknown]|LOG:  duration: 0.1 ms  statement: SET search_path TO \"a\", public\n\
            1|[unknown]|LOG:  duration: 0.1 ms  parse s1: SELECT 1\n\
            1|[unknown]|LOG:  duration: 0.1 ms  bind s1: SELECT 1\n\
            1|[unknown]|LOG:  duration: 0.1 ms  execute s1: SELECT 1\n\
            1|[unknown]|DETAIL:  parameters: $1 = '1'\n\
            2|benches|LOG:  duration: 0.1 ms  statement: SELECT 2\n\
            2|psql|LOG:  duration: 0.1 ms  statement: SET search_path TO \"b\", public\n\
            \tAND more\n\
            1|[unknown]|LOG:  duration: 0.1 ms  statement: SET search_path TO \"a\", public; CLOSE ALL\n\
            1|[unknown]|LOG:  duration: 0.1 ms  statement: SET search_path TO \"b\", public\n";
        assert_eq!(
            Messages::of(log),
            Messages {
                count: 6,
                switches: 1
            }
        );
    }
}
