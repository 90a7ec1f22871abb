//! `#[shared_app]` and `#[tenant_app]`: a unit struct is an app, any other struct a model.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Fields, Item, ItemStruct, Meta};

use crate::attr::{Diesel, Entry, last_segment_is, no_key_twice};
use crate::errors::Errors;

mod attr;
mod check;
mod expand;
mod migrations;

/// Where the tables live, as the attributes say.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    Shared,
    Tenant,
    Both,
}

/// Expands the attribute of `scope` that stands outermost on `item`.
pub(crate) fn expand(scope: Scope, arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Struct(mut item)) => {
            let mut entries = Entry::of_arguments(arguments, &mut errors);
            let scope = merge(scope, &mut item, &mut entries, &mut errors);
            no_key_twice(&entries, &mut errors);
            let added = expand_struct(scope, entries, &item, &mut errors);
            quote!(#item #added #errors)
        }
        Ok(other) => {
            errors.at(name_of(&other), purpose(scope));
            quote!(#item #errors)
        }
        Err(error) => {
            errors.push(error);
            quote!(#item #errors)
        }
    }
}

fn expand_struct(
    scope: Scope,
    entries: Vec<Entry>,
    item: &ItemStruct,
    errors: &mut Errors,
) -> TokenStream {
    if matches!(item.fields, Fields::Unit) {
        let arguments = attr::Arguments::read(entries, errors);
        let app = check::App::check(scope, item, arguments, errors);
        return expand::app(&app, errors.is_empty());
    }
    // Mistakes in `#[diesel(..)]` are for Diesel to report.
    let Some(table) = Diesel::read(&item.attrs, &mut Errors::default()).table_name else {
        errors.at(&item.ident, purpose(scope));
        return TokenStream::new();
    };
    for entry in entries {
        errors.at(
            entry.key,
            "a model takes no arguments; an app is a unit struct",
        );
    }
    expand::model(scope, item, &table)
}

/// Takes the other attribute off `item`, if it is there, and joins the two.
fn merge(
    outer: Scope,
    item: &mut ItemStruct,
    entries: &mut Vec<Entry>,
    errors: &mut Errors,
) -> Scope {
    let mut scope = outer;
    item.attrs.retain(|attr| {
        let inner = [Scope::Shared, Scope::Tenant]
            .into_iter()
            .find(|inner| last_segment_is(attr.path(), inner.attribute()));
        let Some(inner) = inner else {
            return true;
        };
        if inner == outer || scope == Scope::Both {
            errors.at(attr, format!("`{}` is given twice", inner.attribute()));
        } else {
            scope = Scope::Both;
            match &attr.meta {
                Meta::Path(_) => (),
                Meta::List(list) => {
                    entries.extend(Entry::of_arguments(list.tokens.clone(), errors));
                }
                Meta::NameValue(_) => errors.at(attr, "write the arguments in parentheses"),
            }
        }
        false
    });
    scope
}

impl Scope {
    /// The attribute that says so; of the two, the one that allows more.
    fn attribute(self) -> &'static str {
        match self {
            Self::Shared => "shared_app",
            Self::Tenant | Self::Both => "tenant_app",
        }
    }
}

fn purpose(scope: Scope) -> String {
    format!(
        "`#[{}]` makes an app of a unit struct, or says where the table of a struct with \
         `#[diesel(table_name = ..)]` lives",
        scope.attribute()
    )
}

/// The tokens that stand for an item in a message.
fn name_of(item: &Item) -> TokenStream {
    match item {
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Fn(item) => item.sig.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        Item::Trait(item) => item.ident.to_token_stream(),
        Item::Type(item) => item.ident.to_token_stream(),
        Item::Union(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}
