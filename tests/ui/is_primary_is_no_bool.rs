use tenant_schemas::DomainModel;

diesel::table! {
    domains (id) { id -> Integer, domain -> Text, tenant_id -> Integer, is_primary -> Text, }
}

#[derive(Clone, DomainModel)]
#[diesel(table_name = domains)]
struct Domain {
    id: i32,
    domain: String,
    tenant_id: i32,
    is_primary: String,
}

fn main() {}
