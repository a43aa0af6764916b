//! One group's part of the data directory.

use crate::error::StorageError;
use crate::ledger::{self, Ledger, META_BYTES_MAX, ROW_KEY_BYTES_MAX};
use crate::log::record::Kind;
use crate::log::{Done, Group, Record, check_len, marking, voting};
use crate::snapshot::{self, Row, StoredSnapshot};
use crate::storage::{Shared, SharedLedger};
use crate::store::Change;
use bytes::Bytes;
use quorate_types::probe;
use quorate_types::{GroupId, LogId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a checkpoint changes.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The last entry whose effects are in the rows.
    pub applied: LogId,
    /// Opaque: membership and the like. At most 65,280 bytes.
    pub meta: Vec<u8>,
    /// Rows that changed since the last checkpoint; no value deletes one.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Entries at or before `applied` whose blocks nobody needs any more.
    pub dropped: Vec<u64>,
}

/// What the last checkpoint or installed snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The entry that the rows are as of; none when there never was a checkpoint.
    pub applied: Option<LogId>,
    /// As it was given.
    pub meta: Option<Vec<u8>>,
    /// Every row, ordered by key.
    pub rows: Vec<Row>,
}

/// A group's log, rows and snapshots. Clones are handles of the same.
///
/// Calls that wait may be dropped: checkpoints, snapshots and installs then go on to their end, everything else
/// happens or not.
#[derive(Clone)]
pub struct GroupStorage {
    id: GroupId,
    shared: Arc<Shared>,
    ledger: SharedLedger,
}

impl GroupStorage {
    pub(crate) fn new(id: GroupId, shared: Arc<Shared>, ledger: SharedLedger) -> Self {
        Self { id, shared, ledger }
    }

    /// The group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Appends entries, which must follow the last one. They can be read when this returns; `done` is called
    /// from the writer once they, and everything queued before them, are durable.
    ///
    /// The queue is bounded by what its callers have in flight: openraft waits for `done`.
    ///
    /// # Errors
    /// A refusal when an entry does not follow or is too large, and nothing was appended; `done` is not called.
    pub fn append(&self, records: Vec<Record>, done: Done) -> Result<(), StorageError> {
        self.shared.log.append(self.id, records, done)
    }

    /// Replaces the group's vote. Durable on return, and ordered with the appends.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn save_vote(&self, vote: Vec<u8>) -> Result<(), StorageError> {
        check_len(self.id, "a vote", vote.len())?;
        let id = self.id;
        self.shared
            .log
            .change(|state| {
                state.groups.entry(id).or_default().mark.vote = Some(vote.clone());
                if probe::planted("forget the vote") {
                    return Ok(None);
                }
                Ok(Some(voting(id, vote)))
            })
            .await
    }

    fn look<T>(&self, look: impl FnOnce(&Group) -> T) -> Option<T> {
        self.shared.log.lock().groups.get(&self.id).map(look)
    }

    /// The newest vote.
    #[must_use]
    pub fn vote(&self) -> Option<Vec<u8>> {
        self.look(|group| group.mark.vote.clone()).flatten()
    }

    /// The last entry, or the purge point when nothing is after it.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.look(|group| group.mark.last).flatten()
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.look(|group| group.mark.purged).flatten()
    }

    /// Index of the first entry that Raft may read; of the one to come when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.look(Group::first).unwrap_or(0)
    }

    /// Bytes of the entries after `index`.
    #[must_use]
    pub fn log_bytes_since(&self, index: u64) -> u64 {
        self.look(|group| group.bytes_since(index)).unwrap_or(0)
    }

    async fn change_log(
        &self,
        kind: Kind,
        change: impl FnOnce(&mut Group) -> Option<crate::log::Released>,
    ) -> Result<(), StorageError> {
        let id = self.id;
        self.shared
            .log
            .change(|state| {
                let group = state.groups.entry(id).or_default();
                let changed = change(group);
                Ok(changed.map(|released| marking(kind, id, &group.mark, released)))
            })
            .await
    }

    /// Forgets the entries after `last`, all that are not purged when `None`. Beyond the end it does nothing.
    /// Durable on return.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        self.change_log(Kind::Truncate, |group| {
            let before = group.mark.last;
            let released = group.truncate_after(last);
            (group.mark.last != before).then_some(released)
        })
        .await
    }

    /// Raft no longer needs the entries up to `upto`. Blocks that no checkpoint dropped stay readable by
    /// [`GroupStorage::entry`]. Durable on return. Only after a snapshot that covers them is durable.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn purge(&self, upto: LogId) -> Result<(), StorageError> {
        self.change_log(Kind::Purge, |group| {
            let newer = group.mark.purged.is_none_or(|purged| purged.index < upto.index);
            newer.then(|| group.purge(upto))
        })
        .await
    }

    /// Entries from `from` up to but not including `to_exclusive` that Raft may read, in order, without a gap:
    /// at least one when the first is there, and otherwise no more than `bytes_max`.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StorageError> {
        self.shared.log.read(self.id, from, to_exclusive, bytes_max).await
    }

    /// The bytes of an entry, also below the purge point while its block is alive.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn entry(&self, index: u64) -> Result<Option<Bytes>, StorageError> {
        Ok(self.entry_record(index).await?.map(|record| record.bytes))
    }

    /// The same with the entry's id.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn entry_record(&self, index: u64) -> Result<Option<Record>, StorageError> {
        self.shared.log.entry(self.id, index).await
    }

    /// Runs `work` whether or not the caller goes on waiting: half of an install must never be left behind in
    /// memory. An error stops the storage, unless only this call was refused.
    async fn to_the_end(
        &self,
        work: impl Future<Output = Result<(), StorageError>> + Send + 'static,
    ) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.shared);
        let work = tokio::spawn(async move {
            match work.await {
                Ok(()) => Ok(()),
                Err(error) => Err(shared.fail(error).await),
            }
        });
        // The task only ends otherwise when the runtime does.
        work.await.unwrap_or(Err(StorageError::Closed))
    }

    /// Notes what changed since the last checkpoint, all of it or nothing. Durable on return. One that is older
    /// than what is durable does nothing.
    ///
    /// # Errors
    /// A refusal when a key or the meta is too large; otherwise fatal.
    pub async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StorageError> {
        let this = self.clone();
        self.to_the_end(async move { this.try_checkpoint(checkpoint).await }).await
    }

    async fn try_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StorageError> {
        let Checkpoint { applied, meta, rows, dropped } = checkpoint;
        self.check(&meta, rows.iter().map(|(key, _)| key))?;
        let mut ledger = self.ledger.lock().await;
        if ledger.applied.is_some_and(|durable| applied < durable) {
            return Ok(());
        }
        // An entry may be committed, and applied, before it is durable here: the rows must not be ahead.
        if !probe::planted("write rows ahead of the log") {
            self.shared.log.barrier().await?;
        }
        let before = ledger.applied.map(|before| before.index);
        let gone: BTreeSet<u64> = dropped.iter().copied().collect();
        let mut changes: Vec<Change> = Vec::new();
        for (key, value) in rows {
            changes.extend(ledger.row(self.id, &key, value.as_deref()));
        }
        let placed = gone.iter().filter(|index| before.is_some_and(|before| **index <= before));
        changes.extend(placed.map(|index| ledger::no_place(self.id, *index)));
        let new = |group: &Group| -> Vec<Change> {
            let blocks = group.blocks_between(before, applied.index);
            blocks
                .filter(|(index, _)| !gone.contains(index))
                .map(|(index, slot)| ledger::place(self.id, index, slot))
                .collect()
        };
        changes.extend(self.look(new).unwrap_or_default());
        ledger.applied = Some(applied);
        ledger.meta = Some(meta);
        changes.push(ledger.change(self.id));
        self.shared.store.apply(changes).await?;
        // The log brought what a transfer was to bring, if one was given up: it must not hold its segments for ever.
        self.forget_blocks(|group| {
            let mut released = group.drop_blocks(&dropped);
            released.extend(group.forget_received(applied.index));
            released
        });
        Ok(())
    }

    /// Lets go of blocks, now that it is durable that nobody needs them.
    fn forget_blocks(&self, forget: impl FnOnce(&mut Group) -> crate::log::Released) {
        let mut state = self.shared.log.lock();
        let Some(group) = state.groups.get_mut(&self.id) else { return };
        let released = forget(group);
        if !released.is_empty() {
            state.release(released);
            drop(state);
            self.shared.log.wake_keeper();
        }
    }

    /// What the last checkpoint or install holds.
    ///
    /// # Errors
    /// Fatal ones; damaged rows are rebuilt at the next start.
    pub async fn recovered(&self) -> Result<Recovered, StorageError> {
        let mut ledger = self.ledger.lock().await;
        match ledger.rows(&*self.shared.store, self.id).await {
            Ok(rows) => Ok(Recovered { applied: ledger.applied, meta: ledger.meta.clone(), rows }),
            Err(error) => Err(self.shared.fail(error.of(self.id)).await),
        }
    }

    /// Writes a snapshot file; older ones of the group go. Durable on return.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn write_snapshot(
        &self,
        meta: Vec<u8>,
        last: LogId,
        rows: Vec<Row>,
    ) -> Result<(), StorageError> {
        let live =
            self.look(|group| group.blocks_between(None, last.index).map(|(index, _)| index).collect());
        let written = StoredSnapshot { last, meta, rows, live: live.unwrap_or_default() };
        let this = self.clone();
        self.to_the_end(async move { this.try_write_snapshot(written).await }).await
    }

    async fn try_write_snapshot(&self, snapshot: StoredSnapshot) -> Result<(), StorageError> {
        let _held = self.ledger.lock().await;
        // With the row store lost, snapshot and log are all there is: the log must reach the snapshot.
        self.shared.log.barrier().await?;
        snapshot::write(&*self.shared.disk, self.id, &snapshot).await?;
        snapshot::remove(&*self.shared.disk, self.id, Some(snapshot.last)).await
    }

    /// The newest snapshot file that can be read.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn snapshot(&self) -> Result<Option<StoredSnapshot>, StorageError> {
        let _held = self.ledger.lock().await;
        match snapshot::newest(&*self.shared.disk, self.id).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.shared.fail(error).await),
        }
    }

    /// Index and CRC-32C of every block that is here, those received and not yet installed included. Of the log, those up to
    /// entry `upto` (`u64::MAX`: all).
    #[must_use]
    pub fn held_blocks(&self, upto: u64) -> Vec<(u64, u32)> {
        let held = |group: &Group| {
            let mut held: BTreeMap<u64, u32> =
                group.blocks_between(None, upto).map(|(index, slot)| (index, slot.crc)).collect();
            held.extend(group.received().map(|(index, slot)| (index, slot.crc)));
            held.into_iter().collect()
        };
        self.look(held).unwrap_or_default()
    }

    /// Takes a block that came with a snapshot. Durable on return; part of the group with the install.
    ///
    /// # Errors
    /// A refusal when it is too large; otherwise fatal.
    pub async fn put_block(&self, id: LogId, bytes: Bytes) -> Result<(), StorageError> {
        self.shared.log.receive(self.id, id, bytes)?;
        self.shared.log.barrier().await
    }

    /// Replaces the group's state by a snapshot: its rows, and of the blocks up to `last` exactly those in
    /// `live`, which must be here or have been put. The log is purged up to `last`; entries after it stay only
    /// if they follow it. Everything is durable on return, and after a power cut all of it happened or nothing.
    ///
    /// # Errors
    /// [`StorageError::MissingBlock`] and nothing was changed; otherwise fatal.
    pub async fn install(
        &self,
        meta: Vec<u8>,
        last: LogId,
        rows: Vec<Row>,
        live: Vec<u64>,
    ) -> Result<(), StorageError> {
        let this = self.clone();
        self.to_the_end(async move { this.try_install(meta, last, rows, live).await }).await
    }

    async fn try_install(
        &self,
        meta: Vec<u8>,
        last: LogId,
        rows: Vec<Row>,
        mut live: Vec<u64>,
    ) -> Result<(), StorageError> {
        self.check(&meta, rows.iter().map(|row| &row.key))?;
        live.sort_unstable();
        // From here on no checkpoint lets go of a block that was received.
        let mut ledger = self.ledger.lock().await;
        let missing = self.look(|group| group.missing(&live)).unwrap_or(live.first().copied());
        if let Some(index) = missing {
            return Err(StorageError::MissingBlock { group: self.id, last, index });
        }
        let (disk, store) = (&*self.shared.disk, &*self.shared.store);
        // The log, with the blocks that were put, and the file: what the rows can be rebuilt from.
        self.shared.log.barrier().await?;
        let file = StoredSnapshot { last, meta: meta.clone(), rows, live: live.clone() };
        snapshot::write(disk, self.id, &file).await?;
        let generation = ledger.generation + 1;
        let mut next = Ledger::of(generation);
        ledger::fill(store, self.id, &mut next, &file.rows).await?;
        next.applied = Some(last);
        next.installed = Some(last);
        next.meta = Some(meta);
        // The one step that makes it so.
        let mut flip: Vec<Change> = ledger::places(store, self.id)
            .await
            .map_err(|error| error.of(self.id))?
            .into_iter()
            .filter(|index| live.binary_search(index).is_err())
            .map(|index| ledger::no_place(self.id, index))
            .collect();
        flip.extend(live.iter().map(|index| ledger::place(self.id, *index, &crate::log::Slot::unknown())));
        flip.push(next.change(self.id));
        store.apply(flip).await?;
        *ledger = next;
        self.change_log(Kind::Install, |group| Some(group.install(last, &live))).await?;
        self.shared.log.wake_keeper();
        ledger::clear_old(store, self.id, &ledger).await?;
        snapshot::remove(disk, self.id, Some(last)).await
    }

    fn check<'a>(&self, meta: &[u8], keys: impl Iterator<Item = &'a Vec<u8>>) -> Result<(), StorageError> {
        let too_large = |what, len, max| StorageError::TooLarge { group: self.id, what, len, max };
        if meta.len() > META_BYTES_MAX {
            return Err(too_large("the meta of a checkpoint", meta.len(), META_BYTES_MAX));
        }
        let longest = keys.map(Vec::len).max().unwrap_or(0);
        if longest > ROW_KEY_BYTES_MAX {
            return Err(too_large("the key of a row", longest, ROW_KEY_BYTES_MAX));
        }
        Ok(())
    }
}
