//! What the log holds of one group, in memory: where each entry lies and, for the newest, its bytes.

use super::record::{GroupMark, Place};
use bytes::Bytes;
use quorate_types::LogId;
use std::collections::{BTreeMap, VecDeque};

/// One entry. It has bytes, a place, or both.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) term: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
    /// Carries payloads that nobody has dropped yet.
    pub(crate) block: bool,
    pub(crate) place: Option<Place>,
    pub(crate) bytes: Option<Bytes>,
    /// Tells this writing of the entry from any other while it waits in the queue.
    pub(crate) ticket: u64,
}

impl Slot {
    /// Stands for an entry of which only the index is known.
    pub(crate) fn unknown() -> Self {
        Self { term: 0, len: 0, crc: 0, block: true, place: None, bytes: None, ticket: 0 }
    }

    fn gone(&self) -> Gone {
        Gone { place: self.place, len: self.len, ticket: self.ticket }
    }
}

/// A record that is no longer needed once the one that says so is durable. It may still wait to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) place: Option<Place>,
    pub(crate) len: u32,
    pub(crate) ticket: u64,
}

pub(crate) type Released = Vec<Gone>;

/// One group's log.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) mark: GroupMark,
    /// What Raft still needs: the entries up to `mark.last`, without a gap.
    entries: VecDeque<Slot>,
    /// Live blocks at or below the purge point.
    blocks: BTreeMap<u64, Slot>,
    /// Blocks that came with snapshots that are not installed yet.
    received: BTreeMap<u64, Slot>,
}

impl Group {
    /// Index of the first entry that Raft may still read.
    pub(crate) fn first(&self) -> u64 {
        self.mark.last.map_or(0, |last| last.index + 1) - self.entries.len() as u64
    }

    /// The index that the next entry must have; any when the log was never written.
    pub(crate) fn next(&self) -> Option<u64> {
        self.mark.last.map(|last| last.index + 1)
    }

    pub(crate) fn push(&mut self, id: LogId, slot: Slot) {
        self.entries.push_back(slot);
        self.mark.last = Some(id);
    }

    fn at(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first())?).ok().filter(|at| *at < self.entries.len())
    }

    /// The entry that Raft may read.
    pub(crate) fn entry(&self, index: u64) -> Option<&Slot> {
        self.entries.get(self.at(index)?)
    }

    /// The entry, also when only its block is still needed.
    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        self.entry(index).or_else(|| self.blocks.get(&index))
    }

    pub(crate) fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        match self.at(index) {
            Some(at) => self.entries.get_mut(at),
            None => self.blocks.get_mut(&index),
        }
    }

    pub(crate) fn received_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.received.get_mut(&index)
    }

    /// The slot of this index, be it the log's or a received one, that `is` the wanted one.
    pub(crate) fn find(&mut self, index: u64, is: impl Fn(&&mut Slot) -> bool) -> Option<&mut Slot> {
        let in_log = match self.at(index) {
            Some(at) => self.entries.get_mut(at),
            None => self.blocks.get_mut(&index),
        };
        in_log.filter(|slot| is(slot)).or_else(|| self.received.get_mut(&index).filter(|slot| is(slot)))
    }

    /// Id of an entry that Raft may read, or of the purge point.
    fn id_at(&self, index: u64) -> Option<LogId> {
        match self.mark.purged {
            Some(purged) if purged.index == index => Some(purged),
            _ => self.entry(index).map(|slot| LogId { term: slot.term, index }),
        }
    }

    /// Forgets the entries after `last` (all unpurged ones when `None`).
    pub(crate) fn truncate_after(&mut self, last: Option<u64>) -> Released {
        let keep = last.map_or(0, |last| last + 1).saturating_sub(self.first());
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        if keep >= self.entries.len() {
            return Released::new();
        }
        let first = self.first();
        self.mark.last = match keep {
            0 => self.mark.purged,
            _ => self.id_at(first + keep as u64 - 1),
        };
        let gone = self.entries.split_off(keep);
        gone.iter().map(Slot::gone).collect()
    }

    /// Gives up what Raft no longer needs. Live blocks stay.
    pub(crate) fn purge(&mut self, upto: LogId) -> Released {
        let mut released = Released::new();
        let mut index = self.first();
        while index <= upto.index {
            let Some(slot) = self.entries.pop_front() else { break };
            if slot.block {
                self.blocks.insert(index, slot);
            } else {
                released.push(slot.gone());
            }
            index += 1;
        }
        self.mark.purged = Some(upto);
        if self.mark.last.is_none_or(|last| last.index < upto.index) {
            self.mark.last = Some(upto);
        }
        released
    }

    /// Takes a block that came with a snapshot.
    pub(crate) fn receive(&mut self, index: u64, slot: Slot) -> Released {
        let old = self.received.insert(index, slot);
        old.iter().map(Slot::gone).collect()
    }

    /// The index of the first of `live` that is nowhere.
    pub(crate) fn missing(&self, live: &[u64]) -> Option<u64> {
        live.iter().copied().find(|index| self.slot(*index).is_none() && !self.received.contains_key(index))
    }

    /// Makes a snapshot's state the group's: everything up to `last` is purged, exactly the blocks in `live`
    /// (sorted) remain, and entries after `last` remain only if they follow it. What was received of later entries stays: the next
    /// transfer may have begun while this one was being installed.
    pub(crate) fn install(&mut self, last: LogId, live: &[u64]) -> Released {
        let mut released = Released::new();
        if self.id_at(last.index) != Some(last) {
            // All of it is in conflict, or ends before the snapshot does.
            released.extend(self.truncate_conflict(last));
        }
        released.extend(self.purge(last));
        // What lies beyond it came for a later snapshot.
        let later = self.received.split_off(&last.index.saturating_add(1));
        for (index, slot) in std::mem::replace(&mut self.received, later) {
            let old = if live.binary_search(&index).is_ok() {
                self.blocks.insert(index, Slot { block: true, ..slot })
            } else {
                Some(slot)
            };
            released.extend(old.iter().map(Slot::gone));
        }
        released.extend(self.retain_blocks(live));
        released
    }

    /// Forgets entries after `last` and, because they may be another leader's, the ones up to it without a
    /// block; blocks up to it were compared by checksum before the transfer.
    fn truncate_conflict(&mut self, last: LogId) -> Released {
        let released = self.truncate_after(Some(last.index));
        if self.mark.last.is_some_and(|end| end.index == last.index) {
            // Same index, other term: what counts is the snapshot's.
            self.mark.last = Some(last);
        }
        released
    }

    /// Drops every block at or below the purge point that is not in `live` (sorted).
    pub(crate) fn retain_blocks(&mut self, live: &[u64]) -> Released {
        let mut released = Released::new();
        self.blocks.retain(|index, slot| {
            let stays = live.binary_search(index).is_ok();
            if !stays {
                released.push(slot.gone());
            }
            stays
        });
        released
    }

    /// The machine no longer needs the blocks of these entries.
    pub(crate) fn drop_blocks(&mut self, dropped: &[u64]) -> Released {
        let mut released = Released::new();
        for index in dropped {
            if let Some(at) = self.at(*index) {
                if let Some(slot) = self.entries.get_mut(at) {
                    slot.block = false;
                }
            } else if let Some(slot) = self.blocks.remove(index) {
                released.push(slot.gone());
            }
        }
        released
    }

    /// Gives up what was received of the entries up to `index`: the group has come so far by its log, and has of them what
    /// any later snapshot names. One that waits to be written stays.
    pub(crate) fn forget_received(&mut self, index: u64) -> Released {
        let mut released = Released::new();
        self.received.retain(|at, slot| {
            let stays = *at > index || slot.place.is_none();
            if !stays {
                released.push(slot.gone());
            }
            stays
        });
        released
    }

    /// Live blocks after `from` (all when `None`) and up to `to`, in order.
    pub(crate) fn blocks_between(&self, from: Option<u64>, to: u64) -> impl Iterator<Item = (u64, &Slot)> {
        let begin = from.map_or(0, |from| from + 1);
        let first = self.first();
        let old = (begin <= to).then(|| self.blocks.range(begin..=to)).into_iter().flatten();
        let recent = (begin.max(first)..self.next().unwrap_or(0).min(to.saturating_add(1)))
            .filter_map(|index| Some((index, self.entry(index)?)));
        old.map(|(index, slot)| (*index, slot)).chain(recent).filter(|(_, slot)| slot.block)
    }

    pub(crate) fn received(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.received.iter().map(|(index, slot)| (*index, slot))
    }

    /// Everything, for a group that is removed.
    pub(crate) fn release_all(&self) -> Released {
        self.all().map(Slot::gone).collect()
    }

    /// Everything that lies somewhere.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Slot> {
        self.entries.iter().chain(self.blocks.values()).chain(self.received.values())
    }

    /// Bytes of the entries after `index`.
    pub(crate) fn bytes_since(&self, index: u64) -> u64 {
        let skip = usize::try_from((index + 1).saturating_sub(self.first())).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).map(|slot| u64::from(slot.len)).sum()
    }

    /// Builds the group from what a replay found.
    ///
    /// # Errors
    /// What is missing, when the entries after the purge point are not all there.
    pub(crate) fn from_replay(
        mark: GroupMark,
        mut entries: BTreeMap<u64, Slot>,
        received: BTreeMap<u64, Slot>,
    ) -> Result<Self, &'static str> {
        let mut group = Self { mark, received, ..Self::default() };
        let Some(last) = group.mark.last else { return Ok(group) };
        drop(entries.split_off(&last.index.saturating_add(1)));
        let needed = match group.mark.purged {
            Some(purged) => entries.split_off(&(purged.index + 1)),
            None => std::mem::take(&mut entries),
        };
        group.blocks = entries.into_iter().filter(|(_, slot)| slot.block).collect();
        let first = group.mark.purged.map(|purged| purged.index + 1).or(needed.keys().next().copied());
        if needed.len() as u64 != (last.index + 1).saturating_sub(first.unwrap_or(last.index + 1)) {
            return Err("entries that Raft still needs are not in the log");
        }
        if needed.last_key_value().is_some_and(|(_, slot)| slot.term != last.term) {
            return Err("the last entry is not the one that was written");
        }
        group.entries = needed.into_values().collect();
        Ok(group)
    }
}
