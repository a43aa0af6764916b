//! Drops what is ready in a subscription, or waits for its time. Leased messages are left to their consumers.

use crate::applied::{Answer, Reply};
use crate::shard::{Context, Shard};
use quorate_types::SubscriptionName;

impl Shard {
    /// Nothing of the subscription is granted until the purge is done. A leased message that comes back before
    /// that goes with it.
    pub(crate) fn purge(&mut self, name: &SubscriptionName, ctx: &mut Context<'_>) -> Reply {
        let id = self.subscription_id(name)?;
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return Ok(Answer::Done) };
        let messages = subscription.ledger.ready + subscription.ledger.delayed;
        if messages > 0 {
            subscription.purge_below = subscription.next_position;
            self.begin_emptying(id, ctx);
        }
        Ok(Answer::Purged { messages })
    }
}
