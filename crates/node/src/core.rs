//! What the tasks and services of a serving node share.

use crate::directory::Directory;
use crate::gateway::Gateway;
use crate::inboxes::Inboxes;
use crate::leader_clock::LeaderClock;
use crate::liveness::Liveness;
use crate::node::{Failure, fail};
use crate::pace::Pace;
use crate::peer_pool::PeerPool;
use crate::pressure::Pressure;
use quorate_consensus::{Group, Registry};
use quorate_machine::{NodeRecord, System};
use quorate_storage::Storage;
use quorate_types::{ClusterId, GroupId, NodeId};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A node that is so many entries behind a leader's last word is catching up: whoever took the next node away because this one
/// is ready would wait for it.
const READY_LAG_MAX: u64 = 1_000;

/// Clone handle.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) me: NodeRecord,
    pub(crate) cluster: ClusterId,
    /// With whom the cluster formed; empty on a node that joined later.
    pub(crate) first: Arc<Vec<NodeRecord>>,
    pub(crate) gateway: Gateway,
    pub(crate) inboxes: Inboxes,
    pub(crate) registry: Registry,
    pub(crate) storage: Storage,
    pub(crate) directory: Directory,
    pub(crate) pool: Arc<PeerPool>,
    /// Connections for calls that other nodes serve: what comes over these must not hold up heartbeats.
    pub(crate) proxies: Arc<PeerPool>,
    /// Every group has a replica that serves on this node, as far as is known: no call needs another one.
    pub(crate) has_all_groups: Arc<AtomicBool>,
    pub(crate) liveness: Liveness,
    pub(crate) leader_clock: LeaderClock,
    /// When this node handed a group over last, to spread leaders.
    pub(crate) spread_pace: Pace,
    /// When this node began a move last.
    pub(crate) move_pace: Pace,
    /// The zone that this node is in; empty: none.
    pub(crate) zone: String,
    /// It was told to join: the cluster may not know it.
    pub(crate) joins: bool,
    pub(crate) failed: watch::Sender<Option<Failure>>,
    pub(crate) session_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) machine_version_max: u32,
    pub(crate) compaction_bytes_min: u64,
    /// [`quorate_consensus::ConsensusOptions::gather_entries_min`].
    pub(crate) gather_entries_min: u64,
    pub(crate) pressure: Pressure,
    pub(crate) started: Instant,
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// A look at group 0 as it is here; `None` while it does not run.
    pub(crate) fn system<R>(&self, look: impl FnOnce(&System) -> R) -> Option<R> {
        self.registry.group(GroupId::SYSTEM)?.read(|machine| machine.system().map(look))
    }

    /// Looks at group 0 now, and whenever something has changed there ([`crate::delivery::EffectRouter::placement_changed`]), until
    /// the node stops.
    pub(crate) async fn follow_system<R>(
        &self,
        mut changed: watch::Receiver<u64>,
        look: impl Fn(&System) -> R,
        mut take: impl FnMut(R),
    ) {
        loop {
            changed.mark_unchanged();
            if let Some(seen) = self.system(&look) {
                take(seen);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                heard = changed.changed() => if heard.is_err() { return },
            }
        }
    }

    /// What of this node's own groups does not run yet; `None` when all of them have been recovered from the disk. A node
    /// that learns from the others which groups it has, because its disk is new, has nothing to recover.
    pub(crate) fn recovering(&self) -> Option<String> {
        let running = self.registry.groups().len();
        match self.placed() {
            Some(placed) if placed > 0 && running <= placed => {
                Some(format!("{running} of {} groups run here so far", placed + 1))
            }
            _ => None,
        }
    }

    /// How many groups beside group 0 are placed on this node, as far as group 0 says here.
    fn placed(&self) -> Option<usize> {
        self.system(|system| placed_on(system, self.me.node))
    }

    /// The node must stop.
    pub(crate) fn fail(&self, failure: Failure) {
        fail(&self.failed, failure);
    }

    /// Why this node is not ready to serve; `None` when it is: a voter of all its groups, close to their leaders, whose word is
    /// recent. A node that has no group yet serves by asking others.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.gateway.is_draining() {
            let why = if self.gateway.is_ending() { "stopping" } else { "being drained" };
            return Some(format!("the node is {why}"));
        }
        let groups = self.registry.groups();
        let me = self.me.node;
        let placed = self.system(|s| {
            s.node(me)?;
            Some(placed_on(s, me))
        });
        match placed.flatten() {
            None => return Some("group 0 does not say yet which groups run here".to_owned()),
            Some(placed) if groups.len() <= placed => {
                return Some(format!("{} of {} groups run here so far", groups.len(), placed + 1));
            }
            Some(_) => {}
        }
        groups.iter().find_map(|group| self.unready_in(group))
    }

    fn unready_in(&self, group: &Group) -> Option<String> {
        let (id, me) = (group.id(), self.gateway.me());
        let votes = self.system(|s| self.is_to_vote(s, group)).unwrap_or(true);
        if !votes && id != GroupId::SYSTEM {
            // It is being built here, or goes: others serve it.
            return None;
        }
        // While a former life of this node still counts, its place in the majority is not filled: whoever takes the
        // next node away because this one is ready would take the majority with it. A change counts from its append
        // (Raft §6) and is over when applied, so that both are looked at.
        for members in [group.members(), group.applied_members()] {
            if !votes && !members.learners.contains(&me) && !members.voters.contains(&me) {
                return Some(format!("this node has no part in group {id} yet"));
            }
            if votes && !members.voters.contains(&me) {
                return Some(format!("this node is not a voter of group {id} yet"));
            }
            if votes && members.changing {
                return Some(format!("the voters of group {id} are changing"));
            }
            if members.voters.iter().any(|voter| voter.node == me.node && *voter != me) {
                return Some(format!("group {id} still counts a former life of this node"));
            }
        }
        if !self.liveness.may_deliver(id) {
            return Some(format!("the leader of group {id} does not answer this node"));
        }
        let lag = self.liveness.leader_index(id).saturating_sub(*group.applied().borrow());
        (lag > READY_LAG_MAX).then(|| format!("this node is {lag} entries of group {id} behind its leader"))
    }

    /// Whether this node should vote in a group that runs here. In group 0 many only listen; in one that moves here it listens
    /// first, and others serve meanwhile.
    fn is_to_vote(&self, system: &System, group: &Group) -> bool {
        match group.id() {
            GroupId::SYSTEM => system.system_voters(&group.members().voting_nodes()).contains(&self.me.node),
            id => system.placement(id).is_some_and(|placement| placement.nodes.contains(&self.me.node)),
        }
    }
}

/// How many groups beside group 0 are placed on a node.
fn placed_on(system: &System, node: NodeId) -> usize {
    system.groups().iter().filter(|placement| placement.nodes.contains(&node)).count()
}
