//! A subscription of the model, and its messages.

use crate::common;
use crate::onward::Stored;
use quorate_machine::{MessageOptions, SubscriptionConfig, SubscriptionKind};
use quorate_types::{ConsumerId, SubscriptionId, TopicId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Ready { attempts: u32 },
    Leased { consumer: ConsumerId, attempt: u32, nth: u64, until: u64 },
    Delayed { attempts: u32, due: u64 },
    Acked,
    Expired,
    DeadLettered,
    Dropped,
    Purged,
}

impl Place {
    pub(crate) fn is_unsettled(self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Leased { .. } | Self::Delayed { .. })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: TopicId,
    pub(crate) offset: u64,
    pub(crate) place: Place,
    pub(crate) options: MessageOptions,
    /// When it expires; 0: never.
    pub(crate) expires: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) config: SubscriptionConfig,
    pub(crate) messages: Vec<Message>,
    /// Topic and filter, with the first offset that it selects.
    pub(crate) bindings: BTreeMap<(&'static str, &'static str), u64>,
    /// Topics that it catches up with, and how far it is.
    pub(crate) cursors: BTreeMap<&'static str, u64>,
    /// What the commit that is being done has for it and the cursors bring later.
    pub(crate) coming: u64,
    /// Of each topic that was bound, the oldest offset that was not settled.
    pub(crate) marks: BTreeMap<&'static str, BTreeMap<TopicId, u64>>,
    pub(crate) id: SubscriptionId,
    pub(crate) attached: u64,
}

impl Queue {
    /// What is granted before other things that anybody may have.
    pub(crate) fn rank(&self, at: usize) -> (Reverse<u8>, u64) {
        let priority = if self.config.priorities { self.messages[at].options.priority } else { 0 };
        (Reverse(priority), at as u64)
    }

    pub(crate) fn looks_at_options(&self) -> bool {
        self.config.priorities || self.config.kind == SubscriptionKind::KeyShared
    }

    pub(crate) fn wants(&self, topic: &str, offset: u64, message: &Stored) -> bool {
        let header = message.marked.then_some(("k", &b"v"[..]));
        let selects = |filter: &str| common::selector(filter).matches(&message.subject, header.into_iter());
        self.bindings.iter().any(|((t, filter), from)| *t == topic && *from <= offset && selects(filter))
    }

    /// Whether a binding selects a subject, whatever else it asks for.
    pub(crate) fn selects(&self, topic: &str, subject: &str) -> bool {
        let mut filters = self.bindings.keys().filter(|(t, _)| *t == topic).map(|(_, filter)| *filter);
        filters.any(|filter| common::selector(filter).filter.matches(subject))
    }

    /// Whether a filter asks for headers, and none takes everything.
    pub(crate) fn looks_at_headers(&self, topic: &str) -> bool {
        let mut filters = self.bindings.keys().filter(|(t, _)| *t == topic).map(|(_, filter)| *filter);
        filters.clone().any(|filter| filter.contains('{')) && !filters.any(|filter| filter == "#")
    }

    /// The cursor passes one message.
    pub(crate) fn pass(
        &mut self,
        id: TopicId,
        topic: &'static str,
        message: &Stored,
        (ttl, now): (Option<u64>, u64),
    ) {
        let offset = self.cursors[topic];
        if self.wants(topic, offset, message) {
            self.messages.push(message.routed((id, offset), ttl, now));
        }
        self.cursors.insert(topic, offset + 1);
    }
}

impl Stored {
    /// What a subscription gets.
    pub(crate) fn routed(&self, (topic, offset): (TopicId, u64), ttl: Option<u64>, now: u64) -> Message {
        let MessageOptions { ttl_ms, deliver_at, delay_ms, .. } = self.options;
        let due = deliver_at.get().max(self.at + delay_ms);
        let ttl = [Some(ttl_ms).filter(|ms| *ms > 0), ttl].into_iter().flatten().min();
        let place =
            if due > now { Place::Delayed { attempts: 0, due } } else { Place::Ready { attempts: 0 } };
        let expires = ttl.map_or(0, |ttl| due.max(self.at) + ttl);
        Message { topic, offset, place, options: self.options, expires }
    }
}

/// Of a key nothing that is before it waits or is ready, and nobody else holds any.
pub(crate) fn may_have(messages: &[Message], at: usize, id: ConsumerId) -> bool {
    let key = messages[at].options.key;
    let mut others = messages.iter().enumerate().filter(|(other, m)| *other != at && m.options.key == key);
    !key.is_some()
        || others.all(|(other, m)| match m.place {
            Place::Leased { consumer, .. } => consumer == id,
            Place::Ready { .. } | Place::Delayed { attempts: 1.., .. } => other > at,
            _ => true,
        })
}

pub(crate) fn check_key(messages: &[Message], at: usize, id: ConsumerId) {
    assert!(
        may_have(messages, at, id),
        "position {at} was granted before something of its key, or to another consumer"
    );
}

pub(crate) fn is_held(message: &Message, by: ConsumerId, in_attempt: u32) -> bool {
    matches!(message.place, Place::Leased { consumer, attempt, .. } if consumer == by && attempt == in_attempt)
}
