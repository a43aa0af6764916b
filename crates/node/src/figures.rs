//! What a node knows of itself in numbers: read when somebody asks, by the metrics page and by `Cluster.Figures`.

use crate::core::Core;
use crate::metrics::Counted;
use crate::pressure::Shortage;
use quorate_consensus::{GroupStatus, Role};
use quorate_machine::{ShardFigures, SubscriptionFigures, TopicFigures};
use quorate_storage::StorageStats;
use quorate_types::MemoryUse;
use std::collections::BTreeMap;

/// Topics, and subscriptions, of which each is shown, over all groups of the node; a page must stay small enough to be fetched
/// every few seconds. What was created first is shown.
pub(crate) const SHOWN_MAX: usize = 1_000;

/// A node at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) cluster: String,
    pub(crate) node: u64,
    pub(crate) machine_version: u32,
    pub(crate) ready: bool,
    /// Seconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) memory: MemoryUse,
    pub(crate) short: Shortage,
    pub(crate) free_bytes: u64,
    pub(crate) counted: Counted,
    pub(crate) unanswered_bytes: u64,
    pub(crate) unanswered_bytes_max: u64,
    pub(crate) storage: StorageStats,
    /// By id.
    pub(crate) groups: Vec<GroupFigures>,
}

/// One replica at one moment.
#[derive(Clone, Debug)]
pub(crate) struct GroupFigures {
    pub(crate) status: GroupStatus,
    /// Empty for group 0.
    pub(crate) namespace: String,
    /// Operations of this node that wait for the group's answer.
    pub(crate) unanswered: usize,
    /// Empty for group 0.
    pub(crate) shard: ShardFigures,
}

impl GroupFigures {
    pub(crate) fn id(&self) -> u64 {
        self.status.group.get()
    }

    pub(crate) fn topics(&self) -> &[TopicFigures] {
        &self.shard.topics
    }

    pub(crate) fn subscriptions(&self) -> &[SubscriptionFigures] {
        &self.shard.subscriptions
    }

    pub(crate) fn leads(&self) -> bool {
        self.status.role == Role::Leader
    }
}

impl Figures {
    /// Of this moment.
    pub(crate) fn of(core: &Core, shown_max: usize) -> Self {
        let (mut topics_max, mut subscriptions_max) = (shown_max, shown_max);
        let namespaces = namespaces(core);
        let mut groups = Vec::new();
        for group in core.registry.groups() {
            let shard = group.read(|m| m.shard().map(|s| s.figures(topics_max, subscriptions_max)));
            let shard = shard.unwrap_or_default();
            topics_max -= shard.topics.len();
            subscriptions_max -= shard.subscriptions.len();
            let running = core.gateway.running(group.id());
            groups.push(GroupFigures {
                status: group.status(),
                namespace: namespaces.get(&group.id().get()).cloned().unwrap_or_default(),
                unanswered: running.map_or(0, |running| running.forwarder.unanswered()),
                shard,
            });
        }
        let counted = core.gateway.metrics().counted();
        let (unanswered_bytes, unanswered_bytes_max) = core.gateway.unanswered_bytes();
        Self {
            cluster: core.cluster.to_string(),
            node: core.me.node.get(),
            machine_version: core.machine_version_max,
            ready: core.unready().is_none(),
            started_at: (core.leader_clock.wall().get() / 1_000)
                .saturating_sub(core.started.elapsed().as_secs()),
            memory: core.pressure.memory(),
            short: core.pressure.own(),
            free_bytes: core.pressure.free_bytes(),
            counted,
            unanswered_bytes,
            unanswered_bytes_max,
            storage: core.storage.stats(),
            groups,
        }
    }
}

/// Names by group.
fn namespaces(core: &Core) -> BTreeMap<u64, String> {
    let names = core.system(|system| {
        let all = system.namespaces().into_iter();
        let groups = all.flat_map(|n| n.groups.into_iter().map(move |g| (g.get(), n.name.to_string())));
        groups.collect()
    });
    names.unwrap_or_default()
}
