//! Blocks of messages that lie where another topic has them.
//!
//! A topic that gets messages from another one, as dead letters or because that one passes them on, gets blocks of its
//! own, with dense offsets, which lie in the entries where the messages were published; no byte is copied, and an entry
//! is kept as long as any topic has a block in it. What is to be said of the messages lies over the block, and is added
//! when they are read.

use super::topic::{Block, Piece};
use crate::provenance::{Death, DeathReason, Provenance};
use quorate_types::{Millis, TopicName};
use serde::{Deserialize, Serialize};

/// What a block has more than others whose messages came from another topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The block's first message, counted from the beginning of its first fragment.
    pub(crate) slot: u32,
    pub(crate) provenance: Provenance,
}

impl Origin {
    /// That of the messages behind the first `skipped`.
    pub(super) fn after(&self, skipped: u32) -> Self {
        let offset = self.provenance.offset.saturating_add(u64::from(skipped));
        let provenance = Provenance { offset, ..self.provenance.clone() };
        Self { slot: self.slot.saturating_add(skipped), provenance }
    }

    /// The same at the beginning of a fragment of its own.
    pub(super) fn moved(self) -> Self {
        Self { slot: 0, ..self }
    }

    /// Whether `next` tells of the messages that come after `count` of these.
    fn comes_before(&self, next: &Self, count: u32) -> bool {
        let (mine, other) = (&self.provenance, &next.provenance);
        mine.offset.checked_add(u64::from(count)) == Some(other.offset)
            && (&mine.topic, mine.stored, &mine.death) == (&other.topic, other.stored, &other.death)
    }
}

impl Piece<'_> {
    /// A block for another topic, at `now`, that refers to these messages of `topic`. `death`: why they are given up, if they are.
    pub(crate) fn reference(&self, topic: &TopicName, death: Option<&Death>, now: Millis) -> Option<Block> {
        let block = self.block;
        let skipped = u32::try_from(self.begin - self.first).ok()?;
        let count = u32::try_from(self.count).ok()?;
        let origin = match block.origin.as_deref() {
            // It came from elsewhere itself: where it was at first stays, what became of it last counts.
            Some(before) => {
                let mut origin = before.after(skipped);
                origin.provenance.death = death.cloned().or(origin.provenance.death);
                origin
            }
            None => {
                let (topic, offset, stored) = (topic.clone(), self.begin, self.stamp);
                let provenance = Provenance { topic, offset, stored, death: death.cloned() };
                Origin { slot: skipped, provenance }
            }
        };
        // For retention by size: the share of the messages in what was published.
        let bytes = u64::from(block.bytes) * u64::from(count) / u64::from(block.count.max(1));
        Some(Block {
            index: block.index,
            fragment: block.fragment,
            count,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            begin: 0,
            stamp: now,
            live: 0,
            // What died has no time of its own any more.
            timed: block.timed && origin.provenance.death.is_none(),
            weighed: false,
            origin: Some(Box::new(origin)),
            entry_bytes: block.entry_bytes,
            needed: 0,
            times: None,
        })
    }
}

impl Block {
    /// Whether `next`, which refers to another topic's messages as this one does, follows it in the same entry.
    pub(super) fn reference_goes_on_with(&self, origin: &Origin, next: &Self, other: &Origin) -> bool {
        let follows = if self.fragment == next.fragment {
            origin.slot.checked_add(self.count) == Some(other.slot)
        } else {
            // Whole fragments that were passed on, one after the other. Of dead letters it is not known that they are
            // whole: the bytes of some are but their share.
            origin.provenance.death.is_none()
                && (origin.slot, other.slot) == (0, 0)
                && self.fragment.checked_add(self.bytes) == Some(next.fragment)
        };
        follows && self.stamp == next.stamp && origin.comes_before(other, self.count)
    }

    /// Whether its messages are dead letters that were given up last for that reason.
    pub(super) fn died_of(&self, reason: DeathReason) -> bool {
        let death = self.origin.as_ref().and_then(|origin| origin.provenance.death.as_ref());
        death.is_some_and(|death| death.reason == reason)
    }

    /// Whether its messages are dead letters: what they asked for when they were published counts no more.
    pub(super) fn is_dead(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.provenance.death.is_some())
    }
}
