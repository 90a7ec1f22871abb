//! Implementations for inputs with mistakes, so that the mistakes are all that is reported.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_quote};

use super::diesel;
use crate::model::Derive;

pub(crate) fn expand(derive: Derive, item: &DeriveInput) -> TokenStream {
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
    quote! {
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
