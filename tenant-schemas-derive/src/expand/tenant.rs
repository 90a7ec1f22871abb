//! The expansion of `#[derive(TenantModel)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Ident, Path, Type};

use super::{diesel, form, initial, query, scoped, writing};
use crate::check::TenantRow;
use crate::model::{Column, Role, is_type};

/// Types whose literals `impl Into<T>` would not infer.
const PRIMITIVES: [&str; 16] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

pub(crate) fn expand(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let row = tenant.row;
    let constructor = row.options.constructor.then(|| constructor(tenant));
    let implementation = scoped(&implementation(tenant));
    quote!(#constructor #implementation)
}

fn implementation(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let row = tenant.row;
    let (ident, table, id_type) = (row.ident, &row.table, tenant.id.ty);
    let constants = constants(tenant);
    let domains = domains(tenant);
    let form = form::methods(row);
    let getters = getters(tenant);
    let writing = writing(row, tenant.id);
    let reading = reading(tenant);
    quote! {
        #[automatically_derived]
        impl ::tenant_schemas::TenantModel for #ident {
            type Id = #id_type;

            #constants

            fn table() -> ::tenant_schemas::TableName {
                ::tenant_schemas::TableName::of(&#table::table)
            }

            #domains
            #form
            #getters
            #writing
            #reading
        }
    }
}

fn constants(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let options = &tenant.row.options;
    let create = options
        .auto_create_schema
        .map(|on| quote!(const AUTO_CREATE_SCHEMA: bool = #on;));
    let drop = options
        .auto_drop_schema
        .map(|on| quote!(const AUTO_DROP_SCHEMA: bool = #on;));
    quote!(#create #drop)
}

fn domains(tenant: &TenantRow<'_, '_>) -> Option<TokenStream> {
    let domains = tenant.row.options.domains.as_ref()?;
    let domain_table = call(domains, "domain_table", &quote!());
    Some(quote! {
        fn domains() -> ::core::option::Option<::tenant_schemas::DomainTable> {
            ::core::option::Option::Some(#domain_table)
        }
    })
}

/// A call of the domain model, all of it where the user names the model.
fn call(domains: &Path, function: &str, arguments: &TokenStream) -> TokenStream {
    let function = Ident::new(function, domains.span());
    quote_spanned! {domains.span()=>
        <#domains as ::tenant_schemas::DomainModel>::#function(#arguments)
    }
}

fn getters(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let (id, schema_name) = (tenant.id.ident, tenant.schema_name.ident);
    let domain_url = text(
        tenant.domain_url,
        &quote!(::core::convert::AsRef::<str>::as_ref),
    );
    let tenant_type = text(
        tenant.tenant_type,
        &quote!(::std::string::ToString::to_string),
    );
    quote! {
        fn id(&self) -> &Self::Id {
            &self.#id
        }

        fn forget_id(&mut self) {
            self.#id = ::core::default::Default::default();
        }

        fn schema_name(&self) -> &::tenant_schemas::SchemaName {
            &self.#schema_name
        }

        fn set_schema_name(&mut self, __schema: ::tenant_schemas::SchemaName) {
            self.#schema_name = __schema;
        }

        fn domain_url(&self) -> ::core::option::Option<&str> {
            #domain_url
        }

        fn tenant_type(&self) -> ::core::option::Option<::std::string::String> {
            #tenant_type
        }
    }
}

/// A field that may not be there, as an `Option` of what `convert` makes of it.
fn text(column: Option<&Column<'_>>, convert: &TokenStream) -> TokenStream {
    let Some(column) = column else {
        return quote!(::core::option::Option::None);
    };
    let (ident, ty) = (column.ident, column.ty);
    if column.optional().is_some() {
        quote_spanned!(ty.span()=> self.#ident.as_ref().map(#convert))
    } else {
        quote_spanned!(ty.span()=> ::core::option::Option::Some(#convert(&self.#ident)))
    }
}

fn reading(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let diesel = diesel();
    let table = &tenant.row.table;
    let (id, schema_name) = (&tenant.id.name, &tenant.schema_name.name);
    let query = query(tenant.row);
    let row_by_domain = row_by_domain(tenant);
    quote! {
        fn row_by_id(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __id: &Self::Id,
        ) -> #diesel::QueryResult<::core::option::Option<Self>> {
            #query.filter(#table::#id.eq(__id)).first(__conn).optional()
        }

        fn row_by_schema(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __schema: &str,
        ) -> #diesel::QueryResult<::core::option::Option<Self>> {
            #query.filter(#table::#schema_name.eq(__schema)).first(__conn).optional()
        }

        #row_by_domain

        fn rows(
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> #diesel::QueryResult<::std::vec::Vec<Self>> {
            #query.load(__conn)
        }

        fn rows_with(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __value: &str,
        ) -> #diesel::QueryResult<::std::vec::Vec<(Self, ::core::option::Option<::std::string::String>)>> {
            let __value = #diesel::dsl::sql::<
                #diesel::sql_types::Nullable<#diesel::sql_types::Text>,
            >(__value);
            let __row = <Self as #diesel::SelectableHelper<#diesel::pg::Pg>>::as_select();
            #table::table.select((__row, __value)).load(__conn)
        }
    }
}

fn row_by_domain(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let diesel = diesel();
    let query = query(tenant.row);
    let table = &tenant.row.table;
    let found = match (&tenant.row.options.domains, tenant.domain_url) {
        (Some(domains), _) => {
            let row_by_domain = call(domains, "row_by_domain", &quote!(__conn, __domain));
            let tenant_id = call(domains, "tenant_id", &quote!(&__found));
            quote! {
                match #row_by_domain? {
                    ::core::option::Option::Some(__found) => {
                        <Self as ::tenant_schemas::TenantModel>::row_by_id(__conn, #tenant_id)
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
        }
        (None, Some(domain_url)) => {
            let column = &domain_url.name;
            quote!(#query.filter(#table::#column.eq(__domain)).first(__conn).optional())
        }
        (None, None) => quote! {
            let _ = (__conn, __domain);
            ::core::result::Result::Ok(::core::option::Option::None)
        },
    };
    quote! {
        fn row_by_domain(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __domain: &str,
        ) -> #diesel::QueryResult<::core::option::Option<Self>> {
            #found
        }
    }
}

/// `new`, and a setter for each field that `new` does not take.
fn constructor(tenant: &TenantRow<'_, '_>) -> TokenStream {
    let (ident, vis) = (tenant.row.ident, tenant.row.vis);
    let schema_name = tenant.schema_name.ident;
    let schema_type = tenant.schema_name.ty;
    let domain_url = quote!(__domain_url);
    let (parameter, given) = tenant
        .domain_url
        .map(|column| {
            let (name, (ty, value)) = (column.ident, parameter(&domain_url, column.ty));
            (quote!(#domain_url: #ty), quote!(#name: #value,))
        })
        .unzip();
    let others = tenant
        .row
        .columns
        .iter()
        .filter(|column| !matches!(column.role, Role::SchemaName | Role::DomainUrl));
    let others = others.map(|column| {
        let (name, value) = (column.ident, initial(column));
        quote!(#name: #value,)
    });
    let setters = tenant.row.columns.iter();
    let setters = setters.filter(|column| is_set_by_a_method(column));
    let setters = setters.map(|column| setter(tenant, column));
    let new_doc =
        format!(" A new `{ident}`, not saved yet, whose other fields have their defaults.");
    quote! {
        #[allow(dead_code, reason = "not every program needs every method")]
        #[automatically_derived]
        impl #ident {
            #[doc = #new_doc]
            #[must_use]
            #vis fn new(__schema_name: #schema_type, #parameter) -> Self {
                Self {
                    #schema_name: __schema_name,
                    #given
                    #(#others)*
                }
            }

            #(#setters)*
        }
    }
}

/// Whether a field has a setter.
pub(super) fn is_set_by_a_method(column: &Column<'_>) -> bool {
    column.is_written() && matches!(column.role, Role::Plain | Role::TenantType)
}

fn setter(tenant: &TenantRow<'_, '_>, column: &Column<'_>) -> TokenStream {
    let (vis, ident, setter) = (tenant.row.vis, column.ident, column.setter());
    let parameter_name = quote!(__value);
    let (ty, value) = parameter(&parameter_name, column.ty);
    let name = column.field_name();
    let doc = match column.help.as_str() {
        "" => format!(" Sets `{name}`."),
        help => format!(" Sets `{name}`: {help}"),
    };
    quote! {
        #[doc = #doc]
        #[must_use]
        #vis fn #setter(mut self, #parameter_name: #ty) -> Self {
            self.#ident = #value;
            self
        }
    }
}

/// The type of a parameter for a field, and the code that makes it a value of the field.
pub(super) fn parameter(name: &TokenStream, ty: &Type) -> (TokenStream, TokenStream) {
    if PRIMITIVES.iter().any(|primitive| is_type(ty, primitive)) {
        return (quote!(#ty), name.clone());
    }
    (
        quote!(impl ::core::convert::Into<#ty>),
        quote!(::core::convert::Into::into(#name)),
    )
}
