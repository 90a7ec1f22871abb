//! What traces and metrics are told of requests (features `tracing` and `metrics`).
//!
//! Each function has a twin that does nothing, so that nobody else has to know
//! whether the features are on.

use std::time::Duration;

use super::refusal::Refusal;
use super::site::Visit;
use crate::error::Error;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::resolve::RequestHead;

#[cfg(not(feature = "tracing"))]
use self::no_spans as spans_or_none;
#[cfg(feature = "tracing")]
use self::spans as spans_or_none;

pub(super) use self::spans_or_none::RequestSpan;
#[cfg(feature = "tower")]
pub(super) use self::spans_or_none::Spanned;
pub(super) use self::spans_or_none::here;

#[cfg(feature = "tracing")]
mod spans {
    use std::borrow::Cow;

    use tracing::instrument::{Instrument as _, Instrumented};
    use tracing::{Span, info_span};

    use super::{RequestHead, SchemaName, TenantModel, Visit};

    /// A future that runs in the span of its tenant.
    pub(in crate::web) type Spanned<F> = Instrumented<F>;

    /// The span of whose a request is.
    pub(in crate::web) struct RequestSpan(Span);

    impl RequestSpan {
        pub(in crate::web) fn new<T: TenantModel>(
            visit: &Visit<T>,
            public: &SchemaName,
            head: &RequestHead<'_>,
        ) -> Self {
            let (schema, tenant) = match visit {
                Visit::Tenant(tenant) => (tenant.schema_name(), Some(&**tenant)),
                Visit::Public(tenant) => (public, tenant.as_deref()),
                Visit::Bypassed => return Self(Span::none()),
            };
            let own = tenant.and_then(TenantModel::domain_url).map(Cow::Borrowed);
            // If its domains are in a table of their own: the one that was asked for.
            let domain = own.or_else(|| head.host().ok());
            Self(info_span!("tenant", %schema, domain = domain.as_deref()))
        }

        /// Makes the rest of the request, and has it run, in the span.
        pub(in crate::web) fn around<F: Future>(self, rest: impl FnOnce() -> F) -> Spanned<F> {
            let future = self.0.in_scope(rest);
            future.instrument(self.0)
        }
    }

    /// The span of the caller, for a thread that goes on with its work.
    pub(in crate::web) fn here(schema: &SchemaName) -> impl FnOnce() -> Guard + Send + 'static {
        let span = match Span::current() {
            // Work that left the request behind is its tenant's all the same.
            span if span.is_none() => info_span!("tenant", %schema),
            span => span,
        };
        move || Guard {
            _entered: span.entered(),
        }
    }

    /// As long as it is there, the thread is in the span.
    pub(in crate::web) struct Guard {
        _entered: tracing::span::EnteredSpan,
    }
}

#[cfg(not(feature = "tracing"))]
mod no_spans {
    use super::{RequestHead, SchemaName, TenantModel, Visit};

    #[cfg(feature = "tower")]
    pub(in crate::web) type Spanned<F> = F;

    pub(in crate::web) struct RequestSpan(());

    impl RequestSpan {
        pub(in crate::web) fn new<T: TenantModel>(
            _: &Visit<T>,
            _: &SchemaName,
            _: &RequestHead<'_>,
        ) -> Self {
            Self(())
        }

        pub(in crate::web) fn around<F: Future>(self, rest: impl FnOnce() -> F) -> F {
            let Self(()) = self;
            rest()
        }
    }

    pub(in crate::web) fn here(_: &SchemaName) -> impl FnOnce() -> Guard + Send + 'static {
        || Guard
    }

    pub(in crate::web) struct Guard;
}

/// A request was let in.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "for metrics")
)]
pub(super) fn let_in<T: TenantModel>(visit: &Visit<T>, group: Option<&'static str>) {
    #[cfg(feature = "metrics")]
    {
        let outcome = match visit {
            Visit::Tenant(_) => "tenant",
            Visit::Public(_) => "public",
            Visit::Bypassed => "bypassed",
        };
        count(outcome, group);
    }
}

/// A request was turned away.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "for metrics")
)]
pub(super) fn turned_away(refusal: &Refusal) {
    #[cfg(feature = "metrics")]
    count(
        match refusal {
            Refusal::UnknownTenant { .. } => "unknown",
            Refusal::Malformed(_) => "malformed",
            Refusal::Suspended { .. } => "suspended",
            Refusal::Unavailable(_) => "unavailable",
        },
        None,
    );
}

#[cfg(feature = "metrics")]
fn count(outcome: &'static str, group: Option<&'static str>) {
    let group = group.unwrap_or("");
    metrics::counter!("tenant_requests_total", "outcome" => outcome, "group" => group).increment(1);
}

/// A request waited for a connection.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "for metrics")
)]
pub(super) fn waited(time: Duration, refused: Option<&Error>) {
    #[cfg(feature = "metrics")]
    {
        let outcome = match refused {
            None => "taken",
            Some(Error::Busy { .. } | Error::Pool(_)) => "busy",
            Some(_) => "failed",
        };
        metrics::histogram!("tenant_connection_wait_seconds", "outcome" => outcome)
            .record(time.as_secs_f64());
    }
}
