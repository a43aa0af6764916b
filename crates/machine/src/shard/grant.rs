//! From ready to leased, and back.

use super::Shard;
use super::consumer::Consumer;
use super::context::Context;
use super::returns::Ending;
use super::subscription::{Lease, Subscription};
use crate::applied::LeaseRun;
use crate::rows::RowKey;
use quorate_types::probe;
use quorate_types::{ConsumerId, SubscriptionId};
use std::collections::BTreeMap;

impl Shard {
    /// Leases what is ready to whoever has credit, in order of position. The consumers take turns; each pass
    /// spreads what is there evenly, so that a burst does not end with one of them and none starves.
    pub(crate) fn grant(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        while let Some(subscription) = self.subscriptions.get(&id) {
            let turns = self.takers(subscription).min(subscription.ledger.ready);
            if turns == 0 || subscription.grants_nothing(ctx.now) {
                return;
            }
            if subscription.config.kind.has_sticky_keys() {
                return self.grant_by_key(id, ctx);
            }
            for turn in 0..turns {
                if !self.turn(id, turns - turn, ctx) {
                    return;
                }
            }
        }
    }

    /// How many consumers are granted by turns what is ready.
    pub(super) fn takers(&self, subscription: &Subscription) -> u64 {
        match subscription.config.kind.has_one_active() {
            true => u64::from(only_taker(subscription, &self.consumers).is_some()),
            false => subscription.free.count() as u64,
        }
    }

    /// One consumer's turn: its even share of what is ready. Answers whether there is more to do.
    fn turn(&mut self, id: SubscriptionId, turns: u64, ctx: &mut Context<'_>) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return false };
        let next = match subscription.config.kind.has_one_active() {
            true => only_taker(subscription, &self.consumers),
            false => subscription.free.next(subscription.served),
        };
        let Some(next) = next else { return false };
        let Some(free) = self.consumers.get(&next).map(Consumer::free) else { return false };
        let mut left = subscription.ledger.ready.div_ceil(turns).min(free);
        subscription.served = Some(next);
        ctx.touch(RowKey::Subscription(id));
        while left > 0 {
            if !self.skip_doomed(id, ctx) {
                return false;
            }
            let (Some(subscription), Some(consumer)) =
                (self.subscriptions.get_mut(&id), self.consumers.get_mut(&next))
            else {
                return false;
            };
            let Some(front) = subscription.front() else { return false };
            let granted = lease(subscription, consumer, (front, left), ctx);
            if granted == 0 {
                return false;
            }
            left -= granted;
            if consumer.free() == 0 {
                subscription.free.remove(consumer);
            }
        }
        true
    }

    /// Purges what a deleted topic left at the front of the queue. `false`: the entry may do no more.
    fn skip_doomed(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) -> bool {
        while !self.doomed.is_empty() {
            let front = self.subscriptions.get(&id).and_then(|s| Some((s.front()?, s)));
            let run = front.and_then(|(position, s)| s.ready.get(&position).map(|run| (position, *run)));
            let Some((position, run)) = run else { return true };
            if !self.doomed.contains(&run.topic) {
                return true;
            }
            let count = run.count;
            if !self.purge_ready(id, position, count, ctx) {
                return false;
            }
        }
        true
    }

    /// Takes a consumer away. Of what it was granted, the first `written` messages of its life count as sent;
    /// all its leases return to their positions.
    pub(crate) fn detach(&mut self, id: ConsumerId, written: u64, ctx: &mut Context<'_>) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        ctx.touch(consumer.row());
        ctx.forget(id);
        let Some(subscription) = self.subscriptions.get_mut(&consumer.subscription) else { return };
        subscription.part(&consumer);
        if let Some(identity) = consumer.identity {
            subscription.identities.remove(&identity.token);
        }
        let id = subscription.id;
        for position in consumer.leases {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
            let Some(lease) = subscription.remove_lease(position, ctx) else { continue };
            if probe::planted("leases of a detached consumer are dropped") {
                continue;
            }
            let sent = written.saturating_sub(lease.granted_before);
            self.give_back((id, position), &lease, sent, Ending::Gone, ctx);
        }
        ctx.touch_subscription(id);
    }

    /// Ends a whole lease; its messages return to their positions. They were sent, as far as anyone knows.
    pub(crate) fn end_lease(
        &mut self,
        id: SubscriptionId,
        position: u64,
        ending: Ending,
        ctx: &mut Context<'_>,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let Some(lease) = subscription.remove_lease(position, ctx) else { return };
        self.give_back((id, position), &lease, lease.count, ending, ctx);
        self.credit_back((id, lease.consumer), Some(position), None, lease.count);
    }

    /// A consumer of a subscription holds `count` messages less; `gone`: no lease of it begins there any more;
    /// `begun`: one does. Nothing if it is gone: its number may have a new life at another subscription.
    pub(crate) fn credit_back(
        &mut self,
        (subscription, id): (SubscriptionId, ConsumerId),
        gone: Option<u64>,
        begun: Option<u64>,
        count: u64,
    ) {
        let consumer = self.consumers.get_mut(&id).filter(|c| c.subscription == subscription);
        let Some(consumer) = consumer else { return };
        if let Some(gone) = gone {
            consumer.leases.remove(&gone);
        }
        consumer.leases.extend(begun);
        consumer.outstanding = consumer.outstanding.saturating_sub(count);
        if consumer.free() > 0
            && let Some(subscription) = self.subscriptions.get_mut(&subscription)
            && subscription.consumers.contains(&id)
        {
            subscription.free.insert(consumer);
        }
    }
}

/// The one consumer that is granted everything, if it has credit. While another one still holds something nobody is granted
/// anything: what that one gives back comes first.
fn only_taker(subscription: &Subscription, consumers: &BTreeMap<ConsumerId, Consumer>) -> Option<ConsumerId> {
    let consumer = consumers.get(&subscription.first_in_line()?)?;
    let alone =
        consumer.outstanding == subscription.ledger.leased || probe::planted("two consumers are active");
    (alone && consumer.free() > 0).then_some(consumer.id)
}

/// Leases up to `max` messages of the run at `position` to a consumer, and answers how many.
pub(super) fn lease(
    subscription: &mut Subscription,
    consumer: &mut Consumer,
    (position, max): (u64, u64),
    ctx: &mut Context<'_>,
) -> u64 {
    let Some(run) = subscription.cut_ready(position, max, ctx) else { return 0 };
    let lease = Lease {
        topic: run.topic,
        offset: run.offset,
        count: run.count,
        attempt: run.attempts.saturating_add(1),
        consumer: consumer.id,
        deadline: ctx.now.after(subscription.config.lease_timeout),
        granted_before: consumer.granted,
        label: run.label,
    };
    consumer.granted += run.count;
    consumer.outstanding += run.count;
    consumer.leases.insert(position);
    ctx.touch(consumer.row());
    ctx.deliver(consumer.node, consumer.id, lease.run(position));
    subscription.put_lease(position, lease, ctx);
    run.count
}

impl Lease {
    /// As delivery sees it.
    pub(crate) fn run(&self, position: u64) -> LeaseRun {
        LeaseRun {
            position,
            topic: self.topic,
            offset: self.offset,
            count: self.count,
            attempt: self.attempt,
            granted_before: self.granted_before,
        }
    }
}
