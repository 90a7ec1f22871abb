use tenant_schemas::tenant_app;

#[tenant_app(migration = "migrations/hotels", type = ["hotel"])]
struct Hotels;

fn main() {}
