//! actix-web: the checks of every framework, and what is its own.

mod serve;

use crate::checks::checks_of;
use serve::Actix;

checks_of!(Actix:
    c76_the_tenant_is_at_hand_and_the_connection_is_scoped,
);
