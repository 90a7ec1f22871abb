//! `#[derive(TenantModel)]` and `#[derive(DomainModel)]`: the four stages in a row.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::check::{DomainRow, TenantRow};
use crate::errors::Errors;
use crate::expand::{domain, stub, tenant};
use crate::model::{Derive, Row};

pub(crate) fn expand(derive: Derive, item: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let row = Row::read(derive, &item, &mut errors);
    let expanded = row.as_ref().and_then(|row| match derive {
        Derive::Tenant => Some(tenant::expand(&TenantRow::check(row, &mut errors)?)),
        Derive::Domain => Some(domain::expand(&DomainRow::check(row, &mut errors)?)),
    });
    expanded.unwrap_or_else(|| {
        let stub = stub::expand(derive, &item, row.as_ref());
        quote!(#errors #stub)
    })
}
