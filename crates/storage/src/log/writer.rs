//! The one task that writes: everything queued for all groups, one write, one sync, then the callbacks in order.

use super::record::{GroupMark, HEADER_LEN, Header, Kind, Place, SegmentStart, put};
use super::scan::{Scan, Scanned};
use super::segment::{DIR, segment_path};
use super::state::{Done, Op, Prepared, Queued, Segment};
use super::{Log, Running};
use crate::disk::DiskFile;
use crate::error::{StorageError, io};
use bytes::Bytes;
use quorate_types::probe;
use quorate_types::{GroupId, LogId, Parts};
use std::collections::{BTreeMap, VecDeque};
use std::io as std_io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A buffer above this is given back after the write: an idle node is small.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Records of the present segment that are listed, for its index: some 2 MiB. One with more, of small entries that came slowly, is
/// read again when it is full.
const LISTED_MAX: usize = 16 << 10;

/// Where the log ends and what it says of each group there.
pub(crate) struct Tail {
    pub(crate) segment: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) end: u64,
    /// Writes so far in this segment.
    pub(crate) write: u32,
    /// The segment before, and where that ended.
    pub(crate) previous: Option<(u64, u64)>,
    pub(crate) marks: BTreeMap<GroupId, GroupMark>,
}

/// What one write holds.
#[derive(Default)]
struct Write {
    records: Vec<(Queued, Place)>,
    calls: Vec<Done>,
    /// The header that was put last.
    last: Option<Last>,
}

/// The header that was put last.
#[derive(Clone, Copy)]
struct Last {
    header: Header,
    /// Where it will lie in the segment.
    offset: u64,
    /// Where it is among the small bytes.
    at: usize,
}

pub(crate) struct Writer {
    log: Arc<Log>,
    tail: Tail,
    /// The next write: of an entry only what is smaller than a page is copied.
    parts: Parts,
    /// The records of the present segment, in order; `None` when not all of them are known.
    listed: Option<Vec<Scanned>>,
}

impl Writer {
    pub(crate) fn new(log: Arc<Log>, tail: Tail) -> Self {
        Self { log, tail, parts: Parts::default(), listed: None }
    }

    /// Writes until the log is closed and empty, or until the first error.
    pub(crate) async fn run(mut self) {
        let _running = Running::new(&self.log);
        while let Some(mut ops) = self.next().await {
            if let Err(error) = self.commit(&mut ops).await {
                let error = self.log.fail(error).await;
                for op in ops {
                    if let Op::Call(done) = op {
                        done(Err(std_io::Error::other(error.to_string())));
                    }
                }
                break;
            }
        }
    }

    async fn next(&self) -> Option<VecDeque<Op>> {
        loop {
            let woken = self.log.wake_writer.notified();
            {
                let mut state = self.log.lock();
                if state.stopped.is_some() {
                    return None;
                }
                if !state.is_idle() {
                    return Some(state.dequeue(self.log.options.write_bytes_max));
                }
                if state.closed {
                    return None;
                }
            }
            woken.await;
        }
    }

    async fn commit(&mut self, ops: &mut VecDeque<Op>) -> Result<(), StorageError> {
        while !ops.is_empty() {
            let mut write = self.fill(ops);
            let result = match self.flush(&mut write).await {
                Ok(()) => Ok(()),
                // Word is left before anybody hears of it: the process may end at once.
                Err(error) => Err(self.log.fail(error).await),
            };
            let failed = result.as_ref().err().map(ToString::to_string);
            for done in write.calls {
                done(failed.clone().map_or(Ok(()), |error| Err(std_io::Error::other(error))));
            }
            result?;
            if matches!(ops.front(), Some(Op::Record(_))) {
                self.rotate().await?;
            }
        }
        Ok(())
    }

    /// Gathers what fits the segment.
    fn fill(&mut self, ops: &mut VecDeque<Op>) -> Write {
        let mut write = Write::default();
        while let Some(op) = ops.pop_front() {
            match op {
                Op::Call(done) => write.calls.push(done),
                Op::Record(record) => {
                    let used = self.tail.end + self.parts.len() as u64;
                    if used > 0 && used + record.size() > self.log.options.segment_bytes {
                        ops.push_front(Op::Record(record));
                        break;
                    }
                    if used == 0 {
                        self.begin_segment(&mut write);
                    }
                    self.put(&mut write, &record);
                    let offset = write.last.map_or(self.tail.end, |last| last.offset);
                    let place = Place { segment: self.tail.segment, offset };
                    note(&mut self.tail.marks, &record, place);
                    write.records.push((record, place));
                }
            }
        }
        self.end_write(&write);
        write
    }

    /// The segment's header and the state of every group: so no earlier segment is kept for a vote or a mark.
    fn begin_segment(&mut self, write: &mut Write) {
        let start = SegmentStart { previous: self.tail.previous }.encode();
        let none = LogId::default();
        self.put(write, &Queued::new(Kind::Header, GroupId::SYSTEM, none, start.into()));
        for (group, mark) in self.tail.marks.clone() {
            self.put(write, &Queued::new(Kind::State, group, none, mark.encode().into()));
        }
    }

    fn put(&mut self, write: &mut Write, record: &Queued) {
        let header = Header {
            kind: record.kind,
            group: record.group,
            id: record.id,
            block: record.block,
            len: record.len(),
            body_crc: record.body_crc,
            write: self.tail.write + 1,
            last_of_write: false,
        };
        let offset = self.tail.end + self.parts.len() as u64;
        let at = put(&mut self.parts, self.tail.segment, self.tail.end, &header, &record.body);
        write.last = Some(Last { header, offset, at });
        if self.listed.as_ref().is_some_and(|listed| listed.len() >= LISTED_MAX) {
            self.listed = None;
        }
        if let Some(listed) = &mut self.listed {
            let body = if header.kind.has_entry() { Bytes::new() } else { record.body.clone() };
            listed.push(Scanned { header, offset, body });
        }
    }

    /// Marks the last record as the write's last, so that a torn write can be told from damage.
    fn end_write(&mut self, write: &Write) {
        let Some(Last { header, offset, at }) = write.last else { return };
        let header = Header { last_of_write: true, ..header };
        if let Some(place) = self.parts.small().get_mut(at..at + HEADER_LEN) {
            place.copy_from_slice(&header.encode(self.tail.segment, offset));
        }
        if let Some(listed) = self.listed.as_mut().and_then(|listed| listed.last_mut()) {
            listed.header = header;
        }
    }

    async fn flush(&mut self, write: &mut Write) -> Result<(), StorageError> {
        if write.last.is_none() {
            return Ok(());
        }
        let bytes = self.parts.len() as u64;
        let end = self.tail.end + bytes;
        self.claim(end).await;
        let (parts, buffer) = std::mem::take(&mut self.parts).take();
        let began = Instant::now();
        let mut wrote = if probe::planted("skip the fsync") {
            self.tail.file.write_at(self.tail.end, parts.concat().into()).await
        } else {
            self.tail.file.commit_at(self.tail.end, parts).await
        };
        if wrote.is_err() && probe::planted("go on after a failed fsync") {
            wrote = self.tail.file.sync().await;
        }
        wrote.map_err(io("writing", &segment_path(self.tail.segment)))?;
        self.log.counters.synced(began.elapsed(), bytes);
        self.tail.end = end;
        self.tail.write += 1;
        self.complete(write, bytes);
        self.parts = Parts::reuse(buffer, BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// Waits while zeros are being written where records are about to go.
    async fn claim(&self, end: u64) {
        loop {
            let zeroed = self.log.zeroed.notified();
            {
                let mut state = self.log.lock();
                if !state.prepared.claimed || end <= state.prepared.upto || state.stopped.is_some() {
                    state.prepared.writing_to = end;
                    return;
                }
            }
            zeroed.await;
        }
    }

    fn complete(&self, write: &mut Write, bytes: u64) {
        // With the first write of a segment, the one before may be given back.
        let mut released = self.tail.write == 1;
        let mut state = self.log.lock();
        if let Some(segment) = state.segments.get_mut(&self.tail.segment) {
            segment.end = self.tail.end;
        }
        if !state.prepared.claimed {
            state.prepared.upto = state.prepared.upto.max(self.tail.end);
        }
        for (record, place) in &mut write.records {
            released |= !record.released.is_empty() || record.from.is_some();
            if record.kind == Kind::Carry {
                self.log.counters.carried.fetch_add(record.size(), Ordering::Relaxed);
            }
            state.written(record, *place);
        }
        state.evict(self.log.options.window_bytes);
        let large = bytes >= self.log.options.large_write_bytes();
        state.prepared.large = large;
        let ahead = state.prepared.upto.saturating_sub(self.tail.end);
        let low = !large
            && ahead < self.log.options.zero_ahead_bytes / 2
            && state.prepared.upto < self.log.options.segment_bytes;
        drop(state);
        if released || low {
            self.log.wake_keeper();
        }
    }

    /// Goes on in a new segment: a spare one when there is one.
    async fn rotate(&mut self) -> Result<(), StorageError> {
        let number = self.tail.segment + 1;
        let path = segment_path(number);
        // The keeper may be writing zeros behind the end of the old segment.
        self.claim(self.tail.end.max(self.log.options.segment_bytes)).await;
        let spare = self.log.lock().spares.pop();
        let file = match spare {
            Some(spare) => {
                self.log.disk.rename(&spare.path, &path).await.map_err(io("renaming", &spare.path))?;
                spare.file
            }
            None => self.log.disk.open(&path, true).await.map_err(io("creating", &path))?,
        };
        let upto = file.size().await.map_err(io("measuring", &path))?;
        self.log.disk.sync_dir(DIR).await.map_err(io("syncing", DIR))?;
        let mut state = self.log.lock();
        if let Some(segment) = state.segments.get_mut(&self.tail.segment) {
            segment.sealed = true;
            let listed = self.listed.take();
            segment.listed = listed.map(|records| Scan::of_full(records, self.tail.end, self.tail.write));
        }
        state.segments.insert(number, Segment::new(Arc::clone(&file)));
        let large = state.prepared.large;
        state.prepared = Prepared { upto, claimed: false, writing_to: 0, large };
        drop(state);
        self.tail.previous = Some((self.tail.segment, self.tail.end));
        self.tail.segment = number;
        self.tail.file = file;
        self.tail.end = 0;
        self.tail.write = 0;
        self.listed = Some(Vec::new());
        self.log.wake_keeper();
        Ok(())
    }
}

/// Keeps what the log says of a group in step with what is written, which lags behind what is queued.
fn note(marks: &mut BTreeMap<GroupId, GroupMark>, record: &Queued, place: Place) {
    if record.kind == Kind::Remove {
        marks.remove(&record.group);
        return;
    }
    let mark = marks.entry(record.group).or_default();
    match (&record.mark, record.kind) {
        (Some(new), kind) => {
            let installed = if kind == Kind::Install { Some(place) } else { mark.installed };
            *mark = GroupMark { vote: mark.vote.take(), installed, ..new.clone() };
        }
        (None, Kind::Entry) => mark.last = Some(record.id),
        (None, Kind::Vote) => mark.vote = Some(record.body.to_vec()),
        (None, _) => {}
    }
}
