use tenant_schemas::DomainModel;

diesel::table! { domains (id) { id -> Integer, host -> Text, } }

#[derive(Clone, DomainModel)]
#[diesel(table_name = domains)]
struct Domain {
    id: i32,
    host: String,
}

fn needs<T: DomainModel>() {}

fn main() {
    needs::<Domain>();
}
