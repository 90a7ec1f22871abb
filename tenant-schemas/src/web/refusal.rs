//! [`Refusal`]: why a request is refused, and what a stranger and the log are told of it.

use std::fmt;

#[cfg(any(feature = "actix", feature = "tower"))]
use super::observe;
use crate::error::Error;
#[cfg(any(feature = "actix", feature = "tower"))]
use crate::error::chain;
use crate::name::SchemaName;
use crate::resolve::Malformed;

/// Why a request is refused before it gets to a route.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such tenant; the status is that of [`Unknown`](super::Unknown).
    UnknownTenant {
        /// 404, or 400.
        status: u16,
    },
    /// The request can't say what it means: 400.
    Malformed(Malformed),
    /// The tenant is suspended: 403.
    Suspended {
        /// The tenant's schema.
        schema: SchemaName,
    },
    /// The tenant can't be found out at the moment: 503 if the database is busy or away, 500 otherwise.
    Unavailable(Error),
}

impl Refusal {
    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownTenant { status } => *status,
            Self::Malformed(_) => 400,
            Self::Suspended { .. } => 403,
            Self::Unavailable(error) => status_of(error),
        }
    }

    /// After how many seconds to try again, if that can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        (self.status() == 503).then_some(RETRY_AFTER)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(malformed) => Some(malformed),
            Self::Unavailable(error) => Some(error),
            Self::UnknownTenant { .. } | Self::Suspended { .. } => None,
        }
    }
}

/// Says no more than a stranger may know.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownTenant { .. } => "there is nothing at this address",
            Self::Malformed(_) => "this request does not say for whom it is",
            Self::Suspended { .. } => "this account is suspended",
            Self::Unavailable(error) => words_of(error),
        })
    }
}

/// Seconds after which it is worth trying again.
pub(super) const RETRY_AFTER: u64 = 1;

/// The status code with which a failure is answered.
pub(super) fn status_of(error: &Error) -> u16 {
    match error {
        // The tenant is not provisioned yet.
        Error::NoSuchSchema { .. } => 503,
        error if error.is_busy_or_away() => 503,
        _ => 500,
    }
}

/// What a stranger may know of a failure.
pub(super) fn words_of(error: &Error) -> &'static str {
    match status_of(error) {
        503 => "the service is busy, try again in a moment",
        _ => "something went wrong",
    }
}

/// Notes that a request was turned away.
#[cfg(any(feature = "actix", feature = "tower"))]
pub(super) fn turned_away(refusal: &Refusal) {
    observe::turned_away(refusal);
    if let Refusal::Unavailable(error) = refusal {
        log_failure(error);
    }
}

/// Tells the log what a stranger may not know.
#[cfg(any(feature = "actix", feature = "tower"))]
pub(super) fn log_failure(error: &Error) {
    if status_of(error) == 503 {
        log::warn!("a request can't be served at the moment: {}", chain(error));
    } else {
        log::error!("a request failed: {}", chain(error));
    }
}
