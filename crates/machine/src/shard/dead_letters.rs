//! Messages that a subscription gives up: to its dead-letter topic, or nowhere.
//!
//! A dead letter is a reference. The dead-letter topic gets blocks of its own, with dense offsets, which lie in the entries
//! where the messages were published; no byte is copied, and an entry is kept as long as any topic has a block in it. What is
//! to be said of the messages lies over the block, and is added when they are read.

use super::topic::Block;
use super::{Context, Ready, Shard, Subscription, Topic};
use crate::dead_letter::{DeadLetter, DeathReason};
use crate::op::PublishRun;
use crate::options::MessageOptions;
use crate::publishes::Runs;
use quorate_types::probe;
use quorate_types::{Millis, Subject, SubscriptionId, TopicId};
use serde::{Deserialize, Serialize};

/// What a block of a dead-letter topic has more than others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The block's first message, counted from the beginning of its first fragment.
    pub(crate) slot: u32,
    pub(crate) letter: DeadLetter,
}

impl Origin {
    /// That of the messages behind the first `skipped`.
    pub(super) fn after(&self, skipped: u32) -> Self {
        let offset = self.letter.offset.saturating_add(u64::from(skipped));
        Self { slot: self.slot.saturating_add(skipped), letter: DeadLetter { offset, ..self.letter.clone() } }
    }

    /// Whether `next` is what follows `count` messages of this one.
    pub(super) fn goes_on_with(&self, next: &Self, count: u32) -> bool {
        let (mine, other) = (&self.letter, &next.letter);
        self.slot.checked_add(count) == Some(next.slot)
            && mine.offset.checked_add(u64::from(count)) == Some(other.offset)
            && *mine == DeadLetter { offset: mine.offset, ..other.clone() }
    }
}

impl Shard {
    /// Messages that are leased no more, or wait no more, leave their subscription.
    pub(crate) fn give_up(
        &mut self,
        id: SubscriptionId,
        run: &Ready,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        let expired = reason == DeathReason::Expired;
        let kept = |s: &Subscription| !expired || s.config.dead_letter_expired;
        let target = self.dead_letter_topic(id).filter(|_| self.subscriptions.get(&id).is_some_and(kept));
        if let Some(target) = target.filter(|_| !probe::planted("a dead letter is lost")) {
            probe::sometimes("dead letter stored");
            self.bury(id, run, target, reason, ctx);
        }
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            let ledger = &mut subscription.ledger;
            let place = match target {
                Some(_) => &mut ledger.dead_lettered,
                None if expired => &mut ledger.expired,
                None => &mut ledger.dropped,
            };
            *place += run.count;
        }
        self.release(run.topic, run.offset, run.count, ctx);
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
        run: &Ready,
        target: TopicId,
        reason: DeathReason,
        ctx: &mut Context<'_>,
    ) {
        let (Some(subscription), Some(origin)) = (self.subscriptions.get(&id), self.topics.get(&run.topic))
        else {
            return;
        };
        // Nobody has looked into the messages: they are routed by who gave them up.
        let subject = Subject::parse(subscription.name.as_str()).unwrap_or_default();
        let letter = DeadLetter {
            topic: origin.name.clone(),
            offset: run.offset,
            stored: Millis::default(),
            subscription: subscription.name.clone(),
            reason,
            attempts: run.attempts,
        };
        for block in references(origin, run, &letter, ctx.now) {
            let options = MessageOptions::default();
            let run = [PublishRun { subject: subject.clone(), count: block.count, options }];
            self.store(target, Runs::Plain(&run), block, ctx);
            ctx.spend_some(1);
        }
    }
}

/// Blocks that refer to messages where they lie.
fn references(origin: &Topic, run: &Ready, letter: &DeadLetter, now: Millis) -> Vec<Block> {
    let end = run.offset.saturating_add(run.count);
    let reference = |(first, block): (u64, &Block)| {
        let begin = run.offset.max(first);
        let skipped = u32::try_from(begin - first).ok()?;
        let count = u32::try_from(end.min(first + u64::from(block.count)).checked_sub(begin)?).ok()?;
        let (slot, letter) = match block.origin.as_deref() {
            // It died before: what it was at first stays, what became of it last counts.
            Some(before) => {
                let Origin { slot, letter: DeadLetter { topic, offset, stored, .. } } = before.after(skipped);
                (slot, DeadLetter { topic, offset, stored, ..letter.clone() })
            }
            None => (skipped, DeadLetter { offset: begin, stored: block.stamp, ..letter.clone() }),
        };
        // For retention by size: the share of the messages in what was published.
        let bytes = u64::from(block.bytes) * u64::from(count) / u64::from(block.count.max(1));
        Some(Block {
            index: block.index,
            fragment: block.fragment,
            count,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            begin: 0,
            stamp: now,
            live: 0,
            timed: false,
            origin: Some(Box::new(Origin { slot, letter })),
        })
    };
    origin.blocks_of(run.offset, end).filter_map(reference).filter(|block| block.count > 0).collect()
}
