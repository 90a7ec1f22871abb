//! What does a sign-up wait for while schemas are made ahead in the background, and what do the others
//! notice of it?

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use indexmap::IndexMap;
use tenant_schemas::{Lifecycle as _, ReadySchemas, Tenancy};

use crate::Result;
use crate::measure::{float, quantile, sorted};
use crate::report::{Group, Row, Unit, setting};
use crate::server::{Bench, Database};
use crate::workload::{self, Tenant, contacts};

/// How many schemas are kept ready.
const READY: usize = 5;

/// Someone signs up every so many milliseconds.
const INTERVALS: [u64; 3] = [1_000, 250, 100];

/// How often others read, and write.
const OTHERS: Duration = Duration::from_millis(5);

const SIGN_UP: &str = "sign-up ms";

/// How those who sign up get their tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Nobody,
    Statements,
    Save,
    Kept,
}

impl Way {
    const ALL: [Self; 4] = [Self::Statements, Self::Nobody, Self::Save, Self::Kept];

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody signs up",
            Self::Statements => "floor: the DDL in one transaction",
            Self::Save => "save",
            Self::Kept => "save, with schemas kept ready",
        }
    }
}

pub(super) fn run(bench: &Bench) -> Result<Group> {
    let count = bench.unless_quick(60, 2);
    let mut rows = Vec::new();
    for &interval in bench.unless_quick(&INTERVALS[..], &INTERVALS[2..]) {
        let mut floor = None;
        for way in Way::ALL {
            let site = Site::new(bench)?;
            let mut figures = site.measure(way, Duration::from_millis(interval), count)?;
            if let Some(&waited) = figures.get(SIGN_UP) {
                let floor = *floor.get_or_insert(waited);
                figures.insert("× floor".to_owned(), waited / floor);
            }
            rows.push(Row {
                case: way.name().to_owned(),
                is_floor: way == Way::Statements,
                setting: setting([("every ms", interval.to_string())]),
                figures,
            });
        }
    }
    Ok(Group {
        name: "signups".to_owned(),
        question: "what does a sign-up wait for while schemas are made ahead in the background, \
                   and what does it cost those who read their rows, or write to a table that all share?"
            .to_owned(),
        axis: "every ms".to_owned(),
        drawn: vec![SIGN_UP.to_owned(), "write p95 ms".to_owned()],
        rows,
    })
}

/// A program with a few tenants, and one more now and then.
struct Site {
    database: Database,
    tenancy: Tenancy<Tenant>,
}

impl Site {
    fn new(bench: &Bench) -> Result<Self> {
        let few = bench.tenants().iter().min().copied().unwrap_or(2);
        let database = bench.copy(few, "signups")?;
        // One that reads, one that signs up, one that makes schemas ahead.
        let tenancy = workload::tenancy(&database.url).pool_size(3).min_idle(3);
        let tenancy = tenancy.build()?;
        Ok(Self { database, tenancy })
    }

    /// Lets so many sign up, one in each interval, while others read and write.
    fn measure(self, way: Way, interval: Duration, count: usize) -> Result<IndexMap<String, f64>> {
        let keep = (way == Way::Kept).then(|| self.tenancy.ready_schemas(READY));
        if let Some(ready) = &keep {
            ready.fill()?;
        }
        let keep = keep.map(ReadySchemas::keep);
        let mut raw = PgConnection::establish(&self.database.url)?;
        // What a session has to read before it can make its first schema is not asked here.
        let first = self.database.tenants.len();
        self.one(way, first, &mut raw)?;
        let over = AtomicBool::new(false);
        let (signed_up, reads, writes) = thread::scope(|scope| {
            let reads = scope.spawn(|| until(&over, self.reader()));
            let writes = scope.spawn(|| until(&over, self.writer()?));
            let numbers = first + 1..=first + count;
            let signed_up = self.sign_up(way, interval, numbers, &mut raw);
            over.store(true, Ordering::Relaxed);
            let [reads, writes] = [reads, writes].map(|thread| {
                let done = thread.join();
                done.map_err(|_| "a thread panicked")?
            });
            Ok::<_, crate::Failure>((signed_up?, reads?, writes?))
        })?;
        drop(keep);
        let mut figures = IndexMap::new();
        if way != Way::Nobody {
            let waited = sorted(signed_up.iter().map(|one| one.waited.as_secs_f64()));
            let ahead = signed_up.iter().filter(|one| one.made_ahead).count();
            figures.extend([
                milliseconds(SIGN_UP, &waited, 0.5),
                milliseconds("sign-up p95 ms", &waited, 0.95),
                milliseconds("sign-up max ms", &waited, 1.0),
                (
                    "made ahead %".to_owned(),
                    100.0 * float(ahead) / float(signed_up.len()),
                ),
            ]);
        }
        figures.extend([
            milliseconds("read ms", &reads, 0.5),
            milliseconds("read p95 ms", &reads, 0.95),
            milliseconds("read max ms", &reads, 1.0),
            milliseconds("write ms", &writes, 0.5),
            milliseconds("write p95 ms", &writes, 0.95),
            milliseconds("write max ms", &writes, 1.0),
        ]);
        Ok(figures)
    }

    fn sign_up(
        &self,
        way: Way,
        interval: Duration,
        numbers: RangeInclusive<usize>,
        raw: &mut PgConnection,
    ) -> Result<Vec<SignUp>> {
        let mut due = Instant::now();
        let each = |number| {
            due += interval;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let made_ahead = self.one(way, number, raw)?;
            // Those who had to wait for the one before them began to wait when they came.
            let waited = due.elapsed();
            Ok(SignUp { waited, made_ahead })
        };
        numbers.map(each).collect()
    }

    /// Makes a tenant; whether its schema was there already.
    fn one(&self, way: Way, number: usize, raw: &mut PgConnection) -> Result<bool> {
        match way {
            Way::Nobody => Ok(false),
            Way::Statements => {
                raw.batch_execute(&workload::by_hand(number, &workload::ddl()))?;
                Ok(false)
            }
            Way::Save | Way::Kept => {
                let conn = &mut *self.tenancy.public()?;
                Ok(workload::tenant(number)?.save(conn)?.made_ahead)
            }
        }
    }

    /// A request of a tenant that is there already.
    fn reader(&self) -> impl FnMut() -> Result<()> {
        let tenant = &self.database.tenants[0];
        move || {
            let conn = &mut *self.tenancy.tenant(tenant)?;
            let contact = contacts::table.find(1);
            contact.select(contacts::full_name).first::<String>(conn)?;
            Ok(())
        }
    }

    /// A write to a table that keys of all tenants refer to.
    fn writer(&self) -> Result<impl FnMut() -> Result<()> + use<>> {
        let mut conn = PgConnection::establish(&self.database.url)?;
        Ok(move || {
            let write = "UPDATE public.plans SET monthly_price = monthly_price WHERE name = 'free'";
            Ok(conn.batch_execute(write)?)
        })
    }
}

struct SignUp {
    waited: Duration,
    made_ahead: bool,
}

/// Does it every few milliseconds; the seconds that each took from when it was due, sorted. What holds one
/// up holds up those behind it.
fn until(over: &AtomicBool, mut each: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    // The first time, a session has to read what it needs.
    each()?;
    let mut all = Vec::new();
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        each()?;
        all.push(due.elapsed().as_secs_f64());
        due += OTHERS;
    }
    Ok(sorted(all.into_iter()))
}

fn milliseconds(name: &str, seconds: &[f64], at: f64) -> (String, f64) {
    let figure = quantile(seconds, at) * Unit::Milliseconds.in_a_second();
    (name.to_owned(), figure)
}
