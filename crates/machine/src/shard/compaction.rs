//! Entries of which little is needed: by messages alone that are the newest of their key, and by less than half of their bytes.
//!
//! A block at rest keeps the whole entry in which it lies. So the leader reads what is needed of such entries and proposes it
//! anew, in one entry; apply reads no bytes. Offsets, times and what is said of where messages came from stay.

use super::topic::{Block, Topic};
use super::view::BlockSlice;
use super::{Context, Shard};
use crate::op::KeptRun;
use quorate_types::{Millis, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// What is known of entries with blocks at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// By entry.
    resting: BTreeMap<u64, Resting>,
    /// Entries that are worth writing anew.
    loose: BTreeSet<u64>,
    /// Bytes of these that nobody needs.
    waste: u64,
}

/// Blocks at rest of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resting {
    /// With the bytes of each that are needed.
    blocks: BTreeMap<(TopicId, u64), u64>,
    needed: u64,
    /// Of the entry's whole block.
    bytes: u64,
}

/// A block of an entry that is worth writing anew, and what is needed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseBlock {
    /// Its topic.
    pub topic: TopicId,
    /// Its first offset.
    pub first: u64,
    /// The entry in which it lies.
    pub index: u64,
    /// Where its messages lie that are the newest of their key, in order, consecutive ones together.
    pub slices: Vec<BlockSlice>,
    /// Bytes of these, about.
    pub bytes: u64,
}

impl Compaction {
    fn waste_of(&self, index: u64) -> u64 {
        self.resting.get(&index).map_or(0, |resting| resting.bytes.saturating_sub(resting.needed))
    }

    /// A block has come to rest, with so many bytes that are needed and so many in its entry; or it rests no more.
    fn note(&mut self, index: u64, block: (TopicId, u64), at_rest: Option<(u64, u64)>) {
        if self.loose.remove(&index) {
            self.waste -= self.waste_of(index);
        }
        let resting = self.resting.entry(index).or_default();
        resting.needed -= resting.blocks.remove(&block).unwrap_or(0);
        if let Some((needed, bytes)) = at_rest {
            resting.blocks.insert(block, needed);
            (resting.needed, resting.bytes) = (resting.needed + needed, bytes);
        }
        if resting.blocks.is_empty() {
            self.resting.remove(&index);
        }
    }

    /// Whether an entry is worth writing anew: `blocks` of all topics lie in it.
    fn judge(&mut self, index: u64, blocks: u32) {
        let Some(resting) = self.resting.get(&index) else { return };
        let only = resting.blocks.len() as u64 == u64::from(blocks);
        let loose = only && resting.needed.saturating_mul(2) < resting.bytes;
        let waste = self.waste_of(index);
        if loose && self.loose.insert(index) {
            self.waste += waste;
        } else if !loose && self.loose.remove(&index) {
            self.waste -= waste;
        }
    }
}

impl Topic {
    /// Whether something else than its keys holds a settled block: retention, or a subscription that catches up.
    fn is_held_back(&self, first: u64, block: &Block, now: Millis) -> bool {
        let young = self.config.retention_age.is_some_and(|age| block.stamp.after(age) > now);
        young || self.held_by_size(block) || block.is_held(first, self.held_from())
    }

    /// The messages of a block that are the newest of their key, consecutive ones together.
    fn needed_of(&self, first: u64, block: &Block) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (offset, _) in self.newest.range(first, first + u64::from(block.count)) {
            match runs.last_mut() {
                Some((begin, count)) if *begin + *count == offset => *count += 1,
                _ => runs.push((offset, 1)),
            }
        }
        runs
    }

    /// Puts parts of a block in its place, which lie one behind the other from byte `at` of the entry's block on. What is not the
    /// newest of its key any more is left out, where that is a whole part. Changes nothing if the block is not what the leader
    /// has seen, or would lose what is needed. Answers how many blocks there are in place of it.
    pub(crate) fn replace(
        &mut self,
        (first, index): (u64, u64),
        runs: &[KeptRun],
        mut at: u32,
        ctx: &mut Context<'_>,
    ) -> u32 {
        let found = self.blocks.get(&first).filter(|block| block.index == index && block.is_at_rest());
        let Some(block) = found.filter(|block| !self.is_held_back(first, block, ctx.now)).cloned() else {
            return 0;
        };
        let needed = |run: &KeptRun| {
            let end = run.offset.saturating_add(u64::from(run.count));
            u32::try_from(self.newest.range(run.offset, end).count()).unwrap_or(u32::MAX)
        };
        let counts: Vec<u32> = runs.iter().map(needed).collect();
        if !lie_within(runs, (first, block.count))
            || counts.iter().map(|n| u64::from(*n)).sum::<u64>() != u64::from(block.needed)
        {
            return 0;
        }
        self.remove(first, ctx);
        let mut placed = 0;
        for (run, needed) in runs.iter().zip(counts) {
            let KeptRun { offset, count, fragment_bytes: bytes } = *run;
            if needed > 0 {
                let skipped = u32::try_from(offset - first).unwrap_or(u32::MAX);
                let origin = block.origin.as_deref().map(|origin| Box::new(origin.after(skipped).moved()));
                let (index, entry_bytes) = (ctx.id.index, ctx.block_bytes);
                let part =
                    Block { index, fragment: at, count, bytes, needed, origin, entry_bytes, ..block.clone() };
                self.place(offset, part, ctx);
                placed += 1;
            }
            at = at.saturating_add(bytes);
        }
        placed
    }

    fn place(&mut self, first: u64, block: Block, ctx: &mut Context<'_>) {
        self.bytes += u64::from(block.bytes);
        self.messages += u64::from(block.count);
        self.needed_bytes += block.needed_bytes();
        ctx.touch(crate::rows::RowKey::Block(self.id, first));
        ctx.rested.insert((self.id, first, block.index));
        self.blocks.insert(first, block);
    }
}

/// Whether the runs are in order, do not overlap, lie in the block, and have fragments that can hold them.
fn lie_within(runs: &[KeptRun], (first, count): (u64, u32)) -> bool {
    let (mut at, end) = (first, first + u64::from(count));
    runs.iter().all(|run| {
        let begins = run.offset >= at;
        let Some(run_end) = run.offset.checked_add(u64::from(run.count)) else { return false };
        at = run_end;
        let room = crate::block::fragment_bytes(run.count as usize, 0) <= run.fragment_bytes as usize;
        begins && run.count > 0 && run_end <= end && room
    })
}

impl Shard {
    /// Bytes of entries that compaction would free; of what retention still holds, too.
    #[must_use]
    pub fn compactable_bytes(&self) -> u64 {
        self.compaction.waste
    }

    /// Blocks that are worth writing anew at log time `now`, of at most `max` entries; all blocks of an entry, or none. Looks at
    /// the entries after that one first, so that all of them get their turn. Answers also the last entry that was looked at.
    #[must_use]
    pub fn loose_blocks(
        &self,
        after: Option<u64>,
        max: usize,
        now: Millis,
    ) -> (Vec<LooseBlock>, Option<u64>) {
        let loose = &self.compaction.loose;
        let later = loose.range((after.map_or(Unbounded, Excluded), Unbounded));
        let before = after.into_iter().flat_map(|after| loose.range(..=after));
        let (mut found, mut last) = (Vec::new(), None);
        for index in later.chain(before).take(max) {
            last = Some(*index);
            let resting = self.compaction.resting.get(index).into_iter().flat_map(|r| r.blocks.keys());
            let blocks: Option<Vec<LooseBlock>> =
                resting.map(|(topic, first)| self.loose_block(*topic, *first, now)).collect();
            found.extend(blocks.unwrap_or_default());
        }
        (found, last)
    }

    fn loose_block(&self, topic: TopicId, first: u64, now: Millis) -> Option<LooseBlock> {
        let state = self.topics.get(&topic)?;
        let block = state.blocks.get(&first).filter(|block| !state.is_held_back(first, block, now))?;
        let needed = state.needed_of(first, block);
        let slices = needed.iter().flat_map(|(offset, count)| self.locate(topic, *offset, *count)).collect();
        Some(LooseBlock { topic, first, index: block.index, slices, bytes: block.needed_bytes() })
    }

    /// Takes note of blocks that came to rest or rest no more, and of the entries that lost or got some block.
    pub(super) fn note_rest(&mut self, mut entries: BTreeSet<u64>, ctx: &mut Context<'_>) {
        for (topic, first, index) in std::mem::take(&mut ctx.rested) {
            let block = self.topics.get(&topic).and_then(|topic| topic.blocks.get(&first));
            let at_rest = block.filter(|block| block.index == index && block.is_at_rest());
            let at_rest = at_rest.map(|block| (block.needed_bytes(), u64::from(block.entry_bytes)));
            self.compaction.note(index, (topic, first), at_rest);
            entries.insert(index);
        }
        if self.compaction.resting.is_empty() {
            return;
        }
        for index in entries {
            self.compaction.judge(index, self.entries.get(&index).copied().unwrap_or(0));
        }
    }

    /// What [`Self::note_rest`] would have come to from the beginning.
    pub(super) fn compaction_anew(&self) -> Compaction {
        let mut fresh = Compaction::default();
        for topic in self.topics.values().filter(|topic| !topic.newest.is_empty()) {
            for (first, block) in topic.blocks.iter().filter(|(_, block)| block.is_at_rest()) {
                let at_rest = (block.needed_bytes(), u64::from(block.entry_bytes));
                fresh.note(block.index, (topic.id, *first), Some(at_rest));
            }
        }
        let entries: Vec<u64> = fresh.resting.keys().copied().collect();
        entries.iter().for_each(|index| fresh.judge(*index, self.entries.get(index).copied().unwrap_or(0)));
        fresh
    }
}
