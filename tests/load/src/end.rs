//! The end: is every connection idle, and good for any tenant?

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tenant_schemas::Tenancy;

use crate::Failure;
use crate::tenants::{Client, Guest, secret_of};

#[derive(QueryableByName)]
struct Sessions {
    #[diesel(sql_type = BigInt)]
    all: i64,
    #[diesel(sql_type = BigInt)]
    idle: i64,
}

/// Waits for the pool, and takes all of its connections at once, for each tenant again.
pub(crate) fn look(
    tenancy: &Tenancy<Client>,
    url: &str,
    guests: &[Guest],
) -> Result<String, Failure> {
    let pool = tenancy.pool();
    let patience = Instant::now() + Duration::from_secs(30);
    let state = loop {
        let state = pool.state();
        if state.idle_connections == state.connections {
            break state;
        }
        if Instant::now() > patience {
            return Err(format!("not every connection came back: {state:?}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let staying: Vec<_> = guests.iter().filter(|guest| !guest.moves).collect();
    let size = pool.max_size() as usize;
    let mut reads = 0;
    for first in 0..staying.len() {
        let whose = |number: usize| staying[(first + number) % staying.len()];
        let mut all = Vec::new();
        for number in 0..size {
            all.push(tenancy.tenant(&whose(number).tenant)?);
        }
        for (number, conn) in all.iter_mut().enumerate() {
            let (guest, found) = (whose(number), secret_of(conn)?);
            if found != guest.secret {
                let schema = &guest.tenant.schema_name;
                return Err(format!("{schema} reads {found}, not {}", guest.secret).into());
            }
            reads += 1;
        }
    }
    let sessions: Sessions = diesel::sql_query(
        "SELECT count(*) AS all, count(*) FILTER (WHERE state = 'idle') AS idle FROM pg_stat_activity \
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
    .get_result(&mut PgConnection::establish(url)?)?;
    // The directory's listener has one beside the pool.
    if sessions.idle < sessions.all || sessions.all > i64::from(pool.max_size()) + 1 {
        let Sessions { all, idle } = sessions;
        return Err(format!("the server has {all} sessions, of which {idle} are idle").into());
    }
    Ok(format!(
        "pool: {} connections, {} idle; all {size} at once, for {} tenants in turn: {reads} reads, none wrong; \
         the server has {} sessions, {} idle",
        state.connections,
        state.idle_connections,
        staying.len(),
        sessions.all,
        sessions.idle
    ))
}
