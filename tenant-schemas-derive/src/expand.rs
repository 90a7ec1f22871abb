//! Models as tokens; nothing is decided here.
//!
//! Every binding begins with `__`. Diesel's columns are unit structs, so that beside a
//! `use schema::clients::dsl::*` a binding that is called like a column would be a pattern of it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, Lit};

use crate::attr::literal;
use crate::model::{Column, Row};

pub(crate) mod domain;
mod form;
pub(crate) mod stub;
pub(crate) mod tenant;

/// Diesel, however the user's crate names it.
fn diesel() -> TokenStream {
    quote!(::tenant_schemas::__private::diesel)
}

/// Wraps an implementation, so that the traits it needs are in its scope alone.
fn scoped(implementation: &TokenStream) -> TokenStream {
    let diesel = diesel();
    quote! {
        const _: () = {
            use #diesel::{
                ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, RunQueryDsl as _,
            };

            #implementation
        };
    }
}

/// The methods that write the row.
fn writing(row: &Row<'_>, id: &Column<'_>) -> TokenStream {
    let diesel = diesel();
    let table = &row.table;
    let inserted = row.columns.iter().filter(|column| column.is_inserted());
    let inserted = inserted.map(|column| assignment(row, column));
    let updated = row.columns.iter().filter(|column| column.is_updated());
    let updated = updated.map(|column| assignment(row, column));
    let (id_field, id_column, id_assignment) = (id.ident, &id.name, assignment(row, id));
    quote! {
        fn insert_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> #diesel::QueryResult<Self> {
            let __values = (#(#inserted,)*);
            let __row = <Self as #diesel::SelectableHelper<#diesel::pg::Pg>>::as_returning();
            if ::tenant_schemas::RowId::is_unset(&self.#id_field) {
                #diesel::insert_into(#table::table).values(__values).returning(__row).get_result(__conn)
            } else {
                #diesel::insert_into(#table::table)
                    .values((#id_assignment, __values))
                    .returning(__row)
                    .get_result(__conn)
            }
        }

        fn update_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> #diesel::QueryResult<::core::option::Option<Self>> {
            #diesel::update(#table::table.filter(#table::#id_column.eq(&self.#id_field)))
                .set((#(#updated,)*))
                .returning(<Self as #diesel::SelectableHelper<#diesel::pg::Pg>>::as_returning())
                .get_result(__conn)
                .optional()
        }

        fn delete_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> #diesel::QueryResult<bool> {
            #diesel::delete(#table::table.filter(#table::#id_column.eq(&self.#id_field)))
                .execute(__conn)
                .map(|__rows| __rows != 0)
        }
    }
}

/// A query for the rows of `Self`, to be filtered.
fn query(row: &Row<'_>) -> TokenStream {
    let diesel = diesel();
    let table = &row.table;
    quote! {
        #table::table.select(<Self as #diesel::SelectableHelper<#diesel::pg::Pg>>::as_select())
    }
}

fn assignment(row: &Row<'_>, column: &Column<'_>) -> TokenStream {
    let (table, name, field) = (&row.table, &column.name, column.ident);
    // A type that is not the column's is a mistake of the field.
    let value = quote_spanned!(column.ty.span()=> &self.#field);
    quote_spanned!(column.ty.span()=> #table::#name.eq(#value))
}

/// The column's name in the database.
fn column_name(row: &Row<'_>, column: &Column<'_>) -> TokenStream {
    let diesel = diesel();
    let (table, name) = (&row.table, &column.name);
    quote!(<#table::#name as #diesel::Column>::NAME)
}

/// The value of a field that nobody has given one.
fn initial(column: &Column<'_>) -> TokenStream {
    if column.marks.default.is_none() && column.optional().is_some() {
        quote!(::core::option::Option::None)
    } else {
        default(column)
    }
}

/// The default as a value of the field's type.
fn default(column: &Column<'_>) -> TokenStream {
    let ty = column.ty;
    match (default_literal(column), column.default_expr()) {
        (Some(value), _) if column.optional().is_some() => {
            quote!(::core::option::Option::Some(#value))
        }
        (Some(value), _) => value,
        (None, Some(value)) => quote!(#value),
        (None, None) => quote_spanned!(ty.span()=> ::tenant_schemas::__private::initial::<#ty>()),
    }
}

/// The default as a value of the field's inner type, if it is written as a literal.
fn default_literal(column: &Column<'_>) -> Option<TokenStream> {
    let value = column.default_expr()?;
    let unsigned = match value {
        Expr::Unary(negative) => &negative.expr,
        _ => value,
    };
    if let Lit::Str(text) = literal(unsigned)? {
        return Some(quote_spanned!(text.span()=> ::core::convert::From::from(#text)));
    }
    Some(quote!(#value))
}
