//! What does it cost to provision a tenant: 12 migrations, 20 tables, keys to a shared table?

use std::cell::RefCell;
use std::sync::Mutex;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use tenant_schemas::{Lifecycle as _, Tenancy};

use crate::Result;
use crate::measure::{Case, Measurement};
use crate::psql::Psql;
use crate::report::{Group, Unit, setting};
use crate::server::Bench;
use crate::threads::on_threads;
use crate::workload::{self, Tenant};

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let how = Measurement {
        rounds: bench.unless_quick(3, 1),
        operations: bench.unless_quick(100, 4),
        counted: bench.unless_quick(4, 2),
        unit: Unit::Milliseconds,
    };
    let mut rows = Vec::new();
    for connections in bench.unless_quick(vec![1, 2, 4], vec![1, 2]) {
        let setting = setting([("connections", connections.to_string())]);
        let site = |name| Site::new(bench, name, connections);
        let [psql, ddl, like, replay, ready] =
            ["psql", "ddl", "copies", "replayed", "ready"].map(site);
        rows.extend(how.compare(
            bench,
            &setting,
            vec![
                Case::floor("floor: psql, the DDL in one transaction", |count| psql.script(count))
                    .prepared(|| psql.prepare(0)),
                Case::floor("floor: and in one message", |count| {
                    ddl.raw(count, |_| workload::ddl())
                })
                .prepared(|| ddl.prepare(0)),
                Case::floor("floor: CREATE TABLE .. LIKE, and the keys", |count| {
                    like.raw(count, Site::copies)
                })
                .prepared(|| like.prepare(0)),
                Case::new("save", |count| replay.save(count)).prepared(|| replay.prepare(0)),
                Case::new("save, with schemas made ahead", |count| ready.save(count))
                    .prepared(|| ready.prepare(how.operations)),
            ],
        )?);
    }
    Ok(Group {
        name: "provision".to_owned(),
        question: "what does it cost to provision a tenant: 12 migrations, 20 tables, \
                   keys to a shared table, several connections at once?"
            .to_owned(),
        axis: "connections".to_owned(),
        drawn: vec!["wall ms".to_owned(), "server CPU ms".to_owned()],
        rows,
    })
}

/// A database of its own for each case, made anew for each turn.
struct Site<'a> {
    bench: &'a Bench,
    name: &'static str,
    connections: usize,
    open: RefCell<Option<Open>>,
}

/// What a turn has, warm.
struct Open {
    tenancy: Tenancy<Tenant>,
    raw: Vec<Mutex<PgConnection>>,
    programs: Vec<Mutex<Psql>>,
    copies: String,
    /// The number of the next tenant.
    next: usize,
}

impl<'a> Site<'a> {
    fn new(bench: &'a Bench, name: &'static str, connections: usize) -> Self {
        Self {
            bench,
            name,
            connections,
            open: RefCell::default(),
        }
    }

    /// Has so many schemas made ahead, and each connection provision one tenant.
    fn prepare(&self, ready: usize) -> Result<()> {
        *self.open.borrow_mut() = None;
        let smallest = self.bench.tenants().iter().min().copied().unwrap_or(2);
        let database = self
            .bench
            .copy(smallest, &format!("provision_{}", self.name))?;
        let mut first = PgConnection::establish(&database.url)?;
        let copies = copies(&mut first)?;
        let raw = (0..self.connections)
            .map(|_| Ok(Mutex::new(PgConnection::establish(&database.url)?)))
            .collect::<Result<_>>()?;
        let programs = (0..self.connections)
            .map(|_| Ok(Mutex::new(Psql::connect(self.bench, &database.url)?)))
            .collect::<Result<_>>()?;
        let tenancy = workload::tenancy(&database.url)
            .pool_size(u32::try_from(self.connections)?)
            .build()?;
        if ready > 0 {
            tenancy.ready_schemas(ready + self.connections).fill()?;
        }
        *self.open.borrow_mut() = Some(Open {
            tenancy,
            raw,
            programs,
            copies,
            next: database.tenants.len(),
        });
        match self.name {
            "psql" => self.script(self.connections),
            "ddl" => self.raw(self.connections, |_| workload::ddl()),
            "copies" => self.raw(self.connections, Self::copies),
            _ => self.save(self.connections),
        }
    }

    fn save(&self, count: usize) -> Result<()> {
        self.each(count, |open, number, _| {
            workload::tenant(number)?.save(&mut *open.tenancy.public()?)?;
            Ok(())
        })
    }

    /// Makes schemas with SQL alone: one message and one transaction each.
    fn raw(&self, count: usize, text: impl Fn(&Open) -> String + Sync) -> Result<()> {
        self.each(count, |open, number, thread| {
            let text = text(open);
            let mut conn = open.raw[thread].lock().map_err(|_| "a thread panicked")?;
            Ok(conn.batch_execute(&workload::by_hand(number, &text))?)
        })
    }

    /// Makes schemas with SQL alone: one transaction each, and a message for each statement.
    fn script(&self, count: usize) -> Result<()> {
        self.each(count, |open, number, thread| {
            let mut program = open.programs[thread]
                .lock()
                .map_err(|_| "a thread panicked")?;
            program.run(&(workload::by_hand(number, &workload::ddl()) + ";"))
        })
    }

    fn copies(open: &Open) -> String {
        open.copies.clone()
    }

    /// Calls `f` for as many tenants, on as many threads as there are connections.
    fn each(
        &self,
        count: usize,
        f: impl Fn(&Open, usize, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let mut open = self.open.borrow_mut();
        let open = open.as_mut().ok_or("it was not prepared")?;
        let first = open.next;
        open.next += count;
        let (open, step) = (&*open, self.connections);
        on_threads(step, |thread| {
            let mut mine = (first + thread..first + count).step_by(step);
            mine.try_for_each(|number| f(open, number, thread))
        })
    }
}

/// Statements that make the tables of `tenant_0` once more, and the keys, which `LIKE` leaves out.
fn copies(conn: &mut PgConnection) -> Result<String> {
    conn.batch_execute("SET search_path TO tenant_0")?;
    let statements: Vec<String> = sql::<Text>(
        "SELECT text FROM (SELECT 1 AS rank, c.oid, format('CREATE TABLE %I (LIKE tenant_0.%1$I INCLUDING ALL)', \
             c.relname) AS text FROM pg_class c \
         WHERE c.relnamespace = 'tenant_0'::regnamespace AND c.relkind = 'r' \
         UNION ALL SELECT 2, k.oid, format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, k.conname, \
             pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
         WHERE k.connamespace = 'tenant_0'::regnamespace AND k.contype = 'f') AS parts ORDER BY rank, oid",
    )
    .load(conn)?;
    Ok(statements.join("; ") + ";")
}
