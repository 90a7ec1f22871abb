//! Models that are declared shared or a tenant's: what the program knows of its tables.

use tenant_schemas::{AppScope, DeclaredTable, shared_app, tenant_app};

diesel::table! {
    declared_everywhere (id) {
        id -> Integer,
        #[sql_name = "odd name"]
        odd -> Text,
    }
}

diesel::table! {
    public.declared_shared (id) {
        id -> Integer,
    }
}

diesel::table! {
    declared_by_two (id) {
        id -> Integer,
        name -> Text,
    }
}

#[shared_app]
#[tenant_app]
#[expect(dead_code, reason = "declared, not used")]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = declared_everywhere)]
struct Everywhere {
    id: i32,
}

#[shared_app]
#[expect(dead_code, reason = "declared, not used")]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = declared_shared)]
struct Shared {
    id: i32,
}

#[tenant_app]
#[expect(dead_code, reason = "declared, not used")]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = declared_by_two)]
struct One {
    id: i32,
}

#[tenant_app]
#[expect(dead_code, reason = "declared, not used")]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = declared_by_two)]
struct Two {
    name: String,
}

#[test]
fn the_program_knows_which_tables_must_exist_where() {
    let declared = |model: &str| {
        let mut found = DeclaredTable::all().filter(|table| table.model == model);
        let table = *found.next().expect("declared");
        assert!(found.next().is_none(), "declared once");
        table
    };
    let table = declared("Everywhere");
    assert_eq!(table.scope, AppScope::Both);
    assert_eq!(table.table().to_string(), "declared_everywhere");
    assert_eq!(table.columns(), ["id", "odd name"], "all of the table's");
    assert!(table.location.contains("declared.rs:"), "{table:?}");
    let table = declared("Shared");
    assert_eq!(table.scope, AppScope::Shared);
    assert_eq!(table.table().schema(), Some("public"));
    assert_eq!(table.table().to_string(), "public.declared_shared");
    for model in ["One", "Two"] {
        assert_eq!(declared(model).scope, AppScope::Tenant);
        assert_eq!(declared(model).columns(), ["id", "name"]);
    }
}
