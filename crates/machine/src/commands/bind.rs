//! Routes messages that selectors select, from a start on.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::config::TopicConfig;
use crate::op::Start;
use crate::rows::RowKey;
use crate::shard::{Binding, Context, Shard, Topic};
use quorate_types::{Reason, Refusal, Selector, SubscriptionName, TopicName};
use std::collections::BTreeSet;

impl Shard {
    pub(crate) fn bind(
        &mut self,
        (topic, subscription): (&TopicName, &SubscriptionName),
        selectors: &[Selector],
        start: Start,
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
        if state.config.backlog.rejects() && selectors.iter().any(|s| s.headers.is_some()) {
            return Err(invalid(format!(
                "subscription {subscription} refuses publishes when its backlog is full, and what a binding with headers selects is known only when they are stored: bind it by subject, or let the oldest give way"
            )));
        }
        let bound = topic.bindings.get(&id);
        let is_new = |selector: &&Selector| bound.is_none_or(|bound| !bound.contains_key(*selector));
        let new: BTreeSet<&Selector> = selectors.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(Answer::Done);
        }
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        if count > ctx.limits.bindings_max.saturating_sub(state.bindings) {
            let what = format!("the number of bindings of subscription {subscription}");
            return Err(limit(what, ctx.limits.bindings_max));
        }
        if start != Start::Latest && bound.is_some() {
            return Err(bound_already(topic, subscription));
        }
        let from = begin(topic, start)?;
        for selector in new {
            self.last_binding += 1;
            let binding = Binding { number: self.last_binding, from };
            topic.bindings.entry(id).or_default().insert(selector.clone(), binding);
            ctx.touch(RowKey::Binding(topic.id, id, self.last_binding));
        }
        state.topics.insert(topic.id);
        state.bindings += count;
        let topic = topic.id;
        self.begin_catching_up((topic, id), from, ctx);
        Ok(Answer::Done)
    }
}

/// The offset at which a binding, or a subscription that is moved, begins.
pub(super) fn begin(topic: &Topic, start: Start) -> Result<u64, Refusal> {
    match start {
        Start::Latest => Ok(topic.next_offset),
        Start::Offset(offset) if offset > topic.next_offset => {
            let text = format!(
                "offset {offset} is beyond the end of topic {}: its next message gets {}",
                topic.name, topic.next_offset
            );
            Err(Refusal::new(Reason::OffsetOutOfRange, text))
        }
        Start::Offset(offset) => Ok(offset.max(topic.first_offset())),
        Start::Time(time) => Ok(topic.offset_at(time)),
    }
}

fn bound_already(topic: &Topic, subscription: &SubscriptionName) -> Refusal {
    let text = format!(
        "subscription {subscription} is bound to topic {} already, and only a first binding may start in the past: bind from now on, or create another subscription",
        topic.name
    );
    Refusal::new(Reason::BindingExists, text)
}
