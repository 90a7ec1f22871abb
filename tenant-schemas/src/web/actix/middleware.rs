//! [`SiteMiddleware`]: what a site does with a request of actix-web.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, Url};
use actix_web::http::Uri;
use actix_web::http::uri::PathAndQuery;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};

use super::{OriginalUri, Whose};
use crate::model::TenantModel;
use crate::resolve::RequestHead;
use crate::web::TenantDb;
use crate::web::refusal::{Refusal, turned_away};
use crate::web::site::{Admission, Site, Visit};

type Refuse = dyn Fn(&Refusal, &HttpRequest) -> HttpResponse + Send + Sync;

impl<T: TenantModel> Site<T> {
    /// This site as middleware of actix-web, for `App::wrap`.
    ///
    /// The module [`actix`](super) says what it does.
    pub fn middleware(&self) -> SiteMiddleware<T> {
        SiteMiddleware {
            site: self.clone(),
            refuse: Arc::new(|refusal, _| HttpResponse::from(refusal)),
        }
    }
}

/// A [`Site`] as middleware of actix-web. Cloning is cheap.
#[must_use = "it does nothing before it is given to `App::wrap`"]
pub struct SiteMiddleware<T: TenantModel> {
    site: Site<T>,
    refuse: Arc<Refuse>,
}

impl<T: TenantModel> SiteMiddleware<T> {
    /// Answers refused requests by `refuse`. Defaults to [`Refusal`]'s status and text, with
    /// `Retry-After` where trying again can help.
    ///
    /// What it has no answer of its own for, it answers with `refusal.into()`.
    pub fn refuse_with(
        self,
        refuse: impl Fn(&Refusal, &HttpRequest) -> HttpResponse + Send + Sync + 'static,
    ) -> Self {
        Self {
            refuse: Arc::new(refuse),
            ..self
        }
    }
}

impl<S, B, T> Transform<S, ServiceRequest> for SiteMiddleware<T>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    T: TenantModel,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = SiteService<S, T>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(SiteService {
            service: Rc::new(service),
            middleware: self.clone(),
        }))
    }
}

/// A service of actix-web behind a [`SiteMiddleware`].
pub struct SiteService<S, T: TenantModel> {
    service: Rc<S>,
    middleware: SiteMiddleware<T>,
}

impl<S, B, T> Service<ServiceRequest> for SiteService<S, T>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    T: TenantModel,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let SiteMiddleware { site, refuse } = self.middleware.clone();
        let service = Rc::clone(&self.service);
        let reading = site.read(&RequestHead::of_actix(&request));
        Box::pin(async move {
            let admitted = match reading {
                Ok(reading) => site.admit(reading).await,
                Err(refusal) => Err(refusal),
            };
            match admitted {
                Ok(admission) => {
                    let span = site.entered(&admission.visit, &RequestHead::of_actix(&request));
                    enter(&mut request, &site, admission);
                    let response = span.around(|| service.call(request)).await?;
                    Ok(response.map_into_left_body())
                }
                // An answer, not a failure: that would pass by the middleware around this one.
                Err(refusal) => {
                    turned_away(&refusal);
                    let response = refuse(&refusal, request.request());
                    Ok(request.into_response(response).map_into_right_body())
                }
            }
        })
    }
}

/// Gives a request what its handlers ask for.
fn enter<T: TenantModel>(request: &mut ServiceRequest, site: &Site<T>, admission: Admission<T>) {
    let Admission {
        visit,
        stripped,
        read,
    } = admission;
    if stripped > 0 {
        strip(request, stripped);
    }
    let mut extensions = request.extensions_mut();
    extensions.insert(site.public_db());
    if let Visit::Tenant(tenant) = &visit {
        extensions.insert(site.tenant_db_read_at(tenant, read));
        extensions.insert(Whose::Tenants);
    } else {
        // Another site may stand in front of this one.
        extensions.remove::<TenantDb>();
        extensions.insert(Whose::Nobodys);
    }
    extensions.insert(visit);
}

/// Takes the first `bytes` of a request's path away, unless a scope has.
fn strip(request: &mut ServiceRequest, bytes: usize) {
    let matched = request.match_info();
    if matched.unprocessed().len() < matched.as_str().len() {
        return;
    }
    let original = OriginalUri(request.uri().clone());
    let uri = without(&original, bytes);
    request.match_info_mut().set(Url::new(uri.clone()));
    request.head_mut().uri = uri;
    let mut extensions = request.extensions_mut();
    if !extensions.contains::<OriginalUri>() {
        extensions.insert(original);
    }
}

/// `uri` without the first `bytes` of its path.
fn without(uri: &Uri, bytes: usize) -> Uri {
    let rest = uri.path().get(bytes..).unwrap_or_default();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let stripped = match uri.query() {
        Some(query) => format!("{slash}{rest}?{query}"),
        None => format!("{slash}{rest}"),
    };
    let mut parts = uri.clone().into_parts();
    // A rest of what was a path and a query is one itself.
    parts.path_and_query = PathAndQuery::try_from(stripped).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

impl<T: TenantModel> Clone for SiteMiddleware<T> {
    fn clone(&self) -> Self {
        Self {
            site: self.site.clone(),
            refuse: Arc::clone(&self.refuse),
        }
    }
}

impl<T: TenantModel> fmt::Debug for SiteMiddleware<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteMiddleware")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl<S, T: TenantModel> fmt::Debug for SiteService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteService")
            .field("middleware", &self.middleware)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::Uri;

    use super::without;

    #[test]
    fn c74_actix_the_prefix_goes_and_the_query_stays() {
        for (uri, bytes, rest) in [
            ("/t/acme/rooms?floor=1", 7, "/rooms?floor=1"),
            ("/t/acme", 7, "/"),
            ("/t/acme?floor=1", 7, "/?floor=1"),
            ("/t/acme?", 7, "/?"),
            ("/t/acme/", 7, "/"),
            ("/t/acme//rooms", 7, "//rooms"),
            ("/t/acme/a%2Fb", 7, "/a%2Fb"),
            ("/t/acme", 100, "/"),
            (
                "http://my-domain.com/t/acme/rooms",
                7,
                "http://my-domain.com/rooms",
            ),
        ] {
            let taken: Uri = uri.parse().expect(uri);
            assert_eq!(without(&taken, bytes), *rest, "{uri}");
        }
    }
}
