//! Leaders that are moved because somebody asks for it.

use crate::core::Core;
use crate::leader::hand_over_to;
use crate::leader_spread::preferred;
use crate::services::Reports;
use quorate_machine::System;
use quorate_types::{GroupId, NodeId, Reason, Refusal};
use quorate_wire::v1;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// How long a successor may take to show itself.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);

/// The node that leads a group, as far as is known here; else as the nodes say.
///
/// # Errors
/// `INVALID_ARGUMENT` for a group that there is not; `NO_QUORUM` when nobody leads it.
pub(crate) async fn leader_of(core: &Core, group: GroupId) -> Result<NodeId, Refusal> {
    let known = group == GroupId::SYSTEM || core.system(|s| s.voters_of(group).is_some()) == Some(true);
    if !known {
        let text = format!("there is no group {group}: `quorate cluster status` lists them");
        return Err(Refusal::new(Reason::InvalidArgument, text));
    }
    let here = core.registry.group(group).filter(|group| group.leadership().borrow().me);
    if here.is_some() {
        return Ok(core.me.node);
    }
    let leader = Reports::gather(core).await.leader(group);
    leader.ok_or_else(|| {
        Refusal::new(Reason::NoQuorum, format!("nobody leads group {group} at this moment: ask again"))
    })
}

/// Hands a group over that this node leads; answers with who leads then.
///
/// # Errors
/// `INVALID_ARGUMENT` for a node that does not vote in the group; `NOT_LEADER` when this node does not lead it (any more);
/// `NO_QUORUM` when nobody took over in time.
pub(crate) async fn transfer(core: &Core, group: GroupId, to: Option<NodeId>) -> Result<NodeId, Refusal> {
    let led = core.registry.group(group).filter(|group| group.leadership().borrow().me);
    let Some(led) = led else {
        let text = format!("node {} does not lead group {group} any more: ask again", core.me.node);
        return Err(Refusal::new(Reason::NotLeader, text));
    };
    if to == Some(core.me.node) {
        return Ok(core.me.node);
    }
    let voters = led.members().voting_nodes();
    let others: Vec<NodeId> = voters.into_iter().filter(|node| *node != core.me.node).collect();
    if to.is_some_and(|to| !others.contains(&to)) || others.is_empty() {
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        let text = format!(
            "group {group} can be handed over to nodes {}: the others do not vote in it",
            names.join(", ")
        );
        return Err(Refusal::new(Reason::InvalidArgument, text));
    }
    let mut leadership = led.leadership();
    hand_over_to(core, &led, |voter| to.is_none_or(|to| voter.node == to)).await;
    let succeeded = leadership.wait_for(|now| !now.me && now.leader.is_some_and(|l| l.node != core.me.node));
    match timeout(HAND_OVER_WITHIN, succeeded).await {
        Ok(Ok(now)) => now.leader.map(|leader| leader.node).ok_or_else(|| nobody(group)),
        Ok(Err(_)) | Err(_) => Err(nobody(group)),
    }
}

fn nobody(group: GroupId) -> Refusal {
    let text = format!("nobody has taken group {group} over so far: `quorate cluster status` says who leads");
    Refusal::new(Reason::NoQuorum, text)
}

/// Leaders that should be elsewhere, so that nodes lead about as many groups each. Group 0 has little to do and stays.
pub(crate) fn spread(system: &System, reports: &Reports) -> Vec<v1::LeaderMove> {
    let draining = system.drain().map(|drain| drain.node);
    let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut moves = Vec::new();
    for placement in system.groups() {
        let group = placement.group;
        let Some(leader) = reports.leader(group) else { continue };
        let follows = |node: &NodeId| {
            reports.follows(*node, group) && Some(*node) != draining && !system.is_leaving(*node)
        };
        let able: Vec<NodeId> =
            system.voters_of(group).unwrap_or_default().iter().copied().filter(follows).collect();
        // Where the shards of a namespace have their own preference, another one would not last.
        let wanted = match preferred(system, group) {
            Some(preferred) if able.contains(&preferred) => Some(preferred),
            Some(_) => None,
            None => {
                able.into_iter().min_by_key(|n| (led.get(n).copied().unwrap_or_default(), *n != leader, *n))
            }
        };
        *led.entry(wanted.unwrap_or(leader)).or_default() += 1;
        if let Some(to) = wanted.filter(|to| *to != leader) {
            moves.push(v1::LeaderMove { group: group.get(), from: leader.get(), to: to.get() });
        }
    }
    moves
}

/// Groups that move, and the one that moves next.
pub(crate) fn moves(system: &System, reports: &Reports) -> (Vec<v1::ReplicaMove>, Option<v1::ReplicaMove>) {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let from = |group| system.placement(group).map(|placement| numbers(&placement.nodes));
    let message = |(group, to): (&GroupId, &Vec<NodeId>)| v1::ReplicaMove {
        group: group.get(),
        from: from(*group).unwrap_or_default(),
        to: numbers(to),
    };
    let next = system.next_move(|node| reports.of(node).is_some()).map(|next| v1::ReplicaMove {
        group: next.group.get(),
        from: numbers(&next.from),
        to: numbers(&next.to),
    });
    (system.moves().iter().map(message).collect(), next)
}
