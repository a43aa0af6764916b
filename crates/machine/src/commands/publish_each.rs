//! Appends messages to several topics, in the order of one publisher.

use super::invalid;
use super::publish::misfit;
use crate::applied::{Answer, Reply};
use crate::publishes::Publishes;
use crate::shard::{Context, Shard};
use quorate_types::probe;
use quorate_types::{Reason, Refusal};

impl Shard {
    /// `fragment`: byte position of the first publish's fragment in the entry's block, which those of the others follow;
    /// `None` as for a publish. What is refused here is refused as a whole; each publish is then on its own.
    pub(crate) fn publish_each(
        &mut self,
        publishes: &Publishes,
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let mut at = fragment.ok_or_else(misfit)?;
        if publishes.count() == 0 {
            return Err(invalid("the publish is to no topic: name at least one"));
        }
        let max = ctx.limits.publish_messages_max;
        if publishes.size() > u64::from(max) {
            let topics = publishes.count();
            let text =
                format!("the publish to {topics} topics has more than {max} messages: send it in parts");
            return Err(Refusal::new(Reason::LimitReached, text));
        }
        let mut outcomes = Vec::with_capacity(usize::try_from(publishes.count()).unwrap_or(0));
        for publish in publishes.iter() {
            outcomes.push(self.append(&publish, at, ctx));
            // All of them lie within the block: that they make it up was checked for the entry.
            at = at.saturating_add(publish.fragment_bytes);
        }
        probe::sometimes("publish to several topics");
        Ok(Answer::PublishedEach { outcomes, log_id: ctx.id })
    }
}
