//! From consensus to the groups' deliveries.

use super::Delivery;
use quorate_consensus::{EffectSink, GroupEvent};
use quorate_machine::Effect;
use quorate_types::GroupId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Takes the events of all groups of this node. Made before the groups; deliveries come and go with them.
pub(crate) struct EffectRouter {
    deliveries: Mutex<BTreeMap<GroupId, Delivery>>,
    placement: watch::Sender<u64>,
}

impl EffectRouter {
    /// Without deliveries.
    pub(crate) fn new() -> Self {
        Self { deliveries: Mutex::default(), placement: watch::Sender::new(0) }
    }

    /// Ticks when nodes, namespaces, placement, users, roles or quotas changed in group 0, or its state was replaced by a snapshot.
    pub(crate) fn placement_changed(&self) -> watch::Receiver<u64> {
        self.placement.subscribe()
    }

    pub(crate) fn add(&self, group: GroupId, delivery: Delivery) {
        self.lock().insert(group, delivery);
    }

    pub(crate) fn remove(&self, group: GroupId) {
        self.lock().remove(&group);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, Delivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EffectSink for EffectRouter {
    fn emit(&self, event: GroupEvent) {
        let placement = match &event {
            GroupEvent::Effects { effects, .. } => {
                effects.iter().any(|e| matches!(e, Effect::PlacementChanged))
            }
            GroupEvent::CaughtUp { group } | GroupEvent::Installed { group, .. } => *group == GroupId::SYSTEM,
        };
        if placement {
            self.placement.send_modify(|n| *n += 1);
        }
        let delivery = self.lock().get(&event.group()).cloned();
        if let Some(delivery) = delivery {
            delivery.take(event);
        }
    }
}
