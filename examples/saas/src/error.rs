//! [`PageError`]: why a page can't be shown, as a page.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use tenant_schemas::auth::AuthError;
use tenant_schemas::jobs::JobError;
use tenant_schemas::session::SessionError;
use tenant_schemas::{BoxError, Error};

use crate::pages;

/// Why a page can't be shown.
#[derive(Debug)]
pub(crate) enum PageError {
    /// There is no such page, or no such row: 404.
    NotFound,
    /// The request comes from another site's page, or from someone who may not: 403.
    Forbidden,
    /// Nobody is logged in: the way to the form.
    LoginNeeded,
    /// The hotel has no tables yet: 503.
    NotReady,
    /// All connections are in use, or the database is away: 503.
    Busy,
    /// Anything else: 500. The log says what, the page does not.
    Failed(BoxError),
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchSchema { .. } => Self::NotReady,
            Error::Busy { .. } | Error::Pool(_) | Error::Connect(_) => Self::Busy,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<diesel::result::Error> for PageError {
    fn from(error: diesel::result::Error) -> Self {
        match error {
            diesel::result::Error::NotFound => Self::NotFound,
            // One of the library's may travel inside: it says which.
            error => Error::from(error).into(),
        }
    }
}

impl From<AuthError> for PageError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Tenancy(error) => error.into(),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<JobError> for PageError {
    fn from(error: JobError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SessionError> for PageError {
    fn from(error: SessionError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<minijinja::Error> for PageError {
    fn from(error: minijinja::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<getrandom::Error> for PageError {
    fn from(error: getrandom::Error) -> Self {
        Self::Failed(error.to_string().into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::LoginNeeded => return Redirect::to("/login").into_response(),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "No such room",
                "There is no page at this address. It may have checked out.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "Staff only",
                "This request did not come from where it should have.",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Almost open",
                "This hotel is being set up. Give it a moment.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "All hands are busy",
                "Too many guests at once. Please try again in a moment.",
            ),
            Self::Failed(error) => {
                log::error!("a page failed: {}", with_causes(&*error));
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something broke",
                    "It is our fault, and it is in our log.",
                )
            }
        };
        let mut response = pages::message(status, title, text, "/", "Back to the lobby");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse as _;
    use tenant_schemas::Error;

    use super::PageError;

    #[test]
    fn a_busy_database_is_answered_with_when_to_try_again() {
        let response = PageError::from(Error::Pool("all are in use".to_owned())).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let response = PageError::Failed("a mistake".into()).into_response();
        assert_eq!(response.status(), 500);
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }
}
