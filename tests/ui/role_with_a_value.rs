use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    #[tenant(schema_name = "schema")]
    schema: SchemaName,
}

fn main() {}
