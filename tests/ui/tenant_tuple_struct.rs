use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client(i32, SchemaName);

fn main() {}
