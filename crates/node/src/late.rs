//! Services that listen before they can serve.
//!
//! A node binds its ports at once, so that a port in use is noticed at once and peers can ask who it is; but
//! until it belongs to a cluster it has nothing to serve with. Until then a call is answered `NOT_READY`.

use quorate_types::{Reason, Refusal};
use quorate_wire::status_of;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::NamedService;

/// A gRPC service that is handed in later. Clones share it.
pub(crate) struct Late<S>(Arc<OnceLock<S>>);

impl<S> Late<S> {
    /// Not ready.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// From now on calls go to `service`. Only the first one counts.
    pub(crate) fn set(&self, service: S) {
        // A second one would be another node's: nothing sets it twice.
        drop(self.0.set(service));
    }
}

impl<S> Late<S> {
    /// What was handed in.
    #[must_use]
    pub(crate) fn get(&self) -> Option<&S> {
        self.0.get()
    }
}

impl<S> Default for Late<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Clone for Late<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: NamedService> NamedService for Late<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Late<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        match self.0.get() {
            Some(service) => Box::pin(service.clone().call(request)),
            None => {
                let text = "the node does not belong to a cluster yet: try again, or another node";
                let status = status_of(&Refusal::new(Reason::NotReady, text));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}
