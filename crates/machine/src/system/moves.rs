//! Which group should move, as a pure function of where everything is.
//!
//! One replica of a group at a time, and few groups at a time: a move copies all that a replica has, and costs the group a change
//! of its voters. Each move makes something better (a node that is to go has less, a group has more replicas or is in more zones,
//! or two nodes carry more alike), so that they come to an end.

use super::choice::{REPLICAS, wanted};
use super::{Placement, System};
use quorate_types::{GroupId, NodeId};
use std::collections::BTreeMap;

/// Groups that move at the same time.
const MOVES_MAX: usize = 2;

/// A group that should move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which one.
    pub group: GroupId,
    /// Where it is.
    pub from: Vec<NodeId>,
    /// Where it should be.
    pub to: Vec<NodeId>,
}

impl System {
    /// The move that should begin now, if one should. New replicas are only on nodes that are `usable`.
    #[must_use]
    pub fn next_move(&self, usable: impl Fn(NodeId) -> bool) -> Option<Move> {
        if self.moves.len() >= MOVES_MAX {
            return None;
        }
        let load = self.load();
        let hosts: Vec<NodeId> =
            self.nodes.keys().copied().filter(|n| usable(*n) && !self.is_leaving(*n)).collect();
        let resting = || self.placements.values().filter(|p| !self.moves.contains_key(&p.group));
        let away = resting().find_map(|p| self.away_from_leaving(p, &hosts, &load));
        let more = || resting().find_map(|p| self.more_replicas(p, &hosts, &load));
        let apart = || resting().find_map(|p| self.apart(p, &hosts, &load));
        let alike = || resting().find_map(|p| self.alike(p, &hosts, &load));
        away.or_else(more).or_else(apart).or_else(alike)
    }

    /// Off a node that is to go, or that is gone.
    fn away_from_leaving(
        &self,
        placement: &Placement,
        hosts: &[NodeId],
        load: &BTreeMap<NodeId, usize>,
    ) -> Option<Move> {
        let goes = |n: &&NodeId| self.is_leaving(**n) || !self.nodes.contains_key(*n);
        let leaving = *placement.nodes.iter().find(goes)?;
        self.exchange(placement, leaving, hosts, load).or_else(|| {
            // Nobody can take its place. With two left of three a majority is still one.
            let left = without(&placement.nodes, leaving);
            let staying = self.nodes.keys().filter(|n| !self.is_leaving(**n)).count();
            (!left.is_empty() && staying <= left.len()).then(|| moved(placement, left))
        })
    }

    /// As many replicas as there should be.
    fn more_replicas(
        &self,
        placement: &Placement,
        hosts: &[NodeId],
        load: &BTreeMap<NodeId, usize>,
    ) -> Option<Move> {
        let count = wanted(self.nodes.keys().filter(|n| !self.is_leaving(**n)).count());
        if placement.nodes.len() >= count.min(REPLICAS) {
            return None;
        }
        let mut to = placement.nodes.clone();
        while to.len() < count {
            let next = self.best(hosts.iter().copied().filter(|n| !to.contains(n)), &to, load)?;
            to.push(next);
        }
        Some(moved(placement, to))
    }

    /// Into more zones.
    fn apart(&self, placement: &Placement, hosts: &[NodeId], load: &BTreeMap<NodeId, usize>) -> Option<Move> {
        let zones = self.zones(&placement.nodes);
        let moves = placement.nodes.iter().filter_map(|n| self.exchange(placement, *n, hosts, load));
        moves.max_by_key(|m| self.zones(&m.to)).filter(|m| self.zones(&m.to) > zones)
    }

    /// From the node with the most replicas of these to one that has at least two less.
    fn alike(&self, placement: &Placement, hosts: &[NodeId], load: &BTreeMap<NodeId, usize>) -> Option<Move> {
        let of = |n: &NodeId| load.get(n).copied().unwrap_or_default();
        let fullest = *placement.nodes.iter().max_by_key(|n| (of(n), **n))?;
        let others = hosts.iter().copied().filter(|n| !placement.nodes.contains(n));
        let lighter: Vec<NodeId> = others.filter(|n| of(n) + 2 <= of(&fullest)).collect();
        let moved = self.exchange(placement, fullest, &lighter, load)?;
        (self.zones(&moved.to) >= self.zones(&placement.nodes)).then_some(moved)
    }

    /// One node for another.
    fn exchange(
        &self,
        placement: &Placement,
        leaving: NodeId,
        hosts: &[NodeId],
        load: &BTreeMap<NodeId, usize>,
    ) -> Option<Move> {
        let mut to = without(&placement.nodes, leaving);
        let next = self.best(hosts.iter().copied().filter(|n| !placement.nodes.contains(n)), &to, load)?;
        to.push(next);
        Some(moved(placement, to))
    }
}

fn without(nodes: &[NodeId], node: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|n| *n != node).collect()
}

fn moved(placement: &Placement, mut to: Vec<NodeId>) -> Move {
    to.sort_unstable();
    Move { group: placement.group, from: placement.nodes.clone(), to }
}
