//! The server of the load test, and the faults that it makes. `tests/load.sh` drives it.
//!
//! ```text
//! tenant-schemas-load every-checkout|when-changed domains|schemas|schemas-over-public FILE
//! ```
//!
//! The second argument says what is renamed. `public` is behind each tenant in the path, with a
//! row for those who get lost, unless `schemas` are renamed: a statement that is under way then
//! would find that row. `schemas-over-public` shows it, and fails.
//!
//! It writes the hosts and their secrets to `FILE`, says `ready ADDRESS`, and does what the lines
//! of its input say: `faults` begins them, `calm` ends them, `end` looks at the pool and reports.
//! It ends with its input, so it does not outlive the script.

mod end;
mod faults;
mod routes;
mod said;
mod tenants;

use std::io::{BufRead as _, Write as _};

use tenant_schemas::web::Site;
use tenant_schemas::{SetCalls, Tenancy};

use crate::faults::{Faults, Moving};
use crate::tenants::{Client, shared, tenants_app};

/// Fewer than there are clients, so that they wait for one another.
const POOL: u32 = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (Some(set_calls), Some(moving), Some(file)) = (args.next(), args.next(), args.next())
    else {
        return Err("three arguments, please: how paths are set, what moves, and a file".into());
    };
    let set_calls = match set_calls.as_str() {
        "every-checkout" => SetCalls::EveryCheckout,
        "when-changed" => SetCalls::WhenChanged,
        "first-statement" => SetCalls::FirstStatement,
        other => {
            let known = "every-checkout, when-changed or first-statement";
            return Err(format!("{other} is none of {known}").into());
        }
    };
    let (moving, over_public) = match moving.as_str() {
        "domains" => (Moving::Domains, true),
        "schemas" => (Moving::DomainsAndSchemas, false),
        "schemas-over-public" => (Moving::DomainsAndSchemas, true),
        other => return Err(format!("{other} is nothing that moves").into()),
    };
    said::listen();
    let server = private_postgres::Server::start()?;
    let tenancy = Tenancy::<Client>::builder(server.url())
        .app(shared())
        .app(tenants_app())
        .pool_size(POOL)
        .include_shared(over_public)
        .set_calls(set_calls)
        .build()?;
    let guests = tenants::settle(&tenancy)?;
    std::fs::write(&file, tenants::lines(&guests))?;

    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let site = Site::builder(&tenancy)
        .wait_for_connection(std::time::Duration::from_secs(10))
        .build();
    runtime.spawn(routes::serve(listener, &site));
    say(&format!("ready {address}"))?;

    let mut faults = None;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "faults" => {
                let begun = Faults::begin(&server.url(), address, &tenancy, &guests, moving)?;
                faults = Some(begun);
            }
            "calm" => {
                let done = faults.take().ok_or("there are no faults to end")?.end()?;
                say(&format!("calm {done}"))?;
            }
            "end" => {
                let report = end::look(&tenancy, &server.url(), &guests)?;
                say(&report)?;
                return say(&said::report());
            }
            other => return Err(format!("{other}: faults, calm or end, please").into()),
        }
    }
    Err("the input ended before the test did".into())
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
