//! Routes what is published from now on, where a filter matches.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::op::TopicConfig;
use crate::rows::RowKey;
use crate::shard::{Context, Shard};
use quorate_types::{Filter, SubscriptionName, TopicName};

impl Shard {
    pub(crate) fn bind(
        &mut self,
        topic: &TopicName,
        subscription: &SubscriptionName,
        filter: &Filter,
        create_topic: bool,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let id = self.subscription_id(subscription)?;
        let dead_letters = self.subscriptions.get(&id).and_then(|s| s.config.dead_letter_topic.as_ref());
        if dead_letters == Some(topic) {
            return Err(invalid(format!(
                "topic {topic} takes the dead letters of subscription {subscription}, which would get them again: bind another subscription to it"
            )));
        }
        let default = TopicConfig::default();
        let topic = self.topic_or_new(topic.as_str(), create_topic.then_some(&default), ctx)?;
        let (Some(topic), Some(state)) = (self.topics.get_mut(&topic), self.subscriptions.get_mut(&id))
        else {
            return Ok(Answer::Done);
        };
        if topic.bindings.get(&id).is_some_and(|filters| filters.contains_key(filter)) {
            return Ok(Answer::Done);
        }
        if state.bindings >= ctx.limits.bindings_max {
            let what = format!("the number of bindings of subscription {subscription}");
            return Err(limit(what, ctx.limits.bindings_max));
        }
        self.last_binding += 1;
        topic.bindings.entry(id).or_default().insert(filter.clone(), self.last_binding);
        state.topics.insert(topic.id);
        state.bindings += 1;
        ctx.touch(RowKey::Binding(topic.id, id, self.last_binding));
        Ok(Answer::Done)
    }
}
