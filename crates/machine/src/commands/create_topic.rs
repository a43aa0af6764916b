//! Creates a topic.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::config::TopicConfig;
use crate::shard::{Context, Shard, Topic};
use quorate_types::{Limits, Reason, Refusal, TopicId, TopicName};

impl Shard {
    pub(crate) fn create_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        ctx: &mut Context<'_>,
    ) -> Reply {
        check(name, config)?;
        match self.topic_names.get(name.as_str()).and_then(|id| self.topics.get(&id)) {
            Some(topic) if topic.config == *config => Ok(Answer::Done),
            Some(_) => {
                let text = format!(
                    "topic {name} is there with other settings: configure it, or choose another name"
                );
                Err(Refusal::new(Reason::TopicExists, text))
            }
            None => self.add_topic(name, config, ctx).map(|_| Answer::Done),
        }
    }

    /// The topic; if it is not there, a new one with these settings, if any.
    pub(super) fn topic_or_new(
        &mut self,
        name: &str,
        create: Option<&TopicConfig>,
        ctx: &mut Context<'_>,
    ) -> Result<TopicId, Refusal> {
        match (self.topic_id(name), create) {
            (Err(_), Some(config)) => {
                let name = TopicName::parse(name).map_err(|e| invalid(e.to_string()))?;
                self.add_topic(&name, config, ctx)
            }
            (found, _) => found,
        }
    }

    fn add_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        ctx: &mut Context<'_>,
    ) -> Result<TopicId, Refusal> {
        self.check_room(name, 0, ctx.limits)?;
        self.check_home(name, config)?;
        self.check_alternate(name, config, ctx.limits)?;
        Ok(self.insert_topic(name, config, ctx))
    }

    /// Whether a topic of that name may be created, after `more` others.
    pub(super) fn check_room(&self, name: &TopicName, more: usize, limits: &Limits) -> Result<(), Refusal> {
        self.check_open(format_args!("topic {name}"))?;
        if self.topic_names.len() + more >= limits.topics_max as usize {
            return Err(limit("the number of topics", limits.topics_max));
        }
        Ok(())
    }

    /// There is none of that name, and [`Self::check_room`] allows it.
    pub(super) fn insert_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        ctx: &mut Context<'_>,
    ) -> TopicId {
        self.last_topic += 1;
        let id = TopicId::new(self.last_topic);
        self.topics.insert(id, Topic::new(id, name.clone(), config.clone()));
        self.topic_names.insert(name.clone(), id);
        ctx.touch_topic(id);
        id
    }
}

/// Whether a topic may have these settings.
pub(super) fn check(name: &TopicName, config: &TopicConfig) -> Result<(), Refusal> {
    if config.ttl.is_some_and(|ttl| ttl.as_millis() == 0) {
        let text =
            format!("the time to live of topic {name} is less than 1 ms: choose a longer one, or none");
        return Err(invalid(text));
    }
    if config.message_id_window.is_some_and(|window| window.as_millis() == 0) {
        let text =
            format!("the message id window of topic {name} is less than 1 ms: choose a longer one, or none");
        return Err(invalid(text));
    }
    Ok(())
}
