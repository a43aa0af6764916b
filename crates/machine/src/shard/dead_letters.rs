//! Messages that a subscription gives up: to its dead-letter topic, by reference, or nowhere.

use super::topic::{Block, Piece};
use super::{Context, Gone, Shard, Subscription, Topic};
use crate::ended::Outcome;
use crate::op::PublishRun;
use crate::options::MessageOptions;
use crate::provenance::{Death, DeathReason};
use crate::publishes::Runs;
use quorate_types::probe;
use quorate_types::{Millis, Subject, SubscriptionId, TopicId};

impl Shard {
    /// Messages that are leased no more, or wait no more, leave their subscription.
    pub(crate) fn give_up(
        &mut self,
        id: SubscriptionId,
        gone: impl Into<Gone>,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        let gone = gone.into();
        let expired = reason == DeathReason::Expired;
        let kept = |s: &Subscription| !expired || s.config.dead_letter_expired;
        let target = self.dead_letter_topic(id).filter(|_| self.subscriptions.get(&id).is_some_and(kept));
        let next = |topic| self.topics.get(&topic).map_or(0, |topic| topic.next_offset);
        let outcome = match target {
            Some(topic) => Outcome::DeadLettered { reason, topic, offset: next(topic) },
            None if expired => Outcome::Expired,
            None => Outcome::Dropped { reason },
        };
        if let Some(target) = target.filter(|_| !probe::planted("a dead letter is lost")) {
            probe::sometimes("dead letter stored");
            self.bury(id, &gone, target, reason, ctx);
        }
        self.conclude(id, gone, outcome, ctx);
    }

    /// The dead-letter topic of a subscription, if it has one: that is there, because it cannot be deleted before it.
    pub(super) fn dead_letter_topic(&self, id: SubscriptionId) -> Option<TopicId> {
        let name = self.subscriptions.get(&id)?.config.dead_letter_topic.as_ref()?;
        self.topic_names.get(name.as_str())
    }

    /// Appends messages to a dead-letter topic, a block for each in which they lie.
    fn bury(
        &mut self,
        id: SubscriptionId,
        gone: &Gone,
        target: TopicId,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        for (block, run) in self.letters(id, gone, reason, ctx.now) {
            self.store(target, Runs::Plain(&[run]), block, ctx);
            ctx.spend_some(1);
        }
    }

    /// What goes to a dead-letter topic of messages that a subscription gives up.
    pub(super) fn letters(
        &self,
        id: SubscriptionId,
        gone: &Gone,
        reason: DeathReason,
        now: Millis,
    ) -> Vec<(Block, PublishRun)> {
        let (Some(subscription), Some(origin)) = (self.subscriptions.get(&id), self.topics.get(&gone.topic))
        else {
            return Vec::new();
        };
        // Nobody has looked into the messages: they are routed by who gave them up.
        let subject = Subject::parse(subscription.name.as_str()).unwrap_or_default();
        let death = Death { subscription: subscription.name.clone(), reason, attempts: gone.attempts };
        let run = |count| PublishRun { subject: subject.clone(), count, options: MessageOptions::default() };
        let blocks = references(origin, gone, &death, now).into_iter();
        blocks
            .map(|block| {
                let run = run(block.count);
                (block, run)
            })
            .collect()
    }
}

/// Blocks that refer to messages where they lie.
fn references(origin: &Topic, run: &Gone, death: &Death, now: Millis) -> Vec<Block> {
    let end = run.offset.saturating_add(run.count);
    let reference = |piece: Piece<'_>| piece.reference(&origin.name, Some(death), now);
    origin.pieces(run.offset, end).filter_map(reference).collect()
}
