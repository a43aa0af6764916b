//! Sets a quota, or replaces it.

use super::{invalid, limit};
use crate::applied::{Answer, Reply};
use crate::quota::{Quota, QuotaOf};
use crate::rows::RowKey;
use crate::shard::Context;
use crate::system::System;

impl System {
    /// A row has a number, for its key is made of numbers: the lowest one that is free.
    pub(crate) fn put_quota(&mut self, of: &QuotaOf, quota: Quota, ctx: &mut Context<'_>) -> Reply {
        if !quota.is_sound() {
            return Err(invalid(
                "a quota has at least one bound, and none is 0: set one, or delete the quota",
            ));
        }
        if let QuotaOf::User(name) = of
            && !(1..=QuotaOf::USER_BYTES_MAX).contains(&name.len())
        {
            return Err(invalid(format!("a user's name has 1 to {} bytes", QuotaOf::USER_BYTES_MAX)));
        }
        let known = self.quota_number(of);
        if known.is_none() && self.quotas.len() >= Quota::COUNT_MAX {
            return Err(limit("the number of quotas", Quota::COUNT_MAX));
        }
        let free = || (1..).find(|number| !self.quotas.contains_key(number)).unwrap_or(u64::MAX);
        let number = known.unwrap_or_else(free);
        self.quotas.insert(number, (of.clone(), quota));
        ctx.touch(RowKey::Quota(number));
        Self::changed(&mut ctx.effects);
        Ok(Answer::Done)
    }
}
