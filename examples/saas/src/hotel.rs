//! The site of a hotel. Nothing here names a schema: the connection is the hotel's.

mod desk;
mod front;
mod login;
pub(crate) mod logo;
mod settings;
mod wish;

use axum::Router;
use minijinja::Value;

use crate::error::PageError;
use crate::models::Hotel;
use crate::pages::view;
use crate::public::Sign;
use crate::session::Staff;
use crate::state::App;

/// The routes of a hotel.
pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .merge(front::routes())
        .merge(login::routes())
        .merge(desk::routes())
        .merge(settings::routes())
        .merge(logo::routes())
        .fallback(async || PageError::NotFound)
        .with_state(app)
}

/// What every page of a hotel shows.
fn chrome(app: &App, hotel: &Hotel, staff: Option<&Staff>) -> Value {
    let hotel = Sign::of(hotel, &app.address);
    let home = app.address.home();
    let staff = staff.map(|staff| staff.0.username.clone());
    view! { hotel, home, staff }
}
