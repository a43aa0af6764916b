//! The segmented log: one sequence of files for all groups of a node, written by one task (DESIGN §5).

mod group;
pub(crate) mod index;
mod keeper;
mod read;
pub(crate) mod record;
mod replay;
pub(crate) mod scan;
pub(crate) mod segment;
mod state;
mod writer;

pub(crate) use group::{Group, Released, Slot};
pub(crate) use replay::{Replay, replay};
pub(crate) use segment::DIR;
pub use state::Done;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::file;
use crate::options::StorageOptions;
use crate::stats::{Counters, StorageStats};
use bytes::Bytes;
use quorate_types::probe;
use quorate_types::{GroupId, LogId};
use record::{BODY_BYTES_MAX, Kind};
use state::{Op, Queued, State};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot, watch};

/// Larger bodies stay where they lie. Frames of gRPC are read into buffers of 8 KiB and more.
const COPIED_BYTES_MAX: usize = 8 << 10;

/// Says that bytes of the log were found damaged while the node ran: the next start refuses the directory.
pub(crate) const DAMAGED: &str = "log.damaged";
/// There while a process has the log open, and after it unless it was closed in order: a sync may have failed, and what can
/// be read of the newest segment be in memory only. Never synced: it is for a process that finds the same page cache. A power
/// cut takes both.
pub(crate) const UNSYNCED: &str = "log.unsynced";

/// The writer and the keeper.
const TASKS: u8 = 2;

/// One Raft entry as the log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the group's log.
    pub id: LogId,
    /// It carries message payloads, which may be needed when Raft has purged the entry: until a checkpoint says
    /// that the block was dropped.
    pub block: bool,
    /// Opaque, at most [`BODY_BYTES_MAX`].
    pub bytes: Bytes,
}

/// The log of all groups. Lives as long as its writer.
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: StorageOptions,
    pub(crate) counters: Counters,
    state: Mutex<State>,
    wake_writer: Notify,
    wake_keeper: Notify,
    /// The keeper has finished a stretch of zeros.
    zeroed: Notify,
    failed: watch::Sender<Option<Arc<StorageError>>>,
    /// How many of the two tasks have ended.
    ended: watch::Sender<u8>,
}

impl Log {
    /// Starts the writer and the keeper on what a replay found.
    pub(crate) fn start(disk: Arc<dyn Disk>, options: StorageOptions, replay: Replay) -> Arc<Self> {
        let (state, tail) = replay.into_parts();
        let log = Arc::new(Self {
            disk,
            options,
            counters: Counters::default(),
            state: Mutex::new(state),
            wake_writer: Notify::new(),
            wake_keeper: Notify::new(),
            zeroed: Notify::new(),
            failed: watch::Sender::new(None),
            ended: watch::Sender::new(0),
        });
        let (writer, keeper) =
            (writer::Writer::new(Arc::clone(&log), tail), keeper::Keeper::new(Arc::clone(&log)));
        tokio::spawn(writer.run());
        tokio::spawn(keeper.run());
        log
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, StorageError> {
        let state = self.lock();
        state.usable()?;
        Ok(state)
    }

    pub(crate) fn failed(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.failed.subscribe()
    }

    /// Leaves word for the next start of what stops the log, then stops it.
    pub(crate) async fn fail(&self, error: StorageError) -> StorageError {
        note(&*self.disk, &error).await;
        self.stop(error)
    }

    /// Stops everything, for good: the first error counts, every waiting callback gets it.
    pub(crate) fn stop(&self, error: StorageError) -> StorageError {
        let error = Arc::new(error);
        let (first, waiting) = {
            let mut state = self.lock();
            let first = Arc::clone(state.stopped.get_or_insert_with(|| Arc::clone(&error)));
            (first, state.abandon())
        };
        if Arc::ptr_eq(&first, &error) {
            tracing::error!(%error, "the storage stops");
            self.failed.send_replace(Some(Arc::clone(&first)));
        }
        self.wake_all();
        for done in waiting {
            done(Err(io::Error::other(first.to_string())));
        }
        StorageError::Stopped(first)
    }

    fn wake_all(&self) {
        self.wake_writer.notify_one();
        self.wake_keeper.notify_one();
        self.zeroed.notify_one();
    }

    /// Appends entries. They can be read when this returns; `done` is called after they are durable.
    pub(crate) fn append(&self, id: GroupId, records: Vec<Record>, done: Done) -> Result<(), StorageError> {
        let mut queued = Vec::with_capacity(records.len());
        for record in records {
            check_len(id, "an entry", record.bytes.len())?;
            // The checksum is made here, on the caller's thread, and not by the one writer.
            let block = record.block;
            queued.push(Queued { block, ..Queued::new(Kind::Entry, id, record.id, by_itself(record.bytes)) });
        }
        let mut state = self.usable()?;
        let group = state.groups.entry(id).or_default();
        let mut due = group.next();
        for record in &queued {
            if let Some(expected) = due.filter(|due| *due != record.id.index) {
                return Err(StorageError::NotNext { group: id, expected, got: record.id.index });
            }
            due = Some(record.id.index + 1);
        }
        for mut record in queued {
            record.ticket = state.ticket();
            let slot = Slot {
                term: record.id.term,
                len: record.len(),
                crc: record.body_crc,
                block: record.block,
                place: None,
                bytes: Some(record.body.clone()),
                ticket: record.ticket,
            };
            state.groups.entry(id).or_default().push(record.id, slot);
            state.remember(id, record.id.index, record.len(), record.ticket);
            state.enqueue(Op::Record(record));
        }
        if probe::planted("acknowledge before the fsync") {
            drop(state);
            done(Ok(()));
        } else {
            state.enqueue(Op::Call(done));
            drop(state);
        }
        self.wake_writer.notify_one();
        Ok(())
    }

    /// Takes a block that came with a snapshot. Durable when the next barrier is.
    pub(crate) fn receive(&self, id: GroupId, block: LogId, bytes: Bytes) -> Result<(), StorageError> {
        check_len(id, "a block", bytes.len())?;
        let mut record = Queued { block: true, ..Queued::new(Kind::Received, id, block, by_itself(bytes)) };
        let mut state = self.usable()?;
        record.ticket = state.ticket();
        let slot = Slot {
            term: block.term,
            len: record.len(),
            crc: record.body_crc,
            block: true,
            place: None,
            bytes: Some(record.body.clone()),
            ticket: record.ticket,
        };
        record.released = state.groups.entry(id).or_default().receive(block.index, slot);
        state.remember(id, block.index, record.len(), record.ticket);
        state.enqueue(Op::Record(record));
        drop(state);
        self.wake_writer.notify_one();
        Ok(())
    }

    /// Changes a group under the lock, queues the record that `change` returns, and waits until it is durable.
    /// With no record it waits for what was queued before.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&mut State) -> Result<Option<Queued>, StorageError>,
    ) -> Result<(), StorageError> {
        let (sender, wait) = oneshot::channel();
        {
            let mut state = self.usable()?;
            if let Some(record) = change(&mut state)? {
                state.enqueue(Op::Record(record));
            }
            let done = move |result: io::Result<()>| {
                // The caller may have gone; the record is written all the same.
                let _ = sender.send(result);
            };
            state.enqueue(Op::Call(Box::new(done)));
        }
        self.wake_writer.notify_one();
        match wait.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(self.usable().err().unwrap_or(StorageError::Closed)),
        }
    }

    /// Returns when everything queued so far is durable.
    pub(crate) async fn barrier(&self) -> Result<(), StorageError> {
        self.change(|_| Ok(None)).await
    }

    pub(crate) fn wake_keeper(&self) {
        self.wake_keeper.notify_one();
    }

    pub(crate) fn stats(&self) -> StorageStats {
        let state = self.lock();
        let stats = StorageStats {
            log_bytes: state.segments.values().map(|segment| segment.end).sum(),
            live_bytes: state.segments.values().map(|segment| segment.live_bytes).sum(),
            segments: state.segments.len() as u64,
            spare_segments: state.spares.len() as u64,
            window_bytes: state.window_bytes(),
            queued_bytes: state.queued_bytes(),
            ..StorageStats::default()
        };
        self.counters.read(stats)
    }

    /// Writes what is queued and ends the tasks.
    pub(crate) async fn close(&self) {
        let mut ended = self.ended.subscribe();
        self.lock().closed = true;
        self.wake_all();
        // The sender lives as long as the log, so the wait cannot fail.
        let _ = ended.wait_for(|ended| *ended == TASKS).await;
        if self.lock().stopped.is_none()
            && let Err(error) = file::remove_if_there(&*self.disk, UNSYNCED).await
        {
            tracing::warn!(%error, "the next start writes the newest segment anew, for nothing");
        }
    }
}

/// Leaves word for the next start of damage.
async fn note(disk: &dyn Disk, error: &StorageError) {
    let StorageError::Corrupt { .. } = error else { return };
    if let Err(error) = file::replace_checked(disk, DAMAGED, error.to_string().as_bytes()).await {
        tracing::warn!(%error, "why the log stops could not be noted");
    }
}

/// Held by each task while it runs. A task that panics stops the log: without it nothing would ever be answered.
struct Running(Arc<Log>);

impl Running {
    fn new(log: &Arc<Log>) -> Self {
        Self(Arc::clone(log))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it returns is for callers; there is none.
            drop(self.0.stop(StorageError::Panicked));
        }
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

/// A record that sets a group's purge point and end.
pub(crate) fn marking(kind: Kind, group: GroupId, mark: &record::GroupMark, released: Released) -> Queued {
    Queued::marking(kind, group, mark, released)
}

/// A record that sets a group's vote.
pub(crate) fn voting(group: GroupId, vote: Vec<u8>) -> Queued {
    Queued::new(Kind::Vote, group, LogId::default(), vote.into())
}

/// A small body that came in a frame keeps all of that in memory, for as long as it is in the window: a copy does not.
fn by_itself(body: Bytes) -> Bytes {
    if body.len() > COPIED_BYTES_MAX { body } else { Bytes::copy_from_slice(&body) }
}

pub(crate) fn check_len(group: GroupId, what: &'static str, len: usize) -> Result<(), StorageError> {
    let max = BODY_BYTES_MAX;
    if len > max { Err(StorageError::TooLarge { group, what, len, max }) } else { Ok(()) }
}
