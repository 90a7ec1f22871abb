use tenant_schemas::TenantModel;

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: String,
}

fn main() {}
