//! Messages that a subscription gives up: to its dead-letter topic, by reference, or nowhere.

use super::topic::Block;
use super::{Context, Lease, Shard, Topic};
use crate::op::PublishRun;
use crate::provenance::{Death, DeathReason};
use crate::publishes::Runs;
use quorate_types::probe;
use quorate_types::{Millis, Subject, SubscriptionId, TopicId};

impl Shard {
    /// Messages that are leased no more leave their subscription.
    pub(crate) fn give_up(
        &mut self,
        id: SubscriptionId,
        lease: &Lease,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        let target = self.dead_letter_topic(id);
        if let Some(target) = target.filter(|_| !probe::planted("a dead letter is lost")) {
            probe::sometimes("dead letter stored");
            self.bury(id, lease, target, reason, ctx);
        }
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            let ledger = &mut subscription.ledger;
            *(if target.is_some() { &mut ledger.dead_lettered } else { &mut ledger.dropped }) += lease.count;
        }
        self.release(lease.topic, lease.offset, lease.count, ctx);
    }

    /// The dead-letter topic of a subscription, if it has one: that is there, because it cannot be deleted before it.
    fn dead_letter_topic(&self, id: SubscriptionId) -> Option<TopicId> {
        let name = self.subscriptions.get(&id)?.config.dead_letter_topic.as_ref()?;
        self.topic_names.get(name.as_str())
    }

    /// Appends messages to a dead-letter topic, a block for each in which they lie.
    fn bury(
        &mut self,
        id: SubscriptionId,
        lease: &Lease,
        target: TopicId,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        let (Some(subscription), Some(origin)) = (self.subscriptions.get(&id), self.topics.get(&lease.topic))
        else {
            return;
        };
        // Nobody has looked into the messages: they are routed by who gave them up.
        let subject = Subject::parse(subscription.name.as_str()).unwrap_or_default();
        let death = Death { subscription: subscription.name.clone(), reason, attempts: lease.attempt };
        for block in references(origin, lease, &death, ctx.now) {
            let run = [PublishRun { subject: subject.clone(), count: block.count }];
            self.store(target, Runs::Plain(&run), block, ctx);
            ctx.spend_some(1);
        }
    }
}

/// Blocks that refer to the messages of a lease where they lie.
fn references(origin: &Topic, lease: &Lease, death: &Death, now: Millis) -> Vec<Block> {
    let end = lease.offset.saturating_add(lease.count);
    let reference = |(first, block): (u64, &Block)| {
        let begin = lease.offset.max(first);
        let skipped = u32::try_from(begin - first).ok()?;
        let count = u32::try_from(end.min(first + u64::from(block.count)).checked_sub(begin)?).ok()?;
        Some(block.reference((&origin.name, first), (skipped, count), Some(death), now))
    };
    origin.blocks_of(lease.offset, end).filter_map(reference).filter(|block| block.count > 0).collect()
}
