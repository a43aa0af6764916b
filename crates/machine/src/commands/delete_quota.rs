//! Takes a quota away.

use crate::applied::{Answer, Reply};
use crate::quota::QuotaOf;
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;

impl System {
    /// Where there is none, nothing is to be done.
    pub(crate) fn delete_quota(&mut self, of: &QuotaOf, ctx: &mut Context<'_>) -> Reply {
        let known = self.quotas.iter().find(|(_, (whose, _))| whose == of).map(|(number, _)| *number);
        if let Some(number) = known {
            self.quotas.remove(&number);
            ctx.touch(RowKey::Quota(number));
        }
        Ok(Answer::Done)
    }
}
