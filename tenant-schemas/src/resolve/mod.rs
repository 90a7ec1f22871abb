//! From a request to its tenant (feature `resolve`).
//!
//! A [`Resolver`] reads a request and says what to look for: [`Host`],
//! [`Subdomain`], [`PathPrefix`], [`Header`], [`Claim`], or a closure. It asks no
//! database. A [`Directory`] knows which tenant that is, most of the time without
//! asking the database either. The module [`web`](crate::web) puts both in front of
//! a program's routes.
//!
//! ```
//! # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
//! # use doctest::*; one_server();
//! # let tests = tests()?;
//! # let tenancy = tests.tenancy();
//! # let acme = client(tenancy, "acme")?;
//! use tenant_schemas::resolve::{Answer, Directory, Host, RequestHead, Resolver};
//!
//! let directory = Directory::builder(tenancy).build();
//!
//! let request = RequestHead::new("ACME.my-domain.com:8000", "/rooms");
//! let answer = Host::new().resolve(&request)?.expect("every request has a host");
//! assert_eq!(answer, Answer::domain("acme.my-domain.com").or_next());
//! let found = directory.find(answer.question())?;
//! assert_eq!(found.as_deref(), Some(&acme));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asked;
mod directory;
mod head;
mod hostname;
mod listen;
mod strategies;

use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "web")]
pub(crate) use self::directory::Remembered;
pub use self::directory::{Directory, DirectoryBuilder};
pub use self::head::RequestHead;
pub use self::strategies::{Claim, Header, Host, PathPrefix, Subdomain, from_fn};

/// Reads a request and says what to look for.
///
/// Resolvers stand in a chain. One that has nothing to say passes the request on
/// to the next; so does one whose answer says [`or_next`](Answer::or_next), if
/// there is no such tenant.
///
/// It is called for every request: it must not block.
pub trait Resolver: Send + Sync + 'static {
    /// What to look for; `None` if the request does not say.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the request says it in a way that can't be right. No other
    /// resolver is asked then: the request is refused.
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed>;
}

/// What tells tenants apart in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question<'r> {
    /// The tenant that has this domain: a host without port, in lower case.
    Domain(Cow<'r, str>),
    /// The tenant whose schema this is.
    Schema(Cow<'r, str>),
    /// No tenant: what all share.
    Public,
}

impl Question<'_> {
    /// The same, borrowed from no request.
    #[must_use]
    pub fn into_owned(self) -> Question<'static> {
        match self {
            Self::Domain(domain) => Question::Domain(Cow::Owned(domain.into_owned())),
            Self::Schema(schema) => Question::Schema(Cow::Owned(schema.into_owned())),
            Self::Public => Question::Public,
        }
    }
}

/// What a resolver says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'r> {
    question: Question<'r>,
    stripped: usize,
    or_next: bool,
}

impl<'r> Answer<'r> {
    fn new(question: Question<'r>) -> Self {
        Self {
            question,
            stripped: 0,
            or_next: false,
        }
    }

    /// The tenant that has this domain.
    pub fn domain(domain: impl Into<Cow<'r, str>>) -> Self {
        Self::new(Question::Domain(domain.into()))
    }

    /// The tenant whose schema this is.
    pub fn schema(schema: impl Into<Cow<'r, str>>) -> Self {
        Self::new(Question::Schema(schema.into()))
    }

    /// What all tenants share.
    #[must_use]
    pub fn public() -> Self {
        Self::new(Question::Public)
    }

    /// The next resolver is asked if there is no such tenant.
    ///
    /// For what every request has, such as a host. What a client says on purpose,
    /// such as a header, is better refused: to serve another tenant's data instead
    /// would be a mistake. Without this, a request whose tenant does not exist is answered
    /// with 404, whatever requests of nobody are.
    #[must_use]
    pub fn or_next(self) -> Self {
        Self {
            or_next: true,
            ..self
        }
    }

    /// Takes the first `bytes` of the path away before the request is routed.
    #[must_use]
    pub fn stripping(self, bytes: usize) -> Self {
        Self {
            stripped: bytes,
            ..self
        }
    }

    /// What to look for.
    #[must_use]
    pub fn question(&self) -> &Question<'r> {
        &self.question
    }

    /// How many bytes of the path are taken away before the request is routed.
    #[must_use]
    pub fn stripped(&self) -> usize {
        self.stripped
    }

    /// Whether the next resolver is asked if there is no such tenant.
    #[must_use]
    pub fn is_or_next(&self) -> bool {
        self.or_next
    }

    /// The same, borrowed from no request.
    #[must_use]
    pub fn into_owned(self) -> Answer<'static> {
        Answer {
            question: self.question.into_owned(),
            stripped: self.stripped,
            or_next: self.or_next,
        }
    }
}

/// A request that can't say what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    what: String,
    value: String,
    rule: &'static str,
}

impl Malformed {
    /// Says that `value`, which is the request's `what`, breaks a rule.
    ///
    /// `what` is a noun, as in `host`; `rule` a clause, as in `it is empty`.
    pub fn new(what: impl Into<String>, value: impl Into<String>, rule: &'static str) -> Self {
        Self {
            what: what.into(),
            value: value.into(),
            rule,
        }
    }

    /// The rule that is broken, in words.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, rule } = self;
        write!(f, "the request's {what} {value:?} can't be used: {rule}")
    }
}

impl std::error::Error for Malformed {}
