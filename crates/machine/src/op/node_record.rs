//! What a node says of itself.

use quorate_types::{Incarnation, NodeId, Voter};
use serde::{Deserialize, Serialize};

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub node: NodeId,
    /// The life of its disk that counts.
    pub incarnation: Incarnation,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
}

impl NodeRecord {
    /// The node in the life that counts.
    #[must_use]
    pub fn voter(&self) -> Voter {
        Voter { node: self.node, incarnation: self.incarnation }
    }
}
