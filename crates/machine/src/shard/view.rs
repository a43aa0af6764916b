//! What others may see of a shard.

use super::topic::Piece;
use super::{Consumer, Mark, Shard, Subscription, Topic};
use crate::applied::LeaseRun;
use crate::config::{SubscriptionConfig, TopicConfig};
use crate::ledger::Ledger;
use crate::provenance::Provenance;
use quorate_types::{
    ConsumerId, Filter, MarkName, Millis, NodeId, Selector, SubscriptionId, SubscriptionName, TopicId,
    TopicName,
};
use std::collections::BTreeMap;

/// Topic + selector → subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// From this topic
    pub topic: TopicName,
    /// to this subscription
    pub subscription: SubscriptionName,
    /// what this selects.
    pub selector: Selector,
}

/// Topic + filter → topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicBindingView {
    /// From this topic
    pub from: TopicName,
    /// to this one
    pub to: TopicName,
    /// where this matches.
    pub filter: Filter,
}

/// A topic at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its settings.
    pub config: TopicConfig,
    /// Oldest offset that is kept; `next_offset` when nothing is.
    pub first_offset: u64,
    /// How many messages were ever published.
    pub next_offset: u64,
    /// Messages in blocks that are kept.
    pub messages: u64,
    /// Bytes of blocks that are kept.
    pub bytes: u64,
    /// Messages that no binding matched and nothing kept, neither retention nor a subscription that caught up, and that were
    /// not passed on.
    pub unrouted: u64,
    /// Keys of which it keeps the newest message, and bytes of these messages, about.
    pub keys: u64,
    /// See [`Self::keys`].
    pub needed_bytes: u64,
    /// Message ids that it remembers.
    pub message_ids: u64,
    /// From it, in order of subscription and selector.
    pub bindings: Vec<BindingView>,
    /// From it to other topics, in order of topic and filter.
    pub onward: Vec<TopicBindingView>,
}

/// A subscription that catches up with a topic, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpView {
    /// The topic.
    pub topic: TopicName,
    /// How far it is: what is kept from this offset on has not been looked at.
    pub offset: u64,
    /// Where it will have caught up, if nothing more is published.
    pub next_offset: u64,
}

/// A subscription at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name.
    pub name: SubscriptionName,
    /// Its settings.
    pub config: SubscriptionConfig,
    /// Attached now.
    pub consumers: u32,
    /// The consumer that gets everything, where the kind has such a one: the first in line, or, until it has settled all, the
    /// one that holds something.
    pub active: Option<ConsumerId>,
    /// Where its messages are.
    pub ledger: Ledger,
    /// Bytes of all that is unsettled, where its limit asks for that.
    pub backlog_bytes: Option<u64>,
    /// Position of the oldest message that is not settled.
    pub oldest_unsettled: Option<u64>,
    /// When that was stored: log time.
    pub oldest_stored: Option<Millis>,
    /// To it, in order of topic and selector.
    pub bindings: Vec<BindingView>,
    /// Topics of which it has not got all yet that it is to get.
    pub catching_up: Vec<CatchUpView>,
    /// Places that somebody remembered, by name.
    pub marks: Vec<MarkView>,
}

/// A place of a subscription that somebody remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkView {
    /// Its name.
    pub name: MarkName,
    /// When it was made: log time.
    pub at: Millis,
    /// Topics that were bound then, and are there still, with the oldest offset that was not settled.
    pub offsets: Vec<(TopicName, u64)>,
}

/// A consumer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerView {
    /// Which one.
    pub consumer: ConsumerId,
    /// Where it is attached.
    pub node: NodeId,
    /// Where.
    pub subscription: SubscriptionId,
    /// The same by name.
    pub subscription_name: SubscriptionName,
    /// How many messages it may hold.
    pub credit: u32,
    /// How many it holds.
    pub outstanding: u64,
    /// Who is served first: the higher.
    pub priority: i32,
}

/// Where some messages of a topic lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSlice {
    /// Index of the entry.
    pub index: u64,
    /// Byte position of the first fragment in the entry's block.
    pub fragment: u32,
    /// The first message, counted from the beginning of that fragment.
    pub slot: u32,
    /// Its offset.
    pub offset: u64,
    /// How many.
    pub count: u32,
    /// When the topic got them: log time.
    pub stamp: Millis,
    /// Of dead letters, and of what another topic passed on: where it came from, and why; the offset is the first one's.
    pub provenance: Option<Box<Provenance>>,
}

impl Shard {
    /// A topic by its name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<TopicView> {
        self.topic_names.get(name.as_str()).and_then(|id| self.topics.get(&id)).map(|t| self.view_topic(t))
    }

    /// The name of a topic that is there or is being deleted.
    #[must_use]
    pub fn topic_name(&self, id: TopicId) -> Option<&TopicName> {
        self.topics.get(&id).map(|t| &t.name)
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicView> {
        let topics = self.topic_names.ids().filter_map(|id| self.topics.get(&id));
        topics.map(|t| self.view_topic(t)).collect()
    }

    /// A subscription by its name.
    #[must_use]
    pub fn subscription(&self, name: &SubscriptionName) -> Option<SubscriptionView> {
        let id = self.subscription_names.get(name)?;
        self.subscriptions.get(id).map(|s| self.view_subscription(s))
    }

    /// All subscriptions, by name.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let all = self.subscription_names.values().filter_map(|id| self.subscriptions.get(id));
        all.map(|s| self.view_subscription(s)).collect()
    }

    /// Where the messages `offset .. offset + count` lie, as far as they are kept, in order of offset.
    #[must_use]
    pub fn locate(&self, topic: TopicId, offset: u64, count: u64) -> Vec<BlockSlice> {
        let Some(topic) = self.topics.get(&topic) else { return Vec::new() };
        let end = offset.saturating_add(count);
        let slice = |Piece { first, block, begin, count, stamp }: Piece<'_>| {
            let skipped = u32::try_from(begin - first).ok()?;
            let origin = block.origin.as_deref().map(|origin| origin.after(skipped));
            Some(BlockSlice {
                index: block.index,
                fragment: block.fragment,
                slot: origin.as_ref().map_or(skipped, |origin| origin.slot),
                offset: begin,
                count: u32::try_from(count).ok()?,
                stamp,
                provenance: origin.map(|origin| Box::new(origin.provenance)),
            })
        };
        topic.pieces(offset, end).filter_map(slice).collect()
    }

    /// The first kept offset that was stamped at `time` or later; the next offset when there is none.
    #[must_use]
    pub fn offset_at(&self, topic: TopicId, time: Millis) -> u64 {
        self.topics.get(&topic).map_or(0, |topic| topic.offset_at(time))
    }

    /// Where the newest `count` messages begin that a topic keeps, or as many of them as lie in its newest 10,000 blocks.
    #[must_use]
    pub fn offset_of_newest(&self, topic: TopicId, count: u64) -> u64 {
        self.topics.get(&topic).map_or(0, |topic| topic.offset_of_newest(count))
    }

    /// Whether anybody consumes here, or still holds leases of when it did.
    #[must_use]
    pub fn has_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// The consumers that are attached to a node, in order. Those of an ended session are not.
    #[must_use]
    pub fn consumers_of(&self, node: NodeId) -> Vec<ConsumerView> {
        let here = self.consumers.values().filter(|c| c.node == node);
        let view = |c: &Consumer| {
            let subscription = self.subscriptions.get(&c.subscription)?;
            subscription.consumers.contains(&c.id).then(|| view_consumer(c, subscription))
        };
        here.filter_map(view).collect()
    }

    /// The consumers that are attached to a subscription, in order: where one of them is active, in that of the line.
    #[must_use]
    pub fn consumers_at(&self, name: &SubscriptionName) -> Vec<ConsumerView> {
        let id = self.subscription_names.get(name);
        let Some(subscription) = id.and_then(|id| self.subscriptions.get(id)) else { return Vec::new() };
        let all = subscription.consumers.iter().filter_map(|id| self.consumers.get(id));
        let mut all: Vec<&Consumer> = all.collect();
        if subscription.config.kind.has_one_active() {
            all.sort_unstable_by_key(|c| c.rank());
        }
        all.into_iter().map(|c| view_consumer(c, subscription)).collect()
    }

    fn active(&self, subscription: &Subscription) -> Option<ConsumerId> {
        let first = subscription.first_in_line()?;
        let holds = |id: &&ConsumerId| self.consumers.get(*id).is_some_and(|c| c.outstanding > 0);
        let idle = self.consumers.get(&first).is_none_or(|c| c.outstanding == 0);
        let former =
            subscription.consumers.iter().find(holds).filter(|_| idle && subscription.ledger.leased > 0);
        Some(former.copied().unwrap_or(first))
    }

    /// What a consumer holds, in order of position.
    #[must_use]
    pub fn leases_of(&self, consumer: ConsumerId) -> Vec<LeaseRun> {
        let Some(consumer) = self.consumers.get(&consumer) else { return Vec::new() };
        let Some(subscription) = self.subscriptions.get(&consumer.subscription) else { return Vec::new() };
        let lease = |p: &u64| subscription.leases.get(p).map(|l| l.run(*p));
        consumer.leases.iter().filter_map(lease).collect()
    }

    /// What of a run that was granted to a consumer it still holds in that attempt, in order of position; nothing of
    /// what it held when its subscription was moved.
    #[must_use]
    pub fn held(&self, consumer: ConsumerId, run: &LeaseRun) -> Vec<LeaseRun> {
        let Some(state) = self.consumers.get(&consumer) else { return Vec::new() };
        let subscription = self.subscriptions.get(&state.subscription).filter(|s| !s.purge_leases);
        let Some(subscription) = subscription else { return Vec::new() };
        let end = run.position.saturating_add(run.count);
        let before = state.leases.range(..run.position).next_back();
        let leases = before.into_iter().chain(state.leases.range(run.position..end));
        let part = |position: &u64| {
            let lease = subscription.leases.get(position)?;
            let (from, to) = (run.position.max(*position), end.min(position.saturating_add(lease.count)));
            let (skipped, wanted) = (from - run.position, from - position);
            let same = lease.attempt == run.attempt
                && lease.topic == run.topic
                && lease.granted_before + wanted == run.granted_before + skipped;
            (from < to && same).then(|| LeaseRun {
                position: from,
                offset: run.offset + skipped,
                count: to - from,
                granted_before: run.granted_before + skipped,
                ..*run
            })
        };
        leases.filter_map(part).collect()
    }

    fn view_topic(&self, topic: &Topic) -> TopicView {
        let selectors = topic.bindings.iter().flat_map(|(id, all)| all.keys().map(move |s| (id, s)));
        let binding = |(id, selector): (&SubscriptionId, &Selector)| {
            let subscription = self.subscriptions.get(id)?.name.clone();
            Some(BindingView { topic: topic.name.clone(), subscription, selector: selector.clone() })
        };
        let filters = topic.onward.iter().flat_map(|(id, all)| all.keys().map(move |f| (id, f)));
        let onward = |(id, filter): (&TopicId, &Filter)| {
            let to = self.topics.get(id)?.name.clone();
            Some(TopicBindingView { from: topic.name.clone(), to, filter: filter.clone() })
        };
        TopicView {
            id: topic.id,
            name: topic.name.clone(),
            config: topic.config.clone(),
            first_offset: topic.first_offset(),
            next_offset: topic.next_offset,
            messages: topic.messages,
            bytes: topic.bytes,
            unrouted: topic.unrouted,
            keys: topic.newest.count(),
            needed_bytes: topic.needed_bytes,
            message_ids: topic.message_ids.count(),
            bindings: selectors.filter_map(binding).collect(),
            onward: filters.filter_map(onward).collect(),
        }
    }

    pub(super) fn oldest_stored(&self, subscription: &Subscription) -> Option<Millis> {
        let run = subscription.run_at(subscription.oldest_unsettled()?)?;
        let mut pieces = self.topics.get(&run.topic)?.pieces(run.offset, run.offset.saturating_add(1));
        pieces.next().map(|piece| piece.stamp)
    }

    fn view_subscription(&self, subscription: &Subscription) -> SubscriptionView {
        let topics = self.bound_topics(subscription);
        let bindings = topics.iter().flat_map(|topic| {
            let selectors = topic.bindings.get(&subscription.id).into_iter().flat_map(BTreeMap::keys);
            selectors.map(|selector| BindingView {
                topic: topic.name.clone(),
                subscription: subscription.name.clone(),
                selector: selector.clone(),
            })
        });
        let catching_up = topics.iter().filter_map(|topic| {
            // One that looks at headers is always catching up: it is said of it while it is behind.
            let at = topic.catching_up.get(&subscription.id).filter(|at| at.cursor < topic.next_offset)?;
            let (topic, next_offset) = (topic.name.clone(), topic.next_offset);
            Some(CatchUpView { topic, offset: at.cursor, next_offset })
        });
        SubscriptionView {
            id: subscription.id,
            name: subscription.name.clone(),
            config: subscription.config.clone(),
            consumers: u32::try_from(subscription.consumers.len()).unwrap_or(u32::MAX),
            active: self.active(subscription),
            ledger: subscription.ledger,
            backlog_bytes: subscription.weighs().then_some(subscription.backlog_bytes),
            oldest_unsettled: subscription.oldest_unsettled(),
            oldest_stored: self.oldest_stored(subscription),
            bindings: bindings.collect(),
            catching_up: catching_up.collect(),
            marks: subscription.marks.iter().map(|(name, mark)| self.view_mark(name, mark)).collect(),
        }
    }

    fn view_mark(&self, name: &MarkName, mark: &Mark) -> MarkView {
        let there = |(id, offset): &(TopicId, u64)| {
            let topic = self.topics.get(id).filter(|topic| !topic.is_doomed())?;
            Some((topic.name.clone(), *offset))
        };
        MarkView { name: name.clone(), at: mark.at, offsets: mark.offsets.iter().filter_map(there).collect() }
    }
}

fn view_consumer(c: &Consumer, subscription: &Subscription) -> ConsumerView {
    ConsumerView {
        consumer: c.id,
        node: c.node,
        subscription: c.subscription,
        subscription_name: subscription.name.clone(),
        credit: c.credit,
        outstanding: c.outstanding,
        priority: c.priority,
    }
}
