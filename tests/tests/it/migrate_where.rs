//! What is migrated where: shared apps in `public`, tenant apps in tenants, each with its own ledger.

use diesel::prelude::*;
use tenant_schemas::{App, AppScope, Error, Lifecycle as _, SchemaName, Tenancy, TenantModel};

use crate::support::{After, Db, client, customers, hotels, plans, rooms, sql_app};

/// An app that lives everywhere.
fn notes() -> App {
    sql_app(
        "notes",
        AppScope::Both,
        &[(
            "2024-03-01-000000_notes",
            "CREATE TABLE notes (id integer PRIMARY KEY)",
            "DROP TABLE notes",
        )],
    )
}

/// `app/version` for each line of a schema's ledger.
#[track_caller]
fn ledger(db: &Db, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT app || '/' || version AS value FROM \"{schema}\".__tenant_migrations ORDER BY 1"
    ))
}

fn everything() -> Db {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()).app(notes()));
    db.tenants(["acme", "globex"]);
    db
}

#[test]
fn c30_shared_apps_are_only_in_public() {
    let db = everything();
    assert!(db.tables("public").contains(&"clients".to_owned()));
    for tenant in ["acme", "globex"] {
        assert!(!db.tables(tenant).contains(&"clients".to_owned()));
        assert!(
            !ledger(&db, tenant)
                .iter()
                .any(|line| line.starts_with("customers/"))
        );
    }
}

#[test]
fn c31_tenant_apps_are_only_in_tenants() {
    let db = everything();
    assert!(!db.tables("public").contains(&"rooms".to_owned()));
    assert!(
        !ledger(&db, "public")
            .iter()
            .any(|line| line.starts_with("hotels/"))
    );
    for tenant in ["acme", "globex"] {
        assert!(db.tables(tenant).contains(&"rooms".to_owned()));
    }
}

#[test]
fn c32_an_app_in_both_is_in_both_with_a_ledger_in_each() {
    let db = everything();
    for schema in ["public", "acme", "globex"] {
        assert!(db.tables(schema).contains(&"notes".to_owned()), "{schema}");
        assert!(
            ledger(&db, schema).contains(&"notes/20240301000000".to_owned()),
            "{schema}"
        );
    }
}

#[test]
fn c33_each_schema_has_exactly_its_tables_after_a_full_run() {
    let db = everything();
    db.tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    assert_eq!(
        db.tables("public"),
        [
            "__tenant_migrations",
            "__tenant_schemas",
            "clients",
            "notes",
            "plans"
        ]
    );
    for tenant in ["acme", "globex"] {
        assert_eq!(db.tables(tenant), ["__tenant_migrations", "notes", "rooms"]);
    }
    assert_eq!(
        ledger(&db, "public"),
        ["customers/20240101000000", "notes/20240301000000"]
    );
    assert_eq!(
        ledger(&db, "acme"),
        ["hotels/20240201000000", "notes/20240301000000"]
    );
}

#[test]
fn c34_a_foreign_key_to_a_shared_table_joins_in_both_directions() {
    let stays = sql_app(
        "hotels",
        AppScope::Tenant,
        &[(
            "2024-02-01-000000_rooms",
            "CREATE TABLE rooms (id integer PRIMARY KEY REFERENCES public.plans (id), name text NOT NULL)",
            "DROP TABLE rooms",
        )],
    );
    let db = Db::with(|builder| builder.app(customers()).app(stays));
    let [acme, globex] = db.tenants(["acme", "globex"]);
    for (tenant, room) in [(&acme, "Blue"), (&globex, "Red")] {
        let mut conn = db.tenancy.tenant(tenant).expect("a connection");
        crate::support::insert_room(&mut conn, 1, room);
        let from_tenant: Vec<(String, String)> = rooms::table
            .inner_join(plans::table.on(plans::id.eq(rooms::id)))
            .select((rooms::name, plans::name))
            .load(&mut conn)
            .expect("joined from the tenant's table");
        assert_eq!(from_tenant, [(room.to_owned(), "free".to_owned())]);
        let from_shared: Vec<(String, Option<String>)> = plans::table
            .left_join(rooms::table.on(rooms::id.eq(plans::id)))
            .select((plans::name, rooms::name.nullable()))
            .order(plans::id)
            .load(&mut conn)
            .expect("joined from the shared table");
        assert_eq!(
            from_shared,
            [
                ("free".to_owned(), Some(room.to_owned())),
                ("team".to_owned(), None)
            ]
        );
        diesel::insert_into(rooms::table)
            .values((rooms::id.eq(99), rooms::name.eq("Nowhere")))
            .execute(&mut conn)
            .expect_err("the foreign key is enforced");
    }
}

#[test]
fn c35_two_apps_can_have_the_same_version() {
    let twin = |label: &str, table: &str| {
        sql_app(
            label,
            AppScope::Tenant,
            &[(
                "2024-02-01-000000_first",
                &format!("CREATE TABLE {table} (id integer)"),
                &format!("DROP TABLE {table}"),
            )],
        )
    };
    let (bars, pools) = (twin("bars", "bars"), twin("pools", "pools"));
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(bars.clone())
            .app(pools.clone())
    });
    db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "bars", "pools"]);
    assert_eq!(
        ledger(&db, "acme"),
        ["bars/20240201000000", "pools/20240201000000"]
    );
    // One of them taken back leaves the other alone.
    db.tenancy
        .migrate()
        .tenants()
        .app("pools")
        .to_zero()
        .run()
        .expect("a report")
        .into_result()
        .expect("reverted");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "bars"]);
    assert_eq!(ledger(&db, "acme"), ["bars/20240201000000"]);
}

#[test]
fn a_tenant_migration_reaches_no_table_of_public() {
    let drops = |sees_shared: bool| {
        sql_app(
            "drops",
            AppScope::Tenant,
            &[
                ("2024-05-01-000000_a", "DROP TABLE IF EXISTS extras", ""),
                ("2024-05-02-000000_b", "CREATE TABLE own (id integer)", ""),
            ],
        )
        .sees_shared(sees_shared)
    };
    let db = Db::with(|builder| builder.app(customers()).app(drops(false)));
    let make = "CREATE TABLE public.extras (id integer)";
    diesel::sql_query(make).execute(&mut db.raw()).expect(make);
    db.tenant("acme");
    assert!(
        db.tables("public").contains(&"extras".to_owned()),
        "the shared table was dropped"
    );
    // An app that asks for `public` gets it, for better or worse.
    let seeing = db.again(|builder| builder.app(customers()).app(drops(true)));
    client("globex")
        .save(&mut seeing.public().expect("a connection"))
        .expect("saved");
    assert!(!db.tables("public").contains(&"extras".to_owned()));
    assert_eq!(db.tables("globex"), ["__tenant_migrations", "own"]);
}

#[test]
fn a_tenant_migration_that_alters_a_missing_table_fails_rather_than_alter_that_of_public() {
    let alters = sql_app(
        "alters",
        AppScope::Tenant,
        &[(
            "2024-05-01-000000_a",
            "ALTER TABLE plans ADD COLUMN price integer",
            "",
        )],
    );
    let db = Db::with(|builder| builder.app(customers()).app(alters));
    let error = client("acme")
        .save(&mut db.tenancy.public().expect("a connection"))
        .expect_err("there is no such table in the tenant");
    assert!(
        matches!(&error, Error::Migration { app, .. } if app == "alters"),
        "{error}"
    );
    assert!(
        db.strings(
            "SELECT attname::text AS value FROM pg_attribute \
             WHERE attrelid = 'public.plans'::regclass AND attname = 'price'"
        )
        .is_empty()
    );
}

#[test]
fn extra_schemas_are_seen_by_migrations() {
    let rated = sql_app(
        "rated",
        AppScope::Tenant,
        &[(
            "2024-05-01-000000_a",
            "CREATE TABLE rated (how mood NOT NULL)",
            "",
        )],
    );
    let db = Db::unmigrated(|builder| {
        builder
            .extra_search_path(["ext"])
            .app(customers())
            .app(rated)
    });
    diesel::connection::SimpleConnection::batch_execute(
        &mut db.raw(),
        "CREATE SCHEMA ext; CREATE TYPE ext.mood AS ENUM ('glad', 'sad')",
    )
    .expect("an extra schema");
    db.tenancy
        .migrate()
        .shared()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rated"]);
    assert!(db.tables("ext").is_empty());
}

#[test]
fn a_migration_that_moves_the_path_moves_it_for_itself_alone() {
    // As pg_dump writes them.
    let dumped = sql_app(
        "dumped",
        AppScope::Tenant,
        &[
            (
                "2024-05-01-000000_dump",
                "SET statement_timeout = '7min';\n\
                 SELECT pg_catalog.set_config('search_path', '', false);",
                "",
            ),
            (
                "2024-05-02-000000_worse",
                "SET search_path TO public; SELECT 1",
                "",
            ),
            (
                "2024-05-03-000000_next",
                "CREATE TABLE after_dump (id integer)",
                "",
            ),
        ],
    );
    let db = Db::with(|builder| builder.pool_size(1).app(customers()).app(dumped));
    let acme = db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "after_dump"]);
    assert!(!db.tables("public").contains(&"after_dump".to_owned()));
    // The settings of the dump are not for the next user of the connection.
    let mut conn = db.tenancy.tenant(&acme).expect("a connection");
    let settings = "SELECT current_setting('statement_timeout') AS value";
    assert_eq!(crate::support::strings(&mut *conn, settings), ["0"]);
    let path = "SELECT current_schema()::text AS value";
    assert_eq!(crate::support::strings(&mut *conn, path), ["acme"]);
}

diesel::table! {
    shops (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        kind -> Text,
    }
}

/// A tenant that says of what type it is.
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = shops)]
struct Shop {
    id: i32,
    schema_name: SchemaName,
    domain_url: String,
    #[tenant(tenant_type)]
    kind: String,
}

#[test]
fn c36_shared_first_then_tenants_by_name_and_apps_behind_those_they_come_after() {
    use std::sync::{Arc, Mutex};

    let app = |label: &str, scope: AppScope| {
        sql_app(
            label,
            scope,
            &[
                ("2024-04-01-000000_one", "SELECT 1", ""),
                ("2024-04-02-000000_two", "SELECT 1", ""),
            ],
        )
    };
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&order);
    let db = Db::with(|builder| builder.app(customers()));
    db.tenants(["zeta", "acme", "m_2", "m_10"]);
    let later = db.again(|builder| {
        builder
            .app(app("late", AppScope::Tenant).after(["early"]))
            .app(app("both", AppScope::Both))
            .app(app("early", AppScope::Tenant))
            .app(customers())
            .listener(move |event| {
                if let tenant_schemas::Event::MigrationApplied { migration, .. } = event {
                    seen.lock().expect("a lock").push(format!(
                        "{} {}/{}",
                        event.schema(),
                        migration.app,
                        migration.version
                    ));
                }
                Ok(())
            })
    });
    let report = later.migrate().run().expect("a report");
    let schemas: Vec<&str> = report
        .outcomes()
        .iter()
        .map(|o| o.schema.as_str())
        .collect();
    assert_eq!(schemas, ["public", "acme", "m_10", "m_2", "zeta"]);
    let mut expected: Vec<String> = ["both/20240401000000", "both/20240402000000"]
        .map(|migration| format!("public {migration}"))
        .into();
    for tenant in ["acme", "m_10", "m_2", "zeta"] {
        for app in ["both", "early", "late"] {
            expected.push(format!("{tenant} {app}/20240401000000"));
            expected.push(format!("{tenant} {app}/20240402000000"));
        }
    }
    assert_eq!(*order.lock().expect("a lock"), expected);
}

fn shops_app() -> App {
    sql_app(
        "shared",
        AppScope::Shared,
        &[(
            "2024-01-01-000000_shops",
            "CREATE TABLE shops (id serial PRIMARY KEY, schema_name text NOT NULL UNIQUE, \
             domain_url text NOT NULL UNIQUE, kind text NOT NULL)",
            "",
        )],
    )
}

/// An app that is one table of its name.
fn table(label: &str) -> App {
    let up = format!("CREATE TABLE {label} (id integer)");
    sql_app(
        label,
        AppScope::Tenant,
        &[("2024-04-01-000000_one", &up, "")],
    )
}

#[test]
fn a_ledger_that_another_type_of_tenant_would_have_is_not_taken_for_lost() {
    let database = tenant_schemas::testing::TestDatabase::new().expect("a database");
    let tenancy = |more: &[App]| {
        let builder = Tenancy::<Shop>::builder(database.url())
            .pool_size(2)
            .app(shops_app())
            .app(table("common"));
        let builder = more
            .iter()
            .cloned()
            .fold(builder, tenant_schemas::TenancyBuilder::app);
        builder.build().expect("a tenancy")
    };
    let before = tenancy(&[]);
    before
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    for (schema, kind) in [("a", "plain"), ("b", "horned")] {
        Shop::new(schema.parse().expect("a name"), format!("{schema}.test"))
            .kind(kind)
            .save(&mut before.public().expect("a connection"))
            .expect("saved");
    }
    // With the one app, and not yet the other, `b` has what is all for `a`.
    let after = tenancy(&[table("more"), table("horns").types(["horned"])]);
    let run = after.migrate().tenants().app("more").run();
    let report = run.expect("a report").into_result().expect("migrated");
    let applied: Vec<usize> = report.iter().map(|(_, done)| done.applied.len()).collect();
    assert_eq!(applied, [1, 1]);
    let pending = after.migrate().tenants().check().expect("checked");
    let behind: Vec<&str> = pending.schemas.iter().map(|s| s.schema.as_str()).collect();
    assert_eq!(behind, ["b"]);
}

#[test]
fn a_tenant_that_has_the_name_of_one_of_another_type_since_the_fleet_was_read_gets_none_of_its_apps()
 {
    let database = tenant_schemas::testing::TestDatabase::new().expect("a database");
    let tenancy = |horns: bool| {
        let builder = Tenancy::<Shop>::builder(database.url())
            .pool_size(2)
            .app(shops_app())
            .app(table("common"));
        let builder = if horns {
            builder.app(table("horns").types(["horned"]))
        } else {
            builder
        };
        builder.build().expect("a tenancy")
    };
    let before = tenancy(false);
    let report = before.migrate().run().expect("a report");
    report.into_result().expect("migrated");
    let mut conn = before.public().expect("a connection");
    let shops = [("a", "horned"), ("b", "horned"), ("c", "plain")].map(|(schema, kind)| {
        let name = schema.parse().expect("a name");
        let mut shop = Shop::new(name, format!("{schema}.test")).kind(kind);
        shop.save(&mut conn).expect("saved");
        shop
    });
    drop(conn);
    let swap = After(move || {
        let mut conn = before.public().expect("a connection");
        let [_, mut b, mut c] = shops.clone();
        let mut rename = |shop: &mut Shop, to: &str| {
            let to = to.parse().expect("a name");
            shop.rename(&mut conn, &to).expect("renamed");
        };
        rename(&mut b, "other");
        rename(&mut c, "b");
        rename(&mut b, "c");
    });
    let report = tenancy(true).migrate().tenants().executor(swap).run();
    let report = report.expect("a report");
    let failed: Vec<&str> = report.failed().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(failed, ["b"], "{report:?}");
    let horns = "SELECT schemaname::text AS value FROM pg_tables WHERE tablename = 'horns'";
    let mut raw = PgConnection::establish(&database.url()).expect("a connection");
    assert_eq!(crate::support::strings(&mut raw, horns), ["a"]);
}

#[test]
fn c36_a_tenant_has_the_apps_of_its_type() {
    let app = table;
    let database = tenant_schemas::testing::TestDatabase::new().expect("a database");
    let build = |more: Option<App>| {
        let mut builder = Tenancy::<Shop>::builder(database.url())
            .pool_size(2)
            .app(shops_app())
            .app(app("common"))
            .app(app("books").types(["book", "both"]))
            .app(app("bikes").types(["bike", "both"]));
        if let Some(app) = more {
            builder = builder.app(app);
        }
        builder.build().expect("a tenancy")
    };
    let tenancy = build(None);
    tenancy
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    let tables = |schema: &str| {
        crate::support::strings(
            &mut PgConnection::establish(&database.url()).expect("a connection"),
            &format!(
                "SELECT tablename::text AS value FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"
            ),
        )
    };
    for (schema, kind, expected) in [
        ("a", "book", vec!["__tenant_migrations", "books", "common"]),
        ("b", "bike", vec!["__tenant_migrations", "bikes", "common"]),
        (
            "c",
            "both",
            vec!["__tenant_migrations", "bikes", "books", "common"],
        ),
        ("d", "none", vec!["__tenant_migrations", "common"]),
    ] {
        Shop::new(schema.parse().expect("a name"), format!("{schema}.test"))
            .kind(kind)
            .save(&mut tenancy.public().expect("a connection"))
            .expect("saved");
        assert_eq!(tables(schema), expected, "{kind}");
    }
    assert!(tenancy.migrate().check().expect("checked").is_empty());
    // A later app for one type reaches the tenants of that type alone.
    let later = build(Some(app("bells").types(["bike"])));
    let pending = later.migrate().check().expect("checked");
    let behind: Vec<&str> = pending.schemas.iter().map(|s| s.schema.as_str()).collect();
    assert_eq!(behind, ["b"]);
    later
        .migrate()
        .run()
        .expect("a report")
        .into_result()
        .expect("migrated");
    assert_eq!(
        tables("b"),
        ["__tenant_migrations", "bells", "bikes", "common"]
    );
    assert_eq!(
        tables("c"),
        ["__tenant_migrations", "bikes", "books", "common"]
    );
}
