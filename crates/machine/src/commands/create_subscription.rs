//! Creates a subscription, without bindings.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::config::{SubscriptionConfig, SubscriptionKind, TopicConfig};
use crate::shard::{Context, Shard, Subscription};
use quorate_types::{Reason, Refusal, SubscriptionId, SubscriptionName, TopicName};
use std::time::Duration;

/// What a dead-letter topic keeps that nobody created: nothing may be bound to it yet, and what dies must not be lost for that.
/// A week is enough for somebody to look.
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Shard {
    pub(crate) fn create_subscription(
        &mut self,
        name: &SubscriptionName,
        config: &SubscriptionConfig,
        create_topic: bool,
        ctx: &mut Context<'_>,
    ) -> Reply {
        check(name, config)?;
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
        if let Some(topic) = &config.dead_letter_topic {
            self.have_dead_letter_topic(name, topic, create_topic, ctx)?;
        }
        self.last_subscription += 1;
        let id = SubscriptionId::new(self.last_subscription);
        self.subscriptions.insert(id, Subscription::new(id, name.clone(), config.clone()));
        self.subscription_names.insert(name.clone(), id);
        self.limited.add(config);
        ctx.touch_subscription(id);
        Ok(Answer::Done)
    }

    /// Where its dead letters go is on every shard, as the subscription is.
    fn have_dead_letter_topic(
        &mut self,
        name: &SubscriptionName,
        topic: &TopicName,
        create: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let whose = format!("subscription {name} passes dead");
        let kept = TopicConfig {
            retention_age: Some(DEAD_LETTERS_KEPT),
            spread_by_key: self.place.shards.are_several(),
            ..TopicConfig::default()
        };
        let is_new = create && self.topic_names.get(topic.as_str()).is_none();
        let id = match is_new {
            true => self.topic_or_new(topic.as_str(), Some(&kept), ctx)?,
            false => self.target_topic(topic, &whose)?,
        };
        self.check_dead_letters(id, &whose)
    }
}

fn check(name: &SubscriptionName, config: &SubscriptionConfig) -> Result<(), Refusal> {
    if config.lease_timeout.as_millis() == 0 {
        let text = format!("the lease timeout of subscription {name} is less than 1 ms: choose a longer one");
        return Err(invalid(text));
    }
    if config.max_attempts == Some(0) {
        return Err(invalid(format!(
            "subscription {name} would allow 0 attempts: allow at least 1, or leave it out to set no limit"
        )));
    }
    if config.priorities && config.kind == SubscriptionKind::KeyShared {
        return Err(invalid(format!(
            "subscription {name} would have priorities and keys that stick to consumers: each key has its order, choose one"
        )));
    }
    if config.dead_letter_expired && config.dead_letter_topic.is_none() {
        return Err(invalid(format!(
            "subscription {name} would dead-letter what expires, but has no dead-letter topic: name one"
        )));
    }
    let has_letters = config.dead_letter_topic.is_some();
    let limited = config.backlog.check(has_letters);
    limited.map_err(|wrong| invalid(format!("the backlog of subscription {name} {wrong}")))?;
    config.backoff.check().map_err(|wrong| invalid(format!("the backoff of subscription {name} {wrong}")))
}
