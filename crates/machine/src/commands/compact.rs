//! Blocks of which little is needed are written anew, as the leader has read them.

use super::publish::misfit;
use crate::applied::{Answer, Reply};
use crate::op::CompactedBlock;
use crate::shard::{Context, Shard};
use quorate_types::probe;

impl Shard {
    /// `fragment`: byte position of the first part in the entry's block, which the others follow. Each block is on its own: one
    /// that is not what the leader saw, or holds something else now, stays where it is.
    pub(crate) fn compact(
        &mut self,
        blocks: &[CompactedBlock],
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let mut at = fragment.ok_or_else(misfit)?;
        for CompactedBlock { topic, first, index, runs } in blocks {
            // The rest is found again by the leader.
            if ctx.budget() == 0 {
                break;
            }
            ctx.spend();
            if let Some(state) = self.topics.get_mut(topic) {
                let placed = state.replace((*first, *index), runs, at, ctx);
                if placed > 0 {
                    probe::sometimes("block compacted");
                    *self.entries.entry(ctx.id.index).or_default() += placed;
                }
                ctx.spend_some(placed);
            }
            // All of them lie within the block: that they make it up was checked for the entry.
            at = runs.iter().fold(at, |at, run| at.saturating_add(run.fragment_bytes));
        }
        Ok(Answer::Done)
    }
}
