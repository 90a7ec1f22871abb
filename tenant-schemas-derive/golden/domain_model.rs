#[allow(dead_code, reason = "not every program needs every method")]
#[automatically_derived]
impl Domain {
    /// A new secondary `Domain` of a tenant, not saved yet.
    #[must_use]
    pub fn new(__domain: impl ::core::convert::Into<String>, __tenant_id: i32) -> Self {
        Self {
            domain: ::core::convert::Into::into(__domain),
            tenant_id: __tenant_id,
            is_primary: false,
            id: ::tenant_schemas::__private::initial::<i32>(),
        }
    }
    /// Makes this the tenant's primary domain.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.is_primary = true;
        self
    }
}
const _: () = {
    use ::tenant_schemas::__private::diesel::{
        ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, RunQueryDsl as _,
    };
    #[automatically_derived]
    impl ::tenant_schemas::DomainModel for Domain {
        type Id = i32;
        type TenantId = i32;
        fn domain_table() -> ::tenant_schemas::DomainTable {
            ::tenant_schemas::DomainTable::new(
                ::tenant_schemas::TableName::of(&domains::table),
                <domains::domain as ::tenant_schemas::__private::diesel::Column>::NAME,
                <domains::tenant_id as ::tenant_schemas::__private::diesel::Column>::NAME,
                <domains::is_primary as ::tenant_schemas::__private::diesel::Column>::NAME,
            )
        }
        fn id(&self) -> &Self::Id {
            &self.id
        }
        fn domain(&self) -> &str {
            ::core::convert::AsRef::<str>::as_ref(&self.domain)
        }
        fn tenant_id(&self) -> &Self::TenantId {
            &self.tenant_id
        }
        fn is_primary(&self) -> bool {
            self.is_primary
        }
        fn set_primary(&mut self, __primary: bool) {
            self.is_primary = __primary;
        }
        fn insert_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<Self> {
            let __values = (
                domains::domain.eq(&self.domain),
                domains::tenant_id.eq(&self.tenant_id),
                domains::is_primary.eq(&self.is_primary),
            );
            let __row = <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                ::tenant_schemas::__private::diesel::pg::Pg,
            >>::as_returning();
            if ::tenant_schemas::RowId::is_unset(&self.id) {
                ::tenant_schemas::__private::diesel::insert_into(domains::table)
                    .values(__values)
                    .returning(__row)
                    .get_result(__conn)
            } else {
                ::tenant_schemas::__private::diesel::insert_into(domains::table)
                    .values((domains::id.eq(&self.id), __values))
                    .returning(__row)
                    .get_result(__conn)
            }
        }
        fn update_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            ::tenant_schemas::__private::diesel::update(
                    domains::table.filter(domains::id.eq(&self.id)),
                )
                .set((
                    domains::domain.eq(&self.domain),
                    domains::tenant_id.eq(&self.tenant_id),
                    domains::is_primary.eq(&self.is_primary),
                ))
                .returning(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_returning(),
                )
                .get_result(__conn)
                .optional()
        }
        fn delete_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<bool> {
            ::tenant_schemas::__private::diesel::delete(
                    domains::table.filter(domains::id.eq(&self.id)),
                )
                .execute(__conn)
                .map(|__rows| __rows != 0)
        }
        fn demote_rows_of(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __tenant: &Self::TenantId,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<()> {
            ::tenant_schemas::__private::diesel::update(
                    domains::table.filter(domains::tenant_id.eq(__tenant)),
                )
                .set(domains::is_primary.eq(false))
                .execute(__conn)
                .map(|_| ())
        }
        fn row_by_domain(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __domain: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            domains::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(domains::domain.eq(__domain))
                .first(__conn)
                .optional()
        }
        fn rows_of(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __tenant: &Self::TenantId,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<::std::vec::Vec<Self>> {
            domains::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(domains::tenant_id.eq(__tenant))
                .load(__conn)
        }
    }
};
