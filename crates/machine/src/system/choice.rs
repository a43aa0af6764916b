//! Which nodes get a new replica: in zones where the group has none, where there are few replicas.

use super::System;
use quorate_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Replicas of a shard, where there are as many nodes: a majority survives the loss of one.
pub(crate) const REPLICAS: usize = 3;

impl System {
    /// Replicas on each node, as it will be when all that moves has moved.
    pub(super) fn load(&self) -> BTreeMap<NodeId, usize> {
        let mut load: BTreeMap<NodeId, usize> = self.nodes.keys().map(|n| (*n, 0)).collect();
        let placed = self.placements.iter().map(|(group, p)| self.moves.get(group).unwrap_or(&p.nodes));
        for node in placed.flatten() {
            if let Some(replicas) = load.get_mut(node) {
                *replicas += 1;
            }
        }
        load
    }

    /// Nodes for `count` replicas of a new group, by id. Nodes that are to go get none.
    pub(crate) fn choose(&self, count: usize) -> Vec<NodeId> {
        let load = self.load();
        let staying = || load.keys().copied().filter(|n| !self.is_leaving(*n));
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let free = staying().filter(|n| !chosen.contains(n));
            let Some(next) = self.best(free, &chosen, &load) else { break };
            chosen.push(next);
        }
        chosen.sort_unstable();
        chosen
    }

    /// Of the candidates the one in the zone that `beside` uses least; among equals, with the fewest replicas; then with the lowest
    /// id.
    pub(super) fn best(
        &self,
        candidates: impl Iterator<Item = NodeId>,
        beside: &[NodeId],
        load: &BTreeMap<NodeId, usize>,
    ) -> Option<NodeId> {
        candidates.min_by_key(|n| (self.neighbours(*n, beside), load.get(n).copied().unwrap_or_default(), *n))
    }

    /// How many of the nodes are in the same zone as this one.
    fn neighbours(&self, node: NodeId, beside: &[NodeId]) -> usize {
        let zone = self.zone(node);
        beside
            .iter()
            .filter(|other| **other == node || (!zone.is_empty() && self.zone(**other) == zone))
            .count()
    }

    /// In how many zones nodes are; one without a zone is in one of its own.
    #[must_use]
    pub fn zones(&self, nodes: &[NodeId]) -> usize {
        let named: BTreeSet<&str> =
            nodes.iter().map(|n| self.zone(*n)).filter(|zone| !zone.is_empty()).collect();
        named.len() + nodes.iter().filter(|n| self.zone(**n).is_empty()).count()
    }

    /// Which nodes should vote in group 0, of which `voting` do now: these, as long as they stay, and as many others as there should
    /// be. All other nodes only listen there.
    #[must_use]
    pub fn system_voters(&self, voting: &[NodeId]) -> Vec<NodeId> {
        let load = BTreeMap::new();
        let staying = |n: &NodeId| self.nodes.contains_key(n) && !self.is_leaving(*n);
        let mut voters: Vec<NodeId> = voting.iter().copied().filter(staying).collect();
        let count = wanted(self.nodes.keys().filter(|n| staying(n)).count()).max(voters.len());
        while voters.len() < count {
            let free = self.nodes.keys().copied().filter(|n| staying(n) && !voters.contains(n));
            let Some(next) = self.best(free, &voters, &load) else { break };
            voters.push(next);
        }
        voters.sort_unstable();
        voters
    }
}

/// Replicas where there are so many nodes. Two bear no more losses than one, and need both.
pub(super) fn wanted(nodes: usize) -> usize {
    if nodes < REPLICAS { nodes.min(1) } else { REPLICAS }
}
