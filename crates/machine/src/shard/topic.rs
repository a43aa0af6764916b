//! A topic: a dense sequence of offsets over blocks that live as long as somebody needs them.

use super::catch_up::CatchUp;
use super::context::Context;
use super::message_ids::MessageIds;
use super::newest::Newest;
use super::origin::Origin;
use super::times::Times;
use crate::config::TopicConfig;
use crate::publishes::PublishView;
use crate::rows::RowKey;
use quorate_types::{Filter, Millis, Selector, SubscriptionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks that one look for the newest messages visits.
const BLOCKS_MAX: usize = 10_000;

/// Messages of one topic that lie together in one entry's block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Index of the entry.
    pub(crate) index: u64,
    /// Byte position of the first fragment in the entry's block.
    pub(crate) fragment: u32,
    pub(crate) count: u32,
    pub(crate) bytes: u32,
    /// Bytes that were ever appended to the topic before it.
    pub(crate) begin: u64,
    pub(crate) stamp: Millis,
    /// Pairs of a message and a subscription that has not settled it.
    pub(crate) live: u64,
    /// Some of its messages have times of their own: whoever routes them later has to look at them.
    pub(crate) timed: bool,
    /// A subscription has counted bytes of it: nothing is joined with it any more, which would change the shares.
    pub(crate) weighed: bool,
    /// `None` where the topic's own messages are; else they are another one's, and came here as dead letters or passed on.
    pub(crate) origin: Option<Box<Origin>>,
    /// Of the entry's whole block, which it keeps.
    pub(crate) entry_bytes: u32,
    /// How many of its messages are the newest of their key. Derived.
    #[serde(skip)]
    pub(crate) needed: u32,
    /// When each of its messages was stored, if that is not `stamp`, which is then that of the newest. In a row of its own.
    #[serde(skip)]
    pub(crate) times: Option<Box<Times>>,
}

impl Block {
    /// Messages that were published, whose fragment begins at that byte of the entry's block.
    pub(crate) fn of_publish(
        publish: &PublishView<'_>,
        (fragment, count): (u32, u32),
        ctx: &Context<'_>,
    ) -> Self {
        let (index, bytes, stamp) = (ctx.id.index, publish.fragment_bytes, ctx.now);
        let timed = publish.runs.into_iter().any(|run| run.options.have_times());
        let entry_bytes = ctx.block_bytes;
        Self {
            index,
            fragment,
            count,
            bytes,
            begin: 0,
            stamp,
            live: 0,
            timed,
            weighed: false,
            origin: None,
            entry_bytes,
            needed: 0,
            times: None,
        }
    }

    /// Messages `begin .. end` of it, by when they were stored; it begins with offset `first`.
    fn pieces(&self, first: u64, (begin, end): (u64, u64)) -> impl Iterator<Item = Piece<'_>> {
        let piece = move |begin: u64, end: u64, stamp| {
            (begin < end).then(|| Piece { first, block: self, begin, count: end - begin, stamp })
        };
        let all = self.times.is_none().then(|| piece(begin, end, self.stamp)).flatten();
        let times = self.times.iter().flat_map(|times| times.iter());
        let parts = times.scan(first, move |at, (count, stamp)| {
            let from = *at;
            *at += u64::from(count);
            Some(piece(begin.max(from), end.min(*at), stamp))
        });
        all.into_iter().chain(parts.flatten())
    }

    /// Whether `next` can be one block with this one: it follows in the same entry.
    fn goes_on_with(&self, next: &Self) -> bool {
        let follows = match (&self.origin, &next.origin) {
            // What was written anew has its old time.
            (None, None) => {
                self.stamp == next.stamp && self.fragment.checked_add(self.bytes) == Some(next.fragment)
            }
            (Some(origin), Some(other)) => self.reference_goes_on_with(origin, next, other),
            _ => false,
        };
        let weighed = self.weighed || next.weighed;
        let times = self.times.is_some() || next.times.is_some();
        self.index == next.index && self.timed == next.timed && !weighed && !times && follows
    }

    /// Whether it ends after the first offset that is held for subscriptions that catch up.
    pub(super) fn is_held(&self, first: u64, held_from: Option<u64>) -> bool {
        held_from.is_some_and(|from| first + u64::from(self.count) > from)
    }
}

/// Messages of a block that were stored at one time.
pub(super) struct Piece<'a> {
    /// The block's first offset.
    pub(super) first: u64,
    pub(super) block: &'a Block,
    /// The first of the messages.
    pub(super) begin: u64,
    /// At least 1.
    pub(super) count: u64,
    pub(super) stamp: Millis,
}

/// One selector from a topic to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) number: u64,
    /// The first offset that it selects from.
    pub(crate) from: u64,
}

/// How far a deleted topic's messages are taken out of the subscriptions: everything before this is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) subscription: SubscriptionId,
    pub(crate) position: u64,
}

impl Sweep {
    pub(crate) const BEGIN: Self = Self { subscription: SubscriptionId::new(0), position: 0 };
    pub(crate) const END: Self = Self { subscription: SubscriptionId::new(u64::MAX), position: 0 };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: TopicName,
    pub(crate) config: TopicConfig,
    pub(crate) next_offset: u64,
    /// Bytes ever appended.
    pub(crate) appended: u64,
    /// Messages that no subscription matched and no retention kept.
    pub(crate) unrouted: u64,
    /// Deleted, and being taken out of the subscriptions.
    pub(crate) sweep: Option<Sweep>,
    /// Selectors to each subscription.
    pub(crate) bindings: BTreeMap<SubscriptionId, BTreeMap<Selector, Binding>>,
    /// Topics that it passes messages on to, by these filters, with the number of each.
    pub(crate) onward: BTreeMap<TopicId, BTreeMap<Filter, u64>>,
    /// Subscriptions to which not all is routed yet that the topic had when they were bound, or got since.
    pub(crate) catching_up: BTreeMap<SubscriptionId, CatchUp>,
    /// What was published lately, where it is known again by its id.
    pub(crate) message_ids: MessageIds,
    /// By first offset. There may be holes where blocks are gone.
    pub(crate) blocks: BTreeMap<u64, Block>,
    /// The newest messages of keys, where these are kept.
    pub(crate) newest: Newest,
    /// Bytes of these, about. Derived.
    pub(crate) needed_bytes: u64,
    /// First offsets of blocks with nothing live and nothing that is the newest of its key, kept by retention, or for those that
    /// catch up. Derived.
    pub(crate) settled: BTreeSet<u64>,
    /// Of all blocks. Derived.
    pub(crate) bytes: u64,
    /// In all blocks. Derived.
    pub(crate) messages: u64,
}

impl Topic {
    pub(crate) fn new(id: TopicId, name: TopicName, config: TopicConfig) -> Self {
        Self {
            id,
            name,
            config,
            next_offset: 0,
            appended: 0,
            unrouted: 0,
            sweep: None,
            bindings: BTreeMap::new(),
            onward: BTreeMap::new(),
            catching_up: BTreeMap::new(),
            message_ids: MessageIds::default(),
            blocks: BTreeMap::new(),
            newest: Newest::default(),
            needed_bytes: 0,
            settled: BTreeSet::new(),
            bytes: 0,
            messages: 0,
        }
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.sweep.is_some()
    }

    pub(crate) fn is_retained(&self) -> bool {
        !self.is_doomed() && (self.config.retention_age.is_some() || self.config.retention_bytes.is_some())
    }

    /// Whether it keeps messages that nobody has to settle.
    pub(crate) fn keeps_settled(&self) -> bool {
        self.is_retained() || !self.catching_up.is_empty() || self.is_compacted()
    }

    /// Adds a block, or lengthens the newest one when this fragment follows it in the same entry. Says whether
    /// it was added.
    pub(crate) fn append(&mut self, first: u64, mut block: Block, dirty: &mut BTreeSet<RowKey>) -> bool {
        block.begin = self.appended;
        let bytes = u64::from(block.bytes);
        (self.appended, self.bytes) = (self.appended + bytes, self.bytes + bytes);
        self.messages += u64::from(block.count);
        if let Some((&start, last)) = self.blocks.iter_mut().next_back()
            && last.goes_on_with(&block)
            && start + u64::from(last.count) == first
            && let Some(count) = last.count.checked_add(block.count)
        {
            self.needed_bytes -= last.needed_bytes();
            (last.count, last.bytes) = (count, last.bytes.saturating_add(block.bytes));
            self.needed_bytes += last.needed_bytes();
            last.live += block.live;
            if last.live > 0 {
                self.settled.remove(&start);
            }
            dirty.insert(RowKey::Block(self.id, start));
            return false;
        }
        if block.live == 0 {
            self.settled.insert(first);
        }
        self.blocks.insert(first, block);
        dirty.insert(RowKey::Block(self.id, first));
        true
    }

    /// The blocks that hold messages of `offset .. end`, from the one with `offset`.
    fn first_block(&self, offset: u64) -> u64 {
        let before = self.blocks.range(..=offset).next_back();
        before.filter(|(first, b)| *first + u64::from(b.count) > offset).map_or(offset, |(first, _)| *first)
    }

    /// `count` messages from `offset` on are settled by one subscription: all of them, or as many as lie in the
    /// first `blocks_max` blocks. Answers how many messages and how many blocks that were.
    pub(crate) fn release(
        &mut self,
        offset: u64,
        count: u64,
        blocks_max: u32,
        ctx: &mut Context<'_>,
    ) -> (u64, u32) {
        let end = offset.saturating_add(count);
        let (mut done, mut visited) = (count, 0);
        let mut emptied = Vec::new();
        for (&first, block) in self.blocks.range_mut(self.first_block(offset)..end) {
            let begin = offset.max(first);
            if visited == blocks_max {
                done = begin - offset;
                break;
            }
            visited += 1;
            let overlap = end.min(first + u64::from(block.count)) - begin;
            block.live = block.live.saturating_sub(overlap);
            ctx.touch(RowKey::Block(self.id, first));
            if block.is_at_rest() {
                ctx.rested.insert((self.id, first, block.index));
            } else if block.live == 0 {
                emptied.push(first);
            }
        }
        for first in emptied {
            if self.keeps_settled() || self.is_doomed() {
                self.settled.insert(first);
                ctx.topics.insert(self.id);
            } else {
                self.remove(first, ctx);
            }
        }
        (done, visited)
    }

    /// Bytes of the `count` messages from `offset` on, or of as many as lie in the first `blocks_max` blocks.
    pub(crate) fn weigh(&self, offset: u64, count: u64, blocks_max: u32) -> u64 {
        let end = offset.saturating_add(count);
        let blocks = self.blocks_of(offset, end).take(blocks_max as usize);
        let share = |(first, block): (u64, &Block)| {
            let begin = offset.max(first);
            block.share(begin - first, end.saturating_sub(begin))
        };
        blocks.map(share).sum()
    }

    /// Messages of a block were routed once more. `weighed`: to a subscription that counts bytes.
    pub(crate) fn revive(&mut self, first: u64, count: u64, weighed: bool, ctx: &mut Context<'_>) {
        if let Some(block) = self.blocks.get_mut(&first) {
            block.live += count;
            block.weighed |= weighed;
            self.settled.remove(&first);
            if block.needed > 0 {
                ctx.rested.insert((self.id, first, block.index));
            }
            ctx.touch(RowKey::Block(self.id, first));
        }
    }

    /// Drops settled blocks that retention does not keep any more, oldest first, within the budget.
    pub(crate) fn prune(&mut self, ctx: &mut Context<'_>) {
        let held_from = self.held_from();
        while let Some(first) = self.prunable(ctx.now, held_from) {
            if !ctx.spend() {
                return;
            }
            self.settled.remove(&first);
            self.remove(first, ctx);
        }
    }

    /// The oldest settled block, if nothing holds it at `now`. While it is held so are all newer ones: they are
    /// younger, fewer bytes follow them, and no cursor is past them.
    fn prunable(&self, now: Millis, held_from: Option<u64>) -> Option<u64> {
        let first = *self.settled.first()?;
        let block = self.blocks.get(&first)?;
        let aged = self.config.retention_age.is_none_or(|age| block.stamp.after(age) <= now);
        let held = !aged || self.held_by_size(block) || block.is_held(first, held_from);
        (!held || self.is_doomed()).then_some(first)
    }

    pub(super) fn held_by_size(&self, block: &Block) -> bool {
        self.config.retention_bytes.is_some_and(|max| self.appended.saturating_sub(block.begin) <= max)
    }

    /// When [`Self::prune`] has work, which may have passed; 0 for at once. A block that is held by size is let go by a
    /// publish, one that is held for a subscription by its catching up. The state alone says it, not when it is asked: what
    /// is due is done in this order, and by a replica that loaded a snapshot in the same one.
    pub(crate) fn prune_due(&self) -> Option<Millis> {
        let first = *self.settled.first()?;
        let block = self.blocks.get(&first)?;
        match self.config.retention_age {
            _ if self.is_doomed() => Some(Millis::new(0)),
            _ if self.held_by_size(block) || block.is_held(first, self.held_from()) => None,
            age => Some(age.map_or(Millis::new(0), |age| block.stamp.after(age))),
        }
    }

    pub(super) fn remove(&mut self, first: u64, ctx: &mut Context<'_>) {
        if let Some(block) = self.blocks.remove(&first) {
            if block.needed > 0 {
                self.needed_bytes -= block.needed_bytes();
                ctx.rested.insert((self.id, first, block.index));
            }
            self.bytes -= u64::from(block.bytes);
            self.messages -= u64::from(block.count);
            ctx.touch(RowKey::Block(self.id, first));
            if block.times.is_some() {
                ctx.touch(RowKey::Times(self.id, first));
            }
            ctx.freed.push(block.index);
        }
    }

    /// The kept blocks with messages of `offset .. end`.
    pub(crate) fn blocks_of(&self, offset: u64, end: u64) -> impl Iterator<Item = (u64, &Block)> {
        let from = self.first_block(offset);
        self.blocks.range(from..end.max(from)).map(|(first, block)| (*first, block))
    }

    /// The kept messages of `offset .. end`, by block and when they were stored.
    pub(super) fn pieces(&self, offset: u64, end: u64) -> impl Iterator<Item = Piece<'_>> {
        self.blocks_of(offset, end).flat_map(move |(first, block)| {
            block.pieces(first, (offset.max(first), end.min(first + u64::from(block.count))))
        })
    }

    /// The oldest offset that is kept; `next_offset` when nothing is.
    pub(crate) fn first_offset(&self) -> u64 {
        self.blocks.first_key_value().map_or(self.next_offset, |(first, _)| *first)
    }

    /// Where the newest `count` kept messages begin, or as many of them as lie in the newest [`BLOCKS_MAX`] blocks.
    pub(crate) fn offset_of_newest(&self, count: u64) -> u64 {
        let (mut begin, mut left) = (self.next_offset, count);
        for (first, block) in self.blocks.iter().rev().take(BLOCKS_MAX) {
            let (kept, end) = (u64::from(block.count), first + u64::from(block.count));
            if left == 0 {
                break;
            }
            begin = end - kept.min(left);
            left = left.saturating_sub(kept);
        }
        begin
    }

    /// The first kept offset that was stamped at `time` or later. Stamps never fall, so halving finds it.
    pub(crate) fn offset_at(&self, time: Millis) -> u64 {
        let (mut low, mut high) = (self.first_offset(), self.next_offset);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.blocks.range(self.first_block(middle)..).next() {
                Some((first, block)) if block.stamp < time => low = first + u64::from(block.count),
                _ => high = middle,
            }
        }
        let found = self.blocks.range(self.first_block(low)..).next();
        let before = |block: &Block| block.times.as_ref().map_or(0, |times| times.before(time));
        found.map_or(self.next_offset, |(first, block)| first + before(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(blocks: &[(u64, u32, u64)]) -> Topic {
        let mut topic = Topic::new(TopicId::new(1), TopicName::parse("t").unwrap(), TopicConfig::default());
        for &(first, count, stamp) in blocks {
            let stamp = Millis::new(stamp);
            let block = Block {
                index: first,
                fragment: 0,
                count,
                bytes: 1,
                begin: 0,
                stamp,
                live: 1,
                timed: false,
                weighed: false,
                origin: None,
                entry_bytes: 1,
                needed: 0,
                times: None,
            };
            topic.append(first, block, &mut BTreeSet::new());
            topic.next_offset = first + u64::from(count);
        }
        topic
    }

    #[test]
    fn a_time_finds_its_first_kept_offset_over_holes() {
        let topic = topic(&[(2, 3, 10), (5, 1, 20), (9, 4, 20), (20, 1, 30)]);
        let at = |time| topic.offset_at(Millis::new(time));
        assert_eq!([at(0), at(10), at(11), at(20), at(21), at(30), at(31)], [2, 2, 5, 5, 20, 20, 21]);
        assert_eq!(self::topic(&[]).offset_at(Millis::new(5)), 0);
    }

    #[test]
    fn the_newest_messages_are_those_that_are_kept() {
        let topic = topic(&[(2, 3, 10), (5, 1, 20), (9, 4, 20), (20, 1, 30)]);
        let newest = |count| topic.offset_of_newest(count);
        assert_eq!([0, 1, 2, 5, 6, 7, 9, 100].map(newest), [21, 20, 12, 9, 5, 4, 2, 2]);
        assert_eq!(self::topic(&[]).offset_of_newest(5), 0);
    }

    #[test]
    fn an_offset_in_a_hole_finds_the_next_block() {
        let topic = topic(&[(2, 3, 10), (9, 4, 20)]);
        let found = |from, to| topic.blocks_of(from, to).map(|(first, _)| first).collect::<Vec<_>>();
        assert_eq!(found(0, 100), [2, 9]);
        assert_eq!(found(4, 9), [2]);
        assert_eq!(found(5, 9), [] as [u64; 0]);
        assert_eq!(found(6, 10), [9]);
    }
}
