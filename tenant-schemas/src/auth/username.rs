//! Usernames: what may be one, and which ones are the same.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::AuthError;

/// The most characters of a username.
const MAX_CHARACTERS: usize = 150;

/// A username that may be stored.
pub(super) struct Username {
    /// As it was given, in normal form (NFKC).
    pub(super) shown: String,
    /// As it is compared: in lower case.
    pub(super) key: String,
}

/// Reads a username, or says which rule it breaks.
pub(super) fn parse(text: &str) -> Result<Username, AuthError> {
    let refused = |reason: String| AuthError::Username {
        username: text.chars().take(MAX_CHARACTERS).collect(),
        reason,
    };
    // One more than can be told apart, so that a huge text costs nothing.
    let shown: String = text.nfkc().take(MAX_CHARACTERS + 1).collect();
    if shown.is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    if shown.chars().count() > MAX_CHARACTERS {
        return Err(refused(format!(
            "it is longer than {MAX_CHARACTERS} characters"
        )));
    }
    if let Some(other) = shown.chars().find(|&c| !is_allowed(c)) {
        return Err(refused(format!(
            "it has the character {other:?}, and may have letters, digits and @ . + - _"
        )));
    }
    let key = shown.to_lowercase().nfkc().collect();
    Ok(Username { shown, key })
}

/// Letters, digits and the marks that belong to them, of all scripts; no spaces, and nothing that
/// can't be seen.
fn is_allowed(character: char) -> bool {
    (character.is_alphanumeric() || is_combining_mark(character) || "@.+-_".contains(character))
        && !is_invisible(character)
}

/// Letters and marks that leave no trace on a screen: two users could look the same.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn key(text: &str) -> String {
        parse(text).map(|username| username.key).expect(text)
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = parse(text).map(|_| ()).expect_err("refused");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn case_and_the_way_of_writing_an_accent_make_no_other_user() {
        assert_eq!(key("Ada"), key("aDA"));
        assert_eq!(key("ÄNNE"), key("änne"));
        assert_eq!(key("Rene\u{301}"), key("René"));
        assert_eq!(key("ａｄａ"), key("ada"));
        assert_ne!(key("ada"), key("adá"));
        assert_eq!(parse("Rene\u{301}").expect("valid").shown, "René");
    }

    #[test]
    fn letters_of_all_scripts_are_letters() {
        for text in ["ada", "a.b+c@d-e_f", "Ωmega", "नमस्ते1", "李明", "0"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refusals_name_the_rule() {
        refused("", r#"username "" can't be used: it is empty"#);
        refused(
            "ada lovelace",
            r#"username "ada lovelace" can't be used: it has the character ' ', and may have letters, digits and @ . + - _"#,
        );
        refused(
            "ada\0",
            r#"username "ada\0" can't be used: it has the character '\0', and may have letters, digits and @ . + - _"#,
        );
        for invisible in [
            '\u{200b}', '\u{202e}', '\u{ad}', '\u{fe0f}', '\u{3164}', '\u{34f}',
        ] {
            assert!(parse(&format!("ada{invisible}")).is_err(), "{invisible:?}");
        }
        assert!(parse(&"ä".repeat(150)).is_ok());
        let long = "ä".repeat(150);
        refused(
            &"ä".repeat(151),
            &format!("username {long:?} can't be used: it is longer than 150 characters"),
        );
    }
}
