//! A value, such as the id of a session, that counts for one tenant alone.
//!
//! A cookie that says `user 1` means somebody else at every tenant, and a browser,
//! or whoever has it, can send a cookie to any host. So the value is sealed
//! for a tenant, and opened by that tenant only:
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! # let globex = client(tenancy, "globex")?;
//! use tenant_schemas::session::{SessionError, SessionSeal};
//!
//! # let secret = [7; 32];
//! let seal = SessionSeal::new(secret)?; // 32 random bytes, the same in every process
//! let cookie = seal.seal(&acme, "user 1")?;
//! assert_eq!(seal.open(&acme, &cookie)?, "user 1");
//! assert!(matches!(seal.open(&globex, &cookie), Err(SessionError::Refused)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The value can be read by whoever has it, and can't be changed. Opening it takes
//! no query. What ends a session before its time is the program's: an id that is
//! looked up in the tenant's own tables can be deleted there.
//!
//! # Which tenant it is
//!
//! A tenant is known by the primary key of its row. So sessions outlive a rename,
//! and another tenant who is given the name of a deleted one does not inherit
//! them. Keys out of a sequence or random UUIDs are not given twice. Where they
//! are, since rows are inserted with keys of your own or a sequence is restarted,
//! use [`SessionTenant::look_up`], which asks PostgreSQL for the identity of the
//! schema as well. A copy of the database has the same keys: give it another secret.
//!
//! # The cookie
//!
//! ```text
//! Set-Cookie: __Host-session=<sealed>; Path=/; Secure; HttpOnly; SameSite=Lax
//! ```
//!
//! - Without `Domain`, so that the cookie of `a.example.com` is not sent to
//!   `b.example.com`. With `Domain=example.com` it is sent to both.
//! - With the prefix `__Host-`, so that no page of `b.example.com` can set one for
//!   all of `example.com`, which would reach `a.example.com` as well: browsers take
//!   such a cookie only from the host itself, with `Secure`, `Path=/` and no `Domain`.
//! - With `SameSite=Lax` against requests from other sites. Tenants on subdomains of
//!   one domain are one site: between them it does nothing, and forms need a token
//!   against forgery, which can be sealed like a session.
//! - Where tenants are told apart by a path, all share one host and its cookies:
//!   give each a name of its own, such as `__Host-session-<schema>`, and rely on
//!   the seal. Pages of one tenant can then still send requests to another's.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::model::{RowId as _, TenantModel};
use crate::name::SchemaName;
use crate::sql;

/// As long as what HMAC-SHA256 makes of it.
const MIN_SECRET: usize = 32;

/// Browsers drop cookies of more than 4096 bytes in silence.
const MAX_VALUE: usize = 2048;

/// Two weeks.
const LIFETIME: Duration = Duration::from_hours(14 * 24);

/// Keeps what is sealed here apart from all else that is made with the secret.
const LABEL: &[u8] = b"tenant-schemas session 1";

const MAC: usize = 32;
const EXPIRY: usize = 8;

/// Why a value is not sealed, or not opened.
///
/// [`Refused`](Self::Refused) says nothing of the reason: to the client a session
/// of another tenant, a forged one and one of a secret that is not used any more are
/// the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The secret is too short.
    #[error(
        "the secret has {length} bytes, it needs at least {MIN_SECRET}, from a source of randomness"
    )]
    #[non_exhaustive]
    ShortSecret {
        /// How many bytes it has.
        length: usize,
    },

    /// The value is too long for a cookie.
    #[error(
        "the value has {length} bytes, at most {MAX_VALUE} fit into a cookie: seal an id of it"
    )]
    #[non_exhaustive]
    TooLong {
        /// How many bytes it has.
        length: usize,
    },

    /// It was not sealed for this tenant with a secret that is accepted.
    #[error("the session does not count here: log in again")]
    Refused,

    /// It was sealed for this tenant, and its time is over.
    #[error("the session has expired: log in again")]
    Expired,

    /// The tenant was never saved, so nothing tells it from others.
    #[error(transparent)]
    Tenant(#[from] Error),
}

/// Seals values for tenants, and opens them.
///
/// Use another secret for each purpose: what is sealed as a session can be opened
/// as whatever else has the same secret.
#[derive(Clone)]
pub struct SessionSeal {
    /// The first one seals.
    keys: Vec<Hmac<Sha256>>,
    lifetime: Duration,
}

impl SessionSeal {
    /// A seal with this secret.
    ///
    /// # Errors
    ///
    /// [`SessionError::ShortSecret`] if it has fewer than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, SessionError> {
        Ok(Self {
            keys: vec![key(secret.as_ref())?],
            lifetime: LIFETIME,
        })
    }

    /// Opens what was sealed with this secret, too. Defaults to none.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let acme = client(tests.tenancy(), "acme")?;
    /// use tenant_schemas::session::SessionSeal;
    ///
    /// # let (old, new) = ([1; 32], [2; 32]);
    /// let cookie = SessionSeal::new(old)?.seal(&acme, "user 1")?;
    /// let seal = SessionSeal::new(new)?.accept(old)?; // until the last old one has expired
    /// assert_eq!(seal.open(&acme, &cookie)?, "user 1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::ShortSecret`] if it has fewer than 32 bytes.
    pub fn accept(mut self, old_secret: impl AsRef<[u8]>) -> Result<Self, SessionError> {
        self.keys.push(key(old_secret.as_ref())?);
        Ok(self)
    }

    /// Sets for how long what is sealed counts. Defaults to 14 days.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Seals a value for a tenant, in letters that any cookie may have.
    ///
    /// # Errors
    ///
    /// [`SessionError::TooLong`] if it has more than 2048 bytes;
    /// [`Error::NotSaved`] if the tenant was never saved.
    pub fn seal(
        &self,
        tenant: impl Into<SessionTenant>,
        value: &str,
    ) -> Result<String, SessionError> {
        self.seal_at(&tenant.into(), value, SystemTime::now())
    }

    /// The value that was sealed for this tenant.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] if it was sealed for another one, or not at all;
    /// [`SessionError::Expired`] if its time is over; [`Error::NotSaved`] if the
    /// tenant was never saved.
    pub fn open(
        &self,
        tenant: impl Into<SessionTenant>,
        sealed: &str,
    ) -> Result<String, SessionError> {
        self.open_at(&tenant.into(), sealed, SystemTime::now())
    }

    fn seal_at(
        &self,
        tenant: &SessionTenant,
        value: &str,
        now: SystemTime,
    ) -> Result<String, SessionError> {
        if value.len() > MAX_VALUE {
            return Err(SessionError::TooLong {
                length: value.len(),
            });
        }
        let expiry = seconds(now).saturating_add(self.lifetime.as_secs());
        let mut message = expiry.to_be_bytes().to_vec();
        message.extend_from_slice(value.as_bytes());
        let mac = authenticate(&self.keys[0], tenant.bytes()?, &message).finalize();
        message.extend_from_slice(&mac.into_bytes());
        Ok(Base64UrlUnpadded::encode_string(&message))
    }

    fn open_at(
        &self,
        tenant: &SessionTenant,
        sealed: &str,
        now: SystemTime,
    ) -> Result<String, SessionError> {
        let tenant = tenant.bytes()?;
        if sealed.len() > Base64UrlUnpadded::encoded_len(&[0; EXPIRY + MAX_VALUE + MAC]) {
            return Err(SessionError::Refused);
        }
        let bytes = Base64UrlUnpadded::decode_vec(sealed).map_err(|_| SessionError::Refused)?;
        let (message, mac) = bytes
            .split_last_chunk::<MAC>()
            .ok_or(SessionError::Refused)?;
        let (expiry, value) = message
            .split_first_chunk::<EXPIRY>()
            .ok_or(SessionError::Refused)?;
        if !self.keys.iter().any(|key| {
            authenticate(key, tenant, message)
                .verify(mac.into())
                .is_ok()
        }) {
            return Err(SessionError::Refused);
        }
        if u64::from_be_bytes(*expiry) <= seconds(now) {
            return Err(SessionError::Expired);
        }
        String::from_utf8(value.to_vec()).map_err(|_| SessionError::Refused)
    }
}

/// The secrets are not shown.
impl fmt::Debug for SessionSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSeal")
            .field("keys", &self.keys.len())
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

fn key(secret: &[u8]) -> Result<Hmac<Sha256>, SessionError> {
    let short = || SessionError::ShortSecret {
        length: secret.len(),
    };
    if secret.len() < MIN_SECRET {
        return Err(short());
    }
    Hmac::new_from_slice(secret).map_err(|_| short())
}

/// Each part has its length in front, so that nothing can move from one to the next.
fn authenticate(key: &Hmac<Sha256>, tenant: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    for part in [LABEL, tenant, message] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// What tells a tenant from all others, now and later.
///
/// A `&tenant` becomes one by itself: the primary key of its row, and the name of
/// the table.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTenant(Identity);

#[derive(Clone, PartialEq, Eq)]
enum Identity {
    Known(Vec<u8>),
    /// The database has not given it a key yet: all such tenants look the same.
    NotSaved(SchemaName),
}

impl SessionTenant {
    /// The tenant as the identity of its schema tells it, too: one query.
    ///
    /// Keep it beside the tenant for as long as that is kept. A rename does not
    /// change it; a dump that was restored has another.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// # let tests = tests()?;
    /// # let tenancy = tests.tenancy();
    /// # let mut acme = client(tenancy, "acme")?;
    /// use tenant_schemas::session::{SessionSeal, SessionTenant};
    ///
    /// # let seal = SessionSeal::new([7; 32])?;
    /// let mut conn = tenancy.public()?;
    /// let cookie = seal.seal(SessionTenant::look_up(&acme, &mut conn)?, "user 1")?;
    /// acme.rename(&mut conn, &"initech".parse()?)?;
    /// let initech = SessionTenant::look_up(&acme, &mut conn)?;
    /// assert_eq!(seal.open(initech, &cookie)?, "user 1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSchema`]; if the database fails.
    pub fn look_up<T: TenantModel>(tenant: &T, conn: &mut TenantConnection) -> Result<Self> {
        let schema = tenant.schema_name();
        let identity = conn.own(|inner| sql::schemas::schema_oid(inner, schema))?;
        let identity = identity.ok_or_else(|| Error::NoSuchSchema {
            schema: schema.clone(),
        })?;
        Ok(Self::new(tenant, Some(identity)))
    }

    /// The public site, where no row stands for it.
    #[must_use]
    pub fn public() -> Self {
        // Every tenant has a table and a key.
        Self(Identity::Known(Vec::new()))
    }

    fn new<T: TenantModel>(tenant: &T, identity: Option<u32>) -> Self {
        if tenant.id().is_unset() {
            return Self(Identity::NotSaved(tenant.schema_name().clone()));
        }
        let mut bytes = Vec::new();
        let row = [T::table().to_string(), tenant.id().to_string()];
        for part in row.into_iter().chain(identity.map(|oid| oid.to_string())) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(Identity::Known(bytes))
    }

    fn bytes(&self) -> Result<&[u8], SessionError> {
        match &self.0 {
            Identity::Known(bytes) => Ok(bytes),
            Identity::NotSaved(schema) => Err(SessionError::Tenant(Error::NotSaved {
                schema: schema.clone(),
            })),
        }
    }
}

impl<T: TenantModel> From<&T> for SessionTenant {
    fn from(tenant: &T) -> Self {
        Self::new(tenant, None)
    }
}

impl fmt::Debug for SessionTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Identity::Known(bytes) => write!(f, "SessionTenant({})", bytes.escape_ascii()),
            Identity::NotSaved(schema) => write!(f, "SessionTenant({schema}, not saved)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn tenant(text: &str) -> SessionTenant {
        SessionTenant(Identity::Known(text.as_bytes().to_vec()))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_expires_when_its_time_is_over() {
        let seal = SessionSeal::new(SECRET).expect("long enough");
        let seal = seal.lifetime(Duration::from_secs(10));
        let acme = tenant("acme");
        let sealed = seal.seal_at(&acme, "user 1", at(1_000)).expect("sealed");
        let open = |tenant, now| seal.open_at(tenant, &sealed, at(now));
        assert_eq!(open(&acme, 1_009).expect("it counts"), "user 1");
        assert!(matches!(open(&acme, 1_010), Err(SessionError::Expired)));
        // Only whose it was learns that it has expired.
        let other = open(&tenant("globex"), 1_010);
        assert!(matches!(other, Err(SessionError::Refused)));
        // A longer lifetime is for what is sealed from now on.
        let longer = seal.clone().lifetime(Duration::MAX);
        let old = longer.open_at(&acme, &sealed, at(1_010));
        assert!(matches!(old, Err(SessionError::Expired)));
        let endless = longer.seal_at(&acme, "user 1", at(1_000)).expect("sealed");
        longer
            .open_at(&acme, &endless, at(1 << 40))
            .expect("it counts");
    }

    #[test]
    fn a_session_of_which_any_part_was_changed_is_refused() {
        let seal = SessionSeal::new(SECRET).expect("long enough");
        let acme = tenant("acme");
        let sealed = seal.seal(acme.clone(), "user 1").expect("sealed");
        let bytes = Base64UrlUnpadded::decode_vec(&sealed).expect("as it was encoded");
        let refused = |sealed: &str| {
            let opened = seal.open(acme.clone(), sealed);
            assert!(matches!(opened, Err(SessionError::Refused)), "{sealed}");
        };
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            refused(&Base64UrlUnpadded::encode_string(&changed));
        }
        for length in 0..bytes.len() {
            refused(&Base64UrlUnpadded::encode_string(&bytes[..length]));
            refused(&Base64UrlUnpadded::encode_string(&bytes[length + 1..]));
        }
        refused(&format!("{sealed}A"));
        refused(&format!("{sealed}="));
        refused("größe");
        refused(&"A".repeat(1 << 20));
        assert_eq!(seal.open(acme, &sealed).expect("it counts"), "user 1");
    }

    #[test]
    fn nothing_moves_from_the_tenant_to_the_value() {
        let seal = SessionSeal::new(SECRET).expect("long enough");
        let now = at(1_000);
        let long = seal.seal_at(&tenant("ab"), "c", now).expect("sealed");
        assert!(seal.open_at(&tenant("a"), &long, now).is_err());
        let (one, other) = (tenant("a"), tenant("ab"));
        let mac = |tenant: &SessionTenant, message: &[u8]| {
            authenticate(&seal.keys[0], tenant.bytes().expect("known"), message)
                .finalize()
                .into_bytes()
        };
        assert_ne!(mac(&one, b"bc"), mac(&other, b"c"));
        assert_ne!(mac(&SessionTenant::public(), b"a"), mac(&one, b""));
    }

    #[test]
    fn secrets_and_values_of_any_other_length_are_refused() {
        for length in [0, 1, 31] {
            let error = SessionSeal::new(vec![1; length]).expect_err("too short");
            assert!(matches!(error, SessionError::ShortSecret { length: told } if told == length));
            let seal = SessionSeal::new(SECRET).expect("long enough");
            assert!(seal.accept(vec![1; length]).is_err());
        }
        let seal = SessionSeal::new(vec![1; 100]).expect("long enough");
        let long = "x".repeat(MAX_VALUE);
        let sealed = seal.seal(tenant("acme"), &long).expect("it fits");
        assert!(sealed.len() < 3_000, "into a cookie as well");
        assert_eq!(seal.open(tenant("acme"), &sealed).expect("it counts"), long);
        let error = seal.seal(tenant("acme"), &format!("{long}x"));
        assert!(matches!(error, Err(SessionError::TooLong { length: 2049 })));
        assert!(!format!("{seal:?}").contains("1, 1"));
    }

    #[test]
    fn a_new_secret_seals_and_old_ones_open_until_they_are_dropped() {
        let [old, new] = [[1; 32], [2; 32]].map(|secret| SessionSeal::new(secret).expect("long"));
        let both = new.clone().accept([1; 32]).expect("long enough");
        let acme = || tenant("acme");
        let before = old.seal(acme(), "user 1").expect("sealed");
        let after = both.seal(acme(), "user 1").expect("sealed");
        for (seal, sealed, opens) in [
            (&both, &before, true),
            (&both, &after, true),
            (&new, &after, true),
            (&new, &before, false),
            (&old, &after, false),
        ] {
            assert_eq!(seal.open(acme(), sealed).is_ok(), opens);
        }
    }
}
