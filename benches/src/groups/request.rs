//! What does a request cost: find the tenant, check out, one `SELECT` by primary key, give back?

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;

use super::pooled::{self, Work};
use crate::Result;
use crate::measure::Measurement;
use crate::report::{Group, Unit};
use crate::server::Bench;
use crate::traffic::Request;
use crate::workload::contacts;

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let how = Measurement {
        rounds: bench.unless_quick(5, 1),
        // The processor forgets a case while the others have their turns: many of each are to
        // find what the one before them left.
        operations: bench.unless_quick(10_000, 16),
        counted: bench.unless_quick(1_000, 16),
        unit: Unit::Microseconds,
    };
    Ok(Group {
        name: "request".to_owned(),
        question: "what does a request cost: find the tenant, check out a connection, \
                   one SELECT by primary key, give back?"
            .to_owned(),
        axis: "tenants".to_owned(),
        drawn: vec!["wall µs".to_owned(), "server CPU µs".to_owned()],
        rows: pooled::measure(bench, how, Select)?,
    })
}

#[derive(Clone, Copy)]
struct Select;

impl Work for Select {
    fn on<C>(self, conn: &mut C, request: Request) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Pg>,
    {
        let query = contacts::table.find(request.contact);
        query.select(contacts::full_name).first::<String>(conn)?;
        Ok(())
    }
}
