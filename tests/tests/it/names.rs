//! Schema names on a real database: keywords, the quoted policy, and what is refused.

use tenant_schemas::{Error, Lifecycle as _, NameError, SchemaName, SchemaNamePolicy, TenantModel};

use crate::lifecycle::traces;
use crate::support::{Client, Db, client, customers, hotels, insert_room, name, rooms_of};

/// Saves tenants of these names, writes to each, and finds in each its own row.
#[track_caller]
fn live_side_by_side(db: &Db, names: &[&str]) {
    let tenants: Vec<Client> = names
        .iter()
        .enumerate()
        .map(|(number, schema)| {
            let mut tenant = client(schema);
            tenant.domain_url = format!("{number}.my-domain.com");
            tenant
                .save(&mut db.tenancy.public().expect("public"))
                .expect(schema);
            tenant
        })
        .collect();
    for (tenant, schema) in tenants.iter().zip(names) {
        insert_room(&mut db.tenancy.tenant(tenant).expect("scope"), 1, schema);
    }
    for (tenant, schema) in tenants.iter().zip(names) {
        let mut conn = db.tenancy.tenant(tenant).expect("scope");
        assert_eq!(rooms_of(&mut conn), [*schema]);
        let found = Client::by_schema(&mut conn, schema).expect("read");
        assert_eq!(found.as_ref(), Some(tenant));
        assert_eq!(db.tables(schema), ["__tenant_migrations", "rooms"]);
    }
    let report = db.tenancy.migrate().verify(true).run().expect("a report");
    assert_eq!(
        report.into_result().expect("migrated").len(),
        names.len() + 1
    );
    let all = Client::all(&mut db.tenancy.public().expect("public")).expect("read");
    let order: Vec<&str> = all
        .iter()
        .map(|tenant| tenant.schema_name.as_str())
        .collect();
    let mut bytewise = names.to_vec();
    bytewise.sort_unstable();
    assert_eq!(order, bytewise, "in the order of their bytes");
    for tenant in &tenants {
        db.tenancy
            .drop_schema_cascade(&tenant.schema_name)
            .expect("dropped");
    }
}

fn quoted() -> Db {
    Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .schema_names(SchemaNamePolicy::Quoted)
    })
}

#[test]
fn c08_a_schema_can_be_called_like_a_keyword() {
    live_side_by_side(&Db::new(), &["select", "user", "order", "table", "default"]);
}

#[test]
fn c09_digits_hyphens_and_upper_case_live_under_the_quoted_policy() {
    live_side_by_side(&quoted(), &["2024", "acme-2024", "UPPER", "größe", "-"]);
}

#[test]
fn c11_names_that_differ_in_case_are_two_tenants() {
    live_side_by_side(&quoted(), &["acme", "Acme", "ACME"]);
}

#[test]
fn c09_what_the_quoted_policy_admits_is_refused_without_it() {
    let db = Db::new();
    for (schema, rule) in [
        ("2024", "contains '2' at byte 0"),
        ("acme-2024", "contains '-' at byte 4"),
        ("Acme", "contains 'A' at byte 0"),
    ] {
        let mut tenant = client(schema);
        tenant.domain_url = "acme.my-domain.com".to_owned();
        let error = tenant
            .save(&mut db.tenancy.public().expect("public"))
            .expect_err(schema);
        let text = error.to_string();
        assert!(text.contains(rule), "{text:?} does not say {rule:?}");
        assert!(text.contains(&format!("{schema:?}")), "{text}");
        assert!(text.contains("SchemaNamePolicy::Quoted"), "{text}");
        assert_eq!(traces(&db, schema), [""; 0]);
    }
}

#[test]
fn c10_a_name_of_63_bytes_is_kept_and_a_longer_one_never_becomes_a_value() {
    let db = Db::new();
    let [a, b] = ["a", "b"].map(|end| format!("{}{end}", "x".repeat(62)));
    for schema in [&a, &b] {
        let mut tenant = client(schema);
        tenant.domain_url = format!("{}.my-domain.com", &schema[62..]);
        tenant
            .save(&mut db.tenancy.public().expect("public"))
            .expect("saved");
        assert_eq!(traces(&db, schema), ["row", "schema", "state"]);
    }
    // What would be cut off to one of those that exist.
    let long: Result<SchemaName, NameError> = format!("{a}a").parse();
    assert!(matches!(long, Err(NameError::TooLong { len: 64, .. })));
}

#[test]
fn c10_names_from_text_are_refused_by_the_model_and_by_saving() {
    let db = Db::new();
    let from_text = |schema: &str| {
        Client::from_text(&mut |field| {
            Some(match field.name {
                "schema_name" => schema.to_owned(),
                "on_trial" => "yes".to_owned(),
                _ => "acme.my-domain.com".to_owned(),
            })
        })
    };
    for schema in [
        "",
        "a\"b",
        "a;DROP SCHEMA public",
        "a.b",
        "a,b",
        "$user",
        "a\0b",
        "tenant1\n",
        "pg_temp",
        "PG_x",
        "information_schema",
    ] {
        let errors = from_text(schema).expect_err(schema);
        let text = errors[0].to_string();
        assert!(text.contains("schema_name"), "{text}");
        assert!(text.contains(&format!("{schema:?}")), "{text}");
    }
    let mut quoted = from_text("acme-2024").expect("the widest policy");
    let error = quoted
        .save(&mut db.tenancy.public().expect("public"))
        .expect_err("this tenancy's is narrower");
    assert!(matches!(error, Error::Name(_)), "{error}");
}

#[test]
fn a_tenant_of_an_earlier_wider_policy_can_still_be_saved() {
    let wide = quoted();
    let mut acme = client("acme-2024");
    acme.save(&mut wide.tenancy.public().expect("public"))
        .expect("saved");
    let narrow = wide.again(|builder| builder.app(customers()).app(hotels()));
    acme.name = "Renamed".to_owned();
    acme.save(&mut narrow.public().expect("public"))
        .expect("the row is updated");
    let tenants = narrow.tenants().expect("read");
    assert_eq!(tenants[0].schema_name, name("acme-2024"));
}
