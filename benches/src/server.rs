//! The server that is measured, the databases of tenants on it, and what it says of itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use private_postgres::Server;

use crate::workload::{self, Tenant};
use crate::{Args, Result};

/// The name of sessions that are not counted.
const APART: &str = "benches";

/// The settings of the server that are not PostgreSQL's defaults, but for the number of locks.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    // Its work would be counted as that of whoever is measured at the time.
    ("autovacuum", "off"),
    ("log_line_prefix", "%p|%a|"),
    ("max_connections", "200"),
    ("max_wal_size", "8GB"),
    ("shared_buffers", "512MB"),
];

/// What a group is given: a server, and how much is asked.
pub(crate) struct Bench {
    server: Server,
    tenants: Vec<usize>,
    quick: bool,
    databases: RefCell<BTreeMap<usize, Rc<Database>>>,
}

/// A database with tenants of the workload, for groups that leave it as it is.
pub(crate) struct Database {
    pub(crate) url: String,
    /// `tenants[0]` is that of the schema `tenant_0`, and so on.
    pub(crate) tenants: Vec<Tenant>,
}

impl Bench {
    pub(crate) fn start(args: &Args) -> Result<Self> {
        let mut builder = Server::builder().durable(true);
        for (name, value) in SETTINGS {
            builder = builder.setting(name, value);
        }
        if let Some(directory) = &args.keep {
            builder = builder.keep_in(directory);
        }
        Ok(Self {
            server: builder.start()?,
            tenants: args.tenants.clone(),
            quick: args.quick,
            databases: RefCell::default(),
        })
    }

    /// The numbers of tenants that are asked about.
    pub(crate) fn tenants(&self) -> &[usize] {
        &self.tenants
    }

    /// `full`, or a few if only a glance is asked for.
    pub(crate) fn unless_quick<N>(&self, full: N, few: N) -> N {
        if self.quick { few } else { full }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A connection that no count includes.
    pub(crate) fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::establish(&apart(&self.server.url()))?)
    }

    /// The database of so many tenants, which is made the first time.
    ///
    /// Groups share it: they read, and write rows, but change no schema.
    pub(crate) fn database(&self, tenants: usize) -> Result<Rc<Database>> {
        if let Some(database) = self.databases.borrow().get(&tenants) {
            return Ok(Rc::clone(database));
        }
        let name = database_name(tenants);
        if !self.exists(&name)? {
            self.make(tenants)?;
        }
        let url = self.server.url_of(&name);
        let database = Rc::new(Database {
            tenants: workload::tenants(&url)?,
            url,
        });
        self.databases
            .borrow_mut()
            .insert(tenants, Rc::clone(&database));
        Ok(database)
    }

    #[expect(dead_code, reason = "for groups that change schemas")]
    /// A copy of the database of so many tenants, to do with as one likes.
    ///
    /// A copy of that name that is there is replaced; nobody may be connected to it.
    pub(crate) fn copy(&self, tenants: usize, name: &str) -> Result<Database> {
        let original = self.database(tenants)?;
        let mut conn = self.connect()?;
        conn.batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
        let template = database_name(tenants);
        conn.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
        Ok(Database {
            url: self.server.url_of(name),
            tenants: original.tenants.clone(),
        })
    }

    /// Adds tenants to a copy of the next smaller database. It gets its name when it is whole.
    fn make(&self, tenants: usize) -> Result<()> {
        let mut conn = self.connect()?;
        conn.batch_execute("DROP DATABASE IF EXISTS making")?;
        let smaller: Vec<String> = sql::<Text>(
            "SELECT datname::text FROM pg_database WHERE datname LIKE 'tenants\\_%' \
             ORDER BY substr(datname, 9)::int DESC",
        )
        .load(&mut conn)?;
        let is_smaller = |name: &&String| {
            let number = name.trim_start_matches("tenants_").parse::<usize>();
            number.is_ok_and(|number| number < tenants)
        };
        let template = smaller.iter().find(is_smaller);
        let template = template.map_or("template1", String::as_str);
        conn.batch_execute(&format!("CREATE DATABASE making TEMPLATE {template}"))?;
        workload::fill(&self.server.url_of("making"), tenants)?;
        let name = database_name(tenants);
        conn.batch_execute(&format!(
            "ALTER DATABASE making RENAME TO {name}; CHECKPOINT"
        ))?;
        Ok(())
    }

    fn exists(&self, database: &str) -> Result<bool> {
        let query = sql::<BigInt>("SELECT count(*) FROM pg_database WHERE datname = ");
        let count = query
            .bind::<Text, _>(database)
            .get_result::<i64>(&mut self.connect()?)?;
        Ok(count > 0)
    }

    /// Lets the server log every message, until this is dropped: no time to measure any.
    pub(crate) fn listen(&self) -> Result<Listener<'_>> {
        let mut listener = Listener {
            server: &self.server,
            conn: self.connect()?,
        };
        listener.log_from("0")?;
        // Sessions hear of it by a signal, a moment later.
        thread::sleep(Duration::from_millis(100));
        Ok(listener)
    }
}

/// Reads what sessions send to the server. See [`Bench::listen`].
pub(crate) struct Listener<'a> {
    server: &'a Server,
    conn: PgConnection,
}

impl Listener<'_> {
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

fn database_name(tenants: usize) -> String {
    format!("tenants_{tenants}")
}

/// The same URL, for a session whose messages are not counted.
pub(crate) fn apart(url: &str) -> String {
    format!("{url}?application_name={APART}")
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
