//! Messages whose time to live ends while they wait. What a consumer holds is left to it.

use super::due::first_due;
use super::subscription::Subscription;
use super::{Context, Shard};
use crate::ended::Outcome;
use crate::options::Label;
use crate::provenance::DeathReason;
use quorate_types::{Millis, SubscriptionId, probe};

impl Subscription {
    pub(super) fn note_expiry(&mut self, label: Label, position: u64) {
        if label.expires > Millis::default() {
            self.expiries.insert((label.expires, position));
        }
    }

    pub(super) fn forget_expiry(&mut self, label: Label, position: u64) {
        if label.expires > Millis::default() {
            self.expiries.remove(&(label.expires, position));
        }
    }

    /// Whether something waits whose time is over: until it is gone nothing is granted.
    pub(super) fn has_expired(&self, now: Millis) -> bool {
        first_due(&self.expiries, now).is_some()
    }
}

impl Shard {
    /// Takes out what has expired, within the entry's budget; the rest is left to ticks.
    pub(super) fn expire(&mut self, id: SubscriptionId, ctx: &mut Context<'_>) {
        while let Some(subscription) = self.subscriptions.get_mut(&id) {
            let Some(position) = first_due(&subscription.expiries, ctx.now) else { return };
            if probe::planted("what expired is delivered") {
                subscription.expiries.pop_first();
                continue;
            }
            if !ctx.spend() {
                return;
            }
            // What is being taken out is taken out, whatever its time, and only that.
            let purged = subscription.purge_below.saturating_sub(position);
            let count = if purged > 0 { purged } else { u64::MAX };
            let waited = subscription.cut_ready(position, count, ctx);
            let waited = waited.or_else(|| Some(subscription.remove_delayed(position, ctx)?.run));
            let Some(run) = waited else { return };
            ctx.touch_subscription(id);
            probe::sometimes("message expired");
            if purged > 0 || self.doomed.contains(&run.topic) {
                self.conclude(id, &run, Outcome::Purged, ctx);
            } else {
                self.give_up(id, &run, DeathReason::Expired, ctx);
            }
        }
    }
}
