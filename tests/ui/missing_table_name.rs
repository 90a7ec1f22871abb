use tenant_schemas::{SchemaName, TenantModel};

#[derive(Clone, TenantModel)]
struct Client {
    id: i32,
    schema_name: SchemaName,
}

fn main() {}
