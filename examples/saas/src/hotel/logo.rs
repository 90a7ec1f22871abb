//! The logo of a hotel: a row in its own schema, which no other hotel's connection can see.
//!
//! Large files belong into a store of objects, under a prefix for each hotel; then this
//! module is the only one to change.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use diesel::prelude::*;
use diesel::upsert::excluded;
use tenant_schemas::TenantConnection;
use tenant_schemas::web::{Tenant, TenantDb};

use crate::error::PageError;
use crate::models::Hotel;
use crate::schema::logos;
use crate::state::App;
use crate::theme;

/// Larger files are refused.
pub(super) const MAX_BYTES: usize = 256 * 1024;

pub(super) const TOO_LARGE: &str = "The file is too large: at most 256 kB, please.";

/// An image of a kind that we know.
#[derive(Debug, Queryable)]
pub(super) struct Logo {
    content_type: String,
    bytes: Vec<u8>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/logo", get(logo))
}

/// Looks into the file: what a browser says about it may be wrong, and an SVG may run scripts.
pub(super) fn check(bytes: &[u8]) -> Result<Logo, &'static str> {
    let content_type = match bytes {
        [] => return Err("Choose a file first."),
        _ if bytes.len() > MAX_BYTES => return Err(TOO_LARGE),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "image/webp",
        _ => return Err("This is no PNG, JPEG or WebP image."),
    };
    Ok(Logo {
        content_type: content_type.to_owned(),
        bytes: bytes.to_owned(),
    })
}

pub(super) fn store(conn: &mut TenantConnection, logo: &Logo) -> Result<(), PageError> {
    diesel::insert_into(logos::table)
        .values((
            logos::id.eq(1),
            logos::content_type.eq(&logo.content_type),
            logos::bytes.eq(&logo.bytes),
        ))
        .on_conflict(logos::id)
        .do_update()
        .set((
            logos::content_type.eq(excluded(logos::content_type)),
            logos::bytes.eq(excluded(logos::bytes)),
        ))
        .execute(conn)?;
    Ok(())
}

/// The logo; the first letter of the hotel's name until there is one.
async fn logo(hotel: Tenant<Hotel>, db: TenantDb) -> Result<Response, PageError> {
    let logo: Option<Logo> = db
        .run(|conn| {
            let logo = logos::table.select((logos::content_type, logos::bytes));
            Ok::<_, PageError>(logo.first(conn).optional()?)
        })
        .await?;
    let logo = logo.unwrap_or_else(|| Logo {
        content_type: "image/svg+xml".to_owned(),
        bytes: monogram(&hotel).into_bytes(),
    });
    let headers = [
        (CONTENT_TYPE, logo.content_type),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    Ok((headers, logo.bytes).into_response())
}

fn monogram(hotel: &Hotel) -> String {
    let letter = hotel.name.chars().find(|c| c.is_alphanumeric());
    let letter: String = letter.unwrap_or('H').to_uppercase().collect();
    let theme = theme::of(&hotel.theme);
    let (brand, accent) = (theme.brand, theme.accent);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 64 64'>\
         <rect width='64' height='64' rx='16' fill='{brand}'/>\
         <text x='32' y='44' font-family='Georgia, serif' font-size='36' font-weight='700' \
         text-anchor='middle' fill='{accent}'>{letter}</text></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, check};

    #[test]
    fn a_logo_is_a_small_image_of_a_kind_that_runs_no_scripts() {
        let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 100]].concat();
        assert!(check(&png).is_ok_and(|logo| logo.content_type == "image/png"));
        assert!(check(b"RIFF\0\0\0\0WEBP").is_ok());
        for refused in [
            b"".as_slice(),
            b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
            b"<html>",
            &[png.as_slice(), &vec![0; MAX_BYTES]].concat(),
        ] {
            assert!(check(refused).is_err());
        }
    }
}
