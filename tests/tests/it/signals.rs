//! Listeners: what they are told, in which order, how often, and what becomes of their failures.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::TransactionManager as _;
use diesel::prelude::*;
use tenant_schemas::{
    DeleteOptions, Error, Event, Lifecycle as _, SaveOptions, TenancyBuilder, TenantConnection,
    TenantTransactionManager,
};

use crate::bad_input::chain;
use crate::lifecycle::{hotels_and, traces};
use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms_of};

/// What was heard, line by line.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    fn take(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut lines)
    }
}

/// An event in one line.
fn line(event: &Event<'_>) -> String {
    let details = match event {
        Event::PreMigrate { pending, .. } => format!(" {}", pending.len()),
        Event::PostMigrate { applied, .. } => format!(" {}", applied.len()),
        Event::MigrationApplied {
            migration,
            reverted,
            ..
        } => format!(" {migration}{}", if *reverted { " reverted" } else { "" }),
        _ => String::new(),
    };
    let tenant = event.tenant::<Client>().map_or("nobody", |tenant| {
        assert_eq!(&tenant.schema_name, event.schema());
        assert!(tenant.id > 0, "the row is stored: {tenant:?}");
        &tenant.name
    });
    format!("{} {}{details} ({tenant})", event.name(), event.schema())
}

/// Listeners of both kinds that write down everything, each with its mark.
fn listening(builder: TenancyBuilder<Client>, heard: &Heard) -> TenancyBuilder<Client> {
    let (inside, after) = (heard.clone(), heard.clone());
    builder
        .listener_in_transaction(move |event, conn| {
            let scope = match event {
                Event::SchemaNeedsSync { .. } => &name("public"),
                _ => event.schema(),
            };
            assert_eq!(conn.schema_name(), Some(scope));
            inside.push(format!("in {}", line(event)));
            Ok(())
        })
        .listener(move |event| {
            after.push(format!("after {}", line(event)));
            Ok(())
        })
}

fn db(heard: &Heard) -> Db {
    let db = Db::with(|builder| listening(builder.app(customers()).app(hotels()), heard));
    let shared = heard.take();
    assert_eq!(
        shared.len(),
        6,
        "the shared schema has its events: {shared:?}"
    );
    assert!(shared.iter().all(|line| line.ends_with("(nobody)")));
    db
}

#[test]
fn saving_a_tenant_is_told_inside_then_after_the_commit_in_order_and_once() {
    let heard = Heard::default();
    let db = db(&heard);
    db.tenant("acme");
    let events = [
        "PreMigrate acme 1 (The acme)",
        "MigrationApplied acme hotels/2024-02-01-000000_rooms (The acme)",
        "PostMigrate acme 1 (The acme)",
        "PostSchemaSync acme (The acme)",
    ];
    let inside = events.map(|event| format!("in {event}"));
    let after = events.map(|event| format!("after {event}"));
    assert_eq!(heard.take(), [inside, after].concat());
}

#[test]
fn c38_migrating_an_existing_tenant_is_told_migration_by_migration() {
    let heard = Heard::default();
    let db = db(&heard);
    db.tenant("acme");
    heard.take();
    let later = db.again(|builder| {
        listening(
            builder.app(customers()).app(hotels_and((
                "2024-03-01-000000_beds",
                "CREATE TABLE beds (id integer)",
                "DROP TABLE beds",
            ))),
            &heard,
        )
    });
    let run = later.migrate().run().expect("a report");
    run.into_result().expect("migrated");
    let events = [
        "PreMigrate acme 1 (The acme)",
        "MigrationApplied acme hotels/2024-03-01-000000_beds (The acme)",
        "PostMigrate acme 1 (The acme)",
    ];
    let pairs = events.map(|event| [format!("in {event}"), format!("after {event}")]);
    assert_eq!(heard.take(), pairs.concat());
    let run = later.migrate().run().expect("a report");
    run.into_result().expect("nothing to do");
    assert_eq!(heard.take(), [""; 0], "nothing happened");
    let run = later.migrate().tenants().app("hotels").to("2024-02-01");
    run.run()
        .expect("a report")
        .into_result()
        .expect("reverted");
    let heard = heard.take();
    assert!(
        heard.contains(
            &"after MigrationApplied acme hotels/2024-03-01-000000_beds reverted (The acme)"
                .to_owned()
        ),
        "{heard:?}"
    );
}

#[test]
fn c03_without_its_schema_a_tenant_is_announced_as_one_that_needs_it() {
    let heard = Heard::default();
    let db = db(&heard);
    let mut conn = db.tenancy.public().expect("public");
    let mut acme = client("acme");
    let options = SaveOptions::new().auto_create_schema(false);
    let saved = acme.save_with(&mut conn, options).expect("saved");
    assert!(saved.created && !saved.provisioned, "{saved:?}");
    assert!(saved.applied.is_empty());
    assert!(!db.schema_exists("acme"));
    assert_eq!(
        heard.take(),
        [
            "in SchemaNeedsSync acme (The acme)",
            "after SchemaNeedsSync acme (The acme)"
        ]
    );
    let error = db.tenancy.tenant(&acme).expect_err("no schema");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
    acme.save(&mut conn).expect("saving again updates the row");
    assert!(!db.schema_exists("acme"), "and creates no schema");
    assert_eq!(heard.take(), [""; 0]);
    let saved = acme.provision(&mut conn).expect("provisioned");
    assert!(!saved.created && saved.provisioned, "{saved:?}");
    assert_eq!(heard.take().len(), 8);
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn c03_a_listener_can_make_the_schema_that_was_not_asked_for() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(|event, conn| {
                if let (Event::SchemaNeedsSync { .. }, Some(tenant)) =
                    (event, event.tenant::<Client>())
                {
                    tenant.provision(conn)?;
                }
                Ok(())
            })
    });
    let mut conn = db.tenancy.public().expect("public");
    let options = SaveOptions::new().auto_create_schema(false);
    let mut acme = client("acme");
    acme.save_with(&mut conn, options).expect("saved");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
}

#[test]
fn pre_drop_can_still_read_the_tenants_data_and_refuse() {
    let heard = Heard::default();
    let seen = heard.clone();
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(move |event, conn| {
                if event.name() == "PreDrop" {
                    let rooms = rooms_of(conn);
                    seen.push(format!("{}: {rooms:?}", line(event)));
                    if rooms.is_empty() {
                        return Err("nothing to archive".into());
                    }
                }
                Ok(())
            })
    });
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.public().expect("public");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let error = acme.delete_with(&mut conn, options).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "a listener of PreDrop failed for schema acme: its transaction was rolled back"
    );
    assert!(acme.row(&mut conn).expect("read").is_some());
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    acme.delete_with(&mut conn, options).expect("deleted");
    assert_eq!(
        heard.take(),
        [
            "PreDrop acme (The acme): []",
            "PreDrop acme (The acme): [\"Blue\"]"
        ]
    );
    // Nothing is dropped, so nothing is announced.
    let globex = db.tenant("globex");
    globex.delete(&mut conn).expect("deleted");
    assert_eq!(heard.take(), [""; 0]);
}

#[test]
fn a_listener_inside_that_leaves_a_transaction_another_fails_and_nothing_is_saved() {
    type Leave = fn(&mut TenantConnection) -> QueryResult<()>;
    let leaves: [Leave; 3] = [
        TenantTransactionManager::begin_transaction,
        TenantTransactionManager::commit_transaction,
        TenantTransactionManager::rollback_transaction,
    ];
    for (number, leave) in leaves.into_iter().enumerate() {
        let db = Db::with(|builder| {
            let builder = builder.app(customers()).app(hotels());
            builder.listener_in_transaction(move |event, conn| match event.schema().as_str() {
                "acme" => Ok(leave(conn)?),
                _ => Ok(()),
            })
        });
        let mut conn = db.tenancy.public().expect("public");
        let error = client("acme").save(&mut conn).expect_err("refused");
        assert!(matches!(error, Error::Listener { .. }), "{number}: {error}");
        assert!(
            chain(&error).contains("use `conn.transaction(..)`"),
            "{number}: {error:?}"
        );
        assert_eq!(traces(&db, "acme"), [""; 0], "{number}");
        // The connection is not left in the middle of something.
        let mut globex = client("globex");
        globex.save(&mut conn).expect("saved");
        assert_eq!(traces(&db, "globex").len(), 3, "{number}");
    }
}

#[test]
fn a_listener_inside_can_seed_the_tenant() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener_in_transaction(|event, conn| {
                if event.name() == "PostSchemaSync" {
                    assert_eq!(conn.tenant::<Client>(), event.tenant::<Client>());
                    insert_room(conn, 1, &format!("Lobby of {}", event.schema()));
                    // A transaction of its own inside is a savepoint.
                    let undone: Result<(), Error> = conn.transaction(|conn| {
                        insert_room(conn, 2, "Undone");
                        Err(diesel::result::Error::RollbackTransaction.into())
                    });
                    assert!(undone.is_err());
                }
                Ok(())
            })
    });
    let [acme, globex] = db.tenants(["acme", "globex"]);
    for tenant in [&acme, &globex] {
        let rooms = rooms_of(&mut db.tenancy.tenant(tenant).expect("a connection"));
        assert_eq!(rooms, [format!("Lobby of {}", tenant.schema_name)]);
    }
}

#[test]
fn c14_a_failing_listener_inside_rolls_everything_back_and_stops_the_others() {
    for failing in [
        "PreMigrate",
        "MigrationApplied",
        "PostMigrate",
        "PostSchemaSync",
    ] {
        let heard = Heard::default();
        let (first, last, after) = (heard.clone(), heard.clone(), heard.clone());
        let db = Db::with(|builder| {
            builder
                .app(customers())
                .app(hotels())
                .listener_in_transaction(move |event, _| {
                    if event.name() == failing && event.schema() != &name("public") {
                        first.push(format!("first {}", event.name()));
                        return Err(format!("no {failing} today").into());
                    }
                    Ok(())
                })
                .listener_in_transaction(move |event, _| {
                    if event.schema() == &name("acme") && event.name() == failing {
                        last.push("last".to_owned());
                    }
                    Ok(())
                })
                .listener(move |event| {
                    if event.schema() == &name("acme") {
                        after.push("after".to_owned());
                    }
                    Ok(())
                })
        });
        let mut conn = db.tenancy.public().expect("public");
        let error = client("acme").save(&mut conn).expect_err(failing);
        assert_eq!(
            error.to_string(),
            format!(
                "a listener of {failing} failed for schema acme: its transaction was rolled back"
            )
        );
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some(&*format!("no {failing} today")));
        assert_eq!(heard.take(), [format!("first {failing}")]);
        assert!(!db.schema_exists("acme"));
        assert_eq!(Client::all(&mut conn).expect("read"), []);
    }
}

#[test]
fn c14_a_failing_or_panicking_listener_after_the_commit_undoes_nothing_and_is_reported() {
    let heard = Heard::default();
    let last = heard.clone();
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener(|event| match (event.name(), event.schema().as_str()) {
                (_, "public") => Ok(()),
                ("MigrationApplied", _) => Err("the mail server is away".into()),
                ("PostSchemaSync", _) => panic!("the index is out of bounds"),
                ("PreDrop", _) => Err("too late".into()),
                _ => Ok(()),
            })
            .listener(move |event| {
                if event.schema() != &name("public") {
                    last.push(event.name().to_owned());
                }
                Ok(())
            })
    });
    let mut acme = client("acme");
    let mut conn = db.tenancy.public().expect("public");
    let saved = acme.save(&mut conn).expect("saved all the same");
    let failures: Vec<String> = saved
        .listener_failures
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        failures,
        [
            "a listener of MigrationApplied failed for schema acme: the mail server is away",
            "a listener of PostSchemaSync failed for schema acme: the index is out of bounds",
        ]
    );
    assert_eq!(
        heard.take(),
        [
            "PreMigrate",
            "MigrationApplied",
            "PostMigrate",
            "PostSchemaSync"
        ],
        "the next listener is told of everything"
    );
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme.delete_with(&mut conn, options).expect("deleted");
    assert!(deleted.schema_dropped);
    let failures: Vec<String> = deleted
        .listener_failures
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        failures,
        ["a listener of PreDrop failed for schema acme: too late"]
    );
}

#[test]
fn c14_listeners_behind_the_callers_commit_can_fail_and_undo_nothing() {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .listener(|event| match event.name() {
                "PostSchemaSync" => panic!("after everything"),
                _ => Ok(()),
            })
    });
    let mut conn = db.tenancy.public().expect("public");
    conn.transaction(|conn| {
        let saved = client("acme").save(conn)?;
        assert!(saved.listener_failures.is_empty(), "not yet: {saved:?}");
        Ok::<_, Error>(())
    })
    .expect("committed");
    assert!(db.schema_exists("acme"));
    assert_eq!(Client::all(&mut conn).expect("read").len(), 1);
}
