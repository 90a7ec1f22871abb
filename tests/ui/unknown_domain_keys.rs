use tenant_schemas::DomainModel;

diesel::table! {
    domains (id) { id -> Integer, domain -> Text, tenant_id -> Integer, is_primary -> Bool, }
}

#[derive(Clone, DomainModel)]
#[diesel(table_name = domains)]
#[domain(domains = X)]
struct Domain {
    id: i32,
    #[domain(not_from_text)]
    domain: String,
    tenant_id: i32,
    is_primary: bool,
}

fn main() {}
