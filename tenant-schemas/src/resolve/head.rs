//! [`RequestHead`]: what resolvers see of a request, whatever the framework.

use std::borrow::Cow;

use super::{Malformed, hostname};

/// What a resolver sees of a request: its host, its path, its headers, and what
/// middleware in front found out.
#[derive(Debug)]
pub struct RequestHead<'r>(Source<'r>);

#[derive(Debug)]
enum Source<'r> {
    Plain {
        host: &'r str,
        path: &'r str,
    },
    Http(&'r http::request::Parts),
    #[cfg(feature = "actix")]
    Actix(&'r actix_web::dev::ServiceRequest),
}

impl<'r> RequestHead<'r> {
    /// A request of this host and path, without headers.
    #[must_use]
    pub fn new(host: &'r str, path: &'r str) -> Self {
        Self(Source::Plain { host, path })
    }

    /// A request as hyper, tower and axum have it.
    #[must_use]
    pub fn of(parts: &'r http::request::Parts) -> Self {
        Self(Source::Http(parts))
    }

    /// A request as actix-web has it.
    #[cfg(feature = "actix")]
    #[must_use]
    pub fn of_actix(request: &'r actix_web::dev::ServiceRequest) -> Self {
        Self(Source::Actix(request))
    }

    /// The host, normalized: without port, in lower case, without a dot at the end,
    /// international names as `xn--..`, IPv6 addresses without brackets.
    ///
    /// It is that of the request's target, if it has one (`:authority` in HTTP/2,
    /// an absolute URI), and that of the header `Host` otherwise. What a proxy says
    /// in other headers is not looked at; see [`Host::from_header`](super::Host::from_header).
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there is none, or several, or what there is can't be one.
    pub fn host(&self) -> Result<Cow<'_, str>, Malformed> {
        let authority = match &self.0 {
            Source::Plain { host, .. } => Some(*host),
            Source::Http(parts) => parts.uri.authority().map(http::uri::Authority::as_str),
            #[cfg(feature = "actix")]
            Source::Actix(request) => actix::authority(request),
        };
        match authority {
            Some(authority) => hostname::normalize(authority),
            None => match self.host_header()? {
                Some(host) => hostname::normalize(host),
                None => Err(Malformed::new("host", "", "there is none")),
            },
        }
    }

    /// The path, as it is in the request: not decoded, without the query. Actix-web routes by the
    /// decoded one.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.0 {
            Source::Plain { path, .. } => path,
            Source::Http(parts) => parts.uri.path(),
            #[cfg(feature = "actix")]
            Source::Actix(request) => request.path(),
        }
    }

    /// The value of a header, without white space around it; `None` if the request has no such header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is there several times, empty, or no UTF-8: who reads
    /// another one of the values than a proxy did is easily fooled.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Malformed> {
        match &self.0 {
            Source::Plain { .. } => Ok(None),
            Source::Http(parts) => {
                let values = parts.headers.get_all(name).iter();
                only(name, values.map(http::HeaderValue::as_bytes))
            }
            #[cfg(feature = "actix")]
            Source::Actix(request) => only(name, actix::header(request, name)),
        }
    }

    /// The header `Host`, whose name need not be parsed for every request.
    fn host_header(&self) -> Result<Option<&str>, Malformed> {
        let Source::Http(parts) = &self.0 else {
            return self.header("host");
        };
        let values = parts.headers.get_all(http::header::HOST).iter();
        only("host", values.map(http::HeaderValue::as_bytes))
    }

    /// What middleware in front left with the request, such as the claims of a token.
    #[must_use]
    pub fn extension<C: Clone + Send + Sync + 'static>(&self) -> Option<C> {
        match &self.0 {
            Source::Plain { .. } => None,
            Source::Http(parts) => parts.extensions.get::<C>().cloned(),
            #[cfg(feature = "actix")]
            Source::Actix(request) => actix::extension(request),
        }
    }
}

/// The only one of a header's values.
fn only<'v>(
    name: &str,
    mut values: impl Iterator<Item = &'v [u8]>,
) -> Result<Option<&'v str>, Malformed> {
    let what = || format!("header `{name}`");
    let text = String::from_utf8_lossy;
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed::new(
            what(),
            text(value),
            "it is there more than once",
        ));
    }
    match std::str::from_utf8(value).map(str::trim) {
        Ok("") => Err(Malformed::new(what(), "", "it is empty")),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Malformed::new(what(), text(value), "it is no UTF-8")),
    }
}

#[cfg(feature = "actix")]
mod actix {
    use actix_web::HttpMessage as _;
    use actix_web::dev::ServiceRequest;

    pub(super) fn authority(request: &ServiceRequest) -> Option<&str> {
        let authority = request.uri().authority();
        authority.map(actix_web::http::uri::Authority::as_str)
    }

    pub(super) fn header<'r>(
        request: &'r ServiceRequest,
        name: &str,
    ) -> impl Iterator<Item = &'r [u8]> {
        let values = request.headers().get_all(name);
        values.map(actix_web::http::header::HeaderValue::as_bytes)
    }

    pub(super) fn extension<C: Clone + 'static>(request: &ServiceRequest) -> Option<C> {
        request.extensions().get::<C>().cloned()
    }
}
