use tenant_schemas::{shared_app, tenant_app};

#[tenant_app(label = "front-desk")]
struct FrontDesk;

#[shared_app]
struct Gäste;

fn main() {}
