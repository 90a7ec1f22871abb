//! [`Theme`]: the colours that a hotel can choose from.

use serde::Serialize;

/// Colours that go together, with text that can be read on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Theme {
    /// As it is stored.
    pub(crate) name: &'static str,
    /// Of signs and buttons.
    pub(crate) brand: &'static str,
    /// Of what stands out in front of the brand.
    pub(crate) accent: &'static str,
}

/// Those that there are; the first is the default. White text can be read on every brand colour.
pub(crate) const THEMES: [Theme; 8] = [
    theme("pine", "#1f5f4f", "#f2c879"),
    theme("ocean", "#1d5a86", "#ffd39a"),
    theme("plum", "#6b2f5c", "#f5c6d0"),
    theme("terracotta", "#a3452c", "#ffe0b8"),
    theme("midnight", "#27305e", "#c9d4ff"),
    theme("olive", "#5b6127", "#f4e7a1"),
    theme("cherry", "#9c2743", "#ffd5cf"),
    theme("slate", "#3d4a57", "#cfe3e8"),
];

const fn theme(name: &'static str, brand: &'static str, accent: &'static str) -> Theme {
    Theme {
        name,
        brand,
        accent,
    }
}

/// The theme of this name, if there is one.
#[must_use]
pub(crate) fn find(name: &str) -> Option<Theme> {
    THEMES.into_iter().find(|theme| theme.name == name)
}

/// The theme of this name, or the first.
#[must_use]
pub(crate) fn of(name: &str) -> Theme {
    find(name).unwrap_or(THEMES[0])
}
