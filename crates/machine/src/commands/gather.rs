//! Small blocks are written together, as the leader has read them.

use super::publish::misfit;
use crate::applied::{Answer, Reply};
use crate::op::GatheredBlock;
use crate::shard::{Context, Shard};
use quorate_types::probe;

impl Shard {
    /// `fragment`: byte position of the first block's messages in the entry's block, which the others follow. Each is on its own:
    /// what is not as the leader saw it stays where it is.
    pub(crate) fn gather(
        &mut self,
        blocks: &[GatheredBlock],
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let mut at = fragment.ok_or_else(misfit)?;
        for GatheredBlock { topic, first, parts, fragment_bytes } in blocks {
            // The rest is found again by the leader.
            if ctx.budget() == 0 {
                break;
            }
            ctx.spend_some(u32::try_from(parts.len()).unwrap_or(u32::MAX));
            let place = (at, *fragment_bytes);
            if self.topics.get_mut(topic).is_some_and(|topic| topic.gather(*first, parts, place, ctx)) {
                probe::sometimes("blocks gathered");
                *self.entries.entry(ctx.id.index).or_default() += 1;
            }
            at = at.saturating_add(*fragment_bytes);
        }
        Ok(Answer::Done)
    }
}
