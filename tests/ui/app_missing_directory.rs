use tenant_schemas::{App, tenant_app};

#[tenant_app(migrations = "migrations/nowhere")]
struct Hotels;

fn main() {
    let _ = App::from(Hotels).after([Hotels::LABEL]);
}
