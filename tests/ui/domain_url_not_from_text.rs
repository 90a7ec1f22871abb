use diesel::prelude::*;
use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, domain_url -> Nullable<Text>, } }

#[derive(Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    #[tenant(not_from_text)]
    domain_url: Option<String>,
}

fn main() {}
