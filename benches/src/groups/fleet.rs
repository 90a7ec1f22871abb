//! What does work over all tenants cost?

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use tenant_schemas::{Migrated, Report, Tenancy};

use crate::Result;
use crate::measure::{Case, Measurement};
use crate::psql::Psql;
use crate::report::{Group, Row, Unit, setting};
use crate::server::{Bench, Database};
use crate::threads::on_threads;
use crate::workload::{self, Tenant};

/// How many tenants are worked on at once, where something is pending.
const JOBS: [usize; 4] = [1, 2, 4, 8];

/// The migration that the next release has, as a program without tenancy would send it.
const UP: &str = include_str!(
    "../../../tests/migrations/workload/pending/crm/2024-06-01-000001_contacts_last_seen/up.sql"
);

/// Of more tenants no copy is made, to be migrated: it takes gigabytes and minutes.
const MOST_COPIED: usize = 1_000;

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let mut rows = Vec::new();
    for &tenants in bench.tenants() {
        let database = bench.database(tenants)?;
        rows.extend(nothing_pending(bench, &database)?);
        rows.extend(verified(bench, &database)?);
        if tenants <= MOST_COPIED {
            drop(database);
            rows.extend(one_pending(bench, tenants)?);
        }
    }
    Ok(Group {
        name: "fleet".to_owned(),
        question: "what does a migration of all tenants cost: with nothing pending, \
                   with every ledger verified, and with a column and an index pending?"
            .to_owned(),
        axis: "tenants".to_owned(),
        drawn: vec!["wall ms".to_owned(), "server CPU ms".to_owned()],
        rows,
    })
}

/// One operation is the whole fleet.
fn how(bench: &Bench, rounds: usize) -> Measurement {
    Measurement {
        rounds: bench.unless_quick(rounds, 1),
        operations: 1,
        counted: 1,
        unit: Unit::Milliseconds,
    }
}

/// Floor: the tenants and what is noted of them, read by hand.
fn nothing_pending(bench: &Bench, database: &Database) -> Result<Vec<Row>> {
    let mut conn = PgConnection::establish(&database.url)?;
    let tenancy = workload::tenancy(&database.url).pool_size(1).build()?;
    let count = database.tenants.len();
    let cases = vec![
        Case::floor("floor: two SELECTs", move |_| {
            let tenants = workload::tenants::table.select(Tenant::as_select());
            let tenants = tenants.load(&mut conn)?.len();
            let states = "SELECT schema_name AS schema, fingerprint AS line FROM __tenant_schemas";
            let states = diesel::sql_query(states).load::<Line>(&mut conn)?.len();
            expect(tenants.min(states), count)
        }),
        Case::new("run", |_| {
            unchanged(tenancy.migrate().tenants().run()?, count)
        }),
        Case::new("check, shared too", |_| {
            expect(tenancy.migrate().check()?.schemas.len(), 0)
        }),
    ];
    let setting = setting([
        ("work", "nothing pending".to_owned()),
        ("tenants", count.to_string()),
        ("jobs", "1".to_owned()),
    ]);
    how(bench, 15).compare(bench, &setting, cases)
}

/// Floor: the ledgers, read by hand, so many in a statement. Sessions are new each time:
/// what costs is that they have yet to hear of each ledger.
fn verified(bench: &Bench, database: &Database) -> Result<Vec<Row>> {
    let Database { url, tenants } = database;
    let conn = RefCell::new(None);
    let connect = || {
        conn.replace(Some(PgConnection::establish(url)?));
        Ok(())
    };
    let floor = |chunk: usize| {
        let conn = &conn;
        move |_| {
            let mut conn = conn.borrow_mut();
            let conn = conn.as_mut().ok_or("a connection")?;
            let ledgers = tenants.chunks(chunk).map(|some| read(conn, some));
            expect(ledgers.sum::<Result<usize>>()?, tenants.len() * 12)
        }
    };
    let tenancy = RefCell::new(None);
    let build = || {
        let built = workload::tenancy(url).pool_size(1).build()?;
        drop(built.public()?);
        tenancy.replace(Some(built));
        Ok(())
    };
    let cases = vec![
        Case::floor("floor: UNION ALL of 50", floor(50)).prepared(connect),
        Case::floor("floor: UNION ALL of 20", floor(20)).prepared(connect),
        Case::floor("floor: UNION ALL of 100", floor(100)).prepared(connect),
        Case::new("run with verify", |_| {
            let tenancy = tenancy.borrow();
            let verify = tenancy.as_ref().ok_or("a tenancy")?.migrate().verify(true);
            unchanged(verify.tenants().run()?, tenants.len())
        })
        .prepared(build),
        Case::new("check with verify", |_| {
            let tenancy = tenancy.borrow();
            let verify = tenancy.as_ref().ok_or("a tenancy")?.migrate().verify(true);
            expect(verify.tenants().check()?.schemas.len(), 0)
        })
        .prepared(build),
    ];
    let setting = setting([
        ("work", "verify".to_owned()),
        ("tenants", tenants.len().to_string()),
        ("jobs", "1".to_owned()),
    ]);
    how(bench, 5).compare(bench, &setting, cases)
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    #[expect(dead_code, reason = "it is read, like the other")]
    schema: String,
    #[diesel(sql_type = Text)]
    #[expect(dead_code, reason = "it is read, like the other")]
    line: String,
}

#[derive(QueryableByName)]
#[expect(dead_code, reason = "each is read")]
struct LedgerLine {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    checksum: String,
}

fn read(conn: &mut PgConnection, tenants: &[Tenant]) -> Result<usize> {
    let ledgers: Vec<String> = tenants
        .iter()
        .map(|tenant| {
            let name = &tenant.schema_name;
            format!(
                "SELECT '{name}' AS schema, app, version, checksum FROM {}.__tenant_migrations",
                name.quoted()
            )
        })
        .collect();
    let lines = diesel::sql_query(ledgers.join(" UNION ALL ")).load::<LedgerLine>(conn)?;
    Ok(lines.len())
}

/// Floor: `psql` with the same two statements in a transaction for each tenant. A run sends a message for
/// each, and waits for the disk once, so the statements are measured like this as well.
fn one_pending(bench: &Bench, tenants: usize) -> Result<Vec<Row>> {
    const COPY: &str = "fleet";
    let copy = bench.copy(tenants, COPY)?;
    keep_states(&copy.url)?;
    let mut rows = Vec::new();
    let jobs: &[usize] = bench.unless_quick(&JOBS, &JOBS[..2]);
    for &jobs in jobs {
        let floor = Floor::new(&copy);
        let tenancy = RefCell::new(None);
        // Both begin with no sessions but their own, which listen to what the others change.
        let take_back = |tenancy: &RefCell<Option<Tenancy<Tenant>>>| {
            tenancy.take();
            floor.take_back()?;
            bench.wait_for_sessions(COPY)
        };
        let by_hand =
            |schema: &str| format!("BEGIN; SET LOCAL search_path TO {schema}; {UP} COMMIT");
        let cases = vec![
            Case::floor("floor: psql", |_| floor.script(&by_hand)).prepared(|| {
                take_back(&tenancy)?;
                floor.start(bench, jobs)
            }),
            Case::floor("floor: a message for each", |_| floor.work(&by_hand)).prepared(|| {
                take_back(&tenancy)?;
                floor.connect(jobs)
            }),
            Case::floor("floor: and the disk waited for once", |_| {
                floor.work(&|schema| {
                    format!(
                        "BEGIN; SET LOCAL synchronous_commit TO off; \
                         SET LOCAL search_path TO {schema}; {UP} COMMIT"
                    )
                })?;
                floor.flush()
            })
            .prepared(|| {
                take_back(&tenancy)?;
                floor.connect(jobs)
            }),
            Case::new("run", |_| {
                let tenancy = tenancy.borrow();
                let tenancy: &Tenancy<Tenant> = tenancy.as_ref().ok_or("a tenancy")?;
                let report = tenancy.migrate().tenants().jobs(jobs).run()?;
                let applied = report.succeeded().map(|(_, done)| done.applied.len());
                expect(applied.sum(), tenants)
            })
            .prepared(|| {
                take_back(&tenancy)?;
                let size = u32::try_from(jobs)?;
                let built = workload::next_release(&copy.url).pool_size(size);
                let built = built.min_idle(size).build()?;
                drop(built.public()?);
                tenancy.replace(Some(built));
                Ok(())
            }),
        ];
        let setting = setting([
            ("work", "one pending".to_owned()),
            ("tenants", tenants.to_string()),
            ("jobs", jobs.to_string()),
        ]);
        rows.extend(how(bench, 3).compare(bench, &setting, cases)?);
    }
    let mut conn = bench.connect()?;
    conn.batch_execute(&format!("DROP DATABASE {COPY} WITH (FORCE)"))?;
    Ok(rows)
}

/// Connections that do the statements of a migration and nothing else.
struct Floor<'a> {
    copy: &'a Database,
    conns: RefCell<Vec<PgConnection>>,
    programs: RefCell<Vec<Psql>>,
}

impl<'a> Floor<'a> {
    fn new(copy: &'a Database) -> Self {
        Self {
            copy,
            conns: RefCell::default(),
            programs: RefCell::default(),
        }
    }

    /// Starts as many programs as there are jobs.
    fn start(&self, bench: &Bench, jobs: usize) -> Result<()> {
        let programs = (0..jobs).map(|_| Psql::connect(bench, &self.copy.url));
        self.programs.replace(programs.collect::<Result<_>>()?);
        Ok(())
    }

    /// Gives each program its share of the tenants, and waits for all of them.
    fn script(&self, statements: &(dyn Fn(&str) -> String + Sync)) -> Result<()> {
        let programs: Vec<_> = self.programs.take().into_iter().map(Some).collect();
        let programs = Mutex::new(programs);
        let count = programs.lock().map_err(|_| "a thread panicked")?.len();
        on_threads(count, |thread| {
            let tenants = self.copy.tenants.iter().skip(thread).step_by(count);
            let schemas = tenants.map(|tenant| tenant.schema_name.quoted());
            let script: Vec<String> = schemas.map(|schema| statements(&schema)).collect();
            let program = programs.lock().map_err(|_| "a thread panicked")?[thread].take();
            program
                .ok_or("a program")?
                .run(&(script.join(";\n") + ";\n"))
        })
    }

    /// Makes new connections, as many as there are jobs.
    fn connect(&self, jobs: usize) -> Result<()> {
        let conns = (0..jobs).map(|_| PgConnection::establish(&self.copy.url));
        self.conns.replace(conns.collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Sends a message for each tenant, on all connections at once.
    fn work(&self, message: &(dyn Fn(&str) -> String + Sync)) -> Result<()> {
        let next = AtomicUsize::new(0);
        let tenants = &self.copy.tenants;
        let mut conns = self.conns.borrow_mut();
        let conns: Vec<_> = conns.iter_mut().map(Mutex::new).collect();
        on_threads(conns.len(), |thread| {
            let mut conn = conns[thread].lock().map_err(|_| "a thread panicked")?;
            while let Some(tenant) = tenants.get(next.fetch_add(1, Ordering::Relaxed)) {
                conn.batch_execute(&message(&tenant.schema_name.quoted()))?;
            }
            Ok(())
        })
    }

    /// Waits until everything that was committed is on the disk.
    fn flush(&self) -> Result<()> {
        let mut conns = self.conns.borrow_mut();
        let conn = conns.first_mut().ok_or("a connection")?;
        Ok(conn.batch_execute("SELECT pg_logical_emit_message(true, 'benches', '')")?)
    }

    /// Makes the migration pending again, in the tables, the ledgers and the states.
    fn take_back(&self) -> Result<()> {
        self.programs.take();
        self.connect(2)?;
        self.work(&|schema| {
            format!(
                "BEGIN; SET LOCAL synchronous_commit TO off; SET LOCAL search_path TO {schema}; \
                 DROP INDEX IF EXISTS contacts_last_seen_at_idx; \
                 ALTER TABLE contacts DROP COLUMN IF EXISTS last_seen_at; \
                 DELETE FROM __tenant_migrations WHERE version = '20240601000001'; COMMIT"
            )
        })?;
        let mut conn = PgConnection::establish(&self.copy.url)?;
        conn.batch_execute(
            "UPDATE __tenant_schemas AS s SET fingerprint = k.fingerprint, applied = k.applied \
             FROM kept_states AS k WHERE k.schema_name = s.schema_name",
        )?;
        conn.batch_execute("VACUUM __tenant_schemas")?;
        self.conns.take();
        Ok(())
    }
}

fn keep_states(url: &str) -> Result<()> {
    PgConnection::establish(url)?
        .batch_execute("CREATE TABLE kept_states AS TABLE __tenant_schemas")?;
    Ok(())
}

/// A measurement of what was not done is none.
fn expect(found: usize, expected: usize) -> Result<()> {
    if found != expected {
        return Err(format!("{found} were found, {expected} are there").into());
    }
    Ok(())
}

fn unchanged(report: Report<Migrated>, tenants: usize) -> Result<()> {
    let done = report.into_result()?;
    let unchanged = done.iter().filter(|(_, done)| done.is_unchanged());
    expect(unchanged.count(), tenants)
}
