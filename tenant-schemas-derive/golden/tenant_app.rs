pub struct Hotels;
#[automatically_derived]
impl Hotels {
    /// The app's label, unique in a program.
    #[allow(dead_code, reason = "not every app is named by others")]
    pub const LABEL: &'static str = "hotels";
}
#[automatically_derived]
impl ::core::convert::From<Hotels> for ::tenant_schemas::App {
    fn from(_: Hotels) -> Self {
        ::tenant_schemas::App::new(Hotels::LABEL, ::tenant_schemas::AppScope::Tenant)
            .after([<Customers>::LABEL, "billing"])
            .types(["hotel"])
            .sees_shared(true)
            .migrations({
                use ::tenant_schemas::__private::diesel_migrations;
                const EMBEDDED: diesel_migrations::EmbeddedMigrations = diesel_migrations::embed_migrations!(
                    "golden/migrations"
                );
                EMBEDDED
            })
            .migrations(more())
    }
}
