//! Deletes a subscription; its consumers are closed.

use crate::applied::{Answer, Effect, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Shard};
use quorate_types::{Reason, Refusal, SubscriptionName};

impl Shard {
    /// Its name is free and its consumers are gone at once; its messages follow within the budget of this entry
    /// and of ticks.
    pub(crate) fn delete_subscription(&mut self, name: &SubscriptionName, ctx: &mut Context<'_>) -> Reply {
        let id = self.subscription_id(name)?;
        self.subscription_names.remove(name);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return Ok(Answer::Done) };
        subscription.doomed = true;
        self.limited.remove(&subscription.config);
        subscription.free.clear();
        subscription.line.clear();
        subscription.identities.clear();
        for mark in std::mem::take(&mut subscription.marks).into_values() {
            ctx.touch(RowKey::Mark(id, mark.number));
        }
        let consumers = std::mem::take(&mut subscription.consumers);
        for topic in subscription.topics.clone() {
            self.unbind_all(topic, id, ctx);
        }
        let refusal = Refusal::new(Reason::SubscriptionNotFound, format!("subscription {name} was deleted"));
        for consumer in consumers {
            let Some(gone) = self.consumers.remove(&consumer) else { continue };
            ctx.touch(gone.row());
            ctx.forget(consumer);
            ctx.effects.push(Effect::CloseConsumer { node: gone.node, consumer, refusal: refusal.clone() });
        }
        self.forget_leaving(id, ctx);
        self.begin_emptying(id, ctx);
        Ok(Answer::Done)
    }
}
