//! Topics, subscriptions and consumers of one group.

mod admission;
mod backlog;
mod catch_up;
mod check;
mod closing;
mod compaction;
mod conclude;
mod consumer;
mod context;
mod dead_letters;
mod delayed;
mod due;
mod expiry;
mod figures;
mod gather;
mod grant;
mod grant_by_key;
mod keys;
mod let_go;
mod load;
mod mark;
mod message_ids;
mod names;
mod newest;
mod onward;
mod origin;
mod peek;
mod place;
mod returns;
mod stretches;
mod subscription;
mod times;
mod topic;
mod trace;
mod turns;
mod view;

pub(crate) use admission::Coming;
pub(crate) use backlog::Limited;
pub(crate) use catch_up::CatchUp;
pub use catch_up::Scan;
pub use check::Violation;
pub(crate) use closing::Closing;
use compaction::Compaction;
pub use compaction::LooseBlock;
pub(crate) use conclude::Gone;
pub(crate) use consumer::Consumer;
pub(crate) use context::Context;
pub(crate) use delayed::Delayed;
pub use figures::{ShardFigures, SubscriptionFigures, TopicFigures};
pub use gather::ScatteredBlocks;
pub(crate) use mark::Mark;
pub(crate) use message_ids::{MessageIds, Remembered};
pub(crate) use newest::{ClaimedKeys, Newest, NewestOf};
#[cfg(test)]
pub(crate) use origin::Origin;
pub use peek::{Peek, PeekStates, Peeked, PeekedState};
pub(crate) use returns::{Ending, ready};
pub(crate) use stretches::{Stretch, selected, union};
pub(crate) use subscription::{Lease, Ready, Subscription, Taken};
pub(crate) use times::Times;
pub(crate) use topic::{Binding, Block, Sweep, Topic};
pub use trace::TraceRoute;
pub use view::{
    BindingView, BlockSlice, CatchUpView, ConsumerView, MarkView, SubscriptionView, TopicBindingView,
    TopicView,
};

use crate::agenda::Agenda;
use crate::applied::Effect;
use crate::backup::Restoring;
use due::Due;
use names::TopicNames;
use quorate_types::{
    ConsumerId, Reason, Refusal, SessionId, ShardPlace, SubscriptionId, SubscriptionName, TopicId,
};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a shard of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Deleted ones too, until the last of them is swept.
    pub(crate) topics: BTreeMap<TopicId, Topic>,
    pub(crate) topic_names: TopicNames,
    pub(crate) last_topic: u64,
    /// Deleted ones too, until they are emptied.
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub(crate) subscription_names: BTreeMap<SubscriptionName, SubscriptionId>,
    pub(crate) last_subscription: u64,
    pub(crate) last_binding: u64,
    pub(crate) consumers: BTreeMap<ConsumerId, Consumer>,
    pub(crate) closing: Closing,
    /// Which one of its namespace's shards it is.
    pub(crate) place: ShardPlace,
    /// The restore that made it, or is making it.
    pub(crate) restoring: Option<Restoring>,
    /// Entry → how many blocks of topics lie in it. Derived.
    pub(crate) entries: BTreeMap<u64, u32>,
    /// Topics that keep the newest message of each key. Derived.
    compacted: BTreeSet<TopicId>,
    /// What of them is worth writing anew. Derived.
    compaction: Compaction,
    /// Deleted topics that are not swept yet. Derived.
    doomed: BTreeSet<TopicId>,
    /// Sessions that ended, whose consumers still hold leases. Derived.
    leaving: BTreeSet<SessionId>,
    /// Subscriptions that catch up with topics by subjects, for the leader. Derived.
    scans: BTreeSet<(TopicId, SubscriptionId)>,
    /// Derived.
    pub(crate) limited: Limited,
    /// Derived.
    agenda: Agenda<Due>,
}

impl Shard {
    pub(crate) fn topic_id(&self, name: &str) -> Result<TopicId, Refusal> {
        self.topic_names.get(name).ok_or_else(|| self.no_topic(name))
    }

    pub(crate) fn subscription_id(&self, name: &SubscriptionName) -> Result<SubscriptionId, Refusal> {
        self.subscription_names.get(name).copied().ok_or_else(|| {
            let text = format!("there is no subscription {name}: create it first");
            Refusal::new(Reason::SubscriptionNotFound, text)
        })
    }

    pub(crate) fn is_doomed(&self, topic: TopicId) -> bool {
        self.doomed.contains(&topic)
    }

    /// A topic was deleted: it is swept out of the subscriptions, now and by ticks.
    pub(crate) fn doom_topic(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.sweep = Some(Sweep::BEGIN);
            topic.message_ids.void();
            let catching_up: Vec<SubscriptionId> = topic.catching_up.keys().copied().collect();
            self.doomed.insert(id);
            ctx.touch_topic(id);
            catching_up.into_iter().for_each(|subscription| self.end_catching_up((id, subscription), ctx));
            self.work(Due::Sweep(id), ctx);
            self.work(Due::MessageIds(id), ctx);
            self.work(Due::Keys(id), ctx);
        }
    }

    /// A subscription has something to drop: it is done now and by ticks.
    pub(crate) fn begin_emptying(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        ctx.touch_subscription(id);
        self.work(Due::Empty(id), ctx);
    }

    /// A session ended: its consumers are closed at once, their leases return now and by ticks.
    pub(crate) fn leave(&mut self, session: SessionId, why: &Refusal, ctx: &mut Context<'_>) {
        for (id, consumer) in self.consumers.range(ConsumerId { session, number: 0 }..) {
            if id.session != session {
                break;
            }
            if let Some(subscription) = self.subscriptions.get_mut(&consumer.subscription) {
                subscription.part(consumer);
                // The next one may be granted what is ready.
                ctx.subscriptions.insert(subscription.id);
            }
            ctx.forget(*id);
            let close = Effect::CloseConsumer { node: consumer.node, consumer: *id, refusal: why.clone() };
            ctx.effects.push(close);
            self.leaving.insert(session);
        }
        self.work(Due::Leave(session), ctx);
        self.schedule(Due::Leave(session));
    }

    /// Consumers of ended sessions whose leases have not all returned go with their subscription: they were
    /// closed already, and a row of theirs must not outlive its subscription's.
    pub(crate) fn forget_leaving(&mut self, subscription: SubscriptionId, ctx: &mut Context<'_>) {
        for session in self.leaving.clone() {
            let range = ConsumerId { session, number: 0 }..=ConsumerId { session, number: u64::MAX };
            let leaving = self.consumers.range(range);
            let gone = leaving.filter(|(_, c)| c.subscription == subscription).map(|(id, _)| *id);
            for id in gone.collect::<Vec<_>>() {
                if let Some(consumer) = self.consumers.remove(&id) {
                    ctx.touch(consumer.row());
                }
            }
            self.leave_when_empty(session);
        }
    }

    /// A session leaves for as long as it has consumers: that is what a snapshot says of it.
    pub(crate) fn leave_when_empty(&mut self, session: SessionId) {
        let range = ConsumerId { session, number: 0 }..=ConsumerId { session, number: u64::MAX };
        if self.consumers.range(range).next().is_none() && self.leaving.remove(&session) {
            self.schedule(Due::Leave(session));
        }
    }

    /// What every entry ends with: what is too old or too much goes; grants, retention, entries that nobody needs any more.
    pub(crate) fn finish(&mut self, block: bool, ctx: &mut Context<'_>) {
        let mut changed = BTreeSet::new();
        // What expires or gives way may go to a topic from which others get it.
        while let Some(id) = ctx.subscriptions.pop_first() {
            self.take_back_overtaken(id, ctx);
            self.expire(id, ctx);
            let again = !changed.insert(id);
            self.make_room(id, again, ctx);
        }
        for id in changed {
            self.grant(id, ctx);
            debug_assert!(self.subscriptions.get(&id).is_none_or(|s| s.ledger.is_conserved()));
            self.schedule_subscription(id);
        }
        for id in std::mem::take(&mut ctx.topics) {
            self.prune(id, ctx);
            self.schedule_topic(id);
        }
        let mut entries = std::mem::take(&mut ctx.shared);
        entries.extend(&ctx.freed);
        self.drop_blocks(block, ctx);
        self.note_rest(entries, ctx);
    }

    /// Only now: an operation may have added to an entry what another one took away from it.
    fn drop_blocks(&mut self, block: bool, ctx: &mut Context<'_>) {
        let mut dropped = BTreeSet::new();
        if block && !self.entries.contains_key(&ctx.id.index) {
            dropped.insert(ctx.id.index);
        }
        for index in std::mem::take(&mut ctx.freed) {
            let Some(blocks) = self.entries.get_mut(&index) else { continue };
            *blocks -= 1;
            if *blocks == 0 {
                self.entries.remove(&index);
                dropped.insert(index);
            }
        }
        ctx.effects.extend(dropped.into_iter().map(|index| Effect::DropBlock { index }));
    }

    /// Entries whose block is needed, in order.
    pub(crate) fn live_blocks(&self) -> Vec<u64> {
        self.entries.keys().copied().collect()
    }
}
