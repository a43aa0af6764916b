//! What nodes and leaders said last of their shortages.

use super::Shortage;
use quorate_types::{GroupId, NodeId};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Nodes that are short of something, this one among them.
    nodes: BTreeMap<NodeId, Shortage>,
    /// Groups whose leader takes no publishes.
    leaders: BTreeMap<GroupId, Shortage>,
}

impl Heard {
    pub(super) fn hear(&mut self, node: NodeId, shortage: Shortage) {
        note(&mut self.nodes, node, shortage);
    }

    pub(super) fn hear_leader(&mut self, group: GroupId, shortage: Shortage) {
        note(&mut self.leaders, group, shortage);
    }

    pub(super) fn of(&self, node: NodeId) -> Shortage {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn of_leader(&self, group: GroupId) -> Shortage {
        self.leaders.get(&group).copied().unwrap_or_default()
    }

    pub(super) fn leaders_any(&self) -> bool {
        !self.leaders.is_empty()
    }

    /// For want of what the leader `me` of these voters must take no publishes: of what it lacks itself, or so many others that no
    /// majority is left with it.
    pub(super) fn hinders(&self, me: NodeId, voters: impl IntoIterator<Item = NodeId>) -> Shortage {
        let voters: Vec<NodeId> = voters.into_iter().collect();
        let lacks = |what: fn(Shortage) -> bool| {
            let short = voters.iter().filter(|node| what(self.of(**node))).count();
            (voters.contains(&me) && what(self.of(me))) || voters.len() <= 2 * short
        };
        Shortage { disk: lacks(|s| s.disk), memory: lacks(|s| s.memory) }
    }
}

fn note<K: Ord>(map: &mut BTreeMap<K, Shortage>, key: K, shortage: Shortage) {
    if shortage.is_any() {
        map.insert(key, shortage);
    } else {
        map.remove(&key);
    }
}
