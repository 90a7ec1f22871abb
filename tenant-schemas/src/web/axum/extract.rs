//! What handlers of axum take as arguments.

use std::any::type_name;
use std::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::model::TenantModel;
use crate::web::site::Visit;
use crate::web::tower::refuse::plain_text;
use crate::web::{PublicDb, Tenant, TenantDb};

/// Why an argument of a handler can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SiteRejection {
    /// The request is no tenant's: 404.
    NoTenant,
    /// No site stands in front of the route, or one with another tenant model: 500.
    NoSite {
        /// The type that was looked for.
        missing: &'static str,
    },
}

impl SiteRejection {
    fn no_site<X>() -> Self {
        Self::NoSite {
            missing: type_name::<X>(),
        }
    }

    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoTenant => 404,
            Self::NoSite { .. } => 500,
        }
    }
}

impl std::error::Error for SiteRejection {}

impl fmt::Display for SiteRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTenant => f.write_str("there is nothing at this address"),
            Self::NoSite { missing } => write!(
                f,
                "this route has no `{missing}`: give its router to `Site::routes`, \
                 or put `Site::layer` of the same tenant model in front of it"
            ),
        }
    }
}

/// Says what is to be done where no site stands in front: that is the program's mistake,
/// and seen the first time that the route is tried.
impl IntoResponse for SiteRejection {
    fn into_response(self) -> Response {
        if let Self::NoSite { .. } = self {
            log::error!("{self}");
        }
        plain_text(self.status(), None, self.to_string())
    }
}

/// Whose a request is.
impl<T: TenantModel, S: Send + Sync> FromRequestParts<S> for Visit<T> {
    type Rejection = SiteRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SiteRejection> {
        let visit = parts.extensions.get::<Self>();
        visit.cloned().ok_or_else(SiteRejection::no_site::<Self>)
    }
}

/// The request's tenant. Other requests are answered with 404.
impl<T: TenantModel, S: Send + Sync> FromRequestParts<S> for Tenant<T> {
    type Rejection = SiteRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SiteRejection> {
        let tenant: Option<Self> = Option::from_request_parts(parts, state).await?;
        tenant.ok_or(SiteRejection::NoTenant)
    }
}

/// The request's tenant, if it has one.
impl<T: TenantModel, S: Send + Sync> OptionalFromRequestParts<S> for Tenant<T> {
    type Rejection = SiteRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, SiteRejection> {
        Ok(match Visit::from_request_parts(parts, state).await? {
            Visit::Tenant(tenant) => Some(Self(tenant)),
            Visit::Public(_) | Visit::Bypassed => None,
        })
    }
}

/// The database as the request's tenant sees it. Other requests are answered with 404.
impl<S: Send + Sync> FromRequestParts<S> for TenantDb {
    type Rejection = SiteRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SiteRejection> {
        let db: Option<Self> = Option::from_request_parts(parts, state).await?;
        db.ok_or(SiteRejection::NoTenant)
    }
}

/// The database as the request's tenant sees it, if it has one.
impl<S: Send + Sync> OptionalFromRequestParts<S> for TenantDb {
    type Rejection = SiteRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, SiteRejection> {
        // Every request that came through a site has the one of what is shared.
        match parts.extensions.get::<PublicDb>() {
            Some(_) => Ok(parts.extensions.get::<Self>().cloned()),
            None => Err(SiteRejection::no_site::<Self>()),
        }
    }
}

/// What all tenants share.
impl<S: Send + Sync> FromRequestParts<S> for PublicDb {
    type Rejection = SiteRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SiteRejection> {
        let db = parts.extensions.get::<Self>();
        db.cloned().ok_or_else(SiteRejection::no_site::<Self>)
    }
}
