//! What does a transaction of five statements cost?

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;

use super::pooled::{self, Work};
use crate::Result;
use crate::measure::Measurement;
use crate::report::{Group, Unit};
use crate::server::Bench;
use crate::traffic::Request;
use crate::workload::{contacts, notes};

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let how = Measurement {
        rounds: bench.unless_quick(5, 1),
        operations: bench.unless_quick(2_000, 8),
        counted: bench.unless_quick(300, 8),
        unit: Unit::Microseconds,
    };
    Ok(Group {
        name: "transaction".to_owned(),
        question: "what does a request cost whose work is one transaction: \
                   SELECT, INSERT, UPDATE, SELECT, DELETE?"
            .to_owned(),
        axis: "tenants".to_owned(),
        drawn: vec!["wall µs".to_owned(), "server CPU µs".to_owned()],
        rows: pooled::measure(bench, how, FiveStatements)?,
    })
}

#[derive(Clone, Copy)]
struct FiveStatements;

impl Work for FiveStatements {
    fn on<C>(self, conn: &mut C, request: Request) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Pg>,
    {
        conn.transaction(|conn| {
            let contact = contacts::table.find(request.contact);
            let name: String = contact.select(contacts::full_name).first(conn)?;
            let note = (
                notes::contact_id.eq(request.contact),
                notes::body.eq(name),
                notes::pinned.eq(false),
            );
            let insert = diesel::insert_into(notes::table).values(note);
            let note = notes::table.find(insert.returning(notes::id).get_result::<i64>(conn)?);
            let pin = diesel::update(note).set(notes::pinned.eq(true));
            pin.execute(conn)?;
            note.select(notes::pinned).first::<bool>(conn)?;
            // So that the table is no larger the next time.
            diesel::delete(note).execute(conn)?;
            Ok(())
        })
    }
}
