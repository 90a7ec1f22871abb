//! Periodic jobs, fanned out over tenants by one process of several.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel::prelude::*;
use tenant_schemas::TenantConnection;
use tenant_schemas::jobs::{Fired, JobError, Schedule, Scheduler, Stop, Turn};
use tenant_schemas::{AppScope, Error, Lifecycle as _, SaveOptions, Tenancy, TenancyBuilder};

use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms_of, sql_app};

const HOUR: Duration = Duration::from_hours(1);

/// Some time, and so many hours later.
fn hour(hours: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000) + HOUR * hours
}

fn hourly() -> Schedule<Client> {
    Schedule::every("hourly", HOUR).expect("a schedule")
}

/// Adds a room to each hotel.
fn add(conn: &mut TenantConnection, _: &Client) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO rooms SELECT count(*) + 1, current_schema() FROM rooms")
        .execute(conn)
        .map(drop)
}

/// Looks at the clock for the first time, so that the next hour is fired.
fn known(scheduler: &Scheduler<Client>) {
    assert!(scheduler.tick(hour(0), &Stop::new()).is_empty());
}

/// What became of each tenant of the one slot that was fired.
#[track_caller]
fn turns(fired: &[Fired]) -> BTreeMap<String, Result<Turn, String>> {
    let [fired] = fired else {
        panic!("one slot is fired, not {fired:?}");
    };
    let report = fired.report.as_ref().expect("it was fired");
    report
        .outcomes()
        .iter()
        .map(|outcome| {
            let turn = match &outcome.result {
                Ok(turn) => Ok(turn.clone()),
                Err(error) => Err(error.to_string()),
            };
            (outcome.schema.to_string(), turn)
        })
        .collect()
}

fn rooms(db: &Db, tenant: &Client) -> Vec<String> {
    rooms_of(&mut db.tenancy.tenant(tenant).expect("a connection"))
}

#[test]
fn c120_a_periodic_job_runs_in_each_tenant_once_for_each_slot() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(
        &mut db.tenancy.tenant(&globex).expect("globex"),
        1,
        "theirs",
    );
    let scheduler = Scheduler::new(db.tenancy.clone()).add(hourly(), add);
    let stop = Stop::new();
    known(&scheduler);
    let fired = scheduler.tick(hour(1), &stop);
    assert_eq!(turns(&fired)["acme"], Ok(Turn::Done));
    assert!(
        scheduler.tick(hour(1), &stop).is_empty(),
        "the slot is taken"
    );
    assert!(scheduler.tick(hour(1) + HOUR / 4, &stop).is_empty());
    assert_eq!(rooms(&db, &acme), ["acme"]);
    assert_eq!(rooms(&db, &globex), ["theirs", "globex"]);
    // What was due while nobody looked is made up for, once.
    assert_eq!(scheduler.tick(hour(9), &stop).len(), 1);
    assert_eq!(rooms(&db, &acme).len(), 2);
}

#[test]
fn a_cron_pattern_says_when() {
    let db = Db::new();
    let acme = db.tenant("acme");
    // 2023-11-14 22:13:20 is hour 0.
    let daily = Schedule::cron("daily", "30 3 * * *").expect("a pattern");
    let scheduler = Scheduler::new(db.tenancy.clone()).add(daily, add);
    let stop = Stop::new();
    known(&scheduler);
    assert!(scheduler.tick(hour(5), &stop).is_empty(), "it is 03:13");
    let fired = scheduler.tick(hour(6), &stop);
    let half_past_three = UNIX_EPOCH + Duration::from_mins(28_333_650);
    assert_eq!(fired[0].slot, half_past_three);
    assert_eq!(fired[0].schedule, "daily");
    assert_eq!(rooms(&db, &acme), ["acme"]);
    for wrong in ["", "61 * * * *", "every day", "* * * *", "a b c d e"] {
        let error = Schedule::<Client>::cron("daily", wrong).expect_err(wrong);
        assert!(matches!(error, Error::Schedule { .. }), "{error}");
    }
    let error = Schedule::<Client>::every("often", Duration::ZERO).expect_err("too short");
    assert!(error.to_string().contains("a millisecond"), "{error}");
}

#[test]
fn a_schedule_is_for_all_for_chosen_ones_or_by_filter() {
    let db = Db::new();
    db.tenants(["a", "b", "c", "d"]);
    let mut paying = client("e");
    paying.on_trial = false;
    paying
        .save(&mut db.tenancy.public().expect("public"))
        .expect("saved");
    let mut site = client("public");
    site.save(&mut db.tenancy.public().expect("public"))
        .expect("saved");

    let named = |of: &str| Schedule::<Client>::every(of, HOUR).expect("a schedule");
    let scheduler = Scheduler::new(db.tenancy.clone())
        .add(named("all"), add)
        .add(
            named("chosen").only([name("b"), name("d"), name("nobody")]),
            add,
        )
        .add(
            named("filtered").filter(|client: &Client| !client.on_trial),
            add,
        );
    assert!(scheduler.tick(hour(0), &Stop::new()).is_empty());
    let fired = scheduler.tick(hour(1), &Stop::new());
    let who: Vec<Vec<String>> = fired
        .chunks(1)
        .map(|fired| turns(fired).into_keys().collect())
        .collect();
    assert_eq!(
        who,
        [vec!["a", "b", "c", "d", "e"], vec!["b", "d"], vec!["e"]]
    );
}

#[test]
fn tenants_that_are_not_ready_are_left_out_and_a_broken_one_stops_nobody() {
    let db = Db::new();
    db.tenants(["a_old", "b_fails", "c_panics"]);
    let bills = |builder: TenancyBuilder<Client>| {
        builder.app(customers()).app(hotels()).app(sql_app(
            "bills",
            AppScope::Tenant,
            &[(
                "2025-01-01-000000_bills",
                "CREATE TABLE bills (id integer)",
                "DROP TABLE bills",
            )],
        ))
    };
    let newer = db.again(bills);
    let migrate = newer.migrate().schema(&name("b_fails"));
    let migrated = migrate.schema(&name("c_panics")).run();
    migrated.expect("a report").into_result().expect("migrated");
    let mut bare = client("d_bare");
    let later = SaveOptions::new().auto_create_schema(false);
    bare.save_with(&mut newer.public().expect("public"), later)
        .expect("saved");
    let mut last = client("e_well");
    last.save(&mut newer.public().expect("public"))
        .expect("saved");

    let called = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&called);
    let work = move |conn: &mut TenantConnection, tenant: &Client| {
        calls
            .lock()
            .expect("no panic")
            .push(tenant.schema_name.to_string());
        match tenant.schema_name.as_str() {
            "b_fails" => diesel::sql_query("SELECT nothing").execute(conn).map(drop),
            "c_panics" => panic!("the roof is leaking"),
            _ => add(conn, tenant),
        }
    };
    let scheduler = Scheduler::new(newer).add(hourly().at_once(1), work);
    known(&scheduler);
    let fired = scheduler.tick(hour(1), &Stop::new());
    let turns = turns(&fired);
    assert!(
        matches!(&turns["a_old"], Ok(Turn::Behind(pending)) if pending.len() == 1),
        "{turns:?}"
    );
    assert_eq!(
        turns["b_fails"],
        Err("the job failed for schema b_fails".to_owned())
    );
    assert!(turns["c_panics"].is_err());
    assert_eq!(turns["d_bare"], Ok(Turn::NoSchema));
    assert_eq!(turns["e_well"], Ok(Turn::Done));
    let mut called = called.lock().expect("no panic").clone();
    called.sort_unstable();
    assert_eq!(called, ["b_fails", "c_panics", "e_well"]);
    // Why, is in the chain.
    let report = fired[0].report.as_ref().expect("fired");
    let (_, error) = report.failed().nth(1).expect("the second failure");
    let Error::Job { source, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(
        source.downcast_ref(),
        Some(JobError::Panicked { .. })
    ));
    // The slot is done, failures and all.
    assert!(scheduler.tick(hour(1), &Stop::new()).is_empty());
}

#[test]
fn a_hundred_tenants_are_fanned_out_over_two_processes_once_each_and_never_more_than_so_many() {
    const TENANTS: usize = 100;
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).pool_size(8));
    let tenants: Vec<Client> = (0..TENANTS)
        .map(|number| db.tenant(&format!("t{number:03}")))
        .collect();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let made = |tenancy: Tenancy<Client>| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        let work = move |conn: &mut TenantConnection, tenant: &Client| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let result = add(conn, tenant);
            thread::sleep(Duration::from_millis(2));
            now.fetch_sub(1, Ordering::SeqCst);
            result
        };
        let schedule = hourly().at_once(2).jitter(Duration::from_millis(200));
        Scheduler::new(tenancy).add(schedule, work)
    };
    let again = db.again(|builder| builder.app(customers()).app(hotels()));
    let schedulers = [made(db.tenancy.clone()), made(again)];
    known(&schedulers[0]);
    let start = Barrier::new(2);
    let fired: Vec<Vec<Fired>> = thread::scope(|scope| {
        let threads = schedulers.each_ref().map(|scheduler| {
            scope.spawn(|| {
                start.wait();
                scheduler.tick(hour(1), &Stop::new())
            })
        });
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let fired: Vec<Fired> = fired.into_iter().flatten().collect();
    let turns = turns(&fired);
    assert_eq!(turns.len(), TENANTS);
    assert!(
        turns.values().all(|turn| *turn == Ok(Turn::Done)),
        "{turns:?}"
    );
    assert_eq!(most.load(Ordering::SeqCst), 2);
    for tenant in &tenants {
        assert_eq!(rooms(&db, tenant), [tenant.schema_name.as_str()]);
    }
}

#[test]
fn a_slot_that_was_stopped_in_the_middle_is_finished_by_another_process() {
    let db = Db::new();
    let tenants = db.tenants(["a", "b", "c", "d"]);
    let stop = Stop::new();
    let (count, from_inside) = (Arc::new(AtomicUsize::new(0)), stop.clone());
    let scheduler = Scheduler::new(db.tenancy.clone()).add(
        hourly().at_once(1),
        move |conn: &mut TenantConnection, tenant: &Client| {
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                from_inside.stop();
            }
            add(conn, tenant)
        },
    );
    known(&scheduler);
    let fired = scheduler.tick(hour(1), &stop);
    let skipped = turns(&fired).into_values().filter(Result::is_err).count();
    assert_eq!(skipped, 2, "{fired:?}");

    let again = db.again(|builder| builder.app(customers()).app(hotels()));
    let other = Scheduler::new(again).add(hourly(), add);
    let turns = turns(&other.tick(hour(1), &Stop::new()));
    let before = turns
        .values()
        .filter(|turn| **turn == Ok(Turn::DoneBefore))
        .count();
    assert_eq!(before, 2, "{turns:?}");
    for tenant in &tenants {
        assert_eq!(rooms(&db, tenant).len(), 1, "{}", tenant.schema_name);
    }
    assert!(other.tick(hour(1), &Stop::new()).is_empty());
}

#[test]
fn a_running_scheduler_fires_and_ends_when_it_is_told() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let often = Schedule::every("often", Duration::from_millis(50)).expect("a schedule");
    let scheduler = Scheduler::new(db.tenancy.clone()).add(often, add);
    let (stop, mut heard) = (Stop::new(), 0);
    scheduler.run(&stop.clone(), |fired| {
        assert!(fired.report.is_ok(), "{fired:?}");
        heard += 1;
        if heard == 3 {
            stop.stop();
        }
    });
    assert_eq!(heard, 3);
    assert_eq!(rooms(&db, &acme).len(), 3);
}

#[test]
fn a_pool_of_one_connection_is_too_small_for_a_scheduler_and_one_of_two_is_enough() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).pool_size(2));
    db.tenants(["a", "b"]);
    let scheduler = Scheduler::new(db.tenancy.clone()).add(hourly(), add);
    known(&scheduler);
    assert_eq!(turns(&scheduler.tick(hour(1), &Stop::new())).len(), 2);
    let one = Tenancy::<Client>::builder(db.database.url())
        .app(customers())
        .app(hotels());
    let scheduler = Scheduler::new(one.pool_size(1).build().expect("a tenancy")).add(hourly(), add);
    let fired = scheduler.tick(hour(2), &Stop::new());
    let error = fired[0].report.as_ref().expect_err("too small").to_string();
    assert!(error.contains("raise `pool_size`"), "{error}");
}

#[test]
fn a_tenant_whose_job_finds_no_connection_has_its_turn_when_there_is_one() {
    let db = Db::with(|builder| {
        let builder = builder.app(customers()).app(hotels()).pool_size(2);
        builder.checkout_timeout(Duration::from_millis(50))
    });
    let acme = db.tenant("acme");
    let scheduler = Scheduler::new(db.tenancy.clone()).add(hourly(), add);
    known(&scheduler);
    let busy = db.tenancy.public().expect("one of two");
    let turn = turns(&scheduler.tick(hour(1), &Stop::new()))["acme"].clone();
    assert_eq!(turn, Err("the job failed for schema acme".to_owned()));
    drop(busy);
    let turn = turns(&scheduler.tick(hour(1), &Stop::new()))["acme"].clone();
    assert_eq!(turn, Ok(Turn::Done));
    assert_eq!(rooms(&db, &acme), ["acme"]);
    assert!(scheduler.tick(hour(1), &Stop::new()).is_empty());
}

#[test]
fn two_schedules_of_one_name_are_refused() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let scheduler = Scheduler::new(db.tenancy.clone())
        .add(hourly(), add)
        .add(hourly(), add);
    for hours in 0..2 {
        let fired = scheduler.tick(hour(hours), &Stop::new());
        assert_eq!(fired.len(), 2);
        for fired in fired {
            let error = fired.report.expect_err("refused").to_string();
            assert!(error.contains("two of that name"), "{error}");
        }
    }
    assert!(rooms(&db, &acme).is_empty());
}

#[test]
fn a_process_whose_clock_is_ahead_takes_no_slot_from_the_others() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let scheduler = Scheduler::new(db.tenancy.clone()).add(hourly(), add);
    let (now, stop) = (SystemTime::now(), Stop::new());
    assert!(scheduler.tick(now - HOUR, &stop).is_empty(), "it is known");
    let tomorrow = now + HOUR * 24;
    let fired = scheduler.tick(tomorrow, &stop);
    let error = fired[0].report.as_ref().expect_err("refused").to_string();
    assert!(error.contains("set the clock"), "{error}");
    assert_eq!(turns(&scheduler.tick(now, &stop))["acme"], Ok(Turn::Done));
    assert_eq!(rooms(&db, &acme), ["acme"]);
}

/// Holds the URL of the database, for the process that is to be killed.
const URL: &str = "TENANT_SCHEMAS_SCHEDULE_URL";

/// Not a test of its own: the process that is killed by the next one.
#[test]
fn the_scheduler_that_is_killed() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let tenancy = Tenancy::<Client>::builder(url)
        .app(customers())
        .app(hotels());
    let scheduler = Scheduler::new(tenancy.build().expect("a tenancy")).add(
        hourly().at_once(1),
        |conn: &mut TenantConnection, tenant: &Client| {
            conn.transaction(|conn| {
                add(conn, tenant)?;
                if tenant.name.ends_with('x') {
                    println!("in the middle of {}", tenant.schema_name);
                    std::io::stdout().flush().expect("it is heard");
                    thread::sleep(HOUR);
                }
                QueryResult::Ok(())
            })
        },
    );
    let _ = scheduler.tick(hour(1), &Stop::new());
}

#[test]
fn a_slot_whose_process_was_killed_is_finished_by_another() {
    let db = Db::new();
    // In the order of their names, and one at once: `b` is the one in the middle.
    let [a, c] = db.tenants(["a", "c"]);
    let mut b = client("b").name("The one at which it ends: x");
    b.save(&mut db.tenancy.public().expect("public"))
        .expect("saved");
    let scheduler = Scheduler::new(db.tenancy.clone()).add(hourly(), add);
    known(&scheduler);

    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "jobs_schedule::the_scheduler_that_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(URL, db.database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let middle = lines
        .map_while(Result::ok)
        .any(|line| line.contains("in the middle of b"));
    assert!(middle, "it did not get as far");
    // While it is at work, nobody else fires the slot.
    assert!(scheduler.tick(hour(1), &Stop::new()).is_empty());
    child.kill().expect("killed");
    child.wait().expect("gone");

    // The server notices when the connections end.
    let fired = (0..600)
        .find_map(|_| {
            let fired = scheduler.tick(hour(1), &Stop::new());
            thread::sleep(Duration::from_millis(20));
            (!fired.is_empty()).then_some(fired)
        })
        .expect("the slot is taken over");
    let turns = turns(&fired);
    assert_eq!(turns["a"], Ok(Turn::DoneBefore));
    assert_eq!(
        (&turns["b"], &turns["c"]),
        (&Ok(Turn::Done), &Ok(Turn::Done))
    );
    for tenant in [&a, &b, &c] {
        assert_eq!(rooms(&db, tenant), [tenant.schema_name.as_str()]);
    }
}

#[test]
fn a_tenant_that_is_renamed_while_it_waits_for_its_turn_is_given_as_it_is_then() {
    let db = Db::new();
    let [_, globex] = db.tenants(["acme", "globex"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (saw, tenancy, renamed) = (Arc::clone(&seen), db.tenancy.clone(), Mutex::new(globex));
    let schedule = hourly().at_once(1);
    let scheduler =
        Scheduler::new(db.tenancy.clone()).add(schedule, move |conn, tenant: &Client| {
            let scope = conn.schema_name().cloned();
            saw.lock()
                .expect("no panic")
                .push((scope, tenant.schema_name.clone()));
            let mut globex = renamed.lock().expect("no panic");
            if globex.schema_name == name("globex") {
                globex.rename(&mut *tenancy.public()?, &name("globex_inc"))?;
            }
            Ok::<_, Error>(())
        });
    known(&scheduler);
    let fired = scheduler.tick(hour(1), &Stop::new());
    assert!(turns(&fired).values().all(|turn| *turn == Ok(Turn::Done)));
    let expected = ["acme", "globex_inc"].map(|schema| (Some(name(schema)), name(schema)));
    assert_eq!(*seen.lock().expect("no panic"), expected);
}

#[test]
fn a_scheduler_that_has_lost_its_slot_leaves_the_rest_to_who_has_it() {
    let db = Db::new();
    db.tenants(["acme", "globex"]);
    let killed = Mutex::new(db.raw());
    let schedule = hourly().at_once(1);
    let scheduler = Scheduler::new(db.tenancy.clone()).add(schedule, move |_, _: &Client| {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        diesel::sql_query(kill).execute(&mut *killed.lock().expect("no panic"))?;
        // It looks every other second.
        thread::sleep(Duration::from_secs(5));
        Ok::<_, diesel::result::Error>(())
    });
    known(&scheduler);
    let fired = scheduler.tick(hour(1), &Stop::new());
    let turns = turns(&fired);
    assert_eq!(turns["acme"], Ok(Turn::Done));
    let skipped = turns["globex"].as_ref().expect_err("skipped");
    assert!(skipped.contains("skipped"), "{skipped}");
    // Whoever has the slot now goes on where it stopped.
    let other = db.again(|builder| builder.app(customers()).app(hotels()));
    let other = Scheduler::new(other).add(hourly(), add);
    let fired = other.tick(hour(1), &Stop::new());
    let turns = self::turns(&fired);
    assert_eq!(turns["acme"], Ok(Turn::DoneBefore));
    assert_eq!(turns["globex"], Ok(Turn::Done));
}
