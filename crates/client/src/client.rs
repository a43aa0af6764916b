//! The client itself: nodes, options, and calls with retry.

use crate::backoff::Backoff;
use crate::changes::Changes;
use crate::channel::Channel;
use crate::consumer::{self, Consumer};
use crate::error::{CallError, ConnectError, ConsumeError};
use crate::layout::Layout;
use crate::nodes::{Nodes, Route};
use crate::options::{ClientOptions, ConsumerOptions, PublisherOptions};
use crate::publisher::{self, Publisher};
use crate::pulse::Pulse;
use crate::requester::Requester;
use bytes::Bytes;
use quorate_types::{Kind, Reason, Refusal};
use quorate_wire::{leader_of, refusal_of};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status};

/// A handle to a cluster. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) options: Arc<ClientOptions>,
    pub(crate) changes: Arc<Changes>,
    /// Begins with the first request.
    pub(crate) requester: Arc<OnceLock<Requester>>,
    /// The shard that it is for; `None`: for whatever shards there are.
    pub(crate) shard: Option<u32>,
    pub(crate) layout: Arc<Layout>,
    /// Its clients for single shards, which change things under numbers of their own.
    pub(crate) parts: Arc<Mutex<BTreeMap<u32, Client>>>,
}

/// The outcome of a call, and whether an earlier attempt of it ended without an answer.
pub(crate) struct Called<T> {
    pub(crate) result: Result<T, CallError>,
    pub(crate) repeated: bool,
}

impl Client {
    /// A client of these nodes, one of which has answered.
    ///
    /// # Errors
    /// [`ConnectError`] when an address is none, or no node answers within the call timeout.
    pub async fn connect(nodes: &[impl AsRef<str>], options: ClientOptions) -> Result<Self, ConnectError> {
        let client = Self::new(nodes, options)?;
        client.status().await?;
        Ok(client)
    }

    /// A client of these nodes that connects when first used. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`ConnectError`] when an address is none.
    pub fn new(nodes: &[impl AsRef<str>], options: ClientOptions) -> Result<Self, ConnectError> {
        let nodes = Nodes::new(nodes, &options)?;
        Ok(Self::over(nodes, Arc::new(options)))
    }

    /// The same client in another namespace.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Self {
        let options = ClientOptions { namespace: namespace.to_owned(), ..(*self.options).clone() };
        Self::over(Arc::clone(&self.nodes), Arc::new(options))
    }

    fn over(nodes: Arc<Nodes>, options: Arc<ClientOptions>) -> Self {
        let layout = Arc::new(Layout::of(&options.namespace));
        let (changes, requester, parts) = (Arc::default(), Arc::default(), Arc::default());
        Self { nodes, options, changes, requester, shard: None, layout, parts }
    }

    /// Another one of the same namespace, with conversations of its own.
    pub(crate) fn alike(&self) -> Self {
        let (nodes, options) = (Arc::clone(&self.nodes), Arc::clone(&self.options));
        Self { layout: Arc::clone(&self.layout), shard: self.shard, ..Self::over(nodes, options) }
    }

    /// A publisher. It connects with its first message.
    #[must_use]
    pub fn publisher(&self, options: PublisherOptions) -> Publisher {
        publisher::start(self.clone(), options)
    }

    /// Attaches a consumer to a subscription.
    ///
    /// # Errors
    /// [`ConsumeError`] when it is refused (`SUBSCRIPTION_NOT_FOUND`, `LIMIT_REACHED`), or nothing took it within the call
    /// timeout.
    pub async fn consume(
        &self,
        subscription: &str,
        options: ConsumerOptions,
    ) -> Result<Consumer, ConsumeError> {
        consumer::start(self.clone(), subscription, options).await
    }

    /// The namespace of its calls.
    pub(crate) fn here(&self) -> String {
        self.options.namespace.clone()
    }

    /// For a connection to that node.
    pub(crate) fn pulse(&self, address: &str) -> Pulse {
        Pulse::new(Arc::clone(&self.nodes), address.to_owned(), self.options.ping_timeout)
    }

    /// What nobody else is called, here or elsewhere.
    pub(crate) fn draw_identity(&self) -> Bytes {
        let entropy = &self.options.entropy;
        let halves = [entropy.next_u64(), entropy.next_u64()];
        halves.map(u64::to_le_bytes).concat().into()
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(Arc::clone(&self.options.entropy))
    }

    /// Asks one node after the other until one decides or the call timeout is over.
    pub(crate) async fn call<Q, T, F, A>(&self, request: Q, attempt: F) -> Called<T>
    where
        Q: Clone,
        F: Fn(Channel, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let started = Instant::now();
        let mut route = self.nodes.route();
        let mut backoff = self.backoff();
        let mut repeated = false;
        loop {
            let last = match self.attempt(&mut route, |channel| attempt(channel, request.clone())).await {
                Ok(value) => return Called { result: Ok(value), repeated },
                Err(refusal) => refusal,
            };
            if last.reason.kind() == Kind::Refused {
                if last.reason == Reason::WrongShard {
                    self.layout.forget();
                }
                return Called { result: Err(CallError::Refused(last)), repeated };
            }
            repeated = true;
            let pause = backoff.pause();
            let after = self.options.call_timeout;
            if started.elapsed() + pause >= after {
                let error = CallError::TimedOut { after, nodes: self.nodes.names(), last };
                return Called { result: Err(error), repeated };
            }
            sleep(pause).await;
        }
    }

    /// Asks the node that the route is at, and moves the route on if another one should be asked.
    async fn attempt<T, A>(&self, route: &mut Route, attempt: impl FnOnce(Channel) -> A) -> Result<T, Refusal>
    where
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let Some((address, channel)) = route.current() else {
            route.move_on(None);
            return Err(Refusal::new(Reason::Unavailable, "no node is known"));
        };
        let limit = self.options.attempt_timeout;
        match timeout(limit, attempt(channel)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                let mut refusal = refusal_of(&status);
                if refusal.reason.kind() != Kind::Refused {
                    refusal.message = format!("{address}: {}", refusal.message);
                    route.move_on(leader_of(&status));
                }
                Err(refusal)
            }
            Err(_) => {
                let message = format!("{address} did not answer within {limit:?}");
                route.move_on(None);
                Err(Refusal::new(Reason::Unavailable, message))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.nodes.names()).finish_non_exhaustive()
    }
}
