//! What happens by itself: leases and delays that end, retention, and what is too large for one entry (DESIGN §6.8).
//!
//! A transition is a visit to one run, lease or block: purging ten million messages that lie in ten thousand
//! blocks is one entry's work.

use super::returns::Ending;
use super::subscription::Run;
use super::topic::Sweep;
use super::{Context, Gone, Shard, Subscription, Topic};
use crate::ended::Outcome;
use crate::rows::RowKey;
use quorate_types::probe;
use quorate_types::{ConsumerId, Millis, SessionId, SubscriptionId, TopicId};
use std::collections::BTreeSet;

/// Something that has a time. Work that was begun and not finished has the time 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The leases of an ended session return.
    Leave(SessionId),
    /// A purged or deleted subscription is emptied.
    Empty(SubscriptionId),
    /// A deleted topic is taken out of the subscriptions.
    Sweep(TopicId),
    /// Leases whose time is over return, and messages whose delay is; those whose time to live is are given up.
    Returns(SubscriptionId),
    /// Retention lets go of blocks.
    Retention(TopicId),
    /// A subscription catches up with a topic.
    CatchUp(TopicId, SubscriptionId),
    /// A topic forgets message ids.
    MessageIds(TopicId),
    /// A compacted topic forgets tombstones, one that is it no more its keys.
    Keys(TopicId),
}

const AT_ONCE: Option<Millis> = Some(Millis::new(0));

/// Of times with positions the first, if it has come.
pub(super) fn first_due(times: &BTreeSet<(Millis, u64)>, now: Millis) -> Option<u64> {
    times.first().filter(|(at, _)| *at <= now).map(|(_, position)| *position)
}

impl Shard {
    /// When there is something to do by itself; 0 for at once.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.agenda.next()
    }

    /// Does what is due, within the entry's budget.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        while ctx.budget() > 0 {
            let Some(due) = self.agenda.due(ctx.now) else { return };
            self.work(due, ctx);
            self.schedule(due);
        }
    }

    /// One step of something. Either it spends of the budget, or it finishes.
    pub(super) fn work(&mut self, due: Due, ctx: &mut Context<'_>) {
        match due {
            Due::Leave(session) => self.return_leases(session, ctx),
            Due::Empty(id) => self.empty(id, ctx),
            Due::Sweep(id) => self.sweep(id, ctx),
            Due::Returns(id) => {
                self.end_leases(id, ctx);
                self.end_delays(id, ctx);
                self.expire(id, ctx);
            }
            Due::Retention(id) => self.prune(id, ctx),
            Due::CatchUp(topic, subscription) => self.catch_up((topic, subscription), ctx),
            Due::MessageIds(id) => self.forget_message_ids(id, ctx),
            Due::Keys(id) => self.forget_keys(id, ctx),
        }
    }

    /// Enters into the agenda when something is due next.
    pub(super) fn schedule(&mut self, due: Due) {
        let subscription = |id| self.subscriptions.get(&id);
        let topic = |id| self.topics.get(&id);
        let at = match due {
            Due::Leave(session) => AT_ONCE.filter(|_| self.leaving.contains(&session)),
            Due::Empty(id) => subscription(id).filter(|s| s.doomed || s.purge_below > 0).and(AT_ONCE),
            Due::Returns(id) => subscription(id).filter(|s| !s.doomed).and_then(Subscription::next_return),
            Due::Sweep(id) => {
                topic(id).filter(|t| t.sweep.is_some_and(|sweep| sweep != Sweep::END)).and(AT_ONCE)
            }
            Due::Retention(id) => topic(id).and_then(|t| t.prune_due()),
            Due::Keys(id) => topic(id).and_then(|t| t.forgets_keys_at()),
            Due::MessageIds(id) => topic(id).and_then(|t| t.message_ids.due(t.config.message_id_window)),
            Due::CatchUp(topic, subscription) => {
                let pair = (topic, subscription);
                let (by_ticks, by_leader) = self.catch_up_waits(pair);
                if by_leader {
                    self.scans.insert(pair);
                } else {
                    self.scans.remove(&pair);
                }
                AT_ONCE.filter(|_| by_ticks)
            }
        };
        self.agenda.set(due, at);
    }

    pub(super) fn schedule_subscription(&mut self, id: SubscriptionId) {
        self.schedule(Due::Empty(id));
        self.schedule(Due::Returns(id));
    }

    pub(super) fn schedule_topic(&mut self, id: TopicId) {
        self.schedule(Due::Sweep(id));
        self.schedule(Due::Retention(id));
        self.schedule(Due::MessageIds(id));
        self.schedule(Due::Keys(id));
        if self.topics.get(&id).is_some_and(Topic::is_compacted) {
            self.compacted.insert(id);
        } else {
            self.compacted.remove(&id);
        }
    }

    fn return_leases(&mut self, session: SessionId, ctx: &mut Context<'_>) {
        while let Some((&id, consumer)) = self.consumers.range(ConsumerId { session, number: 0 }..).next() {
            if id.session != session {
                break;
            }
            if !ctx.spend() {
                return;
            }
            let (subscription, lease) = (consumer.subscription, consumer.leases.first().copied());
            match lease {
                Some(position) => self.end_lease(subscription, position, Ending::Gone, ctx),
                None => self.detach(id, u64::MAX, ctx),
            }
        }
        self.leaving.remove(&session);
    }

    fn end_leases(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        while let Some(subscription) = self.subscriptions.get(&id) {
            let Some(position) = first_due(&subscription.deadlines, ctx.now) else { return };
            if !ctx.spend() {
                return;
            }
            probe::sometimes("lease timed out");
            self.end_lease(id, position, Ending::Failed, ctx);
        }
    }

    /// Drops what is ready or delayed below the purge's position, and what is leased if the subscription was moved; of
    /// a deleted one everything.
    fn empty(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        while let Some(subscription) = self.subscriptions.get_mut(&id) {
            let below = if subscription.doomed { u64::MAX } else { subscription.purge_below };
            let ready = subscription.ready.first_key_value().filter(|(p, _)| **p < below);
            if let Some((&position, run)) = ready {
                let count = run.count.min(below - position);
                if !self.purge_ready(id, position, count, ctx) {
                    return;
                }
                continue;
            }
            let delayed = subscription.delayed.keys().next().copied().filter(|p| *p < below);
            let takes_leases = subscription.doomed || subscription.purge_leases;
            let leased = subscription.leases.keys().next().copied().filter(|_| takes_leases);
            if let Some(position) = delayed.or(leased) {
                if !self.purge_whole(id, position, ctx) {
                    return;
                }
                continue;
            }
            (subscription.purge_below, subscription.purge_leases) = (0, false);
            ctx.touch_subscription(id);
            if subscription.doomed {
                self.subscriptions.remove(&id);
                return;
            }
            return;
        }
    }

    /// Takes a deleted topic's messages, and its bindings, out of every subscription.
    fn sweep(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        ctx.touch_topic(id);
        while let Some(at) = self.topics.get(&id).and_then(|t| t.sweep) {
            let Some((&subscription, state)) = self.subscriptions.range(at.subscription..).next() else {
                self.set_sweep(id, Sweep::END);
                return;
            };
            let position = if subscription == at.subscription { at.position } else { 0 };
            if !ctx.spend() {
                return;
            }
            let next = match state.next_run(position) {
                None => {
                    self.unbind_all(id, subscription, ctx);
                    let next = SubscriptionId::new(subscription.get().saturating_add(1));
                    Sweep { subscription: next, position: 0 }
                }
                Some(begin) => {
                    let Some(Run { topic, count, .. }) = state.run_at(begin) else { return };
                    let purged = topic != id
                        || self.purge_ready(subscription, begin, count, ctx)
                        || self.purge_whole(subscription, begin, ctx);
                    if !purged {
                        return;
                    }
                    Sweep { subscription, position: begin.saturating_add(count) }
                }
            };
            self.set_sweep(id, next);
        }
    }

    fn set_sweep(&mut self, id: TopicId, sweep: Sweep) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.sweep = Some(sweep);
        }
    }

    /// Takes all bindings of a topic to a subscription away.
    pub(crate) fn unbind_all(&mut self, topic: TopicId, subscription: SubscriptionId, ctx: &mut Context<'_>) {
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let filters = state.bindings.remove(&subscription).unwrap_or_default();
        for binding in filters.values() {
            ctx.touch(RowKey::Binding(topic, subscription, binding.number));
        }
        if let Some(state) = self.subscriptions.get_mut(&subscription) {
            state.topics.remove(&topic);
            state.bindings = state.bindings.saturating_sub(u32::try_from(filters.len()).unwrap_or(u32::MAX));
        }
        self.end_catching_up((topic, subscription), ctx);
    }

    /// Purges the first `count` messages of the ready run at `position`, as many as the budget has blocks for.
    /// Answers whether that was all of them; `false` also when no run is there.
    pub(super) fn purge_ready(
        &mut self,
        id: SubscriptionId,
        position: u64,
        count: u64,
        ctx: &mut Context<'_>,
    ) -> bool {
        let run = self.subscriptions.get(&id).and_then(|s| s.ready.get(&position)).copied();
        let Some(run) = run.filter(|_| ctx.spend()) else { return false };
        let count = count.min(run.count);
        let gone = Gone { count, ..(&run).into() };
        let (done, blocks) = self.conclude_some(id, gone, Outcome::Purged, ctx.budget(), ctx);
        ctx.spend_some(blocks);
        if let Some(subscription) = self.subscriptions.get_mut(&id)
            && done > 0
        {
            subscription.cut_ready(position, done, ctx);
        }
        ctx.touch_subscription(id);
        done == count
    }

    /// Purges a whole lease, or what waits for one time: that is at most a credit's worth of messages.
    fn purge_whole(&mut self, id: SubscriptionId, position: u64, ctx: &mut Context<'_>) -> bool {
        if !ctx.spend() {
            return false;
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return false };
        let lease = subscription.remove_lease(position, ctx);
        let delayed = subscription.remove_delayed(position, ctx).map(|delayed| delayed.run);
        let waited = delayed.as_ref().map(Gone::from);
        let Some(gone) = lease.as_ref().map(Gone::from).or(waited) else { return false };
        ctx.touch_subscription(id);
        if let Some(lease) = lease {
            self.credit_back((id, lease.consumer), Some(position), None, lease.count);
        }
        self.conclude(id, gone, Outcome::Purged, ctx);
        true
    }

    /// Applies a topic's retention; forgets a deleted topic when nothing is left of it.
    pub(super) fn prune(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        topic.prune(ctx);
        let empty = topic.blocks.is_empty() && topic.message_ids.is_empty();
        if topic.sweep == Some(Sweep::END) && empty {
            self.topics.remove(&id);
            self.doomed.remove(&id);
            ctx.touch_topic(id);
        }
    }
}
