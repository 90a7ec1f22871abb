use tenant_schemas::tenant_app;

#[tenant_app(after = [Hotels, "hotels"])]
struct Hotels;

fn main() {}
