//! Axum: the checks of every framework, and what is its own.
