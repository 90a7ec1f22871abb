//! What goes wrong meanwhile: backends die, statements are cancelled, clients go away, tenants move.

use std::fmt;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use tenant_schemas::{Lifecycle as _, Tenancy};

use crate::Failure;
use crate::tenants::{Client, Guest, any, moved, random};

/// Threads of clients that go away.
const LEAVERS: usize = 4;

/// Between two backends that die, or have their statement cancelled.
const BETWEEN: Duration = Duration::from_millis(100);

/// So many times one of them, then all at once.
const THEN_ALL: u64 = 50;

/// What is renamed of the tenants that move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moving {
    Domains,
    DomainsAndSchemas,
}

/// Faults under way.
pub(crate) struct Faults {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Done, Failure>>>,
}

/// How many there were.
#[derive(Default)]
pub(crate) struct Done {
    killed: u64,
    listeners_killed: u64,
    cancelled: u64,
    left: u64,
    moved: u64,
    most_connections: i64,
}

impl Faults {
    pub(crate) fn begin(
        url: &str,
        address: SocketAddr,
        tenancy: &Tenancy<Client>,
        guests: &[Guest],
        moving: Moving,
    ) -> Result<Self, Failure> {
        let enough = Arc::new(AtomicBool::new(false));
        let mut killer = PgConnection::establish(url)?;
        let ended = Arc::clone(&enough);
        let mut threads = vec![spawn(move || kill(&mut killer, &ended))];
        let (tenants, ended) = (tenancy.clone(), Arc::clone(&enough));
        threads.push(spawn(move || {
            let mut moved = 0;
            while !ended.load(Ordering::Relaxed) {
                // A backend that dies under it rolls it back; the next turn reads how far it came.
                moved += u64::from(move_one(&tenants, moving).is_ok());
                sleep(Duration::from_millis(20));
            }
            Ok(Done {
                moved,
                ..Done::default()
            })
        }));
        let hosts: Vec<_> = guests
            .iter()
            .map(|guest| guest.tenant.domain_url.clone())
            .collect();
        for _ in 0..LEAVERS {
            let (hosts, ended) = (hosts.clone(), Arc::clone(&enough));
            threads.push(spawn(move || leave(address, &hosts, &ended)));
        }
        Ok(Self { enough, threads })
    }

    pub(crate) fn end(self) -> Result<Done, Failure> {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = Done::default();
        for thread in self.threads {
            let done = thread.join().map_err(|_| "a thread of faults panicked")??;
            all.killed += done.killed;
            all.listeners_killed += done.listeners_killed;
            all.cancelled += done.cancelled;
            all.left += done.left;
            all.moved += done.moved;
            all.most_connections = all.most_connections.max(done.most_connections);
        }
        Ok(all)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backends killed {} (of them listeners of the directory {}), statements cancelled {}, \
             requests left in mid-flight {}, tenants moved {}, most connections at once {}",
            self.killed,
            self.listeners_killed,
            self.cancelled,
            self.left,
            self.moved,
            self.most_connections
        )
    }
}

#[derive(QueryableByName)]
struct Struck {
    #[diesel(sql_type = Bool)]
    listener: bool,
    #[diesel(sql_type = Bool)]
    struck: bool,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() \
                      AND backend_type = 'client backend' AND pid <> pg_backend_pid()";

fn kill(conn: &mut PgConnection, enough: &AtomicBool) -> Result<Done, Failure> {
    let mut done = Done::default();
    for turn in 1.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let there: Count =
            diesel::sql_query(format!("SELECT count(*) {OTHERS}")).get_result(conn)?;
        done.most_connections = done.most_connections.max(there.count);
        let (function, which) = match turn % THEN_ALL {
            0 => ("pg_terminate_backend", ""),
            odd if odd % 2 == 1 => ("pg_terminate_backend", "ORDER BY random() LIMIT 1"),
            _ => (
                "pg_cancel_backend",
                "AND state = 'active' ORDER BY random() LIMIT 1",
            ),
        };
        // The rows are chosen first: `LIMIT` counts what is struck otherwise.
        let struck: Vec<Struck> = diesel::sql_query(format!(
            "WITH chosen AS MATERIALIZED (SELECT pid, application_name = 'tenant-schemas directory' AS listener \
             {OTHERS} {which}) SELECT listener, {function}(pid) AS struck FROM chosen"
        ))
        .load(conn)?;
        for one in struck.iter().filter(|one| one.struck) {
            if function == "pg_cancel_backend" {
                done.cancelled += 1;
            } else {
                done.killed += 1;
                done.listeners_killed += u64::from(one.listener);
            }
        }
        conn.batch_execute("SELECT pg_stat_clear_snapshot()")?;
        sleep(BETWEEN);
    }
    Ok(done)
}

/// Gives one of the tenants that move its other domain, or its schema the other name.
fn move_one(tenancy: &Tenancy<Client>, moving: Moving) -> tenant_schemas::Result<()> {
    let mut all = tenancy.tenants()?;
    all.retain(|tenant| tenant.name == "moving");
    let mut tenant = any(&all).clone();
    let mut conn = tenancy.public()?;
    if moving == Moving::Domains || random().is_multiple_of(2) {
        tenant.domain_url = moved(&tenant.domain_url, ".moved");
        tenant.save(&mut conn)?;
    } else {
        let other = moved(tenant.schema_name.as_str(), "_moved").parse()?;
        tenant.rename(&mut conn, &other)?;
    }
    Ok(())
}

/// Sends requests and does not wait for their answers.
fn leave(address: SocketAddr, hosts: &[String], enough: &AtomicBool) -> Result<Done, Failure> {
    let mut done = Done::default();
    while !enough.load(Ordering::Relaxed) {
        let (host, path) = (any(hosts), any(&["secret", "slow", "write", "move"]));
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        sleep(Duration::from_millis(random() % 25));
        done.left += 1;
    }
    Ok(done)
}
