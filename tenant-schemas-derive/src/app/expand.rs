//! Apps and models as tokens; nothing is decided here.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ItemStruct, Path};

use super::Scope;
use super::attr::After;
use super::check::App;

/// The label, and the conversion into an app; a body only if it `is_valid`.
pub(crate) fn app(app: &App<'_>, is_valid: bool) -> TokenStream {
    let (ident, vis, label) = (&app.item.ident, &app.item.vis, &app.label);
    let (parameters, arguments, bounds) = app.item.generics.split_for_impl();
    let body = if is_valid {
        body(app)
    } else {
        quote!(::core::unreachable!())
    };
    quote! {
        #[automatically_derived]
        impl #parameters #ident #arguments #bounds {
            /// The app's label, unique in a program.
            #[allow(dead_code, reason = "not every app is named by others")]
            #vis const LABEL: &'static str = #label;
        }

        #[automatically_derived]
        impl #parameters ::core::convert::From<#ident #arguments> for ::tenant_schemas::App #bounds {
            fn from(_: #ident #arguments) -> Self {
                #body
            }
        }
    }
}

/// The declaration that the table of `item` exists in the schemas of `scope`.
pub(crate) fn model(scope: Scope, item: &ItemStruct, table: &Path) -> TokenStream {
    let name = item.ident.to_string();
    quote! {
        ::tenant_schemas::__private::inventory::submit! {
            ::tenant_schemas::DeclaredTable::new(
                #name,
                #scope,
                ::core::concat!(::core::file!(), ":", ::core::line!()),
                || ::tenant_schemas::TableName::of(&#table::table),
                || ::tenant_schemas::__private::column_names(&#table::all_columns),
                || ::core::any::TypeId::of::<#table::table>(),
            )
        }
    }
}

fn body(app: &App<'_>) -> TokenStream {
    let (ident, scope, arguments) = (&app.item.ident, app.scope, &app.arguments);
    let after = (!arguments.after.is_empty()).then(|| {
        let labels = &arguments.after;
        quote!(.after([#(#labels),*]))
    });
    let types = arguments
        .types
        .as_ref()
        .map(|(_, types)| quote!(.types([#(#types),*])));
    let sees_shared = arguments
        .sees_shared
        .as_ref()
        .map(|(_, on)| quote!(.sees_shared(#on)));
    let embedded = embedded(app);
    let source = arguments
        .source
        .as_ref()
        .map(|source| quote!(.migrations(#source)));
    let rust = arguments
        .rust
        .as_ref()
        .map(|source| quote!(.rust_migrations(#source)));
    quote! {
        ::tenant_schemas::App::new(#ident::LABEL, #scope)
            #after #types #sees_shared #embedded #source #rust
    }
}

fn embedded(app: &App<'_>) -> Option<TokenStream> {
    let (path, directory) = app.directory.as_ref()?;
    let metadata = directory
        .metadata
        .iter()
        .map(|path| path.display().to_string());
    Some(quote! {
        .migrations({
            use ::tenant_schemas::__private::diesel_migrations;
            const EMBEDDED: diesel_migrations::EmbeddedMigrations =
                diesel_migrations::embed_migrations!(#path);
            #(const _: &[u8] = ::core::include_bytes!(#metadata);)*
            EMBEDDED
        })
    })
}

impl ToTokens for Scope {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let name = match self {
            Self::Shared => "Shared",
            Self::Tenant => "Tenant",
            Self::Both => "Both",
        };
        let name = Ident::new(name, Span::call_site());
        tokens.extend(quote!(::tenant_schemas::AppScope::#name));
    }
}

impl ToTokens for After {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Self::App(app) => quote_spanned!(app.span()=> <#app>::LABEL),
            Self::Label(label) => quote!(#label),
        });
    }
}
