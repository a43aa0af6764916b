//! Passes messages of a topic on to another one, from now on.

use super::limit;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Shard, Topic};
use quorate_types::{Filter, TopicId, TopicName};
use std::collections::BTreeSet;

impl Shard {
    pub(crate) fn bind_topic(
        &mut self,
        from: &TopicName,
        to: &TopicName,
        filters: &[Filter],
        ctx: &mut Context<'_>,
    ) -> Reply {
        let id = self.topic_id(from.as_str())?;
        let target = self.target_topic(to, format_args!("topic {from} passes"))?;
        if let Some(from) = self.topics.get(&id) {
            self.check_reachable((&from.name, &from.config), target)?;
        }
        let bound = self.topics.get(&id).and_then(|topic| topic.onward.get(&target));
        let is_new = |filter: &&Filter| bound.is_none_or(|bound| !bound.contains_key(*filter));
        let new: BTreeSet<&Filter> = filters.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(Answer::Done);
        }
        self.check_onward(Some(id), target, ctx.limits)?;
        let max = ctx.limits.bindings_max;
        let more = |bound: usize| bound + new.len() > max as usize;
        let filters_of = |topic: &Topic| topic.onward.values().map(|filters| filters.len()).sum();
        if self.topics.get(&id).is_some_and(|topic| more(filters_of(topic))) {
            return Err(limit(format!("the number of bindings from topic {from} to others"), max));
        }
        if more(self.topics.values().filter_map(|topic| topic.onward.get(&target)).map(|f| f.len()).sum()) {
            return Err(limit(format!("the number of bindings from other topics to topic {to}"), max));
        }
        self.add_onward((id, target), new, ctx);
        Ok(Answer::Done)
    }

    fn add_onward(&mut self, (from, to): (TopicId, TopicId), new: BTreeSet<&Filter>, ctx: &mut Context<'_>) {
        let Some(topic) = self.topics.get_mut(&from) else { return };
        let bound = topic.onward.entry(to).or_default();
        for filter in new {
            self.last_binding += 1;
            bound.insert(filter.clone(), self.last_binding);
            ctx.touch(RowKey::TopicBinding(from, to, self.last_binding));
        }
    }
}
