//! openraft's log over [`GroupStorage`].

use crate::codec;
use crate::replica::Replica;
use crate::type_config::{Entry, RaftLogId, TypeConfig, Vote, log_id, raft_log_id};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use quorate_storage::{GroupStorage, Record};
use quorate_types::probe::{self, Fact};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The Raft log and vote of one group. A cheap handle; all copies see the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    storage: GroupStorage,
    replica: Arc<Replica>,
    read_bytes: usize,
}

impl LogStore {
    /// The log of `replica`'s group; reads for replication and apply take up to `read_bytes` at a time.
    pub(crate) fn new(replica: Arc<Replica>, read_bytes: usize) -> Self {
        Self { storage: replica.storage().clone(), replica, read_bytes }
    }

    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let records = self.storage.read(from, to, bytes_max).await.map_err(io::Error::other)?;
        records.into_iter().map(|record| codec::decode_entry(record).map_err(io::Error::other)).collect()
    }

    /// One page of the entries from `from` on, and where the next begins. Nothing after the end of the log.
    async fn page(self, from: u64, to: u64) -> io::Result<Option<(Vec<Entry>, (Self, u64))>> {
        let page = self.read(from, to, self.read_bytes).await?;
        Ok(page.last().map(RaftEntry::index).map(|last| (page, (self, last + 1))))
    }
}

/// `range` as `from..to`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        // What is missing may be missing at the beginning (openraft's contract of this method). All of the rest,
        // however many: openraft takes a short answer for a hole. It asks so for few entries only.
        self.read(from.max(self.storage.first()), to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        match self.storage.vote() {
            Some(vote) => codec::decode_vote(vote.into()).map(Some).map_err(io::Error::other),
            None => Ok(None),
        }
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // After a restart everything in the log may become committed at once: apply must not hold all of it in memory.
        let (from, to) = bounds(&range);
        let pages = stream::try_unfold((self.clone(), from), move |(log, from)| log.page(from, to));
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
    }

    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        // Entries differ in size by a factor of 10^5: a bound on their number alone would make frames of gigabytes.
        self.read(from, to, self.read_bytes).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged = self.storage.purged().map(raft_log_id);
        let last = self.storage.last().map(raft_log_id).max(purged);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.storage.save_vote(codec::encode_vote(vote)).await.map_err(io::Error::other)?;
        // A committed vote is somebody's leadership, which is followed and not voted for.
        if !vote.committed {
            probe::tell(|| Fact::Voted {
                voter: self.replica.me(),
                group: self.storage.id(),
                term: vote.leader_id.term,
                candidate: vote.leader_id.voted_for,
            });
        }
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut signals = Vec::new();
        let encode = |mut entry: Entry| {
            if let EntryPayload::Normal(data) = &mut entry.payload {
                signals.extend(data.take_signal());
            }
            let (bytes, block) = codec::encode_payload(&entry.payload);
            Record { id: log_id(&entry.log_id), block, bytes }
        };
        let records: Vec<Record> = entries.into_iter().map(encode).collect();
        for record in &records {
            probe::tell(|| Fact::Appended {
                voter: self.replica.me(),
                group: self.storage.id(),
                id: record.id,
                digest: probe::digest(&record.bytes),
            });
        }
        let done = move |result: io::Result<()>| {
            if result.is_ok() {
                // Who proposed may have gone; nobody else waits.
                for signal in signals {
                    let _gone = signal.send(());
                }
            }
            callback.io_completed(result);
        };
        let last = records.last().map(|record| record.id.index);
        self.storage.append(records, Box::new(done)).map_err(io::Error::other)?;
        last.into_iter().for_each(|last| self.replica.note_appended(last));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.map(|id| id.index);
        probe::sometimes("log cut after a conflict");
        probe::tell(|| Fact::Truncated { voter: self.replica.me(), group: self.storage.id(), last });
        self.storage.truncate_after(last).await.map_err(io::Error::other)?;
        self.replica.truncated_after(last);
        Ok(())
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let mut upto = log_id(&upto);
        if probe::planted("purge one too many") {
            upto.index += 1;
        }
        self.storage.purge(upto).await.map_err(io::Error::other)
    }
}
