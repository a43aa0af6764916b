//! Forgets a mark.

use super::no_mark;
use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Context, Shard};
use quorate_types::{MarkName, SubscriptionName};

impl Shard {
    pub(crate) fn delete_mark(
        &mut self,
        subscription: &SubscriptionName,
        name: &MarkName,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let id = self.subscription_id(subscription)?;
        let Some(state) = self.subscriptions.get_mut(&id) else { return Ok(Answer::Done) };
        let mark = state.marks.remove(name).ok_or_else(|| no_mark(subscription, name))?;
        ctx.touch(RowKey::Mark(id, mark.number));
        Ok(Answer::Done)
    }
}
