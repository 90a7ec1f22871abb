use tenant_schemas::tenant_app;

struct Customers;

#[tenant_app(after = [Customers])]
struct Hotels;

fn main() {}
