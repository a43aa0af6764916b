//! How messages leave a subscription for good: all of them do it here.

use super::{Context, Lease, Ready, Shard};
use crate::ended::{Ended, Outcome};
use quorate_types::{ConsumerId, SubscriptionId, TopicId};

/// Consecutive messages that were taken out of a subscription's queue, and will not come back to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) topic: TopicId,
    pub(crate) offset: u64,
    pub(crate) count: u64,
    /// How often they had been sent.
    pub(crate) attempts: u32,
    /// Who had them.
    pub(crate) consumer: Option<ConsumerId>,
}

impl From<&Ready> for Gone {
    fn from(run: &Ready) -> Self {
        let Ready { topic, offset, count, attempts, .. } = *run;
        Self { topic, offset, count, attempts, consumer: None }
    }
}

impl From<&Lease> for Gone {
    fn from(lease: &Lease) -> Self {
        let Lease { topic, offset, count, attempt, consumer, .. } = *lease;
        Self { topic, offset, count, attempts: attempt, consumer: Some(consumer) }
    }
}

impl Shard {
    /// The messages are counted where they went, let go of their blocks, and are told of.
    pub(crate) fn conclude(
        &mut self,
        id: SubscriptionId,
        gone: impl Into<Gone>,
        outcome: Outcome,
        ctx: &mut Context<'_>,
    ) {
        self.conclude_some(id, gone.into(), outcome, u32::MAX, ctx);
    }

    /// The same for as many of the first messages as lie in `blocks_max` blocks. Answers how many messages, and how many blocks
    /// that were.
    pub(crate) fn conclude_some(
        &mut self,
        id: SubscriptionId,
        gone: Gone,
        outcome: Outcome,
        blocks_max: u32,
        ctx: &mut Context<'_>,
    ) -> (u64, u32) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return (0, 0) };
        let Gone { topic, offset, count, attempts, consumer } = gone;
        let (mut done, mut blocks) = (count, 0);
        if let Some(state) = self.topics.get_mut(&topic) {
            // A block that nobody needs any more is not there to be weighed afterwards.
            if subscription.weighs() {
                let bytes = state.weigh(offset, count, blocks_max);
                subscription.backlog_bytes = subscription.backlog_bytes.saturating_sub(bytes);
            }
            (done, blocks) = state.release(offset, count, blocks_max, ctx);
        }
        let ledger = &mut subscription.ledger;
        let place = match outcome {
            Outcome::Acked => &mut ledger.acked,
            Outcome::Expired => &mut ledger.expired,
            Outcome::DeadLettered { .. } => &mut ledger.dead_lettered,
            Outcome::Dropped { .. } => &mut ledger.dropped,
            Outcome::Purged => &mut ledger.purged,
        };
        *place += done;
        if done > 0 {
            let at = ctx.now;
            ctx.ended(Ended {
                subscription: id,
                topic,
                offset,
                count: done,
                outcome,
                attempts,
                consumer,
                at,
            });
        }
        (done, blocks)
    }
}
