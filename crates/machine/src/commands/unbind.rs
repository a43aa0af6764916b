//! Takes a binding back. What was routed stays; what was not reached yet by a subscription that catches up does not come.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Shard};
use quorate_types::{Reason, Refusal, Selector, SubscriptionName, TopicName};

impl Shard {
    pub(crate) fn unbind(
        &mut self,
        topic: &TopicName,
        subscription: &SubscriptionName,
        selector: &Selector,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let id = self.subscription_id(subscription)?;
        let topic_id = self.topic_id(topic.as_str())?;
        let selectors = self.topics.get_mut(&topic_id).and_then(|t| t.bindings.get_mut(&id));
        let binding = selectors.and_then(|selectors| selectors.remove(selector)).ok_or_else(|| {
            let text = format!(
                "subscription {subscription} is not bound to topic {topic} with the filter \"{selector}\""
            );
            Refusal::new(Reason::BindingNotFound, text)
        })?;
        ctx.touch(RowKey::Binding(topic_id, id, binding.number));
        let (Some(topic), Some(state)) = (self.topics.get_mut(&topic_id), self.subscriptions.get_mut(&id))
        else {
            return Ok(Answer::Done);
        };
        state.bindings = state.bindings.saturating_sub(1);
        if topic.bindings.get(&id).is_some_and(|selectors| selectors.is_empty()) {
            topic.bindings.remove(&id);
            state.topics.remove(&topic_id);
            self.end_catching_up((topic_id, id), ctx);
        } else {
            self.change_catching_up((topic_id, id), ctx);
        }
        Ok(Answer::Done)
    }
}
