//! Takes a binding between topics back. What was passed on stays.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Shard};
use quorate_types::{Filter, Reason, Refusal, TopicName};

impl Shard {
    pub(crate) fn unbind_topic(
        &mut self,
        from: &TopicName,
        to: &TopicName,
        filter: &Filter,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let (id, target) = (self.topic_id(from.as_str())?, self.topic_id(to.as_str())?);
        let onward = self.topics.get_mut(&id).map(|topic| &mut topic.onward);
        let number = onward.and_then(|onward| {
            let filters = onward.get_mut(&target)?;
            let number = filters.remove(filter)?;
            if filters.is_empty() {
                onward.remove(&target);
            }
            Some(number)
        });
        let number = number.ok_or_else(|| {
            let text = format!("topic {to} is not bound to topic {from} with the filter \"{filter}\"");
            Refusal::new(Reason::BindingNotFound, text)
        })?;
        ctx.touch(RowKey::TopicBinding(id, target, number));
        Ok(Answer::Done)
    }
}
