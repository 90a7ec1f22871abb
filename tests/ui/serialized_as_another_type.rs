use tenant_schemas::{SchemaName, TenantModel};

diesel::table! { clients (id) { id -> Integer, schema_name -> Text, seats -> Text, } }

#[derive(Clone, TenantModel)]
#[diesel(table_name = clients)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    #[diesel(serialize_as = Seats, deserialize_as = Seats)]
    seats: i32,
}

fn main() {}
