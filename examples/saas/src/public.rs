//! The public site.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use diesel::prelude::*;
use serde::Serialize;
use tenant_schemas::web::{PublicDb, Refusal};

use crate::error::PageError;
use crate::models::Hotel;
use crate::pages::{self, view};
use crate::schema::hotels;
use crate::state::{Address, App};
use crate::theme::{self, Theme};
use crate::{console, signup};

/// As many hotels are shown on the first page.
const SHOWN: i64 = 9;

/// The routes of the public site, and of files that are the same for all.
pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/", get(landing))
        .merge(signup::routes())
        .merge(console::routes())
        .nest("/static", files())
        .fallback(async || PageError::NotFound)
        .with_state(app)
}

/// Paths below this one have no tenant: every hotel loads its styles from there.
pub(crate) const STATIC: &str = "/static";

fn files() -> Router<App> {
    let file = |content_type: &'static str, text: &'static str| {
        let headers = [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "max-age=3600"),
        ];
        get(async move || (headers, text).into_response())
    };
    Router::new()
        .route(
            "/app.css",
            file("text/css", include_str!("../static/app.css")),
        )
        .route(
            "/live.js",
            file("text/javascript", include_str!("../static/live.js")),
        )
        .route(
            "/icon.svg",
            file("image/svg+xml", include_str!("../static/icon.svg")),
        )
        .route(
            "/street.svg",
            file("image/svg+xml", include_str!("../static/street.svg")),
        )
}

/// A hotel as pages show it.
#[derive(Debug, Serialize)]
pub(crate) struct Sign {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) url: String,
    pub(crate) theme: Theme,
    pub(crate) suspended: bool,
}

impl Sign {
    pub(crate) fn of(hotel: &Hotel, address: &Address) -> Self {
        Self {
            name: hotel.name.clone(),
            host: hotel.domain_url.clone(),
            url: address.of(hotel),
            theme: theme::of(&hotel.theme),
            suspended: hotel.suspended,
        }
    }
}

async fn landing(State(app): State<App>, db: PublicDb) -> Result<Html<String>, PageError> {
    let (newest, count) = db
        .run(|conn| {
            let newest = hotels::table
                .filter(hotels::suspended.eq(false))
                .order(hotels::id.desc())
                .limit(SHOWN)
                .select(Hotel::as_select())
                .load(conn)?;
            let count: i64 = hotels::table.count().get_result(conn)?;
            Ok::<_, PageError>((newest, count))
        })
        .await?;
    let signs: Vec<Sign> = newest
        .iter()
        .map(|hotel| Sign::of(hotel, &app.address))
        .collect();
    let domain = &app.address.domain;
    pages::page("landing.html", view! { signs, count, domain })
}

/// What stands where no hotel does: the site's refusals as pages.
pub(crate) fn refusal(refusal: &Refusal, home: &str) -> Response {
    let (title, text) = match refusal {
        Refusal::UnknownTenant { .. } => (
            "No hotel lives here",
            "Nobody has opened a hotel at this address yet. You could be the first.",
        ),
        Refusal::Suspended { .. } => (
            "Closed for now",
            "This hotel is closed at the moment. Its bookings and its rooms are kept.",
        ),
        Refusal::Malformed(_) => (
            "We did not catch that",
            "This request does not say which hotel it is for.",
        ),
        _ => (
            "All hands are busy",
            "We can't open the door at the moment. Please try again shortly.",
        ),
    };
    let status = StatusCode::from_u16(refusal.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = pages::message(status, title, text, home, "To all hotels");
    let headers = response.headers_mut();
    // The hotel may have its address a moment later.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
    use tenant_schemas::Error;
    use tenant_schemas::web::Refusal;

    #[test]
    fn a_refusal_is_a_page_that_says_when_to_try_again() {
        let busy = Refusal::Unavailable(Error::Pool("all are in use".to_owned()));
        let response = super::refusal(&busy, "http://localhost/");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
