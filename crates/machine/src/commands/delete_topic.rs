//! Deletes a topic with its bindings.

use crate::applied::{Answer, Reply};
use crate::shard::{Context, Shard};
use quorate_types::{Reason, Refusal, TopicName};

impl Shard {
    /// Refused while messages go there that would have no place: dead letters of a subscription, or what no binding of another
    /// topic selects. Else its name is free at once,
    /// nothing of it is delivered any more, and settles of it are stale. What is unsettled is counted as purged.
    pub(crate) fn delete_topic(&mut self, name: &TopicName, ctx: &mut Context<'_>) -> Reply {
        let id = self.topic_id(name.as_str())?;
        self.check_unused(name)?;
        self.topic_names.remove(name);
        self.unbind_topics(id, ctx);
        self.doom_topic(id, ctx);
        Ok(Answer::Done)
    }

    /// Whether messages go to a topic of that name that would have no place without it.
    ///
    /// # Errors
    /// `TOPIC_IN_USE`, with who uses it.
    pub fn check_unused(&self, name: &TopicName) -> Result<(), Refusal> {
        let mut subscriptions = self.subscriptions.values().filter(|s| !s.doomed);
        if let Some(user) = subscriptions.find(|s| s.config.dead_letter_topic.as_ref() == Some(name)) {
            let user = &user.name;
            let text =
                format!("topic {name} takes the dead letters of subscription {user}: delete that first");
            return Err(Refusal::new(Reason::TopicInUse, text));
        }
        if let Some(user) = self.alternate_of(name) {
            let text = format!(
                "topic {name} is the alternate topic of topic {user}: configure that without it, or delete that first"
            );
            return Err(Refusal::new(Reason::TopicInUse, text));
        }
        Ok(())
    }
}
