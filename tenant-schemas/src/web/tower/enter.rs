//! What a request is given on its way to the routes.

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::model::TenantModel;
use crate::resolve::RequestHead;
use crate::web::observe::RequestSpan;
use crate::web::site::{Admission, Site, Visit};
use crate::web::{PublicDb, TenantDb};

/// The URI as the client sent it, of a request whose path was stripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalUri(pub Uri);

/// Leaves with the request whose it is and what it may use, and strips its path.
pub(super) fn enter<T: TenantModel>(
    site: &Site<T>,
    admission: Admission<T>,
    parts: &mut Parts,
) -> RequestSpan {
    let Admission {
        visit,
        stripped,
        read,
    } = admission;
    let span = site.entered(&visit, &RequestHead::of(parts));
    if stripped > 0 {
        keep(parts);
        strip(&mut parts.uri, stripped);
    }
    let extensions = &mut parts.extensions;
    match &visit {
        Visit::Tenant(tenant) => {
            extensions.insert(site.tenant_db_read_at(tenant, read));
        }
        // A site in front of this one may have left one.
        Visit::Public(_) | Visit::Bypassed => {
            extensions.remove::<TenantDb>();
        }
    }
    extensions.insert::<PublicDb>(site.public_db());
    extensions.insert(visit);
    span
}

/// Keeps the URI as the client sent it; what another one kept before is older.
fn keep(parts: &mut Parts) {
    let original = OriginalUri(parts.uri.clone());
    parts.extensions.get_or_insert_with(|| original);
    keep_for_axum(parts);
}

#[cfg(feature = "axum")]
use crate::web::axum::keep as keep_for_axum;

#[cfg(not(feature = "axum"))]
fn keep_for_axum(_: &mut Parts) {}

/// Takes the first `bytes` of the path away, and nothing of the query.
fn strip(uri: &mut Uri, bytes: usize) {
    let rest = uri.path().get(bytes..).unwrap_or_default();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let stripped = match uri.query() {
        Some(query) => format!("{slash}{rest}?{query}"),
        None => format!("{slash}{rest}"),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // A rest of what was a path and a query is one itself.
    parts.path_and_query = PathAndQuery::try_from(stripped).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::strip;

    #[test]
    fn c74_the_prefix_of_a_path_is_stripped_and_nothing_else() {
        for (uri, bytes, stripped) in [
            ("/t/acme/rooms", 7, "/rooms"),
            ("/t/acme/rooms?a=/t/acme&b", 7, "/rooms?a=/t/acme&b"),
            ("/t/acme", 7, "/"),
            ("/t/acme/", 7, "/"),
            ("/t/acme?", 7, "/?"),
            ("/t/acme?a=1", 7, "/?a=1"),
            ("/t/acme//rooms", 7, "//rooms"),
            ("/t/acme/a%2Fb%20c/", 7, "/a%2Fb%20c/"),
            ("/t/acme/caf\u{e9}", 7, "/caf\u{e9}"),
            ("/t/acme", 100, "/"),
            (
                "http://my-domain.com/t/acme/rooms?a",
                7,
                "http://my-domain.com/rooms?a",
            ),
            ("http://my-domain.com/t/acme", 7, "http://my-domain.com/"),
        ] {
            let mut taken: Uri = uri.parse().expect(uri);
            strip(&mut taken, bytes);
            assert_eq!(taken, *stripped, "{uri}");
        }
    }
}
