//! Opens a shard: somebody wants its namespace.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Closing, Context, Shard};
use quorate_types::{Reason, Refusal, ShardPlace};

impl Shard {
    /// Repeated, or late: done, and nothing changes. A shard that was closed at this revision stays closed: the delete that
    /// closed it has seen the creation which asks here, and goes on.
    pub(crate) fn open(&mut self, revision: u64, place: ShardPlace, ctx: &mut Context<'_>) -> Reply {
        if revision > self.closing.revision {
            self.take_place(place)?;
            self.closing = Closing { revision, is_closed: false };
            ctx.touch(RowKey::Closing);
        }
        if self.closing.is_closed {
            let text = format!(
                "it is being deleted at revision {}, after it was created at revision {revision}: create it again",
                self.closing.revision
            );
            return Err(Refusal::new(Reason::NamespaceChanged, text));
        }
        Ok(Answer::Done)
    }
}
