//! What is in a subscription, seen without leasing it.

use super::subscription::{Lease, Ready};
use super::{Delayed, Shard, Subscription, ready};
use quorate_types::{ConsumerId, Millis, NodeId, Refusal, SubscriptionName, TopicId, TopicName};
use std::collections::BTreeMap;

/// Runs that one look visits.
const RUNS_MAX: u32 = 10_000;

/// Which messages somebody wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeekStates {
    /// Those that wait for a consumer.
    pub ready: bool,
    /// Those that a consumer has.
    pub leased: bool,
    /// Those that wait for their time.
    pub delayed: bool,
}

impl PeekStates {
    /// All that are unsettled.
    pub const ALL: Self = Self { ready: true, leased: true, delayed: true };
}

/// Consecutive messages that are unsettled in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Position of the first in the subscription.
    pub position: u64,
    /// Where they come from.
    pub topic: TopicId,
    /// The same by name.
    pub topic_name: TopicName,
    /// Offset of the first.
    pub offset: u64,
    /// How many.
    pub count: u64,
    /// How often they were sent; of what is leased, this time too.
    pub attempts: u32,
    /// What they wait for.
    pub state: PeekedState,
}

/// What unsettled messages wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekedState {
    /// For a consumer with credit.
    Ready,
    /// For a consumer to settle them.
    Leased {
        /// Who has them.
        consumer: ConsumerId,
        /// The node where it is attached.
        node: Option<NodeId>,
        /// When the lease ends by itself.
        until: Millis,
    },
    /// For their time.
    Delayed {
        /// When they are ready.
        until: Millis,
    },
}

/// A part of what is in a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// In order of position.
    pub runs: Vec<Peeked>,
    /// From where on to look for more; `None` when there is nothing.
    pub next: Option<u64>,
}

impl Shard {
    /// What is unsettled in a subscription from a position on: up to `limit` messages, and of up to 10,000 runs. What is being
    /// purged is not shown.
    ///
    /// # Errors
    /// `SUBSCRIPTION_NOT_FOUND`.
    pub fn peek(
        &self,
        name: &SubscriptionName,
        from: u64,
        limit: u64,
        states: PeekStates,
    ) -> Result<Peek, Refusal> {
        let id = self.subscription_id(name)?;
        let (mut runs, mut at, mut left) = (Vec::new(), from, limit);
        let Some(subscription) = self.subscriptions.get(&id) else { return Ok(Peek { runs, next: None }) };
        for _ in 0..RUNS_MAX {
            let Some(mut run) = self.next_peeked(subscription, at, states) else {
                return Ok(Peek { runs, next: None });
            };
            if left == 0 {
                return Ok(Peek { runs, next: Some(run.position) });
            }
            at = run.position.saturating_add(run.count);
            if self.is_doomed(run.topic) {
                continue;
            }
            if run.count > left {
                (run.count, at) = (left, run.position.saturating_add(left));
            }
            left -= run.count;
            runs.push(run);
        }
        Ok(Peek { runs, next: Some(at) })
    }

    /// The first messages at `from` or after it that are in one of the states.
    fn next_peeked(&self, subscription: &Subscription, from: u64, states: PeekStates) -> Option<Peeked> {
        let (unleased_from, leased_from) =
            (from.max(subscription.stays_from(false)), from.max(subscription.stays_from(true)));
        let ready = states.ready.then(|| first_of(&subscription.ready, |r| r.count, unleased_from)).flatten();
        let leased =
            states.leased.then(|| first_of(&subscription.leases, |l| l.count, leased_from)).flatten();
        let delayed =
            states.delayed.then(|| first_of(&subscription.delayed, |d| d.run.count, unleased_from)).flatten();
        let found = [
            ready.map(|(at, skip, run)| self.peek_run((at, skip), run, PeekedState::Ready)),
            leased.map(|(at, skip, lease)| self.peek_lease((at, skip), lease)),
            delayed.map(|(at, skip, delayed)| self.peek_delayed((at, skip), delayed)),
        ];
        found.into_iter().flatten().flatten().min_by_key(|run| run.position)
    }

    pub(super) fn peek_run(
        &self,
        (position, skip): (u64, u64),
        run: &Ready,
        state: PeekedState,
    ) -> Option<Peeked> {
        let topic_name = self.topics.get(&run.topic)?.name.clone();
        let (offset, count) = (run.offset + skip, run.count - skip);
        Some(Peeked { position, topic: run.topic, topic_name, offset, count, attempts: run.attempts, state })
    }

    pub(super) fn peek_lease(&self, place: (u64, u64), lease: &Lease) -> Option<Peeked> {
        let node = self.consumers.get(&lease.consumer).map(|consumer| consumer.node);
        let state = PeekedState::Leased { consumer: lease.consumer, node, until: lease.deadline };
        self.peek_run(place, &ready(lease, lease.attempt), state)
    }

    pub(super) fn peek_delayed(&self, place: (u64, u64), delayed: &Delayed) -> Option<Peeked> {
        self.peek_run(place, &delayed.run, PeekedState::Delayed { until: delayed.due })
    }
}

/// The first entry with something at `from` or after it: where that is, and how much of the entry lies before it.
fn first_of<T>(map: &BTreeMap<u64, T>, count: impl Fn(&T) -> u64, from: u64) -> Option<(u64, u64, &T)> {
    let before = map.range(..from).next_back().filter(|(first, entry)| *first + count(entry) > from);
    before
        .map(|(first, entry)| (from, from - first, entry))
        .or_else(|| map.range(from..).next().map(|(first, entry)| (*first, 0, entry)))
}
