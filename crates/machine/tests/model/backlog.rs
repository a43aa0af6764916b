//! The model's part of what may be unsettled in a subscription: counted message by message.

use crate::pair::TOPICS;
use crate::queue::{Message, Place, Queue};
use crate::shard::{Model, known};
use quorate_machine::{DeathReason, PublishView, SubscriptionConfig, WhenFull};
use quorate_types::{Reason, SubscriptionId};
use std::collections::{BTreeMap, BTreeSet};

/// The body of a publish's first message and of the others: with what a fragment adds, each message has as many bytes.
pub(crate) const BODIES: [&[u8]; 2] = [b"0123456789", b"0123456789abcdefgh"];
/// That many. So it does not matter here with which others a message lies in a block: the shares are alike.
pub(crate) const MESSAGE_BYTES: u64 = 22;

impl Queue {
    pub(crate) fn unsettled(&self) -> u64 {
        self.messages.iter().filter(|m| m.place.is_unsettled()).count() as u64
    }

    /// Whether so many messages are more than may be unsettled.
    fn is_too_much(&self, messages: u64) -> bool {
        let limit = self.config.backlog;
        limit.messages_max.is_some_and(|max| messages > max)
            || limit.bytes_max.is_some_and(|max| messages * MESSAGE_BYTES > max)
    }
}

pub(crate) fn is_wrong(config: &SubscriptionConfig) -> bool {
    let limit = config.backlog;
    let nothing = limit.messages_max == Some(0) || limit.bytes_max == Some(0);
    let unsaid = limit.messages_max.is_none() && limit.bytes_max.is_none();
    let nowhere = limit.when_full == WhenFull::DeadLetterOldest && config.dead_letter_topic.is_none();
    nothing || nowhere || (unsaid && limit.when_full != WhenFull::RejectPublish)
}

impl Model {
    /// Whether there is room, in all subscriptions that get something of a publish and refuse it without.
    pub(crate) fn check_backlogs(&self, publish: &PublishView<'_>) -> Result<(), Reason> {
        let name = known(&TOPICS, publish.topic);
        let mut comes: BTreeMap<&str, u64> = BTreeMap::new();
        for run in publish.runs {
            for topic in self.reached(name, run.subject) {
                for (queue, state) in &self.queues {
                    if state.selects(topic, run.subject) {
                        *comes.entry(queue).or_default() += u64::from(run.count);
                    }
                }
            }
        }
        let full = |(queue, comes): (&str, u64)| {
            let state = &self.queues[queue];
            let rejects = state.config.backlog.when_full == WhenFull::RejectPublish;
            rejects && state.is_too_much(state.unsettled() + state.coming + comes)
        };
        if comes.into_iter().any(full) { Err(Reason::BacklogFull) } else { Ok(()) }
    }

    /// What every entry ends with: what is over goes, then what is too much; and again where letters of that came.
    pub(crate) fn give_way(&mut self) {
        let ids = |model: &Self| -> BTreeSet<(SubscriptionId, &'static str)> {
            model.queues.iter().map(|(name, queue)| (queue.id, *name)).collect()
        };
        let mut left = ids(self);
        while let Some((_, name)) = left.pop_first() {
            let sizes = |model: &Self| -> Vec<usize> {
                model.queues.values().map(|queue| queue.messages.len()).collect()
            };
            let before = sizes(self);
            self.expire(name);
            while self.give_one_way(name) {}
            if sizes(self) != before {
                left = ids(self);
            }
        }
    }

    /// The oldest message gives way, if there are too many.
    fn give_one_way(&mut self, name: &'static str) -> bool {
        let queue = &self.queues[name];
        let when_full = queue.config.backlog.when_full;
        if when_full == WhenFull::RejectPublish || !queue.is_too_much(queue.unsettled()) {
            return false;
        }
        let unsettled = |message: &Message| message.place.is_unsettled();
        let oldest = queue.messages.iter().position(unsettled).unwrap();
        let message = &queue.messages[oldest];
        let letter = self.letters.get(&(message.topic, message.offset)).and_then(|letter| letter.death);
        let again = letter.is_some_and(|(_, reason, _)| reason == DeathReason::BacklogFull);
        let attempts = match message.place {
            Place::Ready { attempts } | Place::Delayed { attempts, .. } => attempts,
            Place::Leased { attempt, .. } => attempt,
            other => panic!("{other:?} is settled"),
        };
        if when_full == WhenFull::DeadLetterOldest && !again {
            self.give_up(name, oldest, attempts, DeathReason::BacklogFull);
        } else {
            self.put(name, oldest, Place::Dropped);
        }
        true
    }
}
