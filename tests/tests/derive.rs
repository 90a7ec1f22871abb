//! What the derives and attributes generate, as far as no database is needed.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::{Queryable, Selectable};
use tenant_schemas::{
    App, AppScope, DeclaredTable, DomainModel, Field, FieldError, FieldRole, SchemaName,
    TenantModel, shared_app, tenant_app,
};

use schema::{clients, plans, rooms};

mod schema {
    //! The tables of the models below.

    diesel::table! {
        clients (id) {
            id -> Integer,
            schema_name -> Text,
            domain_url -> Text,
            #[sql_name = "display name"]
            name -> Text,
            plan -> Text,
            paid_until -> Nullable<Date>,
            seats -> SmallInt,
            discount -> Nullable<BigInt>,
            on_trial -> Bool,
            kind -> Nullable<Text>,
            r#type -> Text,
            tags -> Array<Text>,
            created_at -> Timestamptz,
        }
    }

    diesel::table! {
        rooms (id) {
            id -> Integer,
            number -> Integer,
        }
    }

    diesel::table! {
        plans (id) {
            id -> Integer,
        }
    }
}

/// A customer.
#[shared_app]
#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
#[tenant(auto_drop_schema = true)]
pub struct Client {
    /// The key.
    pub id: i32,
    /// Where the data lives.
    pub schema_name: SchemaName,
    /// Where the customer finds us.
    pub domain_url: String,
    /// The name on the invoice.
    pub name: String,
    /// What is paid for.
    #[tenant(default = "basic")]
    pub plan: String,
    /// The last day.
    /// Not beyond.
    pub paid_until: Option<NaiveDate>,
    /// How many may log in.
    #[tenant(default = 5)]
    pub seats: i16,
    /// In cents.
    #[tenant(default = -100)]
    pub discount: Option<i64>,
    /// Whether nothing is paid yet.
    #[tenant(default = true)]
    pub on_trial: bool,
    /// Hotel or hostel.
    #[tenant(tenant_type)]
    pub kind: Option<String>,
    /// A field with the name of a keyword.
    #[tenant(default)]
    pub r#type: String,
    /// Words to search for.
    #[tenant(not_from_text, default = vec!["new".to_owned()])]
    #[diesel(deserialize_as = Vec<String>)]
    pub tags: Vec<String>,
    /// When the row was made.
    #[tenant(generated)]
    pub created_at: DateTime<Utc>,
}

fn named(name: &str) -> SchemaName {
    name.parse().expect("a schema name")
}

fn client() -> Client {
    Client::new(named("acme"), "acme.example.com")
}

fn field(name: &str) -> Field {
    let fields = Client::fields();
    *fields
        .iter()
        .find(|field| field.name == name)
        .expect("a field of this name")
}

fn from_text(text: &[(&str, &str)]) -> Result<Client, Vec<FieldError>> {
    let text: HashMap<_, _> = text.iter().copied().collect();
    Client::from_text(&mut |field| text.get(field.name).map(|text| (*text).to_owned()))
}

fn messages<T: std::fmt::Debug>(result: Result<T, Vec<FieldError>>) -> Vec<String> {
    result
        .expect_err("mistakes")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn new_takes_the_names_and_leaves_defaults() {
    let client = client();
    assert_eq!(client.id, 0);
    assert_eq!(client.schema_name, "acme");
    assert_eq!(client.domain_url, "acme.example.com");
    assert_eq!(client.name, "");
    assert_eq!(client.plan, "basic");
    assert_eq!(client.paid_until, None);
    assert_eq!(client.seats, 5);
    assert_eq!(client.discount, Some(-100));
    assert!(client.on_trial);
    assert_eq!(client.tags, ["new"]);
}

#[test]
fn setters_take_values_and_options() {
    let day = NaiveDate::from_ymd_opt(2026, 1, 31).expect("a day");
    let client = client()
        .name("Fonzy Tenant")
        .paid_until(day)
        .seats(3)
        .discount(5)
        .on_trial(false)
        .kind("hotel".to_owned())
        .r#type("x")
        .tags(["a".to_owned()]);
    assert_eq!(
        (client.name.as_str(), client.seats, client.on_trial),
        ("Fonzy Tenant", 3, false)
    );
    assert_eq!((client.paid_until, client.discount), (Some(day), Some(5)));
    assert_eq!(client.tenant_type().as_deref(), Some("hotel"));
    assert_eq!(client.paid_until(None).paid_until, None);
}

#[test]
fn the_model_knows_its_row() {
    let mut client = client();
    assert_eq!(*client.id(), 0);
    assert_eq!(client.domain_url(), Some("acme.example.com"));
    assert_eq!(client.tenant_type(), None);
    client.set_schema_name(named("globex"));
    assert_eq!(*client.schema_name(), "globex");
    assert_eq!(Client::table().to_string(), "clients");
    assert!(Client::domains().is_none());
    assert_eq!(
        (Client::AUTO_CREATE_SCHEMA, Client::AUTO_DROP_SCHEMA),
        (true, true)
    );
}

#[test]
fn fields_are_described_in_order() {
    let names: Vec<_> = Client::fields().iter().map(|field| field.name).collect();
    let expected = [
        "id",
        "schema_name",
        "domain_url",
        "name",
        "plan",
        "paid_until",
        "seats",
        "discount",
        "on_trial",
        "kind",
        "type",
        "tags",
        "created_at",
    ];
    assert_eq!(names, expected);
    let paid_until = field("paid_until");
    assert_eq!(paid_until.type_name, "Option<NaiveDate>");
    assert_eq!(paid_until.help, "The last day.\nNot beyond.");
    assert!(paid_until.optional && !paid_until.required());
    assert_eq!(field("name").column, "display name");
    assert!(field("name").required());
    let roles: Vec<_> = Client::fields().iter().map(|field| field.role).collect();
    assert_eq!(
        roles[..4],
        [
            FieldRole::Id,
            FieldRole::SchemaName,
            FieldRole::DomainUrl,
            FieldRole::Plain
        ]
    );
    assert_eq!(field("kind").role, FieldRole::TenantType);
    assert!(!field("tags").can_be_set() && !field("created_at").can_be_set());
}

#[test]
fn defaults_are_written_down() {
    let defaults: Vec<_> = [
        "name", "plan", "seats", "discount", "on_trial", "type", "tags",
    ]
    .map(field)
    .to_vec();
    let defaults: Vec<_> = defaults.iter().map(Field::default_text).collect();
    let expected = [
        None,
        Some("basic"),
        Some("5"),
        Some("-100"),
        Some("true"),
        Some(""),
        None,
    ];
    assert_eq!(defaults, expected.map(|text| text.map(str::to_owned)));
}

#[test]
fn text_makes_a_tenant() {
    let client = from_text(&[
        ("schema_name", "acme-2024"),
        ("domain_url", "acme.example.com"),
        ("name", "Acme"),
        ("paid_until", "2026-01-31"),
        ("on_trial", "No"),
        ("discount", ""),
    ])
    .expect("a tenant");
    assert_eq!(client.schema_name, "acme-2024");
    assert_eq!(client.paid_until, NaiveDate::from_ymd_opt(2026, 1, 31));
    assert!(!client.on_trial);
    assert_eq!((client.seats, client.discount), (5, None));
    assert_eq!(client.tags, ["new"]);
}

#[test]
fn text_with_mistakes_reports_them_all() {
    let mistakes = messages(from_text(&[
        ("schema_name", "a b"),
        ("paid_until", "soon"),
        ("seats", "many"),
        ("on_trial", "maybe"),
    ]));
    let expected = [
        "field `schema_name` takes a value of type `SchemaName`, not \"a b\": schema name \"a b\" \
         contains ' ' at byte 1: use letters, digits, underscores and hyphens",
        "field `domain_url` is required and has no default: give it a value of type `String`",
        "field `name` is required and has no default: give it a value of type `String`",
        "field `paid_until` takes a value of type `Option<NaiveDate>`, not \"soon\": \
         input contains invalid characters",
        "field `seats` takes a value of type `i16`, not \"many\": invalid digit found in string",
        "field `on_trial` takes a value of type `bool`, not \"maybe\": write `true` or `false`, \
         `yes` or `no`, `1` or `0`",
    ];
    assert_eq!(mistakes, expected);
}

#[test]
fn text_sets_one_field_or_leaves_it_alone() {
    let mut client = client();
    client.set_text("seats", "7").expect("a number");
    client.set_text("type", "x").expect("any text");
    client
        .set_text("discount", "")
        .expect("no text is no discount");
    assert_eq!(
        (client.seats, client.r#type.as_str(), client.discount),
        (7, "x", None)
    );
    assert!(client.set_text("seats", "many").is_err());
    assert_eq!(client.seats, 7);
    for unknown in ["id", "created_at", "tags", "nothing"] {
        let error = client
            .set_text(unknown, "1")
            .expect_err(unknown)
            .to_string();
        let known = "there are `schema_name`, `domain_url`, `name`, `plan`, `paid_until`, `seats`, \
                     `discount`, `on_trial`, `kind`, `type`";
        assert_eq!(
            error,
            format!("`{unknown}` is no field that can be set; {known}")
        );
    }
}

mod with_domains {
    //! A tenant whose domains are rows of their own, with keys of other types and names.

    use super::{DomainModel, Queryable, SchemaName, Selectable, TenantModel, named};
    use tenant_schemas::RowId as _;
    use uuid::Uuid;

    diesel::table! {
        public.firms (key) {
            key -> Uuid,
            schema -> Text,
        }
    }

    diesel::table! {
        hosts (id) {
            id -> BigInt,
            name -> Text,
            firm -> Uuid,
            main -> Bool,
            note -> Nullable<Text>,
        }
    }

    #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
    #[diesel(table_name = firms, primary_key(key))]
    #[tenant(domains = Host, auto_create_schema = false, constructor = false)]
    struct Firm {
        key: Uuid,
        #[tenant(schema_name)]
        schema: SchemaName,
    }

    #[derive(Debug, Clone, Queryable, Selectable, DomainModel)]
    #[diesel(table_name = hosts)]
    struct Host {
        id: i64,
        #[domain(domain)]
        name: String,
        #[domain(tenant_id)]
        firm: Uuid,
        #[domain(is_primary)]
        main: bool,
        #[domain(default = "none")]
        note: Option<String>,
    }

    #[test]
    fn the_tenant_names_the_table_of_its_domains() {
        let table = Firm::domains().expect("a table of domains");
        assert_eq!(table.table.to_string(), "hosts");
        assert_eq!(
            (table.domain, table.tenant_id, table.is_primary),
            ("name", "firm", "main")
        );
        assert_eq!(Firm::table().to_string(), "public.firms");
        let firm = Firm {
            key: Uuid::nil(),
            schema: named("acme"),
        };
        assert!(firm.id().is_unset());
        assert_eq!(firm.domain_url(), None);
        assert_eq!(
            (Firm::AUTO_CREATE_SCHEMA, Firm::AUTO_DROP_SCHEMA),
            (false, false)
        );
    }

    #[test]
    fn a_domain_is_secondary_until_it_is_primary() {
        let key = Uuid::from_u128(7);
        let mut host = Host::new("acme.example.com", key);
        assert!(!host.is_primary());
        assert_eq!(
            (host.domain(), *host.tenant_id(), *host.id()),
            ("acme.example.com", key, 0)
        );
        assert_eq!(host.note.as_deref(), Some("none"));
        host.set_primary(true);
        assert!(host.is_primary());
        assert!(Host::new("b", key).primary().main);
    }
}

mod named_like_methods {
    //! Fields with the names of a tenant's methods.

    use super::{Queryable, SchemaName, Selectable, TenantModel, named};

    diesel::table! {
        firms (id) {
            id -> Integer,
            schema_name -> Text,
            tenant_type -> Text,
            fields -> Text,
            rename -> Bool,
        }
    }

    #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
    #[diesel(table_name = firms)]
    struct Firm {
        id: i32,
        schema_name: SchemaName,
        tenant_type: String,
        fields: String,
        rename: bool,
    }

    #[test]
    fn their_setters_hide_no_method() {
        let firm = Firm::new(named("acme"))
            .with_tenant_type("hotel")
            .with_fields("wide")
            .with_rename(true);
        assert_eq!(firm.tenant_type().as_deref(), Some("hotel"));
        assert_eq!((firm.fields.as_str(), firm.rename), ("wide", true));
        assert_eq!(Firm::fields().len(), 5);
    }
}

mod beside_columns {
    //! Models beside their columns. Those are unit structs: a binding of such a name would be a
    //! pattern.

    use diesel::Column;
    use diesel::prelude::{Queryable, Selectable};
    use tenant_schemas::{DomainModel, SchemaName, TenantModel};

    use super::named;
    use tables::firms::dsl::*;
    use tables::hosts::dsl::*;

    mod tables {
        diesel::table! {
            firms (id) {
                id -> Integer,
                schema_name -> Text,
                domain_url -> Text,
                plan -> Text,
                text -> Text,
                field -> Bool,
                fields -> Nullable<Text>,
                form -> Text,
                value -> Text,
                values -> Text,
                schema -> Text,
                conn -> Text,
                found -> Text,
                r#type -> Text,
            }
        }

        diesel::table! {
            hosts (id) {
                id -> Integer,
                domain -> Text,
                tenant_id -> Integer,
                is_primary -> Bool,
                primary -> Text,
                tenant -> Text,
            }
        }
    }

    #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
    #[diesel(table_name = tables::firms)]
    struct Firm {
        id: i32,
        schema_name: SchemaName,
        domain_url: String,
        plan: String,
        #[tenant(default = plan())]
        text: String,
        #[tenant(default = true)]
        field: bool,
        fields: Option<String>,
        form: String,
        value: String,
        values: String,
        schema: String,
        conn: String,
        found: String,
        #[diesel(column_name = "type")]
        kind: String,
    }

    #[derive(Debug, Clone, Queryable, Selectable, DomainModel)]
    #[diesel(table_name = tables::hosts)]
    struct Host {
        id: i32,
        domain: String,
        tenant_id: i32,
        is_primary: bool,
        primary: String,
        tenant: String,
    }

    /// A function with the name of a field.
    fn plan() -> String {
        "basic".to_owned()
    }

    #[test]
    fn columns_in_scope_are_no_patterns() {
        assert_eq!(
            (<value as Column>::NAME, <domain as Column>::NAME),
            ("value", "domain")
        );
        let firm = Firm::new(named("acme"), "acme.example.com")
            .value("a")
            .field(false);
        assert_eq!((firm.value.as_str(), firm.field), ("a", false));
        let mut firm = Firm::from_text(&mut |asked| {
            let given = !["field", "text"].contains(&asked.name);
            given.then(|| asked.name.to_owned())
        })
        .expect("a tenant");
        assert_eq!((firm.plan.as_str(), firm.text.as_str()), ("plan", "basic"));
        firm.set_text("form", "b").expect("any text");
        assert_eq!(firm.form, "b");
        let kind = <Firm as TenantModel>::fields()
            .iter()
            .find(|known| known.name == "kind");
        assert_eq!(kind.map(|known| known.column), Some("type"));
        assert!(Host::new("acme.example.com", 1).primary().is_primary());
    }
}

/// A room.
#[tenant_app]
#[derive(Debug, Queryable)]
#[diesel(table_name = rooms)]
pub struct Room {
    /// The key.
    pub id: i32,
    /// The number on the door.
    pub number: i32,
}

/// A plan, which every tenant can override.
#[tenant_schemas::tenant_app]
#[tenant_schemas::shared_app]
#[derive(Debug, Queryable)]
#[diesel(table_name = plans)]
pub struct Plan {
    /// The key.
    pub id: i32,
}

#[test]
fn models_declare_their_tables() {
    let declared = |model: &str| {
        *DeclaredTable::all()
            .find(|table| table.model == model)
            .expect("a declaration")
    };
    let room = declared("Room");
    assert_eq!(
        (room.scope, room.table().name()),
        (AppScope::Tenant, "rooms")
    );
    assert_eq!(room.columns(), ["id", "number"]);
    assert!(room.location.contains("derive.rs:"), "{}", room.location);
    assert_eq!(declared("Plan").scope, AppScope::Both);
    assert_eq!(declared("Client").scope, AppScope::Shared);
    assert_eq!(declared("Client").columns()[3], "display name");
}

/// Customers.
#[shared_app]
#[derive(Debug)]
pub struct Customers;

/// Hotels.
#[tenant_app(
    migrations = "tests/derive_migrations",
    after = [Customers, "billing"],
    types = ["hotel", "hostel"],
    sees_shared = true,
)]
#[derive(Debug)]
pub struct FrontDesk;

#[tenant_app(label = "notes_v2")]
#[shared_app(after = [Customers])]
struct Notes;

#[tenant_app(
    source = diesel_migrations::FileBasedMigrations::from_path("tests/derive_migrations")
        .expect("the directory is there"),
    rust = diesel_migrations::FileBasedMigrations::from_path("tests/derive_migrations")
        .expect("the directory is there"),
)]
struct FromFiles;

#[test]
fn a_unit_struct_is_an_app() {
    let app = App::from(Customers);
    assert_eq!((app.label(), app.scope()), ("customers", AppScope::Shared));
    let app = App::from(FrontDesk);
    assert_eq!((app.label(), app.scope()), ("front_desk", AppScope::Tenant));
    assert_eq!(FrontDesk::LABEL, "front_desk");
    assert_eq!(app.migrated_after(), ["customers", "billing"]);
    assert_eq!(app.tenant_types(), ["hotel", "hostel"]);
    assert!(app.can_see_shared());
    let app = App::from(Notes);
    assert_eq!((app.label(), app.scope()), ("notes_v2", AppScope::Both));
    assert_eq!(app.migrated_after(), ["customers"]);
    assert_eq!(App::from(FromFiles).label(), "from_files");
}
