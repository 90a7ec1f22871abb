use tenant_schemas::{DomainModel, Lifecycle, SchemaName, TenantModel};

#[derive(Clone, TenantModel)]
struct Client {
    id: i32,
    schema_name: SchemaName,
    domain_url: String,
    seats: i32,
}

#[derive(Clone, DomainModel)]
struct Domain {
    id: i32,
    domain: String,
    tenant_id: i32,
    is_primary: bool,
}

fn saved(conn: &mut tenant_schemas::TenantConnection) -> tenant_schemas::Result<()> {
    Client::new("acme".parse()?, "acme.my-domain.com").seats(5).save(conn)?;
    Domain::new("www.my-domain.com", 1).primary().is_primary();
    Ok(())
}

fn main() {}
