use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
#[tenant(auto_drop = true)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    #[tenant(defualt = "x")]
    name: String,
}

fn main() {}
