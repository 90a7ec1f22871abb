use tenant_schemas::{shared_app, tenant_app};

#[shared_app(label = "a")]
#[tenant_app(label = "b")]
struct Notes;

#[tenant_app]
#[tenant_app]
struct Twice;

fn main() {}
