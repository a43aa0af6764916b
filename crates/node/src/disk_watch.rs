//! How much room the data disks have: this node's own, looked up in the background so that nobody waits for it, and what
//! others say of theirs.
//!
//! Publishes are refused through every node when the leader's own disk is low, or so many others' that no majority is left
//! without one (DESIGN §6.13): the leader knows, and says so in its answers to heartbeats.

use crate::core::Core;
use quorate_consensus::Group;
use quorate_types::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// A full disk is foreseen by more than what is written in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clone handle.
#[derive(Clone, Default)]
pub(crate) struct FreeBytes(Arc<AtomicU64>);

impl FreeBytes {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Which disks are low, as far as this node has heard. Clone handle.
#[derive(Clone, Default)]
pub(crate) struct LowDisks(Arc<Mutex<Low>>);

#[derive(Default)]
struct Low {
    /// Nodes that said so of themselves, this one among them.
    nodes: BTreeSet<NodeId>,
    /// What the leader of each group said last.
    groups: BTreeMap<GroupId, bool>,
}

impl LowDisks {
    /// A node says how its disk is.
    pub(crate) fn hear(&self, node: NodeId, low: bool) {
        let mut state = self.lock();
        if low {
            state.nodes.insert(node)
        } else {
            state.nodes.remove(&node)
        };
    }

    /// The leader of a group says whether it takes publishes.
    pub(crate) fn hear_leader(&self, group: GroupId, low: bool) {
        self.lock().groups.insert(group, low);
    }

    /// Whether the leader of the group said last that it takes none.
    pub(crate) fn refuses(&self, group: GroupId) -> bool {
        self.lock().groups.get(&group).copied().unwrap_or_default()
    }

    /// Whether a node said so of itself.
    pub(crate) fn is_low(&self, node: NodeId) -> bool {
        self.lock().nodes.contains(&node)
    }

    /// Whether the leader `me` of these voters must take no publishes.
    pub(crate) fn hinders(&self, me: NodeId, voters: impl IntoIterator<Item = NodeId>) -> bool {
        let state = self.lock();
        let (low, high): (Vec<NodeId>, Vec<NodeId>) =
            voters.into_iter().partition(|node| state.nodes.contains(node));
        low.contains(&me) || high.len() <= low.len()
    }

    fn lock(&self) -> MutexGuard<'_, Low> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the node stops.
pub(crate) async fn run(core: Core) {
    while !core.stop.is_cancelled() {
        look(&core).await;
        sleep(LOOK_EVERY).await;
    }
}

/// Measures this node's disk, and speaks for the groups that it leads.
pub(crate) async fn look(core: &Core) {
    if let Ok(bytes) = core.storage.free_bytes().await {
        core.free.set(bytes);
        let low = bytes < core.disk_free_bytes_min;
        core.low_disks.hear(core.me.node, low);
        core.gateway.set_disk_low(low);
    }
    for group in core.registry.groups() {
        if group.leadership().borrow().me {
            core.low_disks.hear_leader(group.id(), hinders(core, &group));
        }
    }
}

/// Whether this node, as the leader of the group, must take no publishes.
pub(crate) fn hinders(core: &Core, group: &Group) -> bool {
    core.low_disks.hinders(core.me.node, group.members().voters.iter().map(|v| v.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        NodeId::new(n)
    }

    #[test]
    fn a_leader_takes_no_publishes_when_its_own_disk_is_low_or_no_majority_has_room() {
        let disks = LowDisks::default();
        let hinders = |me: u64, count: u64| disks.hinders(node(me), (1..=count).map(node));
        assert!(!hinders(1, 3));
        disks.hear(node(2), true);
        assert!(hinders(2, 3), "its own");
        assert!(!hinders(1, 3), "two others have room");
        assert!(hinders(1, 2), "no majority without it");
        disks.hear(node(3), true);
        assert!(hinders(1, 3) && !hinders(1, 5));
        disks.hear(node(3), false);
        assert!(!hinders(1, 3));
    }

    #[test]
    fn what_the_leader_said_last_counts() {
        let disks = LowDisks::default();
        let group = GroupId::new(1);
        assert!(!disks.refuses(group));
        disks.hear_leader(group, true);
        assert!(disks.refuses(group) && !disks.refuses(GroupId::new(2)));
        disks.hear_leader(group, false);
        assert!(!disks.refuses(group));
    }
}
