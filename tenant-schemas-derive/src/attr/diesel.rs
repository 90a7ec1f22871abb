//! [`Diesel`]: what matters of `#[diesel(..)]`.

use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, LitStr, Path, Token, token};

use crate::errors::Errors;

/// What Diesel's own attributes say, as far as it matters here.
#[derive(Default)]
pub(crate) struct Diesel {
    pub(crate) table_name: Option<Path>,
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) column_name: Option<Ident>,
    pub(crate) embed: Option<Ident>,
    pub(crate) serialize_as: Option<Ident>,
    pub(crate) skip_insertion: bool,
    pub(crate) skip_update: bool,
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
        } else if key == "serialize_as" {
            self.serialize_as = Some(key);
        } else if key == "skip_insertion" {
            self.skip_insertion = true;
        } else if key == "skip_update" {
            self.skip_update = true;
        }
        Ok(())
    }
}

/// A column as Diesel takes it: a keyword is written as `r#type` or `"type"`.
fn column(input: ParseStream<'_>) -> syn::Result<Ident> {
    if !input.peek(LitStr) {
        return input.parse();
    }
    let name: LitStr = input.parse()?;
    name.parse().or_else(|error| {
        let mut raw: Ident = syn::parse_str(&format!("r#{}", name.value())).map_err(|_| error)?;
        raw.set_span(name.span());
        Ok(raw)
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    fn diesel(attrs: &[Attribute]) -> Diesel {
        let mut errors = Errors::default();
        let found = Diesel::read(attrs, &mut errors);
        assert!(errors.is_empty());
        found
    }

    #[test]
    fn diesels_attributes_are_read_past_what_is_not_understood() {
        let found = diesel(&[
            parse_quote!(#[diesel(check_for_backend(Pg), table_name = crate::schema::clients)]),
            parse_quote!(#[diesel(base_query = a.filter(b, c), deserialize_as = Map<A, B>)]),
            parse_quote!(#[diesel(primary_key(key), treat_none_as_null = true)]),
        ]);
        let table = found.table_name.map(|path| quote!(#path).to_string());
        assert_eq!(table.as_deref(), Some("crate :: schema :: clients"));
        assert_eq!(found.primary_key, ["key"]);
    }

    #[test]
    fn columns_may_be_keywords_and_strings() {
        let column = |attr: Attribute| diesel(&[attr]).column_name.map(|name| name.to_string());
        let expected = |name: &str| Some(name.to_owned());
        assert_eq!(
            column(parse_quote!(#[diesel(column_name = name)])),
            expected("name")
        );
        assert_eq!(
            column(parse_quote!(#[diesel(column_name = r#type)])),
            expected("r#type")
        );
        assert_eq!(
            column(parse_quote!(#[diesel(column_name = "type")])),
            expected("r#type")
        );
        assert_eq!(
            column(parse_quote!(#[diesel(column_name = "name")])),
            expected("name")
        );
    }
}
