//! What delivery and reading need of a group's replica on this node.

use crate::liveness::Liveness;
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_consensus::Group;
use quorate_machine::{BlockSlice, LeaseRun, entry};
use quorate_types::{ConsumerId, NodeId, Reason, Refusal, TopicId};
use std::sync::Arc;

/// Where messages of a topic are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Located {
    /// The topic's name; `None` when it is deleted.
    pub(crate) topic: Option<Arc<str>>,
    /// Those of the wanted messages that are kept, in order of offset.
    pub(crate) slices: Vec<BlockSlice>,
}

/// The messages of a replica.
pub(crate) trait Messages: Send + Sync + 'static {
    /// Finds messages.
    fn locate(&self, topic: TopicId, offset: u64, count: u64) -> Located;

    /// Reads an entry's block; `None` when it is gone.
    fn block(&self, index: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>>;
}

/// A replica, as delivery sees it.
pub(crate) trait Replica: Messages {
    /// The consumers that the state has attached to this node, of all its sessions.
    fn consumers(&self) -> Vec<ConsumerId>;

    /// What a consumer has leased, in order of granting.
    fn leases(&self, consumer: ConsumerId) -> Vec<LeaseRun>;

    /// What of a run that was granted to a consumer it still holds: leases end by time while a slow reader lets them wait.
    fn held(&self, consumer: ConsumerId, run: &LeaseRun) -> Vec<LeaseRun>;

    /// Whether this node may deliver now (DESIGN §6.5).
    fn may_deliver(&self) -> bool;
}

/// A group's replica here.
pub(crate) struct GroupReplica {
    /// It.
    pub(crate) group: Group,
    /// This node.
    pub(crate) me: NodeId,
    /// Whether the leader hears it.
    pub(crate) liveness: Liveness,
}

impl Messages for GroupReplica {
    fn locate(&self, topic: TopicId, offset: u64, count: u64) -> Located {
        self.group.read(|machine| {
            let Some(shard) = machine.shard() else { return Located::default() };
            let name = shard.topic_name(topic).map(|name| Arc::from(name.as_str()));
            Located { topic: name, slices: shard.locate(topic, offset, count) }
        })
    }

    fn block(&self, index: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
        Box::pin(async move {
            let read = self.group.entry(index).await;
            let bytes = read.map_err(|e| Refusal::new(Reason::StorageFailed, e.to_string()))?;
            Ok(bytes.and_then(|bytes| entry::block_of(&bytes)))
        })
    }
}

impl Replica for GroupReplica {
    fn consumers(&self) -> Vec<ConsumerId> {
        let attached = |m: &quorate_machine::Machine| m.shard().map(|s| s.consumers_of(self.me));
        self.group.read(attached).unwrap_or_default().iter().map(|view| view.consumer).collect()
    }

    fn leases(&self, consumer: ConsumerId) -> Vec<LeaseRun> {
        let leased = |m: &quorate_machine::Machine| m.shard().map(|s| s.leases_of(consumer));
        let mut runs = self.group.read(leased).unwrap_or_default();
        runs.sort_unstable_by_key(|run| run.granted_before);
        runs
    }

    fn held(&self, consumer: ConsumerId, run: &LeaseRun) -> Vec<LeaseRun> {
        self.group.read(|m| m.shard().map(|s| s.held(consumer, run))).unwrap_or_default()
    }

    fn may_deliver(&self) -> bool {
        self.liveness.may_deliver(self.group.id())
    }
}
