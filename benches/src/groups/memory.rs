//! How much memory do a backend and the process hold, as the tenants grow that they have visited?

use std::collections::HashSet;
use std::fs;

use diesel::connection::{LoadConnection, SimpleConnection as _};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use indexmap::IndexMap;

use crate::Result;
use crate::measure::float;
use crate::report::{Group, Row, setting};
use crate::server::{Bench, Database};
use crate::workload::{self, TABLES, Tenant, contacts};

/// After so many tenants the memory is looked at, and after all.
const VISITED: [usize; 7] = [1, 10, 50, 100, 200, 500, 1_000];

const BACKEND: &str = "backend MB";

const FLOOR: &str = "floor: one schema, as often";

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let most = bench.tenants().iter().max().ok_or("a number of tenants")?;
    let database = bench.database(*most)?;
    let Database { url, tenants } = &*database;
    let mut rows = visits(FLOOR, tenants, {
        let mut conn = PgConnection::establish(url)?;
        set_path(&mut conn, &tenants[0])?;
        move |_| visit(&mut conn)
    })?;
    rows.extend(visits("SET for each", tenants, {
        let mut conn = PgConnection::establish(url)?;
        move |tenant| {
            set_path(&mut conn, tenant)?;
            visit(&mut conn)
        }
    })?);
    for (name, most) in [
        ("no bound", usize::MAX),
        ("the default bound", 200),
        ("a bound of 50", 50),
    ] {
        let tenancy = workload::tenancy(url)
            .pool_size(1)
            .max_tenants_per_connection(most)
            .build()?;
        rows.extend(visits(name, tenants, move |tenant| {
            visit(&mut *tenancy.tenant(tenant)?)
        })?);
    }
    compare(&mut rows);
    Ok(Group {
        name: "memory".to_owned(),
        question: "how much memory do a backend and the process hold, \
                   as the tenants grow that one connection has visited?"
            .to_owned(),
        axis: "visited".to_owned(),
        drawn: vec![BACKEND.to_owned(), "process MB".to_owned()],
        rows,
    })
}

/// The memory after so and so many visits, each of which says which backend it found.
fn visits(
    case: &str,
    tenants: &[Tenant],
    mut visit: impl FnMut(&Tenant) -> Result<i32>,
) -> Result<Vec<Row>> {
    let before = own_memory("self")?;
    let mut backends = HashSet::new();
    let mut rows = Vec::new();
    for (tenant, visited) in tenants.iter().zip(1..) {
        let backend = visit(tenant)?;
        backends.insert(backend);
        if VISITED.contains(&visited) || visited == tenants.len() {
            let process = own_memory("self")? - before;
            rows.push(Row {
                case: case.to_owned(),
                is_floor: case == FLOOR,
                setting: setting([("visited", visited.to_string())]),
                figures: IndexMap::from([
                    (BACKEND.to_owned(), own_memory(&backend.to_string())?),
                    ("process MB".to_owned(), process),
                    ("backends".to_owned(), float(backends.len())),
                ]),
            });
        }
    }
    Ok(rows)
}

/// Adds the ratio to the floor after as many visits.
fn compare(rows: &mut [Row]) {
    let backend = |row: &Row| row.figures.get(BACKEND).copied();
    let floors = rows.iter().filter(|row| row.is_floor);
    let floors: Vec<_> = floors
        .map(|row| (row.setting.clone(), backend(row)))
        .collect();
    for row in rows {
        let floor = floors.iter().find(|(setting, _)| *setting == row.setting);
        if let (Some(backend), Some((_, Some(floor)))) = (backend(row), floor) {
            row.figures.insert("× floor".to_owned(), backend / floor);
        }
    }
}

/// Reads each table, and a row by its key as a program does. Returns the backend's process.
fn visit<C>(conn: &mut C) -> Result<i32>
where
    C: LoadConnection<Backend = Pg>,
{
    let counts = TABLES.map(|table| format!("(SELECT count(*) FROM {table})"));
    diesel::sql_query(format!("SELECT {}", counts.join(" + "))).execute(conn)?;
    let contact = contacts::table.find(1);
    contact.select(contacts::full_name).first::<String>(conn)?;
    Ok(diesel::select(pg_backend_pid()).get_result(conn)?)
}

#[diesel::declare_sql_function]
extern "SQL" {
    fn pg_backend_pid() -> Integer;
}

fn set_path(conn: &mut PgConnection, tenant: &Tenant) -> QueryResult<()> {
    let schema = tenant.schema_name.quoted();
    conn.batch_execute(&format!("SET search_path TO {schema}, public"))
}

/// What a process has for itself, in MB: not the shared buffers, nor what it has from its parent.
fn own_memory(process: &str) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let anonymous = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss_Anon:"));
    let kilobytes = anonymous.and_then(|text| text.trim().strip_suffix(" kB"));
    Ok(kilobytes
        .ok_or("Pss_Anon in smaps_rollup")?
        .parse::<f64>()?
        / 1024.0)
}
