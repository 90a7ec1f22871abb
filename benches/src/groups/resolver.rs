//! What does it cost to find the tenant of a request?

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use allocation_counter::AllocationInfo;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use http::Request;
use http::header::HOST;
use http::request::Parts;
use tenant_schemas::resolve::{Directory, Host, RequestHead, Resolver as _};

use crate::Result;
use crate::measure::{Case, Measurement, float};
use crate::report::{Group, Row, Unit, setting};
use crate::server::{Bench, Database};
use crate::workload::{self, Tenant, tenants};

/// A power of two, so that it costs nothing to take them in turn.
const REQUESTS: usize = 4_096;

/// A `SELECT` takes as long as hundreds of the others.
const SELECTS: usize = 1_000;

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let how = Measurement {
        rounds: bench.unless_quick(15, 1),
        operations: bench.unless_quick(400_000, 100),
        counted: 0,
        unit: Unit::Nanoseconds,
    };
    let mut rows = Vec::new();
    for &tenants in bench.tenants() {
        let database = bench.database(tenants)?;
        rows.extend(hosts(bench, how, &database, true)?);
        rows.extend(hosts(bench, how, &database, false)?);
    }
    Ok(Group {
        name: "resolver".to_owned(),
        question: "what does it cost to find the tenant of a request, or that it has none?"
            .to_owned(),
        axis: "tenants".to_owned(),
        drawn: vec!["wall ns".to_owned()],
        rows,
    })
}

/// Ways from a request to the tenant, for hosts that are known, or for hosts that are nobody's.
fn hosts(bench: &Bench, how: Measurement, database: &Database, known: bool) -> Result<Vec<Row>> {
    let Database { url, tenants: all } = database;
    let requests = (0..REQUESTS).map(|number| {
        let whose = if known {
            number % all.len()
        } else {
            all.len() + number
        };
        request(&format!("tenant-{whose}.test"))
    });
    let requests = requests.collect::<Result<Vec<_>>>()?;

    let map = all
        .iter()
        .map(|tenant| (tenant.domain_url.clone(), Arc::new(tenant.clone())));
    let map: RwLock<HashMap<String, Arc<Tenant>>> = RwLock::new(map.collect());
    let mut by_map = |request: &Parts| {
        let map = map.read().map_err(|_| "a lock that is whole")?;
        Ok(map.get(host(request)?).cloned())
    };
    let mut conn = PgConnection::establish(url)?;
    let mut by_select = |request: &Parts| {
        let of_host = tenants::table.filter(tenants::domain_url.eq(host(request)?));
        Ok(of_host.first(&mut conn).optional()?.map(Arc::new))
    };
    let tenancy = workload::tenancy(url).pool_size(1).build()?;
    let directory = Directory::builder(&tenancy).build();
    let mut by_directory = |request: &Parts| {
        let head = RequestHead::of(request);
        let answer = Host::new().resolve(&head)?.ok_or("a host")?;
        Ok(directory.find(answer.question())?)
    };

    let mut allocations = Vec::new();
    let mut ways: [(&str, &mut dyn Find); 3] = [
        ("floor: a hash map behind a lock", &mut by_map),
        ("floor: SELECT", &mut by_select),
        ("directory", &mut by_directory),
    ];
    for (_, find) in &mut ways {
        allocations.push(allocated(&mut **find, &requests, known)?);
    }
    let cases = ways.into_iter().map(|(name, find)| {
        let run = |count| all_found(find, &requests, count, known);
        let case = match name.strip_prefix("floor: ") {
            Some(_) => Case::floor(name, run),
            None => Case::new(name, run),
        };
        if name.ends_with("SELECT") {
            case.at_most(SELECTS)
        } else {
            case
        }
    });
    let setting = setting([
        ("tenants", all.len().to_string()),
        ("host", if known { "known" } else { "nobody's" }.to_owned()),
    ]);
    let mut rows = how.compare(bench, &setting, cases.collect())?;
    for (row, allocations) in rows.iter_mut().zip(allocations) {
        row.figures.insert("allocations".to_owned(), allocations);
    }
    Ok(rows)
}

/// A way from a request to its tenant.
trait Find: FnMut(&Parts) -> Result<Option<Arc<Tenant>>> {}
impl<F: FnMut(&Parts) -> Result<Option<Arc<Tenant>>>> Find for F {}

fn request(host: &str) -> Result<Parts> {
    let request = Request::get("/rooms")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")
        .header("accept", "text/html")
        .header("host", format!("{host}:8000"));
    Ok(request.body(())?.into_parts().0)
}

/// The host of a request, without any of the care that it needs.
fn host(request: &Parts) -> Result<&str> {
    let host = request.headers.get(HOST).ok_or("a host")?.to_str()?;
    Ok(host.strip_suffix(":8000").unwrap_or(host))
}

fn all_found(find: &mut dyn Find, requests: &[Parts], count: usize, known: bool) -> Result<()> {
    for request in requests.iter().cycle().take(count) {
        if find(request)?.is_some() != known {
            return Err("a request was not answered as it should be".into());
        }
    }
    Ok(())
}

/// How often memory is asked for to answer a request, once everything was asked for before.
fn allocated(find: &mut dyn Find, requests: &[Parts], known: bool) -> Result<f64> {
    all_found(find, requests, requests.len(), known)?;
    let mut outcome = Ok(());
    let AllocationInfo { count_total, .. } = allocation_counter::measure(|| {
        outcome = all_found(find, requests, requests.len(), known);
    });
    outcome?;
    Ok(float(usize::try_from(count_total)?) / float(requests.len()))
}
