#[tenant_schemas::tenant_app]
enum Hotels {
    Rooms,
}

fn main() {}
