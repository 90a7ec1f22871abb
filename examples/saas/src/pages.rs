//! Templates become pages. All of them are in the program.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::error::PageError;

/// What a template is given: `view! { rooms, today => date.to_string(), ..more }`.
macro_rules! view {
    ($($name:ident $(=> $value:expr)?),* $(, ..$more:expr)? $(,)?) => {
        minijinja::value::merge_maps([
            minijinja::Value::from_pairs([$((stringify!($name), $crate::pages::view!(@value $name $($value)?))),*]),
            $($more)?
        ])
    };
    (@value $name:ident) => { minijinja::Value::from(minijinja::value::Serde(&$name)) };
    (@value $name:ident $value:expr) => { minijinja::Value::from(minijinja::value::Serde(&$value)) };
}

pub(crate) use view;

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../templates/", $name)))),+]
    };
}

const TEMPLATES: &[(&str, &str)] = &templates![
    "base.html",
    "booked.html",
    "console.html",
    "console_login.html",
    "desk.html",
    "fields.html",
    "hotel.html",
    "hotel_base.html",
    "landing.html",
    "login.html",
    "message.html",
    "progress.html",
    "settings.html",
    "signup.html",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    // What is misspelt fails, what is missing may be asked for.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.add_filter("bytes", bytes);
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the templates in the program are well formed");
    }
    environment
});

/// A page made of a template.
///
/// # Errors
///
/// [`PageError::Failed`] if the template needs what the context does not have.
pub(crate) fn page(template: &str, context: Value) -> Result<Html<String>, PageError> {
    let template = ENVIRONMENT.get_template(template)?;
    Ok(Html(template.render(context)?))
}

/// A page that says one thing, and leads back.
#[must_use]
pub(crate) fn message(
    status: StatusCode,
    title: &str,
    text: &str,
    href: &str,
    link: &str,
) -> Response {
    let code = status.as_u16();
    match page("message.html", view! { code, title, text, href, link }) {
        Ok(html) => (status, html).into_response(),
        // There is no page left to say it with.
        Err(_) => (status, text.to_owned()).into_response(),
    }
}

/// `482 kB` out of 493568, and `1.4 MB` out of 1468006.
fn bytes(count: i64) -> String {
    let kib = count / 1024;
    if kib < 1000 {
        format!("{kib} kB")
    } else {
        format!("{}.{} MB", kib / 1024, kib % 1024 * 10 / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::{ENVIRONMENT, TEMPLATES};

    #[test]
    fn every_template_is_well_formed() {
        for (name, _) in TEMPLATES {
            assert!(ENVIRONMENT.get_template(name).is_ok(), "{name}");
        }
    }
}
