//! Implementations for inputs with mistakes, so that the mistakes are all that is reported.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_quote};

use super::diesel;
use super::tenant::{is_set_by_a_method, parameter};
use crate::model::{Derive, Role, Row};

pub(crate) fn expand(derive: Derive, item: &DeriveInput, row: Option<&Row<'_>>) -> TokenStream {
    let mut generics = item.generics.clone();
    if !generics.params.is_empty() {
        let bounds = parse_quote!(Self: Clone + Send + Sync + 'static);
        generics.make_where_clause().predicates.push(bounds);
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let ident = &item.ident;
    let model = syn::Ident::new(derive.name(), proc_macro2::Span::call_site());
    let items = match derive {
        Derive::Tenant => tenant(),
        Derive::Domain => domain(),
    };
    let methods = row
        .filter(|row| row.options.constructor)
        .map(|row| match derive {
            Derive::Tenant => tenant_methods(row),
            Derive::Domain => domain_methods(row),
        });
    quote! {
        #[automatically_derived]
        #[allow(dead_code, reason = "not every program needs every method")]
        impl #parameters #ident #arguments #bounds {
            #methods
        }

        #[automatically_derived]
        impl #parameters ::tenant_schemas::#model for #ident #arguments #bounds {
            type Id = i32;
            #items
        }
    }
}

fn tenant() -> TokenStream {
    let diesel = diesel();
    let unreachable = quote!({ ::core::unreachable!() });
    let conn = quote!(_: &mut ::tenant_schemas::TenantConnection);
    let maybe_row = quote!(#diesel::QueryResult<::core::option::Option<Self>>);
    quote! {
        fn table() -> ::tenant_schemas::TableName #unreachable
        fn fields() -> &'static [::tenant_schemas::Field] #unreachable
        fn from_text(
            _: &mut dyn ::core::ops::FnMut(
                &::tenant_schemas::Field,
            ) -> ::core::option::Option<::std::string::String>,
        ) -> ::core::result::Result<Self, ::std::vec::Vec<::tenant_schemas::FieldError>> #unreachable
        fn set_text(
            &mut self,
            _: &str,
            _: &str,
        ) -> ::core::result::Result<(), ::tenant_schemas::FieldError> #unreachable
        fn id(&self) -> &Self::Id #unreachable
        fn forget_id(&mut self) #unreachable
        fn schema_name(&self) -> &::tenant_schemas::SchemaName #unreachable
        fn set_schema_name(&mut self, _: ::tenant_schemas::SchemaName) #unreachable
        fn domain_url(&self) -> ::core::option::Option<&str> #unreachable
        fn tenant_type(&self) -> ::core::option::Option<::std::string::String> #unreachable
        fn insert_row(&self, #conn) -> #diesel::QueryResult<Self> #unreachable
        fn update_row(&self, #conn) -> #maybe_row #unreachable
        fn delete_row(&self, #conn) -> #diesel::QueryResult<bool> #unreachable
        fn row_by_id(#conn, _: &Self::Id) -> #maybe_row #unreachable
        fn row_by_schema(#conn, _: &str) -> #maybe_row #unreachable
        fn row_by_domain(#conn, _: &str) -> #maybe_row #unreachable
        fn rows(#conn) -> #diesel::QueryResult<::std::vec::Vec<Self>> #unreachable
        fn rows_with(
            #conn,
            _: &str,
        ) -> #diesel::QueryResult<
            ::std::vec::Vec<(Self, ::core::option::Option<::std::string::String>)>,
        > #unreachable
    }
}

/// `new` and the setters, as far as the mistakes let them be known.
fn tenant_methods(row: &Row<'_>) -> TokenStream {
    let (vis, unreachable) = (row.vis, quote!({ ::core::unreachable!() }));
    let domain_url = row.column(Role::DomainUrl).map(|column| {
        let (ty, _) = parameter(&quote!(), column.ty);
        quote!(_: #ty)
    });
    let setters = row
        .columns
        .iter()
        .filter(|column| is_set_by_a_method(column));
    let setters = setters.map(|column| {
        let (setter, (ty, _)) = (column.setter(), parameter(&quote!(), column.ty));
        quote!(#vis fn #setter(self, _: #ty) -> Self #unreachable)
    });
    quote! {
        #vis fn new(_: ::tenant_schemas::SchemaName, #domain_url) -> Self #unreachable
        #(#setters)*
    }
}

fn domain_methods(row: &Row<'_>) -> TokenStream {
    let (vis, unreachable) = (row.vis, quote!({ ::core::unreachable!() }));
    let tenant_id = row.column(Role::TenantId).map(|column| column.ty);
    let tenant_id = tenant_id.map_or_else(|| quote!(impl ::core::marker::Sized), |ty| quote!(#ty));
    quote! {
        #vis fn new(
            _: impl ::core::convert::Into<::std::string::String>,
            _: #tenant_id,
        ) -> Self #unreachable
        #vis fn primary(self) -> Self #unreachable
    }
}

fn domain() -> TokenStream {
    let diesel = diesel();
    let unreachable = quote!({ ::core::unreachable!() });
    let conn = quote!(_: &mut ::tenant_schemas::TenantConnection);
    let maybe_row = quote!(#diesel::QueryResult<::core::option::Option<Self>>);
    quote! {
        type TenantId = i32;
        fn domain_table() -> ::tenant_schemas::DomainTable #unreachable
        fn id(&self) -> &Self::Id #unreachable
        fn domain(&self) -> &str #unreachable
        fn tenant_id(&self) -> &Self::TenantId #unreachable
        fn is_primary(&self) -> bool #unreachable
        fn set_primary(&mut self, _: bool) #unreachable
        fn insert_row(&self, #conn) -> #diesel::QueryResult<Self> #unreachable
        fn update_row(&self, #conn) -> #maybe_row #unreachable
        fn delete_row(&self, #conn) -> #diesel::QueryResult<bool> #unreachable
        fn demote_rows_of(#conn, _: &Self::TenantId) -> #diesel::QueryResult<()> #unreachable
        fn row_by_domain(#conn, _: &str) -> #maybe_row #unreachable
        fn rows_of(#conn, _: &Self::TenantId) -> #diesel::QueryResult<::std::vec::Vec<Self>> #unreachable
    }
}
