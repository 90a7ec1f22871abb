//! What holds for every framework, asked over HTTP.
//!
//! Each is a function over the [`Framework`](crate::world::Framework); a framework's module
//! makes tests of them by naming them in [`checks_of!`].

mod busy; // connections that are all in use, and statements counted
mod clean; // what happens to a request leaves nothing to the next one
mod hosts; // hosts, good, unknown and malformed
mod observe; // what logs and metrics say
mod tenants; // the tenant at hand, routes, paths, headers

pub(crate) use self::busy::*;
pub(crate) use self::clean::*;
pub(crate) use self::hosts::*;
pub(crate) use self::observe::*;
pub(crate) use self::tenants::*;

/// Makes a test of each check, for one framework.
macro_rules! checks_of {
    ($framework:ty: $($check:ident),* $(,)?) => {
        $(
            #[test]
            fn $check() {
                crate::checks::$check::<$framework>();
            }
        )*
    };
}
pub(crate) use checks_of;
