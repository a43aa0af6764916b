//! What may be set, with its defaults.

/// Sizes of the log. The defaults are for production; tests make them small.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Length of a log segment. Default 64 MiB.
    pub segment_bytes: u64,
    /// How many bytes of the newest entries stay in memory. Default 128 MiB.
    pub window_bytes: u64,
    /// The most that one write takes from the queue. Default 8 MiB, so that the buffer stays small and the
    /// first of many waiting appends is not confirmed with the last.
    pub write_bytes_max: usize,
    /// How far the active segment is filled with zeros ahead of its end. Default 4 MiB: overwriting written
    /// blocks is 1.5 times as fast as growing a file.
    pub zero_ahead_bytes: u64,
    /// Emptied segments kept for reuse. Default 2; what is beyond goes back to the file system.
    pub spare_segments: usize,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            window_bytes: 128 << 20,
            write_bytes_max: 8 << 20,
            zero_ahead_bytes: 4 << 20,
            spare_segments: 2,
        }
    }
}

impl StorageOptions {
    /// The step in which zeros are written: small, so that a commit never waits long behind one.
    pub(crate) fn zero_step_bytes(&self) -> u64 {
        (self.zero_ahead_bytes / 4).clamp(4096, 1 << 20)
    }

    /// From here on a write needs no zeros ahead of it: what growing the file costs is little beside it, and every byte would be
    /// written twice.
    pub(crate) fn large_write_bytes(&self) -> u64 {
        (self.zero_ahead_bytes / 64).max(4096)
    }
}
