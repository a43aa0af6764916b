//! A connection to a node, with who uses it.

use crate::credentials::Credentials;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport;

/// A channel on which every call says who makes it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Channel {
    inner: transport::Channel,
    credentials: Option<Credentials>,
}

impl Channel {
    pub(crate) fn new(inner: transport::Channel, credentials: Option<Credentials>) -> Self {
        Self { inner, credentials }
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = <transport::Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(credentials) = &self.credentials {
            request.headers_mut().insert(http::header::AUTHORIZATION, credentials.header());
        }
        self.inner.call(request)
    }
}
