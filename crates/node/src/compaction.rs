//! The leader's part in compaction by key.
//!
//! Apply reads no blocks. Where messages that are the newest of their key keep entries of which little else is needed, the leader
//! reads these messages and proposes them anew, as they are, some entries at a time; the machine takes each block if it is still
//! what the leader has seen. It begins when that frees enough, and looks again after a while when something else still holds
//! what would be freed: retention, or a subscription that catches up.

use crate::block_reader::BlockReader;
use crate::core::Core;
use crate::delivery::Messages;
use bytes::BytesMut;
use quorate_consensus::Group;
use quorate_machine::{CompactedBlock, KeptRun, LooseBlock, Op, block};
use quorate_types::Refusal;
use quorate_types::probe;
use std::time::Duration;
use tokio::time::sleep;

/// Entries that are looked at for one step.
const STEP_ENTRIES_MAX: usize = 64;
/// What a step writes, unless one block alone is more: a quarter of the largest entry.
const STEP_BYTES_MAX: u64 = 1 << 20;
/// Runs of a step, each a block of its own then: as many transitions as an entry may make.
const STEP_RUNS_MAX: usize = 10_000;
/// After a step that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// When nothing could be freed now.
const HELD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Compacts whenever that frees enough, as long as this node leads in this term: does not end by itself.
pub(crate) async fn run(core: &Core, group: &Group, term: u64) {
    let mut compactable = group.compactable();
    let mut after = None;
    loop {
        let enough = |bytes: &u64| *bytes >= core.compaction_bytes_min.max(1);
        let before = compactable.wait_for(enough).await.map(|bytes| *bytes);
        let Ok(before) = before else { return std::future::pending().await };
        if !group.leadership().borrow().is_mine_in(term) || core.stop.is_cancelled() {
            // The term ends beside this.
            return std::future::pending().await;
        }
        if let Err(refusal) = step(core, group, &mut after).await {
            tracing::debug!(group = %group.id(), %refusal, "a step of compaction comes again");
            sleep(AGAIN_AFTER).await;
        } else if *compactable.borrow() >= before {
            sleep(HELD_AGAIN_AFTER).await;
        }
    }
}

/// `after`: the entry that was looked at last.
///
/// # Errors
/// When a block cannot be read, or this node does not lead any more.
async fn step(core: &Core, group: &Group, after: &mut Option<u64>) -> Result<(), Refusal> {
    let look = |m: &quorate_machine::Machine| {
        m.shard().map(|shard| shard.loose_blocks(*after, STEP_ENTRIES_MAX, m.now()))
    };
    let (loose, last) = group.read(look).unwrap_or_default();
    *after = last;
    let messages = core.gateway.running(group.id())?.delivery.replica();
    let mut step = Step::default();
    for block in loose {
        if step.is_full(&block) {
            // That entry is the next one.
            *after = block.index.checked_sub(1);
            break;
        }
        step.add(&*messages, block).await?;
    }
    if step.blocks.is_empty() {
        return Ok(());
    }
    let op = Op::Compact { blocks: step.blocks };
    core.gateway.propose_with_fragment(group.id(), op, step.fragments.freeze().into()).await.map(drop)
}

/// What is proposed together.
#[derive(Default)]
struct Step {
    blocks: Vec<CompactedBlock>,
    /// The parts of all of them.
    fragments: BytesMut,
    runs: usize,
    reader: BlockReader,
}

impl Step {
    fn is_full(&self, next: &LooseBlock) -> bool {
        let bytes = self.fragments.len() as u64 + next.bytes;
        let over = bytes > STEP_BYTES_MAX || self.runs + next.slices.len() > STEP_RUNS_MAX;
        over && !self.blocks.is_empty()
    }

    /// Reads what is needed of a block; nothing of one that is gone meanwhile.
    async fn add(&mut self, messages: &dyn Messages, loose: LooseBlock) -> Result<(), Refusal> {
        let LooseBlock { topic, first, index, slices, .. } = loose;
        let (mut runs, begin) = (Vec::with_capacity(slices.len()), self.fragments.len());
        for mut slice in slices {
            if probe::planted("compaction copies another message") {
                slice.slot = 0;
            }
            let Some(bodies) = self.reader.bodies(messages, &slice).await? else {
                self.fragments.truncate(begin);
                return Ok(());
            };
            let before = self.fragments.len();
            block::append_fragment(&mut self.fragments, &bodies);
            let fragment_bytes = u32::try_from(self.fragments.len() - before).unwrap_or(u32::MAX);
            runs.push(KeptRun { offset: slice.offset, count: slice.count, fragment_bytes });
        }
        self.runs += runs.len();
        self.blocks.push(CompactedBlock { topic, first, index, runs });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Located;
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use quorate_machine::BlockSlice;
    use quorate_types::{Millis, TopicId};

    /// One entry with five messages, which may be gone.
    struct Fake(Option<Bytes>);

    impl Messages for Fake {
        fn locate(&self, _: TopicId, _: u64, _: u64) -> Located {
            Located::default()
        }

        fn block(&self, _: u64) -> BoxFuture<'_, Result<Option<Bytes>, Refusal>> {
            Box::pin(async move { Ok(self.0.clone()) })
        }
    }

    fn slice(offset: u64, slot: u32, count: u32) -> BlockSlice {
        BlockSlice { index: 4, fragment: 0, slot, offset, count, stamp: Millis::new(1), provenance: None }
    }

    fn loose(slices: Vec<BlockSlice>, bytes: u64) -> LooseBlock {
        LooseBlock { topic: TopicId::new(1), first: 10, index: 4, slices, bytes }
    }

    #[tokio::test]
    async fn what_is_needed_is_copied_as_it_is_one_fragment_for_each_run() {
        let entry = Fake(Some(block::fragment(&["a", "b", "c", "d", "e"])));
        let mut step = Step::default();
        step.add(&entry, loose(vec![slice(11, 1, 2), slice(14, 4, 1)], 3)).await.unwrap();
        let runs: Vec<(u64, u32)> = step.blocks[0].runs.iter().map(|run| (run.offset, run.count)).collect();
        assert_eq!(runs, [(11, 2), (14, 1)]);
        let fragments = step.fragments.clone().freeze();
        assert_eq!(block::bodies(&fragments, 0, 0, 2).unwrap(), ["b", "c"]);
        let second = step.blocks[0].runs[0].fragment_bytes;
        assert_eq!(block::bodies(&fragments, second, 0, 1).unwrap(), ["e"]);
    }

    #[tokio::test]
    async fn a_step_is_bounded_and_one_large_block_is_a_step_of_its_own() {
        let entry = Fake(Some(block::fragment(&["a", "b", "c", "d", "e"])));
        let mut step = Step::default();
        let large = || loose(vec![slice(10, 0, 1)], STEP_BYTES_MAX);
        assert!(!step.is_full(&large()));
        step.add(&entry, large()).await.unwrap();
        assert!(step.is_full(&large()) && !step.is_full(&loose(vec![slice(11, 1, 1)], 1)));
        assert!(step.is_full(&loose(vec![slice(11, 1, 1); STEP_RUNS_MAX], 1)));
    }

    #[tokio::test]
    async fn a_block_that_is_gone_is_left_out() {
        let mut step = Step::default();
        step.add(&Fake(None), loose(vec![slice(10, 0, 1)], 1)).await.unwrap();
        assert!(step.blocks.is_empty());
    }
}
