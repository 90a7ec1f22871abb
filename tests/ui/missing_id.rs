use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (schema_name) { schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    schema_name: SchemaName,
}

fn main() {}
