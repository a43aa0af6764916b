//! Attaches a consumer to a subscription.

use super::{check_credit, invalid, limit};
use crate::applied::{Answer, Reply};
use crate::shard::{Consumer, Context, Shard};
use quorate_types::{ConsumerId, NodeId, SubscriptionName};

impl Shard {
    /// `node`: the one whose session is in `id`.
    pub(crate) fn attach(
        &mut self,
        id: ConsumerId,
        node: NodeId,
        name: &SubscriptionName,
        credit: u32,
        ctx: &mut Context<'_>,
    ) -> Reply {
        check_credit(credit, ctx.limits.credit_max)?;
        let subscription = self.subscription_id(name)?;
        if self.consumers.contains_key(&id) {
            return Err(invalid(format!("consumer {id} is attached already: give each a number of its own")));
        }
        let Some(state) = self.subscriptions.get_mut(&subscription) else { return Ok(Answer::Done) };
        if state.consumers.len() >= ctx.limits.consumers_max as usize {
            let what = format!("the number of consumers of subscription {name}");
            return Err(limit(what, ctx.limits.consumers_max));
        }
        let consumer = Consumer::new(id, node, subscription, credit);
        state.consumers.insert(id);
        if consumer.free() > 0 {
            state.free.insert(id);
        }
        ctx.touch(consumer.row());
        ctx.touch_subscription(subscription);
        self.consumers.insert(id, consumer);
        Ok(Answer::Done)
    }
}
