//! Which of a pool's sessions a tenant gets: the one that it had, if that is idle.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection as _;
use tenant_schemas::{SetCalls, TenantConnection};

use crate::isolation::MODES;
use crate::support::{Client, Db, customers, hotels, insert_room, name, rooms_of, strings};

/// A pool of `size`, and a tenant for each name, with a room that bears it.
fn fleet<const N: usize>(size: u32, set_calls: SetCalls, names: [&str; N]) -> (Db, [Client; N]) {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(size)
            .set_calls(set_calls)
    });
    let tenants = db.tenants(names);
    for tenant in &tenants {
        let mut conn = db.tenancy.tenant(tenant).expect("a tenant");
        insert_room(&mut conn, 1, tenant.schema_name.as_str());
    }
    (db, tenants)
}

fn pid(conn: &mut TenantConnection) -> String {
    strings(conn, "SELECT pg_backend_pid()::text AS value").remove(0)
}

/// The sessions that the server has, besides this one.
fn sessions(conn: &mut PgConnection) -> usize {
    let sql = "SELECT pid::text AS value FROM pg_stat_activity WHERE datname = current_database() \
               AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    strings(conn, sql).len()
}

#[test]
fn a_tenant_gets_the_session_that_it_had_last() {
    for set_calls in MODES {
        let (db, tenants) = fleet(3, set_calls, ["acme", "globex", "initech"]);
        let mut all = tenants
            .each_ref()
            .map(|tenant| db.tenancy.tenant(tenant).expect("a tenant"));
        let had = all.each_mut().map(|conn| pid(conn));
        assert_eq!(had.iter().collect::<BTreeSet<_>>().len(), 3);
        drop(all);
        // In whatever order they come back.
        for at in [1, 0, 2, 2, 0, 1] {
            let mut conn = db.tenancy.tenant(&tenants[at]).expect("a tenant");
            assert_eq!(pid(&mut conn), had[at]);
            assert_eq!(rooms_of(&mut conn), [tenants[at].schema_name.as_str()]);
        }
    }
}

#[test]
fn a_tenant_whose_session_is_out_gets_another_and_its_own_rows() {
    for set_calls in MODES {
        let (db, [acme, globex]) = fleet(2, set_calls, ["acme", "globex"]);
        let mut first = db.tenancy.tenant(&acme).expect("acme");
        let had = pid(&mut first);
        let mut second = db.tenancy.tenant(&acme).expect("acme again");
        assert_ne!(pid(&mut second), had);
        assert_eq!(rooms_of(&mut second), ["acme"]);
        drop(second);
        assert_eq!(
            rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")),
            ["globex"]
        );
        assert_eq!(rooms_of(&mut first), ["acme"]);
    }
}

#[test]
fn each_tenant_is_at_home_on_one_session_whoever_came_between() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(4)
            .min_idle(4)
    });
    let names: Vec<String> = (0..12).map(|number| format!("tenant_{number}")).collect();
    let tenants: Vec<Client> = names.iter().map(|name| db.tenant(name)).collect();
    let at = |tenant: &Client| pid(&mut db.tenancy.tenant(tenant).expect("a tenant"));
    let homes: Vec<String> = tenants.iter().map(at).collect();
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");
    for turn in 0..48 {
        let number = turn * 7 % 12;
        assert_eq!(at(&tenants[number]), homes[number]);
    }
}

#[test]
fn a_tenant_waits_for_its_own_session_as_long_as_the_builder_says() {
    let patient = |wait: Duration| {
        let db = Db::with(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .pool_size(2)
                .min_idle(2)
                .affinity_wait(wait)
        });
        let acme = db.tenant("acme");
        let mut conn = db.tenancy.tenant(&acme).expect("acme");
        let own = pid(&mut conn);
        thread::scope(|scope| {
            let second = scope.spawn(|| pid(&mut db.tenancy.tenant(&acme).expect("acme again")));
            if wait.is_zero() {
                // Nobody gives the first one back.
                assert_ne!(second.join().expect("a session"), own);
            } else {
                thread::sleep(Duration::from_millis(200));
                drop(conn);
                assert_eq!(second.join().expect("a session"), own);
            }
        });
    };
    patient(Duration::from_secs(60));
    patient(Duration::ZERO);
}

#[test]
fn a_tenant_whose_own_session_is_closed_meanwhile_gets_another() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(2)
            .min_idle(2)
            .affinity_wait(Duration::from_secs(60))
    });
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let own = pid(&mut conn);
    thread::scope(|scope| {
        let second = scope.spawn(|| pid(&mut db.tenancy.tenant(&acme).expect("acme again")));
        thread::sleep(Duration::from_millis(200));
        conn.batch_execute("BEGIN").expect("begun");
        drop(conn);
        assert_ne!(second.join().expect("a session"), own);
    });
}

#[test]
fn no_session_is_lost_or_made_by_choosing_among_them() {
    let (db, tenants) = fleet(
        4,
        SetCalls::WhenChanged,
        ["acme", "globex", "hooli", "initech", "umbrella", "wayne"],
    );
    thread::scope(|scope| {
        for thread in 0..8 {
            let (db, tenants) = (&db, &tenants);
            scope.spawn(move || {
                for turn in 0..200 {
                    let tenant = &tenants[(thread * 7 + turn * turn) % tenants.len()];
                    let mut conn = db.tenancy.tenant(tenant).expect("a tenant");
                    assert_eq!(rooms_of(&mut conn), [tenant.schema_name.as_str()]);
                    match turn % 50 {
                        // Closed when it comes back.
                        17 => drop(conn.batch_execute("BEGIN")),
                        // Given back by hand, and used again.
                        23 => {
                            conn.is_broken();
                            assert!(conn.batch_execute("SELECT 1").is_err());
                        }
                        _ => {}
                    }
                }
            });
        }
    });
    let pool = db.tenancy.pool();
    let all: Vec<_> = (0..4).map(|_| pool.get().expect("a connection")).collect();
    assert!(pool.try_get().is_none());
    drop(all);
    let pids: BTreeSet<String> = {
        let mut all: Vec<_> = (0..4)
            .map(|_| db.tenancy.tenant(&tenants[0]).expect("a tenant"))
            .collect();
        all.iter_mut().map(|conn| pid(conn)).collect()
    };
    assert_eq!(pids.len(), 4);
    assert_eq!(pool.state().idle_connections, 4);
}

#[test]
fn a_pool_that_is_dropped_closes_the_sessions_that_wait() {
    let (db, tenants) = fleet(3, SetCalls::EveryCheckout, ["acme", "globex", "initech"]);
    drop(tenants.each_ref().map(|tenant| db.tenancy.tenant(tenant)));
    let mut other = db.raw();
    let with_pool = sessions(&mut other);
    let Db { tenancy, database } = db;
    drop(tenancy);
    let deadline = Instant::now() + Duration::from_secs(20);
    // A connection of the test database itself stays.
    while sessions(&mut other) + 3 > with_pool {
        assert!(Instant::now() < deadline, "sessions are left");
        thread::sleep(Duration::from_millis(20));
    }
    drop((other, database));
}

#[test]
fn a_session_that_is_too_old_is_closed_when_it_comes_back() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(1)
            .max_lifetime(Some(Duration::from_millis(300)))
    });
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.tenant(&acme).expect("acme");
    let first = pid(&mut conn);
    thread::sleep(Duration::from_millis(400));
    drop(conn);
    assert_ne!(pid(&mut db.tenancy.tenant(&acme).expect("acme")), first);
}

#[test]
fn a_connection_without_a_scope_takes_a_session_too() {
    let (db, [acme, globex]) = fleet(2, SetCalls::EveryCheckout, ["acme", "globex"]);
    let pool = db.tenancy.pool();
    let mut conn = pool.get().expect("a connection");
    assert!(conn.batch_execute("SELECT 1").is_err());
    conn.set_schema(&name("globex")).expect("globex");
    assert_eq!(rooms_of(&mut conn), ["globex"]);
    conn.set_tenant(&acme).expect("acme");
    assert_eq!(rooms_of(&mut conn), ["acme"]);
    drop((conn, globex));
}
