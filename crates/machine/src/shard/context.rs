//! What an operation may touch beside the state itself, while one entry is applied.

use crate::applied::{Deliver, Effect, LeaseRun};
use crate::ended::Ended;
use crate::rows::RowKey;
use quorate_types::{ConsumerId, Limits, LogId, Millis, NodeId, SubscriptionId, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// The smallest step of anything visits a queue, a run and a block: with less, work would never end.
const TRANSITIONS_MIN: u32 = 3;

/// Lives for one entry.
pub(crate) struct Context<'a> {
    /// The entry.
    pub(crate) id: LogId,
    /// Log time.
    pub(crate) now: Millis,
    pub(crate) limits: &'a Limits,
    /// Rows that changed.
    pub(crate) dirty: &'a mut BTreeSet<RowKey>,
    pub(crate) effects: Vec<Effect>,
    /// What left subscriptions for good, joined where it follows and ended alike.
    pub(crate) ended: Vec<Ended>,
    /// Subscriptions that changed: at the end of the entry they grant what is ready.
    pub(crate) subscriptions: BTreeSet<SubscriptionId>,
    /// Topics that changed: at the end of the entry retention looks at them.
    pub(crate) topics: BTreeSet<TopicId>,
    /// Blocks that may have come to rest, or rest no more: topic, first offset, entry.
    pub(crate) rested: BTreeSet<(TopicId, u64, u64)>,
    /// Older entries in which one block more lies.
    pub(crate) shared: BTreeSet<u64>,
    /// Of the entry's whole block.
    pub(crate) block_bytes: u32,
    /// Entries that lost a block of a topic, once for each.
    pub(crate) freed: Vec<u64>,
    /// Transitions that this entry may still make (DESIGN §6.8).
    budget: u32,
    /// Runs granted by this entry, per consumer in the order of the grants.
    deliveries: BTreeMap<ConsumerId, (NodeId, Vec<LeaseRun>)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(id: LogId, now: Millis, limits: &'a Limits, dirty: &'a mut BTreeSet<RowKey>) -> Self {
        Self {
            id,
            now,
            limits,
            dirty,
            effects: Vec::new(),
            ended: Vec::new(),
            subscriptions: BTreeSet::new(),
            topics: BTreeSet::new(),
            rested: BTreeSet::new(),
            shared: BTreeSet::new(),
            block_bytes: 0,
            freed: Vec::new(),
            budget: limits.transitions_max.max(TRANSITIONS_MIN),
            deliveries: BTreeMap::new(),
        }
    }

    pub(crate) fn touch(&mut self, key: RowKey) {
        self.dirty.insert(key);
    }

    pub(crate) fn touch_subscription(&mut self, id: SubscriptionId) {
        self.dirty.insert(RowKey::Subscription(id));
        self.subscriptions.insert(id);
    }

    pub(crate) fn touch_topic(&mut self, id: TopicId) {
        self.dirty.insert(RowKey::Topic(id));
        self.topics.insert(id);
    }

    /// What is left of the transitions of this entry.
    pub(crate) fn budget(&self) -> u32 {
        self.budget
    }

    /// Makes one transition, if the entry may make one more.
    pub(crate) fn spend(&mut self) -> bool {
        let may = self.budget > 0;
        self.spend_some(1);
        may
    }

    pub(crate) fn spend_some(&mut self, transitions: u32) {
        self.budget = self.budget.saturating_sub(transitions);
    }

    /// Notes what left a subscription for good; what goes on where the last one ended becomes one with it.
    pub(crate) fn ended(&mut self, ended: Ended) {
        if self.ended.last_mut().is_none_or(|last| !last.join(&ended)) {
            self.ended.push(ended);
        }
    }

    /// Notes a grant; one that goes on where the last one ended becomes one with it.
    pub(crate) fn deliver(&mut self, node: NodeId, consumer: ConsumerId, run: LeaseRun) {
        let runs = &mut self.deliveries.entry(consumer).or_insert_with(|| (node, Vec::new())).1;
        match runs.last_mut() {
            Some(last) if last.goes_on_with(&run) => last.count += run.count,
            _ => runs.push(run),
        }
    }

    /// A consumer that is gone gets nothing of what this entry granted it.
    pub(crate) fn forget(&mut self, consumer: ConsumerId) {
        self.deliveries.remove(&consumer);
    }

    /// The effects of the entry: deliveries first, then the rest in its order.
    pub(crate) fn into_effects(self) -> Vec<Effect> {
        let deliver = |(consumer, (node, runs))| Effect::Deliver(Deliver { node, consumer, runs });
        self.deliveries.into_iter().map(deliver).chain(self.effects).collect()
    }
}

impl LeaseRun {
    fn goes_on_with(&self, next: &Self) -> bool {
        self.topic == next.topic
            && self.attempt == next.attempt
            && self.position + self.count == next.position
            && self.offset + self.count == next.offset
            && self.granted_before + self.count == next.granted_before
    }
}
