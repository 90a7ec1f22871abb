//! How far each schema of a fleet is migrated.

use std::time::{Duration, SystemTime};

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use private_postgres::Server;
use tenant_schemas::{
    App, AppScope, Lifecycle as _, MigrationId, Report, SaveOptions, Status, Tenancy,
};

use crate::support::{Client, Db, client, customers, hotels, name, sql_app};

const FIRST: (&str, &str, &str) = (
    "2024-02-01-000000_rooms",
    "CREATE TABLE rooms (id integer PRIMARY KEY, name text NOT NULL);",
    "DROP TABLE rooms;",
);
const SECOND: (&str, &str, &str) = (
    "2024-03-01-000000_price",
    "ALTER TABLE rooms ADD COLUMN price integer;",
    "ALTER TABLE rooms DROP COLUMN price;",
);
const THIRD: (&str, &str, &str) = (
    "2024-04-01-000000_floor",
    "ALTER TABLE rooms ADD COLUMN floor integer;",
    "ALTER TABLE rooms DROP COLUMN floor;",
);

fn newer_hotels() -> App {
    sql_app("hotels", AppScope::Tenant, &[FIRST, SECOND, THIRD])
}

fn names(ids: &[MigrationId]) -> Vec<&str> {
    ids.iter().map(|id| id.name.as_str()).collect()
}

fn schemas(status: &Status) -> Vec<&str> {
    status
        .tenants
        .iter()
        .map(|tenant| tenant.schema.as_str())
        .collect()
}

#[test]
fn a_fleet_that_is_up_to_date_is_one_group() {
    let db = Db::new();
    db.tenants(["acme", "globex", "initech"]);
    let before = SystemTime::now();
    let status = db.tenancy.status().expect("a status");
    assert!(status.is_current());
    assert_eq!(schemas(&status), ["acme", "globex", "initech"]);
    assert_eq!(status.shared.schema, name("public"));
    assert_eq!((status.shared.applied, status.shared.exists), (1, true));
    let groups = status.groups();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!((groups[0].tenants.len(), groups[0].exist), (3, true));
    assert!(groups[0].pending.is_empty() && status.pending().is_empty());
    let last = status.tenants[0].last_migrated.expect("a time");
    let ago = before.duration_since(last).unwrap_or_default();
    assert!(ago < Duration::from_mins(10), "{ago:?}");
}

#[test]
fn tenants_are_grouped_by_what_they_lack_the_largest_group_first() {
    let db = Db::new();
    db.tenants(["acme", "globex", "hooli", "initech", "pied", "umbrella"]);
    client("vanished")
        .save_with(
            &mut db.tenancy.public().expect("a connection"),
            SaveOptions::new().auto_create_schema(false),
        )
        .expect("saved without a schema");
    let newer = db.again(|builder| builder.app(customers()).app(newer_hotels()));
    newer
        .migrate()
        .schema(&name("acme"))
        .app("hotels")
        .run()
        .and_then(Report::into_result)
        .expect("acme is migrated");
    newer
        .migrate()
        .schema(&name("globex"))
        .app("hotels")
        .to("2024-03-01")
        .run()
        .and_then(Report::into_result)
        .expect("globex is migrated half way");

    let status = newer.status().expect("a status");
    let groups: Vec<(bool, usize, Vec<&str>)> = status
        .groups()
        .iter()
        .map(|group| (group.exist, group.tenants.len(), names(group.pending)))
        .collect();
    assert_eq!(
        groups,
        [
            (true, 4, vec![SECOND.0, THIRD.0]),
            (true, 1, vec![]),
            (true, 1, vec![THIRD.0]),
            (false, 1, vec![FIRST.0, SECOND.0, THIRD.0]),
        ]
    );
    let columns: Vec<(&str, usize)> = status
        .pending()
        .iter()
        .map(|(id, lacking)| (id.name.as_str(), *lacking))
        .collect();
    assert_eq!(columns, [(FIRST.0, 1), (SECOND.0, 5), (THIRD.0, 6)]);
    assert!(!status.is_current());
    let applied: Vec<usize> = status.tenants.iter().map(|tenant| tenant.applied).collect();
    assert_eq!(applied, [3, 2, 1, 1, 1, 1, 0]);
}

#[test]
fn c50_what_is_changed_and_what_is_unknown_is_told() {
    let db = Db::with(|builder| builder.app(customers()).app(newer_hotels()));
    db.tenant("acme");
    let other = db.again(|builder| {
        let edited = (FIRST.0, "CREATE TABLE rooms (id bigint PRIMARY KEY);", "");
        builder
            .app(customers())
            .app(sql_app("hotels", AppScope::Tenant, &[edited]))
    });
    let status = other.status().expect("a status");
    let acme = &status.tenants[0];
    assert_eq!(names(&acme.changed), [FIRST.0]);
    assert_eq!(
        acme.unknown,
        ["hotels/20240301000000", "hotels/20240401000000"]
    );
    assert_eq!((acme.applied, acme.pending.len()), (3, 0));
    assert!(acme.is_current());
}

#[test]
fn the_time_is_that_of_the_last_change_not_of_the_last_look() {
    let db = Db::new();
    db.tenant("acme");
    let time = || db.tenancy.status().expect("a status").tenants[0].last_migrated;
    let first = time().expect("a time");
    let run = |tenancy: &Tenancy<Client>| {
        tenancy
            .migrate()
            .verify(true)
            .run()
            .and_then(Report::into_result)
            .expect("migrated");
    };
    run(&db.tenancy);
    assert_eq!(time(), Some(first), "nothing was changed");
    run(&db.again(|builder| builder.app(customers()).app(newer_hotels())));
    assert!(time().expect("a time") > first);
}

#[test]
fn a_database_in_which_nothing_was_migrated_has_a_status() {
    let db = Db::unmigrated(|builder| builder.app(customers()).app(hotels()));
    let status = db.tenancy.status().expect("a status");
    assert_eq!(names(&status.shared.pending), ["2024-01-01-000000_clients"]);
    assert!(status.tenants.is_empty() && !status.is_current());
}

#[test]
fn the_number_of_statements_does_not_depend_on_the_fleet() {
    let server = Server::builder()
        .setting("log_statement", "all")
        .start()
        .expect("a server");
    let tenancy = Tenancy::<Client>::builder(server.url())
        .app(customers())
        .app(hotels())
        .build()
        .expect("a tenancy");
    tenancy
        .migrate()
        .shared()
        .run()
        .and_then(Report::into_result)
        .expect("migrated");
    let grow = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            client(&format!("t{number:02}"))
                .save(&mut tenancy.public().expect("a connection"))
                .expect("saved");
        }
    };
    let mut raw = PgConnection::establish(&server.url()).expect("a connection");
    let mut count = |label: &str| {
        raw.batch_execute(&format!("SELECT 'begin {label}'"))
            .expect("marked");
        let status = tenancy.status().expect("a status");
        raw.batch_execute(&format!("SELECT 'end {label}'"))
            .expect("marked");
        (statements(&server, label), status.tenants.len())
    };
    grow(0..3);
    let few = count("few");
    grow(3..30);
    let many = count("many");
    assert_eq!((few.1, many.1), (3, 30));
    assert_eq!(few.0, many.0);
    // Each checkout sends its path.
    assert!(few.0 <= 9, "{few:?}");
}

/// How many statements a server got between two marks.
pub(crate) fn statements(server: &Server, label: &str) -> usize {
    let log = server.log();
    log.lines()
        .skip_while(|line| !line.contains(&format!("begin {label}")))
        .take_while(|line| !line.contains(&format!("end {label}")))
        .skip(1)
        .filter(|line| line.contains("LOG:  statement: ") || line.contains("LOG:  execute "))
        .count()
}
