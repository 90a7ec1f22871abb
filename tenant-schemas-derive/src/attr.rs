//! Attributes as plain data that keeps where each piece came from.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

use crate::errors::Errors;

mod diesel;

pub(crate) use diesel::Diesel;

/// One `key` or `key = value` between the parentheses of an attribute.
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Option<Expr>,
}

impl Entry {
    /// The entries of every `#[name(..)]` among `attrs`.
    pub(crate) fn of_attributes(attrs: &[Attribute], name: &str, errors: &mut Errors) -> Vec<Self> {
        let attrs = attrs.iter().filter(|attr| attr.path().is_ident(name));
        attrs
            .flat_map(|attr| match attr.parse_args_with(list) {
                Ok(entries) => entries,
                Err(error) => {
                    errors.push(error);
                    Vec::new()
                }
            })
            .collect()
    }

    /// The entries among the arguments of an attribute macro.
    pub(crate) fn of_arguments(tokens: TokenStream, errors: &mut Errors) -> Vec<Self> {
        list.parse2(tokens).unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        })
    }

    /// The key of an entry that should have no value.
    pub(crate) fn flag(self, errors: &mut Errors) -> Ident {
        if let Some(value) = self.value {
            errors.at(
                value,
                format!("`{0}` takes no value: write `{0}` alone", self.key),
            );
        }
        self.key
    }

    pub(crate) fn bool(&self, errors: &mut Errors) -> Option<bool> {
        if let Some(Lit::Bool(on)) = self.literal() {
            return Some(on.value);
        }
        let key = &self.key;
        self.refuse(&format!("write `{key} = true` or `{key} = false`"), errors)
    }

    pub(crate) fn string(&self, errors: &mut Errors) -> Option<LitStr> {
        if let Some(Lit::Str(text)) = self.literal() {
            return Some(text.clone());
        }
        self.refuse(&format!("write `{} = \"..\"`", self.key), errors)
    }

    pub(crate) fn path(&self, errors: &mut Errors) -> Option<Path> {
        match &self.value {
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            _ => self.refuse(&format!("write `{} = TheType`", self.key), errors),
        }
    }

    pub(crate) fn expr(&self, errors: &mut Errors) -> Option<Expr> {
        if self.value.is_some() {
            return self.value.clone();
        }
        self.refuse(&format!("write `{} = an_expression`", self.key), errors)
    }

    /// The elements of an array, of which `example` is one.
    pub(crate) fn array(&self, example: &str, errors: &mut Errors) -> Vec<Expr> {
        if let Some(Expr::Array(array)) = &self.value {
            return array.elems.iter().cloned().collect();
        }
        self.refuse(&format!("write `{} = [{example}]`", self.key), errors)
            .unwrap_or_default()
    }

    fn literal(&self) -> Option<&Lit> {
        self.value.as_ref().and_then(literal)
    }

    fn refuse<T>(&self, message: &str, errors: &mut Errors) -> Option<T> {
        match &self.value {
            Some(value) => errors.at(value, message),
            None => errors.at(&self.key, message),
        }
        None
    }
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { key, value })
    }
}

/// The text of the doc comments among `attrs`.
pub(crate) fn docs(attrs: &[Attribute]) -> String {
    let lines: Vec<String> = attrs
        .iter()
        .filter(|attr| attr.path().is_ident("doc"))
        .filter_map(|attr| match &attr.meta {
            Meta::NameValue(doc) => literal(&doc.value),
            _ => None,
        })
        .filter_map(|doc| match doc {
            Lit::Str(line) => Some(line.value()),
            _ => None,
        })
        .map(|line| {
            line.strip_prefix(' ')
                .unwrap_or(&line)
                .trim_end()
                .to_owned()
        })
        .collect();
    lines.join("\n").trim().to_owned()
}

/// The literal that `expr` is.
pub(crate) fn literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        // An expression that passed through `macro_rules!`.
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

/// Whether a path ends in `name`, however it starts.
pub(crate) fn last_segment_is(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

/// Reports a key that is given twice.
pub(crate) fn no_key_twice(entries: &[Entry], errors: &mut Errors) {
    for (at, entry) in entries.iter().enumerate() {
        if entries[..at].iter().any(|earlier| earlier.key == entry.key) {
            errors.at(&entry.key, format!("`{}` is given twice", entry.key));
        }
    }
}

/// Reports a key that the attribute does not have, with those that it has.
pub(crate) fn unknown_key(entry: &Entry, known: &[&str], errors: &mut Errors) {
    let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    let known = known.join(", ");
    errors.at(
        &entry.key,
        format!("unknown key `{}`; known here: {known}", entry.key),
    );
}

fn list(input: ParseStream<'_>) -> syn::Result<Vec<Entry>> {
    let entries = Punctuated::<Entry, Token![,]>::parse_terminated(input)?;
    Ok(entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn doc_comments_become_help() {
        let item: syn::ItemStruct = parse_quote! {
            /// One.
            ///
            /// Two.
            struct S;
        };
        assert_eq!(docs(&item.attrs), "One.\n\nTwo.");
    }
}
