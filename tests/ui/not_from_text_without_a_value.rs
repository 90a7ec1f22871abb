use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, tags -> Array<Text>, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    #[tenant(not_from_text)]
    schema_name: SchemaName,
    #[tenant(not_from_text)]
    tags: Vec<String>,
}

fn main() {}
