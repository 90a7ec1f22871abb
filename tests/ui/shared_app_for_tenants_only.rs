use tenant_schemas::shared_app;

#[shared_app(types = ["hotel"], sees_shared = true)]
struct Customers;

fn main() {}
