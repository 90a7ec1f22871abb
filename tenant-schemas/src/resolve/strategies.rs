//! The resolvers that there are: by host, subdomain, path, header, claim, closure.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use percent_encoding::percent_decode_str;

use super::{Answer, Malformed, RequestHead, Resolver, hostname};

/// The tenant that has the request's host as its domain.
///
/// `www.` in front is optional: a host that has it and is nobody's domain is looked
/// for without it. Another resolver is asked if no tenant has the domain.
///
/// ```
/// use tenant_schemas::resolve::{Answer, Host, RequestHead, Resolver};
///
/// let request = RequestHead::new("Tenant.My-Domain.com.:8000", "/");
/// let answer = Host::new().resolve(&request)?;
/// assert_eq!(answer, Some(Answer::domain("tenant.my-domain.com").or_next()));
///
/// let request = RequestHead::new("tenant..my-domain.com", "/");
/// assert!(Host::new().resolve(&request).is_err());
/// # Ok::<(), tenant_schemas::resolve::Malformed>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Host {
    header: Option<String>,
}

impl Host {
    /// By the host that the request is sent to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By the host in a header, such as `x-forwarded-host`; a request without it says nothing.
    ///
    /// Anyone can send a header. Use this only where a proxy of yours stands in
    /// front of every request, and sets the header or removes it.
    #[must_use]
    pub fn from_header(name: impl Into<String>) -> Self {
        Self {
            header: Some(name.into()),
        }
    }
}

impl Resolver for Host {
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        let host = match &self.header {
            None => request.host()?,
            Some(name) => match request.header(name)? {
                Some(host) => hostname::normalize(host)?,
                None => return Ok(None),
            },
        };
        Ok(Some(Answer::domain(host).or_next()))
    }
}

/// The tenant whose schema is named as the label in front of a base domain.
///
/// The base domain itself, and `www.` in front of it, is the public schema. Hosts
/// that are no direct subdomains say nothing, so that a [`Host`] behind this one
/// can find domains of the tenants' own.
///
/// ```
/// use tenant_schemas::resolve::{Answer, RequestHead, Resolver, Subdomain};
///
/// let subdomain = Subdomain::of("my-domain.com");
/// for (host, answer) in [
///     ("acme.my-domain.com", Some(Answer::schema("acme").or_next())),
///     ("my-domain.com", Some(Answer::public())),
///     ("www.my-domain.com", Some(Answer::public())),
///     ("a.b.my-domain.com", None),
///     ("acme.com", None),
/// ] {
///     assert_eq!(subdomain.resolve(&RequestHead::new(host, "/"))?, answer);
/// }
/// # Ok::<(), tenant_schemas::resolve::Malformed>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subdomain {
    base: String,
    schema: fn(&str) -> Cow<'_, str>,
}

impl Subdomain {
    /// Subdomains of `base`, a host name in any case.
    #[must_use]
    pub fn of(base: &str) -> Self {
        let base = hostname::normalize(base).map_or_else(|_| base.to_lowercase(), Cow::into_owned);
        Self {
            base,
            schema: |label| Cow::Borrowed(label),
        }
    }

    /// Takes `_` in the schema's name for each `-` of the label, which by default no
    /// schema's name can have, as `_` can be in no host that a browser accepts.
    #[must_use]
    pub fn hyphens_as_underscores(self) -> Self {
        Self {
            schema: |label| {
                if label.contains('-') {
                    Cow::Owned(label.replace('-', "_"))
                } else {
                    Cow::Borrowed(label)
                }
            },
            ..self
        }
    }
}

impl Resolver for Subdomain {
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        let host = request.host()?;
        let label = if host == self.base {
            ""
        } else {
            match host
                .strip_suffix(&self.base)
                .and_then(|rest| rest.strip_suffix('.'))
            {
                Some(label) if !label.contains('.') => label,
                _ => return Ok(None),
            }
        };
        if label.is_empty() || label == "www" {
            return Ok(Some(Answer::public()));
        }
        let schema = match host {
            Cow::Borrowed(host) => (self.schema)(&host[..label.len()]),
            Cow::Owned(_) => Cow::Owned((self.schema)(label).into_owned()),
        };
        Ok(Some(Answer::schema(schema).or_next()))
    }
}

/// The tenant that the path begins with; that part is taken away before the request is routed.
///
/// Percent-encoded or not, a prefix is the same: actix-web routes by the decoded path.
///
/// ```
/// use tenant_schemas::resolve::{Answer, PathPrefix, RequestHead, Resolver};
///
/// let request = RequestHead::new("my-domain.com", "/t/acme/rooms");
/// let answer = PathPrefix::after("/t").resolve(&request)?;
/// assert_eq!(answer, Some(Answer::schema("acme").stripping("/t/acme".len())));
///
/// let request = RequestHead::new("my-domain.com", "/acme/rooms");
/// assert_eq!(PathPrefix::after("/t").resolve(&request)?, None);
/// let answer = PathPrefix::first().resolve(&request)?;
/// assert_eq!(answer, Some(Answer::schema("acme").stripping("/acme".len()).or_next()));
/// # Ok::<(), tenant_schemas::resolve::Malformed>(())
/// ```
#[derive(Debug, Clone)]
pub struct PathPrefix {
    prefix: String,
    by: By,
}

impl PathPrefix {
    /// The segment behind `prefix`, as `acme` in `/t/acme/rooms` behind `/t`.
    ///
    /// Paths that begin otherwise say nothing. One that names no tenant is refused.
    #[must_use]
    pub fn after(prefix: impl Into<String>) -> Self {
        let prefix: String = prefix.into();
        let trimmed = prefix.trim_matches('/');
        Self {
            prefix: if trimmed.is_empty() {
                String::new()
            } else {
                format!("/{trimmed}")
            },
            by: By::Schema,
        }
    }

    /// The first segment, as `acme` in `/acme/rooms`.
    ///
    /// Every path has one, so another resolver is asked if it names no tenant, or can
    /// name none, with the path as it was.
    #[must_use]
    pub fn first() -> Self {
        Self::after("")
    }

    /// Takes the segment for a domain of the tenant, not for the name of its schema.
    #[must_use]
    pub fn by_domain(self) -> Self {
        Self {
            by: By::Domain,
            ..self
        }
    }

    /// What is behind the prefix and a slash, if the path begins with them.
    fn behind<'p>(&self, path: &'p str) -> Option<&'p str> {
        let plain = path.strip_prefix(self.prefix.as_str());
        let plain = plain.and_then(|rest| rest.strip_prefix('/'));
        if plain.is_some() || !path.contains('%') {
            return plain;
        }
        let names = self.prefix.strip_prefix('/')?.split('/');
        let mut rest = path.strip_prefix('/')?;
        for name in names {
            let (segment, behind) = rest.split_once('/')?;
            if !percent_decode_str(segment).eq(name.bytes()) {
                return None;
            }
            rest = behind;
        }
        Some(rest)
    }
}

impl Resolver for PathPrefix {
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        let path = request.path();
        let Some(rest) = self.behind(path) else {
            return Ok(None);
        };
        let segment = &rest[..rest.find('/').unwrap_or(rest.len())];
        if segment.is_empty() {
            return Ok(None);
        }
        let name = percent_decode_str(segment).decode_utf8();
        let answer = name
            .map_err(|_| Malformed::new("path", path, "it is no UTF-8"))
            .and_then(|name| self.by.answer(name))
            .map(|answer| answer.stripping(path.len() - rest.len() + segment.len()));
        if self.prefix.is_empty() {
            return Ok(answer.ok().map(Answer::or_next));
        }
        answer.map(Some)
    }
}

/// The tenant that a header names, by its schema.
///
/// Anyone can send a header, and would be served the tenant that it names. Use
/// this only where a proxy of yours stands in front of every request, and sets the
/// header or removes it; or where every request is authorized for the tenant
/// afterwards.
///
/// Two tenants have the same address then. A response that a cache may keep needs
/// `Vary` with the name of the header, or one is given what was the other's.
///
/// ```
/// use tenant_schemas::resolve::{Answer, Header, RequestHead, Resolver};
///
/// let (parts, ()) = http::Request::get("/").header("x-tenant", "acme").body(())?.into_parts();
/// let request = RequestHead::of(&parts);
/// let answer = Header::new("x-tenant").resolve(&request).unwrap();
/// assert_eq!(answer, Some(Answer::schema("acme")));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Header {
    name: String,
    by: By,
}

impl Header {
    /// The header of this name, in any case.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            by: By::Schema,
        }
    }

    /// Takes the value for a domain of the tenant, not for the name of its schema.
    #[must_use]
    pub fn by_domain(self) -> Self {
        Self {
            by: By::Domain,
            ..self
        }
    }
}

impl Resolver for Header {
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        match request.header(&self.name)? {
            Some(value) => Ok(Some(self.by.answer(Cow::Borrowed(value))?)),
            None => Ok(None),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum By {
    Schema,
    Domain,
}

impl By {
    fn answer(self, name: Cow<'_, str>) -> Result<Answer<'_>, Malformed> {
        Ok(match self {
            Self::Schema => Answer::schema(name),
            Self::Domain => Answer::domain(match name {
                Cow::Borrowed(name) => hostname::normalize(name)?,
                Cow::Owned(name) => Cow::Owned(hostname::normalize(&name)?.into_owned()),
            }),
        })
    }
}

/// The tenant that something says which middleware in front left with the request,
/// such as the claims of a token that it verified.
///
/// A request without it says nothing. One whose tenant does not exist is refused.
///
/// ```
/// use tenant_schemas::resolve::{Answer, Claim, RequestHead, Resolver};
///
/// #[derive(Clone)]
/// struct Claims {
///     tenant: String,
/// }
///
/// let by_token = Claim::new(|claims: Claims| Answer::schema(claims.tenant));
///
/// let (mut parts, ()) = http::Request::get("/").body(())?.into_parts();
/// assert_eq!(by_token.resolve(&RequestHead::of(&parts)).unwrap(), None);
/// parts.extensions.insert(Claims { tenant: "acme".to_owned() });
/// let request = RequestHead::of(&parts);
/// let answer = by_token.resolve(&request).unwrap();
/// assert_eq!(answer, Some(Answer::schema("acme")));
/// # Ok::<(), http::Error>(())
/// ```
pub struct Claim<C, F> {
    answer: F,
    claim: PhantomData<fn(C)>,
}

impl<C, F> Claim<C, F>
where
    C: Clone + Send + Sync + 'static,
    F: Fn(C) -> Answer<'static> + Send + Sync + 'static,
{
    /// Reads the tenant out of a `C`.
    pub fn new(answer: F) -> Self {
        Self {
            answer,
            claim: PhantomData,
        }
    }
}

impl<C, F> Resolver for Claim<C, F>
where
    C: Clone + Send + Sync + 'static,
    F: Fn(C) -> Answer<'static> + Send + Sync + 'static,
{
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        Ok(request.extension::<C>().map(&self.answer))
    }
}

impl<C, F> fmt::Debug for Claim<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("claim", &std::any::type_name::<C>())
            .finish_non_exhaustive()
    }
}

/// A resolver out of a closure.
///
/// ```
/// use tenant_schemas::resolve::{Answer, RequestHead, Resolver, from_fn};
///
/// let by_webhook = from_fn(|request| {
///     let tenant = request.path().strip_prefix("/webhooks/")?;
///     Some(Answer::schema(tenant.to_owned()))
/// });
/// let request = RequestHead::new("my-domain.com", "/webhooks/acme");
/// let answer = by_webhook.resolve(&request)?;
/// assert_eq!(answer, Some(Answer::schema("acme")));
/// # Ok::<(), tenant_schemas::resolve::Malformed>(())
/// ```
pub fn from_fn<F>(f: F) -> impl Resolver
where
    F: Fn(&RequestHead<'_>) -> Option<Answer<'static>> + Send + Sync + 'static,
{
    FromFn(f)
}

struct FromFn<F>(F);

impl<F> Resolver for FromFn<F>
where
    F: Fn(&RequestHead<'_>) -> Option<Answer<'static>> + Send + Sync + 'static,
{
    fn resolve<'r>(&self, request: &'r RequestHead<'_>) -> Result<Option<Answer<'r>>, Malformed> {
        Ok((self.0)(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c74_a_prefix_that_is_percent_encoded_is_the_same_prefix() {
        let after = PathPrefix::after("/all/t");
        for (path, stripped) in [
            ("/all/t/acme/rooms", Some("/all/t/acme")),
            ("/all/%74/acme/rooms", Some("/all/%74/acme")),
            ("/%61%6C%6c/%74/%61cme", Some("/%61%6C%6c/%74/%61cme")),
            ("/all%2Ft/acme/rooms", None),
            ("/all/%2574/acme/rooms", None),
            ("/all/%75/acme/rooms", None),
            ("/all/%74", None),
            ("/all/%74/", None),
        ] {
            let head = RequestHead::new("my-domain.com", path);
            let answer = stripped.map(|stripped| Answer::schema("acme").stripping(stripped.len()));
            assert_eq!(after.resolve(&head), Ok(answer), "{path}");
        }
    }

    #[test]
    fn a_first_segment_that_is_no_domain_is_left_to_the_next_resolver() {
        fn head(path: &str) -> RequestHead<'_> {
            RequestHead::new("my-domain.com", path)
        }
        let first = PathPrefix::first().by_domain();
        let named = Answer::domain("acme.com").stripping("/acme.com".len());
        assert_eq!(
            first.resolve(&head("/acme.com/rooms")),
            Ok(Some(named.or_next()))
        );
        for path in [
            "/.well-known/acme-challenge/x",
            "/@vite/client",
            "/~u/",
            "/%ff/x",
        ] {
            assert_eq!(first.resolve(&head(path)), Ok(None), "{path}");
            let path = format!("/t{path}");
            let after = PathPrefix::after("/t").by_domain();
            assert!(after.resolve(&head(&path)).is_err(), "{path}");
        }
    }
}
