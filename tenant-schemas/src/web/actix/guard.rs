//! Guards for the routes of tenants, and for those of what they share.

use actix_web::guard::{Guard, GuardContext};

use super::Whose;

/// Lets requests through that are nobody's: for what all tenants share, or on a path that
/// [bypasses](crate::web::SiteBuilder::bypass) the site.
#[must_use]
pub fn public_only() -> SiteGuard {
    SiteGuard(Whose::Nobodys)
}

/// Lets requests of tenants through.
#[must_use]
pub fn tenants_only() -> SiteGuard {
    SiteGuard(Whose::Tenants)
}

/// [`public_only`], or [`tenants_only`].
///
/// It lets nothing through, and says so in the log, where no
/// [`Site::middleware`](crate::web::Site::middleware) stands in front of it.
#[derive(Debug, Clone, Copy)]
pub struct SiteGuard(Whose);

impl Guard for SiteGuard {
    fn check(&self, context: &GuardContext<'_>) -> bool {
        let extensions = context.req_data();
        let Some(whose) = extensions.get::<Whose>() else {
            log::error!(
                "a guard for tenants or the public lets nothing through: no site stands in front of it, \
                 give `site.middleware()` to `App::wrap`"
            );
            return false;
        };
        *whose == self.0
    }
}
