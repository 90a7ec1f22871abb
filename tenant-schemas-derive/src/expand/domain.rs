//! The expansion of `#[derive(DomainModel)]`.

use proc_macro2::TokenStream;
use quote::quote;

use super::{column_name, diesel, initial, query, scoped, writing};
use crate::check::DomainRow;
use crate::model::Role;

pub(crate) fn expand(domain: &DomainRow<'_, '_>) -> TokenStream {
    let constructor = domain.row.options.constructor.then(|| constructor(domain));
    let implementation = scoped(&implementation(domain));
    quote!(#constructor #implementation)
}

fn implementation(domain: &DomainRow<'_, '_>) -> TokenStream {
    let row = domain.row;
    let (ident, table) = (row.ident, &row.table);
    let (id_type, tenant_type) = (domain.id.ty, domain.tenant_id.ty);
    let names = [domain.domain, domain.tenant_id, domain.is_primary];
    let names = names.map(|column| column_name(row, column));
    let getters = getters(domain);
    let writing = writing(row, domain.id);
    let rows = rows(domain);
    quote! {
        #[automatically_derived]
        impl ::tenant_schemas::DomainModel for #ident {
            type Id = #id_type;
            type TenantId = #tenant_type;

            fn domain_table() -> ::tenant_schemas::DomainTable {
                ::tenant_schemas::DomainTable::new(
                    ::tenant_schemas::TableName::of(&#table::table),
                    #(#names,)*
                )
            }

            #getters
            #writing
            #rows
        }
    }
}

fn getters(domain: &DomainRow<'_, '_>) -> TokenStream {
    let (id, tenant_id) = (domain.id.ident, domain.tenant_id.ident);
    let (name, is_primary) = (domain.domain.ident, domain.is_primary.ident);
    quote! {
        fn id(&self) -> &Self::Id {
            &self.#id
        }

        fn domain(&self) -> &str {
            ::core::convert::AsRef::<str>::as_ref(&self.#name)
        }

        fn tenant_id(&self) -> &Self::TenantId {
            &self.#tenant_id
        }

        fn is_primary(&self) -> bool {
            self.#is_primary
        }

        fn set_primary(&mut self, __primary: bool) {
            self.#is_primary = __primary;
        }
    }
}

fn rows(domain: &DomainRow<'_, '_>) -> TokenStream {
    let diesel = diesel();
    let table = &domain.row.table;
    let (name, tenant_id) = (&domain.domain.name, &domain.tenant_id.name);
    let is_primary = &domain.is_primary.name;
    let query = query(domain.row);
    quote! {
        fn demote_rows_of(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __tenant: &Self::TenantId,
        ) -> #diesel::QueryResult<()> {
            #diesel::update(#table::table.filter(#table::#tenant_id.eq(__tenant)))
                .set(#table::#is_primary.eq(false))
                .execute(__conn)
                .map(|_| ())
        }

        fn row_by_domain(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __domain: &str,
        ) -> #diesel::QueryResult<::core::option::Option<Self>> {
            #query.filter(#table::#name.eq(__domain)).first(__conn).optional()
        }

        fn rows_of(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __tenant: &Self::TenantId,
        ) -> #diesel::QueryResult<::std::vec::Vec<Self>> {
            #query.filter(#table::#tenant_id.eq(__tenant)).load(__conn)
        }
    }
}

fn constructor(domain: &DomainRow<'_, '_>) -> TokenStream {
    let (ident, vis) = (domain.row.ident, domain.row.vis);
    let (name, name_type) = (domain.domain.ident, domain.domain.ty);
    let (tenant_id, tenant_type) = (domain.tenant_id.ident, domain.tenant_id.ty);
    let is_primary = domain.is_primary.ident;
    let others = domain
        .row
        .columns
        .iter()
        .filter(|column| matches!(column.role, Role::Id | Role::Plain));
    let others = others.map(|column| {
        let (name, value) = (column.ident, initial(column));
        quote!(#name: #value,)
    });
    let new_doc = format!(" A new secondary `{ident}` of a tenant, not saved yet.");
    quote! {
        #[allow(dead_code, reason = "not every program needs every method")]
        #[automatically_derived]
        impl #ident {
            #[doc = #new_doc]
            #[must_use]
            #vis fn new(
                __domain: impl ::core::convert::Into<#name_type>,
                __tenant_id: #tenant_type,
            ) -> Self {
                Self {
                    #name: ::core::convert::Into::into(__domain),
                    #tenant_id: __tenant_id,
                    #is_primary: false,
                    #(#others)*
                }
            }

            /// Makes this the tenant's primary domain.
            #[must_use]
            #vis fn primary(mut self) -> Self {
                self.#is_primary = true;
                self
            }
        }
    }
}
