use tenant_schemas::TenantModel;

#[derive(Clone)]
struct Client;

fn needs<T: TenantModel>() {}

fn main() {
    needs::<Client>();
}
