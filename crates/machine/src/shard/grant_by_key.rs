//! Grants where keys stick to consumers: to each what it may have, whoever else could have it.

use super::grant::lease;
use super::{Context, Shard};
use crate::rows::RowKey;
use quorate_types::{ConsumerId, SubscriptionId};

impl Shard {
    /// Leases what is ready to whoever has credit and may have it. Those of the highest priority come first; equal ones take
    /// turns, a run at a time.
    pub(super) fn grant_by_key(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        for mut equals in subscription.free.levels(subscription.served) {
            // A grant takes a key from the others and gives them none: who can have nothing now cannot later.
            while !equals.is_empty() {
                let share = equals.len() as u64;
                let granted = |consumer: &ConsumerId| self.grant_one(id, *consumer, share, ctx);
                equals.retain(granted);
            }
        }
    }

    /// A run, or what the consumer's credit allows of it; of messages without a key its share. Answers whether it may
    /// have more.
    fn grant_one(&mut self, id: SubscriptionId, next: ConsumerId, share: u64, ctx: &mut Context<'_>) -> bool {
        loop {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return false };
            let Some(position) = subscription.keys.next(next) else { return false };
            let Some(run) = subscription.ready.get(&position).copied() else { return false };
            if self.doomed.contains(&run.topic) {
                if !self.purge_ready(id, position, run.count, ctx) {
                    return false;
                }
                continue;
            }
            let Some(consumer) = self.consumers.get_mut(&next) else { return false };
            let fair = if run.label.key.is_some() { run.count } else { run.count.div_ceil(share) };
            subscription.served = Some(next);
            ctx.touch(RowKey::Subscription(id));
            let granted = lease(subscription, consumer, (position, fair.min(consumer.free())), ctx);
            if consumer.free() == 0 {
                subscription.free.remove(consumer);
                return false;
            }
            return granted > 0;
        }
    }

    /// Whether a consumer with credit waits for something that it may have.
    pub(super) fn keeps_waiting(&self, id: SubscriptionId) -> bool {
        let Some(subscription) = self.subscriptions.get(&id) else { return false };
        let mut free = subscription.free.levels(None).into_iter().flatten();
        free.any(|consumer| subscription.keys.next(consumer).is_some())
    }
}
