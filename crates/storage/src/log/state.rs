//! What the log knows, under one lock that is never held over an await.

use super::group::{Gone, Group, Released, Slot};
use super::record::{GroupMark, Kind, Place, record_size};
use super::scan::Scan;
use crate::disk::DiskFile;
use crate::error::StorageError;
use bytes::Bytes;
use quorate_types::{GroupId, LogId};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

/// Called once everything queued before it is durable, or with the error that stopped the log.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A record that waits to be written.
pub(crate) struct Queued {
    pub(crate) kind: Kind,
    pub(crate) group: GroupId,
    pub(crate) id: LogId,
    pub(crate) block: bool,
    pub(crate) body: Bytes,
    pub(crate) body_crc: u32,
    /// The purge point and end of the log after this record, for the kinds that set them.
    pub(crate) mark: Option<GroupMark>,
    /// What nobody needs once this record is durable.
    pub(crate) released: Released,
    /// Where a carried entry lay.
    pub(crate) from: Option<Place>,
    /// That of the entry's slot.
    pub(crate) ticket: u64,
}

impl Queued {
    pub(crate) fn new(kind: Kind, group: GroupId, id: LogId, body: Bytes) -> Self {
        let body_crc = crc32c::crc32c(&body);
        Self {
            kind,
            group,
            id,
            block: false,
            body,
            body_crc,
            mark: None,
            released: Vec::new(),
            from: None,
            ticket: 0,
        }
    }

    /// A record that sets the group's marks.
    pub(crate) fn marking(kind: Kind, group: GroupId, mark: &GroupMark, released: Released) -> Self {
        // Vote and place of the install go on as they are.
        let mark = GroupMark { vote: None, installed: None, ..mark.clone() };
        let body = Bytes::from(mark.encode());
        let id = mark.last.unwrap_or_default();
        Self { mark: Some(mark), released, ..Self::new(kind, group, id, body) }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.body.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn size(&self) -> u64 {
        record_size(self.len())
    }
}

pub(crate) enum Op {
    Record(Queued),
    Call(Done),
}

/// One file of the log.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the durable records end.
    pub(crate) end: u64,
    /// Bytes of records that somebody still needs.
    pub(crate) live_bytes: u64,
    /// No more is written to it.
    pub(crate) sealed: bool,
    /// It has a file beside it that lists its records.
    pub(crate) indexed: bool,
    /// What the index will say, when the writer has listed it.
    pub(crate) listed: Option<Scan>,
    /// Everything movable was carried away, and something stayed: never tried again.
    pub(crate) stuck: bool,
}

impl Segment {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, end: 0, live_bytes: 0, sealed: false, indexed: false, listed: None, stuck: false }
    }
}

/// An emptied file, written from end to end, waiting to become a segment again.
pub(crate) struct Spare {
    pub(crate) path: String,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// How far the active segment has been written with zeros, and who is at it.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) upto: u64,
    /// Somebody is writing zeros from `upto` on.
    pub(crate) claimed: bool,
    /// The writer's records reach to here, durable or not.
    pub(crate) writing_to: u64,
    /// The newest write was so large that zeros ahead are not worth their cost.
    pub(crate) large: bool,
}

/// An entry, or a block that came with a snapshot, whose bytes are in memory.
struct Remembered {
    group: GroupId,
    index: u64,
    len: u32,
    /// That of its slot.
    ticket: u64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) spares: Vec<Spare>,
    pub(crate) prepared: Prepared,
    queue: VecDeque<Op>,
    queued_bytes: u64,
    /// Entries with bytes in memory, oldest first.
    window: VecDeque<Remembered>,
    window_bytes: u64,
    next_ticket: u64,
    /// Entries that were written when a later record in the queue had already voided them: they are needed
    /// until that one is durable, for if it is lost they count.
    voided: BTreeMap<u64, Place>,
    pub(crate) stopped: Option<Arc<StorageError>>,
    pub(crate) closed: bool,
}

impl State {
    /// Refuses when the log has stopped or is closed.
    pub(crate) fn usable(&self) -> Result<(), StorageError> {
        match &self.stopped {
            Some(error) => Err(StorageError::Stopped(Arc::clone(error))),
            None if self.closed => Err(StorageError::Closed),
            None => Ok(()),
        }
    }

    pub(crate) fn enqueue(&mut self, op: Op) {
        if let Op::Record(record) = &op {
            self.queued_bytes += record.size();
        }
        self.queue.push_back(op);
    }

    /// Takes what is queued, in order, up to `bytes_max` but at least one.
    pub(crate) fn dequeue(&mut self, bytes_max: usize) -> VecDeque<Op> {
        let mut bytes = 0;
        let fits = |op: &Op| {
            bytes += if let Op::Record(record) = op { record.size() } else { 0 };
            bytes > bytes_max as u64
        };
        let count = self.queue.iter().position(fits).unwrap_or(self.queue.len()).max(1).min(self.queue.len());
        let rest = self.queue.split_off(count);
        let taken = std::mem::replace(&mut self.queue, rest);
        for op in &taken {
            if let Op::Record(record) = op {
                self.queued_bytes = self.queued_bytes.saturating_sub(record.size());
            }
        }
        taken
    }

    /// Remembers that the entry's bytes are in memory.
    pub(crate) fn remember(&mut self, group: GroupId, index: u64, len: u32, ticket: u64) {
        self.window.push_back(Remembered { group, index, len, ticket });
        self.window_bytes += u64::from(len);
    }

    /// Forgets the bytes of the oldest entries beyond `max`, as far as they are durable.
    pub(crate) fn evict(&mut self, max: u64) {
        while self.window_bytes > max {
            let Some(Remembered { group, index, len, ticket }) = self.window.front() else { break };
            let len = u64::from(*len);
            let group = self.groups.get_mut(group);
            if let Some(slot) = group.and_then(|group| group.find(*index, |slot| slot.ticket == *ticket)) {
                if slot.place.is_none() {
                    break;
                }
                slot.bytes = None;
            }
            self.window.pop_front();
            self.window_bytes -= len;
        }
    }

    pub(crate) fn hold(&mut self, place: Place, len: u32) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live_bytes += record_size(len);
        }
    }

    pub(crate) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub(crate) fn release(&mut self, released: Released) {
        for gone in released {
            let Some(place) = gone.place.or_else(|| self.voided.remove(&gone.ticket)) else { continue };
            if let Some(segment) = self.segments.get_mut(&place.segment) {
                segment.live_bytes = segment.live_bytes.saturating_sub(record_size(gone.len));
            }
        }
    }

    /// Notes that `record` is durable at `place`.
    pub(crate) fn written(&mut self, record: &mut Queued, place: Place) {
        self.release(std::mem::take(&mut record.released));
        if !record.kind.has_entry() {
            return;
        }
        let (index, len, from) = (record.id.index, record.len(), record.from);
        let is = |slot: &&mut Slot| slot.ticket == record.ticket && slot.place == from;
        let group = self.groups.get_mut(&record.group);
        let found = group.and_then(|group| group.find(index, is));
        match found {
            Some(slot) => {
                slot.place = Some(place);
                self.hold(place, len);
                let gone = Gone { place: from, len, ticket: 0 };
                self.release(from.map(|_| gone).into_iter().collect());
            }
            // Of a carried one the old record is still there.
            None if record.kind == Kind::Carry || from.is_some() => {}
            None => {
                self.hold(place, len);
                self.voided.insert(record.ticket, place);
            }
        }
    }

    /// The callbacks of everything that is queued, for a log that stops.
    pub(crate) fn abandon(&mut self) -> Vec<Done> {
        self.queued_bytes = 0;
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().filter_map(|op| if let Op::Call(done) = op { Some(done) } else { None }).collect()
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    pub(crate) fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, SimDisk};
    use crate::log::{Log, replay};
    use crate::options::StorageOptions;

    const G: GroupId = GroupId::new(3);

    fn in_memory(log: &Log) -> u64 {
        let state = log.lock();
        let slots = state.groups.values().flat_map(Group::all);
        slots.filter_map(|slot| slot.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }

    #[tokio::test]
    async fn blocks_that_come_with_a_snapshot_leave_the_memory_like_entries() {
        let disk: Arc<dyn Disk> = SimDisk::new(1).mount();
        let options = StorageOptions { window_bytes: 8 << 10, ..StorageOptions::default() };
        let mut found = replay(&disk, &options).await.unwrap();
        found.finish().unwrap();
        let log = Log::start(disk, options, found);
        for index in 0..1024 {
            log.receive(G, LogId { term: 1, index }, vec![1; 1024].into()).unwrap();
            log.barrier().await.unwrap();
        }
        assert!(in_memory(&log) <= 8 << 10, "{} bytes", in_memory(&log));
        let (last, live) = (LogId { term: 1, index: 2000 }, (0..1024).collect::<Vec<u64>>());
        log.change(|state| {
            let group = state.groups.entry(G).or_default();
            let released = group.install(last, &live);
            Ok(Some(Queued::marking(Kind::Install, G, &group.mark, released)))
        })
        .await
        .unwrap();
        assert!(in_memory(&log) <= 8 << 10, "{} bytes", in_memory(&log));
        let window_bytes = log.lock().window_bytes();
        assert_eq!(window_bytes, in_memory(&log));
        assert_eq!(log.entry(G, 77).await.unwrap().unwrap().bytes, vec![1; 1024]);
    }
}
