use diesel::prelude::*;
use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, made -> Text, } }

#[derive(Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    #[tenant(generated)]
    #[diesel(deserialize_as = String)]
    made: Made,
}

#[derive(Clone)]
struct Made(String);

impl From<String> for Made {
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn main() {}
