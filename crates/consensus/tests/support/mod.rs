//! A cluster in one process: every node on a runtime of its own, over a network in memory and simulated disks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses a part"
)]

pub mod batch;
pub mod net;
pub mod node;

use quorate_consensus::Group;
use quorate_types::{ClusterId, GroupId, Incarnation, NodeId, Voter};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

pub use batch::Publisher;
pub use net::Hub;
pub use node::TestNode;

/// The shard that all tests use.
pub const GROUP: GroupId = GroupId::new(1);
pub const CLUSTER: ClusterId = ClusterId::new(0xC1);

/// Long enough for any election on a busy machine; nothing waits for it when all is well.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn voter(node: u64, incarnation: u64) -> Voter {
    Voter { node: NodeId::new(node), incarnation: Incarnation::new(incarnation) }
}

/// Waits until `check` yields something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        loop {
            pace.tick().await;
            if let Some(found) = check().await {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("still waiting until {what}"))
}

/// Nodes by number.
pub struct Cluster {
    pub hub: Hub,
    pub nodes: BTreeMap<u64, TestNode>,
    pub first: Vec<(Voter, String)>,
}

impl Cluster {
    /// Three nodes that begin the group together.
    pub async fn start() -> Self {
        let hub = Hub::default();
        let first: Vec<_> = (1..=3).map(|node| (voter(node, 1), address(node))).collect();
        let mut nodes = BTreeMap::new();
        for (me, address) in &first {
            let node = TestNode::new(*me, address.clone(), hub.clone(), me.node.get());
            nodes.insert(me.node.get(), node);
        }
        let mut cluster = Self { hub, nodes, first };
        for node in 1..=3 {
            cluster.boot(node).await;
        }
        cluster
    }

    /// Starts a node on what its disk holds.
    pub async fn boot(&mut self, node: u64) {
        let first = self.first.clone();
        self.nodes.get_mut(&node).unwrap().boot(Some(first)).await;
    }

    pub fn group(&self, node: u64) -> Group {
        self.nodes[&node].group()
    }

    /// The node that leads and is heard by a majority.
    pub async fn leader(&self) -> u64 {
        until("one node leads", || async {
            for (number, node) in &self.nodes {
                let Some(group) = node.try_group() else { continue };
                if group.leadership().borrow().me && group.read_index().await.is_ok() {
                    return Some(*number);
                }
            }
            None
        })
        .await
    }

    /// Any node that runs and does not lead.
    pub async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.nodes.iter().find(|(number, node)| **number != leader && node.try_group().is_some()).unwrap().0
    }

    /// Waits until all running replicas have applied the same, and returns their common hash.
    pub async fn converge(&self) -> u64 {
        until("all replicas agree", || async {
            let running: Vec<Group> = self.nodes.values().filter_map(TestNode::try_group).collect();
            let states: Vec<_> = running.iter().map(|g| g.read(|m| (m.applied(), m.hash()))).collect();
            let last = running.iter().filter_map(|group| group.status().last).max();
            let (applied, hash) = *states.first()?;
            let agreed = states.iter().all(|state| *state == (applied, hash));
            (agreed && applied.map(|id| id.index) == last).then_some(hash)
        })
        .await
    }
}

pub fn address(node: u64) -> String {
    format!("node-{node}:7000")
}
