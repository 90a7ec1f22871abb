use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client<T> {
    id: i32,
    schema_name: SchemaName,
    name: T,
}

fn main() {}
