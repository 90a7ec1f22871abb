use tenant_schemas::tenant_app;

#[tenant_app(
    label = Hotels,
    after = Customers,
    types = [hotel],
    sees_shared = "yes",
    migrations,
    source,
)]
struct Hotels;

#[tenant_app(after = [1])]
struct Rooms;

fn main() {}
