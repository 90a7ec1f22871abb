use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    #[tenant(schema_name, domain_url)]
    schema_name: SchemaName,
}

fn main() {}
