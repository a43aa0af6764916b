//! Rebuilding what the log knows from its files.

use super::UNSYNCED;
use super::group::{Group, Slot};
use super::index;
use super::record::{GroupMark, Header, Kind, Place, SegmentStart, put};
use super::scan::{Scan, Scanned, scan};
use super::segment::{DIR, Name, index_path, segment_path};
use super::state::{Prepared, Segment, Spare, State};
use super::writer::Tail;
use crate::disk::{Disk, DiskFile};
use crate::envelope::Malformed;
use crate::error::{OpenError, StorageError, io};
use crate::file::remove_if_there;
use crate::options::StorageOptions;
use bytes::Bytes;
use quorate_types::probe;
use quorate_types::{GroupId, LogId, Parts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One group as the records say.
#[derive(Default)]
struct Replayed {
    mark: GroupMark,
    entries: BTreeMap<u64, Slot>,
    received: BTreeMap<u64, Slot>,
}

/// What the files of the log say.
pub(crate) struct Replay {
    groups: BTreeMap<GroupId, Replayed>,
    /// While the states at the head of a segment are read: the groups that they named.
    named: Option<BTreeSet<GroupId>>,
    segments: BTreeMap<u64, Segment>,
    spares: Vec<Spare>,
    upto: u64,
    tail: Tail,
    finished: BTreeMap<GroupId, Group>,
}

impl Replay {
    /// Says which blocks the row store (or, after its loss, a snapshot) knows to be alive: entries up to the
    /// checkpoint that it does not name were dropped.
    pub(crate) fn settle(&mut self, group: GroupId, applied: Option<LogId>, alive: &BTreeSet<u64>) {
        let Some(replayed) = self.groups.get_mut(&group) else { return };
        let Some(applied) = applied else { return };
        for (index, slot) in &mut replayed.entries {
            if *index <= applied.index {
                slot.block = alive.contains(index);
            }
        }
    }

    /// The indices of a group's entries that are in the log.
    pub(crate) fn holds(&self, group: GroupId, index: u64) -> bool {
        let found = self.groups.get(&group);
        found.is_some_and(|found| found.entries.contains_key(&index) || found.received.contains_key(&index))
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    pub(crate) fn purged(&self, group: GroupId) -> Option<LogId> {
        self.groups.get(&group)?.mark.purged
    }

    pub(crate) fn last(&self, group: GroupId) -> Option<LogId> {
        self.groups.get(&group)?.mark.last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Builds the groups and counts what each segment holds.
    ///
    /// # Errors
    /// [`OpenError::Incomplete`] when entries that Raft needs are missing.
    pub(crate) fn finish(&mut self) -> Result<(), OpenError> {
        for (id, replayed) in std::mem::take(&mut self.groups) {
            let incomplete = |reason| OpenError::Incomplete { group: id, reason };
            self.tail.marks.insert(id, replayed.mark.clone());
            let group = Group::from_replay(replayed.mark, replayed.entries, replayed.received);
            self.finished.insert(id, group.map_err(incomplete)?);
        }
        Ok(())
    }

    /// What the log runs on.
    pub(crate) fn into_parts(self) -> (State, Tail) {
        let mut state = State::default();
        state.groups = self.finished;
        state.segments = self.segments;
        state.spares = self.spares;
        state.prepared =
            Prepared { upto: self.upto, claimed: false, writing_to: self.tail.end, large: false };
        let places: Vec<(Place, u32)> = state
            .groups
            .values()
            .flat_map(Group::all)
            .filter_map(|slot| Some((slot.place?, slot.len)))
            .collect();
        for (place, len) in places {
            state.hold(place, len);
        }
        (state, self.tail)
    }

    fn take(&mut self, segment: u64, record: &Scanned) -> Result<(), Malformed> {
        let Header { kind, group, id, .. } = record.header;
        match (kind, &mut self.named) {
            (Kind::State, Some(named)) => drop(named.insert(group)),
            _ => self.end_of_states(),
        }
        match kind {
            Kind::Header => self.named = Some(BTreeSet::new()),
            Kind::Resume => {}
            Kind::Remove => {
                self.groups.remove(&group);
            }
            _ => self.groups.entry(group).or_default().take(kind, id, segment, record)?,
        }
        Ok(())
    }

    /// A group that is not among the states at the head of a segment was removed before.
    fn end_of_states(&mut self) {
        if let Some(named) = self.named.take() {
            self.groups.retain(|group, _| named.contains(group));
        }
    }
}

impl Replayed {
    fn take(&mut self, kind: Kind, id: LogId, segment: u64, record: &Scanned) -> Result<(), Malformed> {
        let slot = Slot {
            term: id.term,
            len: record.header.len,
            crc: record.header.body_crc,
            block: record.header.block,
            place: Some(Place { segment, offset: record.offset }),
            bytes: None,
            ticket: 0,
        };
        match kind {
            Kind::Entry | Kind::Carry if id.index == u64::MAX => return Err(Malformed::Field),
            Kind::Entry => {
                self.entries.insert(id.index, slot);
                self.mark.last = Some(id);
            }
            Kind::Carry => drop(self.entries.insert(id.index, slot)),
            Kind::Received => drop(self.received.insert(id.index, slot)),
            Kind::Vote => self.mark.vote = Some(record.body.to_vec()),
            Kind::State => {
                let mark = GroupMark::decode(&record.body)?;
                let (vote, installed) = (mark.vote.clone(), mark.installed);
                self.take_mark(mark, vote, installed);
            }
            Kind::Truncate | Kind::Purge | Kind::Install => {
                let place = Place { segment, offset: record.offset };
                let installed = if kind == Kind::Install { Some(place) } else { self.mark.installed };
                let vote = self.mark.vote.take();
                self.take_mark(GroupMark::decode(&record.body)?, vote, installed);
            }
            Kind::Header | Kind::Remove | Kind::Resume => {}
        }
        Ok(())
    }

    fn take_mark(&mut self, mark: GroupMark, vote: Option<Vec<u8>>, installed: Option<Place>) {
        self.mark = GroupMark { vote, installed, ..mark };
        // Entries up to the purge point may be blocks that live on.
        match self.mark.last {
            Some(last) => drop(self.entries.split_off(&last.index.saturating_add(1))),
            None => self.entries.clear(),
        }
        // The record of the install may be gone with its segment; what was received before it is not. What lies beyond it waits for
        // a later one.
        let purged = self.mark.purged.map(|purged| purged.index);
        for (index, slot) in std::mem::take(&mut self.received) {
            let newer = self.entries.get(&index).is_some_and(|entry| entry.place > installed);
            if slot.place > installed || Some(index) > purged {
                self.received.insert(index, slot);
            } else if !newer {
                self.entries.insert(index, slot);
            }
        }
    }
}

/// Files of the log's directory, sorted by what they are.
struct Listing {
    segments: BTreeSet<u64>,
    indices: BTreeSet<u64>,
    spares: Vec<String>,
}

async fn list(disk: &dyn Disk) -> Result<Listing, StorageError> {
    disk.create_dir(DIR).await.map_err(io("creating", DIR))?;
    let mut found = Listing { segments: BTreeSet::new(), indices: BTreeSet::new(), spares: Vec::new() };
    for name in disk.list(DIR).await.map_err(io("listing", DIR))? {
        let path = format!("{DIR}/{name}");
        match Name::parse(&name) {
            Name::Segment(number) => drop(found.segments.insert(number)),
            Name::Index(number) => drop(found.indices.insert(number)),
            Name::Spare => found.spares.push(path),
            Name::Stray => remove_if_there(disk, &path).await?,
        }
    }
    for orphan in found.indices.difference(&found.segments) {
        remove_if_there(disk, &index_path(*orphan)).await?;
    }
    Ok(found)
}

async fn open_file(disk: &dyn Disk, path: &str, create: bool) -> Result<Arc<dyn DiskFile>, StorageError> {
    disk.open(path, create).await.map_err(io("opening", path))
}

/// How much of a segment is written anew at a time.
const REWRITE_BYTES: usize = 1 << 20;

/// Reads the log. Afterwards everything that was read is durable and the torn tail, if there was one, is gone.
///
/// # Errors
/// [`StorageError::Corrupt`] when anything but the last write is damaged.
pub(crate) async fn replay(disk: &Arc<dyn Disk>, options: &StorageOptions) -> Result<Replay, OpenError> {
    let mut listing = list(&**disk).await?;
    let last = last_segment(&**disk, &mut listing).await?;
    let (number, file, last_scan) = match last {
        Some(last) => last,
        None => {
            let path = segment_path(1);
            (1, open_file(&**disk, &path, true).await?, Scan { whole: true, ..Scan::default() })
        }
    };
    let upto = file.size().await.map_err(io("measuring", &segment_path(number)))?;
    let tail = Tail {
        segment: number,
        file: Arc::clone(&file),
        end: last_scan.end,
        write: last_scan.write,
        previous: None,
        marks: BTreeMap::new(),
    };
    let mut replay = Replay {
        groups: BTreeMap::new(),
        named: None,
        segments: BTreeMap::new(),
        spares: Vec::new(),
        upto,
        tail,
        finished: BTreeMap::new(),
    };
    read_full_segments(disk, &mut replay, &listing.segments, &last_scan).await?;
    take_all(&mut replay, number, &last_scan)?;
    replay.end_of_states();
    let found = disk.list("").await.map_err(io("listing", "the data directory"))?;
    if found.iter().any(|name| name == UNSYNCED) {
        write_anew(&replay.tail).await?;
    } else {
        disk.open(UNSYNCED, true).await.map_err(io("creating", UNSYNCED))?;
    }
    mend_tail(&mut replay.tail, &last_scan).await?;
    replay.segments.insert(number, Segment { end: replay.tail.end, ..Segment::new(file) });
    take_spares(disk, &mut replay, listing.spares, options).await?;
    disk.sync_dir(DIR).await.map_err(io("syncing", DIR))?;
    disk.sync_dir("").await.map_err(io("syncing", "the data directory"))?;
    Ok(replay)
}

/// The newest segment whose first write is whole: it says of each group what the segments before say. Newer ones go.
///
/// # Errors
/// [`StorageError::Corrupt`] when what a segment says from its head on is bad and the segment before was given back: it had
/// been whole then.
async fn last_segment(
    disk: &dyn Disk,
    listing: &mut Listing,
) -> Result<Option<(u64, Arc<dyn DiskFile>, Scan)>, StorageError> {
    while let Some(number) = listing.segments.pop_last() {
        let path = segment_path(number);
        let file = open_file(disk, &path, false).await?;
        let found = scan(&file, &path, number).await?;
        if found.write > 1 || (found.whole && !found.records.is_empty()) {
            // It may have been full once, when a next one was about to begin: what is written now is not in its index.
            remove_if_there(disk, &index_path(number)).await?;
            return Ok(Some((number, file, found)));
        }
        if number > 1 && !listing.segments.contains(&(number - 1)) {
            return Err(StorageError::Corrupt { path, offset: found.end, reason: Malformed::Checksum });
        }
        probe::sometimes("unbegun segment removed");
        remove_if_there(disk, &path).await?;
        disk.sync_dir(DIR).await.map_err(io("syncing", DIR))?;
    }
    Ok(None)
}

async fn read_full_segments(
    disk: &Arc<dyn Disk>,
    replay: &mut Replay,
    numbers: &BTreeSet<u64>,
    last: &Scan,
) -> Result<(), OpenError> {
    // Where each segment ended is written at the head of the next one.
    let mut before: Option<(u64, u64)> = None;
    for number in numbers {
        let path = segment_path(*number);
        let file = open_file(&**disk, &path, false).await?;
        let (found, indexed) = match index::read(&**disk, *number).await? {
            Some(found) => (found, true),
            None => (scan(&file, &path, *number).await?, false),
        };
        check_end(before, &found)?;
        before = Some((*number, found.end));
        take_all(replay, *number, &found)?;
        let segment = Segment { end: found.end, sealed: true, indexed, ..Segment::new(file) };
        replay.segments.insert(*number, segment);
    }
    check_end(before, last)?;
    Ok(())
}

/// Whether the segment before `scan` ends where it did when it was left.
fn check_end(before: Option<(u64, u64)>, scan: &Scan) -> Result<(), StorageError> {
    let Some((number, end)) = before else { return Ok(()) };
    let path = segment_path(number);
    let corrupt = |reason| StorageError::Corrupt { path: path.clone(), offset: end, reason };
    let first = scan.records.first().filter(|record| record.header.kind == Kind::Header);
    let first = first.ok_or_else(|| corrupt(Malformed::Field))?;
    match SegmentStart::decode(&first.body).map_err(corrupt)?.previous {
        // A segment between the two was retired: then nothing says where this one ended.
        Some((previous, _)) if previous != number => Ok(()),
        Some((_, left)) if left == end => Ok(()),
        _ => Err(corrupt(Malformed::Checksum)),
    }
}

fn take_all(replay: &mut Replay, number: u64, scan: &Scan) -> Result<(), OpenError> {
    for record in &scan.records {
        replay.take(number, record).map_err(|reason| {
            let path = segment_path(number);
            match reason {
                Malformed::Version(found) => OpenError::Version { path, found: found.into(), known: 1 },
                reason => StorageError::Corrupt { path, offset: record.offset, reason }.into(),
            }
        })?;
    }
    if let Some(record) = scan.records.first().filter(|record| record.header.kind == Kind::Header) {
        replay.tail.previous = SegmentStart::decode(&record.body).ok().and_then(|start| start.previous);
    }
    Ok(())
}

/// Writes the newest segment's bytes once more, when the process before was not closed in order: a sync may have failed, and
/// the process have ended before it could say so. After a failed sync the kernel shows bytes that it will never write, and a
/// further sync of them succeeds without doing anything (Rebello et al., "Can Applications Recover from fsync
/// Failures?", ATC 2020): only what is written again reaches the disk.
async fn write_anew(tail: &Tail) -> Result<(), StorageError> {
    probe::sometimes("log written anew");
    let path = segment_path(tail.segment);
    let mut offset = 0;
    while offset < tail.end {
        let len = usize::try_from(tail.end - offset).unwrap_or(usize::MAX).min(REWRITE_BYTES);
        let bytes = tail.file.read_at(offset, len).await.map_err(io("reading", &path))?;
        tail.file.write_at(offset, bytes).await.map_err(io("writing", &path))?;
        offset += len as u64;
    }
    Ok(())
}

/// Blanks what a torn write left behind the end and, when it cut a write in two, ends that write. Everything
/// that was read is durable afterwards: it may have come from memory only.
async fn mend_tail(tail: &mut Tail, scan: &Scan) -> Result<(), StorageError> {
    let path = segment_path(tail.segment);
    if !scan.whole || !scan.stray.is_empty() {
        probe::sometimes("torn tail cut");
    }
    for (offset, size) in &scan.stray {
        tracing::warn!(path, offset, size, "a record of a torn write is cut off");
        let zeros = Bytes::from(vec![0; usize::try_from(*size).unwrap_or(0)]);
        tail.file.write_at(*offset, zeros).await.map_err(io("writing", &path))?;
    }
    if !scan.whole {
        let header = Header {
            kind: Kind::Resume,
            group: GroupId::SYSTEM,
            id: LogId::default(),
            block: false,
            len: 0,
            body_crc: crc32c::crc32c(&[]),
            write: tail.write + 1,
            last_of_write: true,
        };
        // First the strays must be gone for good: the record that follows would make them look like damage.
        tail.file.sync().await.map_err(io("syncing", &path))?;
        let mut record = Parts::default();
        put(&mut record, tail.segment, tail.end, &header, &Bytes::new());
        let len = record.len() as u64;
        tail.file.write_at(tail.end, record.concat()).await.map_err(io("writing", &path))?;
        tail.end += len;
        tail.write += 1;
    }
    tail.file.sync().await.map_err(io("syncing", &path))
}

/// Keeps as many emptied files as are wanted, and gives the rest back.
async fn take_spares(
    disk: &Arc<dyn Disk>,
    replay: &mut Replay,
    paths: Vec<String>,
    options: &StorageOptions,
) -> Result<(), StorageError> {
    for path in paths {
        let file = open_file(&**disk, &path, false).await?;
        let len = file.size().await.map_err(io("measuring", &path))?;
        if replay.spares.len() < options.spare_segments && len >= options.segment_bytes {
            replay.spares.push(Spare { path, file });
        } else {
            remove_if_there(&**disk, &path).await?;
        }
    }
    Ok(())
}
