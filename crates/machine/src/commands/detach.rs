//! Detaches a consumer; its leases return to the queue at their old positions.

use crate::applied::{Answer, Reply};
use crate::shard::{Context, Shard};
use quorate_types::ConsumerId;

impl Shard {
    /// A consumer that is gone already is detached: done. All of its leases return in this entry; they are at
    /// most a credit's worth of messages.
    pub(crate) fn detach_consumer(&mut self, id: ConsumerId, written: u64, ctx: &mut Context<'_>) -> Reply {
        self.detach(id, written, ctx);
        Ok(Answer::Done)
    }
}
