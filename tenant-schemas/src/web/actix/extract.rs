//! What handlers of actix-web take as arguments.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::Uri;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest};

use super::respond::Missing;
use crate::model::TenantModel;
use crate::web::site::Visit;
use crate::web::tenant::Tenant;
use crate::web::{PublicDb, TenantDb};

/// Whose a request is.
///
/// # Errors
///
/// 500 if no [`Site`](crate::web::Site) of this tenant model stands in front.
impl<T: TenantModel> FromRequest for Visit<T> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(left_by_site(request))
    }
}

/// The request's tenant.
///
/// # Errors
///
/// 404 if the request is nobody's, 500 if no [`Site`](crate::web::Site) of this tenant
/// model stands in front.
impl<T: TenantModel> FromRequest for Tenant<T> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match left_by_site::<Visit<T>>(request) {
            Ok(Visit::Tenant(tenant)) => Ok(Self(tenant)),
            Ok(_) => Err(Missing::Tenant.into()),
            Err(error) => Err(error),
        })
    }
}

/// The database as the request's tenant sees it.
///
/// # Errors
///
/// 404 if the request is nobody's, 500 if no [`Site`](crate::web::Site) stands in front.
impl FromRequest for TenantDb {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<Self>().cloned();
        ready(match found {
            Some(db) => Ok(db),
            // Whatever is not a tenant's has this one.
            None => left_by_site::<PublicDb>(request).and_then(|_| Err(Missing::Tenant.into())),
        })
    }
}

/// What all tenants share.
///
/// # Errors
///
/// 500 if no [`Site`](crate::web::Site) stands in front.
impl FromRequest for PublicDb {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(left_by_site(request))
    }
}

fn left_by_site<V: Clone + 'static>(request: &HttpRequest) -> Result<V, Error> {
    let found = request.extensions().get::<V>().cloned();
    found.ok_or_else(|| Missing::site::<V>().into())
}

/// The URI of a request as the client sent it, with what a resolver took away from its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalUri(pub Uri);

impl Deref for OriginalUri {
    type Target = Uri;

    fn deref(&self) -> &Uri {
        &self.0
    }
}

impl FromRequest for OriginalUri {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<Self>().cloned();
        ready(Ok(found.unwrap_or_else(|| Self(request.uri().clone()))))
    }
}
