//! What stands in front of all routes: who may send forms, and what browsers may load.

use axum::extract::Request;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::error::PageError;

const HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Refuses forms that another site's page sends, another hotel's too, and adds headers.
///
/// Hotels are neighbours below one domain: for a browser they may be the same *site*,
/// so that `SameSite` does not keep a page of one from sending the other's cookie.
/// They are never the same *origin*.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if safe || is_own(request.headers()) {
        next.run(request).await
    } else {
        PageError::Forbidden.into_response()
    };
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Browsers say where a form comes from. What says nothing is no browser, and has no one's cookies.
fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let authority = origin.as_bytes().splitn(2, |byte| *byte == b'/').nth(1);
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    match (authority.and_then(|rest| rest.strip_prefix(b"/")), host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::http::header::{HOST, ORIGIN};

    use super::is_own;

    #[test]
    fn a_form_of_a_neighbour_is_not_ones_own() {
        for (origin, own) in [
            (Some("http://acme.localhost:8080"), true),
            (Some("http://ACME.localhost:8080"), true),
            (Some("http://globex.localhost:8080"), false),
            (Some("http://acme.localhost:8081"), false),
            (Some("http://localhost:8080"), false),
            (Some("null"), false),
            (Some("http:acme.localhost:8080"), false),
            (None, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "acme.localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_own(&headers), own, "{origin:?}");
        }
    }
}
