//! Reading entries: from memory when they are recent, by position when they are not.

use super::group::Slot;
use super::record::Place;
use super::scan::read_bodies;
use super::segment::segment_path;
use super::state::State;
use super::{Log, Record};
use crate::disk::DiskFile;
use crate::error::StorageError;
use bytes::Bytes;
use quorate_types::{GroupId, LogId};
use std::sync::Arc;

/// Entries that lie close together are read at once, up to this much.
const READ_BYTES: u64 = 1 << 20;
/// What may lie between two of them: other groups' records.
const GAP_BYTES: u64 = 64 << 10;

/// An entry that is to be read, and its bytes when they are there.
struct Wanted {
    id: LogId,
    block: bool,
    len: u32,
    place: Option<Place>,
    bytes: Option<Bytes>,
}

impl Wanted {
    fn new(index: u64, slot: &Slot) -> Self {
        let (len, place, bytes) = (slot.len, slot.place, slot.bytes.clone());
        Self { id: LogId { term: slot.term, index }, block: slot.block, len, place, bytes }
    }
}

impl Log {
    /// Entries that Raft may read, in order and without a gap, at least one if the first is there; no more than
    /// `bytes_max` otherwise.
    pub(crate) async fn read(
        &self,
        group: GroupId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let wanted = {
            let state = self.usable()?;
            let entry = |index| state.groups.get(&group).and_then(|group| group.entry(index));
            let (mut wanted, mut bytes) = (Vec::new(), 0_u64);
            for index in from..to {
                let Some(slot) = entry(index) else { break };
                bytes += u64::from(slot.len);
                if bytes > bytes_max as u64 && !wanted.is_empty() {
                    break;
                }
                wanted.push(Wanted::new(index, slot));
            }
            wanted
        };
        // A record that was truncated meanwhile ends what can be answered.
        let found = self.fetch(group, wanted).await?;
        Ok(found.into_iter().map_while(|record| record).collect())
    }

    /// One entry, also when only its block is still alive.
    pub(crate) async fn entry(&self, group: GroupId, index: u64) -> Result<Option<Record>, StorageError> {
        let wanted = {
            let state = self.usable()?;
            let slot = state.groups.get(&group).and_then(|group| group.slot(index));
            slot.map(|slot| Wanted::new(index, slot))
        };
        let found = self.fetch(group, wanted.into_iter().collect()).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn fetch(
        &self,
        group: GroupId,
        mut wanted: Vec<Wanted>,
    ) -> Result<Vec<Option<Record>>, StorageError> {
        let mut at = 0;
        while let Some(first) = wanted.get(at) {
            let Some(place) = first.place.filter(|_| first.bytes.is_none()) else {
                at += 1;
                continue;
            };
            let run = run_from(wanted.get(at..).unwrap_or_default(), place);
            match self.read_run(place.segment, &run).await {
                Ok(Some(bodies)) => {
                    for (wanted, body) in wanted.iter_mut().skip(at).zip(bodies) {
                        wanted.bytes = Some(body);
                    }
                }
                Ok(None) => self.find_again(group, &mut wanted, at, place)?,
                // The segment may have been retired, and its file reused, while it was being read.
                Err(StorageError::Corrupt { .. }) if self.has_moved(group, &wanted, at) => {
                    self.find_again(group, &mut wanted, at, place)?;
                }
                Err(error @ (StorageError::Corrupt { .. } | StorageError::Io { .. })) => {
                    return Err(self.fail(error).await);
                }
                Err(error) => return Err(error),
            }
        }
        let record =
            |wanted: Wanted| wanted.bytes.map(|bytes| Record { id: wanted.id, block: wanted.block, bytes });
        Ok(wanted.into_iter().map(record).collect())
    }

    /// Reads entries that lie in one stretch. `None` when the segment is gone.
    async fn read_run(&self, segment: u64, run: &[(u64, u32)]) -> Result<Option<Vec<Bytes>>, StorageError> {
        let file: Option<Arc<dyn DiskFile>> =
            self.lock().segments.get(&segment).map(|segment| Arc::clone(&segment.file));
        let Some(file) = file else { return Ok(None) };
        let bodies = read_bodies(&file, &segment_path(segment), segment, run).await?;
        // A copy of a single small entry, so that it does not keep a whole stretch in memory.
        let own = |body: Bytes| if run.len() > 1 { Bytes::copy_from_slice(&body) } else { body };
        Ok(Some(bodies.into_iter().map(|(_, body)| own(body)).collect()))
    }

    /// Whether the entry no longer lies where it was wanted from.
    fn has_moved(&self, group: GroupId, wanted: &[Wanted], at: usize) -> bool {
        let state = self.lock();
        wanted.get(at).is_some_and(|wanted| {
            current(&state, group, wanted).is_none_or(|place| Some(place) != wanted.place)
        })
    }

    /// Looks up the places of everything from `at` on again: entries are carried while they are read. One that
    /// is gone has neither bytes nor place and is answered as missing.
    fn find_again(
        &self,
        group: GroupId,
        wanted: &mut [Wanted],
        at: usize,
        old: Place,
    ) -> Result<(), StorageError> {
        let state = self.usable()?;
        for wanted in wanted.iter_mut().skip(at).filter(|wanted| wanted.bytes.is_none()) {
            let place = current(&state, group, wanted);
            // Still in a segment that is gone: it was dropped a moment ago.
            wanted.place = place.filter(|place| *place != old || state.segments.contains_key(&place.segment));
        }
        Ok(())
    }
}

/// Where the entry lies now, if it is still there.
fn current(state: &State, group: GroupId, wanted: &Wanted) -> Option<Place> {
    let slot = state.groups.get(&group)?.slot(wanted.id.index)?;
    slot.place.filter(|_| slot.term == wanted.id.term)
}

/// Places and lengths of the first entries that lie in one stretch of a segment.
fn run_from(wanted: &[Wanted], first: Place) -> Vec<(u64, u32)> {
    let (mut run, mut end) = (Vec::new(), first.offset);
    for wanted in wanted {
        let Some(place) = wanted.place.filter(|_| wanted.bytes.is_none()) else { break };
        let near = place.segment == first.segment && place.offset >= end && place.offset - end <= GAP_BYTES;
        if !near || (!run.is_empty() && place.offset - first.offset > READ_BYTES) {
            break;
        }
        end = place.offset + super::record::record_size(wanted.len);
        run.push((place.offset, wanted.len));
    }
    run
}
