//! The task that keeps the log's files in order, beside the path of a confirm: zeros ahead of the writer, an
//! index for each full segment, carrying what little an old one still holds, and giving the empty ones back.

use super::index;
use super::record::{Header, Kind, Place};
use super::scan::{read_bodies, scan};
use super::segment::{DIR, index_path, segment_path, spare_path};
use super::state::{Op, Queued, Spare};
use super::{Log, Running};
use crate::disk::DiskFile;
use crate::envelope::Malformed;
use crate::error::{StorageError, io};
use crate::file::remove_if_there;
use bytes::Bytes;
use quorate_types::probe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A full segment is carried when less than one part in this many of it is needed.
const CARRY_BELOW_PART: u64 = 4;
/// It is left alone while so few full segments are newer: Raft is about to purge those.
const CARRY_BEHIND: usize = 2;
/// How much is carried in one step.
const CARRY_BYTES: u64 = 256 << 10;

/// What is most worth doing.
enum Work {
    Retire(u64),
    Zero { segment: u64, from: u64, len: u64 },
    Index { file: Arc<dyn DiskFile>, segment: u64, end: u64 },
    Carry { file: Arc<dyn DiskFile>, segment: u64 },
}

pub(crate) struct Keeper {
    log: Arc<Log>,
    /// The segment that is being filled with zeros, opened a second time. Linux tells each open file once of a failed
    /// write (`errseq_t`): were it the writer's, a sync of zeros could take the news that its records are lost.
    zeroing: Option<(u64, Arc<dyn DiskFile>)>,
}

impl Keeper {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, zeroing: None }
    }

    /// Works until the log is closed or stops.
    pub(crate) async fn run(mut self) {
        let log = Arc::clone(&self.log);
        let _running = Running::new(&log);
        loop {
            let woken = log.wake_keeper.notified();
            if log.usable().is_err() {
                return;
            }
            let Some(work) = self.choose() else {
                woken.await;
                continue;
            };
            match self.work(work).await {
                Ok(()) => {}
                Err(StorageError::Stopped(_) | StorageError::Closed) => return,
                Err(error) => {
                    log.fail(error).await;
                    return;
                }
            }
        }
    }

    fn choose(&self) -> Option<Work> {
        let mut state = self.log.lock();
        let full = state.segments.iter().filter(|(_, segment)| segment.sealed);
        let careless = probe::planted("retire a segment that is needed");
        // What the newest full one says of each group is repeated at the head of the active one: not before that is durable.
        let begun = state.segments.last_key_value().is_some_and(|(_, active)| active.end > 0);
        let repeated = full.clone().count().saturating_sub(usize::from(!begun));
        let mut empty = full.clone().take(repeated).filter(|(_, segment)| segment.live_bytes == 0);
        if let Some((number, _)) = empty.next().or_else(|| full.clone().next().filter(|_| careless)) {
            return Some(Work::Retire(*number));
        }
        let newest_full = full.clone().count().saturating_sub(CARRY_BEHIND);
        let carry = full.clone().take(newest_full).find(|(_, segment)| {
            segment.indexed && !segment.stuck && segment.live_bytes < segment.end / CARRY_BELOW_PART
        });
        let unindexed = full.clone().find(|(_, segment)| !segment.indexed);
        let rest = unindexed
            .map(|(number, segment)| Work::Index {
                file: Arc::clone(&segment.file),
                segment: *number,
                end: segment.end,
            })
            .or(carry
                .map(|(number, segment)| Work::Carry { file: Arc::clone(&segment.file), segment: *number }));
        let options = &self.log.options;
        let (number, active) = state.segments.last_key_value()?;
        let (segment, end) = (*number, active.end);
        let prepared = &mut state.prepared;
        if prepared.claimed || prepared.large {
            return rest;
        }
        let from = prepared.upto.max(prepared.writing_to).next_multiple_of(512);
        let ahead = from.saturating_sub(end.max(prepared.writing_to));
        if from >= options.segment_bytes || ahead >= options.zero_ahead_bytes {
            return rest;
        }
        prepared.claimed = true;
        prepared.upto = from;
        let len = options.zero_step_bytes().min(options.segment_bytes - from);
        Some(Work::Zero { segment, from, len })
    }

    async fn work(&mut self, work: Work) -> Result<(), StorageError> {
        match work {
            Work::Retire(segment) => self.retire(segment).await,
            Work::Zero { segment, from, len } => {
                let done = self.zero(segment, from, len).await;
                let mut state = self.log.lock();
                state.prepared.claimed = false;
                if done.is_ok() {
                    state.prepared.upto = from + len;
                }
                drop(state);
                self.log.zeroed.notify_one();
                done
            }
            Work::Index { file, segment, end } => self.index(&file, segment, end).await,
            Work::Carry { file, segment } => self.carry(&file, segment).await,
        }
    }

    async fn zero(&mut self, segment: u64, from: u64, len: u64) -> Result<(), StorageError> {
        let path = segment_path(segment);
        let file = match &self.zeroing {
            Some((open, file)) if *open == segment => Arc::clone(file),
            _ => self.log.disk.open(&path, false).await.map_err(io("opening", &path))?,
        };
        self.zeroing = Some((segment, Arc::clone(&file)));
        if !write_zeros(&file, &path, from, len).await? {
            self.log.lock().prepared.writing_to = self.log.options.segment_bytes;
        }
        Ok(())
    }

    async fn index(&self, file: &Arc<dyn DiskFile>, segment: u64, end: u64) -> Result<(), StorageError> {
        let path = segment_path(segment);
        let listed = self.log.lock().segments.get_mut(&segment).and_then(|segment| segment.listed.take());
        let found = match listed {
            Some(listed) => listed,
            None => scan(file, &path, segment).await?,
        };
        if found.end != end {
            return Err(StorageError::Corrupt { path, offset: found.end, reason: Malformed::Checksum });
        }
        index::write(&*self.log.disk, segment, &found).await?;
        if let Some(segment) = self.log.lock().segments.get_mut(&segment) {
            segment.indexed = true;
        }
        Ok(())
    }

    /// Gives an empty segment back. Everything that made it empty is durable: see [`super::state::State::written`].
    async fn retire(&mut self, number: u64) -> Result<(), StorageError> {
        let (segment, spare) = {
            let mut state = self.log.lock();
            let spare = state.spares.len() < self.log.options.spare_segments;
            (state.segments.remove(&number), spare)
        };
        let Some(segment) = segment else { return Ok(()) };
        self.zeroing.take_if(|(zeroed, _)| *zeroed == number);
        let (disk, path) = (&self.log.disk, segment_path(number));
        remove_if_there(&**disk, &index_path(number)).await?;
        if spare && self.fill(&segment.file, &path).await? {
            let to = spare_path(number);
            disk.rename(&path, &to).await.map_err(io("renaming", &path))?;
            disk.sync_dir(DIR).await.map_err(io("syncing", DIR))?;
            self.log.lock().spares.push(Spare { path: to, file: segment.file });
        } else {
            disk.remove(&path).await.map_err(io("removing", &path))?;
            disk.sync_dir(DIR).await.map_err(io("syncing", DIR))?;
        }
        probe::sometimes("segment retired");
        self.log.counters.retired.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes an emptied file one that was written from end to end: only that is worth keeping. Says whether it is one: a full disk
    /// has better uses for its room.
    async fn fill(&self, file: &Arc<dyn DiskFile>, path: &str) -> Result<bool, StorageError> {
        let (mut len, options) = (file.size().await.map_err(io("measuring", path))?, &self.log.options);
        while len < options.segment_bytes {
            let step = options.zero_step_bytes().min(options.segment_bytes - len);
            if !write_zeros(file, path, len, step).await? {
                return Ok(false);
            }
            len += step;
        }
        Ok(true)
    }

    /// Re-appends what is still needed of a segment.
    async fn carry(&self, file: &Arc<dyn DiskFile>, number: u64) -> Result<(), StorageError> {
        let Some(found) = index::read(&*self.log.disk, number).await? else {
            if let Some(segment) = self.log.lock().segments.get_mut(&number) {
                segment.indexed = false;
            }
            return Ok(());
        };
        let (mut step, mut bytes) = (Vec::new(), 0);
        for record in found.records {
            if !record.header.kind.has_entry()
                || !self.needed(&record.header, Place { segment: number, offset: record.offset })
            {
                continue;
            }
            bytes += record.header.size();
            step.push((record.offset, record.header));
            if bytes >= CARRY_BYTES {
                self.carry_step(file, number, std::mem::take(&mut step)).await?;
                bytes = 0;
            }
        }
        self.carry_step(file, number, step).await?;
        if let Some(segment) =
            self.log.lock().segments.get_mut(&number).filter(|segment| segment.live_bytes > 0)
        {
            tracing::warn!(segment = number, bytes = segment.live_bytes, "a segment could not be emptied");
            segment.stuck = true;
        }
        Ok(())
    }

    /// Whether the record at `place` is the one that its entry is read from.
    fn needed(&self, header: &Header, place: Place) -> bool {
        let mut state = self.log.lock();
        let Some(group) = state.groups.get_mut(&header.group) else { return false };
        let lies_there =
            |slot: Option<&mut super::group::Slot>| slot.is_some_and(|slot| slot.place == Some(place));
        lies_there(group.slot_mut(header.id.index)) || lies_there(group.received_mut(header.id.index))
    }

    async fn carry_step(
        &self,
        file: &Arc<dyn DiskFile>,
        number: u64,
        step: Vec<(u64, Header)>,
    ) -> Result<(), StorageError> {
        let mut bodies = Vec::with_capacity(step.len());
        for (offset, header) in step {
            let read = read_bodies(file, &segment_path(number), number, &[(offset, header.len)]).await?;
            bodies.extend(read.into_iter().map(|(header, body)| (offset, header, body)));
        }
        for (offset, header, body) in bodies {
            probe::sometimes("entry carried");
            let place = Place { segment: number, offset };
            let mut state = self.log.usable()?;
            let Some(group) = state.groups.get_mut(&header.group) else { continue };
            let lies_there = |slot: &super::group::Slot| slot.place == Some(place);
            let in_log = group.slot_mut(header.id.index).filter(|slot| lies_there(slot));
            let (kind, block, ticket) = match in_log {
                Some(slot) => (Kind::Carry, slot.block, slot.ticket),
                None => match group.received_mut(header.id.index).filter(|slot| lies_there(slot)) {
                    Some(slot) => (Kind::Received, true, slot.ticket),
                    // Truncated or dropped since it was read.
                    None => continue,
                },
            };
            let record = Queued::new(kind, header.group, header.id, body);
            let record = Queued { block, from: Some(place), ticket, ..record };
            state.enqueue(Op::Record(record));
        }
        self.log.barrier().await
    }
}

/// Writes zeros durably. Says whether there was room: they are a convenience, and a full disk is only reached when records do
/// not fit.
async fn write_zeros(
    file: &Arc<dyn DiskFile>,
    path: &str,
    from: u64,
    len: u64,
) -> Result<bool, StorageError> {
    let zeros = Bytes::from(vec![0; usize::try_from(len).unwrap_or(0)]);
    // Not as a commit: those have a thread of their own, which is the writer's.
    match file.write_at(from, zeros).await {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(false),
        result => result.map_err(io("writing", path))?,
    }
    file.sync().await.map_err(io("syncing", path))?;
    Ok(true)
}
