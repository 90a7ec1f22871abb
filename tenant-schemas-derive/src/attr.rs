//! Attributes as plain data that keeps where each piece came from.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token, token};

use crate::errors::Errors;

/// One `key` or `key = value` between the parentheses of an attribute.
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Option<Expr>,
}

/// What Diesel's own attributes say, as far as it matters here.
#[derive(Default)]
pub(crate) struct Diesel {
    pub(crate) table_name: Option<Path>,
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) column_name: Option<Ident>,
    pub(crate) embed: Option<Ident>,
    pub(crate) skip_insertion: bool,
    pub(crate) skip_update: bool,
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

    /// The key of an entry that has no value.
    pub(crate) fn flag(self, errors: &mut Errors) -> Option<Ident> {
        match self.value {
            None => Some(self.key),
            Some(value) => {
                errors.at(value, format!("`{}` takes no value", self.key));
                None
            }
        }
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

impl Diesel {
    /// Reads `#[diesel(..)]`; what is not understood here is left for Diesel to judge.
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("diesel")) {
            if let Err(error) = attr.parse_args_with(|input: ParseStream<'_>| found.entries(input))
            {
                errors.push(error);
            }
        }
        found
    }

    fn entries(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        while !input.is_empty() {
            if input.peek(Ident::peek_any) {
                self.entry(input)?;
            }
            // The rest of a value that is not read here; it may hold commas of its own.
            while !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
                input.parse::<proc_macro2::TokenTree>()?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let key = input.call(Ident::parse_any)?;
        if key == "table_name" && input.parse::<Option<Token![=]>>()?.is_some() {
            self.table_name = Some(input.call(Path::parse_mod_style)?);
        } else if key == "column_name" && input.parse::<Option<Token![=]>>()?.is_some() {
            self.column_name = Some(column(input)?);
        } else if key == "primary_key" && input.peek(token::Paren) {
            let names;
            syn::parenthesized!(names in input);
            let names = Punctuated::<Ident, Token![,]>::parse_terminated(&names)?;
            self.primary_key.extend(names);
        } else if key == "embed" {
            self.embed = Some(key);
        } else if key == "skip_insertion" {
            self.skip_insertion = true;
        } else if key == "skip_update" {
            self.skip_update = true;
        }
        Ok(())
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

fn column(input: ParseStream<'_>) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        return input.parse::<LitStr>()?.parse();
    }
    let name = input.call(Ident::parse_any)?;
    let is_keyword = syn::parse2::<Ident>(name.to_token_stream()).is_err();
    Ok(if is_keyword {
        Ident::new_raw(&name.to_string(), name.span())
    } else {
        name
    })
}
