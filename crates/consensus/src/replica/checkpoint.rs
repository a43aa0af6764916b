//! Writing the state to the store, and deciding when.

use super::{Image, Replica, State};
use crate::codec;
use crate::options::ConsensusOptions;
use quorate_storage::{Checkpoint, StorageError};
use std::sync::Arc;
use tokio::time::Instant;

impl Replica {
    /// Writes what changed since the last checkpoint: rows, membership and dropped blocks, atomically and durably.
    /// Nothing when nothing changed.
    ///
    /// # Errors
    /// When storage fails: the node must stop.
    pub(crate) async fn checkpoint(&self) -> Result<(), StorageError> {
        let _one = self.writing.lock().await;
        let taken = self.lock().take_checkpoint(Instant::now());
        match taken {
            Some(checkpoint) => self.storage.checkpoint(checkpoint).await,
            None => Ok(()),
        }
    }

    /// When the next checkpoint is due by time; `None` while nothing changed.
    pub(crate) fn checkpoint_deadline(&self, options: &ConsensusOptions) -> Option<Instant> {
        self.lock().dirty.map(|since| since + options.checkpoint_interval)
    }

    /// Whether a checkpoint is due, by time, bytes or rows.
    pub(crate) fn checkpoint_due(&self, options: &ConsensusOptions) -> bool {
        let state = self.lock();
        let old = state.dirty.is_some_and(|since| since.elapsed() >= options.checkpoint_interval);
        old || state.bytes_since_checkpoint >= options.checkpoint_bytes
            || state.machine.changed_rows() >= options.checkpoint_rows
    }

    /// Whether a snapshot is due.
    pub(crate) fn snapshot_due(&self, options: &ConsensusOptions) -> bool {
        let state = self.lock();
        let base = state.snapshot_index.map_or(0, |index| index + 1);
        let entries = (state.applied_index() + 1).saturating_sub(base);
        state.bytes_since_snapshot >= options.snapshot_bytes || entries >= options.snapshot_entries
    }

    /// Until the returned guard is dropped no block is given up: a leader was told that they are here.
    pub(crate) fn hold_drops(self: &Arc<Self>) -> HeldDrops {
        self.lock().receiving += 1;
        HeldDrops { replica: Arc::clone(self) }
    }
}

impl State {
    fn take_checkpoint(&mut self, now: Instant) -> Option<Checkpoint> {
        self.forget_old_transfer(now);
        let pins: Vec<Arc<Image>> = self.pins.iter().filter_map(std::sync::Weak::upgrade).collect();
        let receiving = self.receiving > 0;
        let needed = |index: &u64| receiving || pins.iter().any(|pin| pin.pins(*index, now));
        let (kept, dropped): (Vec<u64>, Vec<u64>) = self.dropped.drain(..).partition(needed);
        self.dropped = kept;
        if self.dirty.is_none() && dropped.is_empty() {
            return None;
        }
        let applied = self.machine.applied()?;
        self.dirty = None;
        self.bytes_since_checkpoint = 0;
        self.rows_seen = 0;
        let meta = codec::encode_snapshot_meta(&self.meta());
        Some(Checkpoint { applied, meta, rows: self.machine.take_changes(), dropped })
    }
}

/// While it lives, the replica drops no block.
pub(crate) struct HeldDrops {
    replica: Arc<Replica>,
}

impl Drop for HeldDrops {
    fn drop(&mut self) {
        self.replica.lock().receiving -= 1;
    }
}
