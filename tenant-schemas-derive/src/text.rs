//! Names and types as text.

use quote::ToTokens;

/// `FrontDesk` as `front_desk`, `HTTPServer` as `http_server`.
pub(crate) fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let after_word = at > 0 && chars[at - 1] != '_' && !chars[at - 1].is_uppercase();
        let ends_acronym = at > 0
            && chars[at - 1].is_uppercase()
            && chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && (after_word || ends_acronym) {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// A type as a person writes it: `Option<NaiveDate>`, not `Option < NaiveDate >`.
pub(crate) fn type_name(ty: &impl ToTokens) -> String {
    let spaced = ty.to_token_stream().to_string();
    let mut text = String::new();
    let mut chars = spaced.chars().peekable();
    while let Some(c) = chars.next() {
        let separates = c != ' '
            || text.ends_with([',', ';'])
            || (text.ends_with(is_word) && chars.peek().is_some_and(|next| is_word(*next)));
        if separates {
            text.push(c);
        }
    }
    text
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn snake(name: &str, expected: &str) {
        assert_eq!(snake_case(name), expected);
    }

    #[track_caller]
    fn stays(ty: &str) {
        let parsed: syn::Type = syn::parse_str(ty).expect("a type");
        assert_eq!(type_name(&parsed), ty);
    }

    #[test]
    fn snake_case_splits_words_and_acronyms() {
        snake("Hotels", "hotels");
        snake("FrontDesk", "front_desk");
        snake("HTTPServer", "http_server");
        snake("Level2Rooms", "level2_rooms");
        snake("already_snake", "already_snake");
        snake("X", "x");
    }

    #[test]
    fn types_are_written_without_odd_spaces() {
        stays("Option<NaiveDate>");
        stays("chrono::DateTime<Utc>");
        stays("HashMap<String, Vec<i32>>");
        stays("[u8; 4]");
        stays("&'static str");
    }
}
