//! A subscription: runs of ready and leased messages over positions.
//!
//! Positions number the messages of a subscription in the order in which they were routed to it, over all its
//! topics. A run is as long as it can be: ten million messages of a plain subscription that nobody consumes are
//! one run.

use super::consumer::Consumer;
use super::context::Context;
use super::delayed::Delayed;
use super::keys::Keys;
use super::mark::Mark;
use super::names::TopicNames;
use super::turns::{Rank, Turns};
use crate::config::SubscriptionConfig;
use crate::ledger::Ledger;
use crate::op::ConsumerToken;
use crate::options::{KeyHash, Label};
use crate::rows::RowKey;
use crate::rows::page::POSITIONS_PER_PAGE;
use quorate_types::probe;
use quorate_types::{ConsumerId, MarkName, Millis, SubscriptionId, SubscriptionName, TopicId, TopicName};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Consecutive messages that wait for a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) topic: TopicId,
    pub(crate) offset: u64,
    pub(crate) count: u64,
    /// How often they were sent already.
    pub(crate) attempts: u32,
    pub(crate) label: Label,
}

impl Ready {
    fn goes_on_with(&self, next: &Self) -> bool {
        self.topic == next.topic
            && self.attempts == next.attempts
            && self.offset + self.count == next.offset
            && self.label == next.label
    }
}

/// Consecutive messages that one consumer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) topic: TopicId,
    pub(crate) offset: u64,
    pub(crate) count: u64,
    pub(crate) attempt: u32,
    pub(crate) consumer: ConsumerId,
    pub(crate) deadline: Millis,
    /// How many messages had been granted to the consumer before the first of these.
    pub(crate) granted_before: u64,
    pub(crate) label: Label,
}

impl Lease {
    /// The part of it from its `from`-th message on, `count` of them.
    pub(super) fn part(&self, from: u64, count: u64) -> Self {
        Self { offset: self.offset + from, granted_before: self.granted_before + from, count, ..*self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    pub(crate) name: SubscriptionName,
    pub(crate) config: SubscriptionConfig,
    pub(crate) ledger: Ledger,
    /// Bytes of all that is unsettled, where its limit asks for that; else 0.
    pub(crate) backlog_bytes: u64,
    pub(crate) next_position: u64,
    /// Deleted, but not yet emptied.
    pub(crate) doomed: bool,
    /// A purge goes on below this position; 0 when there is none.
    pub(crate) purge_below: u64,
    /// The purge takes leases as well: the subscription was moved.
    pub(crate) purge_leases: bool,
    /// The first position that was free when it last began to catch up with a topic. Below it a later position may be that of
    /// an earlier offset.
    pub(crate) went_back: u64,
    /// The consumer that was served last.
    pub(crate) served: Option<ConsumerId>,
    /// How many consumers ever attached.
    pub(crate) attached: u64,
    /// By first position.
    pub(crate) ready: BTreeMap<u64, Ready>,
    /// Of `ready`, where priorities count. Derived.
    pub(crate) by_priority: BTreeSet<(Reverse<u8>, u64)>,
    /// When the times to live of what is ready or delayed end, by first position. Derived.
    pub(crate) expiries: BTreeSet<(Millis, u64)>,
    /// Where keys stick to consumers. Derived.
    pub(crate) keys: Keys,
    /// By first position.
    pub(crate) leases: BTreeMap<u64, Lease>,
    /// Of `leases`. Derived.
    pub(crate) deadlines: BTreeSet<(Millis, u64)>,
    /// By first position.
    pub(crate) delayed: BTreeMap<u64, Delayed>,
    /// Of `delayed`. Derived.
    pub(crate) delays: BTreeSet<(Millis, u64)>,
    /// Those of `delayed` that were never sent, which are scheduled: by topic and first offset. Derived.
    pub(crate) scheduled: BTreeMap<(TopicId, u64), u64>,
    /// Attached, and not leaving. Derived.
    pub(crate) consumers: BTreeSet<ConsumerId>,
    /// Token of an identity → its consumer, as long as that is attached or leaving. Derived.
    pub(crate) identities: BTreeMap<ConsumerToken, ConsumerId>,
    /// Those of `consumers` with credit left. Derived.
    pub(crate) free: Turns,
    /// All of `consumers`, where one of them is active: the first. Derived.
    pub(crate) line: BTreeSet<Rank>,
    pub(crate) marks: BTreeMap<MarkName, Mark>,
    /// Topics that are bound to it. Derived.
    pub(crate) topics: BTreeSet<TopicId>,
    /// Bindings of all of them. Derived.
    pub(crate) bindings: u32,
}

impl Subscription {
    pub(crate) fn new(id: SubscriptionId, name: SubscriptionName, config: SubscriptionConfig) -> Self {
        Self {
            id,
            name,
            config,
            ledger: Ledger::default(),
            backlog_bytes: 0,
            next_position: 0,
            doomed: false,
            purge_below: 0,
            purge_leases: false,
            went_back: 0,
            served: None,
            attached: 0,
            ready: BTreeMap::new(),
            by_priority: BTreeSet::new(),
            expiries: BTreeSet::new(),
            keys: Keys::default(),
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            delayed: BTreeMap::new(),
            delays: BTreeSet::new(),
            scheduled: BTreeMap::new(),
            consumers: BTreeSet::new(),
            identities: BTreeMap::new(),
            free: Turns::default(),
            line: BTreeSet::new(),
            marks: BTreeMap::new(),
            topics: BTreeSet::new(),
            bindings: 0,
        }
    }

    /// Where its dead letters go, if that is not there although it must be.
    pub(super) fn missing_dead_letter_topic(&self, topics: &TopicNames) -> Option<&TopicName> {
        let topic = self.config.dead_letter_topic.as_ref().filter(|_| !self.doomed);
        topic.filter(|name| topics.get(name.as_str()).is_none())
    }

    /// Whether it is being emptied, or has to let go of something first.
    pub(super) fn grants_nothing(&self, now: Millis) -> bool {
        self.doomed || self.purge_below > 0 || self.has_expired(now)
    }

    /// A consumer is attached.
    pub(crate) fn join(&mut self, consumer: &Consumer) {
        self.consumers.insert(consumer.id);
        if self.config.kind.has_one_active() {
            self.line.insert(consumer.rank());
        }
        if consumer.free() > 0 {
            self.free.insert(consumer);
        }
    }

    /// A consumer is attached no longer; what it holds may still have to return.
    pub(crate) fn part(&mut self, consumer: &Consumer) {
        self.consumers.remove(&consumer.id);
        self.line.remove(&consumer.rank());
        self.free.remove(consumer);
    }

    /// The consumer that gets everything, where there is one: first in line, and the others wait.
    pub(crate) fn first_in_line(&self) -> Option<ConsumerId> {
        self.line.first().map(|rank| rank.consumer)
    }

    pub(crate) fn page(&self, position: u64) -> RowKey {
        RowKey::Page(self.id, position / POSITIONS_PER_PAGE)
    }

    /// New messages, after all others, with a label ([`Self::label`]); until they are due they wait.
    pub(crate) fn route(&mut self, run: Ready, due: Millis, ctx: &mut Context<'_>) {
        let position = self.next_position;
        self.next_position += run.count;
        self.ledger.routed += run.count;
        if due > ctx.now {
            probe::sometimes("message scheduled");
            self.put_delayed(position, Delayed { run, due }, ctx);
        } else {
            self.put_ready(position, run, ctx);
        }
        ctx.touch_subscription(self.id);
    }

    /// What it looks at.
    pub(crate) fn label(&self, label: Label) -> Label {
        let Label { key, priority, expires } = label;
        let sticks = self.config.kind.has_sticky_keys();
        Label {
            key: if sticks { key } else { KeyHash::NONE },
            priority: if self.config.priorities { priority } else { 0 },
            expires,
        }
    }

    /// Puts messages into the queue at their positions, joined with their neighbours where these go on alike.
    pub(super) fn put_ready(&mut self, position: u64, mut run: Ready, ctx: &mut Context<'_>) {
        self.ledger.ready += run.count;
        let after = position + run.count;
        if let Some(next) = self.ready.get(&after).copied()
            && run.goes_on_with(&next)
        {
            self.remove_run(after);
            ctx.touch(self.page(after));
            run.count += next.count;
        }
        if let Some((&before, previous)) = self.ready.range_mut(..position).next_back()
            && before + previous.count == position
            && previous.goes_on_with(&run)
        {
            previous.count += run.count;
            ctx.touch(self.page(before));
            return;
        }
        self.insert_run(position, run);
        ctx.touch(self.page(position));
    }

    /// Enters a run that begins at `position`, with all that is derived from it.
    pub(super) fn insert_run(&mut self, position: u64, run: Ready) {
        self.ready.insert(position, run);
        if self.config.priorities {
            self.by_priority.insert((Reverse(run.label.priority), position));
        }
        if self.config.kind.has_sticky_keys() {
            self.keys.ready(run.label.key, position);
        }
        self.note_expiry(run.label, position);
    }

    fn remove_run(&mut self, position: u64) -> Option<Ready> {
        let run = self.ready.remove(&position)?;
        if self.config.priorities {
            self.by_priority.remove(&(Reverse(run.label.priority), position));
        }
        if self.config.kind.has_sticky_keys() {
            self.keys.not_ready(run.label.key, position);
        }
        self.forget_expiry(run.label, position);
        Some(run)
    }

    /// Where the run begins that is granted next, whoever gets it.
    pub(super) fn front(&self) -> Option<u64> {
        match self.config.priorities {
            true => self.by_priority.first().map(|(_, position)| *position),
            false => self.ready.keys().next().copied(),
        }
    }

    /// Takes the first `count` messages of the run at `position` out of the queue.
    pub(crate) fn cut_ready(&mut self, position: u64, count: u64, ctx: &mut Context<'_>) -> Option<Ready> {
        let run = self.remove_run(position)?;
        let count = count.min(run.count);
        ctx.touch(self.page(position));
        if count < run.count {
            let rest = Ready { offset: run.offset + count, count: run.count - count, ..run };
            self.insert_run(position + count, rest);
            ctx.touch(self.page(position + count));
        }
        self.ledger.ready -= count;
        Some(Ready { count, ..run })
    }

    pub(crate) fn put_lease(&mut self, position: u64, lease: Lease, ctx: &mut Context<'_>) {
        self.ledger.leased += lease.count;
        self.insert_lease(position, lease);
        ctx.touch(self.page(position));
    }

    /// Enters a lease with all that is derived from it.
    pub(super) fn insert_lease(&mut self, position: u64, lease: Lease) {
        self.deadlines.insert((lease.deadline, position));
        self.leases.insert(position, lease);
        if self.config.kind.has_sticky_keys() {
            self.keys.leased(lease.label.key, position, lease.consumer);
        }
    }

    pub(crate) fn remove_lease(&mut self, position: u64, ctx: &mut Context<'_>) -> Option<Lease> {
        let lease = self.leases.remove(&position)?;
        self.deadlines.remove(&(lease.deadline, position));
        self.ledger.leased -= lease.count;
        if self.config.kind.has_sticky_keys() {
            self.keys.not_leased(lease.label.key, position);
        }
        ctx.touch(self.page(position));
        Some(lease)
    }

    /// Takes the part of the lease at `position` that lies in `first..=last` out of the table. What sticks out
    /// of the range stays leased.
    pub(crate) fn take_lease(
        &mut self,
        position: u64,
        (first, last): (u64, u64),
        ctx: &mut Context<'_>,
    ) -> Option<Taken> {
        let held = self.leases.get(&position)?;
        let held_end = position + held.count;
        let (begin, end) = (first.max(position), last.saturating_add(1).min(held_end));
        if begin >= end {
            return None;
        }
        let lease = self.remove_lease(position, ctx)?;
        if begin > position {
            self.put_lease(position, lease.part(0, begin - position), ctx);
        }
        if end < held_end {
            self.put_lease(end, lease.part(end - position, held_end - end), ctx);
        }
        Some(Taken {
            position: begin,
            lease: lease.part(begin - position, end - begin),
            gone: (begin == position).then_some(position),
            begun: (end < held_end).then_some(end),
        })
    }

    /// What begins at `position`.
    pub(super) fn run_at(&self, position: u64) -> Option<Run> {
        let run = |r: &Ready| Run { topic: r.topic, offset: r.offset, count: r.count, is_leased: false };
        let ready = || self.ready.get(&position).map(run);
        let delayed = || self.delayed.get(&position).map(|delayed| run(&delayed.run));
        let lease = |l: &Lease| Run { topic: l.topic, offset: l.offset, count: l.count, is_leased: true };
        ready().or_else(|| self.leases.get(&position).map(lease)).or_else(delayed)
    }

    /// All that is unsettled, from the oldest on.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut next = self.next_run(0);
        std::iter::from_fn(move || {
            let position = next?;
            let run = self.run_at(position)?;
            next = self.next_run(position.saturating_add(run.count));
            Some(run)
        })
    }

    /// The oldest position that is not settled.
    pub(crate) fn oldest_unsettled(&self) -> Option<u64> {
        self.next_run(0)
    }

    /// The first run, lease or delayed run that begins at `position` or after it.
    pub(crate) fn next_run(&self, position: u64) -> Option<u64> {
        let ready = self.ready.range(position..).next().map(|(p, _)| *p);
        let leased = self.leases.range(position..).next().map(|(p, _)| *p);
        let delayed = self.delayed.range(position..).next().map(|(p, _)| *p);
        [ready, leased, delayed].into_iter().flatten().min()
    }
}

/// Consecutive messages that are unsettled in one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) topic: TopicId,
    pub(super) offset: u64,
    pub(super) count: u64,
    pub(super) is_leased: bool,
}

/// What [`Subscription::take_lease`] took.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) position: u64,
    pub(crate) lease: Lease,
    /// Where no lease begins any more.
    pub(crate) gone: Option<u64>,
    /// Where one begins that did not before.
    pub(crate) begun: Option<u64>,
}
