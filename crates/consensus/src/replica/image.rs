//! The state of a replica frozen at one entry, to become a snapshot.

use super::{Replica, State};
use crate::type_config::SnapshotMeta;
use quorate_machine::{LoadError, Machine};
use quorate_storage::Row;
use quorate_types::{GroupId, probe};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts to send a snapshot within this time share one image: freezing one costs a walk over the whole state, and a
/// follower that just came back may need several attempts.
const REUSE: Duration = Duration::from_secs(30);

/// How long blocks are kept for a copy that is being taken, at most: a stream that nobody reads must not fill the disk for ever.
const COPY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The state of a group as of one entry. The blocks that it refers to are kept as long as it lives, up to a day.
pub struct Frozen {
    group: GroupId,
    image: Arc<Image>,
}

impl Frozen {
    /// The machine as it was.
    ///
    /// # Errors
    /// [`LoadError`] when its rows do not make one, which would be a bug.
    pub fn machine(&self) -> Result<Machine, LoadError> {
        let rows = self.image.rows.iter().map(|row| (row.key.clone(), row.value.clone()));
        Machine::load(self.group, rows)
    }
}

/// Rows of the machine as of one entry, and the blocks that they refer to. What openraft calls the snapshot's data.
pub(crate) struct Image {
    pub(crate) rows: Vec<Row>,
    /// Indexes of the entries whose blocks the state needs, ascending.
    pub(crate) live: Vec<u64>,
    /// Until then the blocks are kept although newer entries drop them; `None` for an image that is not sent.
    until: Option<Instant>,
    frozen: Option<Instant>,
}

impl Image {
    /// What was read from a snapshot file: restored here, never sent.
    pub(super) fn stored(rows: Vec<Row>) -> Self {
        Self { rows, live: Vec::new(), until: None, frozen: None }
    }

    /// What a leader sent.
    pub(crate) fn received(rows: Vec<Row>, live: Vec<u64>) -> Self {
        Self { rows, live, until: None, frozen: None }
    }

    /// When a transfer of it must be over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn pins(&self, index: u64, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until) && self.live.binary_search(&index).is_ok()
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.frozen.is_some_and(|frozen| now.saturating_duration_since(frozen) < REUSE)
    }
}

impl Replica {
    /// Freezes the state for a snapshot file.
    pub(crate) fn freeze(&self) -> (SnapshotMeta, Arc<Image>) {
        let mut state = self.lock();
        // The log may soon be purged up to here: an older image would leave a gap to it.
        state.transfer = None;
        state.bytes_since_snapshot = 0;
        state.snapshot_index = state.machine.applied().map(|id| id.index);
        probe::sometimes("snapshot built");
        (state.meta(), Arc::new(Image { rows: state.rows(), live: Vec::new(), until: None, frozen: None }))
    }

    /// What openraft may send to a follower, or restores from when it starts.
    pub(crate) fn current_snapshot(&self) -> Option<(SnapshotMeta, Arc<Image>)> {
        let mut state = self.lock();
        if !state.running {
            return state.stored.clone();
        }
        state.machine.applied()?;
        let now = Instant::now();
        if let Some(current) = state.transfer.as_ref().filter(|(_, image)| image.is_fresh(now)) {
            return Some(current.clone());
        }
        let image = state.pin(now + self.bounds.transfer_timeout, Some(now));
        let current = (state.meta(), image);
        state.transfer = Some(current.clone());
        Some(current)
    }

    /// Freezes the state for a copy.
    pub(crate) fn freeze_for_copy(&self) -> Frozen {
        let mut state = self.lock();
        Frozen { group: self.group, image: state.pin(Instant::now() + COPY_MAX, None) }
    }

    /// A snapshot file is durable.
    pub(crate) fn snapshot_written(&self, meta: &SnapshotMeta, image: &Arc<Image>) {
        let mut state = self.lock();
        if !state.running {
            state.stored = Some((meta.clone(), Arc::clone(image)));
        }
    }
}

impl State {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.machine.image().into_iter().map(|(key, value)| Row { key, value }).collect();
        if probe::planted("a snapshot leaves out a row") {
            rows.pop();
        }
        rows
    }

    /// The state as it is, with blocks that are kept until then.
    fn pin(&mut self, until: Instant, frozen: Option<Instant>) -> Arc<Image> {
        let mut live = self.machine.live_blocks();
        live.sort_unstable();
        let image = Arc::new(Image { rows: self.rows(), live, until: Some(until), frozen });
        self.pins.retain(|pin| pin.strong_count() > 0);
        self.pins.push(Arc::downgrade(&image));
        image
    }

    /// Lets go of an image that no new transfer would use.
    pub(super) fn forget_old_transfer(&mut self, now: Instant) {
        if self.transfer.as_ref().is_some_and(|(_, image)| !image.is_fresh(now)) {
            self.transfer = None;
        }
        self.pins.retain(|pin| pin.strong_count() > 0);
    }
}
