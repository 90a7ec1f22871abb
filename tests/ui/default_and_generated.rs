use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    #[tenant(generated, default = "x")]
    name: String,
}

fn main() {}
