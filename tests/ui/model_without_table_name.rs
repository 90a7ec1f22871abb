#[tenant_schemas::tenant_app]
struct Room {
    id: i32,
}

fn main() {}
