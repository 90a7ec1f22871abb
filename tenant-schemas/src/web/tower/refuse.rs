//! How requests are answered that are refused.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::web::refusal::Refusal;

/// Answers requests that are refused: a closure, or [`PlainText`].
///
/// What it answers should say `Cache-Control: no-store`: a cache may keep a 404 that says
/// nothing of it, and the next request may be another tenant's, or this one's saved by then.
pub trait Refuse<B> {
    /// The response to a request with this head. It must not block.
    fn refuse(&self, refusal: &Refusal, request: &Parts) -> Response<B>;
}

impl<F, B> Refuse<B> for F
where
    F: Fn(&Refusal, &Parts) -> Response<B>,
{
    fn refuse(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        self(refusal, request)
    }
}

/// Answers with the refusal's status and what it displays as, and `Retry-After` where
/// trying again can help. No cache keeps it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainText;

impl<B: From<String>> Refuse<B> for PlainText {
    fn refuse(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        let text = refusal.to_string();
        let length = text.len();
        if request.method != Method::HEAD {
            return plain_text(refusal.status(), refusal.retry_after(), text);
        }
        // Servers don't take the body away for us, not all of them.
        let mut response = plain_text(refusal.status(), refusal.retry_after(), String::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

/// A response with a text in it.
pub(in crate::web) fn plain_text<B: From<String>>(
    status: u16,
    retry_after: Option<u64>,
    text: String,
) -> Response<B> {
    let mut response = Response::new(B::from(text));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
