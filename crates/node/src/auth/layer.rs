//! Finds out who asks, before any service sees the call.

use super::access::Access;
use super::caller::Caller;
use super::passed::PASSED;
use quorate_wire::{ConnectionInfo, status_of};
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tower::Layer;

/// What anybody may ask who gets a connection: whether the node serves, and what its interface is. Neither is a secret, and
/// whoever looks after processes has no credentials.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

/// Puts a [`Caller`] into the extensions of each call.
#[derive(Clone)]
pub(crate) struct AuthLayer {
    /// `None`: nobody needs to say who they are.
    access: Option<Access>,
    /// Whether it is the port of the other nodes.
    peers: bool,
}

impl AuthLayer {
    pub(crate) fn new(access: Option<Access>) -> Self {
        Self { access, peers: false }
    }

    /// For the port of the other nodes: what one of them asks by itself it may, and what clients asked it is asked by these.
    pub(crate) fn of_peers(access: Option<Access>) -> Self {
        Self { access, peers: true }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { access: self.access.clone(), peers: self.peers, inner }
    }
}

/// A service behind it.
#[derive(Clone)]
pub(crate) struct Authenticated<S> {
    access: Option<Access>,
    peers: bool,
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Authenticated<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        let Some(access) = self.access.clone().filter(|_| !OPEN.iter().any(|open| path.starts_with(open)))
        else {
            request.extensions_mut().insert(Caller::Open);
            return Box::pin(self.inner.call(request));
        };
        if self.peers {
            let passed = request.headers_mut().remove(PASSED);
            let caller = passed.map_or(Caller::Open, |header| access.passed(header.as_bytes()));
            request.extensions_mut().insert(caller);
            return Box::pin(self.inner.call(request));
        }
        // The one that was ready serves this call; its copy gets ready for the next.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let authorization = request.headers_mut().remove(AUTHORIZATION);
            let connection = request.extensions().get::<ConnectionInfo>().cloned();
            let authorization = authorization.as_ref().map(|value| value.as_bytes());
            match access.authenticate(authorization, connection.as_ref()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(refusal) => Ok(status_of(&refusal).into_http()),
            }
        })
    }
}
