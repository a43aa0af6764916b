//! What a commit settles and publishes.

use crate::consumer::Delivery;
use crate::message::Message;
use bytes::Bytes;
use quorate_wire::v1;
use std::collections::{BTreeMap, BTreeSet};

/// Deliveries to settle and messages to publish in one step: all of it happens, in one entry of the log, or nothing.
///
/// A worker that takes a message, publishes what comes of it and acks it in one commit does so exactly once. When the commit is
/// not done, the message is delivered again; when it is done, never. No crash of the worker or of any node makes a third case.
///
/// It is a step of one shard. In a namespace with several, what it settles and publishes must belong on one (`CROSS_SHARD`): topics
/// with one home, or topics that are spread by key and messages with one key.
///
/// ```no_run
/// # use quorate_client::{Commit, Consumer, Message, Publisher, PublishError, Reason};
/// # async fn work(mut orders: Consumer, publisher: Publisher) -> Result<(), Box<dyn std::error::Error>> {
/// while let Some(delivery) = orders.next().await {
///     let delivery = delivery?;
///     let invoice = Message::new(delivery.message.payload.clone());
///     match publisher.commit(Commit::new().ack(&delivery).publish("invoices", invoice)).await {
///         Ok(_) => {}
///         // Somebody else has it by now: it is theirs to do.
///         Err(PublishError::Refused(refusal)) if refusal.reason == Reason::StaleLease => {}
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// By subscription and identity of the consumer.
    settles: BTreeMap<(String, Bytes), Vec<Settle>>,
    publishes: Vec<(String, Message)>,
    /// Where the deliveries lie.
    shards: BTreeSet<u32>,
}

/// How one delivery is settled.
#[derive(Clone, Copy, Debug)]
struct Settle {
    position: u64,
    attempt: u32,
    verdict: v1::Verdict,
}

impl Commit {
    /// A commit of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Acks a delivery with it. Do not settle the delivery in another way, unless the commit is refused.
    #[must_use]
    pub fn ack(self, delivery: &Delivery) -> Self {
        self.settle(delivery, v1::Verdict::Ack)
    }

    /// Returns a delivery to its place in the queue with it.
    #[must_use]
    pub fn nack(self, delivery: &Delivery) -> Self {
        self.settle(delivery, v1::Verdict::Nack)
    }

    /// Takes a delivery away for good with it.
    #[must_use]
    pub fn reject(self, delivery: &Delivery) -> Self {
        self.settle(delivery, v1::Verdict::Reject)
    }

    /// Publishes a message with it, behind those that were added before.
    #[must_use]
    pub fn publish(mut self, topic: impl Into<String>, message: Message) -> Self {
        self.publishes.push((topic.into(), message));
        self
    }

    fn settle(mut self, delivery: &Delivery, verdict: v1::Verdict) -> Self {
        self.shards.insert(delivery.shard());
        let settles = self.settles.entry(delivery.holder()).or_default();
        settles.push(Settle { position: delivery.position, attempt: delivery.attempt, verdict });
        self
    }

    /// The shards whose deliveries it settles.
    pub(crate) fn shards(&self) -> BTreeSet<u32> {
        self.shards.clone()
    }

    /// As it is sent: the settles in as few ranges as possible, and the messages.
    pub(crate) fn into_parts(self) -> (v1::Commit, Vec<(String, Message)>) {
        let settle = |((subscription, identity), settles)| v1::CommitSettle {
            subscription,
            identity,
            settlements: ranges(settles),
        };
        let settles = self.settles.into_iter().map(settle).collect();
        (v1::Commit { settles }, self.publishes)
    }
}

/// What is named twice stays so: it is refused.
fn ranges(mut settles: Vec<Settle>) -> Vec<v1::Settlement> {
    settles.sort_by_key(|settle| settle.position);
    let mut ranges: Vec<v1::Settlement> = Vec::new();
    for Settle { position, attempt, verdict } in settles {
        let verdict = verdict.into();
        match ranges.last_mut() {
            Some(last)
                if last.last.checked_add(1) == Some(position)
                    && (last.attempt, last.verdict) == (attempt, verdict) =>
            {
                last.last = position;
            }
            _ => ranges.push(v1::Settlement {
                first: position,
                last: position,
                attempt,
                verdict,
                delay_ms: None,
            }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::Verdict::{Ack, Nack};

    #[test]
    fn deliveries_that_follow_each_other_are_one_range_and_what_is_named_twice_stays_so() {
        let settles = [(7, 1, Ack), (5, 1, Ack), (6, 1, Ack), (8, 2, Ack), (9, 2, Nack), (7, 1, Ack)];
        let settles =
            settles.map(|(position, attempt, verdict)| Settle { position, attempt, verdict }).to_vec();
        let found: Vec<_> = ranges(settles).iter().map(|s| (s.first, s.last, s.attempt, s.verdict)).collect();
        let (ack, nack) = (Ack as i32, Nack as i32);
        assert_eq!(found, [(5, 7, 1, ack), (7, 7, 1, ack), (8, 8, 2, ack), (9, 9, 2, nack)]);
    }
}
