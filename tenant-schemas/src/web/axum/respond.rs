//! Refusals and failures as responses of axum.

use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::web::refusal::{RETRY_AFTER, Refusal, log_failure, status_of, words_of};
use crate::web::tower::refuse::plain_text;

/// What a stranger may know of a failure: 503 with `Retry-After` if the database is
/// busy or away, or the tenant has no schema yet; 500 otherwise. The log has the rest.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        log_failure(&self);
        let status = status_of(&self);
        let retry_after = (status == 503).then_some(RETRY_AFTER);
        plain_text(status, retry_after, words_of(&self).to_owned())
    }
}

/// Plain text with the refusal's status, and `Retry-After` where trying again can help. No
/// cache keeps it.
impl IntoResponse for &Refusal {
    fn into_response(self) -> Response {
        plain_text(self.status(), self.retry_after(), self.to_string())
    }
}
