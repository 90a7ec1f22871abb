//! [`Hasher`]: passwords to hashes, at a cost.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Argon2, Params, Version};

use super::{AuthError, Password};

/// Hashes passwords with argon2id, and checks them.
///
/// A hash is a string in the PHC format, with the cost and a random salt of 16
/// bytes inside: `$argon2id$v=19$m=19456,t=2,p=1$..$..`. The cost defaults to
/// 19 MiB of memory, 2 passes, 1 lane, as OWASP recommends; it is paid by every
/// login. Raise it at any time: a hash that was made at another cost is still
/// good, and [`authenticate`](super::authenticate) replaces it.
///
/// ```
/// use tenant_schemas::auth::{Hasher, Password};
///
/// let password = Password::from("correct horse");
/// let hasher = Hasher::with_cost(8 * 1024, 1, 1)?;
/// let hash = hasher.hash(&password)?;
/// assert!(hasher.verify(&password, &hash));
/// assert!(Hasher::default().needs_rehash(&hash));
/// # Ok::<(), tenant_schemas::auth::AuthError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    params: Params,
}

impl Hasher {
    /// A hasher that uses `memory_kib` KiB of memory, `passes` times, in `lanes` lanes.
    ///
    /// # Errors
    ///
    /// [`AuthError::Cost`] if a number is too small or too large for argon2.
    pub fn with_cost(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, AuthError> {
        match Params::new(memory_kib, passes, lanes, None) {
            Ok(params) => Ok(Self { params }),
            Err(error) => Err(AuthError::Cost {
                memory_kib,
                passes,
                lanes,
                reason: error.to_string(),
            }),
        }
    }

    /// Hashes a password with a new random salt.
    ///
    /// The rules for new passwords are not applied: see [`Password::check`].
    ///
    /// # Errors
    ///
    /// [`AuthError::PasswordTooLong`], and [`AuthError::Hash`] if there is no
    /// memory or no randomness to be had.
    pub fn hash(&self, password: &Password) -> Result<String, AuthError> {
        password.check_length()?;
        let hash: PasswordHash = Argon2::from(&self.params)
            .hash_password(password.expose_plain_text().as_bytes())
            .map_err(|error| AuthError::Hash(Box::new(error)))?;
        Ok(hash.to_string())
    }

    /// Whether `hash` was made of this password, at whatever cost.
    ///
    /// `false` for a string that is no hash of argon2. Takes the time of the hash's cost, or of
    /// this hasher's for such a string.
    #[must_use]
    pub fn verify(&self, password: &Password, hash: &str) -> bool {
        password.check_length().is_ok()
            && self.matches(password, hash).unwrap_or_else(|| {
                // An answer that came at once would tell that there is someone who has no password.
                let _ = self.hash(password);
                false
            })
    }

    /// `None` if it is no hash of argon2, or no whole one.
    fn matches(&self, password: &Password, hash: &str) -> Option<bool> {
        let hash = PasswordHash::new(hash).ok()?;
        let _ = (hash.salt.as_ref()?, hash.hash.as_ref()?);
        let password = password.expose_plain_text().as_bytes();
        match Argon2::from(&self.params).verify_password(password, &hash) {
            Ok(()) => Some(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Some(false),
            Err(_) => None,
        }
    }

    /// Whether `hash` was made at another cost or by another algorithm than this hasher's.
    #[must_use]
    pub fn needs_rehash(&self, hash: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hash) else {
            return true;
        };
        let Ok(params) = Params::try_from(&hash) else {
            return true;
        };
        hash.algorithm != ARGON2ID_IDENT
            || hash.version != Some(Version::default().into())
            || params.m_cost() != self.params.m_cost()
            || params.t_cost() != self.params.t_cost()
            || params.p_cost() != self.params.p_cost()
            || params.output_len() != Some(Params::DEFAULT_OUTPUT_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Hasher {
        Hasher::with_cost(8, 1, 1).expect("a cost")
    }

    fn password() -> Password {
        Password::from("correct horse")
    }

    #[test]
    fn the_same_password_has_another_hash_each_time() {
        let (one, other) = (cheap().hash(&password()), cheap().hash(&password()));
        let (one, other) = (one.expect("a hash"), other.expect("a hash"));
        assert_ne!(one, other);
        let salt = |hash: &str| PasswordHash::new(hash).expect("a hash").salt;
        assert_ne!(salt(&one), salt(&other));
        assert_eq!(salt(&one).expect("a salt").len(), 16);
        for hash in [one, other] {
            assert!(cheap().verify(&password(), &hash), "{hash}");
            assert!(!cheap().verify(&"correct horsf".into(), &hash), "{hash}");
            assert!(!hash.contains("horse"), "{hash}");
        }
    }

    #[test]
    fn the_default_cost_is_what_the_documentation_says() {
        let hash = Hasher::default().hash(&password()).expect("a hash");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(Hasher::default().verify(&password(), &hash));
        assert!(!Hasher::default().needs_rehash(&hash));
    }

    #[test]
    fn a_hash_that_was_made_otherwise_is_good_and_needs_another() {
        let hash = cheap().hash(&password()).expect("a hash");
        assert!(!cheap().needs_rehash(&hash));
        for (memory, passes, lanes) in [(9, 1, 1), (8, 2, 1), (16, 1, 2)] {
            let other = Hasher::with_cost(memory, passes, lanes).expect("a cost");
            assert!(other.verify(&password(), &hash));
            assert!(other.needs_rehash(&hash), "{memory} {passes} {lanes}");
        }
        assert!(cheap().needs_rehash(&hash.replace("argon2id", "argon2i")));
        assert!(cheap().needs_rehash(&hash.replace("v=19", "v=16")));
        for text in ["", "!", "correct horse", "$1$abc$def"] {
            assert!(cheap().needs_rehash(text), "{text}");
            assert!(!cheap().verify(&password(), text), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_takes_as_long_as_a_wrong_password() {
        use std::time::{Duration, Instant};

        let dear = Hasher::with_cost(16 * 1024, 2, 1).expect("a cost");
        let hash = dear.hash(&password()).expect("a hash");
        let time = |hash: &str| -> Duration {
            let begun = Instant::now();
            assert!(!dear.verify(&"wrong".into(), hash));
            begun.elapsed()
        };
        let of_a_hash = (0..3).map(|_| time(&hash)).min().expect("three");
        let without_its_end = hash.rsplit_once('$').expect("parts").0;
        for text in ["!", "$1$abc$def", without_its_end] {
            assert!(time(text) * 10 > of_a_hash, "{text}");
        }
    }

    #[test]
    fn impossible_costs_are_refused_with_the_least_that_is_possible() {
        let error = Hasher::with_cost(7, 1, 1).expect_err("too little memory");
        assert_eq!(
            error.to_string(),
            "argon2 can't work with 7 KiB, 1 passes and 1 lanes: memory cost is too small; \
             the least is 8 KiB for each lane, 1 pass and 1 lane"
        );
        assert!(Hasher::with_cost(8, 0, 1).is_err());
        assert!(Hasher::with_cost(8, 1, 0).is_err());
    }
}
