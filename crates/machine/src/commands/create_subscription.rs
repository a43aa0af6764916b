//! Creates a subscription, without bindings.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::op::SubscriptionConfig;
use crate::shard::{Context, Shard, Subscription};
use quorate_types::{Reason, Refusal, SubscriptionId, SubscriptionName};

impl Shard {
    pub(crate) fn create_subscription(
        &mut self,
        name: &SubscriptionName,
        config: &SubscriptionConfig,
        ctx: &mut Context<'_>,
    ) -> Reply {
        if config.lease_timeout.as_millis() == 0 {
            return Err(invalid(format!(
                "the lease timeout of subscription {name} is less than 1 ms: choose a longer one"
            )));
        }
        match self.subscription_names.get(name).and_then(|id| self.subscriptions.get(id)) {
            Some(subscription) if subscription.config == *config => return Ok(Answer::Done),
            Some(_) => {
                let text = format!(
                    "subscription {name} is there with other settings: delete it, or choose another name"
                );
                return Err(Refusal::new(Reason::SubscriptionExists, text));
            }
            None => {}
        }
        self.check_open(format_args!("subscription {name}"))?;
        if self.subscription_names.len() >= ctx.limits.subscriptions_max as usize {
            return Err(limit("the number of subscriptions", ctx.limits.subscriptions_max));
        }
        self.last_subscription += 1;
        let id = SubscriptionId::new(self.last_subscription);
        self.subscriptions.insert(id, Subscription::new(id, name.clone(), config.clone()));
        self.subscription_names.insert(name.clone(), id);
        ctx.touch_subscription(id);
        Ok(Answer::Done)
    }
}
