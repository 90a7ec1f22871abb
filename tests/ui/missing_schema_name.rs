use tenant_schemas::TenantModel;

diesel::table! { clients (id) { id -> Integer, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
}

fn main() {}
