//! Groups that go to other nodes: who begins that, who ends it, and what becomes of those that were left.

use crate::core::Core;
use quorate_consensus::Group;
use quorate_machine::{Op, System};
use quorate_types::probe;
use quorate_types::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// So long after one move began the next one may: each reads and sends all that a replica has.
const BETWEEN: Duration = Duration::from_secs(2);
/// Group 0 is told of the end of a move with this deadline; when it was not, the next look tells it again.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// Nodes that have a session with a group and no replica of it, since when. Of one leadership.
#[derive(Default)]
pub(crate) struct Strangers(BTreeMap<NodeId, Instant>);

impl Strangers {
    /// Looks who belongs to the group now.
    pub(crate) fn look(&mut self, group: &Group) {
        let members = group.members();
        let belongs = |node: &NodeId| members.voters.iter().chain(&members.learners).any(|m| m.node == *node);
        let sessions = group.read(|m| m.node_sessions());
        let strange: BTreeSet<NodeId> =
            sessions.iter().map(|session| session.node).filter(|node| !belongs(node)).collect();
        self.0.retain(|node, _| strange.contains(node));
        for node in strange {
            self.0.entry(node).or_insert_with(Instant::now);
        }
    }

    /// Since when a node is one of them.
    pub(crate) fn since(&self, node: NodeId) -> Option<Instant> {
        self.0.get(&node).copied()
    }
}

/// What the leader of group 0 does: begins the next move, and forgets nodes that have nothing any more.
pub(crate) async fn care(core: &Core, group: &Group, since: Instant) {
    if group.id() != GroupId::SYSTEM || since.elapsed() < core.session_timeout / 2 {
        return;
    }
    // Looked up first: both are asked of the same replica.
    let Some(voting) = voting(group) else { return };
    if let Some(node) = core.system(|system| forgettable(system, &voting)).flatten() {
        tracing::info!(%node, "the node has nothing any more: it is forgotten");
        probe::sometimes("a removed node was forgotten");
        if let Err(refusal) = core.gateway.propose_as_leader(GroupId::SYSTEM, Op::ForgetNode { node }).await {
            tracing::debug!(%node, %refusal, "not forgotten; the next attempt follows");
        }
        return;
    }
    let usable = |node: NodeId| {
        node == core.me.node
            || core.liveness.heard(node).is_some_and(|at| at.elapsed() < core.session_timeout / 4)
    };
    // Whoever is about to stop has enough to do, and so have those that take its place for a while.
    let next = core.system(|system| system.drain().is_none().then(|| system.next_move(usable))?).flatten();
    let Some(next) = next.filter(|_| core.move_pace.takes_turn(BETWEEN)) else { return };
    tracing::info!(group = %next.group, from = ?next.from, to = ?next.to, "a group moves");
    probe::sometimes("a group moved");
    let op = Op::MoveGroup { group: next.group, from: next.from, to: next.to };
    if let Err(refusal) = core.gateway.propose_as_leader(GroupId::SYSTEM, op).await {
        tracing::debug!(group = %next.group, %refusal, "the move did not begin; the next attempt follows");
    }
}

/// Nodes that vote in a group, or did as of the newest entry that was applied; `None` while that changes.
fn voting(group: &Group) -> Option<BTreeSet<NodeId>> {
    let both = [group.members(), group.applied_members()];
    let changing = both.iter().any(|members| members.changing);
    (!changing).then(|| both.iter().flat_map(quorate_consensus::Members::voting_nodes).collect())
}

/// A node that is to go, is on its way nowhere, and does not vote in group 0.
fn forgettable(system: &System, voting: &BTreeSet<NodeId>) -> Option<NodeId> {
    let has = |node: &NodeId| system.groups().iter().any(|placement| system.is_on(placement.group, *node));
    let nodes = system.nodes().into_iter().map(|record| record.node);
    nodes.filter(|node| system.is_leaving(*node)).find(|node| !voting.contains(node) && !has(node))
}

/// Tells group 0 that a group is where it was to be. Not waited for: a leader has more to do, and says it again.
pub(crate) fn tell_moved(core: &Core, group: &Group) {
    let id = group.id();
    let Some(to) = core.system(|system| system.moves().get(&id).cloned()).flatten() else { return };
    let wanted: BTreeSet<NodeId> = to.iter().copied().collect();
    let is_there = [group.members(), group.applied_members()].iter().all(|members| {
        let voters: BTreeSet<NodeId> = members.voting_nodes().into_iter().collect();
        !members.changing && voters == wanted
    });
    if !is_there {
        return;
    }
    let core = core.clone();
    tokio::spawn(async move {
        let deadline = Instant::now() + TELL_WITHIN;
        let told =
            core.gateway.call_of_node(GroupId::SYSTEM, Op::GroupMoved { group: id, to }, deadline).await;
        match told {
            Ok(_) => tracing::info!(group = %id, "the group has moved"),
            Err(refusal) => tracing::debug!(group = %id, %refusal, "that it has moved is told again"),
        }
    });
}
