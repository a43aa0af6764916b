//! One group's replica on this node: the machine, and what must be known to keep its state on disk.
//!
//! The adapters that openraft drives ([`crate::log_store`], [`crate::state_machine`]), the group's upkeep
//! ([`crate::maintenance`]) and the handle for the rest of the node ([`crate::Group`]) share it.

mod apply;
mod checkpoint;
mod image;
#[cfg(test)]
mod tests;

pub use image::Frozen;
pub(crate) use image::Image;

use crate::codec;
use crate::effects::{EffectSink, GroupEvent};
use crate::error::StartError;
use crate::type_config::{SnapshotMeta, StoredMembership, raft_log_id};
use quorate_machine::{History, LoadError, Machine, Shard, TooOld};
use quorate_storage::GroupStorage;
use quorate_types::probe::{self, Fact};
use quorate_types::{GroupId, LogId, Voter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The replica. Shared by all tasks of its group.
pub(crate) struct Replica {
    me: Voter,
    group: GroupId,
    storage: GroupStorage,
    effects: Arc<dyn EffectSink>,
    bounds: Bounds,
    state: Mutex<State>,
    /// One checkpoint or install at a time: each takes from the state and writes what it took.
    writing: tokio::sync::Mutex<()>,
    applied: watch::Sender<u64>,
    /// Index of the last entry that this replica appended as the leader or took from one; 0 before the first since it runs.
    appended: watch::Sender<u64>,
    /// Whether nobody on any node waits for what is committed here.
    unhurried: AtomicBool,
    /// Whether the machine waits for a leader to look into blocks.
    scans: watch::Sender<bool>,
    compactable: watch::Sender<u64>,
    scattered: watch::Sender<bool>,
    wake: Notify,
}

/// Of [`crate::ConsensusOptions`] what a replica needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Blocks are kept for a transfer for so long.
    pub(crate) transfer_timeout: Duration,
    /// The newest version of the machine that it goes along with.
    pub(crate) version_max: u32,
    /// So many kept entries are many.
    pub(crate) gather_entries_min: u64,
}

impl Bounds {
    /// # Errors
    /// When the machine decides by a version that is too new here.
    fn check(self, machine: &Machine) -> Result<(), LoadError> {
        let (needed, known) = (machine.version(), self.version_max);
        if needed <= known { Ok(()) } else { Err(LoadError::Newer(TooOld { needed, known })) }
    }

    fn is_scattered(self, machine: &Machine) -> bool {
        machine.shard().is_some_and(|shard| shard.kept_entries() >= self.gather_entries_min)
    }
}

/// What changes as entries are applied. Locked for the time of one entry, never across an await.
struct State {
    machine: Machine,
    /// What became of messages since this node has applied what it had in its log.
    history: History,
    membership: StoredMembership,
    /// Blocks that nobody needs since the last checkpoint, or that a transfer still needs.
    dropped: Vec<u64>,
    /// Something changed since the last checkpoint: since when.
    dirty: Option<Instant>,
    bytes_since_checkpoint: u64,
    /// Rows that had changed since then when an entry was counted last.
    rows_seen: usize,
    bytes_since_snapshot: u64,
    snapshot_index: Option<u64>,
    /// While set, entries up to this index may have been applied before the last stop: their effects are not told.
    replay_until: Option<u64>,
    /// Images that transfers may be sending.
    pins: Vec<Weak<Image>>,
    /// The image that transfers use now.
    transfer: Option<(SnapshotMeta, Arc<Image>)>,
    /// Transfers coming in: while there are any, no block is dropped.
    receiving: usize,
    /// The newest snapshot on disk, for openraft's start; gone once it runs.
    stored: Option<(SnapshotMeta, Arc<Image>)>,
    running: bool,
}

impl Replica {
    /// Reads what the last checkpoint, snapshot and log hold.
    pub(crate) async fn recover(
        me: Voter,
        group: GroupId,
        storage: GroupStorage,
        effects: Arc<dyn EffectSink>,
        bounds: Bounds,
    ) -> Result<Arc<Self>, StartError> {
        let unreadable = |source| StartError::Storage { group, source };
        let recovered = storage.recovered().await.map_err(unreadable)?;
        let machine = match recovered.applied {
            None => Machine::new(group),
            Some(_) => {
                let rows = recovered.rows.into_iter().map(|row| (row.key, row.value));
                Machine::load(group, rows).map_err(|source| StartError::Machine { group, source })?
            }
        };
        bounds.check(&machine).map_err(|source| StartError::Machine { group, source })?;
        let membership = match recovered.meta {
            None => StoredMembership::default(),
            Some(meta) => understood(group, meta)?.last_membership,
        };
        let stored = match storage.snapshot().await.map_err(unreadable)? {
            None => None,
            Some(stored) => Some((understood(group, stored.meta)?, Arc::new(Image::stored(stored.rows)))),
        };
        let last = storage.last();
        probe::tell(|| Fact::Recovered { voter: me, group, purged: storage.purged(), last });
        let mut state = State::new(machine, membership);
        state.replay_until = last.map(|id| id.index).filter(|last| *last > state.applied_index());
        state.snapshot_index = stored.as_ref().and_then(|(meta, _)| meta.last_log_id.map(|id| id.index));
        state.bytes_since_snapshot = storage.log_bytes_since(state.snapshot_index.unwrap_or(0));
        state.stored = stored;
        state.stand_in(storage.purged());
        state.dropped = orphans(&storage, &state.machine);
        let caught_up = state.replay_until.is_none();
        let applied = watch::Sender::new(state.applied_index());
        let scans = watch::Sender::new(state.has_scan());
        let compactable = watch::Sender::new(state.compactable());
        let scattered = watch::Sender::new(bounds.is_scattered(&state.machine));
        let unhurried = AtomicBool::new(state.is_unhurried());
        let replica = Self {
            me,
            group,
            storage,
            effects,
            bounds,
            state: Mutex::new(state),
            writing: tokio::sync::Mutex::new(()),
            applied,
            appended: watch::Sender::new(0),
            unhurried,
            scans,
            compactable,
            scattered,
            wake: Notify::new(),
        };
        if caught_up {
            replica.effects.emit(GroupEvent::CaughtUp { group });
        }
        Ok(Arc::new(replica))
    }

    pub(crate) fn me(&self) -> Voter {
        self.me
    }

    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    pub(crate) fn storage(&self) -> &GroupStorage {
        &self.storage
    }

    /// Index of the last applied entry, 0 before the first.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Index of the last entry that was appended, as far as it came since the replica runs.
    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Entries up to this one are in the log, durable or not.
    pub(crate) fn note_appended(&self, index: u64) {
        self.appended.send_replace(index);
    }

    /// Whether the others may hear a little later of what is committed: nobody consumes, so that nothing is to be delivered.
    pub(crate) fn is_unhurried(&self) -> bool {
        self.unhurried.load(Ordering::Relaxed)
    }

    /// Whether the machine waits for a leader to look into blocks.
    pub(crate) fn scans(&self) -> watch::Receiver<bool> {
        self.scans.subscribe()
    }

    /// Bytes that compaction would free.
    pub(crate) fn compactable(&self) -> watch::Receiver<u64> {
        self.compactable.subscribe()
    }

    /// Whether many entries are kept.
    pub(crate) fn is_scattered(&self) -> watch::Receiver<bool> {
        self.scattered.subscribe()
    }

    /// Looks at the machine. `look` must be short: apply waits for it.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.lock().machine)
    }

    /// The same, with what is remembered of messages that were settled.
    pub(crate) fn recall<R>(&self, look: impl FnOnce(&Machine, &History) -> R) -> R {
        let state = self.lock();
        look(&state.machine, &state.history)
    }

    /// The last applied entry and the membership as of it.
    pub(crate) fn applied_state(&self) -> (Option<LogId>, StoredMembership) {
        let state = self.lock();
        (state.machine.applied(), state.membership.clone())
    }

    /// Index and checksum of the blocks that a sender of a snapshot need not send: of entries that were applied, and those that
    /// were received. The log beyond may still be cut, by the very install of that snapshot.
    pub(crate) fn firm_blocks(&self) -> Vec<(u64, u32)> {
        let applied = self.lock().applied_index();
        self.storage.held_blocks(applied)
    }

    /// openraft has started: snapshots are for followers from here on.
    pub(crate) fn started(&self) {
        let mut state = self.lock();
        state.running = true;
        state.stored = None;
    }

    /// The log was cut: what was to be replayed beyond `last` never happened.
    pub(crate) fn truncated_after(&self, last: Option<u64>) {
        let mut state = self.lock();
        let Some(until) = state.replay_until else { return };
        let applied = state.applied_index();
        state.replay_until = last.map(|last| last.min(until)).filter(|until| *until > applied);
        let caught_up = state.replay_until.is_none();
        drop(state);
        if caught_up {
            self.effects.emit(GroupEvent::CaughtUp { group: self.group });
        }
    }

    /// Resolves when upkeep may be due.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// A panic in `look` or `apply` leaves nothing half-done that a reader could see: apply's own panic ends the
    /// replica, and readers change nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The newest snapshot file may have become unreadable: the rows, which reach beyond everything that was purged, then
    /// stand in for it until the next one is written, which is at once.
    fn stand_in(&mut self, purged: Option<LogId>) {
        let covered = self.stored.as_ref().and_then(|(meta, _)| meta.last_log_id.as_ref()).map(|id| id.index);
        if purged.is_none_or(|purged| covered >= Some(purged.index)) {
            return;
        }
        probe::sometimes("rows stood in for a snapshot");
        tracing::warn!(?purged, ?covered, "the newest snapshot cannot be read: another one is written");
        self.stored = Some((self.meta(), Arc::new(Image::stored(self.rows()))));
        self.bytes_since_snapshot = u64::MAX / 2;
    }

    fn new(machine: Machine, membership: StoredMembership) -> Self {
        Self {
            history: History::new(machine.now()),
            machine,
            membership,
            dropped: Vec::new(),
            dirty: None,
            bytes_since_checkpoint: 0,
            rows_seen: 0,
            bytes_since_snapshot: 0,
            snapshot_index: None,
            replay_until: None,
            pins: Vec::new(),
            transfer: None,
            receiving: 0,
            stored: None,
            running: false,
        }
    }

    fn applied_index(&self) -> u64 {
        self.machine.applied().map_or(0, |id| id.index)
    }

    fn has_scan(&self) -> bool {
        self.machine.shard().is_some_and(Shard::has_scan)
    }

    fn is_unhurried(&self) -> bool {
        self.machine.shard().is_some_and(|shard| !shard.has_consumers())
    }

    fn compactable(&self) -> u64 {
        self.machine.shard().map_or(0, Shard::compactable_bytes)
    }

    /// What describes the state as it is now.
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.machine.applied().map(raft_log_id),
            last_membership: self.membership.clone(),
        }
    }
}

fn understood(group: GroupId, meta: Vec<u8>) -> Result<SnapshotMeta, StartError> {
    codec::decode_snapshot_meta(meta.into()).map_err(|source| StartError::Format { group, source })
}

/// Blocks that storage keeps although the machine needs none of them: their drop was put off for a transfer when the
/// node stopped.
fn orphans(storage: &GroupStorage, machine: &Machine) -> Vec<u64> {
    let Some(applied) = machine.applied() else { return Vec::new() };
    let mut live = machine.live_blocks();
    live.sort_unstable();
    let held = storage.held_blocks(u64::MAX).into_iter().map(|(index, _)| index);
    held.filter(|index| *index <= applied.index && live.binary_search(index).is_err()).collect()
}
