use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id, part) { id -> Integer, part -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients, primary_key(id, part))]
struct Client {
    id: i32,
    part: i32,
    schema_name: SchemaName,
}

fn main() {}
