//! Takes a quota away.

use crate::applied::{Answer, Reply};
use crate::quota::QuotaOf;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;

impl System {
    /// Where there is none, nothing is to be done.
    pub(crate) fn delete_quota(&mut self, of: &QuotaOf, ctx: &mut Context<'_>) -> Reply {
        if let Some(number) = self.quota_number(of) {
            self.quotas.remove(&number);
            ctx.touch(RowKey::Quota(number));
            Self::changed(&mut ctx.effects);
        }
        Ok(Answer::Done)
    }
}
