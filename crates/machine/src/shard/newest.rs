//! Which messages of a compacted topic are the newest of their key: these are kept, settled or not, until newer ones come.
//!
//! A message that is superseded is forgotten here at once. So what is known is as much as there are keys, whatever the topic
//! keeps beside them: some 100 bytes of memory each.

use super::onward::Reached;
use super::stretches;
use super::topic::{Block, Topic};
use super::{Context, Shard};
use crate::options::{KeyHash, MessageOptions};
use crate::publishes::Runs;
use crate::rows::RowKey;
use crate::rows::newest::OFFSETS_PER_PAGE;
use quorate_types::{Limits, Millis, Reason, Refusal, TopicId, probe};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a tombstone is kept where the topic's retention does not say it: a day, Kafka's `delete.retention.ms`.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The newest message of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewestOf {
    pub(crate) key: KeyHash,
    /// It deletes the key.
    pub(crate) tombstone: bool,
}

/// Those of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    by_offset: BTreeMap<u64, NewestOf>,
    /// Derived.
    by_key: BTreeMap<KeyHash, u64>,
    /// Offsets of tombstones, in which order they were stored. Derived.
    tombstones: BTreeSet<u64>,
}

/// New keys of an operation, by topic, before any of them is stored.
pub(crate) type ClaimedKeys = BTreeMap<TopicId, BTreeSet<KeyHash>>;

impl Newest {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    /// How many keys.
    pub(crate) fn count(&self) -> u64 {
        self.by_offset.len() as u64
    }

    /// Those with offsets from `begin` to `end`, not included.
    pub(crate) fn range(&self, begin: u64, end: u64) -> impl Iterator<Item = (u64, NewestOf)> {
        self.by_offset.range(begin..end.max(begin)).map(|(offset, of)| (*offset, *of))
    }

    /// The pages in which some are.
    pub(crate) fn pages(&self) -> BTreeSet<u64> {
        self.by_offset.keys().map(|offset| offset / OFFSETS_PER_PAGE).collect()
    }

    /// A message is the newest of its key. Answers the offset of the one that is superseded by it.
    pub(crate) fn insert(&mut self, offset: u64, of: NewestOf) -> Option<u64> {
        let before = self.remove_key(of.key);
        self.by_key.insert(of.key, offset);
        self.by_offset.insert(offset, of);
        if of.tombstone {
            self.tombstones.insert(offset);
        }
        before
    }

    fn remove_key(&mut self, key: KeyHash) -> Option<u64> {
        let offset = self.by_key.get(&key).copied()?;
        self.remove(offset);
        Some(offset)
    }

    fn remove(&mut self, offset: u64) {
        if let Some(of) = self.by_offset.remove(&offset) {
            self.by_key.remove(&of.key);
            self.tombstones.remove(&offset);
        }
    }

    /// Whether what is derived is what the rest gives.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut fresh = Self::default();
        let superseded = self.by_offset.iter().filter(|(offset, of)| fresh.insert(**offset, **of).is_some());
        superseded.count() == 0 && fresh == *self
    }
}

impl Block {
    /// Bytes of its messages that are the newest of their key, about: as if all were alike.
    pub(crate) fn needed_bytes(&self) -> u64 {
        u64::from(self.bytes) * u64::from(self.needed) / u64::from(self.count.max(1))
    }

    /// Settled, and kept for its keys.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.live == 0 && self.needed > 0
    }
}

impl Topic {
    /// Whether the newest message of each key is kept.
    pub(crate) fn is_compacted(&self) -> bool {
        self.config.compacted && !self.is_doomed()
    }

    /// Messages were stored from `first_offset` on. A topic that is compacted no more does not learn new ones, but must not keep
    /// old ones for the newest either, as long as it knows some.
    pub(crate) fn note_keys(&mut self, first_offset: u64, runs: Runs<'_>, ctx: &mut Context<'_>) {
        if !self.is_compacted() && self.newest.is_empty() {
            return;
        }
        let mut end = first_offset;
        for run in runs {
            end += u64::from(run.count);
            let MessageOptions { key, tombstone, .. } = run.options;
            if !key.is_some() || run.count == 0 {
                continue;
            }
            // Of a run the last one is the newest.
            let offset = end - 1;
            if offset % 8 == 5 && probe::planted("compaction lets go of what is the newest") {
                continue;
            }
            let before = if self.is_compacted() {
                let before = self.newest.insert(offset, NewestOf { key, tombstone });
                self.change_needed(offset, 1, ctx);
                before
            } else {
                self.newest.remove_key(key)
            };
            if let Some(before) = before {
                probe::sometimes("message superseded");
                self.change_needed(before, -1, ctx);
            }
        }
        if let Some((first, block)) = self.block_at(first_offset) {
            let index = block.index;
            ctx.rested.insert((self.id, first, index));
        }
        // Tombstones came or went: these have their time.
        ctx.topics.insert(self.id);
    }

    /// The block that has the message at an offset.
    fn block_at(&self, offset: u64) -> Option<(u64, &Block)> {
        self.blocks_of(offset, offset.saturating_add(1)).next()
    }

    /// A message has become the newest of its key, or is it no more.
    fn change_needed(&mut self, offset: u64, by: i32, ctx: &mut Context<'_>) {
        ctx.touch(RowKey::Newest(self.id, offset / OFFSETS_PER_PAGE));
        let Some(first) = self.block_at(offset).map(|(first, _)| first) else { return };
        let Some(block) = self.blocks.get_mut(&first) else { return };
        self.needed_bytes -= block.needed_bytes();
        block.needed = block.needed.saturating_add_signed(by);
        self.needed_bytes += block.needed_bytes();
        ctx.rested.insert((self.id, first, block.index));
        if block.live > 0 || block.needed > 0 {
            self.settled.remove(&first);
        } else {
            // Only retention, and those that catch up, hold it now.
            self.settled.insert(first);
            ctx.topics.insert(self.id);
        }
    }

    /// The next that is to be forgotten, and when; 0 for at once.
    fn next_forgotten(&self) -> Option<(u64, Millis)> {
        if !self.is_compacted() {
            return self.newest.by_offset.keys().next().map(|offset| (*offset, Millis::new(0)));
        }
        let offset = *self.newest.tombstones.first()?;
        let kept = self.config.retention_age.unwrap_or(TOMBSTONES_KEPT);
        self.block_at(offset).map(|(_, block)| (offset, block.stamp.after(kept)))
    }

    /// When [`Shard::forget_keys`] has something to do.
    pub(super) fn forgets_keys_at(&self) -> Option<Millis> {
        self.next_forgotten().map(|(_, at)| at)
    }

    /// Puts a row back; blocks are there already. `false` if it is not one of them.
    pub(crate) fn load_newest(&mut self, page: u64, row: Vec<(u16, NewestOf)>) -> bool {
        let Some(begin) = page.checked_mul(OFFSETS_PER_PAGE) else { return false };
        for (place, of) in row {
            let Some(offset) = begin.checked_add(u64::from(place)) else { return false };
            let Some(first) = self.block_at(offset).map(|(first, _)| first) else { return false };
            let Some(block) = self.blocks.get_mut(&first) else { return false };
            let known = self.newest.by_offset.contains_key(&offset);
            if u64::from(place) >= OFFSETS_PER_PAGE || known || self.newest.insert(offset, of).is_some() {
                return false;
            }
            self.needed_bytes -= block.needed_bytes();
            block.needed += 1;
            self.needed_bytes += block.needed_bytes();
            self.settled.remove(&first);
        }
        true
    }
}

impl Shard {
    /// Forgets tombstones whose time is over with their keys, and all keys of a topic that is not compacted any more, within the
    /// entry's budget.
    pub(crate) fn forget_keys(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        while let Some((offset, _)) = topic.next_forgotten().filter(|(_, at)| *at <= ctx.now) {
            if !ctx.spend() {
                return;
            }
            topic.newest.remove(offset);
            topic.change_needed(offset, -1, ctx);
        }
    }

    /// Whether a topic, and those to which it passes messages on, have room for the keys of a publish, after those that are
    /// claimed already.
    pub(crate) fn check_room_for_keys(
        &self,
        topic: &str,
        runs: Runs<'_>,
        claimed: &mut ClaimedKeys,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.compacted.is_empty() {
            return Ok(());
        }
        let Some(state) = self.topic_names.get(topic).and_then(|id| self.topics.get(&id)) else {
            return Ok(());
        };
        if !state.passes_on() {
            return claim(state, runs, claimed, limits);
        }
        for Reached { topic, here, .. } in self.spread(state.id, runs) {
            let Some(state) = self.topics.get(&topic).filter(|state| state.is_compacted()) else { continue };
            for stretch in here {
                let part = stretches::part(runs, stretch);
                claim(state, Runs::Listed(&part), claimed, limits)?;
            }
        }
        Ok(())
    }
}

fn claim(topic: &Topic, runs: Runs<'_>, claimed: &mut ClaimedKeys, limits: &Limits) -> Result<(), Refusal> {
    if !topic.is_compacted() {
        return Ok(());
    }
    let claimed = claimed.entry(topic.id).or_default();
    for key in runs.map(|run| run.options.key).filter(|key| key.is_some()) {
        let new = !topic.newest.by_key.contains_key(&key) && claimed.insert(key);
        if new && topic.newest.count() + claimed.len() as u64 > u64::from(limits.keys_max) {
            let (name, max) = (&topic.name, limits.keys_max);
            let text = format!(
                "the compacted topic {name} would have more than {max} keys: delete some by empty messages, or use several topics"
            );
            return Err(Refusal::new(Reason::LimitReached, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_newest_message() {
        let of = |key: &[u8], tombstone| NewestOf { key: KeyHash::of(key), tombstone };
        let mut newest = Newest::default();
        assert_eq!(newest.insert(3, of(b"a", false)), None);
        assert_eq!(newest.insert(4, of(b"b", true)), None);
        assert_eq!(newest.insert(7, of(b"a", true)), Some(3));
        assert_eq!(newest.range(0, 8).map(|(offset, _)| offset).collect::<Vec<_>>(), [4, 7]);
        assert_eq!((newest.tombstones.first(), newest.count()), (Some(&4), 2));
        newest.remove(4);
        assert_eq!(newest.remove_key(KeyHash::of(b"b")), None);
        assert_eq!(newest.remove_key(KeyHash::of(b"a")), Some(7));
        assert!(newest.is_empty() && newest.tombstones.is_empty() && newest.is_consistent());
    }
}
