#[tenant_schemas::shared_app]
fn hotels() {}

fn main() {
    hotels();
}
