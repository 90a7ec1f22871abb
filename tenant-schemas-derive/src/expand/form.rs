//! What lets text fill a tenant: the list of fields, `from_text`, `set_text`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{column_name, default, default_literal, initial};
use crate::model::{Column, Role, Row, is_type};
use crate::text::type_name;

pub(super) fn methods(row: &Row<'_>) -> TokenStream {
    let (fields, from_text, set_text) = (fields(row), from_text(row), set_text(row));
    quote!(#fields #from_text #set_text)
}

fn fields(row: &Row<'_>) -> TokenStream {
    let fields = row.columns.iter().map(|column| {
        let name = column.field_name();
        let column_name = column_name(row, column);
        let type_name = type_name(column.ty);
        let help = &column.help;
        let role = role(column);
        let optional = column.optional().is_some();
        let default = default_text(column);
        quote! {
            ::tenant_schemas::Field::new(
                #name,
                #column_name,
                #type_name,
                #help,
                ::tenant_schemas::FieldRole::#role,
                #optional,
                #default,
            )
        }
    });
    quote! {
        fn fields() -> &'static [::tenant_schemas::Field] {
            const FIELDS: &[::tenant_schemas::Field] = &[#(#fields,)*];
            FIELDS
        }
    }
}

fn role(column: &Column<'_>) -> Ident {
    let name = match column.role {
        Role::Id => "Id",
        _ if !column.is_from_text() => "Generated",
        Role::SchemaName => "SchemaName",
        Role::DomainUrl => "DomainUrl",
        Role::TenantType => "TenantType",
        _ => "Plain",
    };
    Ident::new(name, Span::call_site())
}

/// The default as the code that writes it down.
fn default_text(column: &Column<'_>) -> TokenStream {
    if column.marks.default.is_none() || !column.is_from_text() {
        return quote!(::core::option::Option::None);
    }
    let (ty, inner) = (column.ty, column.inner());
    let written = match (default_literal(column), column.optional()) {
        (Some(value), _) => quote! {
            let __value: #inner = #value;
            ::std::string::ToString::to_string(&__value)
        },
        (None, None) => {
            let value = default(column);
            let write = quote_spanned!(ty.span()=> ::std::string::ToString::to_string);
            quote! {
                let __value: #ty = #value;
                #write(&__value)
            }
        }
        (None, Some(_)) => {
            let value = default(column);
            let write = quote_spanned!(inner.span()=> ::std::string::ToString::to_string);
            quote! {
                let __value: #ty = #value;
                __value.as_ref().map(#write).unwrap_or_default()
            }
        }
    };
    quote!(::core::option::Option::Some(|| { #written }))
}

fn from_text(row: &Row<'_>) -> TokenStream {
    let form = local("__form");
    let given: Vec<_> = row
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.is_from_text())
        .collect();
    let names = given.iter().map(|(_, column)| column.ident);
    let bindings: Vec<_> = given
        .iter()
        .map(|(at, _)| local(&format!("__field_{at}")))
        .collect();
    let values = given.iter().map(|(at, column)| {
        let (parse, missing) = (parse(column), missing(column));
        quote_spanned! {column.ty.span()=>
            ::tenant_schemas::__private::Form::value(&mut #form, #at, #parse, #missing)
        }
    });
    let others = row
        .columns
        .iter()
        .filter(|column| !column.is_from_text())
        .map(|column| {
            let (name, value) = (column.ident, initial(column));
            quote!(#name: #value)
        });
    quote! {
        fn from_text(
            __text: &mut dyn ::core::ops::FnMut(
                &::tenant_schemas::Field,
            ) -> ::core::option::Option<::std::string::String>,
        ) -> ::core::result::Result<Self, ::std::vec::Vec<::tenant_schemas::FieldError>> {
            let __fields = <Self as ::tenant_schemas::TenantModel>::fields();
            let mut #form = ::tenant_schemas::__private::Form::new(__fields, __text);
            #(let #bindings = #values;)*
            let (#(::core::option::Option::Some(#bindings),)*) = (#(#bindings,)*) else {
                return ::core::result::Result::Err(#form.into_errors());
            };
            ::core::result::Result::Ok(Self { #(#names: #bindings,)* #(#others,)* })
        }
    }
}

fn set_text(row: &Row<'_>) -> TokenStream {
    let (fields, text) = (local("__fields"), local("__text"));
    let given = row
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.is_from_text());
    let arms = given.map(|(at, column)| {
        let (name, ident, parse) = (column.field_name(), column.ident, parse(column));
        quote_spanned! {column.ty.span()=>
            #name => {
                self.#ident =
                    ::tenant_schemas::__private::parse_field(&#fields[#at], #text, #parse)?;
            }
        }
    });
    quote! {
        fn set_text(
            &mut self,
            __field: &str,
            #text: &str,
        ) -> ::core::result::Result<(), ::tenant_schemas::FieldError> {
            let #fields = <Self as ::tenant_schemas::TenantModel>::fields();
            match __field {
                #(#arms)*
                _ => {
                    return ::core::result::Result::Err(
                        ::tenant_schemas::__private::unknown_field(#fields, __field),
                    );
                }
            }
            ::core::result::Result::Ok(())
        }
    }
}

/// A binding that is the same wherever the tokens around it come from.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// What a field gets when no text is given for it: code for an `Option<fn() -> T>`.
fn missing(column: &Column<'_>) -> TokenStream {
    if column.marks.default.is_none() && column.optional().is_none() {
        return quote!(::core::option::Option::None);
    }
    let (ty, value) = (column.ty, initial(column));
    quote!(::core::option::Option::Some(|| -> #ty { #value }))
}

/// The parser of a field: code for an `Fn(&str) -> Result<T, String>`.
fn parse(column: &Column<'_>) -> TokenStream {
    let inner = column.inner();
    let parse = if column.role == Role::SchemaName {
        quote!(::tenant_schemas::__private::parse_schema_name)
    } else if is_type(inner, "bool") {
        quote!(::tenant_schemas::__private::parse_bool)
    } else {
        quote_spanned!(inner.span()=> ::tenant_schemas::__private::parse)
    };
    if column.optional().is_some() {
        quote!(|__text| ::tenant_schemas::__private::parse_optional(__text, #parse))
    } else {
        parse
    }
}
