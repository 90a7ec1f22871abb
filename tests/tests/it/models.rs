//! Tenant models of many shapes: keys, types of fields, types of tenants, where the table is.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use tenant_schemas::jobs::InTenant;
use tenant_schemas::testing::TestTenancy;
use tenant_schemas::{
    App, AppScope, DeleteOptions, Error, Lifecycle as _, SchemaName, TenancyBuilder, TenantModel,
};
use uuid::Uuid;

use crate::support::{hotels, name, sql_app};

/// A shared app whose one migration creates this table.
fn table(columns: &str) -> App {
    let up = format!("CREATE TABLE tenants ({columns})");
    sql_app("tenants", AppScope::Shared, &[("1_tenants", &up, "")])
}

fn tests<T: TenantModel>(columns: &str) -> TestTenancy<T> {
    TestTenancy::new(|builder: TenancyBuilder<T>| builder.app(table(columns)).app(hotels()))
        .expect("a tenancy")
}

/// Takes a tenant through its life.
#[track_caller]
fn lives<T: TenantModel + Debug + PartialEq>(tests: &TestTenancy<T>, mut acme: T, mut other: T) {
    let tenancy = tests.tenancy();
    let mut conn = tenancy.public().expect("public");
    assert!(acme.save(&mut conn).expect("saved").created);
    assert!(other.save(&mut conn).expect("saved").created);
    assert_ne!(acme.id(), other.id());
    assert_ne!(acme.id(), &T::Id::default(), "the database has chosen");
    let by_id = T::by_id(&mut conn, acme.id()).expect("read");
    assert_eq!(by_id.as_ref(), Some(&acme));
    let schema = acme.schema_name().clone();
    let by_schema = T::by_schema(&mut conn, schema.as_str()).expect("read");
    assert_eq!(by_schema.as_ref(), Some(&acme));
    let before = acme.clone();
    assert!(!acme.save(&mut conn).expect("saved again").created);
    assert_eq!(acme, before);
    acme.rename(&mut conn, &name("renamed")).expect("renamed");
    assert_eq!(acme.id(), before.id());
    // A message that was sent before the tenant was renamed finds it by its key.
    let sent = serde_json::to_string(&InTenant::new(&before, ()).expect("an envelope"));
    let envelope: InTenant<()> = serde_json::from_str(&sent.expect("text")).expect("it is read");
    let found = tenancy.run_job(&envelope, |conn, ()| {
        Ok::<_, Error>(conn.tenant::<T>().cloned())
    });
    assert_eq!(found.expect("it ran").as_ref(), Some(&acme));
    let migrated = tenancy.migrate().run().expect("a report");
    assert_eq!(migrated.into_result().expect("migrated").len(), 3);
    assert_eq!(tenancy.tenants().expect("read").len(), 2);
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = acme.delete_with(&mut conn, options).expect("deleted");
    assert!(deleted.schema_dropped);
    assert_eq!(T::all(&mut conn).expect("read"), [other]);
}

macro_rules! keyed {
    ($module:ident, $key:ty, $sql:ident) => {
        mod $module {
            use super::*;

            diesel::table! {
                tenants (id) {
                    id -> $sql,
                    schema_name -> Text,
                }
            }

            #[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
            #[diesel(table_name = tenants)]
            pub(super) struct Tenant {
                pub(super) id: $key,
                pub(super) schema_name: SchemaName,
            }
        }
    };
}

keyed!(small, i16, SmallInt);
keyed!(medium, i32, Integer);
keyed!(large, i64, BigInt);
keyed!(universal, Uuid, Uuid);

#[test]
fn the_key_can_be_any_integer() {
    let columns = |ty: &str| format!("id {ty} PRIMARY KEY, schema_name text NOT NULL UNIQUE");
    let [a, b] = ["a", "b"].map(name);
    let new = small::Tenant::new;
    lives(
        &tests(&columns("smallserial")),
        new(a.clone()),
        new(b.clone()),
    );
    let new = medium::Tenant::new;
    lives(&tests(&columns("serial")), new(a.clone()), new(b.clone()));
    let new = large::Tenant::new;
    let identity = "bigint GENERATED ALWAYS AS IDENTITY (START WITH 5000000000)";
    lives(&tests(&columns(identity)), new(a), new(b));
}

#[test]
fn the_key_can_be_a_uuid_of_the_databases_or_of_the_programs_choice() {
    let tests =
        tests("id uuid PRIMARY KEY DEFAULT gen_random_uuid(), schema_name text NOT NULL UNIQUE");
    let new = universal::Tenant::new;
    lives(&tests, new(name("a")), new(name("b")));
    let mut chosen = new(name("c"));
    chosen.id = Uuid::from_u128(7);
    let mut conn = tests.tenancy().public().expect("public");
    let saved = chosen.save(&mut conn).expect("saved");
    assert!(saved.created && saved.provisioned, "{saved:?}");
    assert_eq!(chosen.id, Uuid::from_u128(7));
    let found = universal::Tenant::by_id(&mut conn, &Uuid::from_u128(7)).expect("read");
    assert_eq!(found, Some(chosen.clone()));
    assert!(!chosen.save(&mut conn).expect("saved").created);
}

/// A type of the program's own.
#[derive(Debug, Clone, Copy, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
enum Plan {
    Free,
    Team,
}

impl Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Free => "free",
            Self::Team => "team",
        })
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "free" => Ok(Self::Free),
            "team" => Ok(Self::Team),
            _ => Err(format!("{text:?} is no plan: take `free` or `team`")),
        }
    }
}

impl ToSql<Text, Pg> for Plan {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let text = self.to_string();
        <str as ToSql<Text, Pg>>::to_sql(&text, &mut out.reborrow())
    }
}

impl FromSql<Text, Pg> for Plan {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(<String as FromSql<Text, Pg>>::from_sql(value)?.parse()?)
    }
}

mod wide {
    diesel::table! {
        tenants (number) {
            number -> BigInt,
            schema_name -> Text,
            domain_url -> Nullable<Text>,
            plan -> Text,
            next_plan -> Nullable<Text>,
            paid_until -> Nullable<Date>,
            joined_at -> Timestamptz,
            created_at -> Timestamptz,
            external_id -> Uuid,
            parent -> Nullable<Uuid>,
            seats -> SmallInt,
            quota -> BigInt,
            discount -> Double,
            ratio -> Float,
            active -> Bool,
            tags -> Array<Text>,
            logo -> Nullable<Binary>,
            #[sql_name = "type"]
            kind -> Text,
            a -> Integer,
            b -> Integer,
            c -> Integer,
            d -> Nullable<Integer>,
            e -> Nullable<Integer>,
            f -> Nullable<Integer>,
            search -> Nullable<Text>,
        }
    }
}
use wide::tenants;

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = tenants, primary_key(number))]
struct Wide {
    number: i64,
    #[diesel(column_name = schema_name)]
    #[tenant(schema_name)]
    home: SchemaName,
    domain_url: Option<String>,
    #[tenant(default = Plan::Free)]
    plan: Plan,
    next_plan: Option<Plan>,
    paid_until: Option<NaiveDate>,
    joined_at: DateTime<Utc>,
    #[tenant(generated)]
    created_at: DateTime<Utc>,
    external_id: Uuid,
    parent: Option<Uuid>,
    #[tenant(default = 5)]
    seats: i16,
    #[tenant(default = 1)]
    quota: i64,
    #[tenant(default = 0.5)]
    discount: f64,
    #[tenant(default = 1.5)]
    ratio: f32,
    #[tenant(default = true)]
    active: bool,
    #[tenant(not_from_text, default)]
    tags: Vec<String>,
    #[tenant(not_from_text)]
    logo: Option<Vec<u8>>,
    #[tenant(tenant_type)]
    kind: String,
    #[tenant(default = 1)]
    a: i32,
    #[tenant(default = 2)]
    b: i32,
    #[tenant(default = 3)]
    c: i32,
    d: Option<i32>,
    e: Option<i32>,
    f: Option<i32>,
    #[tenant(generated)]
    search: Option<String>,
}

const WIDE: &str = "number bigserial PRIMARY KEY, schema_name text NOT NULL, domain_url text, \
    plan text NOT NULL, next_plan text, paid_until date, joined_at timestamptz NOT NULL, \
    created_at timestamptz NOT NULL DEFAULT '2024-05-06T07:08:09Z', external_id uuid NOT NULL, \
    parent uuid, seats smallint NOT NULL, quota bigint NOT NULL, discount double precision NOT NULL, \
    ratio real NOT NULL, active boolean NOT NULL, tags text[] NOT NULL, logo bytea, \
    type text NOT NULL, a integer NOT NULL, b integer NOT NULL, c integer NOT NULL, d integer, \
    e integer, f integer, search text GENERATED ALWAYS AS (schema_name || ' ' || type) STORED";

fn wide(schema: &str, kind: &str) -> Wide {
    let mut given = vec![
        ("home", schema.to_owned()),
        ("kind", kind.to_owned()),
        ("external_id", Uuid::from_u128(1).to_string()),
        ("joined_at", "2024-01-02T03:04:05Z".to_owned()),
        ("next_plan", "team".to_owned()),
        ("paid_until", "2024-12-31".to_owned()),
        ("e", "-7".to_owned()),
    ];
    Wide::from_text(&mut |field| {
        let at = given.iter().position(|(name, _)| *name == field.name)?;
        Some(given.swap_remove(at).1)
    })
    .expect("a tenant out of text")
}

#[test]
fn fields_of_many_types_are_stored_read_and_updated() {
    let tests = tests::<Wide>(WIDE);
    lives(&tests, wide("a", "hotel"), wide("b", "hotel"));
    let mut conn = tests.tenancy().public().expect("public");
    let mut acme = wide("acme", "hotel");
    acme.logo = Some(vec![0, 255]);
    acme.tags = vec!["a,b".to_owned(), "c\"d".to_owned()];
    acme.save(&mut conn).expect("saved");
    let created = DateTime::parse_from_rfc3339("2024-05-06T07:08:09Z").expect("a time");
    assert_eq!(acme.created_at, created, "the database fills it in");
    assert_eq!(acme.search.as_deref(), Some("acme hotel"));
    assert_eq!((acme.plan, acme.next_plan), (Plan::Free, Some(Plan::Team)));
    assert_eq!((acme.seats, acme.c, acme.e), (5, 3, Some(-7)));
    let date = NaiveDate::from_ymd_opt(2024, 12, 31);
    assert_eq!(acme.paid_until, date);
    assert_eq!(acme.row(&mut conn).expect("read"), Some(acme.clone()));
    acme.plan = Plan::Team;
    acme.next_plan = None;
    acme.tags.clear();
    acme.created_at = DateTime::UNIX_EPOCH;
    acme.domain_url = Some("acme.com".to_owned());
    acme.save(&mut conn).expect("updated");
    assert_eq!(acme.created_at, created, "the program does not write it");
    assert_eq!((acme.plan, acme.next_plan), (Plan::Team, None));
    assert!(acme.tags.is_empty());
    assert_eq!(
        Wide::by_domain(&mut conn, "acme.com").expect("read"),
        Some(acme.clone())
    );
    let error = acme.set_text("plan", "gold").expect_err("no such plan");
    assert_eq!(
        error.to_string(),
        "field `plan` takes a value of type `Plan`, not \"gold\": \
         \"gold\" is no plan: take `free` or `team`"
    );
    // Several tenants without a domain are no duplicates.
    wide("globex", "hotel").save(&mut conn).expect("saved");
}

#[test]
fn the_type_of_a_tenant_decides_which_apps_it_gets() {
    let app = |label: &str, types: &[&str]| {
        let up = format!("CREATE TABLE {label} (id integer)");
        sql_app(label, AppScope::Tenant, &[("1_table", &up, "")]).types(types.iter().copied())
    };
    let tests = TestTenancy::<Wide>::new(|builder| {
        builder
            .app(table(WIDE))
            .app(app("common", &[]))
            .app(app("rooms", &["hotel"]))
            .app(app("shelves", &["shop", "kiosk"]))
    })
    .expect("a tenancy");
    let mut conn = tests.tenancy().public().expect("public");
    for (schema, kind, expected) in [
        ("a", "hotel", &["common/1_table", "rooms/1_table"][..]),
        ("b", "shop", &["common/1_table", "shelves/1_table"]),
        ("c", "kiosk", &["common/1_table", "shelves/1_table"]),
        ("d", "museum", &["common/1_table"]),
    ] {
        let mut tenant = wide(schema, kind);
        let saved = tenant.save(&mut conn).expect(schema);
        let applied: Vec<String> = saved.applied.iter().map(ToString::to_string).collect();
        assert_eq!(applied, expected, "{schema}");
    }
    let pending = tests.tenancy().migrate().run().expect("a report");
    for (schema, migrated) in pending.into_result().expect("migrated") {
        assert!(migrated.is_unchanged(), "{schema}: {migrated:?}");
    }
}

#[test]
fn schemas_are_made_ahead_for_each_type_of_tenant() {
    let app = |label: &str, types: &[&str]| {
        let up = format!("CREATE TABLE {label} (id integer)");
        sql_app(label, AppScope::Tenant, &[("1_table", &up, "")]).types(types.iter().copied())
    };
    let tests = TestTenancy::<Wide>::new(|builder| {
        let builder = builder.app(table(WIDE)).app(app("common", &[]));
        builder
            .app(app("rooms", &["hotel"]))
            .app(app("shelves", &["shop"]))
    })
    .expect("a tenancy");
    let tenancy = tests.tenancy();
    let hotels = tenancy.ready_schemas(1).of_type("hotel");
    let others = tenancy.ready_schemas(1);
    assert_eq!(hotels.fill().expect("filled").made, 1);
    // One of a kind that has fewer apps is not one of the other that is out of date.
    for _ in 0..2 {
        assert_eq!(others.fill().expect("filled").dropped, 0);
        assert_eq!(hotels.fill().expect("filled").made, 0);
    }
    let mut conn = tenancy.public().expect("public");
    wide("a", "shop").save(&mut conn).expect("saved");
    wide("b", "hotel").save(&mut conn).expect("saved");
    wide("c", "museum").save(&mut conn).expect("saved");
    assert_eq!(
        hotels.fill().expect("filled").made,
        1,
        "b took the one that was there"
    );
    assert_eq!(others.fill().expect("filled").made, 1, "so did c");
    let pending = tenancy.migrate().verify(true).check().expect("checked");
    assert!(pending.is_empty(), "{pending:?}");
}

#[test]
fn a_tenant_whose_type_changes_gets_the_apps_of_the_new_type_and_loses_nothing() {
    let app = |label: &str, types: &[&str]| {
        let up = format!("CREATE TABLE {label} (id integer)");
        sql_app(label, AppScope::Tenant, &[("1_table", &up, "")]).types(types.iter().copied())
    };
    let tests = TestTenancy::<Wide>::new(|builder| {
        let builder = builder.app(table(WIDE)).app(app("common", &[]));
        builder
            .app(app("rooms", &["hotel"]))
            .app(app("shelves", &["shop"]))
    })
    .expect("a tenancy");
    let tenancy = tests.tenancy();
    let mut conn = tenancy.public().expect("public");
    let mut acme = wide("acme", "hotel");
    acme.save(&mut conn).expect("saved");
    acme.kind = "shop".into();
    // The row alone is updated; what is lacking then is found and reported.
    let saved = acme.save(&mut conn).expect("updated");
    assert!(saved.applied.is_empty(), "{saved:?}");
    let ids = |steps: &[tenant_schemas::PlannedMigration]| -> Vec<String> {
        steps.iter().map(|step| step.id.to_string()).collect()
    };
    let pending = tenancy.migrate().check().expect("checked");
    assert_eq!(pending.schemas.len(), 1, "{pending:?}");
    assert_eq!(ids(&pending.schemas[0].steps), ["shelves/1_table"]);
    let report = tenancy.migrate().run().expect("a report");
    report.into_result().expect("migrated");
    assert!(tenancy.migrate().check().expect("checked").is_empty());
    // The old type's app stays, in the ledger too.
    let listed = tenancy.migrate().tenants().list().expect("listed");
    assert_eq!(listed[0].unknown, ["rooms/1"]);
    acme.kind = "hotel".into();
    acme.save(&mut conn).expect("updated");
    let report = tenancy.migrate().verify(true).run().expect("a report");
    for (schema, migrated) in report.into_result().expect("migrated") {
        assert!(migrated.is_unchanged(), "{schema}: {migrated:?}");
    }
}

mod qualified {
    use super::*;

    diesel::table! {
        shared.tenants (id) {
            id -> Integer,
            schema_name -> Text,
        }
    }

    #[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
    #[diesel(table_name = tenants)]
    pub(super) struct Tenant {
        id: i32,
        schema_name: SchemaName,
    }
}

/// A tenancy whose shared schema has a name of its own, alone or behind each tenant.
fn in_shared<T: TenantModel>(include_shared: bool) -> TestTenancy<T> {
    TestTenancy::new(|builder: TenancyBuilder<T>| {
        builder
            .app(table("id serial PRIMARY KEY, schema_name text NOT NULL"))
            .app(hotels())
            .public_schema("shared")
            .include_shared(include_shared)
    })
    .expect("a tenancy")
}

#[test]
fn the_table_can_be_in_a_shared_schema_of_another_name() {
    let [a, b] = ["a", "b"].map(name);
    for include_shared in [true, false] {
        let tests = in_shared(include_shared);
        let new = medium::Tenant::new;
        lives(&tests, new(a.clone()), new(b.clone()));
        let tests = in_shared(include_shared);
        let new = qualified::Tenant::new;
        lives(&tests, new(a.clone()), new(b.clone()));
    }
}

mod told {
    use super::*;

    diesel::table! {
        tenants (id) {
            id -> Integer,
            schema_name -> Text,
        }
    }

    #[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
    #[diesel(table_name = tenants)]
    #[tenant(auto_create_schema = false, auto_drop_schema = true)]
    pub(super) struct Tenant {
        id: i32,
        schema_name: SchemaName,
    }
}

#[test]
fn c03_c05_the_model_says_whether_schemas_come_and_go_with_the_row() {
    let tests = tests::<told::Tenant>("id serial PRIMARY KEY, schema_name text NOT NULL");
    let mut conn = tests.tenancy().public().expect("public");
    let mut acme = told::Tenant::new(name("acme"));
    let saved = acme.save(&mut conn).expect("saved");
    assert!(saved.created && !saved.provisioned, "{saved:?}");
    tests.tenancy().tenant(&acme).expect_err("no schema yet");
    assert!(acme.provision(&mut conn).expect("provisioned").provisioned);
    tests.tenancy().tenant(&acme).expect("a schema");
    assert!(acme.delete(&mut conn).expect("deleted").schema_dropped);
    let schema = tests.tenancy().schema(&name("acme"));
    schema.expect_err("the schema went with the row");
    let options = tenant_schemas::SaveOptions::new().auto_create_schema(true);
    let mut globex = told::Tenant::new(name("globex"));
    let saved = globex.save_with(&mut conn, options).expect("saved");
    assert!(saved.provisioned, "as asked for");
    let options = DeleteOptions::new().auto_drop_schema(false);
    let deleted = globex.delete_with(&mut conn, options).expect("deleted");
    assert!(!deleted.schema_dropped, "as asked for");
}
