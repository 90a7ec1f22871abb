//! Numbers that nobody else has.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

/// A number that no other call returns, in this process or another, as 16 digits.
pub(crate) fn number() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
