//! An attached consumer.

use crate::op::ConsumerIdentity;
use crate::rows::RowKey;
use quorate_types::{ConsumerId, NodeId, SubscriptionId};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) node: NodeId,
    pub(crate) subscription: SubscriptionId,
    /// How many messages it may hold.
    pub(crate) credit: u32,
    /// Who is served first: the higher.
    pub(crate) priority: i32,
    /// Its number in the order of attaching to the subscription; one that comes back keeps it.
    pub(crate) place: u64,
    pub(crate) identity: Option<ConsumerIdentity>,
    /// How many it was ever granted.
    pub(crate) granted: u64,
    /// How many it holds. Derived.
    pub(crate) outstanding: u64,
    /// Positions where its leases begin. Derived.
    pub(crate) leases: BTreeSet<u64>,
}

impl Consumer {
    pub(crate) fn new(
        id: ConsumerId,
        node: NodeId,
        subscription: SubscriptionId,
        credit: u32,
        (priority, place): (i32, u64),
        identity: Option<ConsumerIdentity>,
    ) -> Self {
        let (granted, outstanding, leases) = (0, 0, BTreeSet::new());
        Self { id, node, subscription, credit, priority, place, identity, granted, outstanding, leases }
    }

    /// How many more it may be granted.
    pub(crate) fn free(&self) -> u64 {
        u64::from(self.credit).saturating_sub(self.outstanding)
    }

    pub(crate) fn row(&self) -> RowKey {
        RowKey::Consumer(self.id)
    }
}
