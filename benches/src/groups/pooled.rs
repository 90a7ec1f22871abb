//! What `request` and `transaction` have in common: the same work on connections of several pools.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{LoadConnection, SimpleConnection as _};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use tenant_schemas::resolve::{Directory, Host, RequestHead, Resolver as _};
use tenant_schemas::{PooledConnection, SetCalls, Tenancy};

use crate::Result;
use crate::measure::{Case, Measurement};
use crate::messages::apart;
use crate::report::{Row, setting};
use crate::server::{Bench, Database};
use crate::traffic::{Clients, Request, Traffic};
use crate::workload::{self, Tenant};

/// How many tenants a connection serves before it is closed: the library's default.
const BOUND: usize = 200;

/// How often a tenant comes to a connection, on average, before what it costs is counted: PostgreSQL
/// plans its statement six times before it keeps the plan.
const VISITS: usize = 10;

/// What is done with a connection.
pub(super) trait Work: Copy + Sync {
    fn on<C>(self, conn: &mut C, request: Request) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Pg>;
}

/// Connections of the pool, and threads that use it: one, all, and fewer than there are connections.
const POOLS: [(u32, usize); 4] = [(1, 1), (8, 8), (8, 4), (8, 2)];

/// Measures the work in all numbers of tenants, for all traffic, on all pools.
pub(super) fn measure(bench: &Bench, how: Measurement, work: impl Work) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &tenants in bench.tenants() {
        let database = bench.database(tenants)?;
        for traffic in Traffic::ALL {
            for &(connections, threads) in bench.unless_quick(&POOLS[..], &POOLS[..1]) {
                let clients = Clients::new(traffic, tenants, threads)?;
                let setting = setting([
                    ("tenants", tenants.to_string()),
                    ("traffic", traffic.to_string()),
                    ("connections", connections.to_string()),
                    ("threads", threads.to_string()),
                ]);
                let sessions = usize::try_from(connections)?;
                let met = if traffic == Traffic::One { 1 } else { tenants };
                let warm_up = |at_most: usize| {
                    let visits = met.min(at_most) * sessions * VISITS;
                    bench.unless_quick(visits.div_ceil(how.operations).max(3), 1)
                };
                let cases = cases(&database, connections, &clients, work, &warm_up)?;
                rows.extend(how.compare(bench, &setting, cases)?);
            }
        }
    }
    Ok(rows)
}

/// `warm_up` says how many turns it takes until each connection knows its tenants, or so many of them.
fn cases<'a>(
    database: &'a Database,
    connections: u32,
    clients: &Clients,
    work: impl Work + 'a,
    warm_up: &dyn Fn(usize) -> usize,
) -> Result<Vec<Case<'a>>> {
    let Database { url, tenants } = database;
    let one_tenant = format!("{url}?options=-csearch_path%3Dtenant_0%2Cpublic");
    let floor = plain_pool(one_tenant, connections)?;
    let mut their = clients.clone();
    let floor = Case::floor("floor: no tenancy", move |requests| {
        their.send(
            requests,
            |request| Ok(work.on(&mut *floor.get()?, request)?),
        )
    })
    .warmed_up(warm_up(1));
    let mut cases = vec![floor];
    for (name, resets) in [
        ("SET at each checkout", false),
        ("SET, and RESET at its end", true),
    ] {
        let pool = plain_pool(url, connections)?;
        let mut their = clients.clone();
        let case = Case::new(name, move |requests| {
            their.send(requests, |request| {
                let mut conn = pool.get()?;
                let schema = &tenants[request.tenant].schema_name;
                conn.batch_execute(&format!("SET search_path TO {}, public", schema.quoted()))?;
                work.on(&mut *conn, request)?;
                if resets {
                    conn.batch_execute("RESET search_path")?;
                }
                Ok(())
            })
        });
        cases.push(case.warmed_up(warm_up(usize::MAX)));
    }
    let mut sites = vec![
        ("EveryCheckout", SetCalls::EveryCheckout, BOUND),
        ("WhenChanged", SetCalls::WhenChanged, BOUND),
        ("FirstStatement", SetCalls::FirstStatement, BOUND),
    ];
    if tenants.len() > BOUND {
        let name = "WhenChanged, room for all";
        sites.push((name, SetCalls::WhenChanged, tenants.len()));
        let name = "FirstStatement, room for all";
        sites.push((name, SetCalls::FirstStatement, tenants.len()));
    }
    // A program has one, whose thread wakes up to listen.
    let directory = Arc::new(directory(database)?);
    for (name, set_calls, bound) in sites {
        let site = Site {
            tenancy: site_tenancy(database, connections, set_calls, bound)?,
            directory: Arc::clone(&directory),
        };
        let mut their = clients.clone();
        let case = Case::new(name, move |requests| {
            their.send(requests, |request| {
                let host = &tenants[request.tenant].domain_url;
                Ok(work.on(&mut *site.connection(host)?, request)?)
            })
        });
        cases.push(case.warmed_up(warm_up(bound)));
    }
    Ok(cases)
}

/// A pool as a program without tenants has it.
fn plain_pool(
    url: impl Into<String>,
    connections: u32,
) -> Result<Pool<ConnectionManager<PgConnection>>> {
    let manager = ConnectionManager::new(url);
    Ok(Pool::builder().max_size(connections).build(manager)?)
}

/// One that knows all tenants already.
fn directory(database: &Database) -> Result<Directory<Tenant>> {
    let directory = Directory::builder(&workload::tenancy(&database.url).build()?)
        .listen_on(apart(&database.url))
        // Not in the turn of one and not of another.
        .time_to_live(Duration::from_hours(1))
        .build();
    for tenant in &database.tenants {
        directory.by_domain(&tenant.domain_url)?;
    }
    Ok(directory)
}

/// A program with tenants: from a host to a connection.
struct Site {
    tenancy: Tenancy<Tenant>,
    directory: Arc<Directory<Tenant>>,
}

fn site_tenancy(
    database: &Database,
    connections: u32,
    set_calls: SetCalls,
    bound: usize,
) -> Result<Tenancy<Tenant>> {
    Ok(workload::tenancy(&database.url)
        .pool_size(connections)
        // As in a pool of r2d2: all of them, not as many as are needed at once.
        .min_idle(connections)
        .set_calls(set_calls)
        .max_tenants_per_connection(bound)
        .build()?)
}

impl Site {
    fn connection(&self, host: &str) -> Result<PooledConnection> {
        let head = RequestHead::new(host, "/");
        let answer = Host::new()
            .resolve(&head)?
            .ok_or("a host says whose it is")?;
        let tenant = self.directory.find(answer.question())?;
        Ok(self
            .tenancy
            .tenant(&*tenant.ok_or("a tenant of that host")?)?)
    }
}
