//! [`SiteService`]: what a site does with a request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::enter::enter;
use super::refuse::{PlainText, Refuse};
use crate::model::TenantModel;
use crate::resolve::RequestHead;
use crate::web::observe::Spanned;
use crate::web::refusal::{Refusal, turned_away};
use crate::web::site::Site;

/// A service behind a [`Site`]; [`SiteLayer`](super::SiteLayer) makes it.
#[derive(Clone)]
pub struct SiteService<T: TenantModel, S, R = PlainText> {
    site: Site<T>,
    refuse: R,
    inner: S,
}

impl<T: TenantModel, S, R> SiteService<T, S, R> {
    pub(super) fn new(site: Site<T>, refuse: R, inner: S) -> Self {
        Self {
            site,
            refuse,
            inner,
        }
    }
}

impl<T, S, R, A, B> Service<Request<A>> for SiteService<T, S, R>
where
    T: TenantModel,
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Refuse<B> + Clone + Send + 'static,
    A: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = SiteFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let reading = match self.site.read(&RequestHead::of(&parts)) {
            Ok(reading) => reading,
            Err(refusal) => {
                let response = refused(&self.refuse, &refusal, &parts);
                return SiteFuture::new(State::Refused {
                    response: Some(response),
                });
            }
        };
        match reading.done() {
            // Most requests: nobody has to be asked, and nothing is put on the heap for it.
            Ok(admission) => {
                let span = enter(&self.site, admission, &mut parts);
                let future = span.around(|| self.inner.call(Request::from_parts(parts, body)));
                SiteFuture::new(State::Inner { future })
            }
            Err(reading) => {
                // The one that is ready goes along, a clone of it stays.
                let clone = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, clone);
                let (site, refuse) = (self.site.clone(), self.refuse.clone());
                let future = Box::pin(async move {
                    match site.admit(reading).await {
                        Ok(admission) => {
                            let span = enter(&site, admission, &mut parts);
                            let rest = || inner.call(Request::from_parts(parts, body));
                            span.around(rest).await
                        }
                        Err(refusal) => Ok(refused(&refuse, &refusal, &parts)),
                    }
                });
                SiteFuture::new(State::LookingUp { future })
            }
        }
    }
}

fn refused<B>(
    refuse: &impl Refuse<B>,
    refusal: &Refusal,
    request: &http::request::Parts,
) -> Response<B> {
    turned_away(refusal);
    refuse.refuse(refusal, request)
}

pin_project! {
    /// The response of a [`SiteService`].
    pub struct SiteFuture<F, B, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

type LookingUp<B, E> = Pin<Box<dyn Future<Output = Result<Response<B>, E>> + Send>>;

pin_project! {
    #[project = Projected]
    enum State<F, B, E> {
        Inner {
            #[pin]
            future: Spanned<F>,
        },
        Refused {
            response: Option<Response<B>>,
        },
        LookingUp {
            future: LookingUp<B, E>,
        },
    }
}

impl<F, B, E> SiteFuture<F, B, E> {
    fn new(state: State<F, B, E>) -> Self {
        Self { state }
    }
}

impl<F, B, E> Future for SiteFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Inner { future } => future.poll(cx),
            Projected::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after it was ready")))
            }
            Projected::LookingUp { future } => future.as_mut().poll(cx),
        }
    }
}

impl<F, B, E> fmt::Debug for SiteFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteFuture").finish_non_exhaustive()
    }
}

impl<T: TenantModel, S: fmt::Debug, R> fmt::Debug for SiteService<T, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteService")
            .field("site", &self.site)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
