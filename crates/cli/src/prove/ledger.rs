//! What was sent, what was answered, what was delivered and what is stored: every event is checked when it is noted,
//! in constant time, against a few bytes per message.

use super::payload::Key;
use super::verdict::{Counts, Violations};
use quorate_types::Shards;

/// What the publisher learned about one message. A timeout is not a failure: it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A receipt came: it must be there for ever, at this offset.
    Confirmed {
        /// Its offset in the topic.
        offset: u64,
    },
    /// Refused for sure: it must never appear.
    Refused,
    /// Nobody knows: it may appear, once.
    Unknown,
}

/// One message as one consumer got it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Which message.
    pub(crate) key: Key,
    /// Its offset in the topic.
    pub(crate) offset: u64,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// The attachment that got it: every attach, also of the same consumer again, has another number.
    pub(crate) attachment: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Message {
    /// Offset + 1 of every place where it was seen; 0: not seen.
    place: u64,
    state: State,
    read_back: bool,
    stored_twice: bool,
    /// Offset + 1 in the topic to which it was moved; 0: it was not.
    moved: u64,
    moved_twice: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Pending,
    Confirmed,
    Refused,
    Unknown,
}

/// One message in one subscription.
#[derive(Clone, Copy, Debug, Default)]
struct Delivered {
    /// Its place among the first deliveries of the subscription, from 1; 0: not delivered.
    order: u32,
    /// Newest attempt that was delivered, and to which attachment.
    attempt: u32,
    attachment: u32,
    /// Attempt of the committed ack; 0: none.
    acked: u32,
    violated: bool,
}

#[derive(Debug)]
struct Subscription {
    /// Only one consumer at a time is ever attached: first deliveries must be in order.
    exclusive: bool,
    first_deliveries: u32,
    /// Per publisher, per message.
    delivered: Vec<Vec<Delivered>>,
    confirmed_missing: u64,
}

/// The history of one run. Publishers and subscriptions are numbered from 0.
#[derive(Debug)]
pub(crate) struct Ledger {
    messages: Vec<Vec<Message>>,
    subscriptions: Vec<Subscription>,
    /// Which message was seen at which offset of the topic; dense, because the topic is the run's own.
    offsets: Vec<Option<Key>>,
    counts: Counts,
    violations: Violations,
}

/// Offsets may run ahead of what was sent by so much before they are called nonsense: an offset that is used as an index
/// must not be able to take all memory.
const OFFSET_SLACK: u64 = 1 << 20;
/// As above. Of a topic on several shards the offset counts with the shard: see [`super::history::History`].
const OFFSETS_PER_MESSAGE: u64 = 4 * Shards::MAX as u64;

impl Ledger {
    /// An empty history. `exclusive` has one flag per subscription: whether it has one consumer at a time.
    #[must_use]
    pub(crate) fn new(publishers: usize, exclusive: &[bool]) -> Self {
        let subscription = |&exclusive: &bool| Subscription {
            exclusive,
            first_deliveries: 0,
            delivered: vec![Vec::new(); publishers],
            confirmed_missing: 0,
        };
        Self {
            messages: vec![Vec::new(); publishers],
            subscriptions: exclusive.iter().map(subscription).collect(),
            offsets: Vec::new(),
            counts: Counts::default(),
            violations: Violations::default(),
        }
    }

    /// The next message of a publisher, about to be sent.
    pub(crate) fn send(&mut self, publisher: u32) -> Option<Key> {
        let messages = self.messages.get_mut(usize::try_from(publisher).ok()?)?;
        let key = Key { publisher, sequence: messages.len() as u64 };
        messages.push(Message::default());
        self.counts.sent += 1;
        Some(key)
    }

    /// What became of it, said once per message.
    pub(crate) fn answered(&mut self, key: Key, outcome: Outcome) {
        let state = match outcome {
            Outcome::Confirmed { .. } => State::Confirmed,
            Outcome::Refused => State::Refused,
            Outcome::Unknown => State::Unknown,
        };
        let Some(message) = self.message(key) else { return };
        let first_answer = message.state == State::Pending;
        message.state = state;
        if !first_answer {
            return;
        }
        match outcome {
            Outcome::Confirmed { offset } => {
                self.counts.confirmed += 1;
                self.placed(key, offset);
                for subscription in &mut self.subscriptions {
                    if subscription.slot(key).is_some_and(|d| d.order == 0) {
                        subscription.confirmed_missing += 1;
                    }
                }
            }
            Outcome::Refused => self.counts.refused += 1,
            Outcome::Unknown => self.counts.unknown += 1,
        }
    }

    /// A consumer of a subscription got a message.
    pub(crate) fn delivered(&mut self, subscription: usize, seen: Seen) {
        self.counts.delivered += 1;
        let Some(message) = self.message(seen.key) else {
            self.violations.corrupt += 1;
            return;
        };
        let confirmed = message.state == State::Confirmed;
        self.placed(seen.key, seen.offset);
        let Some(subscription) = self.subscriptions.get_mut(subscription) else { return };
        let order = subscription.first_deliveries + 1;
        let Some(slot) = subscription.slot(seen.key) else { return };
        if slot.order == 0 {
            slot.order = order;
            subscription.first_deliveries = order;
            if confirmed {
                subscription.confirmed_missing -= 1;
            }
        } else {
            self.counts.redelivered += 1;
        }
        let Some(slot) = subscription.slot(seen.key) else { return };
        if slot.attempt == seen.attempt && slot.attachment != seen.attachment {
            self.violations.leased_twice += 1;
        }
        // The very attempt that was acked may still arrive late elsewhere (that is caught above); within its own
        // attachment, or under a newer attempt, it was delivered again although it was done.
        let again = slot.acked != 0
            && (seen.attempt > slot.acked
                || (seen.attempt == slot.acked && seen.attachment == slot.attachment));
        if again && !slot.violated {
            slot.violated = true;
            self.violations.delivered_after_ack += 1;
        }
        if seen.attempt >= slot.attempt {
            (slot.attempt, slot.attachment) = (seen.attempt, seen.attachment);
        }
    }

    /// The cluster answered that the ack of this attempt is committed.
    pub(crate) fn acked(&mut self, subscription: usize, key: Key, attempt: u32) {
        let Some(slot) = self.subscriptions.get_mut(subscription).and_then(|s| s.slot(key)) else { return };
        if slot.acked == 0 {
            self.counts.acked += 1;
        }
        slot.acked = attempt;
        // A newer attempt was delivered before this answer was heard: one of the two must not have been.
        if slot.attempt > attempt && !slot.violated {
            slot.violated = true;
            self.violations.delivered_after_ack += 1;
        }
    }

    /// The topic holds this message at this offset: read back after the run.
    pub(crate) fn read_back(&mut self, key: Key, offset: u64) {
        match self.message(key) {
            Some(message) => message.read_back = true,
            None => self.violations.corrupt += 1,
        }
        self.placed(key, offset);
    }

    /// A message was moved on, to this offset: read back after the run, perhaps several times.
    pub(crate) fn moved(&mut self, key: Key, offset: u64) {
        let Some(message) = self.message(key) else {
            self.violations.corrupt += 1;
            return;
        };
        if message.moved == 0 {
            message.moved = offset.saturating_add(1);
            self.counts.moved += 1;
        } else if message.moved != offset.saturating_add(1) && !message.moved_twice {
            message.moved_twice = true;
            self.violations.moved_twice += 1;
        }
    }

    /// Something came whose bytes nobody sent.
    pub(crate) fn corrupt(&mut self) {
        self.violations.corrupt += 1;
    }

    /// Confirmed messages that a subscription has not got yet, over all subscriptions.
    #[must_use]
    pub(crate) fn outstanding(&self) -> u64 {
        self.subscriptions.iter().map(|s| s.confirmed_missing).sum()
    }

    /// What was counted so far.
    #[must_use]
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is wrong so far, before the final check.
    #[cfg(test)]
    pub(crate) fn violations(&self) -> &Violations {
        &self.violations
    }

    /// Closes the books after the topic was read to its end: what never came is lost. `moving`: workers moved everything on,
    /// and the topic to which they did was read, too.
    pub(crate) fn close(&self, moving: bool) -> (Counts, Violations) {
        let mut violations = self.violations.clone();
        for message in self.messages.iter().flatten() {
            match message.state {
                State::Confirmed if !message.read_back => violations.lost_stored += 1,
                State::Confirmed if moving && message.moved == 0 => violations.lost_unmoved += 1,
                State::Refused if message.place + message.moved != 0 => violations.phantom += 1,
                _ => {}
            }
        }
        for subscription in &self.subscriptions {
            violations.lost_undelivered += subscription.confirmed_missing;
            if subscription.exclusive {
                violations.out_of_order += out_of_order(&self.messages, subscription);
            }
        }
        (self.counts.clone(), violations)
    }

    fn message(&mut self, key: Key) -> Option<&mut Message> {
        let publisher = usize::try_from(key.publisher).ok()?;
        self.messages.get_mut(publisher)?.get_mut(usize::try_from(key.sequence).ok()?)
    }

    /// The message was seen at the offset, in a receipt, a delivery or a read.
    fn placed(&mut self, key: Key, offset: u64) {
        let sent = self.counts.sent;
        let Some(message) = self.message(key) else { return };
        if message.place == 0 {
            message.place = offset.saturating_add(1);
        } else if message.place != offset.saturating_add(1) && !message.stored_twice {
            message.stored_twice = true;
            self.violations.stored_twice += 1;
        }
        let index = (offset < OFFSETS_PER_MESSAGE * sent + OFFSET_SLACK)
            .then(|| usize::try_from(offset).ok())
            .flatten();
        let Some(index) = index else {
            self.violations.offset_clash += 1;
            return;
        };
        if index >= self.offsets.len() {
            self.offsets.resize(index + 1, None);
        }
        match self.offsets.get_mut(index) {
            Some(Some(other)) if *other != key => self.violations.offset_clash += 1,
            Some(slot) => *slot = Some(key),
            None => {}
        }
    }
}

impl Subscription {
    fn slot(&mut self, key: Key) -> Option<&mut Delivered> {
        let slots = self.delivered.get_mut(usize::try_from(key.publisher).ok()?)?;
        let index = usize::try_from(key.sequence).ok()?;
        if index >= slots.len() {
            slots.resize(index + 1, Delivered::default());
        }
        slots.get_mut(index)
    }
}

/// Confirmed messages that were first delivered after a later confirmed one of the same publisher. Those of unknown
/// outcome are left out: a publisher that gave one up does not wait for it.
fn out_of_order(messages: &[Vec<Message>], subscription: &Subscription) -> u64 {
    let mut count = 0;
    for (messages, delivered) in messages.iter().zip(&subscription.delivered) {
        let confirmed =
            messages.iter().zip(delivered).filter(|(m, d)| m.state == State::Confirmed && d.order > 0);
        let mut newest = 0;
        for (_, slot) in confirmed {
            if slot.order < newest {
                count += 1;
            }
            newest = newest.max(slot.order);
        }
    }
    count
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
