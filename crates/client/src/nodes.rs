//! The nodes that a client knows, and the choice among them.

use crate::channel::Channel;
use crate::credentials::Credentials;
use crate::error::ConnectError;
use crate::options::ClientOptions;
use futures::future::BoxFuture;
use quorate_types::Entropy;
use quorate_wire::{ChannelOptions, Connect};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Leader hints may name nodes that the caller did not list: at most so many are kept, so that a confused cluster cannot
/// fill the memory.
const HINTED_MAX: usize = 64;

/// All nodes, with one shared connection to each that is in use.
pub(crate) struct Nodes {
    addresses: Vec<String>,
    channels: Mutex<BTreeMap<String, Channel>>,
    connect: Arc<dyn Connect>,
    options: ChannelOptions,
    credentials: Option<Credentials>,
    entropy: Arc<dyn Entropy>,
}

/// One user's place in the list: it stays with a node while that works.
pub(crate) struct Route {
    nodes: Arc<Nodes>,
    index: usize,
    hinted: Option<String>,
}

impl Nodes {
    pub(crate) fn new(
        addresses: &[impl AsRef<str>],
        options: &ClientOptions,
    ) -> Result<Arc<Self>, ConnectError> {
        if addresses.is_empty() {
            return Err(ConnectError::NoNodes);
        }
        let addresses: Vec<String> = addresses.iter().map(|a| a.as_ref().to_owned()).collect();
        let mut channels = BTreeMap::new();
        for address in &addresses {
            let channel = options.connect.channel(address, &options.channel)?;
            channels.insert(address.clone(), Channel::new(channel, options.credentials.clone()));
        }
        Ok(Arc::new(Self {
            addresses,
            channels: Mutex::new(channels),
            connect: Arc::clone(&options.connect),
            options: options.channel.clone(),
            credentials: options.credentials.clone(),
            entropy: Arc::clone(&options.entropy),
        }))
    }

    /// A place to begin, at random, so that many clients spread over the nodes.
    pub(crate) fn route(self: &Arc<Self>) -> Route {
        let count = self.addresses.len() as u64;
        let index = usize::try_from(self.entropy.next_u64() % count).unwrap_or(0);
        Route { nodes: Arc::clone(self), index, hinted: None }
    }

    /// Whether a node says anything, over a new connection. False when it cannot be reached; bound the wait.
    pub(crate) fn ping(&self, address: &str) -> BoxFuture<'static, bool> {
        let channel = self.connect.channel(address, &self.options);
        Box::pin(async move {
            match channel {
                Ok(channel) => quorate_wire::ping(channel).await.is_ok(),
                Err(_) => false,
            }
        })
    }

    /// For messages: all that were listed.
    pub(crate) fn names(&self) -> String {
        self.addresses.join(", ")
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Route {
    /// The node in use and the connection to it.
    pub(crate) fn current(&self) -> Option<(&str, Channel)> {
        let address =
            self.hinted.as_deref().or_else(|| self.nodes.addresses.get(self.index).map(String::as_str))?;
        let channel = self.nodes.channels().get(address).cloned()?;
        Some((address, channel))
    }

    /// On to this node, if it was listed: one that was not may be out of reach from here.
    pub(crate) fn prefer(&mut self, address: &str) {
        if let Some(index) = self.nodes.addresses.iter().position(|a| a == address) {
            self.index = index;
            self.hinted = None;
        }
    }

    /// The one in use failed: on to the one that `leader` names, or to the next of the list.
    pub(crate) fn move_on(&mut self, leader: Option<&str>) {
        let was_hinted = self.hinted.take();
        if let Some(leader) = leader.filter(|l| !l.is_empty() && was_hinted.as_deref() != Some(l)) {
            if let Some(index) = self.nodes.addresses.iter().position(|a| a == leader)
                && index != self.index
            {
                self.index = index;
                return;
            }
            if self.adopt(leader) {
                self.hinted = Some(leader.to_owned());
                return;
            }
        }
        self.index = (self.index + 1) % self.nodes.addresses.len();
    }

    fn adopt(&self, address: &str) -> bool {
        let mut channels = self.nodes.channels();
        if self.nodes.addresses.iter().any(|a| a == address) {
            return false;
        }
        if channels.contains_key(address) {
            return true;
        }
        if channels.len() >= self.nodes.addresses.len() + HINTED_MAX {
            return false;
        }
        match self.nodes.connect.channel(address, &self.nodes.options) {
            Ok(channel) => {
                let channel = Channel::new(channel, self.nodes.credentials.clone());
                channels.insert(address.to_owned(), channel);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_route_goes_round_and_follows_a_hint_once() {
        let nodes = Nodes::new(&["a:1", "b:2", "c:3"], &ClientOptions::default()).unwrap();
        let mut route = Route { nodes, index: 0, hinted: None };
        let at = |route: &Route| route.current().unwrap().0.to_owned();
        route.move_on(None);
        assert_eq!(at(&route), "b:2");
        route.move_on(Some("a:1"));
        assert_eq!(at(&route), "a:1");
        route.move_on(Some("new:9"));
        assert_eq!(at(&route), "new:9");
        route.move_on(Some("new:9"));
        assert_eq!(at(&route), "b:2", "a hint that failed is not followed again at once");
        route.move_on(Some("not an address"));
        assert_eq!(at(&route), "c:3");
        route.prefer("b:2");
        route.prefer("not listed:1");
        assert_eq!(at(&route), "b:2");
    }

    #[tokio::test]
    async fn a_list_with_no_or_bad_addresses_is_refused() {
        let none: [&str; 0] = [];
        assert_eq!(Nodes::new(&none, &ClientOptions::default()).err(), Some(ConnectError::NoNodes));
        let bad = Nodes::new(&["localhost"], &ClientOptions::default()).err();
        assert!(matches!(bad, Some(ConnectError::Address(_))));
    }
}
