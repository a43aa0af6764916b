//! What the tasks and services of a serving node share.

use crate::directory::Directory;
use crate::disk_watch::{FreeBytes, LowDisks};
use crate::gateway::Gateway;
use crate::inboxes::Inboxes;
use crate::leader_clock::LeaderClock;
use crate::leader_spread::SpreadPace;
use crate::liveness::Liveness;
use crate::peer_pool::PeerPool;
use quorate_consensus::Registry;
use quorate_machine::{NodeRecord, System};
use quorate_storage::Storage;
use quorate_types::{ClusterId, GroupId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    pub(crate) liveness: Liveness,
    pub(crate) leader_clock: LeaderClock,
    pub(crate) spread_pace: SpreadPace,
    pub(crate) session_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) machine_version_max: u32,
    pub(crate) compaction_bytes_min: u64,
    /// [`quorate_consensus::ConsensusOptions::gather_entries_min`].
    pub(crate) gather_entries_min: u64,
    pub(crate) free: FreeBytes,
    pub(crate) low_disks: LowDisks,
    pub(crate) started: Instant,
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// A look at group 0 as it is here; `None` while it does not run.
    pub(crate) fn system<R>(&self, look: impl FnOnce(&System) -> R) -> Option<R> {
        self.registry.group(GroupId::SYSTEM)?.read(|machine| machine.system().map(look))
    }

    /// Free bytes on the data disk, as of a second ago.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free.get()
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
        self.system(|s| s.groups().iter().filter(|p| p.nodes.contains(&self.me.node)).count())
    }

    /// Why this node is not ready to serve; `None` when it is: a voter of all its groups, close to their leaders.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.gateway.draining().is_cancelled() {
            return Some("the node is stopping".to_owned());
        }
        let groups = self.registry.groups();
        match self.placed() {
            None | Some(0) => return Some("group 0 does not say yet which groups run here".to_owned()),
            Some(placed) if groups.len() <= placed => {
                return Some(format!("{} of {} groups run here so far", groups.len(), placed + 1));
            }
            Some(_) => {}
        }
        for group in groups {
            let id = group.id();
            // While a former life of this node still counts, its place in the majority is not filled: whoever takes the
            // next node away because this one is ready would take the majority with it. A change counts from its append
            // (Raft §6) and is over when applied, so that both are looked at.
            let me = self.gateway.me();
            for members in [group.members(), group.applied_members()] {
                if !members.voters.contains(&me) {
                    return Some(format!("this node is not a voter of group {id} yet"));
                }
                if members.changing {
                    return Some(format!("the voters of group {id} are changing"));
                }
                if members.voters.iter().any(|voter| voter.node == me.node && *voter != me) {
                    return Some(format!("group {id} still counts a former life of this node"));
                }
            }
            if !self.liveness.may_deliver(id) {
                return Some(format!("the leader of group {id} does not answer this node"));
            }
        }
        None
    }
}
