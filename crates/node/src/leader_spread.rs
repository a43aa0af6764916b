//! Leaders on different nodes: each shard has one that it prefers.
//!
//! Whoever leads a shard hands it over when the preferred node is there, has what the leader has, and could lead it as well. So
//! leaders are spread after a namespace was created, and again after nodes came back or joined. What a shard prefers depends on its
//! namespace and its nodes alone, not on who leads what at this moment, so that nobody hands over because somebody else did. Nothing depends on it but the load, so there
//! is no hurry: a new leader waits, and a node hands over one shard at a time.

use crate::core::Core;
use crate::drain::is_draining;
use crate::leader::{caught_up, hand_over_to};
use quorate_consensus::Group;
use quorate_machine::System;
use quorate_types::probe;
use quorate_types::{GroupId, NodeId};
use std::time::Duration;
use tokio::time::Instant;

/// So long a node waits between two groups: each costs those who publish there a round trip or two.
const BETWEEN: Duration = Duration::from_secs(1);

/// Of one leadership: when the preferred node was asked last, or the leadership began.
pub(crate) struct Spreading(Instant);

impl Spreading {
    /// A leadership begins.
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Hands the group over if another node is to lead it and can.
    pub(crate) async fn care(&mut self, core: &Core, group: &Group) {
        // An election just was, and consumers and publishers have just found it. It is tried as often, too.
        if self.0.elapsed() < core.session_timeout / 2 {
            return;
        }
        let Some(preferred) = core.system(|system| preferred(system, group.id())).flatten() else { return };
        if preferred == core.me.node
            || !can_lead(core, group, preferred)
            || !core.spread_pace.takes_turn(BETWEEN)
        {
            return;
        }
        self.0 = Instant::now();
        probe::sometimes("leader handed over to where its shard prefers it");
        tracing::info!(group = %group.id(), node = %preferred, "handing over: leaders are spread");
        hand_over_to(core, group, |voter| voter.node == preferred).await;
    }
}

/// The node that is to lead a group. An only namespace with an only shard prefers none: to move its leader would cost something, and
/// spread nothing.
pub(crate) fn preferred(system: &System, group: GroupId) -> Option<NodeId> {
    let namespaces: Vec<_> =
        system.namespaces().into_iter().map(|namespace| (namespace.id.get(), namespace.groups)).collect();
    in_turn(&namespaces, group, system.voters_of(group)?)
}

/// Of shard `i` of the namespace with the id `n` the `n + i`th of its nodes, counted round. `namespaces`: ids, with their groups.
fn in_turn(namespaces: &[(u64, Vec<GroupId>)], group: GroupId, nodes: &[NodeId]) -> Option<NodeId> {
    let (id, groups) = namespaces.iter().find(|(_, groups)| groups.contains(&group))?;
    let shard = groups.iter().position(|of| *of == group)?;
    let alone = groups.len() == 1 && namespaces.iter().filter(|(_, groups)| groups.len() == 1).count() < 2;
    let turn = id.wrapping_add(shard as u64).checked_rem(nodes.len() as u64).filter(|_| !alone)?;
    nodes.get(usize::try_from(turn).ok()?).copied()
}

/// Whether a node could lead as well as this one: it is there, votes, has what there is, room on its disk and a clock that is right.
fn can_lead(core: &Core, group: &Group, node: NodeId) -> bool {
    let status = group.status();
    let lives: Vec<_> = status.members.voters.iter().filter(|voter| voter.node == node).collect();
    let [voter] = lives[..] else { return false };
    let heard = core.liveness.heard(node).is_some_and(|at| at.elapsed() < core.session_timeout / 4);
    let voters = status.members.voting_nodes();
    let stays = core.system(|system| !system.is_leaving(node)) == Some(true) && !is_draining(core, node);
    heard
        && stays
        && !status.members.changing
        && caught_up(&status, *voter)
        && !core.pressure.is_short(node)
        && !core.leader_clock.is_skewed(&voters, core.me.node, node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_namespaces_prefer_the_nodes_in_turn_and_an_only_shard_prefers_none() {
        let groups = |ids: &[u64]| ids.iter().copied().map(GroupId::new).collect::<Vec<_>>();
        let nodes: Vec<NodeId> = (1..=3).map(NodeId::new).collect();
        let mut namespaces = vec![(1, groups(&[1])), (2, groups(&[5, 6, 7, 8]))];
        let of = |namespaces: &[(u64, Vec<GroupId>)], ids: &[u64]| {
            let led = ids.iter().map(|id| in_turn(namespaces, GroupId::new(*id), &nodes).map(NodeId::get));
            led.collect::<Vec<_>>()
        };
        assert_eq!(of(&namespaces, &[5, 6, 7, 8]), [Some(3), Some(1), Some(2), Some(3)]);
        assert_eq!(of(&namespaces, &[1, 9]), [None, None]);
        namespaces.extend([(3, groups(&[9])), (4, groups(&[10]))]);
        assert_eq!(of(&namespaces, &[1, 9, 10]), [Some(2), Some(1), Some(2)]);
        assert_eq!(in_turn(&namespaces, GroupId::new(5), &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_hands_over_one_group_at_a_time() {
        let pace = crate::pace::Pace::default();
        assert!(pace.takes_turn(BETWEEN));
        assert!(!pace.takes_turn(BETWEEN));
        tokio::time::advance(BETWEEN).await;
        assert!(pace.takes_turn(BETWEEN));
    }
}
