//! Secrets that nobody guesses, and cookies that carry them.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

/// A secret of 256 bits, in hexadecimal digits.
///
/// # Errors
///
/// If the operating system has no randomness.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    hex::<32>()
}

/// A short one, of 48 bits: for references that people read out.
///
/// # Errors
///
/// As [`random`].
pub(crate) fn short() -> Result<String, getrandom::Error> {
    hex::<6>()
}

/// Whether a text may be such a reference; what strangers make up need not be looked for.
#[must_use]
pub(crate) fn is_reference(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes().all(is_fine)
}

fn hex<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    let digit = |half: u8| char::from_digit(u32::from(half), 16);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(digit).collect())
}

/// What is kept of a secret: it can be compared with one, and not be turned back.
#[must_use]
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The value of a cookie that the browser sent.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A header that sets a cookie, which is sent to this host alone; without a value, one that removes it.
///
/// There is no `Domain` in it: with one, browsers would send it to all hotels. In
/// production, behind TLS, add `Secure` and call it `__Host-..`.
pub(crate) fn set_cookie(name: &str, value: Option<&str>) -> HeaderValue {
    let cookie = match value {
        Some(value) => format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax"),
        None => format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"),
    };
    // Secrets are letters and digits, so this does not happen.
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
}
