//! Deletes a topic with its bindings.

use crate::applied::{Answer, Reply};
use crate::shard::{Context, Shard};
use quorate_types::TopicName;

impl Shard {
    /// Its name is free at once, nothing of it is delivered any more, and settles of it are stale. What is
    /// unsettled is counted as purged.
    pub(crate) fn delete_topic(&mut self, name: &TopicName, ctx: &mut Context<'_>) -> Reply {
        let id = self.topic_id(name.as_str())?;
        self.topic_names.remove(name);
        self.doom_topic(id, ctx);
        Ok(Answer::Done)
    }
}
