//! Figures for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of sync latencies, in microseconds; one more bucket holds the rest.
pub const SYNC_BUCKETS_US: [u64; 12] =
    [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 1_000_000];

/// What the storage has done and holds, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Bytes of log segments in use, without what was zeroed ahead.
    pub log_bytes: u64,
    /// Bytes of the log that somebody still needs.
    pub live_bytes: u64,
    /// Segments in use.
    pub segments: u64,
    /// Emptied segments kept for reuse.
    pub spare_segments: u64,
    /// Bytes of entries in memory.
    pub window_bytes: u64,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
    /// Group commits: writes with their sync.
    pub syncs: u64,
    /// Time of all group commits, in microseconds.
    pub sync_us: u64,
    /// Group commits per bucket of [`SYNC_BUCKETS_US`], not cumulated.
    pub sync_buckets: [u64; 13],
    /// Bytes written to the log.
    pub written_bytes: u64,
    /// Of these, bytes that were carried from an old segment.
    pub carried_bytes: u64,
    /// Segments given back.
    pub retired_segments: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    syncs: AtomicU64,
    sync_us: AtomicU64,
    buckets: [AtomicU64; 13],
    pub(crate) written: AtomicU64,
    pub(crate) carried: AtomicU64,
    pub(crate) retired: AtomicU64,
}

impl Counters {
    pub(crate) fn synced(&self, took: Duration, bytes: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_US.iter().position(|bound| us <= *bound).unwrap_or(SYNC_BUCKETS_US.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_us.fetch_add(us, Ordering::Relaxed);
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Fills in the counted fields.
    pub(crate) fn read(&self, stats: StorageStats) -> StorageStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StorageStats {
            syncs: load(&self.syncs),
            sync_us: load(&self.sync_us),
            sync_buckets: std::array::from_fn(|at| self.buckets.get(at).map_or(0, load)),
            written_bytes: load(&self.written),
            carried_bytes: load(&self.carried),
            retired_segments: load(&self.retired),
            ..stats
        }
    }
}
