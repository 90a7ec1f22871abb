//! [`Password`]: what a user typed, shown to nobody.

use std::fmt;

use zeroize::Zeroizing;

use super::AuthError;

/// The fewest characters of a password that is set.
pub(super) const MIN_CHARACTERS: usize = 8;

/// The most bytes: hashing more would be work that anybody can order.
pub(super) const MAX_BYTES: usize = 4096;

/// A password in plain text.
///
/// It is in no `Debug` output, and its memory is overwritten when it is dropped.
///
/// ```
/// use tenant_schemas::auth::Password;
///
/// let password = Password::from("correct horse");
/// assert!(password.check().is_ok());
/// assert_eq!(format!("{password:?}"), "Password(..)");
/// ```
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Whether the password may be set: at least 8 characters, at most 4096 bytes.
    ///
    /// # Errors
    ///
    /// [`AuthError::PasswordTooShort`] and [`AuthError::PasswordTooLong`].
    pub fn check(&self) -> Result<(), AuthError> {
        let length = self.0.chars().count();
        if length < MIN_CHARACTERS {
            return Err(AuthError::PasswordTooShort { length });
        }
        self.check_length()
    }

    /// Whether the password is short enough to be hashed.
    pub(super) fn check_length(&self) -> Result<(), AuthError> {
        match self.0.len() {
            length if length > MAX_BYTES => Err(AuthError::PasswordTooLong { length }),
            _ => Ok(()),
        }
    }

    /// The plain text, for a hash of one's own.
    #[must_use]
    pub fn expose_plain_text(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(password: &str, message: &str) {
        let error = Password::from(password).check().expect_err("refused");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        refused("", "the password has 0 characters, it needs at least 8");
        refused(
            "1234567",
            "the password has 7 characters, it needs at least 8",
        );
        refused(
            "äöüäöüä",
            "the password has 7 characters, it needs at least 8",
        );
        assert!(Password::from("äöüäöüäö").check().is_ok());
    }

    #[test]
    fn the_length_has_an_end() {
        assert!(Password::from("x".repeat(4096)).check().is_ok());
        refused(
            &"x".repeat(4097),
            "the password is 4097 bytes long, at most 4096 are accepted",
        );
    }
}
