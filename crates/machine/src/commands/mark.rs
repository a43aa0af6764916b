//! Remembers where a subscription is.

use super::limit;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Mark, Shard};
use quorate_types::{MarkName, SubscriptionName};

impl Shard {
    pub(crate) fn mark(
        &mut self,
        subscription: &SubscriptionName,
        name: &MarkName,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let id = self.subscription_id(subscription)?;
        let Some(state) = self.subscriptions.get(&id) else { return Ok(Answer::Done) };
        let count = u32::try_from(state.marks.len()).unwrap_or(u32::MAX);
        let number = match state.marks.get(name) {
            Some(mark) => mark.number,
            None if count >= ctx.limits.marks_max => {
                let what = format!("the number of marks of subscription {subscription}");
                return Err(limit(what, ctx.limits.marks_max));
            }
            None => state.free_mark_number(),
        };
        let (at, offsets) = (ctx.now, self.oldest_offsets(state, ctx));
        if let Some(state) = self.subscriptions.get_mut(&id) {
            state.marks.insert(name.clone(), Mark { number, at, offsets });
            ctx.touch(RowKey::Mark(id, number));
        }
        Ok(Answer::Done)
    }
}
