//! Where messages go whose lease ended without a final verdict: back to the queue, now or later, or out of it.

use super::delayed::Delayed;
use super::due::first_due;
use super::{Context, Lease, Ready, Shard};
use crate::provenance::DeathReason;
use quorate_types::SubscriptionId;
use quorate_types::probe;
use std::time::Duration;

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The message failed: it waits as its subscription says.
    Failed,
    /// It failed, and the consumer says how long it waits.
    Postponed(Duration),
    /// The consumer is gone. The message did not fail and is ready at once.
    Gone,
    /// Something before it in its key came back. It did not fail: it is ready at once, and this was not its last attempt.
    Overtaken,
}

impl Shard {
    /// The messages of an ended lease return to their positions; the first `sent` of them had an attempt. Those that had
    /// their last one leave the subscription.
    pub(crate) fn give_back(
        &mut self,
        (id, position): (SubscriptionId, u64),
        lease: &Lease,
        sent: u64,
        ending: Ending,
        ctx: &mut Context<'_>,
    ) {
        let sent = sent.min(lease.count);
        let (failed, unsent) = (lease.part(0, sent), lease.part(sent, lease.count - sent));
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        // What is left of a deleted topic, or was held when the subscription was moved, is taken out wherever it is.
        let doomed = subscription.purge_leases || self.doomed.contains(&lease.topic);
        let was_last = subscription.config.is_last(lease.attempt);
        let is_last = was_last && !doomed && ending != Ending::Overtaken;
        if sent > 0 && !is_last {
            subscription.ledger.redelivered += sent;
            let uncounted = u32::from(probe::planted("an attempt is not counted"));
            let run = ready(&failed, lease.attempt.saturating_sub(uncounted));
            let delay = match ending {
                Ending::Failed => subscription.config.backoff.after(lease.attempt),
                Ending::Postponed(delay) => delay,
                Ending::Gone | Ending::Overtaken => Duration::ZERO,
            };
            if subscription.config.kind.has_sticky_keys() {
                subscription.keys.came_back(lease.label.key, position);
            }
            if delay.is_zero() {
                subscription.put_ready(position, run, ctx);
            } else {
                probe::sometimes("message delayed");
                subscription.put_delayed(position, Delayed { run, due: ctx.now.after(delay) }, ctx);
            }
        }
        if sent < lease.count {
            probe::sometimes("unsent grant returned");
            let run = ready(&unsent, lease.attempt.saturating_sub(1));
            subscription.put_ready(position + sent, run, ctx);
        }
        ctx.touch_subscription(id);
        if sent > 0 && is_last {
            probe::sometimes("last attempt failed");
            self.give_up(id, &failed, DeathReason::MaxAttempts, ctx);
        }
    }

    /// What is leased of a key after something that came back comes back, too: the key is delivered in its order again. Whoever
    /// holds it is told when it settles it.
    pub(crate) fn take_back_overtaken(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if !subscription.config.kind.has_sticky_keys() {
            return;
        }
        for position in subscription.keys.take_overtaken() {
            probe::sometimes("overtaken message taken back");
            self.end_lease(id, position, Ending::Overtaken, ctx);
        }
        // They lie behind what came back: nothing more is overtaken by them.
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.keys.take_overtaken();
        }
    }

    /// Messages whose delay is over are ready again.
    pub(super) fn end_delays(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        while let Some(subscription) = self.subscriptions.get_mut(&id) {
            let Some(position) = first_due(&subscription.delays, ctx.now) else { return };
            if !ctx.spend() {
                return;
            }
            if let Some(delayed) = subscription.remove_delayed(position, ctx) {
                subscription.put_ready(position, delayed.run, ctx);
            }
            ctx.touch_subscription(id);
        }
    }
}

/// The messages of a lease, as they wait.
pub(crate) fn ready(lease: &Lease, attempts: u32) -> Ready {
    let Lease { topic, offset, count, label, .. } = *lease;
    Ready { topic, offset, count, attempts, label }
}
