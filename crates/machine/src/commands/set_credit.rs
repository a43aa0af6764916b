//! Replaces a consumer's credit.

use super::{check_credit, unknown_consumer};
use crate::applied::{Answer, Reply};
use crate::shard::{Context, Shard};
use quorate_types::ConsumerId;

impl Shard {
    /// A credit below what the consumer holds takes nothing away: it is granted no more until it has settled.
    pub(crate) fn set_credit(&mut self, id: ConsumerId, credit: u32, ctx: &mut Context<'_>) -> Reply {
        check_credit(credit, ctx.limits.credit_max)?;
        let consumer = self.consumers.get_mut(&id).ok_or_else(|| unknown_consumer(id))?;
        consumer.credit = credit;
        ctx.touch(consumer.row());
        if let Some(subscription) = self.subscriptions.get_mut(&consumer.subscription) {
            if consumer.free() > 0 {
                subscription.free.insert(consumer);
            } else {
                subscription.free.remove(consumer);
            }
            ctx.touch_subscription(subscription.id);
        }
        Ok(Answer::Done)
    }
}
