//! Who is where: the nodes of the cluster as this node knows them, from group 0 and from its configuration.

use quorate_machine::NodeRecord;
use quorate_types::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clone handle: written when group 0 changes, read by whoever dials.
#[derive(Clone)]
pub(crate) struct Directory {
    configured: Arc<BTreeMap<NodeId, String>>,
    known: Arc<Mutex<BTreeMap<NodeId, NodeRecord>>>,
}

impl Directory {
    /// With the peer addresses of the configuration, used until group 0 says more.
    #[must_use]
    pub(crate) fn new(configured: BTreeMap<NodeId, String>) -> Self {
        Self { configured: Arc::new(configured), known: Arc::default() }
    }

    /// Replaces what is known.
    pub(crate) fn update(&self, nodes: impl IntoIterator<Item = NodeRecord>) {
        *self.lock() = nodes.into_iter().map(|r| (r.node, r)).collect();
    }

    /// Where peers reach the node.
    #[must_use]
    pub(crate) fn peer_address(&self, node: NodeId) -> Option<String> {
        let known = self.lock().get(&node).map(|r| r.peer_address.clone());
        known.or_else(|| self.configured.get(&node).cloned())
    }

    /// The node's record in group 0, as of the last look.
    #[must_use]
    pub(crate) fn record(&self, node: NodeId) -> Option<NodeRecord> {
        self.lock().get(&node).cloned()
    }

    /// Every node that is known or configured, by id.
    #[must_use]
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.lock().keys().chain(self.configured.keys()).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, NodeRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
