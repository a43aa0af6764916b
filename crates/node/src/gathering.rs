//! The leader's part in writing small blocks together.
//!
//! A message that was published alone is a block of its own, of which every node knows where it lies and when it came: much more than
//! of one that was published among many. Where very many entries are kept the leader reads small blocks that follow each other and
//! proposes them anew as one, hundreds of messages at a time; the machine takes each if all of them are still what was read.
//! It is not worth the writing for what is consumed soon, so it begins with many, and with the oldest.

use crate::block_reader::BlockReader;
use crate::core::Core;
use bytes::{Bytes, BytesMut};
use quorate_consensus::Group;
use quorate_machine::{GatheredBlock, Machine, Op, ScatteredBlocks, Shard, block};
use quorate_types::probe;
use quorate_types::{Refusal, TopicId};
use std::time::Duration;
use tokio::time::sleep;

/// Fewer that follow each other are not worth it: what is left of them then costs little.
const PARTS_MIN: u64 = 64;
/// Blocks that are looked at for one step: apply waits meanwhile.
const VISITS_MAX: usize = 10_000;
/// Blocks that a step puts together: well within what an entry may do.
const STEP_PARTS_MAX: usize = 4_096;
/// What a step writes, unless the first of it is more: a quarter of the largest entry.
const STEP_BYTES_MAX: usize = 1 << 20;
/// After a step that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// When all was looked at, or the group does not know yet what to do with it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Writes together whenever very much is kept, as long as this node leads in this term: does not end by itself.
pub(crate) async fn run(core: &Core, group: &Group, term: u64) {
    let mut scattered = group.is_scattered();
    let mut from = None;
    loop {
        if scattered.wait_for(|is| *is).await.is_err() {
            return std::future::pending().await;
        }
        if !group.leadership().borrow().is_mine_in(term) || core.stop.is_cancelled() {
            // The term ends beside this.
            return std::future::pending().await;
        }
        if group.read(Machine::version) < (Op::Gather { blocks: Vec::new() }).since() {
            sleep(LOOK_AGAIN_AFTER).await;
            continue;
        }
        if let Err(refusal) = step(core, group, &mut from).await {
            tracing::debug!(group = %group.id(), %refusal, "a step of gathering comes again");
            sleep(AGAIN_AFTER).await;
        } else if from.is_none() {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

/// `from`: where to look, and then where to look next; `None`: from the beginning, and to the end.
///
/// # Errors
/// When a block cannot be read, or this node does not lead any more.
async fn step(core: &Core, group: &Group, from: &mut Option<(TopicId, u64)>) -> Result<(), Refusal> {
    let parts_min = usize::try_from(core.gather_entries_min.clamp(2, PARTS_MIN)).unwrap_or(usize::MAX);
    let look = |shard: &Shard| shard.scattered_blocks(*from, parts_min, VISITS_MAX);
    let (found, next) = group.read(|m| m.shard().map(look)).unwrap_or_default();
    *from = next;
    let messages = core.gateway.running(group.id())?.delivery.replica();
    let mut reader = BlockReader::new();
    let mut step = Step::default();
    for scattered in found {
        if step.is_full(&scattered) {
            // That is the next one.
            *from = Some((scattered.topic, scattered.first));
            break;
        }
        let mut bodies = Vec::new();
        for slice in &scattered.slices {
            let Some(read) = reader.bodies(&*messages, slice).await? else { break };
            bodies.extend(read);
        }
        step.add(scattered, bodies);
    }
    if step.blocks.is_empty() {
        return Ok(());
    }
    let op = Op::Gather { blocks: step.blocks };
    core.gateway.propose_with_fragment(group.id(), op, step.fragments.freeze().into()).await.map(drop)
}

/// What is proposed together.
#[derive(Default)]
struct Step {
    blocks: Vec<GatheredBlock>,
    /// The messages of all of them.
    fragments: BytesMut,
    parts: usize,
}

impl Step {
    fn is_full(&self, next: &ScatteredBlocks) -> bool {
        let bytes = usize::try_from(next.bytes).unwrap_or(usize::MAX).saturating_add(self.fragments.len());
        let over = bytes > STEP_BYTES_MAX || self.parts + next.parts.len() > STEP_PARTS_MAX;
        over && !self.blocks.is_empty()
    }

    /// Leaves blocks out of which not every message is there any more.
    fn add(&mut self, scattered: ScatteredBlocks, mut bodies: Vec<Bytes>) {
        let ScatteredBlocks { topic, first, parts, .. } = scattered;
        let count: u64 = parts.iter().map(|part| u64::from(part.count)).sum();
        if bodies.len() as u64 != count {
            return;
        }
        if probe::planted("gathering mixes up messages") {
            bodies.reverse();
        }
        let before = self.fragments.len();
        block::append_fragment(&mut self.fragments, &bodies);
        let fragment_bytes = u32::try_from(self.fragments.len() - before).unwrap_or(u32::MAX);
        self.parts += parts.len();
        self.blocks.push(GatheredBlock { topic, first, parts, fragment_bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_machine::GatheredPart;

    fn scattered(parts: usize, bytes: u64) -> ScatteredBlocks {
        let parts = (0..parts as u64).map(|index| GatheredPart { index, count: 1 }).collect();
        ScatteredBlocks { topic: TopicId::new(1), first: 10, parts, slices: Vec::new(), bytes }
    }

    #[test]
    fn messages_become_one_fragment_and_those_of_which_one_is_gone_stay() {
        let mut step = Step::default();
        step.add(scattered(3, 3), vec!["a".into(), "b".into(), "c".into()]);
        step.add(scattered(3, 3), vec!["d".into(), "e".into()]);
        step.add(scattered(2, 2), vec!["f".into(), "g".into()]);
        assert_eq!(step.blocks.iter().map(|block| block.parts.len()).collect::<Vec<_>>(), [3, 2]);
        let second = step.blocks[0].fragment_bytes;
        let fragments = step.fragments.freeze();
        assert_eq!(block::bodies(&fragments, 0, 0, 3).unwrap(), ["a", "b", "c"]);
        assert_eq!(block::bodies(&fragments, second, 0, 2).unwrap(), ["f", "g"]);
    }

    #[test]
    fn a_step_is_bounded() {
        let mut step = Step::default();
        assert!(!step.is_full(&scattered(2, 10 << 20)), "one at least");
        step.add(scattered(1, 1), vec!["a".into()]);
        assert!(!step.is_full(&scattered(2, 1_000)));
        assert!(step.is_full(&scattered(2, 10 << 20)));
        assert!(step.is_full(&scattered(STEP_PARTS_MAX, 1_000)));
    }
}
