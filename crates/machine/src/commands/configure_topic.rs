//! Replaces a topic's settings.

use super::{create_topic, invalid};
use crate::applied::{Answer, Reply};
use crate::config::TopicConfig;
use crate::shard::{Context, Shard};
use quorate_types::TopicName;

impl Shard {
    /// What a shorter retention or window does not hold any more goes with this entry, as far as its budget reaches.
    pub(crate) fn configure_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        ctx: &mut Context<'_>,
    ) -> Reply {
        create_topic::check(name, config)?;
        let id = self.topic_id(name.as_str())?;
        if self.topics.get(&id).is_some_and(|topic| topic.config.spread_by_key != config.spread_by_key) {
            let text = format!(
                "whether topic {name} is spread by key is fixed at its creation: configure it as it is, or create another one"
            );
            return Err(invalid(text));
        }
        self.check_alternate(name, config, ctx.limits)?;
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.message_ids.reconfigure(topic.config.message_id_window, config.message_id_window, ctx.now);
            topic.config = config.clone();
            ctx.touch_topic(id);
        }
        self.forget_message_ids(id, ctx);
        self.forget_keys(id, ctx);
        Ok(Answer::Done)
    }
}
