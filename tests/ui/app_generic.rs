#[tenant_schemas::tenant_app]
struct Hotels<const N: usize>;

fn main() {}
