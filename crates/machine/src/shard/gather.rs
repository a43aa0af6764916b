//! Small blocks that are written together: a message that was published alone costs as much memory as thousands that were
//! published together, for as long as it is kept.
//!
//! Apply reads no bytes: the leader reads blocks that follow each other and proposes them anew as one, and each replica puts that in
//! their place. Offsets and times of the messages stay, and so does who has them.

use super::times::Times;
use super::topic::{Block, Topic};
use super::view::BlockSlice;
use super::{Context, Shard};
use crate::op::GatheredPart;
use crate::rows::RowKey;
use quorate_types::TopicId;

/// What one block of its own may have at most to be worth the reading and writing: with more, what is known of it is little beside it.
const PART_MESSAGES_MAX: u32 = 64;
const PART_BYTES_MAX: u32 = 4 << 10;
/// What is written together at most: whoever looks for one message goes through the times of all before it, and what is kept for one
/// that is never settled is bounded.
const MESSAGES_MAX: u32 = 512;
const BYTES_MAX: u32 = 256 << 10;
/// Blocks that fill half of that are worth it from so many on: with the most messages that they may have, as many fill it.
const FULL_PARTS_MIN: usize = 8;

/// Blocks of a topic, one behind the other, that are worth being written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScatteredBlocks {
    /// Their topic.
    pub topic: TopicId,
    /// The first offset of the first of them.
    pub first: u64,
    /// All of them.
    pub parts: Vec<GatheredPart>,
    /// Where their messages lie, in order.
    pub slices: Vec<BlockSlice>,
    /// Bytes of these, about.
    pub bytes: u64,
}

impl Block {
    /// Whether it is one of those that cost more than they hold, and nothing counts but its messages and when they were stored.
    fn is_scattered(&self) -> bool {
        let small = self.count <= PART_MESSAGES_MAX && self.bytes <= PART_BYTES_MAX;
        // Shares of bytes would change, and times of their own would be those of more messages.
        let plain = !self.weighed && !self.timed && self.origin.is_none();
        small && plain && self.needed == 0 && self.times.is_none()
    }

    /// Takes the times of its messages; not if they are those of other messages.
    pub(super) fn take_times(&mut self, times: Times) -> bool {
        let agrees = times.agrees_with(self.count, self.stamp) && self.times.is_none();
        self.times = Some(Box::new(times));
        agrees
    }
}

impl Topic {
    /// Puts one block in place of several, whose fragment begins at that byte of the entry's block and has so many bytes. Changes
    /// nothing if they are not what the leader has seen.
    pub(crate) fn gather(
        &mut self,
        first: u64,
        parts: &[GatheredPart],
        (fragment, bytes): (u32, u32),
        ctx: &mut Context<'_>,
    ) -> bool {
        let Some(mut gathered) = self.gathered(first, parts) else { return false };
        let room = crate::block::fragment_bytes(gathered.count as usize, 0) <= bytes as usize;
        if !room || self.is_doomed() {
            return false;
        }
        let mut at = first;
        for part in parts {
            self.settled.remove(&at);
            self.remove(at, ctx);
            at += u64::from(part.count);
        }
        (gathered.index, gathered.entry_bytes) = (ctx.id.index, ctx.block_bytes);
        (gathered.fragment, gathered.bytes) = (fragment, bytes);
        self.bytes += u64::from(bytes);
        self.messages += u64::from(gathered.count);
        if gathered.live == 0 {
            self.settled.insert(first);
        }
        ctx.touch(RowKey::Block(self.id, first));
        ctx.touch(RowKey::Times(self.id, first));
        // When retention lets go of what is settled may have changed.
        ctx.topics.insert(self.id);
        self.blocks.insert(first, gathered);
        true
    }

    /// What is known of the blocks together: kept no shorter than the last of them. `None`: they are not these any more.
    fn gathered(&self, first: u64, parts: &[GatheredPart]) -> Option<Block> {
        let (mut count, mut live, mut last) = (0u32, 0, None);
        let mut times = Vec::with_capacity(parts.len());
        for part in parts {
            let block = self.blocks.get(&(first + u64::from(count))).filter(|block| block.is_scattered())?;
            if (block.index, block.count) != (part.index, part.count) {
                return None;
            }
            count = count.checked_add(block.count)?;
            live += block.live;
            times.push((block.count, block.stamp));
            last = Some(block);
        }
        let times = Times::of(times).map(Box::new);
        let last = last.filter(|_| parts.len() > 1)?;
        Some(Block { count, live, times, ..last.clone() })
    }
}

/// Blocks that follow each other, while they are looked for.
#[derive(Default)]
struct Found {
    first: u64,
    end: u64,
    bytes: u32,
    parts: Vec<GatheredPart>,
}

impl Found {
    fn has_room_for(&self, first: u64, block: &Block) -> bool {
        let count = self.end - self.first + u64::from(block.count);
        let bytes = self.bytes.saturating_add(block.bytes);
        first == self.end && count <= u64::from(MESSAGES_MAX) && bytes <= BYTES_MAX
    }

    fn add(&mut self, first: u64, block: &Block) {
        if self.parts.is_empty() {
            (self.first, self.end) = (first, first);
        }
        self.end += u64::from(block.count);
        self.bytes += block.bytes;
        self.parts.push(GatheredPart { index: block.index, count: block.count });
    }
}

impl Shard {
    /// How many entries have blocks that are kept.
    #[must_use]
    pub fn kept_entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Blocks that are worth being written together, at least `parts_min` of them each time or as many as there is room for, among
    /// `visits_max` blocks from there on. Answers also from where on to look next; `None`: it came to the end.
    #[must_use]
    pub fn scattered_blocks(
        &self,
        from: Option<(TopicId, u64)>,
        parts_min: usize,
        visits_max: usize,
    ) -> (Vec<ScatteredBlocks>, Option<(TopicId, u64)>) {
        let mut left = visits_max;
        let mut all = Vec::new();
        for (id, topic) in self.topics.range(from.map_or(TopicId::new(0), |(topic, _)| topic)..) {
            let from = from.filter(|(topic, _)| topic == id).map_or(0, |(_, first)| first);
            let mut found = Found::default();
            for (first, block) in topic.blocks.range(from..) {
                if left == 0 {
                    // What was begun is looked at again as a whole.
                    let next = if found.parts.is_empty() { *first } else { found.first };
                    return (all, Some((*id, next)));
                }
                left -= 1;
                let fits = block.is_scattered();
                if !fits || !found.has_room_for(*first, block) {
                    all.extend(self.scattered(*id, std::mem::take(&mut found), parts_min));
                }
                if fits {
                    found.add(*first, block);
                }
            }
            all.extend(self.scattered(*id, found, parts_min));
        }
        (all, None)
    }

    fn scattered(&self, topic: TopicId, found: Found, parts_min: usize) -> Option<ScatteredBlocks> {
        let Found { first, end, bytes, parts } = found;
        let is_full = end - first >= u64::from(MESSAGES_MAX / 2) || bytes >= BYTES_MAX / 2;
        let parts_min = if is_full { parts_min.min(FULL_PARTS_MIN) } else { parts_min };
        let enough = parts.len() >= parts_min.max(2);
        let slices = || self.locate(topic, first, end - first);
        enough.then(|| ScatteredBlocks { topic, first, parts, slices: slices(), bytes: u64::from(bytes) })
    }
}
