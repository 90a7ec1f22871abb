//! What holds for every framework, asked over HTTP.
//!
//! Each is a function over the [`Framework`]; a framework's module makes tests of them by
//! naming them in [`checks_of!`].

use crate::world::{Framework, World};

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

pub(crate) fn c76_the_tenant_is_at_hand_and_the_connection_is_scoped<F: Framework>() {
    let world = World::new();
    let served = F::serve(world.site().build());
    served
        .get("acme.my-domain.com", "/whoami?a=1")
        .is(200, "tenant acme /whoami?a=1");
    served
        .get("globex.my-domain.com", "/whoami")
        .is(200, "tenant globex /whoami");
    // The same key is in both, so each is there to be leaked.
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
    served
        .get("globex.my-domain.com", "/rooms")
        .is(200, "globex's own");
    world.pool_is_clean();
}
