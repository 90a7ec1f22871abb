//! Refusals and failures as answers.

use std::any::type_name;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};

use crate::error::Error;
use crate::web::refusal::{RETRY_AFTER as SECONDS, Refusal, log_failure, status_of, words_of};

/// Plain text with the refusal's status, and `Retry-After` where trying again can help. No
/// cache keeps it.
impl From<&Refusal> for HttpResponse {
    fn from(refusal: &Refusal) -> Self {
        answer(refusal.status(), refusal.retry_after(), refusal.to_string())
    }
}

/// What a stranger may know of a failure: 503 with `Retry-After` if the database is
/// busy or away, or the tenant has no schema yet; 500 otherwise. The log has the rest.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        code(status_of(self))
    }

    fn error_response(&self) -> HttpResponse {
        log_failure(self);
        let status = status_of(self);
        answer(
            status,
            (status == 503).then_some(SECONDS),
            words_of(self).to_owned(),
        )
    }
}

/// Why an argument of a handler can't be had, as a stranger may know it.
#[derive(Debug)]
pub(super) enum Missing {
    /// The request is nobody's.
    Tenant,
    /// No site left it with the request.
    Site,
}

impl Missing {
    /// No site left a `V` with the request. The log says so, whether the handler can do without or not.
    pub(super) fn site<V>() -> Self {
        log::error!(
            "a handler asks for `{}`, which no site left with the request: \
             give `Site::middleware` of the same tenant model to `App::wrap`",
            type_name::<V>()
        );
        Self::Site
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tenant => "there is nothing at this address",
            Self::Site => "something went wrong",
        })
    }
}

impl ResponseError for Missing {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Tenant => StatusCode::NOT_FOUND,
            Self::Site => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        answer(self.status_code().as_u16(), None, self.to_string())
    }
}

fn answer(status: u16, retry_after: Option<u64>, text: String) -> HttpResponse {
    let mut response = HttpResponse::build(code(status));
    response.content_type(ContentType::plaintext());
    response.insert_header((CACHE_CONTROL, "no-store"));
    if let Some(seconds) = retry_after {
        response.insert_header((RETRY_AFTER, seconds));
    }
    response.body(text)
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
