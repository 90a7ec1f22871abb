//! The server that is measured, the databases of tenants on it, and what it says of itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use private_postgres::Server;

use crate::messages::{Listener, apart};
use crate::workload::{self, Tenant};
use crate::{Args, Result};

/// The settings of the server that are not PostgreSQL's defaults, but for the number of locks.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    // Its work would be counted as that of whoever is measured at the time.
    ("autovacuum", "off"),
    ("log_line_prefix", "%p|%a|"),
    ("max_connections", "200"),
    ("max_wal_size", "8GB"),
    ("shared_buffers", "512MB"),
];

const PAUSE: Duration = Duration::from_millis(20);

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

    /// Waits until all sessions of a database have ended: that takes processor time, which is not
    /// the next one's.
    pub(crate) fn wait_for_sessions(&self, name: &str) -> Result<()> {
        let mut conn = self.connect()?;
        loop {
            let sessions = sql::<BigInt>("SELECT count(*) FROM pg_stat_activity WHERE datname = ");
            let sessions = sessions.bind::<Text, _>(name);
            if sessions.get_result::<i64>(&mut conn)? == 0 {
                break;
            }
            thread::sleep(PAUSE);
        }
        // They are gone from the list, and give back their memory.
        thread::sleep(PAUSE);
        Ok(())
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

    /// Lets the server log every message, until the listener is dropped: no time to measure any.
    pub(crate) fn listen(&self) -> Result<Listener<'_>> {
        Listener::start(&self.server, self.connect()?)
    }
}

fn database_name(tenants: usize) -> String {
    format!("tenants_{tenants}")
}
