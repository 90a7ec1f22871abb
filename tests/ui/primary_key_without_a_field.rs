use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (key) { key -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients, primary_key(key))]
struct Client {
    id: i32,
    schema_name: SchemaName,
}

fn main() {}
