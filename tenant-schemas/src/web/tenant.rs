//! [`Tenant`]: the row of a request's tenant, as an argument of a handler.

use std::ops::Deref;
use std::sync::Arc;

/// The tenant of a request, as the directory knows it.
///
/// A handler that takes it is one for tenants: a request that is nobody's is
/// answered with 404.
#[derive(Debug)]
pub struct Tenant<T>(pub Arc<T>);

impl<T> Deref for Tenant<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Tenant<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
