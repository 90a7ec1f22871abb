use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, domain_url -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
#[tenant(domains = Domain)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    domain_url: String,
}

fn main() {}
