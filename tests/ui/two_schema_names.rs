use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, a -> Text, b -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    #[tenant(schema_name)]
    a: SchemaName,
    #[tenant(schema_name)]
    b: SchemaName,
}

fn main() {}
