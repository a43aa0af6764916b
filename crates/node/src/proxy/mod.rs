//! Calls of clients about namespaces that have no replica on this node (DESIGN §6.12).
//!
//! Every node takes every call. One that it cannot serve goes on to a node that can, as it came, over the peers' port, where the
//! same services are; that node is then the lease's node. Which one can is said by the first message of the call: it names the
//! namespace. Nodes that have a replica of everything look at no message.

mod body;
#[cfg(test)]
mod fuzz;
mod place;

use crate::auth::{Caller, PASSED};
use crate::core::Core;
use crate::late::Late;
use body::Peeked;
use quorate_machine::NodeRecord;
use quorate_types::probe;
use quorate_types::{Reason, Refusal};
use quorate_wire::status_of;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::NamedService;

/// A service of this node, or of one that has what the call is about.
#[derive(Clone)]
pub(crate) struct Proxied<S> {
    inner: S,
    core: Late<Core>,
}

impl<S> Proxied<S> {
    /// Until `core` is there all calls are this node's own.
    pub(crate) fn new(inner: S, core: Late<Core>) -> Self {
        Self { inner, core }
    }
}

impl<S: NamedService> NamedService for Proxied<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Proxied<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut inner = self.inner.clone();
        match self.core.get().filter(|core| !core.has_all_groups.load(Ordering::Relaxed)) {
            None => Box::pin(inner.call(request)),
            Some(core) => {
                let core = core.clone();
                Box::pin(async move {
                    let (request, there) = direct(&core, request).await;
                    match there {
                        None => inner.call(request).await,
                        Some(there) => Ok(pass(&core, &there, request).await),
                    }
                })
            }
        }
    }
}

/// The call again, and the node that is to serve it; `None`: this one.
async fn direct(core: &Core, request: http::Request<Body>) -> (http::Request<Body>, Option<NodeRecord>) {
    let Some(named) = place::named_by(request.uri().path()) else { return (request, None) };
    let (head, body) = request.into_parts();
    let mut body = Peeked::new(body);
    let place = body.first_message().await.and_then(|message| named(&message));
    let there = place.and_then(|place| core.gateway.nearest(&place.groups(core)?));
    (http::Request::from_parts(head, Body::new(body)), there)
}

/// Has another node answer.
async fn pass(core: &Core, there: &NodeRecord, mut request: http::Request<Body>) -> http::Response<Body> {
    probe::sometimes("a call was passed on to a node with a replica");
    let unavailable = |why: String| {
        let text =
            format!("node {} has what this is about and does not answer: {why}; try again", there.node);
        status_of(&Refusal::new(Reason::Unavailable, text)).into_http()
    };
    if core.gateway.is_draining() {
        return unavailable("this one takes no calls now".to_owned());
    }
    let mut channel = match core.proxies.channel(&there.peer_address) {
        Ok(channel) => channel,
        Err(refusal) => return unavailable(refusal.to_string()),
    };
    if let Err(error) = poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await {
        return unavailable(error.to_string());
    }
    match request.extensions().get::<Caller>().and_then(Caller::passed_on) {
        Some(caller) => drop(request.headers_mut().insert(PASSED, caller)),
        None => drop(request.headers_mut().remove(PASSED)),
    }
    match GrpcService::<Body>::call(&mut channel, request).await {
        Ok(answer) => answer,
        Err(error) => unavailable(error.to_string()),
    }
}
