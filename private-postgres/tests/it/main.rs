//! Real servers, and the many ways in which their parents end.

mod binaries;
mod kept;
mod lifetime;
mod serving;
mod shared;
mod support;
mod users;
