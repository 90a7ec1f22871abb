use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
#[tenant(auto_drop_schema = true)]
#[tenant(auto_drop_schema = false)]
struct Client {
    id: i32,
    schema_name: SchemaName,
}

fn main() {}
