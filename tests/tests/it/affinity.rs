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

/// A pool whose sessions are all there from the start, and as many tenants.
fn crowd(size: u32, tenants: usize) -> (Db, Vec<Client>) {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(size)
            .min_idle(size)
            .set_calls(SetCalls::WhenChanged)
    });
    let names = (0..tenants).map(|number| format!("tenant_{number}"));
    let tenants = names.map(|name| db.tenant(&name)).collect();
    (db, tenants)
}

#[test]
fn a_tenant_comes_back_to_a_session_that_knows_it_whoever_came_between() {
    let (db, tenants) = crowd(4, 12);
    let at = |tenant: &Client| pid(&mut db.tenancy.tenant(tenant).expect("a tenant"));
    let known: Vec<String> = tenants.iter().map(at).collect();
    // They are spread.
    assert!(known.iter().collect::<BTreeSet<_>>().len() > 1, "{known:?}");
    for turn in 0..48 {
        let number = turn * 7 % 12;
        assert_eq!(at(&tenants[number]), known[number]);
    }
}

#[test]
fn sessions_are_left_to_the_tenants_that_come_back_most_often() {
    let (db, tenants) = crowd(4, 24);
    let at = |tenant: &Client| pid(&mut db.tenancy.tenant(tenant).expect("a tenant"));
    let [often, less, others @ ..] = &tenants[..] else {
        unreachable!("there are 24");
    };
    let (first, second) = (at(often), at(less));
    assert_ne!(first, second);
    for _ in 0..8 {
        assert_eq!(at(often), first);
        assert_eq!(at(less), second);
    }
    for other in others {
        assert!(![&first, &second].contains(&&at(other)));
    }
    assert_eq!((at(often), at(less)), (first.clone(), second));
    // Nor does a tenant learn there that nobody knows yet, as long as they come back.
    let mut raw = db.raw();
    let mut newcomer = |number: usize| {
        let schema = format!("newcomer_{number}");
        raw.batch_execute(&format!("CREATE SCHEMA {schema}"))
            .expect("a schema");
        pid(&mut db.at(&schema))
    };
    assert_ne!(newcomer(0), first);
    // Who does not come back any more is forgotten.
    for other in others.iter().cycle().take(400) {
        at(other);
    }
    assert!((1..100).any(|number| newcomer(number) == first));
}

#[test]
fn a_tenant_whose_session_has_no_room_left_for_another_keeps_it() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .pool_size(2)
            .min_idle(2)
            .max_tenants_per_connection(2)
    });
    let tenants = db.tenants(["acme", "globex", "hooli", "initech"]);
    let at = |tenant: &Client| pid(&mut db.tenancy.tenant(tenant).expect("a tenant"));
    // Sessions that served someone while the tenants were made are closed in time.
    let both = || tenants.each_ref().map(at);
    let settled = (0..20).map(|_| both()).collect::<Vec<_>>();
    let [.., before, last] = &settled[..] else {
        unreachable!("there are 20");
    };
    assert_eq!(before, last);
    assert_eq!(last.iter().collect::<BTreeSet<_>>().len(), 2);
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
