use tenant_schemas::{SchemaName, TenantModel};

#[derive(Clone, TenantModel)]
#[tenant(auto_drop_schema = 1)]
struct Client {
    schema_name: String,
    #[tenant(default = "x", generated)]
    name: String,
    #[tenant(schema)]
    other: SchemaName,
}

fn needs<T: TenantModel>() {}

fn main() {
    needs::<Client>();
}
