use tenant_schemas::tenant_app;

diesel::table! { rooms (id) { id -> Integer, } }

#[tenant_app(label = "rooms", migrations = "migrations")]
#[derive(diesel::Queryable)]
#[diesel(table_name = rooms)]
struct Room {
    id: i32,
}

fn main() {}
