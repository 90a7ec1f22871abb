use diesel::prelude::*;
use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }

#[derive(Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
}

fn main() {}
